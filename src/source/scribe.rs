//! The thread of the `tail` role that touches the store: it loads and writes the state file and appends to the history.
//! When the store hangs, this thread hangs, and the consoles are followed all the same.

use crate::model::{HistoryLine, Mono};
use crate::source::state_file::{State, load, store};
use crate::source::{Notice, history};
use crate::sys::clock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines of history, and one state, that wait while the store does not answer.
const QUEUE_MAX: usize = 256;
/// A store that has not let the state be read by then is gone on without.
const LOAD_MAX: Duration = Duration::from_secs(2);
/// A write that has not come back by then is told of.
const SLOW: Duration = Duration::from_secs(5);

enum Job {
    State(State),
    History(Box<HistoryLine>),
}

enum Done {
    Loaded(Result<State, Notice>),
    State(Result<Box<State>, String>),
    /// Whether the line is on the disk.
    History(bool),
}

pub struct Scribe {
    state_file: PathBuf,
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    /// A state is being written, since then.
    writing: Option<Mono>,
    slow_told: bool,
    /// Lines of history without an answer.
    lines: usize,
    /// What the state file holds, as far as is known.
    written: State,
    failed: bool,
    /// Since it was last asked for.
    heard: Heard,
    notices: Vec<Notice>,
}

impl Scribe {
    /// Starts the thread and loads the state; what cannot be loaded is a notice. Errors: the system gives no thread.
    pub fn start(state_file: PathBuf, notices: &mut Vec<Notice>) -> io::Result<Scribe> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let (tell, done) = sync_channel(QUEUE_MAX);
        let path = state_file.clone();
        std::thread::Builder::new().name("scribe".into()).spawn(move || write_all(&path, &queue, &tell))?;
        let written = match done.recv_timeout(LOAD_MAX) {
            Ok(Done::Loaded(Ok(state))) => state,
            Ok(Done::Loaded(Err(text))) => {
                notices.push(text);
                State::default()
            }
            _ => {
                let path = state_file.display();
                notices.push(format!("read {path}: no answer; starting afresh: consoles are followed from their end"));
                State::default()
            }
        };
        Ok(Scribe {
            state_file,
            jobs,
            done,
            writing: None,
            slow_told: false,
            lines: 0,
            written,
            failed: false,
            heard: Heard::default(),
            notices: Vec::new(),
        })
    }

    /// What the state file holds, as far as is known.
    pub fn written(&self) -> &State {
        &self.written
    }

    /// Has the state written. False: not now, because it is being written or the store does not answer.
    pub fn save(&mut self, state: State) -> bool {
        if self.writing.is_some() || self.jobs.try_send(Job::State(state)).is_err() {
            return false;
        }
        self.writing = Some(clock::mono());
        true
    }

    /// Whether a state is being written.
    pub fn busy(&self) -> bool {
        self.writing.is_some()
    }

    /// Has a line appended to the history; one for which there is no room is counted with those lost.
    pub fn remember(&mut self, line: Box<HistoryLine>) {
        self.listen();
        match self.jobs.try_send(Job::History(line)) {
            Ok(()) => self.lines += 1,
            Err(_) => self.heard.lost += 1,
        }
    }

    /// What came of earlier writes, since the last call.
    pub fn hear(&mut self, now: Mono, notices: &mut Vec<Notice>) -> Heard {
        self.listen();
        if self.writing.is_some_and(|since| now.since(since) >= SLOW) && !std::mem::replace(&mut self.slow_told, true) {
            notices.push(self.trouble("no answer"));
        }
        notices.append(&mut self.notices);
        std::mem::take(&mut self.heard)
    }

    /// Waits for everything to be on the disk, for at most `wait`.
    pub fn finish(&mut self, wait: Duration) {
        let until = clock::mono().plus(wait);
        while self.writing.is_some() || self.lines > 0 {
            match self.done.recv_timeout(until.since(clock::mono())) {
                Ok(done) => self.take(done),
                Err(_) => return,
            }
        }
    }

    fn listen(&mut self) {
        while let Ok(done) = self.done.try_recv() {
            self.take(done);
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            // The consoles are open: what comes late is of no use, and is replaced.
            Done::Loaded(_) => self.heard.rewrite = true,
            Done::History(kept) => {
                self.lines -= 1;
                self.heard.lost += u64::from(!kept);
            }
            Done::State(result) => {
                self.writing = None;
                match result {
                    Ok(state) => (self.written, self.failed, self.slow_told) = (*state, false, false),
                    Err(e) => {
                        self.heard.rewrite = true;
                        if !std::mem::replace(&mut self.failed, true) {
                            let text = self.trouble(&e);
                            self.notices.push(text);
                        }
                    }
                }
            }
        }
    }

    fn trouble(&self, why: &str) -> Notice {
        let path = self.state_file.display();
        format!("write {path}: {why}; a restart may repeat or miss console lines until it can be written")
    }
}

/// What came of earlier writes.
#[derive(Default)]
pub struct Heard {
    /// Lines of history that were lost.
    pub lost: u64,
    /// The state has to be written again.
    pub rewrite: bool,
}

fn write_all(path: &Path, jobs: &Receiver<Job>, tell: &SyncSender<Done>) {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(dir);
    if tell.send(Done::Loaded(load(path))).is_err() {
        return;
    }
    for job in jobs {
        let done = match job {
            Job::State(state) => match store(path, &state) {
                Ok(()) => Done::State(Ok(Box::new(state))),
                Err(e) => Done::State(Err(e.to_string())),
            },
            Job::History(line) => Done::History(history::append(dir, &line).is_ok()),
        };
        // Heard whenever the role has another job for us.
        if tell.send(done).is_err() {
            return;
        }
    }
}

/// The store itself; where it cannot be made, the capture worker says why. Not asked for where it is: on a frozen file
/// system even that does not return.
fn make(dir: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    if std::fs::metadata(dir).is_err() {
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    }
}
