//! Capture workers that have taken their snapshot. They stand in until there is a spare again: on a machine that gives no
//! new process one of them takes the next snapshot too.

use crate::capture::protocol::Order;
use crate::daemon::children::Abandoned;
use crate::daemon::poller::{Poller, Token};
use crate::model::Mono;
use crate::sys::process::Child;
use std::path::PathBuf;
use std::time::Duration;

/// What a worker that was told to leave may take for it: it stays for a store that is slow.
const LEAVE_MAX: Duration = Duration::from_secs(70);
/// A healthy one takes milliseconds.
const LEAVE_USUAL: Duration = Duration::from_secs(2);

/// A process of the `capture` role.
#[derive(Debug)]
pub(super) struct Worker {
    pub child: Child,
    /// Where it writes; `None` until it is ready.
    pub store: Option<PathBuf>,
}

impl Worker {
    pub fn pid(&self) -> i32 {
        self.child.pid.0
    }

    /// Ends it, or leaves it to those that are not waited for.
    pub fn give_up(self, poller: &mut Poller, abandoned: &mut Abandoned) {
        poller.remove(&self.child.channel, Token::Worker(self.pid()));
        self.child.kill();
        abandoned.push(Some(self.child));
    }
}

#[derive(Debug)]
struct Veteran {
    worker: Worker,
    /// A store did not answer it: it may be busy with that for a minute.
    waits: bool,
    /// When it was told to leave.
    told: Option<Mono>,
}

#[derive(Debug, Default)]
pub(super) struct Veterans(Vec<Veteran>);

impl Veterans {
    pub fn push(&mut self, worker: Worker, waits: bool) {
        self.0.push(Veteran { worker, waits, told: None });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, pid: i32) -> bool {
        self.0.iter().any(|v| v.worker.pid() == pid)
    }

    pub fn workers(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.0.iter_mut().map(|v| &mut v.worker)
    }

    /// One that can take a snapshot at once, in a store that is none of `avoid`.
    pub fn stand_in(&mut self, avoid: &[PathBuf]) -> Option<Worker> {
        let writes_elsewhere = |w: &Worker| w.store.as_ref().is_some_and(|s| !avoid.contains(s));
        let at = self.0.iter().position(|v| v.told.is_none() && !v.waits && writes_elsewhere(&v.worker))?;
        Some(self.0.swap_remove(at).worker)
    }

    /// Tells all to leave: there is a spare.
    pub fn dismiss(&mut self, now: Mono) {
        for v in self.0.iter_mut().filter(|v| v.told.is_none()) {
            // One that does not hear it ends with the core, or is given up.
            let _ = v.worker.child.channel.try_send(&Order::Leave);
            v.told = Some(now);
        }
    }

    /// Gives up those that cannot leave.
    pub fn give_up_late(&mut self, now: Mono, poller: &mut Poller, abandoned: &mut Abandoned) {
        for v in self.0.extract_if(.., |v| v.told.is_some_and(|at| now.since(at) > LEAVE_MAX)) {
            v.worker.give_up(poller, abandoned);
        }
    }

    /// The one with this pid has closed its channel.
    pub fn gone(&mut self, pid: i32, poller: &mut Poller, abandoned: &mut Abandoned) {
        for v in self.0.extract_if(.., |v| v.worker.pid() == pid) {
            v.worker.give_up(poller, abandoned);
        }
    }

    /// Those that were told to leave and have not.
    pub fn leaving(&self) -> usize {
        self.0.iter().filter(|v| v.told.is_some()).count()
    }

    /// Those of them that take unusually long.
    pub fn lingering(&self, now: Mono) -> usize {
        self.0.iter().filter(|v| v.told.is_some_and(|at| now.since(at) > LEAVE_USUAL)).count()
    }
}
