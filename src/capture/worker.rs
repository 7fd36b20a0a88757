//! The `capture` role: a process that was started, warmed up and locked in memory before anything
//! happened, takes a snapshot when told, and leaves when there is another one.
//!
//! One thread listens to the core, one writes the archive, the pool's threads collect. A collector
//! that hangs in the kernel pins this process after its work is done, and nobody waits for it. While the
//! machine gives no new process, the worker that took a snapshot takes the next one too.

use crate::capture::command_lines::Keeper;
use crate::capture::context::Shared;
use crate::capture::pool::Pool;
use crate::capture::protocol::{Message, Order};
use crate::capture::schedule::{self, Base};
use crate::capture::take::{Kit, Updates, take};
use crate::capture::{Spec, Tier, guard, registry};
use crate::config::Config;
use crate::host::Root;
use crate::model::{Deadline, Incident, IncidentId, Kind, Losses, Trigger, Wall};
use crate::store::Stores;
use crate::sys::capability::{self, Capability};
use crate::sys::ipc::{Channel, Received};
use crate::sys::{clock, memory};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often a store that failed, or has no reserve, is looked at again.
const REVISIT: Duration = Duration::from_secs(15);
/// How long a worker whose snapshot is published stays for a store that is slow.
const LINGER: Duration = Duration::from_secs(60);
/// Threads of the pool: three work, or six in the tier that mostly waits, the rest replaces those that hang.
const THREADS: usize = 10;
/// Threads for guarded reads: three lists at a time, and replacements for those that hang.
const GUARDS: usize = 6;

/// Runs the role until its one snapshot is published or the core is gone.
///
/// `command_lines`: the file in memory that the cache of command lines lies in.
pub fn run(channel: Channel, command_lines: Option<File>) -> io::Result<()> {
    memory::be_frugal();
    let mut buf = Vec::new();
    let preparation = match channel.recv::<Order>(&mut buf, None)? {
        Received::Message(Order::Prepare(p)) => p,
        _ => return Ok(()),
    };
    let channel = Arc::new(channel);
    let mut stores = Stores::start(&preparation.config.store, &preparation.avoid)?;
    let Some(mut store) = stores.settle() else {
        return channel.send(&Message::Failed { store: false, error: stores.why_none() });
    };
    let pool = Pool::new("collector", THREADS)?;
    guard::prepare(GUARDS)?;
    let held = capability::effective().unwrap_or_default();
    let config = Arc::new(preparation.config.clone());
    let mut own = Vec::new();
    memory::forget_code();
    if preparation.lock {
        warm_up(&config, &pool);
        if let Err(e) = memory::lock_on_fault() {
            own.push(format!("the capture worker is not locked in memory ({e}); raise LimitMEMLOCK or run as root"));
        }
    }
    let keeper = Keeper::start(command_lines, preparation.lock);
    let mut told = ready(&channel, &stores, store, &own)?;
    let updates = Updates::default();
    let orders = listen(Arc::clone(&channel), updates.clone(), &pool)?;
    loop {
        let wait = if stores.ailing(store) { REVISIT } else { Duration::MAX };
        match orders.recv_timeout(wait) {
            Ok(Order::Capture { incident, unfinished, collectors, earlier }) => {
                let mut notices = told.clone();
                notices.extend(earlier);
                let (config, stores, pool) = (Arc::clone(&config), &mut stores, &pool);
                let job = Job { config, stores, store, pool, held: &held, notices, updates: &updates, keeper: &keeper };
                if !job.capture(*incident, unfinished, collectors.as_deref(), &channel)? {
                    return Ok(());
                }
                memory::trim();
            }
            Ok(Order::Admit { store }) => stores.admit(&store),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(_) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let Some(now) = stores.revisit() else {
            return channel.send(&Message::Failed { store: false, error: stores.why_none() });
        };
        for note in stores.take_notes() {
            channel.send(&Message::Notice(note))?;
        }
        if now != store {
            store = now;
            told = ready(&channel, &stores, store, &own)?;
        }
    }
}

/// Says that a snapshot would go to `store` now; what was said about that.
fn ready(channel: &Channel, stores: &Stores, store: usize, own: &[String]) -> io::Result<Vec<String>> {
    let notices = [stores.notices(store), own.to_vec()].concat();
    channel.send(&Message::Ready { store: stores.dir(store).to_path_buf(), notices: notices.clone() })?;
    Ok(notices)
}

struct Job<'a> {
    config: Arc<Config>,
    stores: &'a mut Stores,
    store: usize,
    pool: &'a Pool,
    held: &'a [Capability],
    notices: Vec<String>,
    updates: &'a Updates,
    keeper: &'a Keeper,
}

impl Job<'_> {
    /// Takes one snapshot and tells of it; false when this process is no good for another one.
    fn capture(
        self,
        incident: Incident,
        unfinished: bool,
        only: Option<&[String]>,
        channel: &Channel,
    ) -> io::Result<bool> {
        let deadline = Deadline::after(clock::mono(), Duration::from_millis(self.config.capture.deadline_ms));
        let base = base(&self.config, incident, deadline);
        // Nobody else has set it.
        let _ = base.shared.command_lines.set(self.keeper.lines());
        let specs: Vec<&'static Spec> =
            registry::ALL.iter().copied().filter(|s| only.is_none_or(|o| o.iter().any(|n| n == s.name))).collect();
        let notes = self.notices;
        let (stores, store) = (&mut *self.stores, self.store);
        let kit = Kit { stores, store, pool: self.pool, held: self.held, updates: self.updates, unfinished, notes };
        // Progress may be dropped when the core is behind; the last message may not.
        let told = take(&base, &specs, kit, &mut |m| drop(channel.try_send(&m)));
        match told {
            Ok(published) => {
                channel.send(&Message::Published(published))?;
                // A slow store gets the snapshot as well, and nobody waits for that.
                self.stores.finish(LINGER);
                for notice in self.stores.take_notes() {
                    let _ = channel.try_send(&Message::Notice(notice));
                }
                Ok(true)
            }
            Err(e) => channel.send(&Message::Failed { store: true, error: e.to_string() }).map(|()| false),
        }
    }
}

fn base(config: &Arc<Config>, incident: Incident, deadline: Deadline) -> Base {
    Base {
        root: Root::real(),
        config: Arc::clone(config),
        incident: Arc::new(incident),
        shared: Arc::new(Shared::default()),
        deadline,
    }
}

/// Hears the core: what it learns while a capture runs goes into `updates`, orders come out.
fn listen(channel: Arc<Channel>, updates: Updates, pool: &Pool) -> io::Result<Receiver<Order>> {
    let (orders, ordered) = std::sync::mpsc::channel();
    pool.run(move || {
        let mut buf = Vec::new();
        while let Ok(received) = channel.recv::<Order>(&mut buf, None) {
            match received {
                Received::Message(Order::Update { event, recurrences, losses }) => {
                    updates.add(*event, recurrences, losses);
                }
                Received::Message(Order::Leave) | Received::Closed => return,
                Received::Message(order) => {
                    if matches!(order, Order::Capture { .. }) {
                        // What came late for the snapshot before is none of this one's.
                        updates.clear();
                    }
                    if orders.send(order).is_err() {
                        return;
                    }
                }
                Received::Empty => {}
            }
        }
    })?;
    Ok(ordered)
}

/// Runs the first tier once into nothing, so that its code, its buffers and the kernel's own caches
/// are in memory before the lock.
fn warm_up(config: &Arc<Config>, pool: &Pool) {
    let deadline = Deadline::after(clock::mono(), Duration::from_secs(5));
    let base = base(config, rehearsal(), deadline);
    let specs: Vec<&'static Spec> = registry::ALL.iter().copied().filter(|s| s.tier == Tier::T0).collect();
    let _ = schedule::run(&specs, &base, pool, &mut |_| {});
    // Before the heap is trimmed: it holds every process and every socket of the machine.
    drop(base);
    crate::archive::warm_up();
    crate::capture::content::warm_up();
    memory::trim();
}

pub(crate) fn rehearsal() -> Incident {
    Incident {
        format: 1,
        id: IncidentId("rehearse".into()),
        kind: Kind::Other,
        title: "rehearsal".into(),
        host: String::new(),
        captured_on: String::new(),
        local: true,
        opened_at: Wall(0),
        drill: true,
        boot_id: None,
        kernel: None,
        version: String::new(),
        trigger: Trigger::Manual { reason: "warm-up".into() },
        events: Vec::new(),
        follows: None,
        events_left_out: 0,
        recurrences: 0,
        losses: Losses::default(),
        limits: Vec::new(),
    }
}
