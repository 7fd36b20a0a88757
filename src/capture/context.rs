//! What a collector may look at: the root, the config, the incident, the time left. Shared between
//! the collectors of one capture, each on a thread that may have to be abandoned.

use crate::config::Config;
use crate::host::Root;
use crate::model::{Deadline, Incident, Mono};
use crate::sys::clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub struct Context {
    pub root: Root,
    pub config: Arc<Config>,
    /// As known when the capture was ordered.
    pub incident: Arc<Incident>,
    /// This collector's own deadline (its limit, or the capture's end if that is earlier).
    pub deadline: Deadline,
    /// Set when the supervisor has given this collector up.
    pub cancelled: Arc<AtomicBool>,
    /// Things found once and used by several collectors.
    pub shared: Arc<Shared>,
}

/// Found once per capture, used by several collectors.
#[derive(Default)]
pub struct Shared {
    /// Block devices (`sda`, `nvme0n1`) that the trigger names or that tasks hang on: not to be benchmarked.
    pub suspect_disks: std::sync::Mutex<Vec<String>>,
    /// The one scan of all processes and threads, by `tasks`; `processes` and `descriptors` use it.
    pub tasks: std::sync::OnceLock<Arc<crate::host::tasks::Table>>,
    /// Command lines read while their processes were healthy.
    pub command_lines: std::sync::OnceLock<Arc<crate::capture::command_lines::CommandLines>>,
    /// Processes that listen on a port that does not answer, by `descriptors`.
    pub port_owners: std::sync::OnceLock<Vec<i32>>,
    /// The one dump of all sockets, by `sockets`; `descriptors` uses it.
    pub sockets: std::sync::OnceLock<Arc<crate::host::sockets::Sockets>>,
    /// Links that `descriptors` and `processes` both want: each reads what the other has not read yet.
    pub links: Arc<crate::host::links::Shelf>,
    /// The number of the record after the last one that `kernel_log` brought.
    pub kernel_log_end: std::sync::OnceLock<u64>,
    /// `disk_rates` has taken its readings: from here on the disks may be loaded.
    pub rates_taken: AtomicBool,
    /// The queues as `sockets` found them: rates need two readings.
    pub queues: std::sync::OnceLock<crate::host::queues::Moment>,
    /// What each process had read and written, and when it was asked, by `processes`; in the order of pids.
    pub io: std::sync::OnceLock<Vec<(i32, (Mono, crate::host::limits::Io))>>,
    /// An early reading of /proc/diskstats and its time, left by `block_devices`: rates need two.
    pub diskstats: std::sync::Mutex<Option<(Mono, Vec<u8>)>>,
}

impl Context {
    /// What is left until the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.left(clock::mono())
    }

    /// Sleeps until `moment`, where time itself is what is awaited. A cancelled collector comes back at the next of ten
    /// looks a second.
    pub fn wait_until(&self, moment: Mono) {
        loop {
            let left = moment.since(clock::mono());
            if left.is_zero() || self.expired() {
                return;
            }
            std::thread::park_timeout(left.min(Duration::from_millis(100)));
        }
    }

    /// Whether to stop now. Long loops ask once per item.
    pub fn expired(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || self.deadline.passed(clock::mono())
    }
}
