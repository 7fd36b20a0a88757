//! Control groups: the tree, and each group's figures of memory, CPU, tasks, pressure and I/O.
//!
//! Version 2 has one tree; version 1 one for each controller, whose groups are joined here by their path.
//! `cgroup.procs` is not read: it takes the lock that every fork and exit in the group needs; a process's
//! own `cgroup` file says where it is.

use crate::host::Root;
use crate::host::bytes::{lines, number, words};
use std::collections::BTreeSet;

const BASE: &str = "/sys/fs/cgroup";
/// Most groups, and deepest nesting: a Kubernetes node has about 500 at depth 6.
pub const GROUPS_MAX: usize = 3_000;
pub const DEPTH_MAX: usize = 16;
const FILE_CAP: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// A limit: `max` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Unlimited,
    At(u64),
}

/// One group's figures; `None` where the controller is not enabled or the kernel does not have the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// From the root of the hierarchy: `/`, `/system.slice/nginx.service`.
    pub path: String,
    pub populated: Option<bool>,
    pub frozen: Option<bool>,
    pub memory: Option<u64>,
    pub memory_max: Option<Limit>,
    pub memory_high: Option<Limit>,
    pub swap: Option<u64>,
    pub anon: Option<u64>,
    pub file: Option<u64>,
    pub slab: Option<u64>,
    /// Times that the limit, the high mark and the OOM killer struck.
    pub events_high: Option<u64>,
    pub events_max: Option<u64>,
    pub oom: Option<u64>,
    pub oom_kill: Option<u64>,
    pub cpu_us: Option<u64>,
    pub throttled: Option<u64>,
    pub throttled_us: Option<u64>,
    pub pids: Option<u64>,
    pub pids_max: Option<Limit>,
    /// Share of the last ten seconds in which some task waited, in hundredths of a percent.
    pub pressure_cpu: Option<u64>,
    pub pressure_memory: Option<u64>,
    pub pressure_io: Option<u64>,
    pub read_bytes: Option<u64>,
    pub written_bytes: Option<u64>,
}

/// Which version this machine has; `None`: no cgroups are mounted where they belong.
pub fn version(root: &Root) -> Option<Version> {
    if root.read(format!("{BASE}/cgroup.controllers"), FILE_CAP).is_ok() {
        Some(Version::V2)
    } else {
        ["memory", "cpu", "cpuacct", "pids"]
            .iter()
            .any(|c| root.list_dirs(format!("{BASE}/{c}"), 1).is_ok())
            .then_some(Version::V1)
    }
}

/// Paths of all groups, sorted so that children follow their parent; true when some were left out.
pub fn paths(root: &Root, version: Version) -> (Vec<String>, bool) {
    let trees: &[&str] = match version {
        Version::V2 => &[""],
        Version::V1 => &["/memory", "/cpu", "/pids"],
    };
    let mut all = BTreeSet::new();
    let mut cut = false;
    for tree in trees {
        let mut todo = vec![(String::new(), 0)];
        while let Some((path, depth)) = todo.pop() {
            if all.len() >= GROUPS_MAX {
                cut = true;
                break;
            }
            let Ok((names, more)) = root.list_dirs(format!("{BASE}{tree}{path}"), GROUPS_MAX) else { continue };
            cut |= more || (depth == DEPTH_MAX && !names.is_empty());
            if depth < DEPTH_MAX {
                // A name that is not UTF-8 cannot come from systemd or a container runtime.
                todo.extend(names.iter().filter_map(|n| n.to_str()).map(|n| (format!("{path}/{n}"), depth + 1)));
            }
            all.insert(path);
        }
    }
    (all.into_iter().collect(), cut)
}

/// Reads one group.
pub fn read(root: &Root, version: Version, path: &str) -> Group {
    let mut g = Group { path: if path.is_empty() { "/".into() } else { path.into() }, ..Group::default() };
    let file = |tree: &str, name: &str| root.read(format!("{BASE}{tree}{path}/{name}"), FILE_CAP).ok().map(|c| c.bytes);
    let one = |tree: &str, name: &str| file(tree, name).and_then(|b| number(b.trim_ascii()));
    let limit = |tree: &str, name: &str| file(tree, name).and_then(|b| parse_limit(b.trim_ascii()));
    match version {
        Version::V2 => {
            if let Some(b) = file("", "cgroup.events") {
                g.populated = value(&b, b"populated").map(|n| n != 0);
                g.frozen = value(&b, b"frozen").map(|n| n != 0);
            }
            g.memory = one("", "memory.current");
            g.memory_max = limit("", "memory.max");
            g.memory_high = limit("", "memory.high");
            g.swap = one("", "memory.swap.current");
            if let Some(b) = file("", "memory.stat") {
                (g.anon, g.file, g.slab) = (value(&b, b"anon"), value(&b, b"file"), value(&b, b"slab"));
            }
            if let Some(b) = file("", "memory.events") {
                (g.events_high, g.events_max) = (value(&b, b"high"), value(&b, b"max"));
                (g.oom, g.oom_kill) = (value(&b, b"oom"), value(&b, b"oom_kill"));
            }
            if let Some(b) = file("", "cpu.stat") {
                g.cpu_us = value(&b, b"usage_usec");
                (g.throttled, g.throttled_us) = (value(&b, b"nr_throttled"), value(&b, b"throttled_usec"));
            }
            g.pids = one("", "pids.current");
            g.pids_max = limit("", "pids.max");
            g.pressure_cpu = file("", "cpu.pressure").and_then(|b| some_avg10(&b));
            g.pressure_memory = file("", "memory.pressure").and_then(|b| some_avg10(&b));
            g.pressure_io = file("", "io.pressure").and_then(|b| some_avg10(&b));
            if let Some(b) = file("", "io.stat") {
                (g.read_bytes, g.written_bytes) = (Some(sum(&b, b"rbytes=")), Some(sum(&b, b"wbytes=")));
            }
        }
        Version::V1 => {
            g.memory = one("/memory", "memory.usage_in_bytes");
            // "No limit" is the largest multiple of a page: 0x7ffffffffffff000.
            g.memory_max = one("/memory", "memory.limit_in_bytes").map(|n| match n {
                n if n >= 1 << 60 => Limit::Unlimited,
                n => Limit::At(n),
            });
            g.events_max = one("/memory", "memory.failcnt");
            if let Some(b) = file("/memory", "memory.stat") {
                (g.anon, g.file) = (value(&b, b"rss"), value(&b, b"cache"));
                g.swap = value(&b, b"swap");
            }
            if let Some(b) = file("/memory", "memory.oom_control") {
                g.oom_kill = value(&b, b"oom_kill");
            }
            g.cpu_us = one("/cpuacct", "cpuacct.usage").map(|ns| ns / 1000);
            if let Some(b) = file("/cpu", "cpu.stat") {
                g.throttled = value(&b, b"nr_throttled");
                g.throttled_us = value(&b, b"throttled_time").map(|ns| ns / 1000);
            }
            g.pids = one("/pids", "pids.current");
            g.pids_max = limit("/pids", "pids.max");
        }
    }
    g
}

fn parse_limit(text: &[u8]) -> Option<Limit> {
    if text == b"max" { Some(Limit::Unlimited) } else { number(text).map(Limit::At) }
}

/// The number after `key` at the start of a line.
fn value(text: &[u8], key: &[u8]) -> Option<u64> {
    lines(text).find_map(|l| {
        let mut w = words(l);
        (w.next()? == key).then(|| w.next().and_then(number))?
    })
}

/// The total of a figure over all devices: `254:0 rbytes=1 wbytes=2 rios=3 …`.
fn sum(text: &[u8], key: &[u8]) -> u64 {
    words(text).filter_map(|w| w.strip_prefix(key)).filter_map(number).fold(0, u64::saturating_add)
}

/// `some avg10=0.12 avg60=…` as 12.
fn some_avg10(text: &[u8]) -> Option<u64> {
    let line = lines(text).find_map(|l| l.strip_prefix(b"some avg10="))?;
    let share = words(line).next()?;
    let dot = memchr::memchr(b'.', share)?;
    let (whole, part) = (number(&share[..dot])?, share.get(dot + 1..dot + 3)?);
    whole.checked_mul(100)?.checked_add(number(part)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(value(b"low 0\nmax 7\noom_kill 2\n", b"oom_kill"), Some(2));
        assert_eq!(value(b"oom_kill x\n", b"oom_kill"), None);
        assert_eq!(sum(b"254:0 rbytes=5 wbytes=1\n8:0 rbytes=6\n", b"rbytes="), 11);
        assert_eq!(some_avg10(b"some avg10=12.34 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00\n"), Some(1234));
        assert_eq!(some_avg10(b"some avg10=x"), None);
        assert_eq!(parse_limit(b"max"), Some(Limit::Unlimited));
    }
}
