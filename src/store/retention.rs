//! Which snapshots go when there are too many: pure, so that every case can be tested.

use crate::config::StoreConfig;
use crate::model::Wall;
use crate::store::Stored;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// The limits of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub max_count: u32,
    pub max_bytes: u64,
    pub max_age_s: u64,
    /// Of the file system.
    pub min_free_bytes: u64,
}

impl From<&StoreConfig> for Limits {
    fn from(c: &StoreConfig) -> Limits {
        Limits {
            max_count: c.max_count,
            max_bytes: c.max_bytes,
            max_age_s: c.max_age_s,
            min_free_bytes: c.min_free_bytes,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::from(&StoreConfig::default())
    }
}

/// One snapshot that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removal {
    pub path: PathBuf,
    pub bytes: u64,
    /// Which limit, with its figures.
    pub why: String,
}

/// What has to go so that the limits hold, oldest first. Never the newest snapshot, never a pinned
/// one, never an interrupted or unreadable one: when only such are left the limits are exceeded.
/// `free_bytes`: of the file system now; `None`: not known, that limit is left out.
pub fn plan(list: &[Stored], limits: &Limits, free_bytes: Option<u64>, now: Wall) -> Vec<Removal> {
    let mut whole: Vec<&Stored> = list.iter().filter(|s| s.is_snapshot()).collect();
    whole.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
    let mut count = whole.len() as u64;
    let mut bytes = whole.iter().fold(0u64, |sum, s| sum.saturating_add(s.bytes));
    let mut free = free_bytes;
    let max_age = Duration::from_secs(limits.max_age_s);
    let mut gone = Vec::new();
    // The newest is the last: it stays whatever it weighs.
    whole.pop();
    for s in whole.into_iter().filter(|s| !s.pinned) {
        let age = now.since(s.at);
        let why = if age > max_age {
            format!("older than max_age: {} of {} days", age.as_secs() / 86_400, limits.max_age_s / 86_400)
        } else if count > u64::from(limits.max_count) {
            format!("more than max_count: {count} of {}", limits.max_count)
        } else if bytes > limits.max_bytes {
            format!("more than max_bytes: {bytes} of {}", limits.max_bytes)
        } else if let Some(f) = free.filter(|f| *f < limits.min_free_bytes) {
            format!("less free than min_free: {f} of {} bytes", limits.min_free_bytes)
        } else {
            continue;
        };
        count -= 1;
        bytes -= s.bytes.min(bytes);
        free = free.map(|f| f.saturating_add(s.bytes));
        gone.push(Removal { path: s.path.clone(), bytes: s.bytes, why });
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IncidentId, Kind};
    use proptest::prelude::*;

    fn stored(n: i64, at_s: i64, bytes: u64, pinned: bool) -> Stored {
        Stored {
            id: IncidentId(format!("id{n}")),
            host: "h".into(),
            kind: Kind::Oops,
            at: Wall(at_s * 1_000_000),
            bytes,
            pinned,
            path: PathBuf::from(format!("/s/{n}")),
            partial: false,
            unreadable: false,
        }
    }

    #[test]
    fn the_oldest_goes_first_and_says_why() {
        let list: Vec<Stored> = (0..4).map(|n| stored(n, n * 10, 100, n == 0)).collect();
        let limits = Limits { max_count: 2, max_bytes: 1 << 40, max_age_s: 1 << 40, min_free_bytes: 0 };
        let gone = plan(&list, &limits, None, Wall(0));
        assert_eq!(gone.iter().map(|r| r.path.to_str().expect("utf-8")).collect::<Vec<_>>(), ["/s/1", "/s/2"]);
        assert_eq!(gone[0].why, "more than max_count: 4 of 2");
        let full = Limits { max_count: 9, min_free_bytes: 150, ..limits };
        assert_eq!(plan(&list, &full, Some(0), Wall(0)).len(), 2);
        assert_eq!(plan(&list, &full, None, Wall(0)).len(), 0);
    }

    proptest! {
        #[test]
        fn the_limits_hold_and_newest_and_pinned_stay(
            items in prop::collection::vec((0i64..2000, 0u64..1000, any::<bool>()), 0..40),
            max_count in 0u32..30, max_bytes in 0u64..20_000, max_age_s in 0u64..2500, min_free in 0u64..5000,
            free in prop::option::of(0u64..5000), now in 0i64..3000,
        ) {
            let list: Vec<Stored> =
                items.iter().enumerate().map(|(n, (at, b, p))| stored(n as i64, *at, *b, *p)).collect();
            let limits = Limits { max_count, max_bytes, max_age_s, min_free_bytes: min_free };
            let now = Wall(now * 1_000_000);
            let gone = plan(&list, &limits, free, now);
            let left: Vec<&Stored> = list.iter().filter(|s| gone.iter().all(|g| g.path != s.path)).collect();
            prop_assert_eq!(left.len() + gone.len(), list.len());
            let newest = list.iter().max_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
            prop_assert!(newest.is_none_or(|n| left.iter().any(|s| s.path == n.path)));
            prop_assert!(list.iter().filter(|s| s.pinned).all(|p| left.iter().any(|s| s.path == p.path)));
            // Whatever could still go must not be needed by any limit.
            let more_could_go = left.iter().any(|s| !s.pinned && Some(&s.path) != newest.map(|n| &n.path));
            if more_could_go {
                prop_assert!(left.len() as u64 <= u64::from(max_count));
                prop_assert!(left.iter().map(|s| s.bytes).sum::<u64>() <= max_bytes);
                if let Some(f) = free {
                    prop_assert!(f + gone.iter().map(|g| g.bytes).sum::<u64>() >= min_free);
                }
                let aged = left.iter().any(|s| !s.pinned && Some(&s.path) != newest.map(|n| &n.path)
                    && now.since(s.at) > Duration::from_secs(max_age_s));
                prop_assert!(!aged);
            }
        }
    }
}
