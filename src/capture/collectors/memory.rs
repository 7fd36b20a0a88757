//! `memory`: the kernel's counters of memory, CPU, pressure, interrupts and disks, as they are.

use crate::capture::{FileSpec, Sensitivity, Source, Spec, Tier};

pub const SPEC: Spec = Spec {
    name: "memory",
    doc: "Counters of memory, CPU, pressure, interrupts and disks at the moment of failure: what the machine had run out of.",
    tier: Tier::T0,
    source: Source::Files(&[
        FileSpec::new("/proc/meminfo").required(),
        FileSpec::new("/proc/stat").cap(4 << 20).required(),
        FileSpec::new("/proc/loadavg").required(),
        FileSpec::new("/proc/uptime").required(),
        FileSpec::new("/proc/vmstat"),
        FileSpec::new("/proc/pressure/cpu"),
        FileSpec::new("/proc/pressure/memory"),
        FileSpec::new("/proc/pressure/io"),
        FileSpec::new("/proc/pressure/irq"),
        FileSpec::new("/proc/diskstats"),
        FileSpec::new("/proc/swaps"),
        FileSpec::new("/proc/buddyinfo"),
        FileSpec::new("/proc/zoneinfo"),
        FileSpec::new("/proc/slabinfo"),
        FileSpec::new("/proc/interrupts").cap(4 << 20),
        FileSpec::new("/proc/softirqs"),
        FileSpec::new("/proc/schedstat"),
        FileSpec::new("/proc/locks"),
    ]),
    cap_bytes: 16 << 20,
    limit_ms: 2_000,
    sensitivity: Sensitivity::Plain,
    // slabinfo is readable by root only (mode 0400).
    capabilities: &[],
};
