//! This host's kernel log, by the best way there is: `/dev/kmsg`, else syslog(2).

use crate::model::{BootId, KernelTime, Losses, Record, Wall};
use crate::source::{Error, KlogSource, KmsgSource, Notice};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// How far the kernel log of one boot was read; what lets a restart report nothing twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub boot_id: BootId,
    /// Sequence number of the last record read from `/dev/kmsg`.
    pub seq: Option<u64>,
    /// Its printk stamp; all there is to go by where the log was read by syslog(2).
    #[serde(default)]
    pub stamp: Option<KernelTime>,
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// There is more to read now: call again before waiting.
    pub more: bool,
}

/// The kernel log, open.
#[derive(Debug)]
pub enum KernelLog {
    Kmsg(KmsgSource),
    Klog(KlogSource),
}

impl KernelLog {
    /// Opens `/dev/kmsg`, or falls back to syslog(2) and says so in a notice. What is in the ring already is
    /// delivered too, marked `old`, unless `resume` (of this boot) says that it was read before.
    ///
    /// Errors: both are denied.
    pub fn open(host: Arc<str>, resume: Option<Cursor>) -> Result<(KernelLog, Vec<Notice>), Error> {
        let kmsg = match KmsgSource::open(host.clone(), resume.clone()) {
            Ok(source) => return Ok((KernelLog::Kmsg(source), Vec::new())),
            Err(e) => e,
        };
        match KlogSource::open(host, resume) {
            Ok(source) => {
                let notice = format!(
                    "open /dev/kmsg: {kmsg}; polling syslog(2) once a second instead: an overrun of the ring is \
                     noticed but not counted"
                );
                Ok((KernelLog::Klog(source), vec![notice]))
            }
            Err(klog) => Err(Error::KernelLogDenied { kmsg, klog }),
        }
    }

    /// Where it is read from, as `status` shows it.
    pub fn name(&self) -> &'static str {
        match self {
            KernelLog::Kmsg(_) => "/dev/kmsg",
            KernelLog::Klog(_) => "syslog(2), polled",
        }
    }

    /// What to wait for; `None` where the log has to be polled, see [`KernelLog::poll_interval`].
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            KernelLog::Kmsg(s) => Some(s.as_fd()),
            KernelLog::Klog(_) => None,
        }
    }

    /// How often to read where there is no descriptor to wait for.
    pub fn poll_interval(&self) -> Option<Duration> {
        match self {
            KernelLog::Kmsg(_) => None,
            KernelLog::Klog(_) => Some(crate::source::klog::POLL_INTERVAL),
        }
    }

    /// Appends to `out`; see [`KmsgSource::read_batch`].
    pub fn read_batch(&mut self, max_records: usize, read_at: Wall, out: &mut Vec<Record>) -> io::Result<Batch> {
        match self {
            KernelLog::Kmsg(s) => s.read_batch(max_records, read_at, out),
            KernelLog::Klog(s) => s.read_batch(max_records, read_at, out),
        }
    }

    /// What was lost since the last call.
    pub fn losses(&mut self) -> Losses {
        match self {
            KernelLog::Kmsg(s) => s.losses(),
            KernelLog::Klog(s) => s.losses(),
        }
    }

    /// Records of user space (facility not 0) dropped since the start. No loss: they are not the kernel's.
    pub fn foreign(&self) -> u64 {
        match self {
            KernelLog::Kmsg(s) => s.foreign(),
            KernelLog::Klog(s) => s.foreign(),
        }
    }

    /// How far it was read.
    pub fn cursor(&self) -> Cursor {
        match self {
            KernelLog::Kmsg(s) => s.cursor(),
            KernelLog::Klog(s) => s.cursor(),
        }
    }
}

/// The id of the running boot.
pub(crate) fn boot_id() -> io::Result<BootId> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let mut text = String::new();
    std::fs::File::open(PATH)
        .and_then(|f| f.take(64).read_to_string(&mut text))
        .map_err(|e| io::Error::new(e.kind(), format!("read {PATH}: {e}")))?;
    Ok(BootId(text.trim().to_owned()))
}
