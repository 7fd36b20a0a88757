//! Block devices: what they are, how their queues are set, what waits in them, what they have failed.

use crate::capture::files::FILE_LIMIT;
use crate::capture::guard::Guard;
use crate::capture::{CollectError, Context, FileSpec, Sensitivity, Sink, Source, Spec, Tier, files};
use crate::host::{disks, mounts};

pub const SPEC: Spec = Spec {
    name: "block_devices",
    doc: "Disks with queue settings, requests in flight, states, error and timeout counts; lsblk.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 8 << 20,
    limit_ms: 5_000,
    sensitivity: Sensitivity::Plain,
    capabilities: &[],
};

/// Attributes that are copied as they are, under their own path. /sys/block/NAME/device leads to the driver,
/// which may block while it recovers; everything here is read guarded.
const ATTRIBUTES: &[&str] = &[
    "size",
    "ro",
    "removable",
    "stat",
    "inflight",
    "queue/rotational",
    "queue/scheduler",
    "queue/nr_requests",
    "queue/max_sectors_kb",
    "queue/read_ahead_kb",
    "queue/logical_block_size",
    "queue/physical_block_size",
    "queue/write_cache",
    "queue/wbt_lat_usec",
    "queue/io_timeout",
    "device/vendor",
    "device/model",
    "device/rev",
    "device/firmware_rev",
    "device/state",
    "device/timeout",
    "device/eh_timeout",
    "device/queue_depth",
    "device/iorequest_cnt",
    "device/iodone_cnt",
    "device/ioerr_cnt",
    "device/iotmo_cnt",
    "md/array_state",
    "md/degraded",
    "md/sync_action",
    "md/mismatch_cnt",
    "dm/name",
    "dm/suspended",
];

/// Most mount points that are shown of one device: containers bind one file system thousands of times.
const POINTS_MAX: usize = 8;

/// Devices without content are not worth 30 entries each.
fn is_idle(d: &disks::Disk) -> bool {
    d.size_bytes == Some(0) || (!d.physical && ["loop", "ram", "zram"].iter().any(|p| d.name.starts_with(p)))
}

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    if let (Ok(got), Ok(mut early)) = (ctx.root.read("/proc/diskstats", 1 << 20), ctx.shared.diskstats.lock()) {
        *early = Some((crate::sys::clock::mono(), got.bytes));
    }
    let mut guard = Guard::new(files::MAX_ABANDONED);
    let names = disks::names(&ctx.root).map_err(CollectError::failed("list /sys/block"))?;
    let mut all = Vec::new();
    for name in names {
        if ctx.expired() {
            sink.missing(format!("/sys/block/{name}"), "no time left");
            continue;
        }
        let (root, asked) = (ctx.root.clone(), name.clone());
        match guard.call(FILE_LIMIT.min(ctx.left()), move || disks::read(&root, &asked)) {
            // Loop and RAM devices that nobody uses, and drives without a medium.
            Ok(disk) if disk.size_bytes == Some(0) && disk.state.is_none() => {}
            Ok(disk) => all.push(disk),
            Err(why) => {
                // A disk whose driver hangs is the last one to be benchmarked.
                if let Ok(mut suspects) = ctx.shared.suspect_disks.lock() {
                    suspects.push(name.clone());
                }
                sink.missing(format!("/sys/block/{name}"), why.to_string());
            }
        }
    }
    let table = ctx.root.read("/proc/self/mountinfo", 4 << 20).map(|t| mounts::parse(&t.bytes).0).unwrap_or_default();
    let text = disks::lsblk(&all, |disk| {
        // btrfs and overlays show a number of their own, so the source is looked at as well.
        let node = disk.node();
        let on = |m: &&mounts::Mount| disk.device.as_ref() == Some(&m.device) || m.source == node;
        table.iter().filter(on).map(|m| m.at.clone()).take(POINTS_MAX).collect()
    });
    sink.put("sos_commands/block/lsblk", text)?;
    let json = serde_json::to_vec(&all).map_err(|e| CollectError::failed("encode lastgasp/disks.json")(e.into()))?;
    sink.put("lastgasp/disks.json", json)?;
    for disk in all.iter().filter(|d| !is_idle(d)) {
        for attribute in ATTRIBUTES {
            let path = format!("/sys/block/{}/{attribute}", disk.name);
            files::copy(&path, &FileSpec::new("/sys/block/*").cap(4_096), ctx, &mut guard, sink)?;
        }
    }
    Ok(())
}
