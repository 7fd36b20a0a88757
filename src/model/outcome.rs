//! How a collector ended: exactly one of five, never silence.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "why", rename_all = "snake_case")]
pub enum Outcome {
    /// All there was.
    Complete,
    /// Real data, cut at the collector's cap: says what was left out.
    Truncated(String),
    /// The deadline passed. Says where it hung (wchan, syscall, stack of the stuck thread); what it
    /// had delivered until then is in the archive.
    TimedOut(String),
    /// Not tried, for this reason.
    Skipped(String),
    /// Tried and failed, for this reason.
    Failed(String),
}

impl Outcome {
    /// `complete`, `truncated`, `timed_out`, `skipped`, `failed`.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Truncated(_) => "truncated",
            Outcome::TimedOut(_) => "timed_out",
            Outcome::Skipped(_) => "skipped",
            Outcome::Failed(_) => "failed",
        }
    }

    /// The reason, for every outcome but Complete.
    pub fn why(&self) -> Option<&str> {
        match self {
            Outcome::Complete => None,
            Outcome::Truncated(w) | Outcome::TimedOut(w) | Outcome::Skipped(w) | Outcome::Failed(w) => Some(w),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why() {
            None => f.write_str(self.name()),
            Some(w) => write!(f, "{}: {w}", self.name()),
        }
    }
}

/// One thing that a collector could not get while the rest succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// A path, a process, a device: as the reader would name it.
    pub what: String,
    pub why: String,
}
