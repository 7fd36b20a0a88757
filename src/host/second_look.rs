//! A task looked at again: what it did between two moments, and whether it moves at all.
//!
//! Counters since birth tell little about a moment: a process with 400 hours of CPU time may be idle since
//! yesterday. Two readings a second or more apart give rates; some readings of state, place and switches within that
//! second tell a task that is stuck from one that is busy waiting for a slow disk, which a single look cannot.
//! Only files that take no lock of the target's memory are read (fs/proc/base.c).

use crate::host::limits::{Io, parse_io};
use crate::host::stat::{Stat, parse_stat, parse_status};
use crate::host::tasks::Process;
use crate::model::Mono;
use crate::sys::clock;
use crate::sys::procdir::{Buf, Name, ProcDir};

const STACK_CAP: usize = 8192;

/// Counters of one task at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub at: Mono,
    pub stat: Stat,
    /// Context switches: it gave the CPU up by itself, or lost it.
    pub voluntary: Option<u64>,
    pub nonvoluntary: Option<u64>,
    /// Of the whole process, and when it was asked; not asked of single threads.
    pub io: Option<(Mono, Io)>,
}

impl Sample {
    /// What a scan of all tasks knows of a process. `io`: from elsewhere.
    pub fn of(process: &Process, io: Option<(Mono, Io)>) -> Sample {
        let (voluntary, nonvoluntary) = (process.status.voluntary, process.status.nonvoluntary);
        Sample { at: process.at, stat: process.stat.clone(), voluntary, nonvoluntary, io }
    }
}

/// Where it is, beside its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub sample: Sample,
    pub wchan: Option<Box<[u8]>>,
    /// One frame a line; `None` when not allowed or running.
    pub stack: Option<Box<[u8]>>,
}

/// Per second. `None`: not allowed to know.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub seconds: f64,
    /// Of one CPU; two busy threads have 200.
    pub user_percent: f64,
    pub system_percent: f64,
    pub minor_faults: f64,
    pub major_faults: f64,
    pub voluntary: Option<f64>,
    pub nonvoluntary: Option<f64>,
    pub read_bytes: Option<f64>,
    pub written_bytes: Option<f64>,
}

impl Rates {
    pub fn cpu_percent(&self) -> f64 {
        self.user_percent + self.system_percent
    }

    pub fn io_bytes(&self) -> f64 {
        self.read_bytes.unwrap_or(0.0) + self.written_bytes.unwrap_or(0.0)
    }

    /// Between two samples; `None` when they are of two tasks (the pid was given again) or at one moment.
    pub fn between(a: &Sample, b: &Sample, hz: u64) -> Option<Rates> {
        let seconds = b.at.since(a.at).as_secs_f64();
        if a.stat.start != b.stat.start || a.stat.pid != b.stat.pid || seconds < 0.01 {
            return None;
        }
        let per_second = |a: u64, b: u64, seconds: f64| b.saturating_sub(a) as f64 / seconds;
        let rate = |a: u64, b: u64| per_second(a, b, seconds);
        let share = |a: u64, b: u64| 100.0 * rate(a, b) / hz.max(1) as f64;
        let both = |a: Option<u64>, b: Option<u64>| Some(rate(a?, b?));
        // I/O was asked at moments of its own.
        let bytes = |which: fn(&Io) -> Option<u64>| {
            let ((then, x), (now, y)) = (a.io?, b.io?);
            let seconds = now.since(then).as_secs_f64();
            Some(per_second(which(&x)?, which(&y)?, seconds)).filter(|_| seconds >= 0.01)
        };
        Some(Rates {
            seconds,
            user_percent: share(a.stat.utime, b.stat.utime),
            system_percent: share(a.stat.stime, b.stat.stime),
            minor_faults: rate(a.stat.minor_faults, b.stat.minor_faults),
            major_faults: rate(a.stat.major_faults, b.stat.major_faults),
            voluntary: both(a.voluntary, b.voluntary),
            nonvoluntary: both(a.nonvoluntary, b.nonvoluntary),
            read_bytes: bytes(|io| io.read_bytes),
            written_bytes: bytes(|io| io.write_bytes),
        })
    }
}

/// `tid` of process `pid`; the same number for the process as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId {
    pub pid: i32,
    pub tid: i32,
    /// The process as a whole: CPU time and I/O of all its threads.
    pub whole: bool,
}

/// Reads the counters of a task; `None` when it has ended or is hidden.
pub fn sample(proc: &ProcDir, id: TaskId, buf: &mut Buf) -> Option<Sample> {
    let dir = proc.open_dir(Name::number(id.pid.unsigned_abs().into()).as_cstr()).ok()?;
    sample_in(&dir, id, buf)
}

/// CPU time of a process in ticks: one file, for all of them.
pub fn cpu_ticks(proc: &ProcDir, pid: i32, buf: &mut Buf) -> Option<u64> {
    let dir = proc.open_dir(Name::number(pid.unsigned_abs().into()).as_cstr()).ok()?;
    dir.read_record(c"stat", buf, 2048).ok()?;
    parse_stat(buf).map(|s| s.utime.saturating_add(s.stime))
}

/// What a process has read and written.
pub fn io(proc: &ProcDir, pid: i32, buf: &mut Buf) -> Option<(Mono, Io)> {
    let dir = proc.open_dir(Name::number(pid.unsigned_abs().into()).as_cstr()).ok()?;
    dir.read_record(c"io", buf, 512).ok()?;
    Some((clock::mono(), parse_io(buf)))
}

fn file(id: TaskId, name: &'static str) -> Name {
    if id.whole { Name::literal(&name[1..]) } else { Name::build("task/", id.tid.unsigned_abs().into(), name) }
}

fn sample_in(dir: &ProcDir, id: TaskId, buf: &mut Buf) -> Option<Sample> {
    // `status` never blocks; `stat` and `io` wait for a task that hangs inside execve.
    let status = match dir.read_record(file(id, "/status").as_cstr(), buf, 4096) {
        Ok(_) => parse_status(buf),
        Err(_) => return None,
    };
    dir.read_record(file(id, "/stat").as_cstr(), buf, 2048).ok()?;
    let (at, stat) = (clock::mono(), parse_stat(buf)?);
    let io = id.whole && dir.read_record(c"io", buf, 512).is_ok();
    let io = io.then(|| (clock::mono(), parse_io(buf)));
    Some(Sample { at, stat, voluntary: status.voluntary, nonvoluntary: status.nonvoluntary, io })
}

/// Reads counters, place and stack of one thread (a process's own is its first).
pub fn look(proc: &ProcDir, id: TaskId, buf: &mut Buf) -> Option<Look> {
    let id = TaskId { whole: false, ..id };
    let dir = proc.open_dir(Name::number(id.pid.unsigned_abs().into()).as_cstr()).ok()?;
    let sample = sample_in(&dir, id, buf)?;
    let mut read = |name: &'static str, cap: usize| -> Option<Box<[u8]>> {
        dir.read_record(file(id, name).as_cstr(), buf, cap).ok()?;
        Some(buf.trim_ascii()).filter(|t| !t.is_empty() && *t != b"0").map(Into::into)
    };
    let wchan = read("/wchan", 256);
    let stack = if matches!(sample.stat.state, b'R' | b'Z' | b'X') { None } else { read("/stack", STACK_CAP) };
    Some(Look { sample, wchan, stack })
}

/// What some looks at one task, in order of time, say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// In uninterruptible sleep at every look, at the same place, without CPU time and without one context switch.
    Stuck,
    /// In uninterruptible sleep at some look, but it came on in between: a slow disk, not a dead one.
    Slow,
    /// It used the CPU.
    Busy,
    /// It waits for something that may well come, and was not woken.
    Asleep,
    /// It waits, and was woken in between.
    Awake,
    /// It ended meanwhile, or could be looked at only once.
    Unknown,
}

impl Motion {
    pub fn name(self) -> &'static str {
        match self {
            Motion::Stuck => "stuck",
            Motion::Slow => "slow",
            Motion::Busy => "busy",
            Motion::Asleep => "asleep",
            Motion::Awake => "awake",
            Motion::Unknown => "unknown",
        }
    }

    /// From at least two looks.
    pub fn of(looks: &[Look]) -> Motion {
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return Motion::Unknown };
        if looks.len() < 2 || first.sample.stat.start != last.sample.stat.start {
            return Motion::Unknown;
        }
        let blocked = looks.iter().filter(|l| l.sample.stat.state == b'D').count();
        let cpu = ticks(&last.sample).saturating_sub(ticks(&first.sample));
        let came_on = switches(&last.sample) != switches(&first.sample);
        let still = |l: &Look| l.wchan == first.wchan && l.stack == first.stack;
        let running = looks.iter().filter(|l| l.sample.stat.state == b'R').count();
        match () {
            () if blocked == looks.len() && cpu == 0 && !came_on && looks.iter().all(still) => Motion::Stuck,
            // Half of the time or more; the little CPU that it used between its waits makes it no busier.
            () if blocked * 2 >= looks.len() => Motion::Slow,
            () if cpu > 0 || running == looks.len() => Motion::Busy,
            () if blocked > 0 => Motion::Slow,
            () if came_on || running > 0 => Motion::Awake,
            () => Motion::Asleep,
        }
    }
}

/// CPU time in ticks.
pub fn ticks(s: &Sample) -> u64 {
    s.stat.utime.saturating_add(s.stat.stime)
}

/// Context switches of both kinds; missing ones count as none.
pub fn switches(s: &Sample) -> u64 {
    s.voluntary.unwrap_or(0).saturating_add(s.nonvoluntary.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, state: u8, utime: u64, switched: u64, stack: &str) -> Look {
        let stat = Stat { pid: 7, start: 1, state, utime, ..Stat::default() };
        Look {
            sample: Sample {
                at: Mono(ms * 1_000_000),
                stat,
                voluntary: Some(switched),
                nonvoluntary: Some(0),
                io: None,
            },
            wchan: None,
            stack: (!stack.is_empty()).then(|| stack.as_bytes().into()),
        }
    }

    #[test]
    fn stuck_slow_busy_and_asleep_are_told_apart() {
        let cases: [(&[Look], Motion); 9] = [
            (&[at(0, b'D', 5, 9, "a"), at(50, b'D', 5, 9, "a"), at(1000, b'D', 5, 9, "a")], Motion::Stuck),
            // Another place, or a switch in between: it moves.
            (&[at(0, b'D', 5, 9, "a"), at(50, b'D', 5, 9, "b"), at(1000, b'D', 5, 9, "a")], Motion::Slow),
            (&[at(0, b'D', 5, 9, "a"), at(50, b'D', 5, 10, "a")], Motion::Slow),
            (&[at(0, b'D', 5, 9, "a"), at(50, b'S', 5, 9, "a")], Motion::Slow),
            (&[at(0, b'D', 5, 9, "a"), at(50, b'D', 6, 90, "a")], Motion::Slow),
            (&[at(0, b'R', 5, 9, ""), at(50, b'R', 90, 9, "")], Motion::Busy),
            (&[at(0, b'S', 5, 9, "a"), at(50, b'S', 5, 9, "a")], Motion::Asleep),
            (&[at(0, b'S', 5, 9, "a"), at(50, b'S', 5, 12, "a")], Motion::Awake),
            (&[at(0, b'S', 5, 9, "a")], Motion::Unknown),
        ];
        for (looks, want) in cases {
            assert_eq!(Motion::of(looks), want, "{looks:?}");
        }
    }

    #[test]
    fn rates_are_per_second_and_of_one_task() {
        let (mut a, mut b) = (at(0, b'R', 100, 10, "").sample, at(2000, b'R', 300, 30, "").sample);
        let r = Rates::between(&a, &b, 100).expect("two seconds apart");
        assert_eq!((r.user_percent, r.voluntary, r.read_bytes), (100.0, Some(10.0), None));
        let read = |ms: u64, n: u64| Some((Mono(ms * 1_000_000), Io { read_bytes: Some(n), ..Io::default() }));
        (a.io, b.io) = (read(1000, 4096), read(2000, 12_288));
        let bytes = Rates::between(&a, &b, 100).and_then(|r| r.read_bytes);
        assert_eq!(bytes, Some(8192.0), "the second between the two readings of I/O counts");
        b.io = a.io;
        assert_eq!(Rates::between(&a, &b, 100).map(|r| r.read_bytes), Some(None), "no time passed");
        b.stat.start = 2;
        assert_eq!(Rates::between(&a, &b, 100), None, "the pid was given again");
        assert_eq!(Rates::between(&a, &a, 100), None, "no time passed");
    }

    #[test]
    fn our_own_threads_are_asleep_and_busy() {
        let proc = ProcDir::open(std::path::Path::new("/proc")).expect("/proc");
        let pid = std::process::id() as i32;
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let asleep = std::thread::spawn(move || {
            let _ = tell.send(nix::unistd::gettid().as_raw());
            held.recv()
        });
        let tid = told.recv().expect("the thread names itself");
        let mut buf = Buf::default();
        // It sleeps once it has reached the channel; until then another look is taken.
        let id = TaskId { pid, tid, whole: false };
        let mut looks: Vec<Look> = Vec::new();
        for _ in 0..1000 {
            looks = (0..2).filter_map(|_| look(&proc, id, &mut buf)).collect();
            if looks.iter().all(|l| l.sample.stat.state == b'S') {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(Motion::of(&looks), Motion::Asleep, "{looks:?}");
        drop(hold);
        let _ = asleep.join();
        let whole = sample(&proc, TaskId { pid, tid: pid, whole: true }, &mut buf).expect("ourselves");
        assert!(whole.io.is_some_and(|(_, io)| io.read_chars > Some(0)) && whole.voluntary.is_some());
        assert!(sample(&proc, TaskId { pid: i32::MAX, tid: i32::MAX, whole: true }, &mut buf).is_none());
    }
}
