//! Calls that may never return: each runs on a helper thread that is abandoned at its limit, and where
//! the kernel holds that thread becomes part of the evidence.
//!
//! One helper thread serves call after call (a hand-over costs two context switches); only a stuck one is
//! left behind and replaced, at most `max_abandoned` times. After that every call is refused at once: a
//! machine that blocks everything must not collect threads. A thread in uninterruptible sleep pins its
//! process, so a guard belongs into a process that can be abandoned itself.

use crate::capture::guard::{Held, reserve, where_held};
use crate::model::Mono;
use crate::sys::clock;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// A call that did not return.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stuck {
    pub waited_ms: u64,
    pub held: Held,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer in {} ms, held at {}", self.waited_ms, self.held)
    }
}

/// Why a guarded call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("{0}")]
    Stuck(Stuck),
    #[error("not tried: {0} earlier calls never returned")]
    Exhausted(usize),
    #[error("not tried: no time left")]
    NoTime,
    #[error("the call panicked")]
    Panicked,
    #[error("start a helper thread: {0}")]
    NoThread(String),
}

type Job = Box<dyn FnOnce() + Send>;

struct Helper {
    tid: i32,
    jobs: SyncSender<Job>,
}

/// Runs closures one at a time, each with a limit.
pub struct Guard {
    max_abandoned: usize,
    abandoned: usize,
    helper: Option<Helper>,
}

impl Guard {
    /// A guard that leaves at most `max_abandoned` stuck threads behind.
    pub fn new(max_abandoned: usize) -> Guard {
        Guard { max_abandoned, abandoned: 0, helper: None }
    }

    /// How many calls never returned.
    pub fn abandoned(&self) -> usize {
        self.abandoned
    }

    /// Runs `f`, waiting for it at most `limit`. What `f` owns is lost with it when it is abandoned.
    pub fn call<T: Send + 'static>(
        &mut self,
        limit: Duration,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        if self.abandoned >= self.max_abandoned {
            return Err(Unanswered::Exhausted(self.abandoned));
        }
        // Without time even a healthy call would be taken for a stuck one.
        if limit.is_zero() {
            return Err(Unanswered::NoTime);
        }
        let began = clock::mono();
        let (answer, answered) = sync_channel(1);
        let mut job: Job = Box::new(move || {
            // Nobody listens any more when the call was given up.
            let _ = answer.send(f());
        });
        loop {
            let helper = match self.helper.take() {
                Some(h) => h,
                None => start()?,
            };
            match helper.jobs.try_send(job) {
                Ok(()) => return self.wait(helper, &answered, began, limit),
                // Ended by a panic in an earlier call: a new one takes the job.
                Err(e) => match e {
                    std::sync::mpsc::TrySendError::Full(j) | std::sync::mpsc::TrySendError::Disconnected(j) => job = j,
                },
            }
        }
    }

    fn wait<T>(
        &mut self,
        helper: Helper,
        answered: &Receiver<T>,
        began: Mono,
        limit: Duration,
    ) -> Result<T, Unanswered> {
        match answered.recv_timeout(limit) {
            Ok(value) => {
                self.helper = Some(helper);
                Ok(value)
            }
            Err(RecvTimeoutError::Disconnected) => Err(Unanswered::Panicked),
            Err(RecvTimeoutError::Timeout) => {
                self.abandoned += 1;
                let waited_ms = u64::try_from(clock::mono().since(began).as_millis()).unwrap_or(u64::MAX);
                Err(Unanswered::Stuck(Stuck { waited_ms, held: where_held(helper.tid) }))
            }
        }
    }
}

fn start() -> Result<Helper, Unanswered> {
    let (jobs, queue) = sync_channel::<Job>(1);
    let (hello, greeted) = sync_channel(1);
    reserve::start(move || {
        let _ = hello.send(nix::unistd::gettid().as_raw());
        while let Ok(job) = queue.recv() {
            job();
        }
    })
    .map_err(|e| Unanswered::NoThread(e.to_string()))?;
    let tid = greeted.recv().map_err(|e| Unanswered::NoThread(e.to_string()))?;
    Ok(Helper { tid, jobs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_blocks_is_abandoned_and_located() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fifo = dir.path().join("p");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        let mut guard = Guard::new(2);
        let limit = Duration::from_millis(50);
        for _ in 0..2 {
            let path = fifo.clone();
            // Opening a FIFO without a writer blocks for ever.
            match guard.call(limit, move || std::fs::File::open(path).is_ok()) {
                Err(Unanswered::Stuck(s)) => {
                    assert!(s.waited_ms >= 50, "{s:?}");
                    assert!(s.held.wchan.is_some() || s.held.syscall.is_some(), "{s:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(guard.call(limit, || 1), Err(Unanswered::Exhausted(2)));
        // Let the two threads go.
        drop(std::fs::OpenOptions::new().write(true).read(true).open(&fifo).expect("open both ends"));
    }

    #[test]
    fn answers_come_back_and_a_panic_costs_one_call() {
        let mut guard = Guard::new(1);
        let limit = Duration::from_secs(10);
        assert_eq!(guard.call(limit, || 41 + 1), Ok(42));
        assert_eq!(guard.call(limit, || -> i32 { panic!("on purpose") }), Err(Unanswered::Panicked));
        assert_eq!(guard.call(limit, || "on"), Ok("on"));
        assert_eq!(guard.call(Duration::ZERO, || "late"), Err(Unanswered::NoTime));
        assert_eq!(guard.abandoned(), 0);
    }
}
