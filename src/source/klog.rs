//! The kernel log by syslog(2), for where `/dev/kmsg` is denied: the whole ring read again and again, what
//! is new found by overlap.
//!
//! ```text
//! <6>[   12.345678] e1000e 0000:00:1f.6 eth0: NIC Link is Down
//! ```
//!
//! The text of a record keeps its `[stamp]`. Two readings are joined at the longest end of the older one
//! that the newer one starts with, so no line is ever given twice. Where nothing overlaps (the ring went round
//! between two readings, or `dmesg --clear`) that is counted as one gap: how many lines it cost nobody knows.

use crate::model::{BootId, KernelTime, Losses, Origin, Record, Wall};
use crate::source::kernel::{Batch, Cursor, boot_id};
use crate::source::lines::{LINE_MAX, cleaned};
use crate::sys::klog;
use memchr::{memchr, memchr_iter};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How often to read.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct KlogSource {
    host: Arc<str>,
    boot_id: BootId,
    text: Vec<u8>,
    overlap: Overlap,
    /// Lines found and not handed out yet; at most one ring of them.
    waiting: VecDeque<Record>,
    /// Nothing was read yet: what comes was there before us.
    first: bool,
    /// Lines stamped up to this were reported by an earlier run.
    skip_to: Option<KernelTime>,
    last_stamp: Option<KernelTime>,
    foreign: u64,
    gaps: u64,
}

impl KlogSource {
    /// Checks that reading is allowed. A cursor of this boot passes over lines stamped up to it (without
    /// printk.time, none).
    ///
    /// Errors: as [`klog::size`]; the boot id is unreadable.
    pub fn open(host: Arc<str>, resume: Option<Cursor>) -> io::Result<KlogSource> {
        let boot_id = boot_id()?;
        let mut source = KlogSource {
            host,
            skip_to: resume.filter(|c| c.boot_id == boot_id).and_then(|c| c.stamp),
            boot_id,
            text: Vec::new(),
            overlap: Overlap::default(),
            waiting: VecDeque::new(),
            first: true,
            last_stamp: None,
            foreign: 0,
            gaps: 0,
        };
        source.last_stamp = source.skip_to;
        klog::read_all(&mut source.text, 1024)?;
        Ok(source)
    }

    /// Reads the ring, unless lines of the last reading are still waiting, and appends at most
    /// `max_records` records. The first reading is `old`.
    ///
    /// Errors: as [`klog::read_all`].
    pub fn read_batch(&mut self, max_records: usize, read_at: Wall, out: &mut Vec<Record>) -> io::Result<Batch> {
        if self.waiting.is_empty() {
            // The text is longer than what the ring holds: each line has its priority and stamp written out.
            klog::read_all(&mut self.text, klog::size()?.saturating_mul(2))?;
            let text = std::mem::take(&mut self.text);
            self.take_in(&text, read_at);
            self.text = text;
        }
        out.extend(self.waiting.drain(..max_records.min(self.waiting.len())));
        Ok(Batch { more: !self.waiting.is_empty() })
    }

    fn take_in(&mut self, text: &[u8], read_at: Wall) {
        let (new, gap) = self.overlap.advance(text);
        self.gaps += u64::from(gap);
        let mut facility = 0;
        let mut scratch = Vec::new();
        for line in lines(&text[new..]) {
            let (priority, body) = priority(line);
            // A line without one belongs to the record before it.
            facility = priority.map_or(facility, |p| p >> 3);
            if facility != 0 {
                self.foreign += 1;
                continue;
            }
            let stamp = stamp(body);
            if stamp.is_some() && stamp <= self.skip_to {
                continue;
            }
            self.last_stamp = stamp.or(self.last_stamp);
            let text = cleaned(&body[..body.len().min(LINE_MAX)], &mut scratch);
            let mut record = Record::plain(Origin::Klog, self.host.clone(), text);
            record.level = priority.map(|p| (p & 7) as u8);
            record.facility = Some(0);
            record.read_at = Some(read_at);
            record.old = self.first;
            record.truncated = body.len() > LINE_MAX;
            self.waiting.push_back(record);
        }
        self.first = false;
    }

    /// `klog_gaps` since the last call.
    pub fn losses(&mut self) -> Losses {
        let mut losses = Losses::default();
        losses.add("klog_gaps", std::mem::take(&mut self.gaps));
        losses
    }

    /// Lines of other facilities than the kernel's, dropped since the start.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    /// The stamp of the last line read; there are no sequence numbers here.
    pub fn cursor(&self) -> Cursor {
        Cursor { boot_id: self.boot_id.clone(), seq: None, stamp: self.last_stamp }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|b| *b == b'\n').take(if text.is_empty() { 0 } else { usize::MAX })
}

/// `<14>text` → 14 and the text.
fn priority(line: &[u8]) -> (Option<u32>, &[u8]) {
    let number = || {
        let end = memchr(b'>', &line[..line.len().min(12)])?;
        let digits = std::str::from_utf8(line[..end].strip_prefix(b"<")?).ok()?;
        Some((digits.parse::<u32>().ok()?, &line[end + 1..]))
    };
    number().map_or((None, line), |(n, body)| (Some(n), body))
}

/// `[   12.345678] …` → 12,345,678 µs.
fn stamp(body: &[u8]) -> Option<KernelTime> {
    let end = memchr(b']', &body[..body.len().min(40)])?;
    let text = std::str::from_utf8(body[..end].strip_prefix(b"[")?).ok()?;
    let (s, us) = text.trim_start().split_once('.')?;
    if us.len() != 6 {
        return None;
    }
    Some(KernelTime(s.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(us.parse().ok()?)?))
}

/// Joins readings of the ring. Keeps one hash for each line (at most some 200,000 of them).
#[derive(Debug, Default)]
struct Overlap {
    before: Vec<u64>,
    // Keyed by chance: who can write lines must not be able to make two look the same.
    hasher: RandomState,
}

impl Overlap {
    /// Takes the next reading; where in it the new lines start, and whether the join was lost.
    fn advance(&mut self, text: &[u8]) -> (usize, bool) {
        let mut starts = vec![0];
        starts.extend(memchr_iter(b'\n', text).map(|i| i + 1));
        let hashes: Vec<u64> = starts.windows(2).map(|w| self.hasher.hash_one(&text[w[0]..w[1]])).collect();
        let shared = longest_end_that_starts(&self.before, &hashes);
        let gap = shared == 0 && !self.before.is_empty() && !hashes.is_empty();
        self.before = hashes;
        (starts[shared], gap)
    }
}

/// Length of the longest end of `old` that `new` starts with; linear time (Knuth, Morris and Pratt).
fn longest_end_that_starts(old: &[u64], new: &[u64]) -> usize {
    // fallback[i]: the longest proper end of new[..=i] that is also its start.
    let mut fallback = vec![0; new.len()];
    let mut k = 0;
    for i in 1..new.len() {
        while k > 0 && new[i] != new[k] {
            k = fallback[k - 1];
        }
        k += usize::from(new[i] == new[k]);
        fallback[i] = k;
    }
    let mut matched = 0;
    for h in old {
        while matched > 0 && (matched == new.len() || new[matched] != *h) {
            matched = fallback[matched - 1];
        }
        matched += usize::from(new.get(matched) == Some(h));
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source() -> KlogSource {
        KlogSource {
            host: "h".into(),
            boot_id: BootId("b".into()),
            text: Vec::new(),
            overlap: Overlap::default(),
            waiting: VecDeque::new(),
            first: true,
            skip_to: None,
            last_stamp: None,
            foreign: 0,
            gaps: 0,
        }
    }

    fn texts(s: &mut KlogSource, ring: &str) -> Vec<String> {
        s.take_in(ring.as_bytes(), Wall(1));
        s.waiting.drain(..).map(|r| String::from_utf8(r.text).expect("text")).collect()
    }

    #[test]
    fn only_new_lines_of_the_kernel_are_given() {
        let mut s = source();
        assert_eq!(texts(&mut s, "<6>[    1.000000] a\n<14>[    1.000001] user\n<4>[    2.000000] b\n").len(), 2);
        assert_eq!(s.foreign, 1);
        assert_eq!(
            texts(&mut s, "<4>[    2.000000] b\n<4>[    3.000000] c\n<4>[    3.000000] c\n"),
            ["[    3.000000] c", "[    3.000000] c"]
        );
        assert_eq!(texts(&mut s, "<4>[    3.000000] c\n<4>[    3.000000] c\n").len(), 0);
        assert_eq!((s.gaps, s.last_stamp), (0, Some(KernelTime(3_000_000))));
        assert_eq!(texts(&mut s, "<0>[    9.000000] x\n").len(), 1);
        assert_eq!(s.gaps, 1);
    }

    #[test]
    fn a_cursor_passes_over_what_an_earlier_run_reported() {
        let mut s = source();
        s.skip_to = Some(KernelTime(2_000_000));
        assert_eq!(texts(&mut s, "<4>[    2.000000] b\n<4>[    2.000001] c\n"), ["[    2.000001] c"]);
    }

    proptest! {
        #[test]
        fn the_join_is_the_longest(old in proptest::collection::vec(0u64..3, 0..20), new in proptest::collection::vec(0u64..3, 0..20)) {
            let naive = (0..=old.len().min(new.len())).rev().find(|n| old[old.len() - n..] == new[..*n]);
            prop_assert_eq!(Some(longest_end_that_starts(&old, &new)), naive);
        }

        #[test]
        fn any_text_is_survived(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            source().take_in(&text, Wall(0));
        }
    }
}
