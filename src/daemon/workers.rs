//! The capture workers: always one spare, ready before anything happens; the ones at work; and what
//! to do when one fails, dies or does not get its bytes to the disk.

use crate::capture::protocol::{Message, Order, Preparation, Published, fit_event, fit_incident};
use crate::capture::registry;
use crate::config::Config;
use crate::daemon::children::{Abandoned, spawn_capture};
use crate::daemon::poller::{Poller, Token};
use crate::daemon::veterans::{Veterans, Worker};
use crate::model::{EVENTS_MAX, Event, Incident, IncidentId, Losses, Mono};
use crate::store;
use crate::sys::ipc::Received;
use crate::sys::memfd;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Captures at the same time; more would take the disk from each other.
const ACTIVE_MAX: usize = 2;
/// Incidents that wait for a worker.
const QUEUE_MAX: usize = 8;
/// A worker gives a store three seconds and goes on to the next by itself (`store/relay.rs`). One whose first tier is on
/// no disk by then is stuck itself, or all of its stores are.
const T0_MAX: Duration = Duration::from_secs(15);
/// What publishing may take beyond the capture's own deadline.
const PUBLISH_MAX: Duration = Duration::from_secs(15);
/// Events kept until their worker says that they are in its snapshot.
const TOLD_MAX: usize = EVENTS_MAX;
/// Bytes of their text; what is beyond is known by its title alone.
const TOLD_TEXT_MAX: usize = 1 << 20;
/// Attempts for one incident, over all stores.
const ATTEMPTS_MAX: usize = 4;
/// Most characters of a failed attempt's reason that the next one is told.
const EARLIER_MAX: usize = 500;
/// Stuck workers that are tolerated before no new spare is started, and captures leave out what may hang.
const STUCK_MAX: usize = 4;
const SAFE_ONLY: &str = "no files, devices or programs of the host";
const RESPAWN_WAIT: Duration = Duration::from_secs(2);
const RESPAWN_WAIT_MAX: Duration = Duration::from_secs(60);

/// One attempt at one incident.
#[derive(Debug)]
struct Try {
    incident: Box<Incident>,
    /// The trigger's complete report is still to come.
    unfinished: bool,
    attempt: usize,
    /// Stores to leave out, because attempts before failed there.
    avoid: Vec<PathBuf>,
    /// Why the attempts before failed.
    earlier: Vec<String>,
}

impl Try {
    fn first(incident: Box<Incident>, unfinished: bool) -> Try {
        Try { incident, unfinished, attempt: 1, avoid: Vec::new(), earlier: Vec::new() }
    }
}

#[derive(Debug)]
struct Active {
    worker: Worker,
    this: Try,
    ordered_at: Mono,
    t0_durable: bool,
    /// Events that the worker was told of meanwhile; it may have been too late for them.
    told: Vec<Event>,
}

/// Why an attempt failed; `store`: another store may do better.
#[derive(Debug)]
struct Fault {
    store: bool,
    /// The store, where it is known.
    place: Option<PathBuf>,
    error: String,
}

/// What came of the workers, for the core to tell.
#[derive(Debug)]
pub enum News {
    Ready {
        store: PathBuf,
        notices: Vec<String>,
    },
    Published {
        published: Published,
        incident: Box<Incident>,
        /// Told to the worker when its manifest was written already: in no snapshot yet.
        late: Vec<Event>,
    },
    /// The first tier is on the disk, so many milliseconds after the order.
    Durable {
        id: IncidentId,
        ms: u64,
    },
    /// One attempt failed; another follows.
    Retry {
        id: IncidentId,
        error: String,
    },
    /// No snapshot of this incident.
    Lost {
        incident: Box<Incident>,
        error: String,
    },
    Notice(String),
}

/// What each call works with: the loop's time, its poller, its morgue and its ear.
#[derive(Debug)]
pub struct Ground<'a> {
    pub now: Mono,
    pub poller: &'a mut Poller,
    pub abandoned: &'a mut Abandoned,
    pub news: &'a mut Vec<News>,
}

#[derive(Debug)]
pub struct Workers {
    config: Config,
    /// The file in memory with the cache of command lines, which one worker after the other keeps.
    command_lines: Option<OwnedFd>,
    spare: Option<Worker>,
    spare_retry_at: Mono,
    /// How long the next replacement of a spare waits; grows while they fail.
    respawn_wait: Duration,
    /// Why the last spare was lost, as told.
    spare_error: Option<String>,
    active: Vec<Active>,
    veterans: Veterans,
    /// Incidents without a worker, and when one is tried again.
    queue: VecDeque<Try>,
    start_retry_at: Mono,
    /// Why no worker could be started, as told.
    start_error: Option<String>,
    /// Stores in which a worker is stuck, with its pid: nobody else is sent there until it has ended.
    hung: Vec<(PathBuf, i32)>,
    /// Incidents dropped because the queue was full.
    pub overflow: u64,
}

impl Workers {
    pub fn new(config: Config) -> Workers {
        Workers {
            config,
            // Without it a hung process has no command line, which its entry says.
            command_lines: memfd::create(c"lastgasp-command-lines").ok(),
            spare: None,
            spare_retry_at: Mono(0),
            respawn_wait: Duration::ZERO,
            spare_error: None,
            active: Vec::new(),
            veterans: Veterans::default(),
            queue: VecDeque::new(),
            start_retry_at: Mono(0),
            start_error: None,
            hung: Vec::new(),
            overflow: 0,
        }
    }

    /// The file of the cache of command lines.
    pub fn command_lines(&self) -> Option<BorrowedFd<'_>> {
        self.command_lines.as_ref().map(|file| file.as_fd())
    }

    pub fn spare_ready(&self) -> bool {
        self.spare.as_ref().is_some_and(|s| s.store.is_some())
    }

    pub fn busy(&self) -> bool {
        !self.active.is_empty() || !self.queue.is_empty()
    }

    pub fn active_ids(&self) -> Vec<IncidentId> {
        self.active.iter().map(|a| a.this.incident.id.clone()).collect()
    }

    /// Starts what waits and keeps a spare.
    pub fn ensure(&mut self, g: &mut Ground<'_>) {
        while self.active.len() < ACTIVE_MAX
            && g.now >= self.start_retry_at
            && let Some(this) = self.queue.pop_front()
        {
            self.start(this, g);
        }
        if self.spare_ready() {
            self.veterans.dismiss(g.now);
        }
        self.veterans.give_up_late(g.now, g.poller, g.abandoned);
        let stuck = self.stuck(g.abandoned);
        self.admit(g.abandoned);
        if self.spare.is_some() || g.now < self.spare_retry_at || stuck >= STUCK_MAX {
            return;
        }
        self.spare_retry_at = g.now.plus(RESPAWN_WAIT);
        match self.spawn(Vec::new(), true, g.poller) {
            Ok(worker) => self.spare = Some(worker),
            Err(e) => g.news.push(News::Notice(format!("start a spare capture worker: {e}; tried again"))),
        }
    }

    /// Workers that do not end.
    fn stuck(&self, abandoned: &mut Abandoned) -> usize {
        abandoned.reap() + self.veterans.leaving()
    }

    /// Workers that were told to leave some time ago and have not: a healthy one takes milliseconds.
    pub fn lingering(&self, now: Mono) -> usize {
        self.veterans.lingering(now)
    }

    /// Stores in which nobody is stuck any more may be tried again.
    fn admit(&mut self, abandoned: &Abandoned) {
        let (still, free): (Vec<_>, Vec<_>) = std::mem::take(&mut self.hung)
            .into_iter()
            .partition(|(_, pid)| abandoned.has(*pid) || self.veterans.has(*pid));
        self.hung = still;
        for (store, _) in free {
            if let Some(spare) = self.spare.as_ref().filter(|_| self.hung.iter().all(|(s, _)| *s != store)) {
                // One that does not hear is replaced when it is needed.
                let _ = spare.child.channel.try_send(&Order::Admit { store });
            }
        }
    }

    fn spawn(&self, mut avoid: Vec<PathBuf>, lock: bool, poller: &mut Poller) -> io::Result<Worker> {
        avoid.extend(self.hung.iter().map(|(store, _)| store.clone()));
        let child = spawn_capture(self.command_lines.as_ref())?;
        poller.add(&child.channel, Token::Worker(child.pid.0))?;
        child.channel.try_send(&Order::Prepare(Box::new(Preparation { config: self.config.clone(), avoid, lock })))?;
        Ok(Worker { child, store: None })
    }

    /// Takes a snapshot of `incident`, now or as soon as a worker is free.
    pub fn order(&mut self, incident: Box<Incident>, unfinished: bool, g: &mut Ground<'_>) {
        if self.active.len() < ACTIVE_MAX {
            self.start(Try::first(incident, unfinished), g);
        } else if self.queue.len() < QUEUE_MAX {
            self.queue.push_back(Try::first(incident, unfinished));
        } else {
            self.overflow += 1;
            g.news.push(News::Lost { incident, error: format!("{QUEUE_MAX} incidents wait already") });
        }
    }

    fn start(&mut self, mut this: Try, g: &mut Ground<'_>) {
        let worker = match self.ready(&this.avoid).map_or_else(|| self.spawn(this.avoid.clone(), false, g.poller), Ok) {
            Ok(w) => w,
            Err(e) => return self.wait_for_a_worker(this, &e, g),
        };
        self.start_error = None;
        fit_incident(&mut this.incident);
        // What made the others hang would make this one hang too.
        let stuck = self.stuck(g.abandoned);
        let safe = stuck >= STUCK_MAX;
        let before = this.earlier.iter().map(|e| format!("an attempt before this one failed: {e}"));
        let mut earlier: Vec<String> = before.collect();
        if safe {
            earlier
                .push(format!("{stuck} workers hang in the kernel: only what cannot hang is collected ({SAFE_ONLY})"));
        }
        let order = Order::Capture {
            incident: this.incident.clone(),
            unfinished: this.unfinished,
            collectors: safe.then(|| registry::SAFE.iter().map(|s| s.name.to_owned()).collect()),
            earlier,
        };
        if let Err(e) = worker.child.channel.try_send(&order) {
            worker.give_up(g.poller, g.abandoned);
            self.again(this, Fault { store: false, place: None, error: format!("order the capture: {e}") }, g);
            return;
        }
        self.active.push(Active { worker, this, ordered_at: g.now, t0_durable: false, told: Vec::new() });
    }

    /// A worker that is there already: the spare, or one that stands in for it.
    fn ready(&mut self, avoid: &[PathBuf]) -> Option<Worker> {
        let spare = if avoid.is_empty() { self.spare.take() } else { None };
        spare.or_else(|| self.veterans.stand_in(avoid))
    }

    /// No process can be had: the incident is not lost, it waits.
    fn wait_for_a_worker(&mut self, this: Try, error: &io::Error, g: &mut Ground<'_>) {
        self.start_retry_at = g.now.plus(RESPAWN_WAIT);
        if self.queue.len() >= QUEUE_MAX {
            self.overflow += 1;
            let error = format!("start a capture worker: {error}, and {QUEUE_MAX} incidents wait already");
            g.news.push(News::Lost { incident: this.incident, error });
            return;
        }
        let error = format!("start a capture worker: {error}");
        if self.start_error.as_ref() != Some(&error) {
            g.news.push(News::Notice(format!("{error}; the incident waits, it is tried again and again")));
            self.start_error = Some(error);
        }
        self.queue.push_front(this);
    }

    /// Another attempt, if one is left.
    fn again(&mut self, mut failed: Try, fault: Fault, g: &mut Ground<'_>) {
        if failed.attempt >= ATTEMPTS_MAX {
            g.news.push(News::Lost { incident: failed.incident, error: fault.error });
            return;
        }
        // A packet has room for a few of them.
        failed.earlier.push(fault.error.chars().take(EARLIER_MAX).collect());
        g.news.push(News::Retry { id: failed.incident.id.clone(), error: fault.error });
        // A worker that was killed deserves the same store again; one that could not write does not.
        if fault.store {
            let place = fault.place.or_else(|| self.next_store(&failed.avoid));
            failed.avoid.extend(place);
        }
        self.start(Try { attempt: failed.attempt + 1, ..failed }, g);
    }

    /// Where a worker that never became ready was trying to write.
    fn next_store(&self, avoid: &[PathBuf]) -> Option<PathBuf> {
        store::candidates(&self.config.store, None).into_iter().find(|d| !avoid.contains(d))
    }

    /// Tells the worker of incident `id` more; false when it is not at work any more.
    pub fn update(&mut self, id: &IncidentId, event: &Event, recurrences: u64, losses: &Losses) -> bool {
        let mut event = Box::new(event.clone());
        fit_event(&mut event);
        if let Some(waiting) = self.queue.iter_mut().find(|t| t.incident.id == *id) {
            waiting.incident.learn(*event);
            waiting.unfinished = false;
            return true;
        }
        let Some(active) = self.active.iter_mut().find(|a| a.this.incident.id == *id) else { return false };
        // Kept here too, for an attempt with another worker.
        active.this.incident.learn((*event).clone());
        active.this.unfinished = false;
        if active.told.len() < TOLD_MAX {
            let mut kept = (*event).clone();
            let bytes = |e: &Event| e.text.iter().map(String::len).sum::<usize>();
            if active.told.iter().map(bytes).sum::<usize>() + bytes(&kept) > TOLD_TEXT_MAX {
                kept.leave_text_out();
            }
            active.told.push(kept);
        }
        active.worker.child.channel.try_send(&Order::Update { event, recurrences, losses: losses.clone() }).is_ok()
    }

    /// Hears the worker with this pid.
    pub fn hear(&mut self, pid: i32, buf: &mut Vec<u8>, g: &mut Ground<'_>) {
        loop {
            let Some(worker) = self.find(pid) else { return };
            match worker.child.channel.try_recv::<Message>(buf) {
                Ok(Received::Empty) => return,
                Ok(Received::Message(m)) => self.take(pid, m, g),
                Ok(Received::Closed) | Err(_) => {
                    let error = "the capture worker ended without a snapshot".into();
                    self.gone(pid, Fault { store: false, place: None, error }, g);
                    return;
                }
            }
        }
    }

    fn find(&mut self, pid: i32) -> Option<&mut Worker> {
        let veterans = self.veterans.workers();
        let active = self.active.iter_mut().map(|a| &mut a.worker);
        self.spare.iter_mut().chain(active).chain(veterans).find(|w| w.child.pid.0 == pid)
    }

    fn take(&mut self, pid: i32, message: Message, g: &mut Ground<'_>) {
        match message {
            Message::Ready { store, notices } => {
                if let Some(w) = self.find(pid) {
                    w.store = Some(store.clone());
                }
                (self.respawn_wait, self.spare_error) = (Duration::ZERO, None);
                g.news.push(News::Ready { store, notices });
            }
            Message::Durable { ms, .. } => {
                if let Some(a) = self.active.iter_mut().find(|a| a.worker.child.pid.0 == pid)
                    && !std::mem::replace(&mut a.t0_durable, true)
                {
                    g.news.push(News::Durable { id: a.this.incident.id.clone(), ms });
                }
            }
            Message::Published(published) => {
                if let Some(at) = self.active.iter().position(|a| a.worker.child.pid.0 == pid) {
                    let done = self.active.swap_remove(at);
                    self.hung.extend(published.hung.iter().map(|store| (store.clone(), pid)));
                    self.veterans.push(done.worker, !published.hung.is_empty());
                    let missed = |e: &Event| !published.learned.contains(&e.number);
                    let late = done.told.into_iter().filter(missed).collect();
                    g.news.push(News::Published { published, incident: done.this.incident, late });
                }
            }
            Message::Failed { error, store, .. } => self.gone(pid, Fault { store, place: None, error }, g),
            Message::Notice(text) => g.news.push(News::Notice(text)),
            Message::Started { .. } | Message::Ended { .. } => {}
        }
    }

    /// A worker failed, died or is given up.
    fn gone(&mut self, pid: i32, fault: Fault, g: &mut Ground<'_>) {
        if let Some(spare) = self.spare.take_if(|w| w.child.pid.0 == pid) {
            spare.give_up(g.poller, g.abandoned);
            // One that fails like the one before waits longer and is not told again.
            self.respawn_wait = (self.respawn_wait * 2).clamp(RESPAWN_WAIT, RESPAWN_WAIT_MAX);
            self.spare_retry_at = g.now.plus(self.respawn_wait);
            if self.spare_error.as_ref() != Some(&fault.error) {
                let text =
                    format!("the spare capture worker is gone ({}); a new one is tried again and again", fault.error);
                g.news.push(News::Notice(text));
                self.spare_error = Some(fault.error);
            }
            return;
        }
        self.veterans.gone(pid, g.poller, g.abandoned);
        let Some(at) = self.active.iter().position(|a| a.worker.child.pid.0 == pid) else { return };
        let failed = self.active.swap_remove(at);
        let place = failed.worker.store.clone();
        failed.worker.give_up(g.poller, g.abandoned);
        self.again(failed.this, Fault { place, ..fault }, g);
    }

    /// Gives up workers that overran their time.
    pub fn check_deadlines(&mut self, g: &mut Ground<'_>) {
        let whole = Duration::from_millis(self.config.capture.deadline_ms) + PUBLISH_MAX;
        let late: Vec<(i32, &'static str)> = self
            .active
            .iter()
            .filter_map(|a| {
                let spent = g.now.since(a.ordered_at);
                let pid = a.worker.child.pid.0;
                match (a.t0_durable, spent) {
                    (false, s) if s > T0_MAX => Some((pid, "the snapshot's first tier did not reach the disk in time")),
                    (_, s) if s > whole => Some((pid, "the snapshot was not published in time")),
                    _ => None,
                }
            })
            .collect();
        for (pid, why) in late {
            self.gone(pid, Fault { store: true, place: None, error: why.into() }, g);
        }
    }

    /// When [`Workers::check_deadlines`] or [`Workers::ensure`] has something to do.
    pub fn next_due(&self, now: Mono) -> Option<Mono> {
        if !self.active.is_empty() || !self.veterans.is_empty() {
            return Some(now.plus(Duration::from_secs(1)));
        }
        let queued = (!self.queue.is_empty()).then_some(self.start_retry_at);
        let spare = self.spare.is_none().then_some(self.spare_retry_at);
        queued.into_iter().chain(spare).min()
    }
}
