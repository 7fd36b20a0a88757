//! `processes`: command lines, programs, directories, limits and I/O of every process, as ps shows them.
//!
//! Reading a command line or an environment takes the target's memory lock: a process that hangs while it
//! holds that lock would hang us too. So each process has its own guard, and what never blocks is read
//! before; those that look as if they would hang are read last, and of two hundred only a few are tried. What cannot be
//! read is shown as the cache has it, with the time. Secrets on command lines are masked here; of environments only the names are kept.

use crate::capture::collectors::{environments, tasks};
use crate::capture::command_lines::CommandLines;
use crate::capture::content::Pieces;
use crate::capture::guard::{Doubt, Outcome, PER_PROCESS, Wary};
use crate::capture::subject::Service;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::bytes::{push_number, push_safe, push_word};
use crate::host::limits::{Io, Limit, Limits, parse_io, parse_limits};
use crate::host::links::{Links, Shelf};
use crate::host::mask::mask_cmdline;
use crate::host::names::{Names, Text};
use crate::host::ps::{self, Shape};
use crate::host::suspicion::{Suspicion, is_memory_wait};
use crate::host::tasks::{Process, Table};
use crate::host::users::Users;
use crate::host::worth;
use crate::model::{Mono, Pid};
use crate::sys::capability::Capability;
use crate::sys::procdir::{Buf, Name, ProcDir};
use crate::sys::{clock, rlimit};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, OnceLock};

pub const SPEC: Spec = Spec {
    name: "processes",
    doc: "Processes as ps shows them, with masked command lines, programs, limits, I/O and names of environment variables.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 64 << 20,
    limit_ms: 6_000,
    sensitivity: Sensitivity::Content,
    capabilities: &[Capability::SysPtrace],
};

/// A command line longer than this is cut: java's class paths have tens of KiB.
const CMDLINE_CAP: usize = 8 * 1024;
const ENVIRON_CAP: usize = 64 * 1024;
/// Processes whose environment is read, in the order of their worth. The crowd has that of its parent, and reading it takes a
/// lock of each.
const ENVIRONS_MAX: usize = 500;
/// Most bytes of one of the two texts of ps: beyond, the processes stand in the order of their worth and the crowd is cut.
const PS_CAP: usize = 24 << 20;

/// What never blocks; kept even when the command line hangs.
#[derive(Debug, Default)]
struct Early {
    exe: Option<Text>,
    cwd: Option<Text>,
    io: Option<(Mono, Io)>,
    limits: Option<Arc<Limits>>,
    denied: bool,
}

/// What takes the memory lock.
#[derive(Debug, Default)]
struct Late {
    /// Masked, safe to print. `None`: the process has none (kernel threads, zombies).
    cmdline: Option<Vec<u8>>,
    cmdline_cut: bool,
    /// Sorted names, a blank before each; `None`: not allowed.
    environ: Option<Text>,
    denied: bool,
}

struct Item {
    pid: i32,
    doubt: Suspicion,
    in_execve: bool,
    /// Its environment is to be read.
    environ: bool,
    /// Where it waits: those that hang their reader have that in common.
    class: u64,
    early: OnceLock<Early>,
}

impl Item {
    /// `place`: in the order of worth, from 0.
    fn new((place, p): (usize, &Process)) -> Item {
        let mut hasher = DefaultHasher::new();
        (p.stat.state, &p.wait.wchan).hash(&mut hasher);
        Item {
            pid: p.stat.pid,
            doubt: Suspicion::of(p),
            in_execve: p.in_execve,
            environ: place < ENVIRONS_MAX,
            class: hasher.finish(),
            early: OnceLock::new(),
        }
    }
}

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let table = tasks::scan(ctx, sink)?;
    let root = ctx.root.clone();
    let users = PER_PROCESS.run(move || Users::read(&root)).unwrap_or_else(|place| {
        sink.missing("user names", format!("/etc/passwd did not answer in 200 ms; the reader hangs at {place}"));
        Users::default()
    });
    let real = ctx.root.is_real();
    let links = Arc::clone(&ctx.shared.links);
    let proc = ProcDir::open(&ctx.root.path("/proc")).map_err(CollectError::failed("open /proc"))?;
    let service = Service::of(ctx);
    let order = worth::order(&table, |p| service.has(p));
    let user_space = order.iter().map(|i| &table.processes[*i]).filter(|p| !p.stat.is_kernel_thread());
    let items: Arc<Vec<Item>> = Arc::new(user_space.enumerate().map(Item::new).collect());
    let cached = ctx.shared.command_lines.get().cloned().unwrap_or_default();
    let outcome = read_all(&items, (proc, links), real, ctx);
    let mut io: Vec<_> = items.iter().filter_map(|i| Some((i.pid, i.early.get()?.io?))).collect();
    io.sort_unstable_by_key(|(pid, _)| *pid);
    // Nobody else sets it.
    let _ = ctx.shared.io.set(io);
    let hung = Hung { table: &table, items: &items, cached: &cached };
    let unreadable = hung.tell(&outcome, sink);
    let mut details: BTreeMap<i32, (&Item, Option<Late>)> =
        items.iter().zip(outcome.results).map(|(item, late)| (item.pid, (item, late))).collect();
    let links = details.values().filter(|d| d.0.early.get().is_some_and(|e| e.denied)).count();
    if links > 0 {
        sink.missing(format!("program, directory and I/O of {links} processes of other users"), "needs CAP_SYS_PTRACE");
    }
    let environs = details.values().filter(|d| d.1.as_ref().is_some_and(|l| l.denied)).count();
    if environs > 0 {
        sink.missing(format!("environment names of {environs} processes of other users"), "needs CAP_SYS_PTRACE");
    }
    if items.len() > ENVIRONS_MAX {
        let what = format!("environment names of {} processes", items.len() - ENVIRONS_MAX);
        sink.missing(what, format!("beyond the {ENVIRONS_MAX} that matter the most"));
    }

    let shape = Shape { machine: &table.machine, users: &users };
    for (entry, with_threads) in [("sos_commands/process/ps_auxww", false), ("sos_commands/process/ps_auxwwwm", true)] {
        let by_pid: Vec<usize> = (0..table.processes.len()).collect();
        let list = Listed { table: &table, details: &details, unreadable: &unreadable, with_threads };
        let (mut text, mut cut) = list.text(&shape, &by_pid);
        if cut {
            (text, cut) = list.text(&shape, &order);
        }
        sink.put_pieces_cut(entry, text, cut)?;
    }
    sink.put("lastgasp/processes.tsv", figures(&table, &details))?;
    let taken = |(pid, (_, late)): (&i32, &mut (&Item, Option<Late>))| Some((*pid, late.as_mut()?.environ.take()?));
    sink.put("lastgasp/environ_names.txt", environments::text(details.iter_mut().filter_map(taken)))?;
    Ok(())
}

/// Reads what each process has: all of the healthy ones, of the others as many as may hang.
fn read_all(items: &Arc<Vec<Item>>, (proc, links): (ProcDir, Arc<Shelf>), real: bool, ctx: &Context) -> Outcome<Late> {
    let proc = Arc::new(proc);
    let again = Arc::clone(&proc);
    let wary = Wary {
        doubt: &|item: &Item| match item.doubt {
            Suspicion::None => Doubt::Healthy,
            Suspicion::Blocked => Doubt::Doubtful,
            Suspicion::WaitsForMemory { .. } => Doubt::Hangs,
        },
        class: &|item: &Item| item.class,
        still_hangs: &|item: &Item| match item.doubt {
            Suspicion::WaitsForMemory { tid, .. } => still_waits(&again, item.pid, tid),
            _ => true,
        },
    };
    let (theirs, late) = (Arc::clone(&proc), Arc::clone(items));
    let shelf = Arc::clone(&links);
    let outcome = wary.sweep(&PER_PROCESS, items, ctx.deadline, Scratch::default, move |scratch, item, _| {
        look(&theirs, &shelf, scratch, real, item)
    });
    // What never waits is read of those too that were spared.
    let spared = Arc::new(outcome.spared.clone());
    PER_PROCESS.sweep(spared, ctx.deadline, Scratch::default, move |scratch, i: &usize, _| {
        look_early(&proc, &links, scratch, real, &late[*i]);
    });
    outcome
}

/// Whether a thread that waited for the memory lock of its process still does.
fn still_waits(proc: &ProcDir, pid: i32, tid: i32) -> bool {
    let mut buf = Buf::default();
    let dir = proc.open_dir(Name::number(pid.unsigned_abs().into()).as_cstr()).and_then(|d| d.open_dir(c"task"));
    let name = Name::build("", tid.unsigned_abs().into(), "/wchan");
    dir.is_ok_and(|d| d.read_record(name.as_cstr(), &mut buf, 256).is_ok()) && is_memory_wait(buf.trim_ascii())
}

/// Processes whose command line cannot be read.
struct Hung<'a> {
    table: &'a Table,
    items: &'a [Item],
    cached: &'a CommandLines,
}

impl Hung<'_> {
    /// What stands in the place of each command line, and the lines of the manifest.
    fn tell(&self, outcome: &Outcome<Late>, sink: &mut Sink) -> BTreeMap<i32, Unreadable> {
        let mut all = BTreeMap::new();
        let known = |u: &Unreadable| u.cached.as_ref().map_or("", |_| "; shown as it was before");
        for s in &outcome.stuck {
            let item = &self.items[s.index];
            let unreadable = self.one(item, "cmdline did not answer in 200 ms");
            let known = known(&unreadable);
            let why = format!("did not answer in 200 ms; the reader hangs at {}{known}", s.place);
            sink.missing(format!("/proc/{}/cmdline", item.pid), why);
            all.insert(item.pid, unreadable);
        }
        let execve = (0..self.items.len()).filter(|i| self.items[*i].in_execve).collect::<Vec<_>>();
        for (indices, why) in [
            (&outcome.spared, "not tried, because the readers of others like it hang"),
            (&outcome.late, "not tried: out of time"),
            (&execve, "it hangs inside execve, where it has none"),
        ] {
            let of: Vec<Unreadable> = indices.iter().map(|i| self.one(&self.items[*i], why)).collect();
            if of.is_empty() {
                continue;
            }
            let remembered = of.iter().filter(|u| u.cached.is_some()).count();
            sink.missing(
                format!("/proc/PID/cmdline of {} processes", of.len()),
                format!("{why}; {remembered} of them are shown as they were before"),
            );
            all.extend(indices.iter().map(|i| self.items[*i].pid).zip(of));
        }
        all
    }

    fn one(&self, item: &Item, why: &str) -> Unreadable {
        let process = self.table.get(item.pid);
        let line = process.and_then(|p| match p.in_execve {
            true => self.cached.of_named(item.pid, &p.stat.comm),
            false => self.cached.of(item.pid, p.stat.start),
        });
        let mut note = format!("unreadable: {why}");
        let wchan = process.and_then(|p| p.wait.wchan.as_deref()).map(String::from_utf8_lossy);
        note += &wchan.map_or_else(String::new, |w| format!("; wchan={w}"));
        if let (Suspicion::WaitsForMemory { tid, .. }, Some(function)) = (item.doubt, item.doubt.function()) {
            note += &format!("; thread {tid} waits for its memory lock in {function}");
        }
        let now_s = clock::mono().0 / 1_000_000_000;
        let cached = line.map(|l| {
            let before = format!("[as it was {} s before", now_s.saturating_sub(u64::from(l.read_s)));
            (l.text.clone(), before + if l.cut { ", cut; " } else { "; " })
        });
        Unreadable { cached, note }
    }
}

/// In the place of a command line.
struct Unreadable {
    /// The one that was read while it was healthy, and the start of the remark that says so.
    cached: Option<(Box<[u8]>, String)>,
    note: String,
}

/// What a reading thread keeps between processes.
#[derive(Default)]
struct Scratch {
    buf: Buf,
    names: Names,
    /// Of the process before: nearly all processes have the same.
    last_limits: Arc<Limits>,
}

/// The copy of `new` that there is, if it is that of the process before.
fn shared(last: &mut Arc<Limits>, new: Limits) -> Arc<Limits> {
    if **last != new {
        *last = Arc::new(new);
    }
    Arc::clone(last)
}

/// What never waits for the memory lock.
fn look_early(proc: &ProcDir, links: &Shelf, scratch: &mut Scratch, real: bool, item: &Item) -> Option<ProcDir> {
    let Scratch { buf, names, last_limits } = scratch;
    let dir = proc.open_dir(Name::number(item.pid.unsigned_abs().into()).as_cstr()).ok()?;
    // Inside execve all but the command line waits, and that is not there yet.
    if item.in_execve {
        return None;
    }
    let mut early = Early::default();
    let mut refused = false;
    if let Some(known) = links.take(item.pid) {
        (early.exe, early.cwd) = (Some(known.exe), Some(known.cwd));
    } else {
        for (name, slot) in [(c"exe", &mut early.exe), (c"cwd", &mut early.cwd)] {
            match dir.read_link(name, buf, 4096) {
                Ok(()) => *slot = Some(names.keep(buf)),
                Err(e) => refused |= is_denied(&e),
            }
        }
        if let (Some(exe), Some(cwd)) = (&early.exe, &early.cwd) {
            links.leave(item.pid, Links { exe: exe.clone(), cwd: cwd.clone() });
        }
    }
    match dir.read_record(c"io", buf, 512) {
        Ok(_) => early.io = Some((clock::mono(), parse_io(buf))),
        Err(e) => refused |= is_denied(&e),
    }
    // Five system calls instead of a file that the kernel formats in 19 µs; another user's want
    // CAP_SYS_RESOURCE, which the file does not.
    match real.then(|| rlimit::of(Pid(item.pid))).transpose() {
        Ok(Some(l)) => early.limits = Some(shared(last_limits, Limits::from(l))),
        _ if dir.read_record(c"limits", buf, 4096).is_ok() => {
            early.limits = Some(shared(last_limits, parse_limits(buf)))
        }
        _ => {}
    }
    early.denied = refused;
    // Nobody else sets it: each item is looked at once.
    let _ = item.early.set(early);
    Some(dir)
}

fn look(proc: &ProcDir, links: &Shelf, scratch: &mut Scratch, real: bool, item: &Item) -> Late {
    let Some(dir) = look_early(proc, links, scratch, real, item) else { return Late::default() };
    let Scratch { buf, names, .. } = scratch;
    let mut late = Late::default();
    if let Ok(cut) = dir.read_record(c"cmdline", buf, CMDLINE_CAP)
        && !buf.is_empty()
    {
        late.cmdline_cut = cut;
        let mut masked = Vec::with_capacity(buf.len());
        mask_cmdline(buf, &mut masked);
        let mut safe = Vec::with_capacity(masked.len());
        push_safe(&mut safe, &masked);
        late.cmdline = Some(safe);
    }
    if !item.environ {
        return late;
    }
    match dir.read_record(c"environ", buf, ENVIRON_CAP) {
        Ok(_) => late.environ = Some(names.keep(&environments::names(buf))),
        Err(e) => late.denied = is_denied(&e),
    }
    late
}

fn is_denied(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::PermissionDenied
}

type Details<'a> = BTreeMap<i32, (&'a Item, Option<Late>)>;

/// What `ps` lists.
struct Listed<'a> {
    table: &'a Table,
    details: &'a Details<'a>,
    unreadable: &'a BTreeMap<i32, Unreadable>,
    with_threads: bool,
}

impl Listed<'_> {
    /// The lines, in this order of the table's processes; true when they were cut at [`PS_CAP`].
    fn text(&self, shape: &Shape, order: &[usize]) -> (Pieces, bool) {
        let mut text = Pieces::default();
        text.open().extend_from_slice(ps::HEADER);
        for p in order.iter().map(|i| &self.table.processes[*i]) {
            if text.size() > PS_CAP {
                return (text, true);
            }
            text.pack();
            let out = text.open();
            shape.process(out, p, self.with_threads);
            command(out, p, self.details, self.unreadable);
            out.push(b'\n');
            if self.with_threads {
                shape.thread(out, p, &p.stat);
                for t in &p.threads {
                    text.pack();
                    shape.thread(text.open(), p, &t.stat);
                }
            }
        }
        (text, false)
    }
}

/// The command line, or the comm in brackets as ps has it.
fn command(out: &mut Vec<u8>, p: &Process, details: &Details, unreadable: &BTreeMap<i32, Unreadable>) {
    let late = details.get(&p.stat.pid).and_then(|d| d.1.as_ref());
    if let Some(line) = late.and_then(|l| l.cmdline.as_ref()) {
        out.extend_from_slice(line);
        if late.is_some_and(|l| l.cmdline_cut) {
            out.extend_from_slice(b" [cut]");
        }
        return;
    }
    let unreadable = unreadable.get(&p.stat.pid);
    let start = match unreadable.and_then(|u| u.cached.as_ref()) {
        Some((text, start)) => {
            out.extend_from_slice(text);
            start.as_str()
        }
        None => {
            out.push(b'[');
            push_word(out, &p.stat.comm);
            out.push(b']');
            "["
        }
    };
    if p.stat.state == b'Z' {
        out.extend_from_slice(b" <defunct>");
    }
    if let Some(u) = unreadable {
        push_safe(out, format!(" {start}{}]", u.note).as_bytes());
    }
}

fn figures(table: &Table, details: &Details) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 * details.len());
    out.extend_from_slice(
        b"pid\tcomm\texe\tcwd\tcgroup\tread_bytes\twrite_bytes\tread_chars\twrite_chars\topen_files_soft\topen_files_hard\t\
          processes_soft\tcore_soft\tlocked_memory_soft\taddress_space_soft\n",
    );
    for p in &table.processes {
        let Some((item, _)) = details.get(&p.stat.pid) else { continue };
        let Some(early) = item.early.get() else { continue };
        push_number(&mut out, p.stat.pid.unsigned_abs().into());
        for text in [Some(&p.stat.comm[..]), early.exe.as_deref(), early.cwd.as_deref(), p.cgroup.as_deref()] {
            out.push(b'\t');
            push_safe(&mut out, text.unwrap_or_default());
        }
        let (_, io) = early.io.unwrap_or_default();
        for n in [io.read_bytes, io.write_bytes, io.read_chars, io.write_chars] {
            out.push(b'\t');
            if let Some(n) = n {
                push_number(&mut out, n);
            }
        }
        let l = early.limits.as_deref().copied().unwrap_or_default();
        let hard = l.open_files.map(|x| Limit { soft: x.hard, hard: x.hard });
        for limit in [l.open_files, hard, l.processes, l.core_bytes, l.locked_bytes, l.address_bytes] {
            out.push(b'\t');
            match limit.map(|x| x.soft) {
                Some(Some(n)) => push_number(&mut out, n),
                Some(None) => out.extend_from_slice(b"unlimited"),
                None => {}
            }
        }
        out.push(b'\n');
    }
    out
}
