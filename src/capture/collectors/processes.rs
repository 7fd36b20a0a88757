//! `processes`: command lines, programs, directories, limits and I/O of every process, as ps shows them.
//!
//! Reading a command line or an environment takes the target's memory lock: a process that hangs while it
//! holds that lock would hang us too. So each process has its own guard, and what never blocks is read
//! before. Secrets on command lines are masked here; of environments only the names are kept.

use crate::capture::collectors::tasks;
use crate::capture::guard::PER_PROCESS;
use crate::capture::subject::Service;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::bytes::{push_number, push_safe, push_word};
use crate::host::limits::{Io, Limit, Limits, parse_io, parse_limits};
use crate::host::mask::mask_cmdline;
use crate::host::ps::{self, Shape};
use crate::host::tasks::{Process, Table};
use crate::host::users::Users;
use crate::host::worth;
use crate::model::Pid;
use crate::sys::capability::Capability;
use crate::sys::procdir::{Buf, Name, ProcDir};
use crate::sys::rlimit;
use std::collections::BTreeMap;
use std::io::{self, Write};
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
/// Longest name of an environment variable that is believed to be one.
const VARIABLE_MAX: usize = 128;
/// Most bytes of one of the two texts of ps: beyond, the processes stand in the order of their worth and the crowd is cut.
const PS_CAP: usize = 24 << 20;
/// Most processes named on one line of equal environments.
const PIDS_MAX: usize = 200;

/// What never blocks; kept even when the command line hangs.
#[derive(Debug, Default)]
struct Early {
    exe: Option<Vec<u8>>,
    cwd: Option<Vec<u8>>,
    io: Option<Io>,
    limits: Limits,
    denied: bool,
}

/// What takes the memory lock.
#[derive(Debug, Default)]
struct Late {
    /// Masked, safe to print. `None`: the process has none (kernel threads, zombies).
    cmdline: Option<Vec<u8>>,
    cmdline_cut: bool,
    /// Sorted names; `None`: not allowed.
    environ: Option<Vec<Vec<u8>>>,
    denied: bool,
}

struct Item {
    pid: i32,
    early: OnceLock<Early>,
}

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let table = tasks::scan(ctx, sink)?;
    let root = ctx.root.clone();
    let users = PER_PROCESS.run(move || Users::read(&root)).unwrap_or_else(|place| {
        sink.missing("user names", format!("/etc/passwd did not answer in 200 ms; the reader hangs at {place}"));
        Users::default()
    });
    let real = ctx.root.is_real();
    let proc = ProcDir::open(&ctx.root.path("/proc")).map_err(CollectError::failed("open /proc"))?;
    let service = Service::of(ctx);
    let order = worth::order(&table, |p| service.has(p));
    let user_space = order.iter().map(|i| &table.processes[*i]).filter(|p| !p.stat.is_kernel_thread());
    let items: Vec<Item> = user_space.map(|p| Item { pid: p.stat.pid, early: OnceLock::new() }).collect();
    let items = Arc::new(items);
    let swept = PER_PROCESS
        .sweep(Arc::clone(&items), ctx.deadline, Buf::default, move |buf, item, _| look(&proc, buf, real, item));

    let mut details: BTreeMap<i32, (&Item, Option<Late>)> =
        items.iter().zip(swept.results).map(|(item, late)| (item.pid, (item, late))).collect();
    let mut unreadable = BTreeMap::new();
    for s in swept.stuck {
        let pid = items[s.index].pid;
        let target = table.get(pid).and_then(|p| p.wait.wchan.as_deref()).map(String::from_utf8_lossy);
        let wchan = target.unwrap_or("?".into());
        let note = format!("[unreadable: cmdline did not answer in 200 ms; wchan={wchan}]");
        sink.missing(
            format!("/proc/{pid}/cmdline"),
            format!("did not answer in 200 ms; the reader hangs at {}", s.place),
        );
        unreadable.insert(pid, note);
    }
    if swept.skipped > 0 {
        sink.missing(format!("command lines of {} processes", swept.skipped), "out of time, or too many readers hang");
    }
    let links = details.values().filter(|d| d.0.early.get().is_some_and(|e| e.denied)).count();
    if links > 0 {
        sink.missing(format!("program, directory and I/O of {links} processes of other users"), "needs CAP_SYS_PTRACE");
    }
    let environs = details.values().filter(|d| d.1.as_ref().is_some_and(|l| l.denied)).count();
    if environs > 0 {
        sink.missing(format!("environment names of {environs} processes of other users"), "needs CAP_SYS_PTRACE");
    }

    let shape = Shape { machine: &table.machine, users: &users };
    for (entry, with_threads) in [("sos_commands/process/ps_auxww", false), ("sos_commands/process/ps_auxwwwm", true)] {
        let by_pid: Vec<usize> = (0..table.processes.len()).collect();
        let list = Listed { table: &table, details: &details, unreadable: &unreadable, with_threads };
        let (mut text, mut cut) = list.text(&shape, &by_pid);
        if cut {
            (text, cut) = list.text(&shape, &order);
        }
        sink.put_cut(entry, text, cut)?;
    }
    sink.put("lastgasp/processes.tsv", figures(&table, &details))?;
    sink.put("lastgasp/environ_names.txt", environments(&mut details))?;
    Ok(())
}

fn look(proc: &ProcDir, buf: &mut Buf, real: bool, item: &Item) -> Late {
    let Ok(dir) = proc.open_dir(Name::number(item.pid.unsigned_abs().into()).as_cstr()) else { return Late::default() };
    let mut early = Early::default();
    let mut refused = false;
    for (name, slot) in [(c"exe", &mut early.exe), (c"cwd", &mut early.cwd)] {
        match dir.read_link(name, buf, 4096) {
            Ok(()) => *slot = Some(buf.to_vec()),
            Err(e) => refused |= is_denied(&e),
        }
    }
    match dir.read_record(c"io", buf, 512) {
        Ok(_) => early.io = Some(parse_io(buf)),
        Err(e) => refused |= is_denied(&e),
    }
    // Five system calls instead of a file that the kernel formats in 19 µs; another user's want
    // CAP_SYS_RESOURCE, which the file does not.
    match real.then(|| rlimit::of(Pid(item.pid))).transpose() {
        Ok(Some(l)) => early.limits = Limits::from(l),
        _ if dir.read_record(c"limits", buf, 4096).is_ok() => early.limits = parse_limits(buf),
        _ => {}
    }
    early.denied = refused;
    // Nobody else sets it: each item is looked at once.
    let _ = item.early.set(early);

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
    match dir.read_record(c"environ", buf, ENVIRON_CAP) {
        Ok(_) => late.environ = Some(variable_names(buf)),
        Err(e) => late.denied = is_denied(&e),
    }
    late
}

fn is_denied(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::PermissionDenied
}

/// Sorted names of `NAME=value` entries. What does not look like a name might be a value: left out.
fn variable_names(environ: &[u8]) -> Vec<Vec<u8>> {
    let name = |entry: &[u8]| -> Option<Vec<u8>> {
        let name = &entry[..memchr::memchr(b'=', entry)?];
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'%' | b'(' | b')');
        (!name.is_empty() && name.len() <= VARIABLE_MAX && name.iter().all(plain)).then(|| name.to_vec())
    };
    let mut names: Vec<Vec<u8>> = environ.split(|b| *b == 0).filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

type Details<'a> = BTreeMap<i32, (&'a Item, Option<Late>)>;

/// What `ps` lists.
struct Listed<'a> {
    table: &'a Table,
    details: &'a Details<'a>,
    unreadable: &'a BTreeMap<i32, String>,
    with_threads: bool,
}

impl Listed<'_> {
    /// The lines, in this order of the table's processes; true when they were cut at [`PS_CAP`].
    fn text(&self, shape: &Shape, order: &[usize]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(160 * order.len());
        out.extend_from_slice(ps::HEADER);
        for p in order.iter().map(|i| &self.table.processes[*i]) {
            let whole = out.len();
            shape.process(&mut out, p, self.with_threads);
            command(&mut out, p, self.details, self.unreadable);
            out.push(b'\n');
            if self.with_threads {
                shape.thread(&mut out, p, &p.stat);
                for t in &p.threads {
                    shape.thread(&mut out, p, &t.stat);
                }
            }
            if out.len() > PS_CAP {
                out.truncate(whole);
                return (out, true);
            }
        }
        (out, false)
    }
}

/// The command line, or the comm in brackets as ps has it.
fn command(out: &mut Vec<u8>, p: &Process, details: &Details, unreadable: &BTreeMap<i32, String>) {
    let late = details.get(&p.stat.pid).and_then(|d| d.1.as_ref());
    if let Some(line) = late.and_then(|l| l.cmdline.as_ref()) {
        out.extend_from_slice(line);
        if late.is_some_and(|l| l.cmdline_cut) {
            out.extend_from_slice(b" [cut]");
        }
        return;
    }
    out.push(b'[');
    push_word(out, &p.stat.comm);
    out.push(b']');
    if p.stat.state == b'Z' {
        out.extend_from_slice(b" <defunct>");
    }
    if let Some(note) = unreadable.get(&p.stat.pid) {
        out.push(b' ');
        push_safe(out, note.as_bytes());
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
        let io = early.io.unwrap_or_default();
        for n in [io.read_bytes, io.write_bytes, io.read_chars, io.write_chars] {
            out.push(b'\t');
            if let Some(n) = n {
                push_number(&mut out, n);
            }
        }
        let l = &early.limits;
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

/// Processes with the same names share a line: workers have the environment of their parent.
fn environments(details: &mut Details) -> Vec<u8> {
    let mut groups = BTreeMap::<Vec<Vec<u8>>, Vec<i32>>::new();
    for (pid, (_, late)) in details.iter_mut() {
        if let Some(names) = late.as_mut().and_then(|l| l.environ.take()).filter(|n| !n.is_empty()) {
            groups.entry(names).or_default().push(*pid);
        }
    }
    let mut order: Vec<_> = groups.into_iter().collect();
    order.sort_by_key(|(_, pids)| pids.first().copied());
    let mut out = Vec::new();
    for (names, pids) in order {
        out.extend_from_slice(b"pids");
        for pid in pids.iter().take(PIDS_MAX) {
            let _ = write!(out, " {pid}");
        }
        if pids.len() > PIDS_MAX {
            let _ = write!(out, " and {} more", pids.len() - PIDS_MAX);
        }
        out.push(b':');
        for name in names {
            out.push(b' ');
            out.extend_from_slice(&name);
        }
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_variables_are_kept() {
        let names = variable_names(
            b"PATH=/bin\0DB_PASSWORD=s3cret\0s3cret\0=x\0a b=c\0PATH=/usr\0BASH_FUNC_x%%=() {\n s3cret\n}\0",
        );
        assert_eq!(names, [&b"BASH_FUNC_x%%"[..], b"DB_PASSWORD", b"PATH"]);
    }
}
