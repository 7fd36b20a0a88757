//! The nouns that every other folder speaks in. Plain data: nothing here reads a clock, a file or a
//! socket, and nothing in this folder may use another folder of `src/`.

pub mod event;
pub mod history;
pub mod ids;
pub mod incident;
pub mod kind;
pub mod outcome;
pub mod probe;
pub mod record;
pub mod taint;
pub mod text;
pub mod time;

pub use event::{Event, Signal};
pub use history::{Happening, HistoryLine};
pub use ids::{BootId, IncidentId, Pid, Signature};
pub use incident::{EVENTS_MAX, Incident, Losses, Trigger};
pub use kind::{Kind, Severity};
pub use outcome::{Missing, Outcome};
pub use probe::{ProbeCause, ProbeOutcome, ProbeReport, Unchanged};
pub use record::{Origin, Record};
pub use time::{Deadline, KernelTime, Mono, Wall};
