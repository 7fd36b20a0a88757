//! What an incident of a probe says: the event that opens it, and the one that ends it.

use crate::config::ProbeTarget;
use crate::model::{Event, Kind, Origin, ProbeCause, Severity, Signature, Wall};
use crate::probe::hysteresis::{Hysteresis, Open};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

impl Hysteresis {
    pub(super) fn event(&self, cause: ProbeCause, detail: &str, since: Wall, at: Wall, number: u64) -> Event {
        let mut details = BTreeMap::new();
        let mut add = |name: &str, value: String| details.insert(name.to_owned(), value);
        add("probe", self.probe.name.clone());
        add("cause", spelling(cause));
        add("detail", detail.to_owned());
        add("target", self.probe.target.to_string());
        add("since", since.to_string());
        if let Some(unit) = self.unit() {
            add("unit", unit.to_owned());
        }
        if let Some(ok) = self.last_ok {
            add("last_ok", ok.to_string());
        }
        Event {
            rule: format!("probe:{}", self.probe.name),
            title: format!("service {} down: {cause}", self.probe.name),
            signature: signature(&self.probe.name, cause),
            timestamp: Some(since.to_string()),
            seen_at: Some(at),
            details,
            text: self.lines.iter().cloned().collect(),
            ..Event::blank(number, Kind::ServiceDown, self.host.clone(), Origin::Probe)
        }
    }

    pub(super) fn recovery(&self, open: Open, at: Wall) -> Event {
        let up_since = open.up_since.unwrap_or(at);
        let mut event = open.event;
        event.severity = Severity::Info;
        event.alarm = false;
        event.title = format!("service {} up again", self.probe.name);
        event.timestamp = Some(up_since.to_string());
        event.seen_at = Some(at);
        event.text.clear();
        event.details.insert("downtime_s".into(), up_since.since(open.since).as_secs().to_string());
        event.details.insert("up_since".into(), up_since.to_string());
        if open.flaps > 0 {
            event.details.insert("flaps".into(), open.flaps.to_string());
        }
        event
    }

    /// The unit that the service belongs to: configured, or the one that is probed.
    fn unit(&self) -> Option<&str> {
        match (&self.probe.unit, &self.probe.target) {
            (Some(unit), _) => Some(unit),
            (None, ProbeTarget::Unit { unit }) => Some(unit),
            _ => None,
        }
    }
}

/// As in JSON: `timed_out`.
fn spelling(cause: ProbeCause) -> String {
    match serde_json::to_value(cause) {
        Ok(serde_json::Value::String(s)) => s,
        _ => cause.words().replace(' ', "_"),
    }
}

/// The same failure of the same service, on any host.
pub(super) fn signature(probe: &str, cause: ProbeCause) -> Signature {
    let text = format!("{}\n{probe}\n{}", Kind::ServiceDown.name(), spelling(cause));
    Signature(Sha256::digest(text.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect())
}
