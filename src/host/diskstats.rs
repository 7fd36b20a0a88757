//! /proc/diskstats: counters of every block device, and rates between two readings.

use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Most devices that are read.
const DEVICES_MAX: usize = 10_000;
/// A sector of /proc/diskstats is 512 bytes whatever the disk's own is (Documentation/admin-guide/iostats.rst).
const SECTOR: u64 = 512;

/// Counters since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    pub reads: u64,
    pub read_sectors: u64,
    pub read_ms: u64,
    pub writes: u64,
    pub written_sectors: u64,
    pub write_ms: u64,
    /// Requests on their way at this moment; no counter.
    pub in_flight: u64,
    /// Time in which at least one request was on its way.
    pub busy_ms: u64,
    /// The same, weighted by the number of requests.
    pub weighted_ms: u64,
}

/// Parses the table, by device name; skips lines it does not understand.
pub fn parse(text: &[u8]) -> BTreeMap<String, Counters> {
    let mut out = BTreeMap::new();
    for line in text.split(|b| *b == b'\n').take(DEVICES_MAX) {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut f = line.split_ascii_whitespace().skip(2);
        let Some(name) = f.next() else { continue };
        let n: Vec<u64> = f.map_while(|v| v.parse().ok()).take(11).collect();
        if let [
            reads,
            _,
            read_sectors,
            read_ms,
            writes,
            _,
            written_sectors,
            write_ms,
            in_flight,
            busy_ms,
            weighted_ms,
        ] = n[..]
        {
            let c = Counters {
                reads,
                read_sectors,
                read_ms,
                writes,
                written_sectors,
                write_ms,
                in_flight,
                busy_ms,
                weighted_ms,
            };
            out.insert(name.to_owned(), c);
        }
    }
    out
}

/// What a device did between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rates {
    pub reads_per_s: f64,
    pub read_bytes_per_s: f64,
    pub writes_per_s: f64,
    pub written_bytes_per_s: f64,
    /// Mean time of a finished request; `None` when none finished.
    pub wait_ms: Option<f64>,
    /// Mean number of requests on their way.
    pub queue: f64,
    /// Share of the time with at least one request on its way, 0 to 100.
    pub busy_percent: f64,
    pub in_flight: u64,
    /// Requests wait, and none finished in the whole time.
    pub stuck: bool,
}

/// Rates over `elapsed`; `None` when no time passed or the device was replaced (a counter went back).
pub fn rates(before: &Counters, after: &Counters, elapsed: Duration) -> Option<Rates> {
    let s = elapsed.as_secs_f64();
    if s <= 0.0 {
        return None;
    }
    let d = |a: u64, b: u64| b.checked_sub(a).map(|n| n as f64);
    let reads = d(before.reads, after.reads)?;
    let writes = d(before.writes, after.writes)?;
    let done = reads + writes;
    let spent = d(before.read_ms, after.read_ms)? + d(before.write_ms, after.write_ms)?;
    Some(Rates {
        reads_per_s: reads / s,
        read_bytes_per_s: d(before.read_sectors, after.read_sectors)? * SECTOR as f64 / s,
        writes_per_s: writes / s,
        written_bytes_per_s: d(before.written_sectors, after.written_sectors)? * SECTOR as f64 / s,
        wait_ms: (done > 0.0).then(|| spent / done),
        queue: d(before.weighted_ms, after.weighted_ms)? / (s * 1_000.0),
        busy_percent: (d(before.busy_ms, after.busy_ms)? / (s * 10.0)).min(100.0),
        in_flight: after.in_flight,
        stuck: before.in_flight > 0 && after.in_flight > 0 && done == 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_from_differences_and_a_stuck_disk_is_seen() {
        let a = parse(
            b" 254 0 vda 100 5 1000 50 200 6 4000 300 0 1000 350 0 0 0 0 0 0\n 8 0 sda 1 0 8 1 0 0 0 0 2 10 20\nx\n",
        );
        let b = parse(
            b" 254 0 vda 150 5 3000 100 200 6 4000 300 1 1500 400 0 0 0 0 0 0\n 8 0 sda 1 0 8 1 0 0 0 0 2 1010 2020\n",
        );
        let r = rates(&a["vda"], &b["vda"], Duration::from_secs(1)).expect("rates");
        assert_eq!((r.reads_per_s, r.read_bytes_per_s, r.wait_ms), (50.0, 2000.0 * 512.0, Some(1.0)));
        assert!((r.busy_percent - 50.0).abs() < 1e-9 && !r.stuck);
        let r = rates(&a["sda"], &b["sda"], Duration::from_secs(1)).expect("rates");
        assert!(r.stuck && r.wait_ms.is_none() && r.busy_percent == 100.0 && r.queue == 2.0);
        assert!(rates(&b["vda"], &a["vda"], Duration::from_secs(1)).is_none());
        assert!(rates(&a["vda"], &b["vda"], Duration::ZERO).is_none());
    }

    #[test]
    fn hostile_lines_are_skipped() {
        assert!(parse(b"1 2\n1 2 a b c\n\xff\xff\n999 1 z 1 2 3 99999999999999999999999 5 6 7 8 9 10 11\n").is_empty());
    }
}
