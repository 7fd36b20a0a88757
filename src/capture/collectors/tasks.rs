//! `tasks`: every process and thread, its state and where it waits in the kernel; stuck ones first.
//!
//! Two entries of one scan: `lastgasp/tasks.txt` to be read, `lastgasp/tasks.jsonl` (one object a process)
//! to be searched. Only files that do not take the target's memory lock are read; each process has its
//! own guard, because `stat` still waits for a process that hangs inside execve; those are told by their `status`
//! and looked at last.

use crate::archive::Effort;
use crate::capture::collectors::suspects;
use crate::capture::content::Pieces;
use crate::capture::subject::Service;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier, guard};
use crate::host::bytes::{pad_right, push_json, push_number, push_right, push_word};
use crate::host::stat::Stat;
use crate::host::tasks::{Machine, Process, Scanner, Scratch, Table, Wait};
use crate::host::worth;
use crate::sys::capability::Capability;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub const SPEC: Spec = Spec {
    name: "tasks",
    doc: "State of every process and thread, with the kernel stacks of those that hang: what is stuck, and where.",
    tier: Tier::T0,
    source: Source::Run(run),
    cap_bytes: 32 << 20,
    limit_ms: 5_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[Capability::SysPtrace, Capability::SysAdmin],
};

/// Names of tasks shown for one place in the overview.
const NAMES_MAX: usize = 8;
/// Processes of the failing service that the overview names.
const SERVICE_MAX: usize = 100;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let table = scan(ctx, sink)?;
    let service = Service::of(ctx);
    let order = worth::order(&table, |p| service.has(p));
    sink.put("lastgasp/tasks.txt", text(&table, &order, &service))?;
    sink.put_pieces("lastgasp/tasks.jsonl", jsonl(&table, &order))?;
    suspects::note(ctx, &table);
    // Another collector may have been first, which is as good.
    let _ = ctx.shared.tasks.set(table);
    Ok(())
}

/// The scan of this capture: the shared one, or one made now.
pub(crate) fn scan(ctx: &Context, sink: &mut Sink) -> Result<Arc<Table>, CollectError> {
    if let Some(table) = ctx.shared.tasks.get() {
        return Ok(Arc::clone(table));
    }
    let scanner = Arc::new(Scanner::new(&ctx.root).map_err(CollectError::failed("open /proc"))?);
    let (pids, more) = scanner.pids().map_err(CollectError::failed("list /proc"))?;
    let pids = Arc::new(pids);
    let looker = Arc::clone(&scanner);
    let swept = guard::PER_PROCESS
        .sweep(Arc::clone(&pids), ctx.deadline, Scratch::default, move |scratch, pid, _| looker.look(scratch, *pid));
    let mut table = Table::assemble(Machine::read(&ctx.root), swept.results.into_iter().flatten());
    table.skipped = swept.skipped;
    table.stuck = swept.stuck.into_iter().map(|s| (pids[s.index], s.place)).collect();
    look_into_execve(&mut table, &scanner, ctx, sink);
    threads_of(&mut table, &scanner, ctx);
    for (pid, place) in &table.stuck {
        sink.missing(format!("/proc/{pid}"), format!("did not answer in 200 ms; the reader hangs at {place}"));
    }
    if more {
        sink.missing("/proc", format!("more than {} processes", crate::host::tasks::PROCESSES_MAX));
    }
    if table.skipped > 0 {
        sink.missing(format!("{} processes", table.skipped), "not looked at: out of time, or too many readers hang");
    }
    if table.hidden > 0 {
        sink.missing(format!("{} processes of other users", table.hidden), "hidden: needs CAP_SYS_PTRACE");
    }
    let denied = scanner.stacks_denied.load(Ordering::Relaxed);
    if denied > 0 {
        sink.missing(
            format!("kernel stacks of {denied} blocked tasks"),
            "denied: needs CAP_SYS_ADMIN and CAP_SYS_PTRACE",
        );
    }
    let left_out: usize = table.processes.iter().map(|p| p.threads_left_out).sum();
    if left_out > 0 {
        let (one, all) = (crate::host::tasks::THREADS_PER_PROCESS, crate::host::tasks::THREADS_MAX);
        sink.missing(format!("{left_out} threads"), format!("beyond {one} of one process or {all} in all"));
    }
    if table.threads_unseen > 0 {
        sink.missing(format!("{} threads", table.threads_unseen), "not looked at: out of time, or their readers hang");
    }
    Ok(Arc::new(table))
}

/// Processes inside execve, of which the scan knows no more than `status` says: on some kernels there is more to be
/// read, on others whoever tries waits with them. Two tries tell.
fn look_into_execve(table: &mut Table, scanner: &Arc<Scanner>, ctx: &Context, sink: &mut Sink) {
    let pids = Arc::new(table.in_execve());
    if pids.is_empty() {
        return;
    }
    let looker = Arc::clone(scanner);
    let swept = guard::INSIDE_EXECVE
        .sweep(Arc::clone(&pids), ctx.deadline, Scratch::brave, move |scratch, pid, _| looker.look(scratch, *pid));
    for seen in swept.results.into_iter().flatten() {
        table.replace(seen);
    }
    for s in &swept.stuck {
        let what = format!("/proc/{} beyond its status", pids[s.index]);
        sink.missing(
            what,
            format!("it hangs inside execve, and who reads it waits with it; the reader hangs at {}", s.place),
        );
    }
    if swept.skipped > 0 {
        let what = format!("/proc/PID beyond its status, of {} processes", swept.skipped);
        sink.missing(what, "not tried: they hang inside execve like those whose readers hang");
    }
}

/// The threads, of the processes that are worth the most first: what the caps and the deadline cut is the crowd.
fn threads_of(table: &mut Table, scanner: &Arc<Scanner>, ctx: &Context) {
    let service = Service::of(ctx);
    let threaded = Arc::new(table.threaded(|p| service.has(p)));
    let looker = Arc::clone(scanner);
    let swept = guard::PER_PROCESS.sweep(
        Arc::clone(&threaded),
        ctx.deadline,
        Scratch::default,
        move |scratch, (pid, all), beat| looker.threads(scratch, *pid, *all, &|| beat.tick()),
    );
    let mut unseen = 0;
    for ((pid, all), threads) in threaded.iter().zip(swept.results) {
        match threads {
            Some(threads) => table.set_threads(*pid, threads),
            None => unseen += usize::try_from(*all).unwrap_or(usize::MAX).saturating_sub(1),
        }
    }
    table.threads_unseen = unseen;
    table.stuck.extend(swept.stuck.into_iter().map(|s| (threaded[s.index].0, s.place)));
}

/// A task of the table: the process itself or one of its threads.
struct Task<'a> {
    process: &'a Process,
    stat: &'a Stat,
    wait: &'a Wait,
}

/// All of them, those of the processes that are worth the most first.
fn all_tasks<'a>(table: &'a Table, order: &'a [usize]) -> impl Iterator<Item = Task<'a>> {
    order.iter().map(|i| &table.processes[*i]).flat_map(|process| {
        let own = Task { process, stat: &process.stat, wait: &process.wait };
        let threads = process.threads.iter().map(move |t| Task { process, stat: &t.stat, wait: &t.wait });
        std::iter::once(own).chain(threads)
    })
}

fn text(table: &Table, order: &[usize], service: &Service) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 * table.processes.len() + 4096);
    overview(&mut out, table, order);
    of_service(&mut out, table, order, service);
    blocked(&mut out, table, order);
    columns(&mut out, table, order);
    out
}

/// The failing service's processes by name, where the trigger says which they are.
fn of_service(out: &mut Vec<u8>, table: &Table, order: &[usize], service: &Service) {
    let of: Vec<&Process> = order.iter().map(|i| &table.processes[*i]).filter(|p| service.has(p)).collect();
    if of.is_empty() {
        return;
    }
    let _ = write!(out, "processes of what failed ({}):", of.len());
    for p in of.iter().take(SERVICE_MAX) {
        out.push(b' ');
        push_word(out, &p.stat.comm);
        let _ = write!(out, "({})", p.stat.pid);
    }
    if of.len() > SERVICE_MAX {
        let _ = write!(out, " and {} more", of.len() - SERVICE_MAX);
    }
    out.extend_from_slice(b"\n\n");
}

/// Counts by state, and blocked tasks grouped by where they wait.
fn overview(out: &mut Vec<u8>, table: &Table, order: &[usize]) {
    let mut states = BTreeMap::<u8, u64>::new();
    let mut places = BTreeMap::<&[u8], Vec<Task>>::new();
    let mut threads = 0;
    for task in all_tasks(table, order) {
        threads += 1;
        *states.entry(task.stat.state).or_default() += 1;
        if task.stat.state == b'D' {
            places.entry(task.wait.wchan.as_deref().unwrap_or(b"?")).or_default().push(task);
        }
    }
    let _ = write!(out, "{} processes, {threads} tasks in all; by state:", table.processes.len());
    for (state, n) in &states {
        let _ = write!(out, " {}={n}", char::from(*state));
    }
    out.push(b'\n');
    for (pid, place) in &table.stuck {
        let _ = writeln!(out, "pid {pid}: [unreadable: did not answer in 200 ms; the reader hangs at {place}]");
    }
    if places.is_empty() {
        out.extend_from_slice(b"no task is blocked (state D)\n\n");
        return;
    }
    out.extend_from_slice(b"\nblocked tasks (state D) by the kernel function they wait in:\n");
    let mut groups: Vec<_> = places.into_iter().collect();
    groups.sort_by_key(|(_, tasks)| std::cmp::Reverse(tasks.len()));
    for (wchan, tasks) in groups {
        push_right(out, tasks.len() as u64, 6);
        out.push(b' ');
        push_word(out, wchan);
        out.push(b':');
        for t in tasks.iter().take(NAMES_MAX) {
            out.push(b' ');
            push_word(out, &t.stat.comm);
            let _ = write!(out, "({})", t.stat.pid);
        }
        if tasks.len() > NAMES_MAX {
            let _ = write!(out, " and {} more", tasks.len() - NAMES_MAX);
        }
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Each task that is blocked, or waits for a FUSE server, with its kernel stack.
fn blocked(out: &mut Vec<u8>, table: &Table, order: &[usize]) {
    let inside = |t: &Task<'_>| t.process.in_execve && std::ptr::eq(t.stat, &t.process.stat);
    for t in all_tasks(table, order).filter(|t| t.stat.state == b'D' || t.wait.stack.is_some() || inside(t)) {
        out.extend_from_slice(b"task ");
        push_word(out, &t.stat.comm);
        let _ = write!(out, " tid {} of pid {}", t.stat.pid, t.process.stat.pid);
        for (name, value) in [("wchan", t.wait.wchan.as_deref()), ("syscall", t.wait.syscall.as_deref())] {
            if let Some(v) = value {
                let _ = write!(out, " {name}=");
                push_word(out, v.split(|b| *b == b' ').next().unwrap_or(v));
            }
        }
        if t.process.status.pending.is_some_and(|p| p & 1 << 8 != 0) {
            out.extend_from_slice(b" (killed, but cannot die)");
        }
        if inside(&t) {
            out.extend_from_slice(b" (inside execve: no wchan, syscall or stack without waiting with it)");
        }
        out.push(b'\n');
        for frame in t.wait.stack.iter().flat_map(|s| crate::host::bytes::lines(s)) {
            out.extend_from_slice(b"    ");
            // `[<0>] function+0x1/0x2`: the address is hidden anyway.
            crate::host::bytes::push_safe(out, frame.strip_prefix(b"[<0>] ").unwrap_or(frame));
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

/// One line a process, in the order of their worth.
fn columns(out: &mut Vec<u8>, table: &Table, order: &[usize]) {
    out.extend_from_slice(
        b"    PID    PPID   UID S  NI  THR    RSS_KIB   SWAP_KIB  UTIME_S  STIME_S WCHAN                    COMM\n",
    );
    let hz = table.machine.hz.max(1);
    let optional = |out: &mut Vec<u8>, n: Option<u64>, width: usize| match n {
        Some(n) => push_right(out, n, width),
        None => {
            out.extend(std::iter::repeat_n(b' ', width - 1));
            out.push(b'-');
        }
    };
    for p in order.iter().map(|i| &table.processes[*i]) {
        let s = &p.stat;
        push_right(out, s.pid.unsigned_abs().into(), 7);
        out.push(b' ');
        push_right(out, s.ppid.unsigned_abs().into(), 7);
        out.push(b' ');
        optional(out, p.status.euid.map(u64::from), 5);
        out.extend_from_slice(&[b' ', s.state, b' ']);
        let _ = write!(out, "{:>3} ", s.nice);
        push_right(out, s.threads, 4);
        out.push(b' ');
        push_right(out, s.rss_pages.saturating_mul(table.machine.page_bytes) / 1024, 10);
        out.push(b' ');
        optional(out, p.status.vm_swap_kib, 10);
        out.push(b' ');
        push_right(out, s.utime / hz, 8);
        out.push(b' ');
        push_right(out, s.stime / hz, 8);
        out.push(b' ');
        let start = out.len();
        push_word(out, p.wait.wchan.as_deref().unwrap_or(b"-"));
        pad_right(out, start, 24);
        out.push(b' ');
        push_word(out, &s.comm);
        out.push(b'\n');
    }
}

/// One JSON object a line: the process, its figures, and its threads grouped by state and wchan, with those
/// that do not simply sleep one by one. In the order of their worth.
fn jsonl(table: &Table, order: &[usize]) -> Pieces {
    let mut text = Pieces::new(Effort::Thorough);
    for p in order.iter().map(|i| &table.processes[*i]) {
        text.pack();
        object(text.open(), p, &table.machine);
        text.open().extend_from_slice(b"}\n");
    }
    text
}

fn object(out: &mut Vec<u8>, p: &Process, machine: &Machine) {
    let (s, st) = (&p.stat, &p.status);
    out.extend_from_slice(b"{\"pid\":");
    push_number(out, s.pid.unsigned_abs().into());
    out.extend_from_slice(b",\"comm\":");
    push_json(out, &s.comm);
    out.extend_from_slice(b",\"state\":");
    push_json(out, &[s.state]);
    let mut number = |name: &str, n: Option<u64>| {
        if let Some(n) = n {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            push_number(out, n);
        }
    };
    number("ppid", Some(s.ppid.unsigned_abs().into()));
    number("uid", st.uid.map(Into::into));
    number("euid", st.euid.map(Into::into));
    number("gid", st.gid.map(Into::into));
    number("utime_ticks", Some(s.utime));
    number("stime_ticks", Some(s.stime));
    number("start_ticks", Some(s.start));
    number("threads", Some(s.threads));
    number("rss_kib", Some(s.rss_pages.saturating_mul(machine.page_bytes) / 1024));
    number("vsize_kib", Some(s.vsize / 1024));
    number("hwm_kib", st.vm_hwm_kib);
    number("swap_kib", st.vm_swap_kib);
    number("locked_kib", st.vm_lck_kib);
    number("minor_faults", Some(s.minor_faults));
    number("major_faults", Some(s.major_faults));
    number("policy", Some(s.policy));
    number("rt_priority", Some(s.rt_priority));
    number("processor", s.processor.map(Into::into));
    number("blkio_ticks", s.blkio_ticks);
    number("voluntary_switches", st.voluntary);
    number("nonvoluntary_switches", st.nonvoluntary);
    number("pending_signals", st.pending.filter(|n| *n != 0));
    number("inner_pid", st.inner_pid.map(|n| u64::from(n.unsigned_abs())));
    let _ = write!(out, ",\"nice\":{}", s.nice);
    if let Some(adj) = p.oom_score_adj {
        let _ = write!(out, ",\"oom_score_adj\":{adj}");
    }
    if s.is_kernel_thread() {
        out.extend_from_slice(b",\"kernel_thread\":true");
    }
    if p.in_execve {
        out.extend_from_slice(b",\"in_execve\":true");
    }
    if let Some(cgroup) = &p.cgroup {
        out.extend_from_slice(b",\"cgroup\":");
        push_json(out, cgroup);
    }
    wait(out, &p.wait);
    threads(out, p);
}

fn wait(out: &mut Vec<u8>, w: &Wait) {
    for (name, value) in [("wchan", w.wchan.as_deref()), ("syscall", w.syscall.as_deref())] {
        if let Some(v) = value {
            let _ = write!(out, ",\"{name}\":");
            push_json(out, v);
        }
    }
    if let Some(stack) = &w.stack {
        out.extend_from_slice(b",\"stack\":[");
        for (i, frame) in crate::host::bytes::lines(stack).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_json(out, frame.strip_prefix(b"[<0>] ").unwrap_or(frame));
        }
        out.push(b']');
    }
}

/// Sleeping threads as counts by wchan: 500 in `futex_wait_queue` are one fact. Others each.
fn threads(out: &mut Vec<u8>, p: &Process) {
    if p.threads.is_empty() {
        return;
    }
    let mut asleep = BTreeMap::<&[u8], u64>::new();
    let asleep_only = |t: &&crate::host::tasks::Thread| t.stat.state == b'S' && t.wait.stack.is_none();
    for t in p.threads.iter().filter(asleep_only) {
        *asleep.entry(t.wait.wchan.as_deref().unwrap_or(b"?")).or_default() += 1;
    }
    out.extend_from_slice(b",\"sleeping_threads\":{");
    for (i, (wchan, n)) in asleep.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_json(out, wchan);
        out.push(b':');
        push_number(out, *n);
    }
    out.extend_from_slice(b"},\"other_threads\":[");
    for (i, t) in p.threads.iter().filter(|t| !asleep_only(t)).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let _ = write!(out, "{{\"tid\":{},\"comm\":", t.stat.pid);
        push_json(out, &t.stat.comm);
        let _ = write!(out, ",\"state\":\"{}\"", char::from(t.stat.state).escape_default());
        let _ = write!(out, ",\"utime_ticks\":{},\"stime_ticks\":{}", t.stat.utime, t.stat.stime);
        wait(out, &t.wait);
        out.push(b'}');
    }
    out.push(b']');
    if p.threads_left_out > 0 {
        let _ = write!(out, ",\"threads_left_out\":{}", p.threads_left_out);
    }
}
