//! What one run of a service probe found.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The class of a probe's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeCause {
    /// Nothing listens there.
    Refused,
    /// No answer in time: a hung process, a full accept queue, a firewall that drops.
    TimedOut,
    /// The peer cut the connection.
    Reset,
    /// An HTTP answer with another status than expected.
    WrongStatus,
    /// An HTTP answer whose body lacks the expected pattern.
    WrongBody,
    /// The peer speaks something else.
    BadAnswer,
    /// TLS handshake or certificate.
    Tls,
    /// The name could not be resolved.
    NameNotResolved,
    /// No route, network or host unreachable.
    Unreachable,
    /// The unix socket, unit or pidfile does not exist.
    NotFound,
    /// The unit is not active.
    UnitNotActive,
    /// Fewer processes than wanted.
    TooFew,
    /// The probe itself could not run (no permission, no helper, …).
    CannotProbe,
}

impl ProbeCause {
    /// In words, for titles: `connection refused`.
    pub fn words(self) -> &'static str {
        match self {
            ProbeCause::Refused => "connection refused",
            ProbeCause::TimedOut => "timed out",
            ProbeCause::Reset => "connection reset",
            ProbeCause::WrongStatus => "wrong status",
            ProbeCause::WrongBody => "wrong body",
            ProbeCause::BadAnswer => "bad answer",
            ProbeCause::Tls => "TLS error",
            ProbeCause::NameNotResolved => "name not resolved",
            ProbeCause::Unreachable => "unreachable",
            ProbeCause::NotFound => "not found",
            ProbeCause::UnitNotActive => "unit not active",
            ProbeCause::TooFew => "too few processes",
            ProbeCause::CannotProbe => "cannot probe",
        }
    }
}

impl fmt::Display for ProbeCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// The verdict of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    Up,
    /// The cause and the details as an operator would want to read them: `status 503, want 200`.
    Down {
        cause: ProbeCause,
        detail: String,
    },
}

/// Runs between two reports that found a service up which was up before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchanged {
    pub ups: u32,
    /// From the end of the last of them to that of the run that is reported, in microseconds.
    pub ago_us: u64,
}

/// One run of one probe, and those before it that were not worth a report of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The probe's name in the config.
    pub probe: String,
    pub outcome: ProbeOutcome,
    /// How long the run took, in microseconds.
    pub took_us: u64,
    pub unchanged: Option<Unchanged>,
}
