//! Processes and threads from the files of /proc that take no lock of the target's memory.
//!
//! All processes come first, then the threads, of the processes that are worth the most first: a cap or a
//! deadline cuts the crowd.
//!
//! Order of reads per task (measured: what a hung task blocks): `status` never blocks, then `stat`,
//! `wchan`, `syscall`, `stack`, which wait for a task that hangs inside execve; `cmdline`, `environ`
//! and `maps` wait for its memory lock and are not read here at all.
//!
//! Cost, measured on two busy cores (load average 12): 46 µs of CPU a process (2,117 processes: 97 ms), 17 µs
//! a further thread for `stat` and `wchan` (10,000 threads: 170 ms). The `wchan` of sleeping threads is
//! 7 of these 17 µs and is worth it: a thousand threads in one futex are a deadlock to be seen.

use crate::host::Root;
use crate::host::bytes::{lines, number, signed, words};
use crate::host::names::{Names, Text};
use crate::host::stat::{Stat, Status, parse_cgroup, parse_stat, parse_status, stat_of_status};
use crate::host::worth;
use crate::model::Mono;
use crate::sys::clock;
use crate::sys::procdir::{Buf, Name, ProcDir};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most processes looked at; kernel.pid_max is 4 Mi at most, and such a table says nothing more.
pub const PROCESSES_MAX: usize = 65_536;
/// Most threads (beyond each process's first) looked at in all.
pub const THREADS_MAX: usize = 40_000;
/// Most threads of one process.
pub const THREADS_PER_PROCESS: usize = 10_000;
/// Most tasks whose kernel stack is read: at 0.9 KiB and 40 µs each.
const STACKS_MAX: usize = 2_000;
const STATUS_CAP: usize = 4096;
const STACK_CAP: usize = 8192;

/// Facts needed to read the figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Clock ticks a second of utime, stime and start.
    pub hz: u64,
    pub page_bytes: u64,
    /// Seconds since 1970 at boot.
    pub boot_s: Option<u64>,
    pub uptime_s: Option<f64>,
    pub mem_total_kib: Option<u64>,
}

impl Machine {
    /// Reads /proc/stat, uptime and meminfo; what cannot be read is `None`.
    pub fn read(root: &Root) -> Machine {
        let file = |p: &str, cap| root.read(p, cap).map(|c| c.bytes).unwrap_or_default();
        let value =
            |text: &[u8], key: &[u8]| lines(text).find_map(|l| words(l.strip_prefix(key)?).next().and_then(number));
        let sysconf = |v, or: u64| {
            let got = nix::unistd::sysconf(v).ok().flatten().and_then(|n| u64::try_from(n).ok());
            got.filter(|n| *n > 0).unwrap_or(or)
        };
        // A fake root carries files of another machine, all known ones with these values.
        let (hz, page_bytes) = if root.is_real() {
            (sysconf(nix::unistd::SysconfVar::CLK_TCK, 100), sysconf(nix::unistd::SysconfVar::PAGE_SIZE, 4096))
        } else {
            (100, 4096)
        };
        Machine {
            hz,
            page_bytes,
            boot_s: value(&file("/proc/stat", 4 << 20), b"btime"),
            uptime_s: std::str::from_utf8(&file("/proc/uptime", 256))
                .ok()
                .and_then(|t| t.split_whitespace().next()?.parse().ok()),
            mem_total_kib: value(&file("/proc/meminfo", 65_536), b"MemTotal:"),
        }
    }
}

/// Where a task waits in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// The kernel function; `None` when running or not allowed to know.
    pub wchan: Option<Text>,
    /// `number args… sp pc`; for tasks in state D, and those that wait for a FUSE server.
    pub syscall: Option<Box<[u8]>>,
    /// One frame a line; for the same tasks.
    pub stack: Option<Box<[u8]>>,
}

/// A thread beside the process's first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    pub stat: Stat,
    pub wait: Wait,
}

/// The threads of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// In the kernel's order, without the first.
    pub list: Vec<Thread>,
    /// Threads beyond the caps.
    pub left_out: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// When `stat` was read.
    pub at: Mono,
    pub stat: Stat,
    pub status: Status,
    pub wait: Wait,
    /// Inside execve: only what `status` says is known of it, everything else waits for it.
    pub in_execve: bool,
    pub oom_score_adj: Option<i64>,
    pub cgroup: Option<Text>,
    /// In the kernel's order, without the first (whose figures are the process's own `stat`).
    pub threads: Vec<Thread>,
    /// Threads beyond the caps.
    pub threads_left_out: usize,
}

/// What one process's look brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Process(Box<Process>),
    /// Ended between the listing and the look.
    Gone,
    /// Not readable: hidepid, or no `stat`.
    Hidden(i32),
}

/// Reads one process after another; shared by the threads of a sweep.
pub struct Scanner {
    proc: ProcDir,
    /// Stacks that were refused (they want CAP_SYS_ADMIN).
    pub stacks_denied: AtomicUsize,
    threads_left: AtomicUsize,
    stacks_left: AtomicUsize,
}

/// Buffers that a scanning thread keeps.
#[derive(Default)]
pub struct Scratch {
    buf: Buf,
    tids: Vec<u64>,
    names: Names,
    /// Reads everything of a process inside execve too, and may wait for it for ever.
    brave: bool,
}

impl Scratch {
    /// Of a reader that may be given up.
    pub fn brave() -> Scratch {
        Scratch { brave: true, ..Scratch::default() }
    }
}

/// A finished scan, for all collectors of one capture.
#[derive(Debug, Default)]
pub struct Table {
    pub machine: Machine,
    /// In ascending order of pid.
    pub processes: Vec<Process>,
    /// Pids that did not answer, and where the reader waits.
    pub stuck: Vec<(i32, String)>,
    pub hidden: usize,
    pub skipped: usize,
    /// Threads of processes whose `task` directory was not listed.
    pub threads_unseen: usize,
}

impl Scanner {
    pub fn new(root: &Root) -> io::Result<Scanner> {
        Ok(Scanner {
            proc: ProcDir::open(&root.path("/proc"))?,
            stacks_denied: AtomicUsize::new(0),
            threads_left: AtomicUsize::new(THREADS_MAX),
            stacks_left: AtomicUsize::new(STACKS_MAX),
        })
    }

    /// All pids in ascending order, at most [`PROCESSES_MAX`]; true when there were more.
    pub fn pids(&self) -> io::Result<(Vec<i32>, bool)> {
        let mut numbers = Vec::new();
        let more = self.proc.numbers(&mut numbers, PROCESSES_MAX)?;
        let mut pids: Vec<i32> = numbers.into_iter().filter_map(|n| i32::try_from(n).ok()).collect();
        pids.sort_unstable();
        Ok((pids, more))
    }

    /// Everything about one process but its threads. Never fails: what cannot be read is `None` in it.
    pub fn look(&self, scratch: &mut Scratch, pid: i32) -> Seen {
        let brave = scratch.brave;
        let Scratch { buf, names, .. } = scratch;
        let Ok(dir) = self.proc.open_dir(Name::number(pid.unsigned_abs().into()).as_cstr()) else { return Seen::Gone };
        let status = match dir.read_record(c"status", buf, STATUS_CAP) {
            Ok(_) => parse_status(buf),
            Err(_) => Status::default(),
        };
        let in_execve = status.in_execve() && !brave;
        let stat = match dir.read_record(if in_execve { c"status" } else { c"stat" }, buf, STATUS_CAP) {
            Ok(_) if in_execve => stat_of_status(pid, buf),
            Ok(_) => parse_stat(buf),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Seen::Gone,
            Err(_) => None,
        };
        let Some(stat) = stat else { return Seen::Hidden(pid) };
        let mut process = Process {
            at: clock::mono(),
            wait: if in_execve { Wait::default() } else { self.wait(&dir, stat.state, None, (buf, names)) },
            stat,
            status,
            in_execve,
            oom_score_adj: None,
            cgroup: None,
            threads: Vec::new(),
            threads_left_out: 0,
        };
        if !process.stat.is_kernel_thread() {
            if dir.read_record(c"oom_score_adj", buf, 64).is_ok() {
                process.oom_score_adj = signed(buf.trim_ascii());
            }
            if dir.read_record(c"cgroup", buf, 16_384).is_ok() {
                process.cgroup = parse_cgroup(buf).map(|c| names.keep(c));
            }
        }
        Seen::Process(Box::new(process))
    }

    /// The threads of process `pid`, which said that it has `all`. `alive` is called before each of them.
    pub fn threads(&self, scratch: &mut Scratch, pid: i32, all: u64, alive: &dyn Fn()) -> Threads {
        let mut threads = Threads::default();
        let dir = self.proc.open_dir(Name::number(pid.unsigned_abs().into()).as_cstr());
        let Ok(tasks) = dir.and_then(|d| d.open_dir(c"task")) else { return threads };
        let more = tasks.numbers(&mut scratch.tids, THREADS_PER_PROCESS).unwrap_or(false);
        threads.list.reserve_exact(scratch.tids.len().saturating_sub(1));
        for i in 0..scratch.tids.len() {
            let tid = scratch.tids[i];
            alive();
            if tid == u64::from(pid.unsigned_abs()) {
                continue;
            }
            if !take(&self.threads_left) {
                // The first thread, which is not counted here, comes first in the kernel's order.
                threads.left_out = scratch.tids.len() - i;
                break;
            }
            let name = Name::build("", tid, "/stat");
            if tasks.read_record(name.as_cstr(), &mut scratch.buf, 2048).is_err() {
                continue;
            }
            let Some(stat) = parse_stat(&scratch.buf) else { continue };
            let wait = self.wait(&tasks, stat.state, Some(tid), (&mut scratch.buf, &mut scratch.names));
            threads.list.push(Thread { stat, wait });
        }
        if more {
            let all = usize::try_from(all).unwrap_or(usize::MAX);
            threads.left_out = all.saturating_sub(threads.list.len() + 1);
        }
        threads
    }

    /// Where it waits. `tid`: of a thread, with `dir` its process's `task` directory.
    fn wait(&self, dir: &ProcDir, state: u8, tid: Option<u64>, (buf, names): (&mut Buf, &mut Names)) -> Wait {
        let mut wait = Wait::default();
        // Running and dead tasks wait for nothing.
        if matches!(state, b'R' | b'Z' | b'X') {
            return wait;
        }
        let read = |file: &'static str, buf: &mut Buf, cap: usize| -> io::Result<()> {
            let name = match tid {
                Some(tid) => Name::build("", tid, file),
                None => Name::literal(&file[1..]),
            };
            dir.read_record(name.as_cstr(), buf, cap).map(drop)
        };
        // "0": it runs, or we may not know.
        if read("/wchan", buf, 256).is_ok() {
            wait.wchan = Some(buf.trim_ascii()).filter(|w| !w.is_empty() && *w != b"0").map(|w| names.keep(w));
        }
        let mut text = |file, cap| read(file, buf, cap).map(|()| Box::<[u8]>::from(buf.trim_ascii()));
        // A FUSE server that does not answer is first waited for in state S (fs/fuse/dev.c: request_wait_answer).
        if state == b'D' || wait.wchan.as_deref() == Some(b"request_wait_answer") {
            wait.syscall = text("/syscall", 512).ok().filter(|s| !s.is_empty());
            if take(&self.stacks_left) {
                match text("/stack", STACK_CAP) {
                    Ok(s) => wait.stack = (!s.is_empty()).then_some(s),
                    Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {
                        self.stacks_denied.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => {}
                }
            }
        }
        wait
    }
}

/// Takes one of what is left.
fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
}

impl Table {
    /// The process of this pid.
    pub fn get(&self, pid: i32) -> Option<&Process> {
        self.processes.binary_search_by_key(&pid, |p| p.stat.pid).ok().map(|i| &self.processes[i])
    }

    /// The name of a process; `?` where it is not in the table.
    pub fn comm(&self, pid: i32) -> &[u8] {
        self.get(pid).map_or(b"?", |p| &p.stat.comm)
    }

    /// Processes inside execve, of which only `status` was read.
    pub fn in_execve(&self) -> Vec<i32> {
        self.processes.iter().filter(|p| p.in_execve).map(|p| p.stat.pid).collect()
    }

    /// Puts a later look in the place of an earlier one.
    pub fn replace(&mut self, seen: Seen) {
        if let Seen::Process(new) = seen
            && let Ok(i) = self.processes.binary_search_by_key(&new.stat.pid, |p| p.stat.pid)
        {
            self.processes[i] = *new;
        }
    }

    /// Puts what a sweep saw in order.
    pub fn assemble(machine: Machine, seen: impl Iterator<Item = Seen>) -> Table {
        let mut table = Table { machine, ..Table::default() };
        for s in seen {
            match s {
                Seen::Process(p) => table.processes.push(*p),
                Seen::Hidden(_) => table.hidden += 1,
                Seen::Gone => {}
            }
        }
        table.processes.sort_by_key(|p| p.stat.pid);
        table
    }

    /// The pids of processes with more than one thread, and how many they have, in the order of their worth.
    pub fn threaded(&self, is_service: impl Fn(&Process) -> bool) -> Vec<(i32, u64)> {
        let order = worth::order(self, is_service);
        let all = order.into_iter().map(|i| &self.processes[i]);
        // Who reads the threads of a process inside execve waits with it; it has no others any more.
        all.filter(|p| p.stat.threads > 1 && !p.in_execve).map(|p| (p.stat.pid, p.stat.threads)).collect()
    }

    /// Takes in the threads of process `pid`.
    pub fn set_threads(&mut self, pid: i32, threads: Threads) {
        if let Ok(i) = self.processes.binary_search_by_key(&pid, |p| p.stat.pid) {
            let process = &mut self.processes[i];
            (process.threads, process.threads_left_out) = (threads.list, threads.left_out);
        }
    }

    /// Scans in this thread, unguarded. For tests and for callers that are guarded themselves.
    pub fn read(root: &Root) -> io::Result<Table> {
        let scanner = Scanner::new(root)?;
        let mut scratch = Scratch::default();
        let (pids, _) = scanner.pids()?;
        let seen: Vec<Seen> = pids.into_iter().map(|pid| scanner.look(&mut scratch, pid)).collect();
        let mut table = Table::assemble(Machine::read(root), seen.into_iter());
        for (pid, all) in table.threaded(|_| false) {
            let threads = scanner.threads(&mut scratch, pid, all, &|| ());
            table.set_threads(pid, threads);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_seen_with_its_threads() {
        let (tx, rx) = std::sync::mpsc::channel::<()>();
        let (up, is_up) = std::sync::mpsc::channel::<()>();
        let body = move || {
            let _ = up.send(());
            rx.recv()
        };
        let thread = std::thread::Builder::new().name("a) R (b".into()).spawn(body).expect("a thread");
        is_up.recv().expect("the thread names itself before it runs its body");
        let scanner = Scanner::new(&Root::real()).expect("/proc");
        let me = std::process::id() as i32;
        let Seen::Process(p) = scanner.look(&mut Scratch::default(), me) else { panic!("we are here") };
        assert_eq!((p.stat.pid, p.status.tgid), (me, Some(me)));
        let threads = scanner.threads(&mut Scratch::default(), me, p.stat.threads, &|| ());
        assert!(threads.list.iter().any(|t| *t.stat.comm == b"a) R (b"[..]), "{threads:?}");
        assert_eq!(threads.left_out, 0);
        drop(tx);
        let _ = thread.join();
        assert_eq!(scanner.look(&mut Scratch::default(), i32::MAX), Seen::Gone);
    }
}
