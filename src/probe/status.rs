//! A probe as `status` shows it.

use crate::model::{ProbeCause, Wall};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeState {
    /// Not decided yet.
    Unknown,
    Up,
    Down,
}

/// A probe as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    pub probe: String,
    /// As in the config.
    pub target: String,
    pub state: ProbeState,
    /// Since when it is in this state: for Down the first failure.
    pub since: Option<Wall>,
    /// Of the last failure; `None` while the last run succeeded.
    pub cause: Option<ProbeCause>,
    pub detail: Option<String>,
    /// Runs in a row with the outcome of the last one.
    pub consecutive: u32,
    /// Failures among the last (at most 32) runs.
    pub failed: u32,
    /// How many runs `failed` is of.
    pub of: u32,
    pub flapping: bool,
    /// When it was found that no report comes any more: the state is what was last known.
    pub stale_since: Option<Wall>,
    pub last_report: Option<Wall>,
    /// How long the last run took, in microseconds.
    pub took_us: Option<u64>,
}
