//! `lastgasp scan`: the daemon's detector over old logs, without the daemon.
//!
//! Files are read in chunks; memory does not grow with them. What lines hold no phrase of any rule is passed over
//! by the chunk. Events are printed when they are complete, in the order of their first lines.

use crate::cli::{Exit, Format, Global};
use crate::detect::Detector;
use crate::model::{Event, Mono, Origin, Record, Signal, taint};
use anyhow::{Context, Result, bail};
use regex::Regex;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 128 << 10;
const ESCAPE: u8 = 0x1b;
/// Longest line that is kept whole while its end is looked for; the detector reads far less of it.
const LINE_BYTES_MAX: usize = 64 << 10;

#[derive(clap::Args, Debug)]
#[command(after_long_help = keys_help())]
pub struct Args {
    /// Log files; `-` is standard input; `.zst` files are unpacked on the way
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Regex on the file name whose group `host`, or first group, is the host's name; without, the file's name is
    #[arg(long, value_name = "REGEX")]
    host_pattern: Option<String>,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let pattern = match &args.host_pattern {
        Some(p) => Some(Regex::new(p).with_context(|| format!("--host-pattern {p:?} is no regular expression"))?),
        None => None,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = false;
    let mut failed = false;
    let mut detector = Detector::new(&crate::cli::common::config_of(global)?.rules)?;
    for file in &args.files {
        let mut scan = Scan::new(file, pattern.as_ref(), global.format, &mut detector);
        let result = open(file).and_then(|mut input| scan.read(&mut *input, &mut out));
        // What was found before a read error is printed all the same.
        scan.finish(&mut out)?;
        found |= scan.found;
        if let Err(error) = result {
            if error.downcast_ref::<PrintError>().is_some() {
                return Err(error);
            }
            out.flush()?;
            eprintln!("lastgasp: cannot scan {file}: {error:#}");
            failed = true;
        }
    }
    out.flush()?;
    Ok(match (failed, found) {
        (true, _) => Exit::Error,
        (false, true) => Exit::Success,
        (false, false) => Exit::Nothing,
    })
}

fn open(file: &str) -> Result<Box<dyn Read>> {
    if file == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let input = File::open(file).context("open failed")?;
    if input.metadata().context("stat failed")?.is_dir() {
        bail!("it is a directory; name the files in it");
    }
    if file.ends_with(".zst") {
        return Ok(Box::new(zstd::stream::read::Decoder::new(input).context("no zstd stream")?));
    }
    Ok(Box::new(input))
}

/// Output failed: the end, unlike a file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot print")]
struct PrintError(#[source] io::Error);

/// One file on its way through the detector.
struct Scan<'a> {
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
    found: bool,
}

impl<'a> Scan<'a> {
    fn new(file: &'a str, pattern: Option<&Regex>, format: Format, detector: &'a mut Detector) -> Scan<'a> {
        let host: Arc<str> = host_of(file, pattern).into();
        let record = Record::plain(Origin::Replay(file.into()), host, Vec::new());
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
    fn read(&mut self, input: &mut dyn Read, out: &mut impl Write) -> Result<()> {
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
        if memchr::memchr(ESCAPE, text).is_none() {
            return self.plain_lines(text, out);
        }
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        strip_escapes(text, &mut plain);
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

    fn finish(&mut self, out: &mut impl Write) -> Result<()> {
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
                print(self.file, &event, self.format, out).map_err(PrintError)?;
            }
        }
        Ok(())
    }
}

/// Text without terminal control sequences (ECMA-48: `ESC [ … final byte`, or `ESC` and one character). None of them
/// reaches over the end of its line.
fn strip_escapes(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(ESCAPE, rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let end = match rest.first() {
            Some(b'[') => {
                rest[1..].iter().position(|c| (0x40..=0x7e).contains(c) || *c == b'\n').map_or(rest.len(), |n| n + 1)
            }
            Some(_) => 0,
            None => break,
        };
        // The final byte goes too, but never the end of a line.
        rest = match rest.get(end) {
            Some(b'\n') | None => &rest[end..],
            Some(_) => &rest[end + 1..],
        };
    }
    out.extend_from_slice(rest);
}

fn host_of(file: &str, pattern: Option<&Regex>) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    if let Some(found) = pattern.and_then(|p| p.captures(name))
        && let Some(host) = found.name("host").or_else(|| found.get(1))
    {
        return host.as_str().to_owned();
    }
    name.split_once('.').map_or(name, |p| if p.0.is_empty() { name } else { p.0 }).to_owned()
}

/// What the keys of a line of JSON mean, for the long help.
fn keys_help() -> String {
    let mut help = String::from(
        "With --format json each event is one object a line. taint_words says the letters of tainted in words, frames are the \
         functions of the trace, innermost first, modules those whose code is in it; line and last_line count from 1. \
         details holds what else the text says, by name, as text:\n",
    );
    for (name, doc) in crate::detect::DETAILS {
        help.push_str(&format!("\n  {name}: {doc}"));
    }
    help
}

/// One event as a line of JSON. The keys are part of the output format.
#[derive(Serialize)]
struct Row<'a> {
    file: &'a str,
    line: Option<u64>,
    kind: &'a str,
    severity: &'a str,
    alarm: bool,
    title: &'a str,
    function: Option<&'a str>,
    signature: &'a str,
    comm: Option<&'a str>,
    pid: Option<i32>,
    cpu: Option<u32>,
    tainted: Option<&'a str>,
    taint_words: Vec<String>,
    kernel: Option<&'a str>,
    timestamp: Option<&'a str>,
    host: &'a str,
    corrupted: bool,
    panicked: bool,
    frames: &'a [String],
    modules: &'a [String],
    details: &'a BTreeMap<String, String>,
    last_line: Option<u64>,
}

fn print(file: &str, e: &Event, format: Format, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Json => {
            let row = Row {
                file,
                line: e.line,
                kind: e.kind.name(),
                severity: e.severity.name(),
                alarm: e.alarm,
                title: &e.title,
                function: e.function.as_deref(),
                signature: &e.signature.0,
                comm: e.comm.as_deref(),
                pid: e.pid,
                cpu: e.cpu,
                tainted: e.tainted.as_deref(),
                taint_words: e.tainted.as_deref().map(taint::words).unwrap_or_default(),
                kernel: e.kernel.as_deref(),
                timestamp: e.timestamp.as_deref(),
                host: &e.host,
                corrupted: e.corrupted,
                panicked: e.panicked,
                frames: &e.frames,
                modules: &e.modules,
                details: &e.details,
                last_line: e.last_line,
            };
            serde_json::to_writer(&mut *out, &row)?;
            writeln!(out)
        }
        Format::Text => writeln!(out, "{}", text_line(file, e)),
    }
}

/// Details that a line of text shows.
const IN_TEXT: &[&str] = &[
    "device",
    "sector",
    "command",
    "sense_key",
    "sense",
    "server",
    "interface",
    "victim",
    "memcg",
    "wait_s",
    "blocked_on",
    "owner",
    "bank",
    "mca_error",
    "pcie_error",
    "location",
    "panic",
    "repeats",
];

/// `console.log:12: oops fatal unable to handle page fault in foo [#3f…] comm/12 cpu 1, panicked`.
fn text_line(file: &str, e: &Event) -> String {
    let mut s = format!("{file}:{}: {} {} {}", e.line.unwrap_or(0), e.kind.name(), e.severity.name(), e.title);
    if let Some(f) = &e.function
        && !e.title.ends_with(f.as_str())
    {
        s.push_str(&format!(" ({f})"));
    }
    if let Some(at) = &e.timestamp {
        s.push_str(&format!(" at {at}"));
    }
    match (&e.comm, e.pid) {
        (Some(comm), Some(pid)) => s.push_str(&format!(", task {comm}/{pid}")),
        (Some(comm), None) => s.push_str(&format!(", task {comm}")),
        (None, Some(pid)) => s.push_str(&format!(", pid {pid}")),
        (None, None) => {}
    }
    for key in IN_TEXT {
        if let Some(value) = e.details.get(*key) {
            s.push_str(&format!(", {key} {value}"));
        }
    }
    for (flag, word) in [(e.panicked, "panicked"), (e.corrupted, "corrupted"), (!e.alarm, "no alarm")] {
        if flag {
            s.push_str(&format!(", {word}"));
        }
    }
    s.push_str(&format!(" [{}]", e.signature));
    // Nothing that a log holds may steer the terminal.
    s.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &[u8]) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        let mut detector = Detector::new(&crate::config::RulesConfig::default()).expect("the built-in rules are sound");
        let mut s = Scan::new("dir/web1.console.log", None, Format::Json, &mut detector);
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
    fn control_sequences_go_and_lines_stay() {
        for (text, want) in [
            (&b"\x1b[1;31mBUG\x1b[0m: x\nnext"[..], &b"BUG: x\nnext"[..]),
            (b"a\x1b[12\nb\x1b\nc\x1bMd", b"a\nb\ncd"),
            (b"end\x1b", b"end"),
            (b"end\x1b[", b"end"),
            (b"plain\r\n", b"plain\r\n"),
        ] {
            let mut out = Vec::new();
            strip_escapes(text, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(want));
        }
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
        let mut s = Scan::new("dir/web1.console.log", None, Format::Json, &mut detector);
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

    #[test]
    fn hosts_come_from_the_name() {
        let p = Regex::new(r"^console-(?P<host>[a-z0-9]+)").expect("a regex");
        assert_eq!(host_of("/var/log/console-db7.log", Some(&p)), "db7");
        assert_eq!(host_of("/var/log/db7.log", None), "db7");
        assert_eq!(host_of("-", None), "-");
    }
}
