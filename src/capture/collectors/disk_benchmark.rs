//! How fast each physical disk reads, measured past the page cache for about a second; a disk that does not
//! answer a read is given up and said so.

use crate::capture::collectors::{disk_rates, suspects};
use crate::capture::guard::{self, where_held};
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::disk_bench::{Figures, Plan, Step, Tally, measure};
use crate::host::{disks, diskstats};
use crate::model::{Deadline, Mono};
use crate::sys::capability::Capability;
use crate::sys::clock;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "disk_benchmark",
    doc: "Sequential and random read speed of each physical disk, a second each, beside the rest, past the page cache.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 1 << 20,
    limit_ms: 20_000,
    sensitivity: Sensitivity::Plain,
    capabilities: &[Capability::DacReadSearch],
};

/// Longest wait for one read. A healthy disk needs milliseconds, a sleeping one some seconds to spin up: that
/// is reported as no answer, and is worth knowing.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// Disks that are measured at a time: more share the controller and measure that.
const AT_ONCE: usize = 8;
const DISKS_MAX: usize = 64;

#[derive(Serialize)]
struct Told {
    disk: String,
    #[serde(flatten)]
    figures: Figures,
    /// Why there is nothing, or not everything.
    trouble: Option<String>,
}

/// A disk that is being measured.
struct Running {
    disk: String,
    tally: Tally,
    heard_at: Mono,
}

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    if !ctx.config.capture.disk_benchmark {
        return Err(CollectError::Skipped("switched off in the config (capture.disk_benchmark)".into()));
    }
    if !ctx.root.is_real() {
        return Err(CollectError::Skipped("disks of another root cannot be read".into()));
    }
    let names = disks::names(&ctx.root).map_err(CollectError::failed("list /sys/block"))?;
    suspects::note_incident(ctx);
    let stuck = stuck_now(ctx);
    let asked = ctx.config.capture.benchmark_suspects;
    let mut told = Vec::new();
    let mut queue = Vec::new();
    for name in names.into_iter().filter(|n| is_physical(ctx, n)) {
        let suspect = ctx.shared.suspect_disks.lock().is_ok_and(|s| s.contains(&name));
        let why = if suspect && !asked {
            "not measured: the incident is about this disk, or tasks hang on it (capture.benchmark_suspects)"
        } else if stuck.contains(&name) && !asked {
            "not measured: requests wait in it and none finishes"
        } else if queue.len() == DISKS_MAX {
            "not measured: too many disks"
        } else {
            queue.push(name);
            continue;
        };
        sink.missing(format!("disk benchmark of {name}"), why);
        told.push(Told { disk: name, figures: Figures::default(), trouble: Some(why.into()) });
    }
    if queue.is_empty() && told.is_empty() {
        return Err(CollectError::Skipped("no physical disk".into()));
    }
    await_rates(ctx);
    measure_all(queue, ctx, sink, &mut told);
    told.sort_by(|a, b| a.disk.cmp(&b.disk));
    put(&told, sink)?;
    match told.iter().find_map(|t| t.trouble.as_ref().filter(|_| t.figures == Figures::default())) {
        Some(why) if told.iter().all(|t| t.figures == Figures::default()) => {
            Err(CollectError::failed("read any disk")(std::io::Error::other(why.clone())))
        }
        _ => Ok(()),
    }
}

/// Until `disk_rates` has its second reading, which is a quarter of a second after the first at most: a benchmark in between
/// would be measured there as load. Without that collector, or where it does not get on, for no longer.
fn await_rates(ctx: &Context) {
    let until = Deadline::after(clock::mono(), 2 * disk_rates::WINDOW_MIN);
    while !ctx.shared.rates_taken.load(Ordering::Acquire) && !until.passed(clock::mono()) && !ctx.expired() {
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Whole devices with hardware behind them: loop, RAM, zram, device mapper and RAID have no `device` link.
fn is_physical(ctx: &Context, name: &str) -> bool {
    // Optical drives have one, and take half a minute to say that they are empty.
    !name.starts_with("sr")
        && !name.starts_with("fd")
        && ctx.root.read_link(format!("/sys/block/{name}/device")).is_ok()
}

/// Disks with requests that wait while none finishes, since the reading that `block_devices` left.
fn stuck_now(ctx: &Context) -> Vec<String> {
    let first = ctx.shared.diskstats.lock().ok().and_then(|d| d.clone());
    let (Some((began, first)), Ok(second)) =
        (first, ctx.root.read("/proc/diskstats", crate::capture::collectors::disk_rates::CAP))
    else {
        return Vec::new();
    };
    let elapsed = clock::mono().since(began);
    let before = diskstats::parse(&first);
    diskstats::parse(&second.bytes)
        .into_iter()
        .filter(|(n, c)| before.get(n).and_then(|b| diskstats::rates(b, c, elapsed)).is_some_and(|r| r.stuck))
        .map(|(n, _)| n)
        .collect()
}

/// Measures the disks of `queue`, [`AT_ONCE`] at a time, each on a thread that is left behind when it hangs.
fn measure_all(mut queue: Vec<String>, ctx: &Context, sink: &mut Sink, told: &mut Vec<Told>) {
    queue.reverse();
    // One message per read; the loop below only receives, so senders hardly ever wait.
    let (to, from) = sync_channel::<(String, Step)>(256);
    let mut running: Vec<Running> = Vec::new();
    while !queue.is_empty() || !running.is_empty() {
        while running.len() < AT_ONCE && !ctx.expired() {
            let Some(disk) = queue.pop() else { break };
            match start(&disk, ctx, to.clone()) {
                Ok(()) => running.push(Running { disk, tally: Tally::default(), heard_at: clock::mono() }),
                Err(e) => finish(disk, &Tally::default(), Some(format!("start a thread: {e}")), sink, told),
            }
        }
        if ctx.expired() {
            for disk in queue.drain(..) {
                finish(disk, &Tally::default(), Some("not measured: no time left".into()), sink, told);
            }
            for r in running.drain(..) {
                finish(r.disk, &r.tally, Some("cut short: no time left".into()), sink, told);
            }
            return;
        }
        receive(&from, &mut running);
        let now = clock::mono();
        let mut i = 0;
        while i < running.len() {
            let quiet = now.since(running[i].heard_at);
            if running[i].tally.ended() {
                let r = running.swap_remove(i);
                let trouble = r.tally.failed.as_ref().map(|f| match r.tally.denied {
                    true => format!("{f}; reading a disk needs root and a device cgroup that allows it"),
                    false => f.clone(),
                });
                finish(r.disk, &r.tally, trouble, sink, told);
            } else if quiet > READ_LIMIT {
                let r = running.swap_remove(i);
                let held = r.tally.tid.map(where_held).unwrap_or_default();
                let held = format!("no answer in {} ms, held at {held}", quiet.as_millis());
                finish(r.disk, &r.tally, Some(format!("gave up, a read did not return: {held}")), sink, told);
            } else {
                i += 1;
            }
        }
    }
}

fn start(disk: &str, ctx: &Context, to: SyncSender<(String, Step)>) -> std::io::Result<()> {
    let name = disk.to_owned();
    let node = ctx.root.path(format!("/dev/{}", disk.replace('!', "/")));
    let cancelled = ctx.cancelled.clone();
    let run = move |node: PathBuf| {
        measure(&node, &Plan::default(), &mut |step| {
            !cancelled.load(std::sync::atomic::Ordering::Relaxed) && to.send((name.clone(), step)).is_ok()
        });
    };
    guard::start(move || run(node))
}

/// Waits for steps at most 100 ms, then takes all that are there.
fn receive(from: &Receiver<(String, Step)>, running: &mut [Running]) {
    // The other error, disconnected, cannot happen: the caller holds a sender.
    let mut next = from.recv_timeout(Duration::from_millis(100)).ok();
    while let Some((disk, step)) = next {
        // Steps of a disk that was given up have no receiver any more.
        if let Some(r) = running.iter_mut().find(|r| r.disk == disk) {
            r.tally.add(step);
            r.heard_at = clock::mono();
        }
        next = from.try_recv().ok();
    }
}

fn finish(disk: String, tally: &Tally, trouble: Option<String>, sink: &mut Sink, told: &mut Vec<Told>) {
    if let Some(why) = &trouble {
        sink.missing(format!("disk benchmark of {disk}"), why.clone());
    }
    told.push(Told { disk, figures: tally.figures(), trouble });
}

fn put(told: &[Told], sink: &mut Sink) -> Result<(), CollectError> {
    let mut text = String::new();
    for t in told {
        let parts: Vec<String> =
            [t.figures.text()].into_iter().filter(|f| !f.is_empty()).chain(t.trouble.clone()).collect();
        let _ = writeln!(text, "{}: {}", t.disk, parts.join("; "));
    }
    sink.put("lastgasp/disk_benchmark.txt", text)?;
    let json =
        serde_json::to_vec(told).map_err(|e| CollectError::failed("encode lastgasp/disk_benchmark.json")(e.into()))?;
    sink.put("lastgasp/disk_benchmark.json", json)?;
    Ok(())
}
