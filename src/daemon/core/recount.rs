//! When the kernel's ring was overrun, a failure may have been announced in what is gone: the kernel's own counters tell.

use crate::daemon::core::Core;
use crate::model::{Event, Kind, Mono, Origin, Severity, Signal, Signature};
use crate::source::counters::Counter;
use crate::sys::clock;
use std::sync::Arc;
use std::time::Duration;

/// Text that was left of a report has this long to be read and assembled before the counters are asked.
const SETTLE: Duration = Duration::from_secs(3);

/// What is known since the counters were read last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recount {
    /// Records were lost; the counters are asked then.
    due: Option<Mono>,
    /// Alarms found in the kernel log, and OOM kills among them.
    alarms: u64,
    oom: u64,
}

impl Recount {
    /// Records of the kernel log were lost.
    pub fn lost(&mut self, now: Mono) {
        self.due.get_or_insert(now.plus(SETTLE));
    }

    /// An event was found.
    pub fn found(&mut self, event: &Event) {
        if event.origin == Origin::Kmsg && event.alarm && !event.old {
            self.alarms += 1;
            self.oom += u64::from(event.kind == Kind::Oom);
        }
    }

    pub fn next_due(&self) -> Option<Mono> {
        self.due
    }

    /// Whether a rise of `counter` was not announced by anything that was read. One report may stand for several rises, so
    /// only silence is certain.
    fn unannounced(&self, counter: Counter) -> bool {
        match counter {
            Counter::Oops | Counter::Warn => self.alarms == 0,
            Counter::OomKill => self.oom == 0,
        }
    }
}

impl Core {
    /// Asks the counters if that is due; what they know and the log did not say becomes an event.
    pub(super) fn recount(&mut self, now: Mono) {
        if self.recount.due.is_none_or(|at| now < at) {
            return;
        }
        let known = std::mem::take(&mut self.recount);
        for (counter, rise) in self.counters.risen() {
            if known.unannounced(counter) {
                self.event_number += 1;
                let event = silent(counter, rise, self.event_number, self.identity.host.as_str().into());
                self.found.push(Signal::Closed(event));
            }
        }
    }
}

/// The event of a failure whose text is lost.
fn silent(counter: Counter, rise: u64, number: u64, host: Arc<str>) -> Event {
    let (what, severity) = match counter {
        Counter::Oops => ("kernel oops", Severity::Fatal),
        Counter::Warn => ("kernel WARNING", Severity::Warning),
        Counter::OomKill => ("out of memory", Severity::Error),
    };
    let title = format!("{what}, its text overwritten before it was read");
    let details = [("counter".into(), counter.path().into()), ("rise".into(), rise.to_string())];
    Event {
        severity,
        rule: "counter".into(), // The same each time: nothing tells two of them apart.
        signature: Signature(format!("counter-{}", counter.kind())),
        title,
        seen_at: Some(clock::wall()),
        corrupted: true,
        details: details.into(),
        ..Event::blank(number, counter.kind(), host, Origin::Kmsg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nothing_announced_is_told() {
        let mut known = Recount::default();
        assert!(Counter::ALL.iter().all(|c| known.unannounced(*c)));
        let mut event = silent(Counter::Oops, 1, 1, "h".into());
        known.found(&Event { alarm: false, ..event.clone() });
        assert!(known.unannounced(Counter::Oops));
        known.found(&event);
        assert!(!known.unannounced(Counter::Warn) && known.unannounced(Counter::OomKill));
        event.kind = Kind::Oom;
        known.found(&event);
        assert!(!known.unannounced(Counter::OomKill));
    }
}
