//! `source/`: console files through rotation and restart, the tail role, and (as root) `/dev/kmsg`.

use lastgasp::config::ConsoleConfig;
use lastgasp::model::{Mono, Origin, Record};
use lastgasp::source::{ConsoleState, Consoles};
use lastgasp::sys::clock;
use lastgasp::sys::ipc::wait_readable;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod kmsg;
mod netconsole;
mod role;
mod rotation;

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
