//! What the detector or a probe found, and the two moments at which it says so.

use crate::model::{Kind, Origin, Severity, Signature, Wall};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most lines of text that an event carries.
pub const EVENT_LINES_MAX: usize = 300;
/// Most bytes of one such line.
pub const EVENT_LINE_BYTES_MAX: usize = 1024;

/// One failure. `None` means the text did not say, never zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up within one run; pairs `Signal::Opened` with its `Signal::Closed`.
    pub number: u64,
    pub kind: Kind,
    pub severity: Severity,
    /// Whether it raises an incident (and a snapshot), or is only counted and shown.
    pub alarm: bool,
    /// The rule or probe that found it.
    pub rule: String,
    /// Kind phrase and function, free of addresses, numbers, pids and task names.
    pub title: String,
    /// The function at fault.
    pub function: Option<String>,
    pub signature: Signature,
    pub comm: Option<String>,
    pub pid: Option<i32>,
    pub cpu: Option<u32>,
    /// The taint part of the header, as printed: `G        W  OE`, or `Not tainted`.
    pub tainted: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// The stamp of its first line, as found in the log: printk seconds or a date.
    pub timestamp: Option<String>,
    pub host: Arc<str>,
    pub origin: Origin,
    /// When its first line was read; for a replayed file `None`.
    pub seen_at: Option<Wall>,
    /// `/dev/kmsg` sequence of its first record.
    pub seq: Option<u64>,
    /// First and last line in the file, from 1.
    pub line: Option<u64>,
    pub last_line: Option<u64>,
    /// The report was cut, interleaved or frameless.
    pub corrupted: bool,
    /// A panic followed as part of the same failure.
    pub panicked: bool,
    /// It was in the log before this start of lastgasp.
    pub old: bool,
    /// Function names of the trace, innermost first, unreliable ones left out.
    pub frames: Vec<String>,
    /// Modules whose code is in the trace, in its order, each once. Archives before this field have none.
    #[serde(default)]
    pub modules: Vec<String>,
    /// More that the text says, by name: `device`, `sector`, `victim`, `cause`, …
    pub details: BTreeMap<String, String>,
    /// The report itself, capped ([`EVENT_LINES_MAX`], [`EVENT_LINE_BYTES_MAX`]).
    pub text: Vec<String>,
}

impl Event {
    /// An event that is known by its kind and place alone: an alarm of severity error, everything else missing.
    pub fn blank(number: u64, kind: Kind, host: Arc<str>, origin: Origin) -> Event {
        Event {
            number,
            kind,
            severity: Severity::Error,
            alarm: true,
            rule: String::new(),
            title: String::new(),
            function: None,
            signature: Signature(String::new()),
            comm: None,
            pid: None,
            cpu: None,
            tainted: None,
            kernel: None,
            timestamp: None,
            host,
            origin,
            seen_at: None,
            seq: None,
            line: None,
            last_line: None,
            corrupted: false,
            panicked: false,
            old: false,
            frames: Vec::new(),
            modules: Vec::new(),
            details: BTreeMap::new(),
            text: Vec::new(),
        }
    }

    /// Drops its text and says so: what it is, its signature and its details stay.
    pub fn leave_text_out(&mut self) {
        if !self.text.is_empty() {
            self.text = vec![format!("[{} lines left out]", self.text.len())];
        }
    }
}

/// The detector speaks twice: at once on the header line, so that the capture starts while the
/// kernel may still be dying, and again when the report is complete (about a second later at most).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// The header was seen. Function, frames and signature may still change.
    Opened(Event),
    /// The report is complete, or was given up for time or length.
    Closed(Event),
    /// A service that was down answers again (from `probe`).
    Recovered(Event),
}

impl Signal {
    pub fn event(&self) -> &Event {
        match self {
            Signal::Opened(e) | Signal::Closed(e) | Signal::Recovered(e) => e,
        }
    }
}
