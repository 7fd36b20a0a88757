//! One snapshot, from the order to its final name.
//!
//! The head (`incident.json`) is on its way to the disk before the first collector runs, which does not wait for it; each
//! tier ends in an entry that tells how its collectors ended, a flush and an fdatasync; the manifest comes last. What
//! fails in a collector is an outcome; only when no store takes the archive does a snapshot fail.

use crate::archive::{CollectorResult, EntryHead, ManifestHead, TierEnd, TierMark, Writer, tier_entry};
use crate::capture::collectors::kernel_log_late;
use crate::capture::pool::Pool;
use crate::capture::protocol::{Message, Published};
use crate::capture::schedule::{self, Base, Ran, Step};
use crate::capture::{Spec, Tier};
use crate::model::{BootId, EVENTS_MAX, Event, Incident, Losses, Mono, Trigger};
use crate::store::{PATIENCE, Relay, RelayFile, Stores};
use crate::sys::capability::Capability;
use crate::sys::clock;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a snapshot whose perishable tiers are on the disk waits for the complete report of its
/// trigger, so that the last tier's kernel log holds it. The detector closes a report about a second
/// after its last line.
const REPORT_MAX: Duration = Duration::from_millis(2500);

/// What the core tells while the capture runs.
#[derive(Debug, Default)]
struct Learned {
    events: Vec<Event>,
    left_out: u64,
    recurrences: u64,
    losses: Option<Losses>,
}

/// Shared between the thread that listens to the core and the one that writes the archive.
#[derive(Clone, Debug, Default)]
pub struct Updates(Arc<(Mutex<Learned>, Condvar)>);

impl Updates {
    pub fn add(&self, event: Event, recurrences: u64, losses: Losses) {
        let (learned, changed) = &*self.0;
        let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.recurrences = learned.recurrences.max(recurrences);
        learned.losses = Some(losses);
        if learned.events.len() < EVENTS_MAX {
            learned.events.push(event)
        } else {
            learned.left_out += 1
        }
        changed.notify_all();
    }

    /// Forgets what was learned.
    pub fn clear(&self) {
        self.take();
    }

    /// Waits until event `number` was learned, for at most `wait`.
    fn await_event(&self, number: u64, wait: Duration) {
        let (learned, changed) = &*self.0;
        let learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
        // Whichever of event and time comes first; the snapshot goes on in either case.
        drop(changed.wait_timeout_while(learned, wait, |l| l.events.iter().all(|e| e.number != number)));
    }

    fn take(&self) -> Learned {
        std::mem::take(&mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error("write the snapshot {name}: {cause}")]
    Write { name: String, cause: crate::archive::Error },
    #[error("publish the snapshot {name}: {cause}")]
    Publish { name: String, cause: std::io::Error },
}

/// Everything that a capture needs, made ready beforehand.
#[derive(Debug)]
pub struct Kit<'a> {
    pub stores: &'a mut Stores,
    /// The one that is tried first.
    pub store: usize,
    pub pool: &'a Pool,
    pub held: &'a [Capability],
    pub updates: &'a Updates,
    /// The trigger's complete report is still to come.
    pub unfinished: bool,
    /// What is worth saying about the store, and about attempts before.
    pub notes: Vec<String>,
}

/// Takes the snapshot of `base.incident` with `specs` and publishes it.
pub fn take(
    base: &Base,
    specs: &[&'static Spec],
    kit: Kit<'_>,
    tell: &mut dyn FnMut(Message),
) -> Result<Published, TakeError> {
    let (started, started_at) = (clock::mono(), clock::wall());
    let incident = &base.incident;
    let relay = Relay::begin(kit.stores, kit.store, incident);
    let name = relay.top_dir();
    let broken = |cause| TakeError::Write { name: name.clone(), cause };
    let mut writer = Writer::create(relay.file(), &name).map_err(broken)?;
    writer.append_incident(incident).map_err(broken)?;
    relay.order_sync();

    let mut notes = kit.notes;
    let mut listen = |relay: &Relay<'_>, tell: &mut dyn FnMut(Message)| {
        for note in relay.take_notes() {
            tell(Message::Notice(note.clone()));
            notes.push(note);
        }
    };
    let boot_id = base.root.read("/proc/sys/kernel/random/boot_id", 256).ok();
    let boot_id = boot_id.map(|c| BootId(c.text().trim().to_owned())).filter(|b| !b.0.is_empty());
    let mut collectors = Vec::with_capacity(specs.len());
    let mut tiers = Vec::new();
    for tier in Tier::ALL {
        let of_tier: Vec<&'static Spec> = specs.iter().copied().filter(|s| s.tier == *tier).collect();
        // The second look takes its second while the report is awaited that the late log is to hold.
        let (late, first): (Vec<&'static Spec>, Vec<&'static Spec>) =
            of_tier.iter().copied().partition(|s| s.name == kernel_log_late::SPEC.name);
        let mut failed = None;
        let mut ran = Vec::with_capacity(of_tier.len());
        for batch in [first, late].into_iter().filter(|b| !b.is_empty()) {
            if batch[0].name == kernel_log_late::SPEC.name
                && kit.unfinished
                && let Trigger::Event(trigger) = &incident.trigger
            {
                kit.updates.await_event(trigger.number, REPORT_MAX);
            }
            ran.extend(schedule::run(&batch, base, kit.pool, &mut |step| {
                if let Err(e) = write_step(&mut writer, step, tell) {
                    failed.get_or_insert(e);
                }
            }));
        }
        if let Some(cause) = failed {
            return Err(broken(cause));
        }
        let results: Vec<_> = ran.into_iter().map(|r| result(r, *tier, started, &of_tier, kit.held)).collect();
        let end = TierEnd {
            tier: tier.name().into(),
            collected_ms: millis(started),
            boot_id: boot_id.clone(),
            collectors: results.clone(),
        };
        collectors.extend(results);
        append_end(&mut writer, &end).map_err(broken)?;
        let durable = writer.sync();
        listen(&relay, tell);
        durable.map_err(broken)?;
        let ms = millis(started);
        tell(Message::Durable { tier: tier.name().into(), ms });
        tiers.push(TierMark { tier: tier.name().into(), durable_ms: Some(ms) });
    }

    let t0_durable_ms = tiers.first().and_then(|t| t.durable_ms);
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for c in &collectors {
        *outcomes.entry(c.outcome.name().to_owned()).or_default() += 1;
    }
    let (incident, learned) = enriched(incident, kit.updates);
    let kind = incident.kind;
    let losses = incident.losses.clone();
    let manifest = ManifestHead {
        format: 1,
        incident,
        started_at,
        finished_at: clock::wall(),
        total_ms: millis(started),
        tiers,
        collectors,
        notes,
        salvaged: None,
        stores: relay.tries(),
        completed: None,
        losses,
    };
    let finished = writer.finish(manifest).map_err(broken)?;
    let (path, store) = relay.publish().map_err(|cause| TakeError::Publish { name, cause })?;
    kit.stores.take_notes().into_iter().for_each(|note| tell(Message::Notice(note)));
    kit.stores.tidy(store);
    Ok(Published {
        id: base.incident.id.clone(),
        path,
        kind,
        bytes: finished.bytes,
        t0_durable_ms,
        total_ms: millis(started),
        outcomes,
        learned,
        hung: kit.stores.hung(PATIENCE),
    })
}

fn append_end(writer: &mut Writer<RelayFile<'_>>, end: &TierEnd) -> Result<(), crate::archive::Error> {
    let json = serde_json::to_vec_pretty(end)
        .map_err(|e| crate::archive::Error::Refused { entry: tier_entry(&end.tier), why: e.to_string() })?;
    let path = tier_entry(&end.tier);
    writer.append(&EntryHead { path: &path, at: clock::wall(), collector: "lastgasp", truncated: false }, &json)
}

fn write_step(
    writer: &mut Writer<RelayFile<'_>>,
    step: Step<'_>,
    tell: &mut dyn FnMut(Message),
) -> Result<(), crate::archive::Error> {
    match step {
        Step::Started(name) => tell(Message::Started { collector: name.into() }),
        Step::Ended(ran) => tell(Message::Ended {
            collector: ran.spec_name.into(),
            outcome: ran.outcome.name().into(),
            why: ran.outcome.why().map(str::to_owned),
            bytes: ran.bytes,
            took_ms: u64::try_from(ran.took.as_millis()).unwrap_or(u64::MAX),
        }),
        Step::Item(collector, item) => {
            let head = EntryHead { path: &item.path, at: item.at, collector, truncated: item.truncated };
            writer.append_body(&head, &item.content)?;
        }
    }
    Ok(())
}

fn millis(since: Mono) -> u64 {
    u64::try_from(clock::mono().since(since).as_millis()).unwrap_or(u64::MAX)
}

fn result(ran: Ran, tier: Tier, started: Mono, specs: &[&'static Spec], held: &[Capability]) -> CollectorResult {
    let mut missing = ran.missing;
    if let Some(spec) = specs.iter().find(|s| s.name == ran.spec_name) {
        let lacks: Vec<&str> = spec.capabilities.iter().filter(|c| !held.contains(c)).map(|c| c.name()).collect();
        if !lacks.is_empty() {
            let why = format!("ran without {}: sees less than root would", lacks.join(", "));
            missing.push(crate::model::Missing { what: "privilege".into(), why });
        }
    }
    CollectorResult {
        name: ran.spec_name.into(),
        tier: tier.name().into(),
        outcome: ran.outcome,
        started_ms: u64::try_from(ran.started_at.since(started).as_millis()).unwrap_or(u64::MAX),
        took_ms: u64::try_from(ran.took.as_millis()).unwrap_or(u64::MAX),
        bytes: ran.bytes,
        entries: ran.entries,
        missing,
    }
}

/// The incident with what was learned since it was ordered: the trigger's complete report replaces
/// its first line, everything else is a further event. And the numbers of what was learned.
fn enriched(incident: &Incident, updates: &Updates) -> (Incident, Vec<u64>) {
    let learned = updates.take();
    let numbers = learned.events.iter().map(|e| e.number).collect();
    let mut incident = incident.clone();
    for event in learned.events {
        incident.learn(event);
    }
    incident.events_left_out += learned.left_out;
    incident.recurrences = incident.recurrences.max(learned.recurrences);
    if let Some(losses) = learned.losses {
        incident.losses = losses;
    }
    (incident, numbers)
}
