//! The detector: one for all hosts and carriers, fed line by line.

use crate::config::RulesConfig;
use crate::detect::Error;
use crate::detect::assemble::{Context, Stream};
use crate::detect::prefilter::{Prefilter, SCAN_BYTES_MAX};
use crate::detect::{escapes, prefix, rules};
use crate::model::{Mono, Origin, Record, Signal};
use std::borrow::Cow;

/// Logs followed at once. Beyond that, the one that was silent longest gives up its open reports.
const STREAMS_MAX: usize = 256;
/// Reports open at once in all logs together: 64 × 300 lines × 1 KiB are 19 MiB at the very worst.
const OPEN_TOTAL_MAX: usize = 64;
/// A record with line breaks in it counts as this many lines at most.
const LINES_PER_RECORD_MAX: usize = 64;
/// Writers that share one line, at most.
const PARTS_PER_LINE_MAX: usize = 4;

/// Turns records into signals. Memory is bounded by streams × open reports × lines of an event.
pub struct Detector {
    filter: Prefilter,
    /// Most recently used first.
    streams: Vec<Stream>,
    number: u64,
}

impl Detector {
    /// A detector with the built-in rules as the config changes them.
    ///
    /// # Errors
    /// A rule to silence or regrade that does not exist, an added rule with a used id, an empty phrase or a pattern
    /// that is no regular expression.
    pub fn new(rules: &RulesConfig) -> Result<Detector, Error> {
        Ok(Detector { filter: Prefilter::new(rules)?, streams: Vec::new(), number: 0 })
    }

    /// Takes one record. A header is signalled at once as [`Signal::Opened`], a complete report as [`Signal::Closed`].
    /// `now` is the time of reading; in a replay any constant will do.
    pub fn feed(&mut self, record: &Record, now: Mono, out: &mut Vec<Signal>) {
        if record.facility.is_some_and(|f| f != 0) {
            return;
        }
        for text in record.text.split(|c| *c == b'\n').take(LINES_PER_RECORD_MAX) {
            self.line(record, text, now, out);
        }
    }

    fn line(&mut self, record: &Record, text: &[u8], now: Mono, out: &mut Vec<Signal>) {
        let text = &text[..text.len().min(SCAN_BYTES_MAX)];
        let text =
            if matches!(record.origin, Origin::Replay(_)) { escapes::plain_line(text) } else { Cow::Borrowed(text) };
        let text = text.as_ref();
        let n = self.stream(record, now, out);
        let candidate = self.filter.is_candidate(text);
        if !candidate && self.streams[n].is_idle() {
            self.streams[n].pass(1, text);
            return;
        }
        self.apart(record, text, candidate, n, now, out);
    }

    /// A line that is worth a look. Two writers may have shared it: each part behind a stamp counts for itself,
    /// unless what stands before was chosen by a program.
    fn apart(&mut self, record: &Record, text: &[u8], candidate: bool, n: usize, now: Mono, out: &mut Vec<Signal>) {
        let console = record.origin.is_console() && !record.is_bare();
        let mut rest = text;
        for _ in 0..PARTS_PER_LINE_MAX {
            let mut line = if record.is_bare() { prefix::bare(rest) } else { prefix::parse(rest) };
            let mut next: &[u8] = &[];
            let mut this = rest;
            if console
                && candidate
                && let Some(at) = prefix::second_stamp(line.body)
                && !rules::chosen_by_user(&line.body[..at])
            {
                let cut = rest.len() - line.body.len() + at;
                // A stripped end (`message repeated`) makes the body shorter than the rest of its line.
                if rest.get(cut..).is_some_and(|r| r.starts_with(b"[")) {
                    this = &rest[..cut];
                    next = &rest[cut..];
                    line = prefix::parse(this);
                }
            }
            if let Some(caller) = &record.caller {
                line.caller = Some(caller.as_bytes());
            }
            line.printk_us = line.printk_us.or(record.stamp.map(|s| s.0));
            if line.facility.is_some_and(|f| f != 0) {
                return;
            }
            let hit = if candidate { self.filter.header(&line, console) } else { None };
            let mut cx = Context { filter: &self.filter, number: &mut self.number, now };
            self.streams[n].feed(record, this, &line, hit, &mut cx, out);
            self.streams[n].stamp_lines(record.line);
            if hit.is_some() {
                self.shed(now, out);
            }
            if next.is_empty() {
                return;
            }
            rest = next;
        }
    }

    /// Keeps the number of open reports bounded: the log that was silent longest gives up first.
    fn shed(&mut self, now: Mono, out: &mut Vec<Signal>) {
        while self.open_reports() > OPEN_TOTAL_MAX
            && let Some(quietest) = self.streams.iter_mut().rfind(|s| s.open_count() > 0)
        {
            quietest.finish(&Context { filter: &self.filter, number: &mut self.number, now }, out);
        }
    }

    /// Whether nothing is open for any stream, so that a caller may skip lines without literals wholesale with
    /// [`Detector::first_candidate`] and [`Detector::skip`].
    pub fn is_idle(&self) -> bool {
        self.streams.iter().all(Stream::is_idle)
    }

    /// Where the first literal of any rule begins in a larger piece of text.
    pub fn first_candidate(&self, text: &[u8]) -> Option<usize> {
        self.filter.find(text)
    }

    /// Counts lines that the caller passed over.
    pub fn skip(&mut self, record: &Record, lines: u64, text: &[u8], now: Mono, out: &mut Vec<Signal>) {
        let n = self.stream(record, now, out);
        self.streams[n].pass(lines, text);
    }

    /// The stream of a record, moved to the front.
    fn stream(&mut self, record: &Record, now: Mono, out: &mut Vec<Signal>) -> usize {
        let known = self.streams.iter().position(|s| s.host == record.host && s.origin == record.origin);
        match known {
            Some(0) => {}
            Some(n) => self.streams[..=n].rotate_right(1),
            None => {
                if self.streams.len() >= STREAMS_MAX
                    && let Some(mut oldest) = self.streams.pop()
                {
                    oldest.finish(&Context { filter: &self.filter, number: &mut self.number, now }, out);
                }
                self.streams.insert(0, Stream::new(record.origin.clone(), record.host.clone()));
            }
        }
        0
    }

    /// Closes the reports whose time is up. Replayed files know no time: theirs are bounded by lines.
    pub fn tick(&mut self, now: Mono, out: &mut Vec<Signal>) {
        for stream in &mut self.streams {
            stream.tick(&Context { filter: &self.filter, number: &mut self.number, now }, out);
        }
    }

    /// When [`Detector::tick`] is next needed.
    pub fn next_due(&self) -> Option<Mono> {
        self.streams.iter().filter_map(Stream::next_due).min()
    }

    /// Reports that are being assembled, in all logs together.
    pub fn open_reports(&self) -> usize {
        self.streams.iter().map(Stream::open_count).sum()
    }

    /// End of input: closes everything, and what comes now is of other logs.
    pub fn finish(&mut self, out: &mut Vec<Signal>) {
        for mut stream in self.streams.drain(..) {
            stream.finish(&Context { filter: &self.filter, number: &mut self.number, now: Mono(0) }, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_keeps_the_state_bounded() {
        let mut d = Detector::new(&RulesConfig::default()).expect("the built-in rules are sound");
        let mut out = Vec::new();
        for n in 0..2000u64 {
            let mut r = Record::plain(
                Origin::Kmsg,
                format!("h{}", n % 400).as_str().into(),
                format!("kernel BUG at fs/inode.c:{n}!"),
            );
            r.caller = Some(format!("T{n}"));
            d.feed(&r, Mono(0), &mut out);
        }
        assert!(d.streams.len() <= STREAMS_MAX);
        assert!(d.open_reports() <= OPEN_TOTAL_MAX);
    }
}
