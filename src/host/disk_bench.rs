//! How fast a disk reads: 0.7 s of sequential reads of up to 1 MiB past the page cache, then 0.3 s of random reads of 4 KiB.
//!
//! Sequential reads begin small and double while they are quick: a disk that has come down to 1.5 MB/s takes 0.7 s for 1 MiB,
//! and one that is slower still would look as if it did not answer at all.
//!
//! [`measure`] reports each step as it goes, so that whoever waits for it notices a read that never ends
//! and keeps what was measured until then. [`Tally`] adds the steps up.

use crate::sys::clock;
use crate::sys::direct_io::{ALIGN, Aligned, DirectFile};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// How much to read at most.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of the first sequential read.
    pub first_bytes: usize,
    /// Of a sequential read at most.
    pub block_bytes: usize,
    pub sequential_bytes: u64,
    pub sequential_time: Duration,
    pub random_reads: u32,
    pub random_time: Duration,
}

impl Default for Plan {
    /// A second for each disk, both parts together. Three are what `hdparm -t` takes; less than one was enough for the same
    /// figure within its own spread.
    fn default() -> Plan {
        Plan {
            first_bytes: 64 << 10,
            block_bytes: 1 << 20,
            sequential_bytes: 256 << 20,
            sequential_time: Duration::from_millis(700),
            random_reads: 64,
            random_time: Duration::from_millis(300),
        }
    }
}

/// The next sequential read is twice as large when the last one took less. Far more than a busy disk far away needs for a small
/// read, or its rate would be that of its round trips.
const QUICK: Duration = Duration::from_millis(50);

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The thread that measures; said before anything that may block.
    Started {
        tid: i32,
    },
    Opened {
        size_bytes: u64,
    },
    Sequential {
        bytes: u64,
        took_us: u64,
    },
    Random {
        took_us: u64,
    },
    /// Ended early: what was being done, and the error.
    Failed {
        doing: String,
        error: String,
        denied: bool,
    },
    Done,
}

/// Measures `path`, telling `tell` each step. Ends at the plan's bounds, on an error, or when `tell` returns
/// false. Uses one buffer of `block_bytes`.
pub fn measure(path: &Path, plan: &Plan, tell: &mut dyn FnMut(Step) -> bool) {
    if !tell(Step::Started { tid: nix::unistd::gettid().as_raw() }) {
        return;
    }
    let failed = |doing: &str, e: std::io::Error| Step::Failed {
        doing: doing.to_owned(),
        denied: e.kind() == std::io::ErrorKind::PermissionDenied,
        error: e.to_string(),
    };
    let opened = DirectFile::open(path).and_then(|mut f| f.size().map(|s| (f, s)));
    let (file, size) = match opened {
        Ok(both) => both,
        Err(e) => {
            tell(failed("open for direct reading", e));
            return;
        }
    };
    if !tell(Step::Opened { size_bytes: size }) {
        return;
    }
    let mut buffer = Aligned::new(plan.block_bytes);
    let (mut offset, mut spent, mut block) = (0_u64, Duration::ZERO, plan.first_bytes.min(plan.block_bytes));
    // Of a device that small, a rate would say nothing.
    let end =
        if size < plan.block_bytes as u64 { 0 } else { plan.sequential_bytes.min(size) / ALIGN as u64 * ALIGN as u64 };
    while offset < end && spent < plan.sequential_time {
        let length = usize::try_from(end - offset).unwrap_or(block).min(block);
        let began = clock::mono();
        match file.read_at(&mut buffer, length, offset) {
            Ok(0) => break,
            Ok(n) => {
                let took = clock::mono().since(began);
                spent += took;
                offset += n as u64;
                if took < QUICK {
                    block = (2 * block).min(plan.block_bytes);
                }
                if !tell(Step::Sequential { bytes: n as u64, took_us: micros(took) }) {
                    return;
                }
                // A short read leaves an offset that O_DIRECT refuses.
                if n % ALIGN != 0 {
                    break;
                }
            }
            Err(e) => {
                tell(failed(&format!("read at {offset}"), e));
                return;
            }
        }
    }
    // Random places over the whole disk; from the clock, so that two runs do not hit the disk's own cache.
    let blocks = size / ALIGN as u64;
    let mut state = clock::mono().0 | 1;
    let mut spent = Duration::ZERO;
    for _ in 0..plan.random_reads {
        if blocks == 0 || spent >= plan.random_time {
            break;
        }
        // xorshift64 (Marsaglia): even enough to choose places, and no dependency.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let offset = state % blocks * ALIGN as u64;
        let began = clock::mono();
        if let Err(e) = file.read_at(&mut buffer, ALIGN, offset) {
            tell(failed(&format!("read at {offset}"), e));
            return;
        }
        let took = clock::mono().since(began);
        spent += took;
        if !tell(Step::Random { took_us: micros(took) }) {
            return;
        }
    }
    tell(Step::Done);
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

/// What the steps add up to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub tid: Option<i32>,
    pub size_bytes: Option<u64>,
    sequential_bytes: u64,
    sequential_read_bytes: u64,
    sequential_us: Vec<u64>,
    random_us: Vec<u64>,
    pub failed: Option<String>,
    pub denied: bool,
    pub done: bool,
}

/// The figures of one disk. `None`: not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Bytes that were read in sequence, and per second.
    pub sequential_bytes: Option<u64>,
    pub sequential_bytes_per_s: Option<f64>,
    /// Bytes of the largest sequential read.
    pub sequential_read_bytes: Option<u64>,
    /// The slowest of the sequential reads.
    pub sequential_slowest_us: Option<u64>,
    pub random: Option<Latency>,
}

/// Latencies of the random reads, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    pub reads: usize,
    pub min_us: u64,
    pub median_us: u64,
    pub p95_us: u64,
    pub max_us: u64,
}

impl Tally {
    pub fn add(&mut self, step: Step) {
        match step {
            Step::Started { tid } => self.tid = Some(tid),
            Step::Opened { size_bytes } => self.size_bytes = Some(size_bytes),
            Step::Sequential { bytes, took_us } => {
                self.sequential_bytes += bytes;
                self.sequential_read_bytes = self.sequential_read_bytes.max(bytes);
                self.sequential_us.push(took_us);
            }
            Step::Random { took_us } => self.random_us.push(took_us),
            Step::Failed { doing, error, denied } => {
                self.failed = Some(format!("{doing}: {error}"));
                self.denied = denied;
            }
            Step::Done => self.done = true,
        }
    }

    /// Nothing more will come.
    pub fn ended(&self) -> bool {
        self.done || self.failed.is_some()
    }

    pub fn figures(&self) -> Figures {
        let spent_us: u64 = self.sequential_us.iter().sum();
        let any = !self.sequential_us.is_empty();
        Figures {
            sequential_bytes: any.then_some(self.sequential_bytes),
            sequential_bytes_per_s: (spent_us > 0).then(|| self.sequential_bytes as f64 * 1e6 / spent_us as f64),
            sequential_read_bytes: any.then_some(self.sequential_read_bytes),
            sequential_slowest_us: self.sequential_us.iter().copied().max(),
            random: latency(&self.random_us),
        }
    }
}

fn latency(us: &[u64]) -> Option<Latency> {
    let mut sorted = us.to_vec();
    sorted.sort_unstable();
    // Nearest rank: the smallest value that at least `percent` of all do not exceed.
    let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some(Latency {
        reads: sorted.len(),
        min_us: *sorted.first()?,
        median_us: rank(50)?,
        p95_us: rank(95)?,
        max_us: *sorted.last()?,
    })
}

impl Figures {
    /// `1.5 MB/s sequential (1.2 MB in reads of 128 KiB, slowest 87.0 ms), 4 KiB random 120 ms median (…)`.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if let (Some(bytes), Some(rate)) = (self.sequential_bytes, self.sequential_bytes_per_s) {
            let slowest = self.sequential_slowest_us.map(ms).unwrap_or_default();
            let (mb, kib) = (bytes as f64 / 1e6, self.sequential_read_bytes.unwrap_or_default() >> 10);
            let rate = rate / 1e6;
            parts.push(format!("{rate:.1} MB/s sequential ({mb:.1} MB in reads of {kib} KiB, slowest {slowest})"));
        }
        if let Some(r) = &self.random {
            parts.push(format!(
                "4 KiB random {} median (min {}, p95 {}, max {}, {} reads)",
                ms(r.median_us),
                ms(r.min_us),
                ms(r.p95_us),
                ms(r.max_us),
                r.reads
            ));
        }
        parts.join(", ")
    }
}

fn ms(us: u64) -> String {
    match us {
        0..1_000 => format!("{:.2} ms", us as f64 / 1e3),
        1_000..100_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{} ms", us / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(path: &Path, plan: &Plan) -> Tally {
        let mut tally = Tally::default();
        measure(path, plan, &mut |s| {
            tally.add(s);
            true
        });
        tally
    }

    #[test]
    fn a_regular_file_is_measured_within_its_bounds() {
        // In the build directory: /tmp may be a tmpfs, which older kernels do not read directly.
        let file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).expect("a file");
        std::fs::write(file.path(), vec![7; 5 << 20]).expect("write");
        // However slow the disk is just now, it gets through.
        let time = Duration::from_secs(60);
        let plan = Plan { sequential_bytes: 3 << 20, sequential_time: time, random_time: time, ..Plan::default() };
        let tally = measured(file.path(), &plan);
        if let Some(why) = &tally.failed {
            assert!(why.contains("Invalid argument"), "{why}");
            eprintln!("SKIPPED: this file system knows no O_DIRECT: {why}");
            return;
        }
        let f = tally.figures();
        assert!(tally.done && tally.tid.is_some());
        assert_eq!((tally.size_bytes, f.sequential_bytes), (Some(5 << 20), Some(3 << 20)));
        assert!(f.sequential_bytes_per_s.expect("a rate") > 0.0);
        assert_eq!(f.random.expect("latencies").reads, 64);
        assert!(f.sequential_read_bytes.is_some_and(|n| n.is_power_of_two() && n <= 1 << 20), "{f:?}");
        assert!(f.text().contains("MB/s sequential") && f.text().contains("median"), "{}", f.text());
    }

    #[test]
    fn what_cannot_be_opened_says_so() {
        let tally = measured(Path::new("/nonexistent/disk"), &Plan::default());
        assert!(tally.failed.as_deref().is_some_and(|f| f.starts_with("open for direct reading")), "{tally:?}");
        assert_eq!(tally.figures(), Figures::default());
    }

    #[test]
    fn latencies_use_the_nearest_rank() {
        let l = latency(&(1..=100).rev().collect::<Vec<_>>()).expect("values");
        assert_eq!((l.min_us, l.median_us, l.p95_us, l.max_us), (1, 50, 95, 100));
        let one = latency(&[7]).expect("a value");
        assert_eq!((one.min_us, one.median_us, one.p95_us, one.max_us), (7, 7, 7, 7));
        assert_eq!(latency(&[]), None);
        assert_eq!((ms(120_000), ms(1_500), ms(85)), ("120 ms".into(), "1.5 ms".into(), "0.09 ms".into()));
    }
}
