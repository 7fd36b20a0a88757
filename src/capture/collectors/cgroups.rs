//! `cgroups`: memory, CPU, tasks, pressure and I/O of every control group, as one table.
//!
//! Answers which service or container is at its limit, is throttled, or had processes killed inside.

use crate::capture::guard::Sweep;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::bytes::push_word;
use crate::host::cgroup::{self, Group, Limit, Version};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "cgroups",
    doc: "Memory, CPU, task and I/O figures with limits and pressure of every control group: which service or container is at its limit.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 4 << 20,
    limit_ms: 4_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};

/// `memory.stat` may have to add up the counters of all CPUs first.
const GUARD: Sweep = Sweep { per_item: Duration::from_millis(500), max_stuck: 2, workers: 1 };

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let Some(version) = cgroup::version(&ctx.root) else {
        return Err(CollectError::Skipped("no control groups at /sys/fs/cgroup".into()));
    };
    let (paths, cut) = cgroup::paths(&ctx.root, version);
    if cut {
        let why = format!("beyond {} groups or {} levels", cgroup::GROUPS_MAX, cgroup::DEPTH_MAX);
        sink.missing("some control groups", why);
    }
    let paths = Arc::new(paths);
    let root = ctx.root.clone();
    let swept =
        GUARD.sweep(Arc::clone(&paths), ctx.deadline, || (), move |(), path, _| cgroup::read(&root, version, path));
    for s in &swept.stuck {
        let why = format!("did not answer in 500 ms; the reader hangs at {}", s.place);
        sink.missing(format!("/sys/fs/cgroup{}", paths[s.index]), why);
    }
    if swept.skipped > 0 {
        sink.missing(format!("{} control groups", swept.skipped), "out of time, or too many readers hang");
    }
    let groups: Vec<Group> = swept.results.into_iter().flatten().collect();
    sink.put("lastgasp/cgroups.txt", table(version, &groups))?;
    Ok(())
}

fn table(version: Version, groups: &[Group]) -> Vec<u8> {
    let mut out = Vec::with_capacity(200 * groups.len() + 1024);
    let _ = writeln!(
        out,
        "control groups version {}: {} groups. A dash: not measured there. P_…: share of the last 10 s in which some task waited.",
        if version == Version::V1 { 1 } else { 2 },
        groups.len()
    );
    struck(&mut out, groups);
    let _ = writeln!(
        out,
        "\n{:>10} {:>10} {:>9} {:>10} {:>10} {:>9} {:>6} {:>6} {:>9} {:>10} {:>8} {:>6} {:>7} {:>6} {:>6} {:>6} {:>10} {:>10} PATH",
        "MEM_KIB",
        "MAX_KIB",
        "SWAP_KIB",
        "ANON_KIB",
        "FILE_KIB",
        "SLAB_KIB",
        "OOM",
        "KILLED",
        "AT_MAX",
        "CPU_MS",
        "THROTTLE",
        "PIDS",
        "PIDSMAX",
        "P_CPU",
        "P_MEM",
        "P_IO",
        "READ_KIB",
        "WRITE_KIB"
    );
    for g in groups {
        let kib = |n: Option<u64>| n.map(|n| n / 1024);
        cell(&mut out, kib(g.memory), 10);
        limit(&mut out, g.memory_max, 1024, 10);
        for (n, width) in [(g.swap, 9), (g.anon, 10), (g.file, 10), (g.slab, 9)] {
            cell(&mut out, kib(n), width);
        }
        for (n, width) in [
            (g.oom, 6),
            (g.oom_kill, 6),
            (g.events_max, 9),
            (g.cpu_us.map(|n| n / 1000), 10),
            (g.throttled, 8),
            (g.pids, 6),
        ] {
            cell(&mut out, n, width);
        }
        limit(&mut out, g.pids_max, 1, 7);
        for p in [g.pressure_cpu, g.pressure_memory, g.pressure_io] {
            match p {
                Some(n) => _ = write!(out, "{:>3}.{:02} ", n / 100, n % 100),
                None => cell(&mut out, None, 6),
            }
        }
        cell(&mut out, kib(g.read_bytes), 10);
        cell(&mut out, kib(g.written_bytes), 10);
        push_word(&mut out, g.path.as_bytes());
        if g.populated == Some(false) {
            out.extend_from_slice(b" (empty)");
        }
        if g.frozen == Some(true) {
            out.extend_from_slice(b" (frozen)");
        }
        out.push(b'\n');
    }
    out
}

/// A column and the blank that ends it: the table can be cut at blanks.
fn cell(out: &mut Vec<u8>, n: Option<u64>, width: usize) {
    match n {
        Some(n) => _ = write!(out, "{n:>width$} "),
        None => _ = write!(out, "{:>width$} ", "-"),
    }
}

fn limit(out: &mut Vec<u8>, l: Option<Limit>, unit: u64, width: usize) {
    match l {
        Some(Limit::At(n)) => cell(out, Some(n / unit), width),
        Some(Limit::Unlimited) => _ = write!(out, "{:>width$} ", "max"),
        None => cell(out, None, width),
    }
}

/// The groups that an operator should look at first.
fn struck(out: &mut Vec<u8>, groups: &[Group]) {
    let near = |used: Option<u64>, most: Option<Limit>| match (used, most) {
        (Some(used), Some(Limit::At(most))) => used.saturating_mul(100) >= most.saturating_mul(95),
        _ => false,
    };
    for g in groups {
        let mut why = Vec::new();
        if near(g.memory, g.memory_max) {
            why.push("memory within 5% of its limit".to_owned());
        }
        if near(g.pids, g.pids_max) {
            why.push("tasks within 5% of their limit".to_owned());
        }
        if let Some(n) = g.oom_kill.filter(|n| *n > 0) {
            why.push(format!("{n} processes killed for memory"));
        }
        if g.frozen == Some(true) {
            why.push("frozen".to_owned());
        }
        if !why.is_empty() {
            push_word(out, g.path.as_bytes());
            let _ = writeln!(out, ": {}", why.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_at_their_limit_come_first() {
        let full = Group {
            path: "/a b".into(),
            memory: Some(96 << 20),
            memory_max: Some(Limit::At(100 << 20)),
            oom_kill: Some(2),
            pids: Some(3),
            pids_max: Some(Limit::Unlimited),
            ..Group::default()
        };
        let text = String::from_utf8(table(Version::V2, &[Group { path: "/".into(), ..Group::default() }, full]))
            .expect("text");
        assert!(text.contains("/a\\x20b: memory within 5% of its limit, 2 processes killed for memory\n"), "{text}");
        let rows: Vec<Vec<&str>> = text.lines().skip(3).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 3, "{text}");
        assert!(rows.iter().all(|r| r.len() == 19), "{text}");
        assert_eq!((rows[2][0], rows[2][1], rows[2][12], rows[1][0]), ("98304", "102400", "max", "-"));
    }
}
