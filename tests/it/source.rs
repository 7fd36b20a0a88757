//! `source/`: console files through rotation and restart, the tail role, and (as root) `/dev/kmsg`.

use lastgasp::config::ConsoleConfig;
use lastgasp::model::{Mono, Origin, Record};
use lastgasp::source::{ConsoleState, Consoles, TailMessage, TailOrder};
use lastgasp::sys::clock;
use lastgasp::sys::ipc::{self, Channel, Received, wait_readable};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[path = "source_kmsg.rs"]
mod kmsg;

const PATIENCE: Duration = Duration::from_secs(40);

fn config(path: impl AsRef<Path>) -> ConsoleConfig {
    ConsoleConfig { path: path.as_ref().display().to_string(), host: None }
}

fn append(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opens for appending");
    file.write_all(text.as_ref()).expect("appends");
}

/// logrotate's copytruncate: `path.1` is the copy, `path` is empty.
fn copytruncate(path: &Path) {
    let copy = PathBuf::from(format!("{}.1", path.display()));
    if copy.exists() {
        std::fs::rename(&copy, format!("{}.2", path.display())).expect("renames");
    }
    std::fs::copy(path, &copy).expect("copies");
    OpenOptions::new().write(true).open(path).expect("opens").set_len(0).expect("truncates");
}

fn rename_away(path: &Path) {
    let old = PathBuf::from(format!("{}.1", path.display()));
    if old.exists() {
        std::fs::rename(&old, format!("{}.2", path.display())).expect("renames");
    }
    std::fs::rename(path, old).expect("renames");
}

/// Steps a `Consoles` as the role does, on a clock that can be put forward.
struct Reader {
    consoles: Consoles,
    records: Vec<Record>,
    notices: Vec<String>,
    ahead: Duration,
    /// Where the clock stands still, so that only events bring news and never the look every 10 s.
    frozen: Option<Mono>,
}

impl Reader {
    fn start(configs: &[ConsoleConfig], state: &ConsoleState) -> Reader {
        let (consoles, notices) = Consoles::new(configs, state, clock::mono()).expect("inotify works");
        let mut reader = Reader { consoles, records: Vec::new(), notices, ahead: Duration::ZERO, frozen: None };
        reader.pump();
        reader
    }

    fn now(&self) -> Mono {
        self.frozen.unwrap_or_else(clock::mono).plus(self.ahead)
    }

    fn pump(&mut self) {
        loop {
            let step = self.consoles.step(500, self.now(), clock::wall(), &mut self.records);
            self.notices.extend(step.notices);
            if !step.more {
                return;
            }
        }
    }

    /// Lets time pass without waiting for it.
    fn later(&mut self, by: Duration) {
        self.ahead += by;
        self.pump();
    }

    /// Steps at each event until `done`; the wait has a bound.
    fn until(&mut self, what: &str, mut done: impl FnMut(&[Record]) -> bool) {
        let begin = clock::mono();
        loop {
            self.pump();
            if done(&self.records) {
                return;
            }
            let texts: Vec<String> = self.texts().into_iter().rev().take(20).collect();
            assert!(clock::mono().since(begin) < PATIENCE, "no {what}; last {texts:?}, notices {:?}", self.notices);
            wait_readable(self.consoles.as_fd(), Some(Duration::from_millis(500))).expect("polls");
        }
    }

    fn texts(&self) -> Vec<String> {
        self.records.iter().map(|r| String::from_utf8_lossy(&r.text).into_owned()).collect()
    }

    fn state(&self) -> ConsoleState {
        self.consoles.state(clock::wall())
    }
}

#[test]
fn an_existing_file_is_followed_from_its_end_and_a_later_one_from_its_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    append(dir.path().join("old.log"), "before\n");
    let mut reader = Reader::start(&[config(dir.path().join("*.log"))], &ConsoleState::default());
    append(dir.path().join("old.log"), "after\n");
    append(dir.path().join("new.log"), "first\n");
    append(dir.path().join("other.txt"), "not ours\n");
    reader.until("two lines", |r| r.len() >= 2);
    reader.later(Duration::from_secs(11));
    let mut texts = reader.texts();
    texts.sort();
    assert_eq!(texts, ["after", "first"]);
    let new = reader.records.iter().find(|r| r.text == b"first").expect("read");
    let path = dir.path().join("new.log").display().to_string();
    assert_eq!((&new.origin, &*new.host, new.line), (&Origin::Console(path.into()), "new", Some(1)));
    assert!(!new.old && !new.truncated && new.read_at.is_some());
}

#[test]
fn directories_and_files_that_appear_later_are_found() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let configs = [config(dir.path().join("a/b/console.log")), config(dir.path().join("hosts/*/c*"))];
    let mut reader = Reader::start(&configs, &ConsoleState::default());
    reader.frozen = Some(reader.now());
    assert_eq!(reader.notices.len(), 2, "{:?}", reader.notices);
    std::fs::create_dir_all(dir.path().join("a/b")).expect("mkdir");
    append(dir.path().join("a/b/console.log"), "deep\n");
    reader.until("the deep file", |r| r.len() == 1);
    std::fs::create_dir_all(dir.path().join("hosts/one")).expect("mkdir");
    reader.pump();
    append(dir.path().join("hosts/one/console"), "glob\n");
    reader.until("the file in a globbed directory", |r| r.len() == 2);
    // The directory is replaced as a whole.
    std::fs::rename(dir.path().join("a"), dir.path().join("gone")).expect("renames");
    std::fs::create_dir_all(dir.path().join("a/b")).expect("mkdir");
    append(dir.path().join("a/b/console.log"), "again\n");
    reader.until("the file in the new directory", |r| r.len() == 3);
    assert_eq!(reader.texts(), ["deep", "glob", "again"]);
}

#[test]
fn hostile_bytes_become_lines() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("h.log");
    let mut reader = Reader::start(&[config(&path)], &ConsoleState::default());
    append(&path, b"10%\r55%\r100%\r\n\x1b[31mred\x1b[0m \xff\xfe nul\0nul\n");
    append(&path, vec![b'x'; 5 << 20]);
    append(&path, "\nafter\nunfinished");
    reader.until("the last whole line", |r| r.iter().any(|r| r.text == b"after"));
    let lens: Vec<usize> = reader.records.iter().map(|r| r.text.len()).collect();
    assert_eq!(lens, [3, 3, 4, 13, 8192, 5]);
    assert_eq!(reader.records[3].text, b"red \xff\xfe nulnul");
    assert!(reader.records[4].truncated);
    assert_eq!(reader.records[4].line, Some(3));
    assert_eq!(reader.consoles.losses().counts.get("console_lines_cut"), Some(&1));
    // The unfinished line is held for two seconds, then given out; its rest is a line of its own.
    assert!(reader.consoles.next_due().since(reader.now()) <= Duration::from_secs(2));
    reader.later(Duration::from_millis(2100));
    append(&path, " business\n");
    reader.until("the rest", |r| r.len() == 8);
    assert_eq!(reader.texts()[6..], ["unfinished", " business"]);
    assert_eq!(reader.state().files[0].offset, std::fs::metadata(&path).expect("exists").len());
}

#[test]
fn trouble_with_a_file_is_said_once_and_ends_when_it_ends() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("c.log");
    std::fs::create_dir(&path).expect("mkdir");
    let configs = [config(&path), config("relative.log")];
    let mut reader = Reader::start(&configs, &ConsoleState::default());
    for _ in 0..3 {
        reader.later(Duration::from_secs(11));
    }
    assert_eq!(reader.notices.len(), 2, "{:?}", reader.notices);
    assert!(reader.notices.iter().any(|n| n.contains("not a regular file") && n.contains("c.log")));
    std::fs::remove_dir(&path).expect("rmdir");
    append(&path, "well again\n");
    reader.until("the file", |r| r.len() == 1);
    std::fs::remove_file(&path).expect("unlinks");
    for _ in 0..3 {
        reader.later(Duration::from_secs(11));
    }
    assert!(reader.notices.last().is_some_and(|n| n.contains("is gone")), "{:?}", reader.notices);
    append(&path, "back\n");
    reader.until("the file again", |r| r.len() == 2);
    assert!(reader.state().files.len() <= 2);
}

#[test]
fn rotated_files_that_the_glob_matches_are_not_read_twice() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("host");
    append(dir.path().join("host.1"), "ancient\n");
    let mut reader = Reader::start(&[config(dir.path().join("*"))], &ConsoleState::default());
    for n in 0..6 {
        append(&path, format!("line {n}a\n"));
        reader.until("the line", |r| r.len() == 2 * n + 1);
        append(&path, format!("line {n}b\n"));
        if n % 2 == 0 {
            rename_away(&path)
        } else {
            copytruncate(&path)
        }
        std::fs::write(dir.path().join(format!("host.{n}.gz")), "compressed\n").expect("writes");
        reader.until("the line before rotation", |r| r.len() == 2 * n + 2);
    }
    reader.later(Duration::from_secs(700));
    reader.later(Duration::from_secs(700));
    let want: Vec<String> = (0..6).flat_map(|n| [format!("line {n}a"), format!("line {n}b")]).collect();
    assert_eq!(reader.texts(), want);
    assert!(reader.records.iter().all(|r| &*r.host == "host"));
    // A file that is only renamed stays the same file.
    std::fs::rename(&path, dir.path().join("guest")).expect("renames");
    append(dir.path().join("guest"), "renamed\n");
    reader.until("the renamed file's line", |r| r.len() == 13);
    assert_eq!(&*reader.records[12].host, "guest");
}

#[test]
fn what_was_not_read_before_copytruncate_is_read_from_the_copy() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("c.log");
    append(&path, "already there\n");
    let mut reader = Reader::start(&[config(&path)], &ConsoleState::default());
    append(&path, "one\n");
    reader.until("a line", |r| r.len() == 1);
    append(&path, "two\nthr");
    copytruncate(&path);
    // Longer than before: the size alone tells nothing.
    append(&path, "four, and long enough to be beyond the old position\n");
    reader.until("the lines after", |r| r.len() == 4);
    let texts = reader.texts();
    assert_eq!(texts, ["one", "two", "thr", "four, and long enough to be beyond the old position"]);
    assert!(reader.consoles.losses().counts.is_empty());
    // Without a copy the loss is counted.
    OpenOptions::new().write(true).open(&path).expect("opens").set_len(0).expect("truncates");
    append(&path, "five\n");
    reader.until("the line after", |r| r.len() == 5);
    assert_eq!(reader.consoles.losses().counts.get("console_rewritten_files"), Some(&1));
}

#[test]
fn a_link_is_followed_when_its_target_rotates_elsewhere() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let target = dir.path().join("data/real.log");
    std::fs::create_dir_all(dir.path().join("links")).expect("mkdir");
    std::fs::create_dir_all(dir.path().join("data")).expect("mkdir");
    append(&target, "");
    std::os::unix::fs::symlink(&target, dir.path().join("links/db.log")).expect("links");
    let mut reader = Reader::start(&[config(dir.path().join("links/*.log"))], &ConsoleState::default());
    append(&target, "one\n");
    reader.until("a line", |r| r.len() == 1);
    append(&target, "two\n");
    rename_away(&target);
    append(&target, "three\n");
    reader.until("the next file's line", |r| r.len() == 3);
    assert_eq!(reader.texts(), ["one", "two", "three"]);
    assert!(reader.records.iter().all(|r| &*r.host == "db"));
}

#[test]
fn a_full_event_queue_loses_nothing() {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("procfs");
    let limit: usize = limit.trim().parse().expect("a number");
    if limit > 200_000 {
        eprintln!(
            "SKIPPED a_full_event_queue_loses_nothing: fs.inotify.max_queued_events={limit} takes too long to fill"
        );
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut reader = Reader::start(&[config(dir.path().join("*.log"))], &ConsoleState::default());
    let mut files: Vec<File> =
        ["a.log", "b.log"].iter().map(|n| File::create(dir.path().join(n)).expect("creates")).collect();
    reader.frozen = Some(reader.now());
    // Both are watched before the flood; equal events in a row would be merged, so they take turns.
    reader.pump();
    let lines = limit / 2 + 10;
    for n in 0..lines {
        for file in &mut files {
            writeln!(file, "{n}").expect("writes");
        }
    }
    // Its events find no room any more.
    append(dir.path().join("late.log"), "late\n");
    reader.until("all lines", |r| r.len() > 2 * lines);
    assert_eq!(reader.records.len(), 2 * lines + 1);
    assert_eq!(reader.records.iter().filter(|r| r.text == b"late").count(), 1);
}

#[test]
fn more_files_than_the_cap_are_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for n in 0..1030 {
        File::create(dir.path().join(format!("{n:04}.log"))).expect("creates");
    }
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
    if limit.1 < 2048 {
        eprintln!("SKIPPED more_files_than_the_cap_are_said: RLIMIT_NOFILE is {}", limit.1);
        return;
    }
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, limit.0.max(2048), limit.1)
        .expect("raises the soft limit");
    let reader = Reader::start(&[config(dir.path().join("*"))], &ConsoleState::default());
    assert_eq!(reader.state().files.len(), 1024);
    assert!(reader.notices.iter().any(|n| n.contains("more than 1024")), "{:?}", reader.notices);
}

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
        if next % ROTATE_EVERY != 0 || next == LINES {
            continue;
        }
        let by_copy =
            rotation == Rotation::CopyTruncate || (rotation == Rotation::Both && (next / ROTATE_EVERY) % 2 == 0);
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

/// A tail role in a thread, and the parent's end of its channel.
struct Tail {
    channel: Channel,
    packet: Vec<u8>,
    thread: std::thread::JoinHandle<Result<(), lastgasp::source::Error>>,
    records: Vec<Record>,
    notices: Vec<String>,
    cursor: Option<lastgasp::source::Cursor>,
}

impl Tail {
    fn start(consoles: Vec<ConsoleConfig>, state_file: &Path) -> Tail {
        let (channel, theirs) = ipc::pair().expect("socketpair");
        let thread = std::thread::spawn(move || lastgasp::source::role::run(theirs));
        channel.send(&TailOrder::Start { consoles, state_file: state_file.to_owned() }).expect("sends");
        let mut tail =
            Tail { channel, packet: Vec::new(), thread, records: Vec::new(), notices: Vec::new(), cursor: None };
        match tail.channel.recv(&mut tail.packet, Some(PATIENCE)).expect("receives") {
            Received::Message(TailMessage::Ready { cursor }) => tail.cursor = cursor,
            other => panic!("not ready: {other:?}"),
        }
        tail
    }

    /// Takes one message; false when the other end is gone.
    fn take(&mut self) -> bool {
        match self.channel.recv(&mut self.packet, Some(PATIENCE)).expect("receives") {
            Received::Message(TailMessage::Records(records)) => self.records.extend(records),
            Received::Message(TailMessage::Notice(text)) => self.notices.push(text),
            Received::Message(_) => {}
            Received::Empty => panic!("silent for {PATIENCE:?} after {} records", self.records.len()),
            Received::Closed => return false,
        }
        true
    }

    fn until(&mut self, records: usize) {
        while self.records.len() < records {
            assert!(self.take(), "ended after {} records", self.records.len());
        }
    }

    /// Orders the end and takes what was still under way.
    fn stop(mut self) -> Vec<Record> {
        self.channel.send(&TailOrder::Stop).expect("sends");
        while self.take() {}
        self.thread.join().expect("no panic").expect("ends well");
        self.records
    }
}

#[test]
fn a_restart_in_the_middle_loses_and_repeats_nothing_wherever_rotation_put_the_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = dir.path().join("state.json");
    let names = ["kept", "renamed", "copied", "made"];
    let path = |name: &str| dir.path().join(format!("{name}.log"));
    let configs = || vec![config(dir.path().join("*.log"))];
    for name in &names[..3] {
        append(path(name), "from before the first start\n");
    }
    let mut written = 0;
    let mut write = |count: usize| {
        let range = written..written + count;
        written += count;
        range
    };
    let lines = |range: std::ops::Range<usize>| range.map(|n| format!("line {n}\n")).collect::<String>();
    let (a, b, c) = (write(30_000), write(5_000), write(10));

    let mut first = Tail::start(configs(), &state);
    for name in &names[..3] {
        append(path(name), lines(a.clone()));
    }
    // In the middle of a backlog.
    first.until(10_000);
    let mut got = first.stop();
    assert!(got.len() < 90_000, "stopped in the middle");
    assert_eq!(std::fs::metadata(&state).expect("written").permissions().mode() & 0o777, 0o600);

    for name in &names[..3] {
        append(path(name), lines(b.clone()));
    }
    rename_away(&path("renamed"));
    copytruncate(&path("copied"));
    for name in names {
        append(path(name), lines(c.clone()));
    }
    let mut second = Tail::start(configs(), &state);
    let total = 3 * (30_000 + 5_000 + 10) + 10;
    second.until(total - got.len());
    assert!(second.notices.is_empty(), "{:?}", second.notices);
    let more = second.stop();
    assert!(more.iter().all(|r| r.old), "all of it was written before the second start");
    got.extend(more);
    for name in names {
        let texts: Vec<&[u8]> = got.iter().filter(|r| &*r.host == name).map(|r| r.text.as_slice()).collect();
        let from = if name == "made" { c.start } else { 0 };
        let want: Vec<Vec<u8>> = (from..c.end).map(|n| format!("line {n}").into_bytes()).collect();
        assert!(texts.iter().eq(want.iter()), "{name}: {} lines of {}", texts.len(), want.len());
    }
}

#[test]
fn a_parent_that_is_behind_is_waited_for_and_heard_meanwhile() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("c.log");
    let state = dir.path().join("state.json");
    append(&path, "");
    let mut tail = Tail::start(vec![config(&path)], &state);
    assert!(tail.cursor.is_none());
    let cursor = lastgasp::source::Cursor {
        boot_id: lastgasp::model::BootId("a boot".into()),
        seq: Some(41),
        stamp: Some(lastgasp::model::KernelTime(7)),
    };
    // Quotes double in JSON, bad bytes triple: the batches must still fit their packets.
    let line = [vec![b'"'; 3000], vec![0xff; 3000], b"\n".to_vec()].concat();
    let count = 1500;
    append(&path, line.repeat(count));
    for seq in 0..100 {
        tail.channel
            .send(&TailOrder::SaveCursor(lastgasp::source::Cursor { seq: Some(seq), ..cursor.clone() }))
            .expect("sends");
    }
    tail.channel.send(&TailOrder::SaveCursor(cursor.clone())).expect("sends");
    tail.until(count);
    assert_eq!(tail.stop().len(), count);
    let again = Tail::start(vec![config(&path)], &state);
    assert_eq!(again.cursor, Some(cursor));
    // The parent goes away: so does the role.
    drop(again.channel);
    again.thread.join().expect("no panic").expect("ends well");
}

#[test]
fn a_broken_state_file_is_said_and_replaced() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("c.log");
    let state = dir.path().join("state.json");
    append(&path, "old\n");
    std::fs::write(&state, b"{\"consoles\": \xff").expect("writes");
    let mut tail = Tail::start(vec![config(&path)], &state);
    assert!(tail.take());
    assert!(tail.notices[0].contains("state.json") && tail.notices[0].contains("starting afresh"));
    append(&path, "new\n");
    tail.until(1);
    assert_eq!(tail.stop()[0].text, b"new");
    assert!(std::fs::read(&state).expect("written").starts_with(b"{\"cursor\":"));
}

#[test]
fn replay_streams_a_file_as_records() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("old.log");
    append(&path, b"one\r\n\x1b[1mtwo\x1b[0m\n\nlast \xff");
    let mut got = Vec::new();
    let name = path.display().to_string();
    let done = lastgasp::source::for_each_record(&name, "h".into(), |r| got.push(r.clone())).expect("reads");
    let texts: Vec<&[u8]> = got.iter().map(|r| r.text.as_slice()).collect();
    assert_eq!(texts, [&b"one"[..], b"two", b"", b"last \xff"]);
    assert_eq!((got[3].line, got[3].read_at, &got[3].origin), (Some(4), None, &Origin::Replay(name.into())));
    assert_eq!((done.records, done.truncated), (4, 0));
    let error = lastgasp::source::for_each_record("/nonexistent/x.log", "h".into(), |_| ()).expect_err("not there");
    assert!(error.to_string().starts_with("read /nonexistent/x.log: "), "{error}");
}
