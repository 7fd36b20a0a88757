//! What was captured lately, by host, signature and subject, and how often it came again since.

use crate::model::{Event, Mono};
use std::collections::HashMap;
use std::time::Duration;

/// Most signatures remembered; the one seen longest ago goes first. A thousand distinct oopses in a
/// row must not grow the locked core.
const REMEMBERED_MAX: usize = 1024;

#[derive(Debug)]
struct Seen {
    captured_at: Mono,
    last_at: Mono,
    rule: String,
    recurrences: u64,
}

/// Details that tell two failures of one signature apart: a second disk that fails, a second cgroup that is
/// out of memory is news. They are no part of the signature, which is the same on every host.
const SUBJECTS: &[&str] = &["device", "memcg"];

/// What an occurrence is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    host: String,
    signature: String,
    subject: String,
}

impl Key {
    fn of(event: &Event) -> Key {
        let subject: Vec<&str> = SUBJECTS.iter().filter_map(|s| event.details.get(*s)).map(String::as_str).collect();
        Key { host: event.host.to_string(), signature: event.signature.to_string(), subject: subject.join(" ") }
    }
}

/// The memory behind the cool-down.
#[derive(Debug, Default)]
pub struct Cooldown {
    seen: HashMap<Key, Seen>,
}

impl Cooldown {
    /// Whether anything of this rule was captured on this host within `window`: then the signature
    /// decides, and the caller waits for the complete report.
    pub fn rule_is_warm(&self, host: &str, rule: &str, now: Mono, window: Duration) -> bool {
        self.seen.iter().any(|(k, s)| k.host == host && s.rule == rule && now.since(s.captured_at) < window)
    }

    /// Counts an occurrence. `true`: within `window` of its capture, so it gets no snapshot of its own.
    pub fn recurs(&mut self, event: &Event, now: Mono, window: Duration) -> bool {
        match self.seen.get_mut(&Key::of(event)) {
            Some(s) if now.since(s.captured_at) < window => {
                s.recurrences = s.recurrences.saturating_add(1);
                s.last_at = now;
                true
            }
            _ => false,
        }
    }

    /// Remembers that it was captured now; returns the recurrences since the capture before.
    pub fn captured(&mut self, event: &Event, now: Mono) -> u64 {
        if self.seen.len() >= REMEMBERED_MAX {
            let oldest = self.seen.iter().min_by_key(|(_, s)| s.last_at).map(|(k, _)| k.clone());
            if let Some(key) = oldest {
                self.seen.remove(&key);
            }
        }
        let fresh = Seen { captured_at: now, last_at: now, rule: event.rule.clone(), recurrences: 0 };
        self.seen.insert(Key::of(event), fresh).map_or(0, |before| before.recurrences)
    }
}
