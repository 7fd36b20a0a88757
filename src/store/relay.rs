//! A snapshot's bytes on their way to a store. They are kept until it is published, so that the next store can have
//! the same snapshot, from its first byte, when the one before fails or does not answer: what was perishable is not
//! read a second time.
//!
//! A store that is only slow goes on getting every byte and publishes when it can; the same snapshot, byte for byte, is
//! then in two stores, and the `keep` role removes the one that is not at home.

use crate::archive::{StoreTry, SyncData};
use crate::model::{Incident, Mono};
use crate::store::hand::Job;
use crate::store::name::stem;
use crate::store::stores::{Line, Part, State, Stores};
use crate::sys::clock;
use std::cell::RefCell;
use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A store that has not answered for so long is passed over. A loaded disk answers an fdatasync within 0.5 s.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// When every store is slow, whichever answers first within this time has the snapshot.
const LAST_MAX: Duration = Duration::from_secs(10);
/// Most bytes that are kept for the next store; what is larger stays with its store.
const KEPT_MAX: usize = 16 << 20;
/// Writes on their way to a store when nothing is kept.
const BEHIND_MAX: usize = 64;

/// One snapshot on its way.
#[derive(Debug)]
pub struct Relay<'a>(Rc<RefCell<Inner<'a>>>);

/// Its file, for the archive writer.
#[derive(Debug)]
pub struct RelayFile<'a>(Rc<RefCell<Inner<'a>>>);

#[derive(Debug)]
struct Inner<'a> {
    stores: &'a mut Stores,
    incident: Arc<Incident>,
    kept: Vec<Arc<[u8]>>,
    kept_bytes: usize,
    /// More than [`KEPT_MAX`] was written.
    too_large: bool,
    /// The store that counts.
    at: usize,
    /// Since when it counts.
    turn: Mono,
    tries: Vec<StoreTry>,
    /// Stores that are not to be tried (again), by their number.
    tried: Vec<bool>,
    /// The last byte was written.
    publishing: bool,
}

impl<'a> Relay<'a> {
    /// Begins the snapshot of `incident` in store `at`. Waits for nothing.
    pub fn begin(stores: &'a mut Stores, at: usize, incident: &Incident) -> Relay<'a> {
        let mut inner = Inner {
            incident: Arc::new(incident.clone()),
            kept: Vec::new(),
            kept_bytes: 0,
            too_large: false,
            at,
            turn: clock::mono(),
            tries: Vec::new(),
            tried: stores
                .lines
                .iter()
                .map(|l| !matches!(l.state, State::Fresh | State::Open | State::Closed(_)))
                .collect(),
            publishing: false,
            stores,
        };
        // Those before it were found wanting when the worker was made ready.
        for line in &inner.stores.lines[..at] {
            inner.tries.extend(line.trouble().map(|why| a_try(line, Some(why), 0)));
        }
        inner.start(at);
        Relay(Rc::new(RefCell::new(inner)))
    }

    /// For [`crate::archive::Writer::create`]. Its `sync_data` waits for the store, or for the next one.
    pub fn file(&self) -> RelayFile<'a> {
        RelayFile(Rc::clone(&self.0))
    }

    /// The one directory that all entries lie in.
    pub fn top_dir(&self) -> String {
        stem(&self.0.borrow().incident)
    }

    /// Has what was written so far put on the disk, without waiting for it.
    pub fn order_sync(&self) {
        self.0.borrow_mut().for_all(|| Job::Sync);
    }

    /// The stores that were tried, with the one that has the snapshot as the last; none when that is the first.
    pub fn tries(&self) -> Vec<StoreTry> {
        let inner = self.0.borrow();
        let mut tries = inner.tries.clone();
        if !tries.is_empty() {
            tries.push(a_try(&inner.stores.lines[inner.at], None, inner.turn_ms()));
        }
        tries
    }

    /// What the stores had to say since the last call.
    pub fn take_notes(&self) -> Vec<String> {
        self.0.borrow_mut().stores.take_notes()
    }

    /// Makes the finished snapshot visible in its store, or in the next one that takes it; its path, and the number of
    /// that store. Errors: none does.
    pub fn publish(self) -> io::Result<(PathBuf, usize)> {
        let inner = &mut *self.0.borrow_mut();
        inner.for_all(|| Job::Publish);
        inner.publishing = true;
        loop {
            let at = inner.at;
            let published = |stores: &Stores| match &stores.lines[at].part {
                Part::Published(path) => Some(path.clone()),
                _ => None,
            };
            match inner.wait(published) {
                Ok(path) => return Ok((path, at)),
                Err(why) => inner.next(why)?,
            }
        }
    }
}

impl Inner<'_> {
    /// Begins the snapshot in store `i`, with everything that was written so far.
    fn start(&mut self, i: usize) {
        (self.at, self.turn, self.tried[i]) = (i, clock::mono(), true);
        self.stores.lines[i].part = Part::Writing;
        self.stores.give(i, Job::Begin(Arc::clone(&self.incident)));
        for chunk in &self.kept {
            self.stores.give(i, Job::Write(Arc::clone(chunk)));
        }
        if self.publishing {
            self.stores.give(i, Job::Publish);
        }
    }

    /// Gives a job to every store that has the snapshot in the making.
    fn for_all(&mut self, job: impl Fn() -> Job) {
        for i in 0..self.stores.lines.len() {
            if self.stores.lines[i].part == Part::Writing {
                self.stores.give(i, job());
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let chunk: Arc<[u8]> = bytes.into();
        self.for_all(|| Job::Write(Arc::clone(&chunk)));
        self.kept_bytes += chunk.len();
        if self.kept_bytes <= KEPT_MAX {
            self.kept.push(chunk);
            return Ok(());
        }
        if !std::mem::replace(&mut self.too_large, true) {
            self.kept.clear();
            for (i, line) in self.stores.lines.iter_mut().enumerate() {
                if i != self.at && line.part == Part::Writing {
                    line.part = Part::Failed("the snapshot is too large to be kept for a slow store".into());
                }
            }
        }
        let at = self.at;
        self.wait(|s| (s.behind(at) <= BEHIND_MAX).then_some(())).map_err(io::Error::other)
    }

    fn sync(&mut self) -> io::Result<()> {
        loop {
            self.for_all(|| Job::Sync);
            let (at, job) = (self.at, self.stores.last_job(self.at));
            match self.wait(|s| s.answered(at, job).then_some(())) {
                Ok(()) => return Ok(()),
                Err(why) => self.next(why)?,
            }
        }
    }

    /// Waits for the store that counts until `done`. Errors: it failed, or it has been silent for [`PATIENCE`].
    fn wait<T>(&mut self, done: impl Fn(&Stores) -> Option<T>) -> Result<T, String> {
        loop {
            // Answers that came while nobody listened are no silence.
            self.stores.hear_all();
            if let Part::Failed(why) = &self.stores.lines[self.at].part {
                return Err(why.clone());
            }
            if let Some(result) = done(self.stores) {
                return Ok(result);
            }
            let silent = self.stores.silent(self.at);
            if silent >= PATIENCE {
                let dir = self.stores.lines[self.at].dir.display();
                return Err(format!(
                    "store {dir} does not answer: no write has come back for {} s",
                    PATIENCE.as_secs()
                ));
            }
            self.stores.hear(PATIENCE - silent);
        }
    }

    /// Gives the snapshot to the next store. Errors: none is left, and none of the slow ones comes to its end.
    fn next(&mut self, why: String) -> io::Result<()> {
        self.stores.notes.push(format!("after {} ms: {why}; the snapshot goes to the next store", self.turn_ms()));
        self.tries.push(a_try(&self.stores.lines[self.at], Some(why.clone()), self.turn_ms()));
        for i in 0..self.stores.lines.len() {
            if self.too_large || self.tried[i] {
                continue;
            }
            self.turn = clock::mono();
            if self.stores.open(i, PATIENCE) {
                self.start(i);
                return Ok(());
            }
            self.tried[i] = true;
            let line = &self.stores.lines[i];
            // One that was closed from the beginning is in the list already.
            if let Some(why) = line.trouble().filter(|_| self.tries.iter().all(|t| *t.dir != *line.dir)) {
                self.tries.push(a_try(line, Some(why), self.turn_ms()));
            }
        }
        self.await_slow().ok_or_else(|| io::Error::other(why))
    }

    /// All stores had their turn: the first of the slow ones that has done everything asked of it.
    fn await_slow(&mut self) -> Option<()> {
        let until = clock::mono().plus(LAST_MAX);
        self.turn = clock::mono();
        loop {
            self.stores.hear_all();
            let mut slow = false;
            for i in 0..self.stores.lines.len() {
                let part = &self.stores.lines[i].part;
                if matches!(part, Part::Published(_)) || *part == Part::Writing && self.stores.behind(i) == 0 {
                    self.at = i;
                    return Some(());
                }
                slow |= *part == Part::Writing;
            }
            let left = until.since(clock::mono());
            if !slow || left.is_zero() {
                return None;
            }
            self.stores.hear(left);
        }
    }

    fn turn_ms(&self) -> u64 {
        u64::try_from(clock::mono().since(self.turn).as_millis()).unwrap_or(u64::MAX)
    }
}

fn a_try(line: &Line, error: Option<String>, took_ms: u64) -> StoreTry {
    StoreTry { dir: line.dir.clone(), error, took_ms }
}

impl Write for RelayFile<'_> {
    /// Waits for no store, unless the snapshot has become too large to be kept.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(buf).map(|()| buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SyncData for RelayFile<'_> {
    /// Returns when everything so far is on the disk of some store.
    fn sync_data(&self) -> io::Result<()> {
        self.0.borrow_mut().sync()
    }

    /// [`Relay::publish`] does that.
    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}
