//! One line of the history that outlives a run: what was seen, captured, lost, and when it was well again.

use crate::model::{Event, IncidentId, Kind, Wall};
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A snapshot was ordered.
    Incident,
    /// It is in the store.
    Captured,
    /// It had gone to another store and is in its own now.
    Moved,
    /// It could not be taken.
    Lost,
    /// A service answers again.
    Recovered,
    /// An event without alarm.
    Noted,
    /// A further event of an incident whose snapshot was complete already.
    Followed,
    /// An alarm without a snapshot of its own.
    Suppressed,
    /// A watch began.
    Started,
    /// A watch ended in order.
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    pub at: Wall,
    pub what: Happening,
    pub host: String,
    pub kind: Option<Kind>,
    pub title: Option<String>,
    pub incident: Option<IncidentId>,
    pub detail: Option<String>,
}

impl HistoryLine {
    /// A line about an event.
    pub fn of(what: Happening, at: Wall, event: &Event) -> HistoryLine {
        HistoryLine {
            at,
            what,
            host: event.host.to_string(),
            kind: Some(event.kind),
            title: Some(event.title.clone()),
            incident: None,
            detail: None,
        }
    }
}
