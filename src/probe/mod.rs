//! Service probes: `check` looks once, `role` is the process that looks again and again (it may block,
//! the core may not), `teller` decides what of it the core is told, `hysteresis` turns that into events.

mod answer;
mod check;
mod hysteresis;
mod net;
mod process;
pub mod role;
mod status;
mod teller;
mod tls;
mod unit;
mod unix;
mod web;

pub use check::{Checker, check};
pub use hysteresis::Hysteresis;
pub use role::ProbeOrder;
pub use status::{ProbeState, ProbeStatus};

use crate::model::{ProbeCause, ProbeOutcome};
use std::io;

/// Why the probe process ended early. Any of them is fatal to it; the core starts another.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read an order from the parent: {0}")]
    Order(io::Error),
    #[error("make a timer: {0}")]
    Alarm(io::Error),
    #[error("start probes: {0} are more than the {max} that one process runs", max = crate::config::keys::PROBES_MAX)]
    TooMany(usize),
}

/// A failed look, on its way to becoming a [`ProbeOutcome::Down`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fail {
    pub cause: ProbeCause,
    pub detail: String,
}

/// Longest detail, in bytes.
const DETAIL_MAX: usize = 400;

impl Fail {
    pub fn new(cause: ProbeCause, detail: impl Into<String>) -> Fail {
        Fail { cause, detail: detail.into() }
    }

    /// What the other side sent may be part of the detail: control characters are escaped, the length
    /// is cut.
    pub fn outcome(self) -> ProbeOutcome {
        let mut detail = String::new();
        for c in self.detail.chars() {
            if detail.len() >= DETAIL_MAX {
                detail.push('…');
                break;
            }
            if c.is_control() { detail.extend(c.escape_default()) } else { detail.push(c) }
        }
        ProbeOutcome::Down { cause: self.cause, detail }
    }
}
