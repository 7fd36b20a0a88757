//! Which snapshots go when there are too many: pure, so that every case can be tested.
//!
//! A snapshot's time is its name's, which is the clock's of that moment, and that clock may have been wrong: set back to
//! 1970 by an empty battery, or far ahead. Two rules keep such a clock from throwing evidence away:
//!
//! * A time before [`FIRST`], or ahead of a now that is not, says nothing. Such snapshots are never too old, and the last quarter of what
//!   `max_count` allows counts as newer than all others; beyond that they go first.
//! * Where nothing steers the clock (and after each step of it, until a time daemon is sure again), age ends at a gap
//!   longer than `max_age`: what lies beyond may be a month old, seen from a clock that was set to 2100. Number
//!   and size still apply to it.

use crate::config::StoreConfig;
use crate::model::Wall;
use crate::store::Stored;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// No snapshot is older than the first version of this program: 2026-01-01.
const FIRST: Wall = Wall(1_767_225_600_000_000);
/// A name's time may be that far ahead: another host's clock, a small step back.
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// What the clock says, and how far it may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub wall: Wall,
    /// A time daemon steers it, as far as the kernel knows (no STA_UNSYNC).
    pub steered: bool,
}

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

/// The snapshots in the order in which they go, and the time back to which age counts: beyond is a gap that a wrong clock
/// may have made.
fn in_order<'a>(list: &'a [Stored], limits: &Limits, now: Now) -> (Vec<&'a Stored>, Wall) {
    let whole = list.iter().filter(|s| s.is_snapshot());
    let (mut known, mut unknown): (Vec<&Stored>, Vec<&Stored>) =
        whole.partition(|s| s.at >= FIRST && (now.wall < FIRST || s.at.since(now.wall) <= AHEAD_MAX));
    known.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
    unknown.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
    let max_age = Duration::from_secs(limits.max_age_s);
    // What is older than this has no age.
    let mut reach = Wall(i64::MIN);
    if !now.steered {
        let mut later = now.wall;
        for s in known.iter().rev() {
            if later.since(s.at) > max_age {
                reach = later;
                break;
            }
            later = later.min(s.at);
        }
    }
    if now.wall < FIRST {
        reach = Wall(i64::MAX);
    }
    let held = usize::try_from(limits.max_count / 4).unwrap_or(usize::MAX).max(1).min(unknown.len());
    let newest = unknown.split_off(unknown.len() - held);
    unknown.extend(known);
    unknown.extend(newest);
    (unknown, reach)
}

/// What has to go so that the limits hold, oldest first. Never the newest snapshot, never a pinned
/// one, never an interrupted or unreadable one: when only such are left the limits are exceeded.
/// `free_bytes`: of the file system now; `None`: not known, that limit is left out.
pub fn plan(list: &[Stored], limits: &Limits, free_bytes: Option<u64>, now: Now) -> Vec<Removal> {
    let (mut whole, reach) = in_order(list, limits, now);
    let mut count = whole.len() as u64;
    let mut bytes = whole.iter().fold(0u64, |sum, s| sum.saturating_add(s.bytes));
    let mut free = free_bytes;
    let max_age = Duration::from_secs(limits.max_age_s);
    let mut gone = Vec::new();
    // The newest is the last: it stays whatever it weighs.
    whole.pop();
    for s in whole.into_iter().filter(|s| !s.pinned) {
        let age = if s.at >= FIRST && s.at >= reach { now.wall.since(s.at) } else { Duration::ZERO };
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

    fn at(s: i64) -> Wall {
        Wall(FIRST.0 + s * 1_000_000)
    }

    fn now(s: i64) -> Now {
        Now { wall: at(s), steered: true }
    }

    fn stored(n: i64, at_s: i64, bytes: u64, pinned: bool) -> Stored {
        Stored {
            id: IncidentId(format!("id{n}")),
            host: "h".into(),
            kind: Kind::Oops,
            at: at(at_s),
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
        let gone = plan(&list, &limits, None, now(0));
        assert_eq!(gone.iter().map(|r| r.path.to_str().expect("utf-8")).collect::<Vec<_>>(), ["/s/1", "/s/2"]);
        assert_eq!(gone[0].why, "more than max_count: 4 of 2");
        let full = Limits { max_count: 9, min_free_bytes: 150, ..limits };
        assert_eq!(plan(&list, &full, Some(0), now(0)).len(), 2);
        assert_eq!(plan(&list, &full, None, now(0)).len(), 0);
    }

    const DAY: i64 = 86_400;

    fn names(gone: &[Removal]) -> Vec<&str> {
        gone.iter().map(|r| r.path.to_str().expect("utf-8")).collect()
    }

    #[test]
    fn a_clock_that_jumped_ahead_makes_nothing_old() {
        let limits = Limits { max_count: 100, max_bytes: 1 << 40, max_age_s: 90 * DAY as u64, min_free_bytes: 0 };
        let mut list: Vec<Stored> = (0..10).map(|n| stored(n, n * DAY, 1, false)).collect();
        let y2100 = 74 * 365 * DAY;
        let jumped = Now { wall: at(y2100), steered: false };
        assert!(plan(&list, &limits, None, jumped).is_empty());
        // The ones taken since then, by the same clock, change nothing.
        list.extend((0..3).map(|n| stored(20 + n, y2100 - n, 1, false)));
        assert!(plan(&list, &limits, None, jumped).is_empty());
        // Back in time: what is named 2100 is not the newest for ever, and is not too old either.
        let back = Now { wall: at(10 * DAY), steered: true };
        assert!(plan(&list, &limits, None, back).is_empty());
        // A steered clock is believed.
        assert_eq!(plan(&list[..10], &limits, None, Now { wall: at(y2100), steered: true }).len(), 9);
        // And an unsteered one as long as there is no gap.
        let slow: Vec<Stored> = (0..10).map(|n| stored(n, n * 60 * DAY, 1, false)).collect();
        let gone = plan(&slow, &limits, None, Now { wall: at(9 * 60 * DAY), steered: false });
        assert_eq!(gone.len(), 8, "{gone:?}");
    }

    #[test]
    fn a_clock_that_fell_back_to_1970_neither_loses_nor_keeps_what_it_names() {
        let limits = Limits { max_count: 8, max_bytes: 1 << 40, max_age_s: 90 * DAY as u64, min_free_bytes: 0 };
        let y1970 = |n: i64, s: i64| Stored { at: Wall(s * 1_000_000), ..stored(n, 0, 1, false) };
        let mut list: Vec<Stored> = (0..8).map(|n| stored(n, n * DAY, 1, false)).collect();
        // Taken in 1970, one after the other, in a store that was full: what goes are the oldest others.
        list.extend([y1970(100, 60), y1970(101, 120)]);
        for now in [Now { wall: Wall(180_000_000), steered: false }, Now { wall: at(9 * DAY), steered: true }] {
            assert_eq!(names(&plan(&list, &limits, None, now)), ["/s/0", "/s/1"], "{now:?}");
        }
        // A hundred of them do not push everything else out.
        let mut many = list[..8].to_vec();
        many.extend((0..100).map(|n| y1970(100 + n, n)));
        let gone = plan(&many, &limits, None, Now { wall: at(9 * DAY), steered: true });
        assert_eq!(gone.len(), 100);
        assert!(names(&gone).iter().filter(|n| n.len() < 5).count() <= 2, "{:?}", names(&gone));
    }

    proptest! {
        #[test]
        fn whatever_the_clock_says_number_and_size_hold_and_the_pinned_stay(
            items in prop::collection::vec((any::<i32>(), 0u64..1000, any::<bool>()), 0..40),
            max_count in 0u32..30, max_bytes in 0u64..20_000, wall in any::<i32>(), steered in any::<bool>(),
        ) {
            let list: Vec<Stored> = items.iter().enumerate()
                .map(|(n, (t, b, p))| Stored { at: Wall(i64::from(*t) * 2_000_000_000), ..stored(n as i64, 0, *b, *p) })
                .collect();
            let limits = Limits { max_count, max_bytes, max_age_s: 90 * DAY as u64, min_free_bytes: 0 };
            let now = Now { wall: Wall(i64::from(wall) * 2_000_000_000), steered };
            let gone = plan(&list, &limits, None, now);
            let left: Vec<&Stored> = list.iter().filter(|s| gone.iter().all(|g| g.path != s.path)).collect();
            prop_assert!(list.iter().filter(|s| s.pinned).all(|p| left.iter().any(|s| s.path == p.path)));
            prop_assert!(list.is_empty() || !left.is_empty());
            if left.iter().filter(|s| !s.pinned).count() > 1 {
                prop_assert!(left.len() as u64 <= u64::from(max_count));
                prop_assert!(left.iter().map(|s| s.bytes).sum::<u64>() <= max_bytes);
            }
        }

        #[test]
        fn the_limits_hold_and_newest_and_pinned_stay(
            items in prop::collection::vec((0i64..2000, 0u64..1000, any::<bool>()), 0..40),
            max_count in 0u32..30, max_bytes in 0u64..20_000, max_age_s in 0u64..2500, min_free in 0u64..5000,
            free in prop::option::of(0u64..5000), now_s in 2000i64..3000,
        ) {
            let list: Vec<Stored> =
                items.iter().enumerate().map(|(n, (at, b, p))| stored(n as i64, *at, *b, *p)).collect();
            let limits = Limits { max_count, max_bytes, max_age_s, min_free_bytes: min_free };
            let now = now(now_s);
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
                    && now.wall.since(s.at) > Duration::from_secs(max_age_s));
                prop_assert!(!aged);
            }
        }
    }
}
