//! The candidate stores of a capture worker, each behind a thread of its own (`hand`), and which of them the
//! next snapshot goes to. Nothing here waits for a store longer than it says.

use crate::config::StoreConfig;
use crate::model::Mono;
use crate::store::candidates;
use crate::store::hand::{self, Answer, Heard, Job};
use crate::sys::clock;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// A store that was not opened by then is passed over; it may still answer later. Longer than during a capture: a spare
/// has the time, and a disk under load should not send snapshots to memory.
const OPEN_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Stores {
    pub(super) lines: Vec<Line>,
    heard: Receiver<Heard>,
    /// What the hands had to say beside their answers, of any snapshot.
    pub(super) notes: Vec<String>,
}

/// One store as it is known here.
#[derive(Debug)]
pub(super) struct Line {
    pub dir: PathBuf,
    jobs: Sender<(u64, Job)>,
    given: u64,
    /// Jobs without an answer, with when they were given.
    waiting: VecDeque<(u64, Mono)>,
    pub state: State,
    /// Not to be touched: an earlier worker is stuck there, or failed there.
    shunned: bool,
    notices: Vec<String>,
    reserve: bool,
    pub part: Part,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Fresh,
    Opening,
    Open,
    /// Why not.
    Closed(String),
}

/// What a store has of the present snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    None,
    /// It gets every byte.
    Writing,
    Failed(String),
    Published(PathBuf),
}

impl Stores {
    /// The directories of `config` and the fallback, untouched so far; those in `shunned` stay so.
    /// Errors: the system gives no thread.
    pub fn start(config: &StoreConfig, shunned: &[PathBuf]) -> io::Result<Stores> {
        let (to, heard) = channel();
        let mut lines = Vec::new();
        for (number, dir) in candidates(config, None).into_iter().enumerate() {
            let jobs = hand::start(number, dir.clone(), config, to.clone())?;
            lines.push(Line {
                shunned: shunned.contains(&dir),
                dir,
                jobs,
                given: 0,
                waiting: VecDeque::new(),
                state: State::Fresh,
                notices: Vec::new(),
                reserve: true,
                part: Part::None,
            });
        }
        Ok(Stores { lines, heard, notes: Vec::new() })
    }

    /// The first store that can be written to; those before it are (once more) tried to be opened, each for at most
    /// [`OPEN_MAX`]. `None`: there is none, see [`Stores::why_none`].
    pub fn settle(&mut self) -> Option<usize> {
        (0..self.lines.len()).find(|i| self.open(*i, OPEN_MAX))
    }

    /// Whether store `i` is open, or can be within `wait`.
    pub(super) fn open(&mut self, i: usize, wait: Duration) -> bool {
        self.hear_all();
        if self.lines[i].shunned {
            return false;
        }
        if matches!(self.lines[i].state, State::Fresh | State::Closed(_)) {
            self.lines[i].state = State::Opening;
            self.give(i, Job::Open);
        }
        while self.lines[i].state == State::Opening {
            let silent = self.silent(i);
            if silent >= wait || !self.hear(wait - silent) && self.silent(i) >= wait {
                break;
            }
        }
        self.lines[i].state == State::Open
    }

    pub fn dir(&self, i: usize) -> &Path {
        &self.lines[i].dir
    }

    /// What the operator should know when snapshots go to store `at`: the ones passed over, and why.
    pub fn notices(&self, at: usize) -> Vec<String> {
        let mut notices: Vec<String> = self.lines[..at].iter().filter_map(Line::trouble).collect();
        if let Some(last) = notices.last_mut() {
            last.push_str(&format!("; snapshots go to {}", self.lines[at].dir.display()));
        }
        notices.extend(self.lines[at].notices.iter().cloned());
        notices
    }

    /// Why no store can be had.
    pub fn why_none(&self) -> String {
        let mut tried: Vec<String> = self.lines.iter().filter_map(Line::trouble).collect();
        if self.lines.is_empty() {
            tried.push("neither XDG_STATE_HOME, HOME nor XDG_RUNTIME_DIR is set; give --store DIR".into());
        } else if tried.is_empty() {
            tried.push("an attempt before failed in each of them".into());
        }
        crate::store::Error::NoStore { tried }.to_string()
    }

    /// Whether it is worth looking again after a while: snapshots do not go to the first store, or it has no reserve.
    pub fn ailing(&self, at: usize) -> bool {
        self.lines[..at].iter().any(|l| !l.shunned) || !self.lines[at].reserve
    }

    /// Looks again: opens what was closed, sees to a missing reserve. Where the next snapshot goes.
    pub fn revisit(&mut self) -> Option<usize> {
        let at = self.settle()?;
        if !self.lines[at].reserve && self.lines[at].waiting.is_empty() {
            self.give(at, Job::Mend);
            self.hear(OPEN_MAX);
        }
        Some(at)
    }

    /// Nobody is stuck in `dir` any more.
    pub fn admit(&mut self, dir: &Path) {
        self.lines.iter_mut().filter(|l| l.dir == dir).for_each(|l| l.shunned = false);
    }

    /// What the hands had to say since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The stores that have not answered something for longer than `silence`.
    pub fn hung(&mut self, silence: Duration) -> Vec<PathBuf> {
        self.hear_all();
        let hung = |(i, _): &(usize, &Line)| self.silent(*i) >= silence;
        self.lines.iter().enumerate().filter(hung).map(|(_, l)| l.dir.clone()).collect()
    }

    /// Applies the limits of store `at`; its word on that comes with the notes.
    pub fn tidy(&mut self, at: usize) {
        self.give(at, Job::Tidy);
    }

    /// Waits until every hand has done what it was told, for at most `wait`. Whether they have.
    pub fn finish(&mut self, wait: Duration) -> bool {
        let until = clock::mono().plus(wait);
        while self.lines.iter().any(|l| !l.waiting.is_empty()) {
            let left = until.since(clock::mono());
            if left.is_zero() {
                return false;
            }
            self.hear(left);
        }
        true
    }

    /// Gives a job; its number.
    pub(super) fn give(&mut self, i: usize, job: Job) -> u64 {
        let line = &mut self.lines[i];
        line.given += 1;
        line.waiting.push_back((line.given, clock::mono()));
        if line.jobs.send((line.given, job)).is_err() {
            line.waiting.pop_back();
            line.part = Part::Failed(format!("the thread of {} is gone", line.dir.display()));
        }
        line.given
    }

    /// The number of the last job that was given to store `i`.
    pub(super) fn last_job(&self, i: usize) -> u64 {
        self.lines[i].given
    }

    /// Jobs of store `i` without an answer.
    pub(super) fn behind(&self, i: usize) -> usize {
        self.lines[i].waiting.len()
    }

    /// Whether job `job` of store `i` was answered.
    pub(super) fn answered(&self, i: usize, job: u64) -> bool {
        self.lines[i].waiting.front().is_none_or(|(first, _)| *first > job)
    }

    /// For how long the oldest job of store `i` has had no answer.
    pub(super) fn silent(&self, i: usize) -> Duration {
        self.lines[i].silent()
    }

    /// Takes the answers that are there. Before any look at how long a store has been silent.
    pub(super) fn hear_all(&mut self) {
        while self.hear(Duration::ZERO) {}
    }

    /// Takes one answer, waiting for it at most `wait`; false when none came.
    pub(super) fn hear(&mut self, wait: Duration) -> bool {
        let Ok(heard) = self.heard.recv_timeout(wait) else { return false };
        self.notes.extend(heard.notes);
        let line = &mut self.lines[heard.hand];
        while line.waiting.front().is_some_and(|(job, _)| *job <= heard.job) {
            line.waiting.pop_front();
        }
        match heard.answer {
            Answer::Done => {}
            Answer::Opened { notices, reserve } => {
                if line.state == State::Opening {
                    line.notices = notices;
                } else if reserve {
                    line.notices.retain(|n| !n.contains("reserve"));
                }
                (line.state, line.reserve) = (State::Open, reserve);
            }
            Answer::Published(path) => line.part = Part::Published(path),
            Answer::Failed(why) => match (&line.state, &line.part) {
                (State::Opening, _) => line.state = State::Closed(why),
                (_, Part::Writing) => line.part = Part::Failed(why),
                // Limits that could not be applied; the failure of a snapshot that failed already is nothing new.
                (_, Part::None | Part::Published(_)) => self.notes.push(why),
                (_, Part::Failed(_)) => {}
            },
        }
        true
    }
}

impl Line {
    fn silent(&self) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |(_, since)| clock::mono().since(*since))
    }

    /// Why snapshots do not go here; `None`: it was not tried.
    pub(super) fn trouble(&self) -> Option<String> {
        match &self.state {
            State::Closed(why) => Some(why.clone()),
            State::Opening => {
                let (dir, s) = (self.dir.display(), self.silent().as_secs());
                Some(format!("store {dir} does not answer: it has not been opened for {s} s"))
            }
            _ if self.shunned => {
                Some(format!("store {} is left alone: a write to it has not come back", self.dir.display()))
            }
            State::Fresh | State::Open => None,
        }
    }
}
