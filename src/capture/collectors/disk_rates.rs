//! What each disk does at this moment: the difference between two readings of its counters.

use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::diskstats::{self, Rates};
use crate::sys::clock;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "disk_rates",
    doc: "Reads and writes per second, waiting times and load of each disk; disks with stuck requests.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 1 << 20,
    limit_ms: 3_000,
    sensitivity: Sensitivity::Plain,
    capabilities: &[],
};

/// Shortest time between the readings. The kernel counts busy time in ticks of at most 10 ms.
pub const WINDOW_MIN: Duration = Duration::from_millis(250);
pub const CAP: usize = 1 << 20;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let rates = measure(ctx)?;
    let mut text = String::from(
        "device            reads/s  read kB/s   writes/s write kB/s   wait ms    queue  busy %  in flight\n",
    );
    for (name, r) in &rates {
        let wait = r.wait_ms.map_or_else(|| "-".into(), |w| format!("{w:.1}"));
        let _ = writeln!(
            text,
            "{name:<14} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {wait:>9} {:>8.2} {:>7.1} {:>10}{}",
            r.reads_per_s,
            r.read_bytes_per_s / 1e3,
            r.writes_per_s,
            r.written_bytes_per_s / 1e3,
            r.queue,
            r.busy_percent,
            r.in_flight,
            if r.stuck { "  STUCK: requests wait and none finishes" } else { "" }
        );
    }
    sink.put("lastgasp/disk_rates.txt", text)?;
    let json =
        serde_json::to_vec(&rates).map_err(|e| CollectError::failed("encode lastgasp/disk_rates.json")(e.into()))?;
    sink.put("lastgasp/disk_rates.json", json)?;
    Ok(())
}

/// Rates since the reading that `block_devices` left, or over [`WINDOW_MIN`] from now where there is none.
/// Disks that are stuck join the suspects.
fn measure(ctx: &Context) -> Result<BTreeMap<String, Rates>, CollectError> {
    let read = || {
        let got = ctx.root.read("/proc/diskstats", CAP).map_err(CollectError::failed("read /proc/diskstats"))?;
        Ok::<_, CollectError>((clock::mono(), got.bytes))
    };
    let left = ctx.shared.diskstats.lock().ok().and_then(|d| d.clone());
    let (began, first) = match left {
        Some(reading) => reading,
        None => read()?,
    };
    // Time itself is what is awaited here; a cancelled capture is noticed at the next wake-up.
    loop {
        let short = WINDOW_MIN.saturating_sub(clock::mono().since(began));
        if short.is_zero() || ctx.expired() {
            break;
        }
        std::thread::park_timeout(short.min(Duration::from_millis(100)));
    }
    let second = read();
    ctx.shared.rates_taken.store(true, Ordering::Release);
    let (ended, second) = second?;
    let (before, after) = (diskstats::parse(&first), diskstats::parse(&second));
    let elapsed = ended.since(began);
    let rates: BTreeMap<String, Rates> = after
        .iter()
        .filter(|(_, c)| c.reads + c.writes + c.in_flight > 0)
        .filter_map(|(name, c)| Some((name.clone(), diskstats::rates(before.get(name)?, c, elapsed)?)))
        .collect();
    if let Ok(mut suspects) = ctx.shared.suspect_disks.lock() {
        suspects.extend(rates.iter().filter(|(_, r)| r.stuck).map(|(n, _)| n.clone()));
    }
    Ok(rates)
}
