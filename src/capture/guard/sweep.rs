//! Work that may hang, item by item, on threads that may be given up.
//!
//! A read of /proc/PID/cmdline waits for the target's memory lock, a `stat` for its exec lock, a
//! netlink request for modprobe: one such item must not take the others with it. A guard runs a list
//! of items on worker threads and watches how long each is at its item. One that takes longer than
//! the limit is abandoned with its thread, where that thread waits in the kernel is kept as evidence,
//! and another thread goes on with the next item.
//!
//! The good case costs one thread and, per item, two atomic stores and a reading of the clock; there is
//! no hand-over per item. A thread that hangs in state D pins its process: guards are for processes
//! that may themselves be abandoned.

use crate::capture::guard::{reserve, where_held};
use crate::model::{Deadline, Mono};
use crate::sys::clock;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The limits of one sweep.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Longest that one item may take.
    pub per_item: Duration,
    /// After this many abandoned threads the remaining items are skipped.
    pub max_stuck: usize,
    /// Threads working side by side.
    pub workers: usize,
}

/// For files of one process: answered in 40 ms at most even under memory pressure, when answered at all.
pub const PER_PROCESS: Sweep = Sweep { per_item: Duration::from_millis(200), max_stuck: 8, workers: 1 };

/// For processes inside execve: those that can be read on this kernel are, and two that hang say that it cannot be.
pub const INSIDE_EXECVE: Sweep = Sweep { max_stuck: 2, workers: 2, ..PER_PROCESS };

/// Where one item hangs others may: from then on so many are looked at side by side, so that they cost their
/// limit once and not each.
const SIDE_BY_SIDE: usize = 4;

/// An item that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub index: usize,
    /// Where our own thread waits: `wchan=… syscall=… stack=…`.
    pub place: String,
}

/// Tells the watcher that a long item goes on: one process may have 10,000 threads or 65,536 descriptors.
pub struct Beat<'a>(&'a Slot);

impl Beat<'_> {
    /// From here the item has its full time again. Costs a reading of the clock.
    pub fn tick(&self) {
        self.0.since.store(clock::mono().0, Ordering::Release);
    }
}

/// What a sweep brought.
#[derive(Debug)]
pub struct Swept<O> {
    /// One per item, in order; `None` where the item hung, was skipped or panicked.
    pub results: Vec<Option<O>>,
    pub stuck: Vec<Stuck>,
    /// Items not tried: too many threads were stuck, or the time was up.
    pub skipped: usize,
    pub panicked: usize,
}

/// Shared by the workers of one sweep and their watcher.
struct Common<I, O> {
    items: Arc<Vec<I>>,
    next: AtomicUsize,
    stop: AtomicBool,
    results: Mutex<Vec<Option<O>>>,
    panicked: AtomicUsize,
    /// Workers that have left; signalled through `left`.
    gone: Mutex<usize>,
    left: Condvar,
}

/// One worker as its watcher sees it.
struct Slot {
    tid: AtomicI32,
    /// Index of its item plus 1; 0 between items.
    at: AtomicUsize,
    since: AtomicU64,
    abandoned: AtomicBool,
    finished: AtomicBool,
}

/// Nothing in here panics while it holds a lock; a poisoned one is still good.
fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sweep {
    /// Runs `job` once for each item. `scratch` makes what a worker keeps between its items (buffers).
    /// Returns when all items are done, given up or skipped, at the latest at `deadline` plus one
    /// `per_item`. A process that cannot start threads (task limit reached) does the work itself,
    /// unguarded: the supervisor still watches it.
    pub fn sweep<I, O, S>(
        &self,
        items: Arc<Vec<I>>,
        deadline: Deadline,
        scratch: fn() -> S,
        job: impl Fn(&mut S, &I, &Beat) -> O + Send + Sync + 'static,
    ) -> Swept<O>
    where
        I: Send + Sync + 'static,
        O: Send + 'static,
        S: 'static,
    {
        let job = Arc::new(job);
        let common = Arc::new(Common {
            results: Mutex::new(items.iter().map(|_| None).collect()),
            items,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            panicked: AtomicUsize::new(0),
            gone: Mutex::new(0),
            left: Condvar::new(),
        });
        let mut slots: Vec<Arc<Slot>> = Vec::new();
        for _ in 0..self.workers.max(1) {
            if !start(&common, &job, scratch, &mut slots) && slots.is_empty() {
                let slot = new_slot();
                work(&common, &*job, scratch, &slot, Some(deadline));
                slots.push(slot);
            }
        }
        let mut stuck = Vec::new();
        loop {
            let now = clock::mono();
            let mut active = 0;
            let mut replace = 0;
            for slot in
                slots.iter().filter(|s| !s.finished.load(Ordering::Acquire) && !s.abandoned.load(Ordering::Relaxed))
            {
                let at = slot.at.load(Ordering::Acquire);
                let busy = now.since(Mono(slot.since.load(Ordering::Acquire)));
                // `at` is read again: it may have gone on to another item between the two loads.
                let late = at != 0 && busy > self.per_item;
                if late && !self.only_starved(slot, busy) && slot.at.load(Ordering::Acquire) == at {
                    slot.abandoned.store(true, Ordering::Release);
                    stuck
                        .push(Stuck { index: at - 1, place: where_held(slot.tid.load(Ordering::Relaxed)).to_string() });
                    replace += 1;
                } else {
                    active += 1;
                }
            }
            if stuck.len() >= self.max_stuck || deadline.passed(now) {
                common.stop.store(true, Ordering::Release);
            } else if common.next.load(Ordering::Relaxed) < common.items.len() {
                let wanted = if stuck.is_empty() { 0 } else { SIDE_BY_SIDE.min(self.max_stuck - stuck.len()) };
                for _ in 0..replace.max(wanted.saturating_sub(active)) {
                    active += usize::from(start(&common, &job, scratch, &mut slots));
                }
            }
            if active == 0 {
                break;
            }
            let gone = lock(&common.gone);
            if slots.iter().any(|s| !s.finished.load(Ordering::Acquire) && !s.abandoned.load(Ordering::Relaxed)) {
                // Woken when a worker leaves, else looking again after a part of the limit.
                drop(common.left.wait_timeout(gone, self.per_item / 4));
            }
        }
        let tried = common.next.load(Ordering::Relaxed).min(common.items.len());
        let results = std::mem::take(&mut *lock(&common.results));
        Swept { results, stuck, skipped: common.items.len() - tried, panicked: common.panicked.load(Ordering::Relaxed) }
    }

    /// A thread that is late because it gets no CPU is not stuck: on a machine with a load of hundreds that
    /// is the normal case. Ten times the limit is the end of patience.
    fn only_starved(&self, slot: &Slot, busy: Duration) -> bool {
        busy < self.per_item * 10 && is_runnable(slot.tid.load(Ordering::Relaxed))
    }

    /// One piece of work under this guard's limit. Err: where it hung, or that it panicked.
    pub fn run<O: Send + 'static>(&self, job: impl Fn() -> O + Send + Sync + 'static) -> Result<O, String> {
        let deadline = Deadline::after(clock::mono(), self.per_item);
        let one = Sweep { workers: 1, ..*self };
        let mut swept = one.sweep(Arc::new(vec![()]), deadline, || (), move |(), (), _| job());
        match swept.results.pop().flatten() {
            Some(o) => Ok(o),
            None => Err(swept.stuck.pop().map_or_else(|| "it panicked".into(), |s| s.place)),
        }
    }
}

fn new_slot() -> Arc<Slot> {
    Arc::new(Slot {
        tid: AtomicI32::new(0),
        at: AtomicUsize::new(0),
        since: AtomicU64::new(clock::mono().0),
        abandoned: AtomicBool::new(false),
        finished: AtomicBool::new(false),
    })
}

/// Starts a worker; false where no thread can be had.
fn start<I, O, S>(
    common: &Arc<Common<I, O>>,
    job: &Arc<impl Fn(&mut S, &I, &Beat) -> O + Send + Sync + 'static>,
    scratch: fn() -> S,
    slots: &mut Vec<Arc<Slot>>,
) -> bool
where
    I: Send + Sync + 'static,
    O: Send + 'static,
    S: 'static,
{
    let slot = new_slot();
    let (theirs, common, job) = (Arc::clone(&slot), Arc::clone(common), Arc::clone(job));
    let body = move || work(&common, &*job, scratch, &theirs, None);
    let started = reserve::start(body).is_ok();
    if started {
        slots.push(slot);
    }
    started
}

fn work<I, O, S>(
    common: &Common<I, O>,
    job: &impl Fn(&mut S, &I, &Beat) -> O,
    scratch: fn() -> S,
    slot: &Slot,
    unguarded_until: Option<Deadline>,
) {
    slot.tid.store(nix::unistd::gettid().as_raw(), Ordering::Relaxed);
    let mut kept = scratch();
    while !common.stop.load(Ordering::Acquire) && !slot.abandoned.load(Ordering::Acquire) {
        let now = clock::mono();
        if unguarded_until.is_some_and(|d| d.passed(now)) {
            break;
        }
        let index = common.next.fetch_add(1, Ordering::Relaxed);
        let Some(item) = common.items.get(index) else { break };
        slot.since.store(now.0, Ordering::Release);
        slot.at.store(index + 1, Ordering::Release);
        let result = catch_unwind(AssertUnwindSafe(|| job(&mut kept, item, &Beat(slot))));
        slot.at.store(0, Ordering::Release);
        match result {
            Ok(o) => {
                // After the sweep the list is empty: a late result is dropped.
                if let Some(place) = lock(&common.results).get_mut(index) {
                    *place = Some(o);
                }
            }
            Err(_) => {
                common.panicked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    slot.finished.store(true, Ordering::Release);
    *lock(&common.gone) += 1;
    common.left.notify_one();
}

/// Whether one of our own threads runs or waits for a CPU.
fn is_runnable(tid: i32) -> bool {
    let stat = crate::host::Root::real().read(format!("/proc/self/task/{tid}/stat"), 2048);
    stat.ok().and_then(|c| crate::host::stat::parse_stat(&c.bytes)).is_some_and(|s| s.state == b'R')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn soon() -> Deadline {
        Deadline::after(clock::mono(), Duration::from_secs(20))
    }

    #[test]
    fn items_come_back_in_order_and_a_panic_costs_one() {
        for workers in [1, 3] {
            let items = Arc::new((0..500u32).collect::<Vec<_>>());
            let guard = Sweep { workers, ..PER_PROCESS };
            let swept = guard.sweep(
                items,
                soon(),
                || 0u32,
                |n, i, _| {
                    *n += 1;
                    assert!(*i != 77, "a job that panics on purpose");
                    *i * 2
                },
            );
            assert_eq!((swept.panicked, swept.skipped, swept.stuck.len()), (1, 0, 0));
            for (i, r) in swept.results.iter().enumerate() {
                assert_eq!(*r, (i != 77).then_some(i as u32 * 2));
            }
        }
    }

    #[test]
    fn a_hanging_item_is_given_up_and_the_rest_done() {
        // A read of an empty pipe hangs until the test lets it go.
        let (reader, writer) = nix::unistd::pipe().expect("pipe");
        let reader = Arc::new(reader);
        let guard = Sweep { per_item: Duration::from_millis(60), max_stuck: 3, workers: 1 };
        let items = Arc::new((0..50usize).collect::<Vec<_>>());
        let r = Arc::clone(&reader);
        let began = clock::mono();
        let swept = guard.sweep(
            items,
            soon(),
            || (),
            move |(), i, _| {
                if *i == 5 || *i == 9 {
                    let _ = nix::unistd::read(r.as_fd(), &mut [0u8; 1]);
                }
                *i
            },
        );
        assert!(clock::mono().since(began) < Duration::from_secs(10));
        assert_eq!(swept.stuck.iter().map(|s| s.index).collect::<Vec<_>>(), [5, 9]);
        assert!(swept.stuck[0].place.contains("syscall=") || swept.stuck[0].place.contains("kernel"), "{swept:?}");
        assert_eq!(swept.results.iter().flatten().count(), 48);
        assert_eq!(swept.skipped, 0);
        drop(writer);
    }

    #[test]
    fn a_long_item_that_goes_on_and_one_that_only_computes_are_not_given_up() {
        let guard = Sweep { per_item: Duration::from_millis(50), max_stuck: 1, workers: 1 };
        let (reader, _writer) = nix::unistd::pipe().expect("pipe");
        let swept = guard.sweep(
            Arc::new(vec![0, 1]),
            soon(),
            || (),
            move |(), i, beat| {
                let from = clock::mono();
                while clock::mono().since(from) < Duration::from_millis(150) {
                    if *i == 0 {
                        // Waits, but says so.
                        let _ = crate::sys::ipc::wait_readable(reader.as_fd(), Some(Duration::from_millis(10)));
                        beat.tick();
                    }
                }
            },
        );
        assert_eq!((swept.stuck.len(), swept.results.iter().flatten().count()), (0, 2), "{swept:?}");
    }

    #[test]
    fn too_many_hanging_items_end_the_sweep() {
        let (reader, writer) = nix::unistd::pipe().expect("pipe");
        let reader = Arc::new(reader);
        let guard = Sweep { per_item: Duration::from_millis(40), max_stuck: 2, workers: 1 };
        let r = Arc::clone(&reader);
        let swept = guard.sweep(
            Arc::new(vec![(); 10]),
            soon(),
            || (),
            move |(), (), _| {
                let _ = nix::unistd::read(r.as_fd(), &mut [0u8; 1]);
            },
        );
        assert_eq!((swept.stuck.len(), swept.skipped), (2, 8));
        drop(writer);
        assert_eq!(PER_PROCESS.run(|| 7), Ok(7));
        assert!(PER_PROCESS.run(|| panic!("on purpose")).is_err());
    }
}
