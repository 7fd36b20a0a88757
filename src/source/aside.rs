//! Console files on file systems that may stop answering (a network file system, FUSE): each such file system is read by a
//! thread of its own, so that one that hangs takes no other console with it.
//!
//! Nothing can wake a thread out of a dead mount, and nobody waits for it: what it had handed over counts, the rest is read
//! at the next start, from where it was saved.

use crate::model::{Losses, Mono, Record};
use crate::source::role::{Aside, STEP_RECORDS, poll_for};
use crate::source::{ConsoleState, Consoles, Error, Notice};
use crate::sys::clock;
use nix::poll::{PollFd, PollFlags};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// A file system that has not let a step end by then is told of.
const SLOW: Duration = Duration::from_secs(5);

/// What one step brought, and where everything stands behind it.
struct Batch {
    records: Vec<Record>,
    notices: Vec<Notice>,
    losses: Losses,
    state: ConsoleState,
}

/// The reader of one file system, as the role sees it.
struct Reader {
    root: PathBuf,
    batches: Receiver<Batch>,
    /// Of what was handed on.
    state: ConsoleState,
    /// Since when its thread is at a step; 0 between steps.
    since: Arc<AtomicU64>,
    told: bool,
}

/// All of them.
pub(super) struct Readers {
    all: Vec<Reader>,
    /// Readable when one of them has something.
    woken: UnixStream,
}

/// What is taken over from one reader.
pub(super) struct Taken {
    pub records: Vec<Record>,
    pub losses: Losses,
    /// To be kept once the records were sent.
    commit: (usize, ConsoleState),
}

impl Readers {
    /// Starts a thread for each of `asides`, which goes on where `state` says. A thread that cannot be had is a notice.
    /// Errors: no socket pair to be woken by.
    pub(super) fn start(asides: Vec<Aside>, state: &ConsoleState, notices: &mut Vec<Notice>) -> io::Result<Readers> {
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let mut all = Vec::new();
        for Aside { root, consoles } in asides {
            let state = part(state, |path| path.starts_with(&root));
            let (to, batches) = sync_channel(1);
            let since = Arc::new(AtomicU64::new(0));
            let (wake, busy, from) = (wake.try_clone()?, Arc::clone(&since), state.clone());
            let name = root.display().to_string();
            let body = move || {
                if let Err(e) = follow(&consoles, &from, &busy, &to, &wake) {
                    let state = from;
                    let notices = vec![format!("console files under {name} are not followed: {e}")];
                    let last = Batch { records: Vec::new(), notices, losses: Losses::default(), state };
                    let _ = to.send(last).map(|()| (&wake).write(&[1]));
                }
            };
            match std::thread::Builder::new().name("aside".into()).spawn(body) {
                Ok(_) => all.push(Reader { root, batches, state, since, told: false }),
                Err(e) => notices.push(format!("console files under {} are not followed: {e}", root.display())),
            }
        }
        Ok(Readers { all, woken })
    }

    /// Readable when [`Readers::take`] would find something.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// A turn begins, in which each of them is asked once: one with a long backlog is not to keep us from the others.
    pub(super) fn begin_turn(&mut self) -> std::ops::Range<usize> {
        let mut bytes = [0; 64];
        // Emptied before looking, so that whoever hands something over behind our back wakes us again.
        while matches!((&self.woken).read(&mut bytes), Ok(n) if n > 0) {}
        0..self.all.len()
    }

    /// What one of them has to hand over. The caller sends the records, and then calls [`Readers::sent`].
    pub(super) fn take(&mut self, index: usize, notices: &mut Vec<Notice>) -> Option<Taken> {
        let batch = self.all[index].batches.try_recv().ok()?;
        notices.extend(batch.notices);
        Some(Taken { records: batch.records, losses: batch.losses, commit: (index, batch.state) })
    }

    pub(super) fn sent(&mut self, taken: Taken) {
        let (index, state) = taken.commit;
        self.all[index].state = state;
    }

    /// Says which of them hang, and which answer again.
    pub(super) fn check(&mut self, now: Mono, notices: &mut Vec<Notice>) {
        for r in &mut self.all {
            let since = r.since.load(Ordering::Acquire);
            let hangs = since != 0 && now.since(Mono(since)) >= SLOW;
            if hangs != r.told {
                r.told = hangs;
                let root = r.root.display();
                notices.push(match hangs {
                    true => format!(
                        "console files under {root}: no answer for {} s; all others are followed",
                        SLOW.as_secs()
                    ),
                    false => format!("console files under {root} answer again"),
                });
            }
        }
    }

    /// When [`Readers::check`] should be called next.
    pub(super) fn next_due(&self, now: Mono) -> Option<Mono> {
        (!self.all.is_empty()).then(|| now.plus(SLOW))
    }

    /// Adds where they stand.
    pub(super) fn add_to(&self, state: &mut ConsoleState) {
        for r in &self.all {
            state.files.extend(r.state.files.iter().cloned());
            state.finished.extend(r.state.finished.iter().cloned());
        }
    }
}

/// The part of a state that is about the files that `wanted` wants.
pub(super) fn part(state: &ConsoleState, wanted: impl Fn(&Path) -> bool) -> ConsoleState {
    let those =
        |all: &[crate::source::console::Position]| all.iter().filter(|p| wanted(Path::new(&p.path))).cloned().collect();
    ConsoleState { files: those(&state.files), finished: those(&state.finished), at_us: state.at_us }
}

/// Reads until nobody takes it any more. Errors: as [`Consoles::new`], or waiting fails.
fn follow(
    configs: &[crate::config::ConsoleConfig],
    state: &ConsoleState,
    busy: &AtomicU64,
    to: &SyncSender<Batch>,
    wake: &UnixStream,
) -> Result<(), Error> {
    let at_step = || {
        let now = clock::mono();
        busy.store(now.0.max(1), Ordering::Release);
        now
    };
    let (mut consoles, mut notices) = Consoles::new(configs, state, at_step())?;
    let mut handed = ConsoleState::default();
    loop {
        let mut records = Vec::new();
        let step = consoles.step(STEP_RECORDS, at_step(), clock::wall(), &mut records);
        notices.extend(step.notices);
        let state = consoles.state(clock::wall());
        busy.store(0, Ordering::Release);
        let losses = consoles.losses();
        if !records.is_empty() || !notices.is_empty() || !losses.counts.is_empty() || state.files != handed.files {
            handed = state.clone();
            let batch = Batch { records, notices: std::mem::take(&mut notices), losses, state };
            if to.send(batch).is_err() {
                return Ok(());
            }
            // Full means that it is awake.
            let _ = (&mut &*wake).write(&[1]);
        }
        if !step.more {
            let mut fds = [PollFd::new(consoles.as_fd(), PollFlags::POLLIN)];
            poll_for(&mut fds, consoles.next_due().since(clock::mono()))?;
        }
    }
}
