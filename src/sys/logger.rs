//! Log lines on standard error, which may be a pipe to a journal that hangs: a line that does not
//! fit at once is dropped and counted, and the next one that fits says how many were lost.

use crate::model::text::is_harmless;
use crate::sys::clock;
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most lines in one [`WINDOW`].
const LINES_MAX: u32 = 60;
const WINDOW: Duration = Duration::from_secs(10);
/// Longest line, in bytes: below PIPE_BUF, so that a pipe with room takes it whole.
const LINE_MAX: usize = 2000;

struct Logger {
    /// Prefix `<N>` for the journal instead of a time stamp.
    journal: bool,
    role: &'static str,
    rate: Mutex<(crate::model::Mono, u32)>,
    lost: AtomicU64,
}

/// Installs the logger for this process; `role` is its name in the lines. A second call has no effect.
pub fn install(role: &'static str, verbose: bool) {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let logger = Logger { journal, role, rate: Mutex::new((clock::mono(), 0)), lost: AtomicU64::new(0) };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("lastgasp")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if !self.may_write() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let mut line = match self.journal {
            true => format!("<{}>{}: {}", syslog_level(record.level()), self.role, record.args()),
            false => format!("{} {}: {}", clock::wall(), self.role, record.args()),
        };
        if lost > 0 {
            line.push_str(&format!(" [{lost} log lines lost before this one]"));
        }
        // Log text is hostile: neither escape sequences nor what reorders text may reach a terminal.
        line = line.chars().map(|c| if is_harmless(c) { c } else { '?' }).collect();
        while line.len() > LINE_MAX {
            line.pop();
        }
        line.push('\n');
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

impl Logger {
    /// Within the rate, and standard error takes it without waiting.
    fn may_write(&self) -> bool {
        let now = clock::mono();
        let mut rate = self.rate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.since(rate.0) > WINDOW {
            *rate = (now, 0);
        }
        if rate.1 >= LINES_MAX {
            return false;
        }
        rate.1 += 1;
        let stderr = std::io::stderr();
        let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
    }
}

fn syslog_level(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
