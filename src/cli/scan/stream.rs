//! One log through the detector.
//!
//! It is read in chunks; memory does not grow with it. What lines hold no phrase of any rule is passed over by the
//! chunk. Events are printed when they are complete, in the order of their first lines.

use super::print;
use crate::cli::Format;
use crate::detect::{Detector, escapes};
use crate::model::{Event, Mono, Origin, Record, Signal};
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::io::{self, Read, Write};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 128 << 10;
/// Longest line that is kept whole while its end is looked for; the detector reads far less of it.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Output failed: the end, unlike a file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot print")]
pub struct PrintError(#[source] io::Error);

/// One file on its way through the detector.
pub struct Scan<'a> {
    file: &'a str,
    detector: &'a mut Detector,
    record: Record,
    /// Lines so far.
    lines: u64,
    signals: Vec<Signal>,
    /// A chunk without its control sequences.
    plain: Vec<u8>,
    /// Events in the order of their headers; `None` while open. At most as long as reports stay open.
    waiting: VecDeque<(u64, Option<Box<Event>>)>,
    format: Format,
    pub found: bool,
}

impl<'a> Scan<'a> {
    pub fn new(file: &'a str, host: &str, format: Format, detector: &'a mut Detector) -> Scan<'a> {
        let record = Record::plain(Origin::Replay(file.into()), host.into(), Vec::new());
        Scan {
            file,
            detector,
            record,
            lines: 0,
            signals: Vec::new(),
            plain: Vec::new(),
            waiting: VecDeque::new(),
            format,
            found: false,
        }
    }

    /// Reads to the end. The buffer holds one chunk and the beginning of a line.
    pub fn read(&mut self, input: &mut dyn Read, out: &mut impl Write) -> Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES + LINE_BYTES_MAX];
        let mut kept = 0;
        // The rest of an overlong line is dropped.
        let mut dropping = false;
        loop {
            let room = kept..(kept + CHUNK_BYTES).min(buffer.len());
            let n = match input.read(&mut buffer[room]) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).with_context(|| format!("read failed after line {}", self.lines)),
            };
            if n == 0 {
                if kept > 0 {
                    self.lines(&buffer[..kept], out)?;
                }
                return Ok(());
            }
            let filled = kept + n;
            let mut start = 0;
            if dropping {
                match memchr::memchr(b'\n', &buffer[..filled]) {
                    Some(at) => {
                        start = at + 1;
                        dropping = false;
                    }
                    None => {
                        kept = 0;
                        continue;
                    }
                }
            }
            let end = memchr::memrchr(b'\n', &buffer[start..filled]).map_or(start, |at| start + at + 1);
            if end > start {
                self.lines(&buffer[start..end], out)?;
            }
            kept = filled - end;
            if kept > LINE_BYTES_MAX {
                self.lines(&buffer[end..end + LINE_BYTES_MAX], out)?;
                kept = 0;
                dropping = true;
            } else {
                buffer.copy_within(end..filled, 0);
            }
        }
    }

    /// Whole lines; the last one may lack its line feed.
    fn lines(&mut self, text: &[u8], out: &mut impl Write) -> Result<()> {
        // Terminal control sequences may stand inside a phrase: they are taken out first, lines stay lines.
        if !escapes::any(text) {
            return self.plain_lines(text, out);
        }
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        escapes::strip(text, &mut plain);
        let done = self.plain_lines(&plain, out);
        self.plain = plain;
        done
    }

    fn plain_lines(&mut self, text: &[u8], out: &mut impl Write) -> Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            if self.detector.is_idle() {
                let quiet = match self.detector.first_candidate(rest) {
                    Some(at) => memchr::memrchr(b'\n', &rest[..at]).map_or(0, |n| n + 1),
                    None => rest.len(),
                };
                self.pass(&rest[..quiet]);
                rest = &rest[quiet..];
                if rest.is_empty() {
                    break;
                }
            }
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            self.lines += 1;
            self.record.line = Some(self.lines);
            self.record.text.clear();
            self.record.text.extend_from_slice(&rest[..end]);
            self.detector.feed(&self.record, Mono(0), &mut self.signals);
            self.take(out)?;
            rest = rest.get(end + 1..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// Lines without a phrase while no report is open: they are only counted.
    fn pass(&mut self, quiet: &[u8]) {
        if quiet.is_empty() {
            return;
        }
        let text = quiet.strip_suffix(b"\n").unwrap_or(quiet);
        let lines = memchr::memchr_iter(b'\n', text).count() as u64 + 1;
        self.lines += lines;
        self.detector.skip(&self.record, lines, text, Mono(0), &mut self.signals);
    }

    pub fn finish(&mut self, out: &mut impl Write) -> Result<()> {
        self.detector.finish(&mut self.signals);
        self.take(out)
    }

    /// Sorts what the detector said and prints what is complete.
    fn take(&mut self, out: &mut impl Write) -> Result<()> {
        for signal in self.signals.drain(..) {
            match signal {
                Signal::Opened(e) => self.waiting.push_back((e.number, None)),
                Signal::Closed(e) => {
                    if let Some(slot) = self.waiting.iter_mut().find(|w| w.0 == e.number) {
                        slot.1 = Some(Box::new(e));
                    }
                }
                Signal::Recovered(_) => {}
            }
        }
        while let Some((_, Some(_))) = self.waiting.front() {
            if let Some((_, Some(event))) = self.waiting.pop_front() {
                self.found = true;
                print::event(self.file, &event, self.format, out).map_err(PrintError)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &[u8]) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        let mut detector = Detector::new(&crate::config::RulesConfig::default()).expect("the built-in rules are sound");
        let mut s = Scan::new("dir/web1.console.log", "web1", Format::Json, &mut detector);
        s.read(&mut { text }, &mut out).expect("memory can be read");
        s.finish(&mut out).expect("memory can be written");
        String::from_utf8(out).expect("JSON").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
    }

    #[test]
    fn lines_are_counted_across_chunks_and_junk() {
        let mut text = Vec::new();
        for n in 0..40_000 {
            text.extend_from_slice(format!("[{n:5}.000000] usb 1-1: nothing to see\n").as_bytes());
        }
        text.extend_from_slice(&[0xff, 0x00, 0x1b, b'\n']);
        text.extend_from_slice(b"[40000.000000] kernel BUG at fs/inode.c:12!");
        let rows = scan(&text);
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (&rows[0]["line"], &rows[0]["kind"], &rows[0]["host"]),
            (&40_002.into(), &"bug".into(), &"web1".into())
        );
    }

    #[test]
    fn a_line_without_end_costs_no_memory_and_hides_nothing() {
        let mut text = b"x".repeat(3 << 20);
        text.extend_from_slice(b"\n[1.000000] kernel BUG at fs/inode.c:12!\n");
        let rows = scan(&text);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["line"], 2);
    }

    #[test]
    fn a_phrase_is_seen_through_control_sequences() {
        let rows = scan(b"\x1b[0m[1.000000] kernel \x1b[33mBUG at\x1b[0m fs/inode.c:12!\n");
        assert_eq!((rows.len(), &rows[0]["kind"]), (1, &"bug".into()));
    }

    #[test]
    fn a_reset_is_seen_behind_lines_without_stamps() {
        let mut text = String::from("[    0.000000] Linux version 6.1.0\n[  900.000000] usb 1-1: nothing to see\n");
        text.push_str(&"[\x1b[0;32m  OK  \x1b[0m] Started a service.\n".repeat(20));
        text.push_str("db7 login: \n[    0.000000] Linux version 6.1.0\n");
        for text in [text.clone(), text.replace(['\x1b'], "")] {
            let rows = scan(text.as_bytes());
            assert_eq!(rows.len(), 1);
            assert_eq!((&rows[0]["line"], &rows[0]["kind"]), (&24.into(), &"reboot".into()));
        }
    }

    /// Hands out a few bytes at a time.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 % 13 + 1;
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn how_the_bytes_arrive_makes_no_difference() {
        let mut text = b"[    0.500000] usb 1-1: nothing to see\n".repeat(50);
        for line in [
            "kernel BUG at fs/inode.c:12!",
            "RIP: 0010:f+0x1/0x2",
            "Call Trace:",
            " g+0x1/0x2",
            "---[ end trace 0 ]---",
        ] {
            text.extend_from_slice(format!("[    1.000000] {line}\n").as_bytes());
        }
        text.extend_from_slice(&b"[   20.500000] usb 1-1: nothing to see\n".repeat(50));
        text.extend_from_slice(b"[   30.000000] EXT4-fs error (device sda1): ext4_lookup:1: inode #2: comm x: bad\n");
        let whole = scan(&text);
        let mut out = Vec::new();
        let mut detector = Detector::new(&crate::config::RulesConfig::default()).expect("the built-in rules are sound");
        let mut s = Scan::new("dir/web1.console.log", "web1", Format::Json, &mut detector);
        s.read(&mut Drops(&text, 0), &mut out).expect("memory can be read");
        s.finish(&mut out).expect("memory can be written");
        let drops: Vec<serde_json::Value> =
            String::from_utf8(out).expect("JSON").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(whole, drops);
        // A control sequence somewhere switches the passing over of quiet lines off.
        let mut slow = text.clone();
        slow.extend_from_slice(b"\x1b[0m\n");
        assert_eq!(whole, scan(&slow));
        let seen: Vec<_> = whole.iter().map(|r| (r["line"].as_u64(), r["function"].as_str())).collect();
        assert_eq!(seen, [(Some(51), Some("f")), (Some(106), None)]);
    }
}
