//! One thing that happened to a host, however many events announced it.

use crate::model::{BootId, Event, IncidentId, Kind, Wall};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a snapshot is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The detector or a probe raised an alarm.
    Event(Box<Event>),
    /// Somebody asked: `lastgasp snap`, with the reason given.
    Manual { reason: String },
}

/// What was not captured or not even read, by cause; shown by `status` and in each snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Cause (`kmsg_overrun_records`, `cooldown`, `rate_limit`, `tail_overflow`, …) to count.
    pub counts: BTreeMap<String, u64>,
}

impl Losses {
    pub fn add(&mut self, cause: &str, n: u64) {
        if n == 0 {
            return;
        }
        match self.counts.get_mut(cause) {
            Some(c) => *c = c.saturating_add(n),
            None => {
                self.counts.insert(cause.to_owned(), n);
            }
        }
    }
}

/// Most further events of an incident; the rest is counted.
pub const EVENTS_MAX: usize = 128;
/// Most bytes of text that its further events have together; later ones have none. A storm of reports must not
/// grow the locked core, and the first ones are the ones that are read.
pub const EVENTS_TEXT_MAX: usize = 1 << 20;

/// The head of an incident: first entry of its archive (`incident.json`), and again, with what was
/// learned meanwhile, part of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Version of this format, 1.
    pub format: u32,
    pub id: IncidentId,
    /// The first cause.
    pub kind: Kind,
    pub title: String,
    /// The host it happened on: ours, or that of a console log.
    pub host: String,
    /// The host that captured.
    pub captured_on: String,
    /// False when it is another host's console that told: the snapshot then shows the watcher's side.
    pub local: bool,
    pub opened_at: Wall,
    /// Marked text of a fire drill, no real failure.
    pub drill: bool,
    pub boot_id: Option<BootId>,
    pub kernel: Option<String>,
    /// lastgasp's own version.
    pub version: String,
    pub trigger: Trigger,
    /// Follow-ups and further events of the same burst, in order.
    pub events: Vec<Event>,
    /// The snapshot of the same burst that was complete before this one's events came.
    #[serde(default)]
    pub follows: Option<IncidentId>,
    /// Events beyond the cap of `events`.
    pub events_left_out: u64,
    /// Earlier occurrences of the same signature that a cool-down kept from a snapshot of their own.
    pub recurrences: u64,
    pub losses: Losses,
    /// What lastgasp could not see because of missing privilege.
    pub limits: Vec<String>,
}

impl Incident {
    /// Takes in an event that came after the incident was opened: the complete report of the trigger
    /// replaces its first line, everything else is a further event, within [`EVENTS_MAX`] and [`EVENTS_TEXT_MAX`].
    pub fn learn(&mut self, mut event: Event) {
        match &mut self.trigger {
            Trigger::Event(trigger) if trigger.number == event.number && trigger.rule == event.rule => {
                self.title = event.title.clone();
                self.kind = event.kind;
                **trigger = event;
            }
            _ if self.events.len() >= EVENTS_MAX => self.events_left_out += 1,
            _ => {
                let bytes = |e: &Event| e.text.iter().map(String::len).sum::<usize>();
                if self.events.iter().map(bytes).sum::<usize>() + bytes(&event) > EVENTS_TEXT_MAX {
                    event.leave_text_out();
                }
                self.events.push(event);
            }
        }
    }
}
