//! Points in time. `sys::clock` is the only place that reads them from the machine, so that
//! everything else can be tested with made-up times.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Nanoseconds of CLOCK_MONOTONIC. Comparable within one boot only; stands still in suspend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mono(pub u64);

impl Mono {
    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This time plus `d`; saturates.
    pub fn plus(self, d: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Microseconds since 1970-01-01 UTC, from CLOCK_REALTIME. May jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wall(pub i64);

impl Wall {
    /// The instant as chrono knows it; `None` outside chrono's range.
    pub fn utc(self) -> Option<chrono::DateTime<chrono::Utc>> {
        chrono::DateTime::from_timestamp_micros(self.0)
    }

    /// `20261123T021500Z`: the form used in file names.
    pub fn compact(self) -> String {
        self.utc().map_or_else(|| "unknown".into(), |t| t.format("%Y%m%dT%H%M%SZ").to_string())
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-23T02:15:00.123Z`.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.utc() {
            Some(t) => write!(f, "{}", t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
            None => f.write_str("unknown time"),
        }
    }
}

/// A printk stamp: microseconds since the kernel started, by the kernel's own sched_clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KernelTime(pub u64);

/// As the kernel prints it, without the brackets: `12.345678`.
impl fmt::Display for KernelTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The point after which a piece of work is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Mono);

impl Deadline {
    /// `d` from `now`.
    pub fn after(now: Mono, d: Duration) -> Deadline {
        Deadline(now.plus(d))
    }

    /// What is left at `now`; zero once it has passed.
    pub fn left(self, now: Mono) -> Duration {
        self.0.since(now)
    }

    /// Whether it has passed at `now`.
    pub fn passed(self, now: Mono) -> bool {
        now >= self.0
    }

    /// The earlier of two.
    pub fn earlier(self, other: Deadline) -> Deadline {
        self.min(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_prints_as_rfc3339_and_compact() {
        let t = Wall(1_795_400_100_123_456);
        assert_eq!(t.to_string(), "2026-11-23T02:15:00.123Z");
        assert_eq!(t.compact(), "20261123T021500Z");
    }

    #[test]
    fn times_saturate_instead_of_wrapping() {
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Mono(u64::MAX).plus(Duration::from_secs(1)), Mono(u64::MAX));
        assert!(Deadline::after(Mono(0), Duration::from_nanos(3)).passed(Mono(3)));
        assert_eq!(KernelTime(12_345_678).to_string(), "12.345678");
    }
}
