//! `/dev/kmsg` records → [`Record`]s: parsed, unescaped, one for each line; holes counted by sequence.
//!
//! ```text
//! 6,339,5140900,-,caller=T1;NET: Registered PF_INET6 protocol family
//!  SUBSYSTEM=net
//!  DEVICE=n1
//! ```
//!
//! The prefix is facility * 8 + level, sequence, microseconds since boot, `c` or `+` for a continuation,
//! then fields to come. In text and dictionary every byte below 0x20, from 0x7f, and the backslash itself
//! stands as `\xNN`; a text of several lines is one record (Documentation/ABI/testing/dev-kmsg;
//! `msg_add_ext_text` in kernel/printk/printk.c).

use crate::model::{KernelTime, Losses, Origin, Record, Wall};
use crate::source::kernel::{Batch, Cursor, boot_id};
use crate::source::lines::{LINE_MAX, cleaned};
use crate::sys::kmsg::{Kmsg, KmsgRead};
use memchr::memchr;
use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// One record as the kernel wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// 0 is the kernel; what user space writes to /dev/kmsg never has 0 (`devkmsg_write`).
    pub facility: u32,
    pub seq: u64,
    pub stamp_us: u64,
    /// A fragment of a line that another record started.
    pub continuation: bool,
    /// `T123` or `C0`, with CONFIG_PRINTK_CALLER.
    pub caller: Option<&'a str>,
    /// Unescaped; may hold line ends.
    pub text: Cow<'a, [u8]>,
    /// The dictionary lines as they came, escaped and each with its leading space.
    pub dict: &'a [u8],
}

/// Parses what one read of `/dev/kmsg` gave. `None`: not a record.
pub fn parse(bytes: &[u8]) -> Option<RawRecord<'_>> {
    let semicolon = memchr(b';', bytes)?;
    let Header { level, facility, seq, stamp_us, continuation, caller, .. } = header(&bytes[..semicolon])?;
    let body = &bytes[semicolon + 1..];
    let (text, dict) = match memchr(b'\n', body) {
        Some(i) => (&body[..i], &body[i + 1..]),
        None => (body, &[][..]),
    };
    Some(RawRecord { level, facility, seq, stamp_us, continuation, caller, text: unescape(text), dict })
}

impl RawRecord<'_> {
    /// Appends one [`Record`] for each line of the text, cut and cleaned.
    pub fn records(
        &self,
        origin: &Origin,
        host: &Arc<str>,
        read_at: Wall,
        scratch: &mut Vec<u8>,
        out: &mut Vec<Record>,
    ) {
        for line in self.text.split(|b| *b == b'\n') {
            out.push(Record {
                origin: origin.clone(),
                host: Arc::clone(host),
                seq: Some(self.seq),
                line: None,
                level: Some(self.level),
                facility: Some(self.facility),
                stamp: Some(KernelTime(self.stamp_us)),
                caller: self.caller.map(str::to_owned),
                read_at: Some(read_at),
                old: false,
                truncated: line.len() > LINE_MAX,
                text: cleaned(&line[..line.len().min(LINE_MAX)], scratch).to_vec(),
            });
        }
    }
}

/// What stands before the semicolon.
pub(crate) struct Header<'a> {
    pub level: u8,
    pub facility: u32,
    pub seq: u64,
    pub stamp_us: u64,
    pub continuation: bool,
    pub caller: Option<&'a str>,
    /// `offset/total`; netconsole alone writes it.
    pub ncfrag: Option<&'a str>,
}

/// Takes a prefix apart, up to the semicolon.
pub(crate) fn header(prefix: &[u8]) -> Option<Header<'_>> {
    let mut fields = std::str::from_utf8(prefix).ok()?.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let seq = fields.next()?.parse().ok()?;
    let stamp_us = fields.next()?.parse().ok()?;
    let continuation = fields.next().unwrap_or("-").contains(['c', '+']);
    let (mut caller, mut ncfrag) = (None, None);
    for field in fields {
        caller = caller.or_else(|| field.strip_prefix("caller="));
        ncfrag = ncfrag.or_else(|| field.strip_prefix("ncfrag="));
    }
    let (level, facility) = ((priority & 7) as u8, priority >> 3);
    Some(Header { level, facility, seq, stamp_us, continuation, caller, ncfrag })
}

/// Undoes `\xNN`; anything else behind a backslash stays as it is.
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut next) = memchr(b'\\', text) else { return Cow::Borrowed(text) };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        out.extend_from_slice(&rest[..next]);
        rest = &rest[next..];
        match escaped(rest) {
            Some(b) => {
                out.push(b);
                rest = &rest[4..];
            }
            None => {
                out.push(b'\\');
                rest = &rest[1..];
            }
        }
        match memchr(b'\\', rest) {
            Some(i) => next = i,
            None => {
                out.extend_from_slice(rest);
                return Cow::Owned(out);
            }
        }
    }
}

fn escaped(s: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = s else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// The running kernel's log by `/dev/kmsg`. Its own user-space lines are dropped and counted.
#[derive(Debug)]
pub struct KmsgSource {
    kmsg: Kmsg,
    old: Old,
    buffer: Vec<u8>,
    intake: Intake,
}

/// Where the records end that were logged before we opened.
#[derive(Debug)]
enum Old {
    /// Not known yet: a second reader was put behind the newest record at open, and what it reads first
    /// is the first record that is not old.
    Marked(Kmsg),
    /// Sequence number of the first record that is not old.
    Before(u64),
}

/// What is known between records; apart from the descriptor so that it can be tested.
#[derive(Debug)]
struct Intake {
    host: Arc<str>,
    at: Cursor,
    /// Records up to this were reported by an earlier run.
    skip_to: Option<u64>,
    overrun: u64,
    unparsable: u64,
    foreign: u64,
    scratch: Vec<u8>,
}

impl KmsgSource {
    /// Opens at the oldest record in the ring. With a cursor of this boot, records up to it are passed over
    /// and a hole right behind it counts as lost; a cursor of another boot means nothing.
    ///
    /// Errors: as [`Kmsg::open`]; the boot id is unreadable.
    pub fn open(host: Arc<str>, resume: Option<Cursor>) -> io::Result<KmsgSource> {
        let boot_id = boot_id()?;
        let mut mark = Kmsg::open()?;
        mark.seek_end()?;
        let kmsg = Kmsg::open()?;
        let resume = resume.filter(|c| c.boot_id == boot_id);
        let (seq, stamp) = resume.map_or((None, None), |c| (c.seq, c.stamp));
        let at = Cursor { boot_id, seq, stamp };
        let intake = Intake { host, at, skip_to: seq, overrun: 0, unparsable: 0, foreign: 0, scratch: Vec::new() };
        Ok(KmsgSource { kmsg, old: Old::Marked(mark), buffer: Vec::new(), intake })
    }

    /// Readable when there are records, or some were overwritten.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.kmsg.as_fd()
    }

    /// Reads at most `max_records` records, dropped ones included, and appends what they say to `out`: one
    /// [`Record`] for each line of text, so a record of several lines gives several with the same `seq`.
    /// What was logged before [`KmsgSource::open`] is `old`. Never waits.
    ///
    /// Errors: the device failed; nothing read so far is taken back.
    pub fn read_batch(&mut self, max_records: usize, read_at: Wall, out: &mut Vec<Record>) -> io::Result<Batch> {
        let first = out.len();
        let mut more = true;
        let mut result = Ok(());
        for _ in 0..max_records {
            match self.kmsg.read(&mut self.buffer) {
                Ok(KmsgRead::Record) => self.intake.accept(&self.buffer, read_at, out),
                Ok(KmsgRead::Overrun) => {}
                Ok(KmsgRead::Empty) => {
                    more = false;
                    break;
                }
                Err(e) => {
                    result = Err(e);
                    break;
                }
            }
        }
        self.mark_old(&mut out[first..], !more);
        result.map(|()| Batch { more })
    }

    /// Whatever was read while the second reader still finds nothing was there when we opened.
    fn mark_old(&mut self, batch: &mut [Record], all_read: bool) {
        let behind = self.intake.at.seq.map_or(0, |s| s.saturating_add(1));
        while let Old::Marked(mark) = &mut self.old {
            match mark.read(&mut self.buffer) {
                // What cannot be parsed has no number; no kernel writes such.
                Ok(KmsgRead::Record) => self.old = Old::Before(parse(&self.buffer).map_or(behind, |r| r.seq)),
                Ok(KmsgRead::Empty) if !all_read => break,
                // All that was in the ring at open is overwritten; the next read tells what is left.
                Ok(KmsgRead::Overrun) => {}
                Ok(KmsgRead::Empty) | Err(_) => self.old = Old::Before(behind),
            }
        }
        for record in batch {
            record.old = match self.old {
                Old::Marked(_) => true,
                Old::Before(first_new) => record.seq.is_some_and(|s| s < first_new),
            };
        }
    }

    /// What was lost since the last call: `kmsg_overrun_records`, `kmsg_unparsable_records`.
    pub fn losses(&mut self) -> Losses {
        let mut losses = Losses::default();
        losses.add("kmsg_overrun_records", std::mem::take(&mut self.intake.overrun));
        losses.add("kmsg_unparsable_records", std::mem::take(&mut self.intake.unparsable));
        losses
    }

    /// Records of other facilities than the kernel's, dropped since the start.
    pub fn foreign(&self) -> u64 {
        self.intake.foreign
    }

    /// The last record read.
    pub fn cursor(&self) -> Cursor {
        self.intake.at.clone()
    }
}

impl Intake {
    fn accept(&mut self, bytes: &[u8], read_at: Wall, out: &mut Vec<Record>) {
        let Some(raw) = parse(bytes) else {
            self.unparsable += 1;
            return;
        };
        if let Some(last) = self.at.seq {
            // By the numbers, not by EPIPE: that says only that there was an overrun, not how long.
            self.overrun += raw.seq.saturating_sub(last).saturating_sub(1);
        }
        if self.skip_to.is_some_and(|s| raw.seq <= s) {
            return;
        }
        self.at.seq = Some(raw.seq);
        self.at.stamp = Some(KernelTime(raw.stamp_us));
        if raw.facility != 0 {
            self.foreign += 1;
            return;
        }
        raw.records(&Origin::Kmsg, &self.host, read_at, &mut self.scratch, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BootId;
    use proptest::prelude::*;

    fn intake(seq: Option<u64>) -> Intake {
        let at = Cursor { boot_id: BootId("b".into()), seq, stamp: None };
        Intake { host: "h".into(), at, skip_to: seq, overrun: 0, unparsable: 0, foreign: 0, scratch: Vec::new() }
    }

    #[test]
    fn a_record_with_caller_dictionary_and_escapes() {
        let raw = b"30,7,5140900,-,caller=T1,later=x;tab\\x09 back\\x5c \\xff \\q \\x4\n SUBSYSTEM=net\n DEVICE=n1\n";
        let r = parse(raw).expect("a record");
        assert_eq!((r.level, r.facility, r.seq, r.stamp_us, r.continuation), (6, 3, 7, 5_140_900, false));
        assert_eq!(r.caller, Some("T1"));
        assert_eq!(&r.text[..], b"tab\t back\\ \xff \\q \\x4");
        assert_eq!(r.dict, b" SUBSYSTEM=net\n DEVICE=n1\n");
        assert!(parse(b"6,1,2,c;x\n").expect("a record").continuation);
    }

    #[test]
    fn garbage_is_no_record() {
        for bad in [&b""[..], b";", b"6,1;x", b"a,1,2,-;x", b"6,1,2", b"\xff,1,2,-;x", b"6,99999999999999999999,2,-;x"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn holes_are_counted_foreign_records_dropped_and_lines_split() {
        let mut intake = intake(None);
        let mut out = Vec::new();
        // A task may be named like a terminal command.
        intake.accept(b"6,9,1,-;\\x1b[2Jcleared\n", Wall(5), &mut out);
        assert_eq!(out.pop().expect("a record").text, b"cleared");
        for raw in
            [&b"6,10,1,-;one\n"[..], b"4,13,2,-;\\x0atwo\\x0athree\n", b"14,14,3,-;user\n", b"junk", b"6,15,4,-;four\n"]
        {
            intake.accept(raw, Wall(5), &mut out);
        }
        let texts: Vec<(u64, &[u8])> = out.iter().map(|r| (r.seq.expect("numbered"), r.text.as_slice())).collect();
        assert_eq!(texts, [(10, &b"one"[..]), (13, b""), (13, b"two"), (13, b"three"), (15, b"four")]);
        assert_eq!((intake.overrun, intake.foreign, intake.unparsable), (2, 1, 1));
        assert_eq!(intake.at.seq, Some(15));
    }

    #[test]
    fn resuming_skips_what_was_reported_and_counts_what_was_overwritten_meanwhile() {
        let mut skipping = intake(Some(11));
        let mut out = Vec::new();
        for raw in [&b"6,10,1,-;a\n"[..], b"6,11,1,-;b\n", b"6,12,1,-;c\n"] {
            skipping.accept(raw, Wall(5), &mut out);
        }
        assert_eq!((out.len(), out[0].seq, skipping.overrun), (1, Some(12), 0));
        let mut late = intake(Some(11));
        late.accept(b"6,20,1,-;d\n", Wall(5), &mut out);
        assert_eq!(late.overrun, 8);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            intake(None).accept(&bytes, Wall(0), &mut out);
            let mut framed = b"6,1,2,-;".to_vec();
            framed.extend_from_slice(&bytes);
            intake(None).accept(&framed, Wall(0), &mut out);
        }
    }
}
