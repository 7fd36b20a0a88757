//! Console-log files, of this or other hosts: any number of paths and globs, followed through rotation.
//!
//! What is kept to:
//! - A rotated file is read to its end before its successor, and for a while longer: its writer may still
//!   have it open. After copytruncate the copy is sought and read from where the original was left.
//! - A file that is there at the first start is followed from its end; one that appears later from its start;
//!   after a restart every file from where it was ([`ConsoleState`]), wherever rotation has put it meanwhile.
//! - Without inotify events (network file systems, a full queue) everything is looked at every 10 s.
//! - Rotated names (`x.1` beside `x`) and compressed files that a glob matches are no consoles of their own.
//!
//! Doubt, in writing: lines written between logrotate's copy and its truncate are in neither file. A file
//! that was made, rotated and rotated away again before anyone looked (milliseconds apart, while running) is not seen.
//! One rewritten with the same first 256 bytes and the same 64 bytes before the old position is taken as grown.

mod follow;
mod pattern;
mod restore;
mod scan;
mod siblings;
mod state;
mod watch;

pub use state::{ConsoleState, Head, Position};

use crate::config::ConsoleConfig;
use crate::model::{Losses, Mono, Record, Wall};
use crate::source::{Error, Notice};
use follow::{FileId, Follow, PARTIAL_AFTER, Retired, Turn};
use pattern::Pattern;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use watch::{Seen, Watcher};

/// Most files open at once, rotated ones that are being finished included.
pub const FILES_MAX: usize = 1024;
/// How often everything is looked at without an event, and what failed is tried again.
const RESCAN_EVERY: Duration = Duration::from_secs(10);
/// How long a renamed file is read on after its last growth.
const LINGER: Duration = Duration::from_secs(600);
/// The same where it is deleted: it holds disk space for as long.
const LINGER_DELETED: Duration = Duration::from_secs(5);
/// Most renamed files kept for that long.
const RETIRED_MAX: usize = 256;
/// Most closed files that the state remembers.
const FINISHED_MAX: usize = 64;
/// Bytes read in one turn, and turns in one step.
const BUFFER: usize = 128 * 1024;
const TURNS_MAX: usize = 64;

/// How a step ended.
#[derive(Debug, Default)]
pub struct Step {
    /// There is more to read now: call again before waiting.
    pub more: bool,
    /// Each said once, until what it is about has changed.
    pub notices: Vec<Notice>,
}

/// All console files of one config.
pub struct Consoles {
    patterns: Vec<Pattern>,
    watcher: Watcher,
    files: BTreeMap<FileId, Follow>,
    /// The file that is under its path now.
    active: HashMap<PathBuf, FileId>,
    queue: VecDeque<FileId>,
    next_id: FileId,
    rescan_at: Mono,
    rescan_now: bool,
    /// What was said last about a path.
    said: BTreeMap<PathBuf, Notice>,
    /// Paths that were in the state: what is there instead is new.
    known: HashSet<PathBuf>,
    /// Files read to their end and closed, should they turn up under another name.
    done: VecDeque<Position>,
    losses: Losses,
    buffer: Vec<u8>,
    notices: Vec<Notice>,
}

impl Consoles {
    /// Opens what is there, and looks for what `state` says was being read.
    ///
    /// Errors: no inotify at all. Trouble with single files comes as notices.
    pub fn new(configs: &[ConsoleConfig], state: &ConsoleState, now: Mono) -> Result<(Consoles, Vec<Notice>), Error> {
        let mut notices = Vec::new();
        let patterns = configs.iter().filter_map(|c| Pattern::new(c, &mut notices)).collect();
        let mut consoles = Consoles {
            patterns,
            watcher: Watcher::new().map_err(Error::Inotify)?,
            files: BTreeMap::new(),
            active: HashMap::new(),
            queue: VecDeque::new(),
            next_id: 0,
            rescan_at: now.plus(RESCAN_EVERY),
            rescan_now: false,
            said: BTreeMap::new(),
            known: HashSet::new(),
            done: VecDeque::new(),
            losses: Losses::default(),
            buffer: vec![0; BUFFER],
            notices,
        };
        consoles.restore(state, now);
        consoles.rescan(Some(state.at_us), now);
        let notices = std::mem::take(&mut consoles.notices);
        Ok((consoles, notices))
    }

    /// Readable when a step would find something to do.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.watcher.as_fd()
    }

    /// Reads what has grown, fairly between files, and appends about `budget` records at most (a few more
    /// where unfinished lines are given up). Never waits for a writer.
    pub fn step(&mut self, budget: usize, now: Mono, read_at: Wall, out: &mut Vec<Record>) -> Step {
        self.take_events();
        if now >= self.rescan_at {
            self.rescan_at = now.plus(RESCAN_EVERY);
            self.report_vanished(now);
            self.look_at_everything();
        }
        if std::mem::take(&mut self.rescan_now) {
            self.rescan(None, now);
        }
        let limit = out.len() + budget;
        for _ in 0..TURNS_MAX.max(self.queue.len()) {
            if out.len() >= limit {
                break;
            }
            let Some(id) = self.queue.pop_front() else { break };
            self.turn(id, limit - out.len(), now, read_at, out);
        }
        self.close_due(now, read_at, out);
        Step { more: !self.queue.is_empty() || self.rescan_now, notices: std::mem::take(&mut self.notices) }
    }

    /// When [`Consoles::step`] has to be called without an event.
    pub fn next_due(&self) -> Mono {
        let due = |f: &Follow| {
            let partial = f.has_partial().then(|| f.grown.plus(PARTIAL_AFTER));
            let close = f.retired.map(|_| f.grown.plus(self.linger(f)));
            partial.into_iter().chain(close).min()
        };
        self.files.values().filter_map(due).min().unwrap_or(self.rescan_at).min(self.rescan_at)
    }

    /// Where everything stands: every record given out so far is behind it, and none that was not.
    pub fn state(&self, at: Wall) -> ConsoleState {
        let finished = self.done.iter().rev().take(FINISHED_MAX).cloned().collect();
        ConsoleState { files: self.files.values().map(Follow::position).collect(), finished, at_us: at.0 }
    }

    /// Since the last call: `console_lines_cut` lines longer than the cap, `console_rewritten_files` of which
    /// something may have been missed.
    pub fn losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    fn take_events(&mut self) {
        let (files, queue, patterns) = (&mut self.files, &mut self.queue, &self.patterns);
        let (mut rescan, mut everything) = (false, false);
        let result = self.watcher.read(|seen| match seen {
            Seen::Grown(id) => enqueue(files, queue, id),
            Seen::Changed(id) => {
                enqueue(files, queue, id);
                rescan = true;
            }
            Seen::Name(name) => rescan |= patterns.iter().any(|p| p.concerns(&name)),
            Seen::DirGone => rescan = true,
            Seen::Overflow => everything = true,
        });
        self.rescan_now |= rescan;
        if everything {
            self.look_at_everything();
        }
        if let Err(e) = result {
            self.complain(Path::new("inotify"), format!("read inotify events: {e}; looking every 10 s"));
        }
    }

    fn look_at_everything(&mut self) {
        self.rescan_now = true;
        let ids: Vec<FileId> = self.files.keys().copied().collect();
        for id in ids {
            enqueue(&mut self.files, &mut self.queue, id);
        }
    }

    fn turn(&mut self, id: FileId, max: usize, now: Mono, read_at: Wall, out: &mut Vec<Record>) {
        let before = self.files.get(&id).and_then(|f| f.after);
        if before.and_then(|b| self.files.get(&b)).is_some_and(|b| b.queued) {
            self.queue.push_back(id);
            return;
        }
        // Read to its end: what it left unfinished stays so, and comes before what follows.
        if let Some(before) = before.and_then(|b| self.files.get_mut(&b)) {
            before.flush(read_at, out);
        }
        let Some(file) = self.files.get_mut(&id) else { return };
        file.queued = false;
        file.after = None;
        let from = out.len();
        match file.turn(&mut self.buffer, max, now, read_at, out) {
            Ok(Turn::More) => enqueue(&mut self.files, &mut self.queue, id),
            Ok(Turn::AtEnd) => {
                self.said.remove(&file.path);
            }
            Ok(Turn::Rewritten) => self.rewritten(id, now, read_at, out),
            Err(e) => {
                let path = file.path.clone();
                self.complain(&path, format!("read {}: {e}; retried every 10 s", path.display()));
            }
        }
        self.losses.add("console_lines_cut", out[from..].iter().filter(|r| r.truncated).count() as u64);
    }

    /// A file was truncated under us: finish it in its copy if there is one, then start again.
    fn rewritten(&mut self, id: FileId, now: Mono, read_at: Wall, out: &mut Vec<Record>) {
        let Some(file) = self.files.get_mut(&id) else { return };
        let (head, offset, tail) = file.fingerprint();
        let copy = siblings::copied(&file.path, file.ino, &head, offset, tail)
            .and_then(|copy| file.move_to_copy(copy, now).ok());
        match copy {
            Some(copy) => {
                let copy_id = self.adopt(copy, now);
                if let Some(file) = self.files.get_mut(&id) {
                    file.after = Some(copy_id);
                }
            }
            None => {
                file.flush(read_at, out);
                file.rewind();
                self.losses.add("console_rewritten_files", 1);
            }
        }
        enqueue(&mut self.files, &mut self.queue, id);
    }

    fn linger(&self, file: &Follow) -> Duration {
        let retired = self.files.len() - self.active.len();
        match file.retired {
            Some(Retired::Renamed) if retired <= RETIRED_MAX && file.links > 0 => LINGER,
            Some(Retired::Renamed) if retired <= RETIRED_MAX => LINGER_DELETED,
            _ => Duration::ZERO,
        }
    }

    /// Gives out lines that nobody finishes, and closes rotated files that nobody writes to.
    fn close_due(&mut self, now: Mono, read_at: Wall, out: &mut Vec<Record>) {
        let mut closing = Vec::new();
        for (id, file) in self.files.iter().filter(|(_, f)| !f.queued) {
            let idle = now.since(file.grown);
            let close = file.retired.is_some() && idle >= self.linger(file);
            if close || (file.has_partial() && idle >= PARTIAL_AFTER) {
                closing.push((*id, close));
            }
        }
        for (id, close) in closing {
            if let Some(file) = self.files.get_mut(&id) {
                file.flush(read_at, out);
            }
            if close && let Some(file) = self.files.remove(&id) {
                if let Some(wd) = file.watch.clone() {
                    self.watcher.remove(wd);
                }
                // A deleted file is closed before the next look at everything would miss it.
                if file.retired == Some(Retired::Renamed) && !self.active.contains_key(&file.path) {
                    self.complain_of_absence(&file.path.clone());
                }
                if self.done.len() == FILES_MAX {
                    self.done.pop_front();
                }
                self.done.push_back(file.position());
            }
        }
    }

    /// Says something about a path, unless it was the last thing said about it.
    fn complain(&mut self, path: &Path, text: Notice) {
        if self.said.get(path) == Some(&text) {
            return;
        }
        if self.said.len() > 4 * FILES_MAX {
            self.said.clear();
        }
        self.said.insert(path.to_owned(), text.clone());
        self.notices.push(text);
    }
}

fn enqueue(files: &mut BTreeMap<FileId, Follow>, queue: &mut VecDeque<FileId>, id: FileId) {
    if let Some(file) = files.get_mut(&id)
        && !file.queued
    {
        file.queued = true;
        queue.push_back(id);
    }
}
