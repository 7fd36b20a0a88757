//! What the kernel counts of its own failures, for the case that their text was overwritten before it was read.
//!
//! `/sys/kernel/oops_count` and `warn_count` (kernel/exit.c, kernel/panic.c; Linux 6.2, in the stable series since 6.1.7) and
//! `oom_kill` of `/proc/vmstat` (mm/vmstat.c; Linux 4.13). All are read from memory of the kernel: no lock, no device. Each file
//! is opened once; one that is not there is never asked again.

use crate::model::Kind;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// `/proc/vmstat` has 4 to 6 KB.
const READ_MAX: usize = 16 << 10;

/// Something that the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    Oops,
    Warn,
    OomKill,
}

impl Counter {
    pub const ALL: [Counter; 3] = [Counter::Oops, Counter::Warn, Counter::OomKill];

    /// Where it is read.
    pub fn path(self) -> &'static str {
        match self {
            Counter::Oops => "/sys/kernel/oops_count",
            Counter::Warn => "/sys/kernel/warn_count",
            Counter::OomKill => "/proc/vmstat",
        }
    }

    /// What a rise of it is.
    pub fn kind(self) -> Kind {
        match self {
            Counter::Oops => Kind::Oops,
            Counter::Warn => Kind::Warning,
            Counter::OomKill => Kind::Oom,
        }
    }

    /// Its value in the file's text.
    fn value(self, text: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(text).ok()?;
        match self {
            Counter::Oops | Counter::Warn => text.trim().parse().ok(),
            Counter::OomKill => text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.trim().parse().ok()),
        }
    }
}

/// The counters, and their values when last asked.
#[derive(Debug)]
pub struct Counters {
    open: Vec<(Counter, File, u64)>,
    buffer: Vec<u8>,
}

impl Counters {
    /// Opens those that this kernel has, and reads them.
    pub fn open() -> Counters {
        let mut counters = Counters { open: Vec::new(), buffer: vec![0; READ_MAX] };
        for counter in Counter::ALL {
            let Ok(file) = File::open(counter.path()) else { continue };
            if let Some(value) = read(counter, &file, &mut counters.buffer) {
                counters.open.push((counter, file, value));
            }
        }
        counters
    }

    /// Which of them rose since the last call, and by how much.
    pub fn risen(&mut self) -> Vec<(Counter, u64)> {
        let mut risen = Vec::new();
        for (counter, file, before) in &mut self.open {
            if let Some(now) = read(*counter, file, &mut self.buffer) {
                if now > *before {
                    risen.push((*counter, now - *before));
                }
                *before = now;
            }
        }
        risen
    }
}

fn read(counter: Counter, file: &File, buffer: &mut [u8]) -> Option<u64> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(_) => return None,
        }
    }
    counter.value(&buffer[..filled])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_their_files() {
        assert_eq!(Counter::Oops.value(b"3\n"), Some(3));
        assert_eq!(Counter::Warn.value(b""), None);
        assert_eq!(Counter::OomKill.value(b"nr_free_pages 1\noom_kill 7\ndrop_pagecache 2\n"), Some(7));
        assert_eq!(Counter::OomKill.value(b"nr_free_pages 1\n"), None);
    }

    #[test]
    fn nothing_rises_by_itself() {
        let mut counters = Counters::open();
        // Other tests may make the kernel warn, but hardly between two lines.
        counters.risen();
        assert!(counters.risen().is_empty());
    }
}
