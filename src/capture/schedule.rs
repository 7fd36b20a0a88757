//! Runs the collectors of one tier side by side, each against its deadline, and hands what they
//! deliver to one place in one order. Never waits for a collector beyond its deadline.

use crate::capture::context::Shared;
use crate::capture::guard::where_held;
use crate::capture::pool::Pool;
use crate::capture::sink::{Delivery, Item};
use crate::capture::{CollectError, Context, Sink, Source, Spec, Tier, files};
use crate::config::Config;
use crate::host::Root;
use crate::model::{Deadline, Incident, Missing, Mono, Outcome};
use crate::sys::clock;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// The tier of those that mostly wait (for a disk, a name server, a command, the next second) has so many times more of
/// them at the same time.
const WAITING_FACTOR: usize = 2;
/// Deliveries between collectors and writer; a collector waits when the writer is that far behind.
const QUEUE: usize = 32;

/// What the collectors of one capture share.
#[derive(Clone)]
pub struct Base {
    pub root: Root,
    pub config: Arc<Config>,
    pub incident: Arc<Incident>,
    pub shared: Arc<Shared>,
    /// When the whole capture must be published.
    pub deadline: Deadline,
}

/// How one collector went.
#[derive(Debug)]
pub struct Ran {
    pub spec_name: &'static str,
    pub outcome: Outcome,
    pub started_at: Mono,
    pub took: Duration,
    pub bytes: u64,
    pub entries: u64,
    pub missing: Vec<Missing>,
}

/// What the one place is told.
pub enum Step<'a> {
    Started(&'static str),
    Item(&'static str, Item),
    Ended(&'a Ran),
}

struct Running {
    index: usize,
    deadline: Deadline,
    cancelled: Arc<AtomicBool>,
    /// Thread id, 0 until it runs.
    tid: Arc<AtomicI32>,
    ran: Ran,
}

/// Runs `specs` and returns when each has ended or was given up. `on` gets every item, in the order
/// of delivery, and must not fail: what goes wrong there is the caller's to remember.
pub fn run(specs: &[&'static Spec], base: &Base, pool: &Pool, on: &mut dyn FnMut(Step<'_>)) -> Vec<Ran> {
    let (tx, rx) = sync_channel(QUEUE);
    let mut waiting: VecDeque<usize> = (0..specs.len()).collect();
    let waits = specs.iter().all(|s| s.tier == Tier::T2);
    let parallel = base.config.capture.parallel.max(1) as usize * if waits { WAITING_FACTOR } else { 1 };
    let mut running: Vec<Running> = Vec::new();
    let mut ended: Vec<Ran> = Vec::with_capacity(specs.len());
    loop {
        while running.len() < parallel
            && let Some(index) = waiting.pop_front()
        {
            match start(specs[index], index, base, pool, tx.clone()) {
                Ok(r) => {
                    on(Step::Started(specs[index].name));
                    running.push(r);
                }
                Err(ran) => end(*ran, &mut ended, on),
            }
        }
        if running.is_empty() {
            return ended;
        }
        next(&rx, specs, &mut running, &mut ended, on);
    }
}

/// Waits for one delivery, or until the earliest deadline.
fn next(
    rx: &Receiver<Delivery>,
    specs: &[&'static Spec],
    running: &mut Vec<Running>,
    ended: &mut Vec<Ran>,
    on: &mut dyn FnMut(Step<'_>),
) {
    let now = clock::mono();
    let wait = running.iter().map(|r| r.deadline.left(now)).min().unwrap_or_default();
    match rx.recv_timeout(wait) {
        Ok(Delivery::Item { collector, item }) => {
            if let Some(r) = running.iter_mut().find(|r| r.index == collector) {
                r.ran.bytes += item.content.size();
                r.ran.entries += 1;
                on(Step::Item(specs[collector].name, item));
            }
        }
        Ok(Delivery::Missing { collector, missing }) => {
            if let Some(r) = running.iter_mut().find(|r| r.index == collector) {
                r.ran.missing.push(missing);
            }
        }
        Ok(Delivery::Done { collector, result, truncated }) => {
            if let Some(at) = running.iter().position(|r| r.index == collector) {
                let mut ran = running.swap_remove(at).ran;
                ran.outcome = outcome(result, &truncated, specs[collector].cap_bytes);
                end(ran, ended, on);
            }
        }
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
    }
    let now = clock::mono();
    while let Some(at) = running.iter().position(|r| r.deadline.passed(now)) {
        let r = running.swap_remove(at);
        r.cancelled.store(true, Ordering::Relaxed);
        let mut ran = r.ran;
        let tid = r.tid.load(Ordering::Relaxed);
        let place = if tid == 0 { "did not get to run".into() } else { where_held(tid).to_string() };
        ran.outcome =
            Outcome::TimedOut(format!("given up after {} ms: {place}", now.since(ran.started_at).as_millis()));
        end(ran, ended, on);
    }
}

fn end(mut ran: Ran, ended: &mut Vec<Ran>, on: &mut dyn FnMut(Step<'_>)) {
    ran.took = clock::mono().since(ran.started_at);
    on(Step::Ended(&ran));
    ended.push(ran);
}

fn start(
    spec: &'static Spec,
    index: usize,
    base: &Base,
    pool: &Pool,
    tx: SyncSender<Delivery>,
) -> Result<Running, Box<Ran>> {
    let now = clock::mono();
    let ran = |outcome| Ran {
        spec_name: spec.name,
        outcome,
        started_at: now,
        took: Duration::ZERO,
        bytes: 0,
        entries: 0,
        missing: Vec::new(),
    };
    if base.config.capture.skip.iter().any(|s| s == spec.name) {
        return Err(Box::new(ran(Outcome::Skipped("the config says so (capture.skip)".into()))));
    }
    if base.deadline.passed(now) {
        let why = "the time of the whole capture was up (capture.deadline)";
        return Err(Box::new(ran(Outcome::Skipped(why.into()))));
    }
    let deadline = Deadline::after(now, Duration::from_millis(spec.limit_ms)).earlier(base.deadline);
    let (cancelled, tid) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
    let context = Context {
        root: base.root.clone(),
        config: Arc::clone(&base.config),
        incident: Arc::clone(&base.incident),
        deadline,
        cancelled: Arc::clone(&cancelled),
        shared: Arc::clone(&base.shared),
    };
    let mine = Arc::clone(&tid);
    let job = move || {
        mine.store(nix::unistd::gettid().as_raw(), Ordering::Relaxed);
        let mut sink = Sink::new(index, spec.cap_bytes, tx);
        let result = catch_unwind(AssertUnwindSafe(|| collect(spec, &context, &mut sink)));
        sink.done(result.unwrap_or_else(|panic| Err(panicked(&*panic))));
    };
    match pool.run(job) {
        Ok(()) => Ok(Running { index, deadline, cancelled, tid, ran: ran(Outcome::Complete) }),
        Err(e) => Err(Box::new(ran(Outcome::Failed(format!("start a thread for it: {e}"))))),
    }
}

fn collect(spec: &Spec, context: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    match spec.source {
        Source::Files(list) => files::collect(list, context, sink),
        Source::Run(function) => function(context, sink),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> CollectError {
    let text =
        panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    CollectError::Failed {
        operation: "a bug in this collector (it panicked)".into(),
        cause: std::io::Error::other(text.unwrap_or_else(|| "no message".into())),
    }
}

fn outcome(result: Result<(), CollectError>, truncated: &[String], cap_bytes: u64) -> Outcome {
    match result {
        Ok(()) if truncated.is_empty() => Outcome::Complete,
        Ok(()) => Outcome::Truncated(format!("cut at a cap: {}", names(truncated))),
        Err(CollectError::Stopped(_)) => {
            Outcome::Truncated(format!("cap of {cap_bytes} bytes reached: {}", names(truncated)))
        }
        Err(CollectError::Skipped(why)) => Outcome::Skipped(why),
        Err(e @ CollectError::Failed { .. }) => Outcome::Failed(e.to_string()),
    }
}

/// The first few of many.
fn names(list: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = list.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if list.len() > SHOWN { format!("{shown} and {} more", list.len() - SHOWN) } else { shown }
}
