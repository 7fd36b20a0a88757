//! One store's own thread. Whatever blocks in that store (creat on a frozen file system cannot even be killed) blocks
//! this thread alone; whoever gave it work sees that no answer comes.

use crate::config::StoreConfig;
use crate::model::Incident;
use crate::store::{Limits, Pending, PendingFile, Store};
use crate::sys::clock;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Of the thread. The deepest call is a directory scan.
const STACK_BYTES: usize = 512 * 1024;
/// Of it touched beforehand, so that the kernel has no page to find when the machine has none.
const TOUCHED_BYTES: usize = 32 * 1024;

/// What a hand can be told to do. It answers each, in order.
#[derive(Debug)]
pub(super) enum Job {
    /// Open the store, as [`Store::open`] does.
    Open,
    /// See to the reserve of a store that had none.
    Mend,
    /// Begin the snapshot of this incident.
    Begin(Arc<Incident>),
    Write(Arc<[u8]>),
    /// fdatasync.
    Sync,
    Publish,
    /// Apply the store's limits.
    Tidy,
}

#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Opened {
        notices: Vec<String>,
        reserve: bool,
    },
    Published(PathBuf),
    /// It could not, and why; the snapshot that was being written there ends with it.
    Failed(String),
}

#[derive(Debug)]
pub(super) struct Heard {
    /// Index of the hand.
    pub hand: usize,
    /// Number of the job that is answered.
    pub job: u64,
    pub answer: Answer,
    /// What the operator should know.
    pub notes: Vec<String>,
}

struct Hand {
    dir: PathBuf,
    limits: Limits,
    store: Option<Store>,
    snapshot: Option<(Pending, PendingFile)>,
    /// Something of the snapshot is surely on the disk.
    synced: bool,
    /// Said that the reserve was used.
    told: bool,
}

/// Starts the thread of `dir`.
pub(super) fn start(
    number: usize,
    dir: PathBuf,
    config: &StoreConfig,
    to: Sender<Heard>,
) -> std::io::Result<Sender<(u64, Job)>> {
    let (jobs, queue): (_, Receiver<(u64, Job)>) = channel();
    let limits = Limits::from(config);
    std::thread::Builder::new().name("store".into()).stack_size(STACK_BYTES).spawn(move || {
        touch_stack();
        let mut hand = Hand { dir, limits, store: None, snapshot: None, synced: false, told: false };
        for (job, what) in queue {
            let mut notes = Vec::new();
            let answer = hand.work(what, &mut notes).unwrap_or_else(|e| hand.give_up(e));
            if to.send(Heard { hand: number, job, answer, notes }).is_err() {
                return;
            }
        }
    })?;
    Ok(jobs)
}

#[inline(never)]
fn touch_stack() {
    std::hint::black_box([1u8; TOUCHED_BYTES]);
}

impl Hand {
    fn work(&mut self, job: Job, notes: &mut Vec<String>) -> Result<Answer, String> {
        let text = |e: crate::store::Error| e.to_string();
        match job {
            Job::Open => {
                let store = Store::open(&self.dir).map_err(|e| crate::store::open::with_remedy(&self.dir, &e))?;
                let (notices, reserve) = (store.notices().to_vec(), store.has_reserve());
                self.store = Some(store.with_limits(self.limits));
                return Ok(Answer::Opened { notices, reserve });
            }
            Job::Mend => {
                let had = self.store()?.has_reserve();
                if self.store()?.mend() && !had {
                    notes.push(format!("{} has its reserve again", self.dir.display()));
                }
                return Ok(Answer::Opened { notices: Vec::new(), reserve: self.store()?.has_reserve() });
            }
            Job::Begin(incident) => {
                let pending = self.store()?.begin(&incident).map_err(text)?;
                let file = pending.file();
                (self.snapshot, self.synced, self.told) = (Some((pending, file)), false, false);
            }
            Job::Write(bytes) => {
                let what = self.path();
                let (_, file) = self.snapshot.as_mut().ok_or("the snapshot was not begun here")?;
                file.write_all(&bytes).map_err(|e| format!("write {what}: {e}"))?;
            }
            Job::Sync => {
                let what = self.path();
                let (_, file) = self.snapshot.as_mut().ok_or("the snapshot was not begun here")?;
                crate::archive::SyncData::sync_data(file).map_err(|e| format!("flush {what} to the disk: {e}"))?;
                self.synced = true;
            }
            Job::Publish => {
                let (pending, _) = self.snapshot.take().ok_or("the snapshot was not begun here")?;
                self.tell_reserve(&pending, notes);
                return pending.publish().map(Answer::Published).map_err(text);
            }
            Job::Tidy => {
                let removed = self.store()?.prune(clock::wall(), false).map_err(text)?;
                notes.extend(removed.iter().map(|r| format!("removed {}: {}", r.path.display(), r.why)));
            }
        }
        if let Some((pending, file)) = self.snapshot.take() {
            self.tell_reserve(&pending, notes);
            self.snapshot = Some((pending, file));
        }
        Ok(Answer::Done)
    }

    fn store(&self) -> Result<&Store, String> {
        self.store.as_ref().ok_or_else(|| format!("{} is not open", self.dir.display()))
    }

    fn path(&self) -> String {
        self.snapshot.as_ref().map(|(p, _)| p.path().display().to_string()).unwrap_or_default()
    }

    fn tell_reserve(&mut self, pending: &Pending, notes: &mut Vec<String>) {
        if pending.in_reserve() && !std::mem::replace(&mut self.told, true) {
            let dir = self.dir.display();
            notes.push(format!("{dir} is full: the snapshot took the place of its reserve; free some space"));
        }
    }

    /// The snapshot is not written here any more. What is surely on the disk stays, to be salvaged; the rest is no more
    /// than the next store has, and may stand in the way of others.
    fn give_up(&mut self, why: String) -> Answer {
        if let Some((pending, _)) = self.snapshot.take()
            && !self.synced
        {
            // A disk that takes no bytes may not give up a name either.
            let _ = pending.discard();
        }
        Answer::Failed(why)
    }
}
