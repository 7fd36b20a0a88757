//! Fills the cache of command lines while nothing happens, at next to no cost.
//!
//! Twice a minute the kernel is asked for the last pid that it gave (/proc/loadavg). As long as that stays the same
//! there is nothing new; a few new pids are looked at one by one; only when many were given is /proc listed. A
//! process is read when it is first seen, once more in the next pass (it may have been between fork and execve), and
//! then in a slow round over all. What the passes cost decides how far they are apart, so that the share of CPU stays the
//! same however many processes there are.
//!
//! A read may hang: it is done on a thread that can be left behind, a process that looks blocked is left alone, and
//! one that hung its reader is not asked again.

use crate::capture::command_lines::{CommandLines, Line, PROCESSES_MAX, Shelf};
use crate::capture::guard::{PER_PROCESS, Sweep};
use crate::host::Root;
use crate::host::bytes::{number, push_safe};
use crate::host::mask::mask_cmdline;
use crate::host::stat::{parse_stat, parse_status};
use crate::model::Deadline;
use crate::sys::clock;
use crate::sys::procdir::{Buf, Name, ProcDir};
use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two passes, at least.
const INTERVAL_MIN: Duration = Duration::from_secs(30);
/// And at most, whatever they cost.
const INTERVAL_MAX: Duration = Duration::from_secs(300);
/// A pass that took this much CPU is followed by a wait as many times as long: 10 ms a minute.
const WAIT_PER_CPU: u32 = 6_000;
/// Pids given since the last pass up to which each is looked at; more, and /proc is listed.
const PROBE_MAX: u64 = 64;
/// Processes of the slow round that are read again in one pass.
const ROUND: usize = 16;
/// Readers left behind by one spare worker before it stops reading.
const STUCK_MAX: usize = 4;
/// Longest command line that is read; kept is less.
const READ_CAP: usize = 4 * 1024;
/// Listings of /proc after which processes without a command line are looked at again: their pids may be others'.
const NAMELESS_FOR: u32 = 20;
/// The whole of one pass.
const PASS_MAX: Duration = Duration::from_secs(10);
const STACK_BYTES: usize = 256 * 1024;
const GUARD: Sweep = Sweep { max_stuck: 2, ..PER_PROCESS };

/// The thread, and what it knows.
#[derive(Debug)]
pub struct Keeper {
    common: Arc<Common>,
}

#[derive(Debug)]
struct Common {
    shelf: Option<Shelf>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: CommandLines,
    /// A snapshot is being taken: from now on somebody else keeps the cache.
    over: bool,
}

impl Keeper {
    /// Takes what the worker before left in `file`; with `fill` a thread keeps it up to date. No file: an empty cache,
    /// and no thread.
    pub fn start(file: Option<File>, fill: bool) -> Keeper {
        let shelf = file.map(Shelf::new);
        let fill = fill && shelf.is_some();
        let lines = shelf.as_ref().map_or_else(CommandLines::default, |s| s.load().0);
        let common =
            Arc::new(Common { shelf, state: Mutex::new(State { lines, over: false }), changed: Condvar::new() });
        if fill {
            let theirs = Arc::clone(&common);
            let body = move || Passes::default().run(&theirs);
            // Without a thread the cache is as old as its file.
            let _ = std::thread::Builder::new().name("names".into()).stack_size(STACK_BYTES).spawn(body);
        }
        Keeper { common }
    }

    /// Ends the filling and gives what is known, or what another worker has learned since. Never waits.
    pub fn lines(&self) -> Arc<CommandLines> {
        let mut state = self.common.lock();
        if std::mem::replace(&mut state.over, true)
            && let Some(shelf) = &self.common.shelf
        {
            state.lines = shelf.load().0;
        }
        self.common.changed.notify_all();
        Arc::new(state.lines.clone())
    }
}

impl Common {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; true when it is over.
    fn wait(&self, time: Duration) -> bool {
        let state = self.lock();
        let (state, _) =
            self.changed.wait_timeout_while(state, time, |s| !s.over).unwrap_or_else(PoisonError::into_inner);
        state.over
    }
}

/// What a look at one pid brought.
enum Look {
    /// No process (any more), or a thread, or a kernel thread: nothing to remember.
    Nothing,
    /// Blocked: what is remembered of it stays.
    Blocked,
    Line(Line),
}

/// What one pass hands to the next.
#[derive(Default)]
struct Passes {
    last_pid: Option<u64>,
    /// Seen for the first time in the last pass.
    fresh: Vec<i32>,
    /// How many of the pids of this pass are new; they come first.
    new: usize,
    /// How far the slow round is.
    round: i32,
    /// Hung their reader.
    shunned: BTreeSet<i32>,
    /// Kernel threads and others without a command line.
    nameless: BTreeSet<i32>,
    listings: u32,
    stuck: usize,
}

impl Passes {
    fn run(mut self, common: &Common) {
        let root = Root::real();
        loop {
            let before = clock::process_cpu();
            self.pass(&root, common);
            let spent = clock::process_cpu().saturating_sub(before);
            let pause = (spent * WAIT_PER_CPU).clamp(INTERVAL_MIN, INTERVAL_MAX);
            if self.stuck >= STUCK_MAX || common.wait(pause) {
                return;
            }
        }
    }

    fn pass(&mut self, root: &Root, common: &Common) {
        let Ok(proc) = ProcDir::open(&root.path("/proc")) else { return };
        let (mut pids, listed) = self.new_pids(root, &proc);
        {
            let lines = &common.lock().lines;
            pids.retain(|pid| listed.is_none() || lines.get(*pid).is_none() && !self.nameless.contains(pid));
            let round = lines.pids_after(self.round, ROUND);
            self.round = if round.len() < ROUND { 0 } else { round[ROUND - 1] };
            pids.truncate(PROCESSES_MAX);
            pids.retain(|pid| !self.shunned.contains(pid));
            let new = pids.len();
            pids.append(&mut self.fresh);
            pids.extend(round);
            // Those of the round come last: what is new and in the round too is not read twice.
            let mut seen = BTreeSet::new();
            pids.retain(|pid| !self.shunned.contains(pid) && seen.insert(*pid));
            self.new = new;
        }
        let pids = Arc::new(pids);
        let looks = if pids.is_empty() { Vec::new() } else { self.look(proc, &pids) };
        let mut state = common.lock();
        if state.over {
            return;
        }
        let mut changed = listed.is_some_and(|alive| state.lines.retain(&alive));
        for (i, (pid, look)) in pids.iter().zip(looks).enumerate() {
            match look {
                Some(Look::Line(line)) => {
                    changed |= state.lines.put(*pid, line);
                    if i < self.new {
                        self.fresh.push(*pid);
                    }
                }
                Some(Look::Nothing) => {
                    changed |= state.lines.remove(*pid);
                    self.nameless.insert(*pid);
                }
                Some(Look::Blocked) | None => {}
            }
        }
        if changed && let Some(shelf) = &common.shelf {
            // In memory; full memory costs the next worker this state.
            let _ = shelf.store(&state.lines);
        }
    }

    /// Pids that were given since the last pass; with them, when /proc was listed, all that there are.
    fn new_pids(&mut self, root: &Root, proc: &ProcDir) -> (Vec<i32>, Option<Vec<i32>>) {
        let last = root.read("/proc/loadavg", 256).ok().and_then(|c| last_pid(&c.bytes));
        let before = std::mem::replace(&mut self.last_pid, last);
        match (before, last) {
            (Some(before), Some(last)) if before == last => return (Vec::new(), None),
            (Some(before), Some(last)) if before < last && last - before <= PROBE_MAX => {
                return ((before + 1..=last).filter_map(|n| i32::try_from(n).ok()).collect(), None);
            }
            _ => {}
        }
        let mut numbers = Vec::new();
        if proc.numbers(&mut numbers, 8 * PROCESSES_MAX).is_err() {
            return (Vec::new(), None);
        }
        let mut alive: Vec<i32> = numbers.into_iter().filter_map(|n| i32::try_from(n).ok()).collect();
        alive.sort_unstable();
        self.shunned.retain(|pid| alive.binary_search(pid).is_ok());
        self.listings += 1;
        if self.listings.is_multiple_of(NAMELESS_FOR) {
            self.nameless.clear();
        }
        (alive.clone(), Some(alive))
    }

    fn look(&mut self, proc: ProcDir, pids: &Arc<Vec<i32>>) -> Vec<Option<Look>> {
        let deadline = Deadline::after(clock::mono(), PASS_MAX);
        let now_s = u32::try_from(clock::mono().0 / 1_000_000_000).unwrap_or(u32::MAX);
        let swept =
            GUARD.sweep(Arc::clone(pids), deadline, Buf::default, move |buf, pid, _| look(&proc, buf, *pid, now_s));
        self.stuck += swept.stuck.len();
        self.shunned.extend(swept.stuck.iter().map(|s| pids[s.index]));
        swept.results
    }
}

/// `0.20 0.18 0.12 1/80 11206`: the last figure is the last pid that was given in our namespace.
fn last_pid(loadavg: &[u8]) -> Option<u64> {
    loadavg.trim_ascii().rsplit(|b| *b == b' ').next().and_then(number)
}

fn look(proc: &ProcDir, buf: &mut Buf, pid: i32, now_s: u32) -> Look {
    let Ok(dir) = proc.open_dir(Name::number(pid.unsigned_abs().into()).as_cstr()) else { return Look::Nothing };
    // First what never waits; it tells threads, which /proc does not list but opens, and who is inside execve.
    if dir.read_record(c"status", buf, 4096).is_err() {
        return Look::Nothing;
    }
    let status = parse_status(buf);
    if status.tgid != Some(pid) || status.vm_exe_kib.is_none() {
        return Look::Nothing;
    }
    if status.in_execve() {
        return Look::Blocked;
    }
    let stat = match dir.read_record(c"stat", buf, 2048) {
        Ok(_) => parse_stat(buf),
        Err(_) => None,
    };
    let Some(stat) = stat else { return Look::Nothing };
    if stat.state == b'D' {
        return Look::Blocked;
    }
    match dir.read_record(c"cmdline", buf, READ_CAP) {
        Ok(cut) if !buf.is_empty() => {
            let (mut masked, mut text) = (Vec::with_capacity(buf.len()), Vec::with_capacity(buf.len()));
            mask_cmdline(buf, &mut masked);
            push_safe(&mut text, &masked);
            Look::Line(Line { start: stat.start, comm: stat.comm, text: text.into(), cut, read_s: now_s })
        }
        _ => Look::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_remembered_masked_after_its_end_it_is_forgotten() {
        let file = File::from(crate::sys::memfd::create(c"test").expect("a memfd"));
        let shelf = Shelf::new(file.try_clone().expect("a second handle"));
        let keeper = Keeper::start(Some(file), false);
        let mut passes = Passes::default();
        let root = Root::real();
        passes.pass(&root, &keeper.common);
        let args = ["-c", "read x", "--password=hush"];
        let mut child =
            Command::new("/bin/sh").args(args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sh");
        let pid = child.id() as i32;
        // Until execve is through, nothing is asked of it.
        let through = || {
            let status = parse_status(&std::fs::read(format!("/proc/{pid}/status")).expect("its status"));
            !status.in_execve() && std::fs::read(format!("/proc/{pid}/comm")).expect("its comm") == b"sh\n"
        };
        while !through() {
            std::thread::yield_now();
        }
        passes.pass(&root, &keeper.common);
        let lines = shelf.load().0;
        let line = lines.get(pid).expect("is remembered");
        assert!(line.text.starts_with(b"/bin/sh -c ") && !line.text.windows(4).any(|w| w == b"hush"), "{line:?}");
        assert!(lines.of(pid, line.start).is_some() && lines.of_named(pid, b"sh").is_some());
        drop(child.stdin.take());
        child.wait().expect("ends");
        passes.last_pid = None;
        passes.pass(&root, &keeper.common);
        assert_eq!(shelf.load().0.get(pid), None);
        // The first time what this worker knows, later what others left.
        assert!(!keeper.lines().is_empty());
        shelf.store(&CommandLines::default()).expect("store");
        assert!(keeper.lines().is_empty());
    }

    #[test]
    fn the_last_pid_is_the_last_figure() {
        assert_eq!(last_pid(b"0.20 0.18 0.12 1/80 11206\n"), Some(11206));
        assert_eq!(last_pid(b""), None);
    }
}
