//! The `capture` role: a process that was started, warmed up and locked in memory before anything
//! happened, takes one snapshot when told, and ends.
//!
//! One thread listens to the core, one writes the archive, the pool's threads collect. A collector
//! that hangs in the kernel pins this process after its work is done, and nobody waits for it.

use crate::capture::context::Shared;
use crate::capture::pool::Pool;
use crate::capture::protocol::{Message, Order};
use crate::capture::schedule::{self, Base};
use crate::capture::take::{Kit, Updates, take};
use crate::capture::{Spec, Tier, registry};
use crate::config::Config;
use crate::host::Root;
use crate::model::{Deadline, Incident, IncidentId, Kind, Losses, Trigger, Wall};
use crate::store::{self, Store};
use crate::sys::capability::{self, Capability};
use crate::sys::ipc::{Channel, Received};
use crate::sys::{clock, memory};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Threads of the pool: three work, the rest replaces those that hang.
const THREADS: usize = 10;

/// Runs the role until its one snapshot is published or the core is gone.
pub fn run(channel: Channel) -> io::Result<()> {
    let mut buf = Vec::new();
    let preparation = match channel.recv::<Order>(&mut buf, None)? {
        Received::Message(Order::Prepare(p)) => p,
        _ => return Ok(()),
    };
    let channel = Arc::new(channel);
    let (store, notices) = match store::open_except(&preparation.config.store, &preparation.avoid) {
        Ok(opened) => opened,
        Err(e) => return channel.send(&Message::Failed { store: false, error: e.to_string() }),
    };
    let pool = Pool::new(THREADS)?;
    let held = capability::effective().unwrap_or_default();
    let config = Arc::new(preparation.config.clone());
    let mut notices = notices;
    if preparation.lock {
        warm_up(&config, &pool);
        if let Err(e) = memory::lock_on_fault() {
            notices
                .push(format!("the capture worker is not locked in memory ({e}); raise LimitMEMLOCK or run as root"));
        }
    }
    channel.send(&Message::Ready { store: store.dir().to_path_buf(), notices: notices.clone() })?;
    loop {
        match channel.recv::<Order>(&mut buf, None)? {
            Received::Message(Order::Capture { incident, unfinished, collectors, earlier }) => {
                notices.extend(earlier.iter().map(|e| format!("an attempt before this one failed: {e}")));
                let job = Job { config, store: &store, pool: &pool, held: &held, notices };
                return job.capture(*incident, unfinished, collectors.as_deref(), &channel);
            }
            Received::Message(_) | Received::Empty => {}
            Received::Closed => return Ok(()),
        }
    }
}

struct Job<'a> {
    config: Arc<Config>,
    store: &'a Store,
    pool: &'a Pool,
    held: &'a [Capability],
    notices: Vec<String>,
}

impl Job<'_> {
    fn capture(
        self,
        incident: Incident,
        unfinished: bool,
        only: Option<&[String]>,
        channel: &Arc<Channel>,
    ) -> io::Result<()> {
        let updates = Updates::default();
        listen(Arc::clone(channel), updates.clone(), self.pool)?;
        let deadline = Deadline::after(clock::mono(), Duration::from_millis(self.config.capture.deadline_ms));
        let base = base(&self.config, incident, deadline);
        let specs: Vec<&'static Spec> =
            registry::ALL.iter().copied().filter(|s| only.is_none_or(|o| o.iter().any(|n| n == s.name))).collect();
        let notes = self.notices;
        let kit = Kit { store: self.store, pool: self.pool, held: self.held, updates: &updates, unfinished, notes };
        // Progress may be dropped when the core is behind; the last message may not.
        let told = take(&base, &specs, &kit, &mut |m| drop(channel.try_send(&m)));
        match told {
            Ok(published) => {
                channel.send(&Message::Published(published))?;
                for notice in tidy(self.store) {
                    let _ = channel.try_send(&Message::Notice(notice));
                }
                Ok(())
            }
            Err(e) => channel.send(&Message::Failed { store: true, error: e.to_string() }),
        }
    }
}

/// The store's limits, applied after each snapshot; what could not be removed.
fn tidy(store: &Store) -> Vec<String> {
    match store.prune(clock::wall(), false) {
        Ok(removed) => removed.iter().map(|r| format!("removed {}: {}", r.path.display(), r.why)).collect(),
        Err(e) => vec![e.to_string()],
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

/// Takes what the core learns meanwhile.
fn listen(channel: Arc<Channel>, updates: Updates, pool: &Pool) -> io::Result<()> {
    pool.run(move || {
        let mut buf = Vec::new();
        while let Ok(received) = channel.recv::<Order>(&mut buf, None) {
            match received {
                Received::Message(Order::Update { event, recurrences, losses }) => {
                    updates.add(*event, recurrences, losses);
                }
                Received::Closed => return,
                _ => {}
            }
        }
    })
}

/// Runs the first tier once into nothing, so that its code, its buffers and the kernel's own caches
/// are in memory before the lock.
fn warm_up(config: &Arc<Config>, pool: &Pool) {
    let deadline = Deadline::after(clock::mono(), Duration::from_secs(5));
    let base = base(config, rehearsal(), deadline);
    let specs: Vec<&'static Spec> = registry::ALL.iter().copied().filter(|s| s.tier == Tier::T0).collect();
    let _ = schedule::run(&specs, &base, pool, &mut |_| {});
    crate::archive::warm_up();
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
