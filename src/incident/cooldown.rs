//! What was captured lately, by host and signature, and how often it came again since.

use crate::model::{Mono, Signature};
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

/// The memory behind the cool-down.
#[derive(Debug, Default)]
pub struct Cooldown {
    seen: HashMap<(String, Signature), Seen>,
}

impl Cooldown {
    /// Whether anything of this rule was captured on this host within `window`: then the signature
    /// decides, and the caller waits for the complete report.
    pub fn rule_is_warm(&self, host: &str, rule: &str, now: Mono, window: Duration) -> bool {
        self.seen.iter().any(|((h, _), s)| h == host && s.rule == rule && now.since(s.captured_at) < window)
    }

    /// Counts an occurrence. `true`: within `window` of its capture, so it gets no snapshot of its own.
    pub fn recurs(&mut self, host: &str, signature: &Signature, now: Mono, window: Duration) -> bool {
        match self.seen.get_mut(&(host.to_owned(), signature.clone())) {
            Some(s) if now.since(s.captured_at) < window => {
                s.recurrences = s.recurrences.saturating_add(1);
                s.last_at = now;
                true
            }
            _ => false,
        }
    }

    /// Remembers that it was captured now; returns the recurrences since the capture before.
    pub fn captured(&mut self, host: &str, signature: &Signature, rule: &str, now: Mono) -> u64 {
        if self.seen.len() >= REMEMBERED_MAX {
            let oldest = self.seen.iter().min_by_key(|(_, s)| s.last_at).map(|(k, _)| k.clone());
            if let Some(key) = oldest {
                self.seen.remove(&key);
            }
        }
        let fresh = Seen { captured_at: now, last_at: now, rule: rule.to_owned(), recurrences: 0 };
        self.seen.insert((host.to_owned(), signature.clone()), fresh).map_or(0, |before| before.recurrences)
    }
}
