//! Console files rotated in every way while they are written and read: each line exactly once.

use crate::source::{PATIENCE, Reader, append, config, copytruncate, rename_away};
use lastgasp::source::ConsoleState;
use lastgasp::sys::clock;
use lastgasp::sys::ipc::wait_readable;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How the file of a host is rotated.
#[derive(Clone, Copy, PartialEq)]
enum Rotation {
    Rename,
    CopyTruncate,
    Both,
}

const LINES: u64 = 130_000;
const PAD: usize = 240;
const BATCH: u64 = 500;
const ROTATE_EVERY: u64 = 13_000;

/// Writes `LINES` numbered lines and rotates on the way; `seen` is the last number the reader has.
fn write_host(path: &Path, rotation: Rotation, seen: &AtomicU64, stop: &AtomicBool) {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let open = || OpenOptions::new().create(true).append(true).open(path).expect("opens");
    let pad = "p".repeat(PAD);
    let mut file = open();
    let mut generation_start = 0;
    for first in (0..LINES).step_by(BATCH as usize) {
        let mut batch = String::new();
        for n in first..first + BATCH {
            batch.push_str(&format!("evt {name} {n} {pad}\n"));
        }
        // In pieces that end anywhere, as a serial line delivers them; but whole where another writes too.
        let size = if rotation == Rotation::CopyTruncate { batch.len() } else { 40_009 };
        for piece in batch.as_bytes().chunks(size) {
            file.write_all(piece).expect("writes");
        }
        let next = first + BATCH;
        if !next.is_multiple_of(ROTATE_EVERY) || next == LINES {
            continue;
        }
        let by_copy = rotation == Rotation::CopyTruncate
            || (rotation == Rotation::Both && (next / ROTATE_EVERY).is_multiple_of(2));
        // The observable: the reader has seen a line of this generation. Rotations that follow each other faster
        // than that leave no trace of a generation in between (a copy that was never begun cannot be known
        // as such); logrotate runs minutes apart at least. What is behind that line need not be read yet.
        while seen.load(Ordering::Acquire) <= generation_start && !stop.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        if by_copy {
            // Numbered lines pause from copy to truncate: what is written in between is lost to logrotate
            // itself. The noise below goes on.
            copytruncate(path);
        } else {
            rename_away(path);
            // The writer has not been told to reopen yet.
            file.write_all(format!("evt {name} {next}late {pad}\n").as_bytes()).expect("writes");
            file = open();
        }
        generation_start = next;
    }
}

#[test]
fn a_hundred_megabytes_through_three_rotating_files_are_read_exactly_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let hosts = [("alpha", Rotation::Rename), ("beta", Rotation::CopyTruncate), ("gamma", Rotation::Both)];
    let paths: Vec<PathBuf> = hosts.iter().map(|(h, _)| dir.path().join(format!("{h}.log"))).collect();
    for path in &paths {
        append(path, "");
    }
    let mut reader = Reader::start(&[config(dir.path().join("*.log"))], &ConsoleState::default());
    let seen: Arc<Vec<AtomicU64>> = Arc::new(hosts.iter().map(|_| AtomicU64::new(0)).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for (i, (_, rotation)) in hosts.iter().enumerate() {
        let (path, rotation, seen, stop) = (paths[i].clone(), *rotation, seen.clone(), stop.clone());
        writers.push(std::thread::spawn(move || write_host(&path, rotation, &seen[i], &stop)));
    }
    // A second writer that takes no heed of rotation: whole lines by O_APPEND, also between copy and truncate.
    let noise = {
        let (path, stop) = (paths[1].clone(), stop.clone());
        std::thread::spawn(move || {
            let mut file = OpenOptions::new().append(true).open(path).expect("opens");
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"noise\n").expect("writes");
                std::thread::park_timeout(Duration::from_millis(1));
            }
        })
    };
    let mut next = [0u64; 3];
    let (mut late, mut bytes) = (0, 0);
    let begin = clock::mono();
    while next.iter().any(|n| *n < LINES) {
        reader.pump();
        for record in reader.records.drain(..) {
            bytes += record.text.len() + 1;
            assert!(!record.old && !record.truncated);
            let text = String::from_utf8(record.text).expect("ASCII");
            let mut words = text.split(' ');
            if words.next() != Some("evt") {
                continue;
            }
            let host = words.next().expect("a host");
            let i = hosts.iter().position(|(h, _)| *h == host).expect("one of ours");
            assert_eq!(*record.host, *host);
            let number = words.next().expect("a number");
            if number.ends_with("late") {
                late += 1;
                continue;
            }
            let number: u64 = number.parse().expect("a number");
            assert_eq!(number, next[i], "{host}: lost or doubled");
            next[i] += 1;
            seen[i].store(number, Ordering::Release);
        }
        if clock::mono().since(begin) > PATIENCE {
            stop.store(true, Ordering::Relaxed);
            panic!("stopped at {next:?}, {late} late, notices {:?}", reader.notices);
        }
        wait_readable(reader.consoles.as_fd(), Some(Duration::from_millis(100))).expect("polls");
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("writes to the end");
    }
    noise.join().expect("writes to the end");
    reader.pump();
    let took = clock::mono().since(begin);
    println!("{} MB in {took:?}, {late} late lines", bytes >> 20);
    assert!(bytes > 100_000_000, "{bytes}");
    assert_eq!(late, 9 + 5, "lines written to a renamed file before it was reopened");
    assert!(reader.records.iter().all(|r| !r.text.starts_with(b"evt")), "nothing comes twice at the end");
}

/// A console as its writer sees it: numbered lines, cut anywhere, rotated in any way.
struct Writer {
    path: PathBuf,
    file: File,
    next: u64,
    /// What is left of a line begun.
    rest: Vec<u8>,
}

impl Writer {
    fn new(path: PathBuf) -> Writer {
        let file = OpenOptions::new().create(true).append(true).open(&path).expect("opens");
        Writer { path, file, next: 0, rest: Vec::new() }
    }

    fn lines(&mut self, count: u64) {
        let mut text = std::mem::take(&mut self.rest);
        for n in self.next..self.next + count {
            // Of differing lengths, so that generations differ in size.
            text.extend_from_slice(format!("{n} {}\n", "x".repeat((n * 7 % 61) as usize)).as_bytes());
        }
        self.next += count;
        self.file.write_all(&text).expect("writes");
    }

    fn part_of_a_line(&mut self) {
        if self.rest.is_empty() {
            let text = format!("{} {}\n", self.next, "y".repeat(9));
            self.next += 1;
            let (now, later) = text.as_bytes().split_at(4);
            self.file.write_all(now).expect("writes");
            self.rest = later.to_vec();
        }
    }

    fn rotate(&mut self, by_copy: bool) {
        self.lines(1);
        if by_copy {
            copytruncate(&self.path);
        } else {
            rename_away(&self.path);
            // Not told to reopen yet.
            self.lines(2);
            self.file = OpenOptions::new().create(true).append(true).open(&self.path).expect("opens");
        }
    }
}

/// Whatever comes in whatever order: writing, cut lines, both rotations, restarts with up to two rotations meanwhile.
/// The one thing kept to: of each generation the reader has seen the start before the next rotation.
#[test]
fn any_order_of_writing_rotating_and_restarting_gives_each_line_once() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut roll = move |sides: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) % sides
    };
    for round in 0..25 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let configs = [config(dir.path().join("*"))];
        let mut writer = Writer::new(dir.path().join("host"));
        let mut reader = Reader::start(&configs, &ConsoleState::default());
        // Time stands still: only events count, and no unfinished line is given up.
        reader.frozen = Some(reader.now());
        let mut seen_start = false;
        let mut history = String::new();
        for _ in 0..60 {
            let what = roll(12);
            history.push_str(&format!("{what} "));
            match what {
                0..=3 => writer.lines(1 + roll(40)),
                4 | 5 => writer.part_of_a_line(),
                6 | 7 => {
                    writer.lines(1);
                    reader.pump();
                    seen_start = true;
                }
                8 | 9 if seen_start => {
                    writer.rotate(what == 8);
                    seen_start = false;
                }
                10 | 11 => {
                    let state = reader.state();
                    let (records, frozen) = (std::mem::take(&mut reader.records), reader.frozen);
                    drop(reader);
                    writer.lines(roll(20));
                    if seen_start && what == 11 {
                        for _ in 0..1 + roll(2) {
                            writer.rotate(roll(2) == 0);
                            writer.lines(roll(3));
                        }
                        seen_start = false;
                    }
                    let json = serde_json::to_vec(&state).expect("plain data");
                    reader = Reader::start(&configs, &serde_json::from_slice(&json).expect("as written"));
                    reader.frozen = frozen;
                    reader.records.splice(0..0, records);
                }
                _ => {}
            }
        }
        writer.lines(1);
        reader.pump();
        let numbers: Vec<u64> = reader
            .texts()
            .iter()
            .map(|t| {
                t.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{t:?} after {history}"))
            })
            .collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let want: Vec<u64> = (0..writer.next).collect();
        let odd = sorted.iter().zip(&want).find(|(a, b)| a != b);
        assert!(sorted == want, "round {round}: {odd:?}, {} of {} lines, after {history}", sorted.len(), want.len());
        assert!(reader.records.iter().all(|r| &*r.host == "host"));
    }
}
