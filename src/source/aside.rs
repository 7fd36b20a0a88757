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
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
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
    /// Its thread is gone.
    ended: bool,
}

/// All of them.
pub(super) struct Readers {
    all: Vec<Reader>,
    /// Readable when one of them has something.
    woken: UnixStream,
    /// Held, because a pair without its other end is readable for ever: without readers, or when the last one has ended.
    _wake: UnixStream,
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
                let end = follow(&consoles, &from, &busy, &to, &wake);
                busy.store(0, Ordering::Release);
                if let Err(e) = end {
                    let notices = vec![format!("console files under {name}: {e}")];
                    let last = Batch { records: Vec::new(), notices, losses: Losses::default(), state: from };
                    let _ = to.send(last);
                }
                // Seen as the end of its batches.
                drop(to);
                let _ = (&wake).write(&[1]);
            };
            match std::thread::Builder::new().name("aside".into()).spawn(body) {
                Ok(_) => all.push(Reader { root, batches, state, since, told: false, ended: false }),
                Err(e) => notices.push(format!("console files under {} are not followed: {e}", root.display())),
            }
        }
        Ok(Readers { all, woken, _wake: wake })
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
        let reader = &mut self.all[index];
        let batch = match reader.batches.try_recv() {
            Ok(batch) => batch,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => {
                if !std::mem::replace(&mut reader.ended, true) {
                    let root = reader.root.display();
                    notices.push(format!(
                        "console files under {root} are not followed any more; to try again: systemctl restart lastgasp"
                    ));
                }
                return None;
            }
        };
        notices.extend(batch.notices);
        Some(Taken { records: batch.records, losses: batch.losses, commit: (index, batch.state) })
    }

    pub(super) fn sent(&mut self, taken: Taken) {
        let (index, state) = taken.commit;
        self.all[index].state = state;
    }

    /// Says which of them hang, and which answer again.
    pub(super) fn check(&mut self, now: Mono, notices: &mut Vec<Notice>) {
        for r in self.all.iter_mut().filter(|r| !r.ended) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(readers: &Readers) -> bool {
        let mut fds = [PollFd::new(readers.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).expect("poll") > 0
    }

    #[test]
    fn without_readers_nobody_is_woken() {
        let mut readers = Readers::start(Vec::new(), &ConsoleState::default(), &mut Vec::new()).expect("a socket pair");
        assert!(!is_readable(&readers), "a role without asides would never sleep");
        assert!(readers.begin_turn().is_empty() && readers.next_due(Mono(0)).is_none());
    }

    #[test]
    fn the_end_of_a_reader_is_told_once_and_wakes_once() {
        let mut readers = Readers::start(Vec::new(), &ConsoleState::default(), &mut Vec::new()).expect("a socket pair");
        let (to, batches) = sync_channel(1);
        let (state, since) = (ConsoleState::default(), Arc::new(AtomicU64::new(0)));
        readers.all.push(Reader { root: "/mnt/x".into(), batches, state, since, told: false, ended: false });
        drop(to);
        let mut notices = Vec::new();
        for _ in 0..2 {
            assert_eq!(readers.begin_turn().len(), 1);
            assert!(readers.take(0, &mut notices).is_none());
        }
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains("/mnt/x are not followed any more") && !is_readable(&readers));
    }
}
