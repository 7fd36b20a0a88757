//! What the core and a capture worker say to each other over their channel.

use crate::config::Config;
use crate::model::{Event, Incident, IncidentId, Losses, Trigger};
use crate::sys::ipc::PACKET_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// From the core.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// First of all: what to be ready for.
    Prepare(Box<Preparation>),
    /// Take the snapshot, publish it, end. `unfinished`: the trigger's complete report follows.
    /// `earlier`: what the manifest should note of before: why other attempts failed, why collectors are left out.
    Capture { incident: Box<Incident>, unfinished: bool, collectors: Option<Vec<String>>, earlier: Vec<String> },
    /// Nobody is stuck in this store any more: it may be tried again.
    Admit { store: PathBuf },
    /// Meanwhile learned.
    Update { event: Box<Event>, recurrences: u64, losses: Losses },
    /// No further snapshot is wanted of this worker.
    Leave,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Preparation {
    pub config: Config,
    /// Stores to leave out, because an attempt before failed there, or a worker is stuck there.
    pub avoid: Vec<PathBuf>,
    /// Lock memory and warm the path up: for the spare, which has the time.
    pub lock: bool,
}

/// From a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Ready for an order; where the snapshot will go, and what is worth saying about that. Again whenever that changes.
    Ready {
        store: PathBuf,
        notices: Vec<String>,
    },
    /// A collector begins.
    Started {
        collector: String,
    },
    /// A collector has ended.
    Ended {
        collector: String,
        outcome: String,
        why: Option<String>,
        bytes: u64,
        took_ms: u64,
    },
    /// Everything of this tier is on the disk, so many milliseconds after the order.
    Durable {
        tier: String,
        ms: u64,
    },
    /// The archive has its final name.
    Published(Published),
    /// No archive; why, and whether another store may do better.
    Failed {
        store: bool,
        error: String,
    },
    Notice(String),
}

/// A finished snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub id: IncidentId,
    pub path: PathBuf,
    pub kind: crate::model::Kind,
    pub bytes: u64,
    /// Milliseconds from the order until tier 0 was on the disk; `None` if the disk never said so.
    pub t0_durable_ms: Option<u64>,
    pub total_ms: u64,
    /// How many collectors ended how.
    pub outcomes: BTreeMap<String, u64>,
    /// Numbers of the events that were told by [`Order::Update`] in time to be in it.
    #[serde(default)]
    pub learned: Vec<u64>,
    /// Stores that have not answered this worker for seconds: it is stuck there, or will be late.
    #[serde(default)]
    pub hung: Vec<PathBuf>,
}

/// Room that a packet leaves beside an incident: the reasons of the attempts before, each of 500 characters.
const ORDER_MAX: usize = 8 * 1024;

/// Room that a packet leaves for an event, after the rest of its message.
const EVENT_ENCODED_MAX: usize = PACKET_MAX - 16 * 1024;

/// Cuts lines out of the middle of an event's text until it fits a packet.
pub fn fit_event(event: &mut Event) {
    while serde_json::to_string(event).map_or(0, |s| s.len()) > EVENT_ENCODED_MAX && !event.text.is_empty() {
        let keep = event.text.len() / 3;
        let cut = event.text.len() - 2 * keep;
        event.text.splice(keep..keep + cut, [format!("[{cut} lines left out]")]);
        if keep == 0 {
            event.text.clear();
            event.details.clear();
        }
    }
}

/// The same for an incident: the texts of its further events go first, then those events, in both cases from the last one back,
/// so that of a hundred services that failed at once each is named.
pub fn fit_incident(incident: &mut Incident) {
    if let Trigger::Event(event) = &mut incident.trigger {
        fit_event(event);
    }
    let room = PACKET_MAX - ORDER_MAX;
    let size = |v: &Incident| serde_json::to_string(v).map_or(0, |s| s.len());
    let mut over = size(incident).saturating_sub(room);
    for event in incident.events.iter_mut().rev() {
        if over == 0 {
            return;
        }
        let lines: usize = event.text.iter().map(String::len).sum();
        event.leave_text_out();
        over = over.saturating_sub(lines);
    }
    while size(incident) > room && incident.events.pop().is_some() {
        incident.events_left_out += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Origin, Wall};

    #[test]
    fn an_incident_with_a_hundred_reports_fits_a_packet_and_names_them_all() {
        let event = |n: u64| Event {
            title: format!("service s{n} down"),
            text: vec!["a line of a report, as long as those are: some eighty characters of it".into(); 100],
            ..Event::blank(n, Kind::ServiceDown, "h".into(), Origin::Probe)
        };
        let mut incident = crate::capture::worker::rehearsal();
        incident.trigger = Trigger::Event(Box::new(event(1)));
        (2..=100).for_each(|n| incident.learn(event(n)));
        fit_incident(&mut incident);
        assert!(serde_json::to_string(&incident).expect("JSON").len() <= PACKET_MAX - ORDER_MAX);
        assert_eq!((incident.events.len(), incident.events_left_out), (99, 0));
        assert_eq!(incident.events[0].text.len(), 100, "the first keep their text");
        assert_eq!(incident.events[98].text, ["[100 lines left out]"]);
        // Beyond the bounds they are counted.
        (101..=1000).for_each(|n| incident.learn(event(n)));
        assert_eq!(incident.events.len() as u64 + incident.events_left_out, 999);
        assert!(incident.events.len() <= crate::model::EVENTS_MAX && incident.opened_at == Wall(0));
    }
}
