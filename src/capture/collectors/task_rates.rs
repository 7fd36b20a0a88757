//! `task_rates`: what tasks do at this moment, from two readings at least a second apart, of which the first is that of
//! the tiers before; and which of those that are blocked, or belong to what failed, move at all, from some looks at each.
//!
//! `lastgasp/task_rates.txt` is to be read, `lastgasp/task_rates.jsonl` to be searched; `lastgasp/task_motion.txt`
//! has a verdict in words for each task that was looked at, with its stacks.

use crate::capture::collectors::{task_motion, tasks};
use crate::capture::guard::PER_PROCESS;
use crate::capture::subject::Service;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::bytes::{push_json, push_word};
use crate::host::limits::Io;
use crate::host::second_look::{self, Look, Rates, Sample, TaskId};
use crate::host::tasks::{Process, Table};
use crate::host::worth;
use crate::model::Mono;
use crate::sys::capability::Capability;
use crate::sys::clock;
use crate::sys::procdir::{Buf, ProcDir};
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "task_rates",
    doc: "CPU, I/O, faults and switches per second of the tasks that matter, and which of them are stuck and which only busy.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 16 << 20,
    limit_ms: 6_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[Capability::SysPtrace, Capability::SysAdmin],
};

/// Time between the two readings, or longer. The kernel counts CPU time in ticks of 10 ms at most: 1 % is one tick.
const WINDOW: Duration = Duration::from_secs(1);
/// Between the looks at one task. A disk that works at all answers within.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// Looks at each, before the one at the end of the window.
const LOOKS: usize = 3;
/// Processes whose rates are taken: 40 µs each for the second reading.
const PROCESSES_MAX: usize = 400;
/// Tasks that are looked at: 0.1 ms and up to 2 KB of text each.
const WATCHED_MAX: usize = 400;
/// Lines of each list that is to be read.
const TOP: usize = 40;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let table = tasks::scan(ctx, sink)?;
    let mut service = Service::of(ctx);
    service.add(ctx.shared.port_owners.get().into_iter().flatten().copied());
    let order = worth::order(&table, |p| service.has(p));
    let mut rounds = Rounds::new(ctx, &table)?;

    let watched = watch(&table, &order, &service, sink);
    let early = match ctx.shared.io.get() {
        Some(_) => Vec::new(),
        None => rounds.io(&table),
    };
    let began = clock::mono();
    let mut looks: Vec<Vec<Look>> = watched.iter().map(|_| Vec::new()).collect();
    for n in 0..LOOKS {
        rounds.look(&watched, &mut looks);
        if n + 1 < LOOKS && !watched.is_empty() {
            ctx.wait_until(clock::mono().plus(BETWEEN_LOOKS));
        }
    }
    let first = table.processes.iter().map(|p| p.at).max();
    ctx.wait_until(first.filter(|_| watched.is_empty()).unwrap_or(began).plus(WINDOW));
    rounds.look(&watched, &mut looks);
    let chosen = choose(&table, &order, &service, &mut rounds);
    let second = rounds.samples(&chosen);
    if rounds.stuck > 0 {
        sink.missing(format!("rates of {} tasks", rounds.stuck), "did not answer in 200 ms");
    }

    let hz = table.machine.hz;
    let measured: Vec<Measured> = chosen
        .iter()
        .filter_map(|id| {
            let (process, sample) = (table.get(id.pid)?, second.get(&id.pid)?);
            let io = ctx.shared.io.get().unwrap_or(&early);
            let io = io.binary_search_by_key(&id.pid, |(pid, _)| *pid).ok().map(|at| io[at].1);
            let rates = Rates::between(&Sample::of(process, io), sample, hz)?;
            Some(Measured { id: *id, sample, rates, of_service: service.has(process) })
        })
        .collect();
    sink.put("lastgasp/task_rates.txt", text(&measured))?;
    sink.put("lastgasp/task_rates.jsonl", jsonl(&measured))?;
    if !watched.is_empty() {
        sink.put("lastgasp/task_motion.txt", task_motion::text(&watched, &looks, hz))?;
    }
    Ok(())
}

/// The rounds of reading, each guarded; a process that did not answer once is not asked again.
struct Rounds<'a> {
    ctx: &'a Context,
    proc: Arc<ProcDir>,
    silent: Vec<i32>,
    stuck: usize,
}

impl<'a> Rounds<'a> {
    fn new(ctx: &'a Context, table: &Table) -> Result<Rounds<'a>, CollectError> {
        let proc = ProcDir::open(&ctx.root.path("/proc")).map_err(CollectError::failed("open /proc"))?;
        // Whoever reads of a process inside execve waits with it.
        let silent = table.stuck.iter().map(|(pid, _)| *pid).chain(table.in_execve()).collect();
        Ok(Rounds { ctx, proc: Arc::new(proc), silent, stuck: 0 })
    }

    fn round<T: Send + 'static>(
        &mut self,
        ids: &[TaskId],
        read: fn(&ProcDir, TaskId, &mut Buf) -> Option<T>,
    ) -> Vec<(TaskId, T)> {
        let asked: Arc<Vec<TaskId>> =
            Arc::new(ids.iter().copied().filter(|id| !self.silent.contains(&id.pid)).collect());
        let proc = Arc::clone(&self.proc);
        let swept = PER_PROCESS
            .sweep(Arc::clone(&asked), self.ctx.deadline, Buf::default, move |buf, id, _| read(&proc, *id, buf));
        self.stuck += swept.stuck.len();
        self.silent.extend(swept.stuck.iter().map(|s| asked[s.index].pid));
        asked.iter().copied().zip(swept.results).filter_map(|(id, r)| Some((id, r??))).collect()
    }

    /// In the order of pids.
    fn io(&mut self, table: &Table) -> Vec<(i32, (Mono, Io))> {
        let all = whole(table);
        self.round(&all, |proc, id, buf| second_look::io(proc, id.pid, buf))
            .into_iter()
            .map(|(id, io)| (id.pid, io))
            .collect()
    }

    fn samples(&mut self, ids: &[TaskId]) -> HashMap<i32, Sample> {
        self.round(ids, second_look::sample).into_iter().map(|(id, s)| (id.pid, s)).collect()
    }

    fn look(&mut self, ids: &[TaskId], looks: &mut [Vec<Look>]) {
        for (id, look) in self.round(ids, second_look::look) {
            if let Ok(at) = ids.binary_search(&id) {
                looks[at].push(look);
            }
        }
    }
}

fn whole_process(p: &Process) -> TaskId {
    TaskId { pid: p.stat.pid, tid: p.stat.pid, whole: true }
}

fn whole(table: &Table) -> Vec<TaskId> {
    table.processes.iter().map(whole_process).collect()
}

/// The processes that are worth it by what they are, and those that used CPU since the first reading, the most first.
fn choose(table: &Table, order: &[usize], service: &Service, rounds: &mut Rounds) -> Vec<TaskId> {
    let used = |pid: i32, now: u64| {
        let then = table.get(pid).map_or(0, |p| p.stat.utime.saturating_add(p.stat.stime));
        now.saturating_sub(then)
    };
    let mut busy: Vec<(u64, TaskId)> = rounds
        .round(&whole(table), |proc, id, buf| second_look::cpu_ticks(proc, id.pid, buf))
        .into_iter()
        .map(|(id, now)| (used(id.pid, now), id))
        .filter(|(used, _)| *used > 0)
        .collect();
    busy.sort_unstable_by_key(|(used, id)| (std::cmp::Reverse(*used), *id));
    let by_worth: Vec<TaskId> = order.iter().map(|i| whole_process(&table.processes[*i])).collect();
    let first = order.iter().filter(|i| {
        let p = &table.processes[**i];
        service.has(p) || p.stat.state == b'D'
    });
    let mut chosen: Vec<TaskId> = first.map(|i| whole_process(&table.processes[*i])).take(PROCESSES_MAX / 2).collect();
    for id in busy.into_iter().map(|(_, id)| id).chain(by_worth) {
        if chosen.len() == PROCESSES_MAX {
            break;
        }
        if !chosen.contains(&id) {
            chosen.push(id);
        }
    }
    chosen
}

/// The tasks that are looked at several times: blocked ones, and the threads of what failed. Sorted by id.
fn watch(table: &Table, order: &[usize], service: &Service, sink: &mut Sink) -> Vec<TaskId> {
    let (mut blocked, mut others) = (Vec::new(), Vec::new());
    for p in order.iter().map(|i| &table.processes[*i]) {
        let of_service = service.has(p);
        for stat in std::iter::once(&p.stat).chain(p.threads.iter().map(|t| &t.stat)) {
            let id = TaskId { pid: p.stat.pid, tid: stat.pid, whole: false };
            match stat.state {
                b'D' => blocked.push((!of_service, id)),
                b'Z' | b'X' => {}
                _ if of_service => others.push(id),
                _ => {}
            }
        }
    }
    // Within one kind the order of worth stays.
    blocked.sort_by_key(|(other, _)| *other);
    let mut all: Vec<TaskId> = blocked.into_iter().map(|(_, id)| id).chain(others).collect();
    if all.len() > WATCHED_MAX {
        sink.missing(
            format!("further looks at {} tasks that are blocked or of what failed", all.len() - WATCHED_MAX),
            format!("beyond {WATCHED_MAX}"),
        );
        all.truncate(WATCHED_MAX);
    }
    all.sort_unstable();
    all
}

struct Measured<'a> {
    id: TaskId,
    sample: &'a Sample,
    rates: Rates,
    of_service: bool,
}

fn text(measured: &[Measured]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16_384);
    let seconds = measured.iter().map(|m| m.rates.seconds).sum::<f64>() / measured.len().max(1) as f64;
    let _ = writeln!(out, "rates of {} processes over {seconds:.2} s; CPU in percent of one CPU", measured.len());
    let service: Vec<&Measured> = measured.iter().filter(|m| m.of_service).collect();
    if !service.is_empty() {
        list(&mut out, "what failed", &service);
    }
    let by = |key: &dyn Fn(&Measured) -> f64| {
        let mut all: Vec<&Measured> = measured.iter().filter(|m| key(m) > 0.0).collect();
        all.sort_by(|a, b| key(b).total_cmp(&key(a)).then(a.id.cmp(&b.id)));
        all
    };
    list(&mut out, "most CPU", &by(&|m| m.rates.cpu_percent()));
    list(&mut out, "most bytes from and to storage", &by(&|m| m.rates.io_bytes()));
    list(&mut out, "most page faults that had to read", &by(&|m| m.rates.major_faults));
    out
}

fn list(out: &mut Vec<u8>, title: &str, all: &[&Measured]) {
    let _ = writeln!(out, "\n{title} ({}):", all.len());
    if all.is_empty() {
        return;
    }
    out.extend_from_slice(
        b"    PID S   %CPU   %USR   %SYS   READ_KB/S  WRITE_KB/S  MINFLT/S MAJFLT/S  VCSW/S NVCSW/S COMM\n",
    );
    let rate = |n: Option<f64>, width: usize, by: f64| match n {
        Some(n) => format!("{:>width$.0}", n / by),
        None => format!("{:>width$}", "-"),
    };
    for m in all.iter().take(TOP) {
        let (r, s) = (&m.rates, &m.sample.stat);
        let _ = write!(
            out,
            "{:>7} {} {:>6.1} {:>6.1} {:>6.1} {} {} {:>9.0} {:>8.0} {} {} ",
            s.pid,
            char::from(s.state).escape_default(),
            r.cpu_percent(),
            r.user_percent,
            r.system_percent,
            rate(r.read_bytes, 11, 1e3),
            rate(r.written_bytes, 11, 1e3),
            r.minor_faults,
            r.major_faults,
            rate(r.voluntary, 7, 1.0),
            rate(r.nonvoluntary, 7, 1.0),
        );
        push_word(out, &s.comm);
        out.push(b'\n');
    }
    if all.len() > TOP {
        let _ = writeln!(out, "  and {} more", all.len() - TOP);
    }
}

fn jsonl(measured: &[Measured]) -> Vec<u8> {
    let mut out = Vec::with_capacity(300 * measured.len());
    for m in measured {
        let (r, s) = (&m.rates, &m.sample.stat);
        let _ = write!(out, "{{\"pid\":{},\"comm\":", s.pid);
        push_json(&mut out, &s.comm);
        out.extend_from_slice(b",\"state\":");
        push_json(&mut out, &[s.state]);
        let _ = write!(out, ",\"of_service\":{},\"seconds\":{:.3}", m.of_service, r.seconds);
        let mut number = |name: &str, n: Option<f64>| {
            if let Some(n) = n {
                let _ = write!(out, ",\"{name}\":{n:.1}");
            }
        };
        number("user_percent", Some(r.user_percent));
        number("system_percent", Some(r.system_percent));
        number("read_bytes_per_s", r.read_bytes);
        number("written_bytes_per_s", r.written_bytes);
        number("minor_faults_per_s", Some(r.minor_faults));
        number("major_faults_per_s", Some(r.major_faults));
        number("voluntary_switches_per_s", r.voluntary);
        number("nonvoluntary_switches_per_s", r.nonvoluntary);
        out.extend_from_slice(b"}\n");
    }
    out
}
