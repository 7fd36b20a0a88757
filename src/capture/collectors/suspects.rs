//! Which disks the incident is about, and which ones blocked tasks hang on as far as their names say: the
//! kernel's own helpers carry the device in their comm (`jbd2/sda1-8`, `xfsaild/dm-0`,
//! `kworker/u8:1+flush-253:0`, `md127_raid1`). With each also the disks that lie below it.
//!
//! A hint, so that those disks are not put under more load by the read benchmark. A blocked user
//! process does not say which disk it waits for; nothing is concluded from it, but its requests wait in
//! that disk's queue, which the benchmark looks at.

use crate::capture::Context;
use crate::host::Root;
use crate::host::tasks::Table;
use crate::model::{Event, Trigger};
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// Devices below devices: a volume on an encrypted disk on a RAID of partitions is four deep.
const DEPTH_MAX: usize = 8;

/// Adds the disks that tasks hang on to [`crate::capture::context::Shared::suspect_disks`].
pub(crate) fn note(ctx: &Context, table: &Table) {
    let blocked = table.processes.iter().filter(|p| p.stat.state == b'D');
    add(ctx, blocked.filter_map(|p| device_of(&p.stat.comm)));
}

/// Adds the disks that the incident names, as they are known at this moment.
pub(crate) fn note_incident(ctx: &Context) {
    if !ctx.incident.local {
        return;
    }
    let trigger = match &ctx.incident.trigger {
        Trigger::Event(e) => Some(&**e),
        Trigger::Manual { .. } => None,
    };
    add(ctx, trigger.into_iter().chain(&ctx.incident.events).filter_map(device_in));
}

/// The block device that an event is about. The detail is also used for other devices (an interface, a port of a
/// bus); what /sys/class/block does not know is dropped later.
fn device_in(event: &Event) -> Option<String> {
    event.details.get("device").cloned().or_else(|| device_of(event.comm.as_deref()?.as_bytes()))
}

fn add(ctx: &Context, devices: impl Iterator<Item = String>) {
    let mut found = BTreeSet::new();
    for device in devices.filter(|d| is_name(d)) {
        below(&ctx.root, &device, DEPTH_MAX, &mut found);
    }
    let mut disks = ctx.shared.suspect_disks.lock().unwrap_or_else(PoisonError::into_inner);
    found.retain(|d| !disks.contains(d));
    disks.extend(found);
}

/// The whole disk of `device` and every disk below it: /sys/block/dm-0/slaves has `sda2`.
fn below(root: &Root, device: &str, depth: usize, found: &mut BTreeSet<String>) {
    let disk = whole_disk(root, device);
    if depth == 0 || !found.insert(disk.clone()) {
        return;
    }
    for slave in root.list(format!("/sys/block/{disk}/slaves"), 64).map(|l| l.0).unwrap_or_default() {
        if let Some(slave) = slave.to_str().filter(|s| is_name(s)) {
            below(root, slave, depth - 1, found);
        }
    }
}

/// No path, whatever an event's text made of it.
fn is_name(s: &str) -> bool {
    !s.is_empty()
        && !s.starts_with('.')
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'!' | b'.'))
}

/// The device that a kernel helper's name carries: a name (`sda1`) or numbers (`253:0`).
fn device_of(comm: &[u8]) -> Option<String> {
    let comm = std::str::from_utf8(comm).ok()?;
    let name = |s: &str| {
        let ok =
            !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'!'));
        ok.then(|| s.to_owned())
    };
    if let Some(rest) = comm.strip_prefix("jbd2/") {
        // `jbd2/sda1-8`: the number after the last dash is the journal's inode.
        return name(rest.rsplit_once('-')?.0);
    }
    for prefix in ["xfsaild/", "xfs-buf/", "xfs-log/", "xfs-cil/", "xfs-conv/", "xfs-sync/", "dmcrypt_write/"] {
        if let Some(rest) = comm.strip_prefix(prefix) {
            return name(rest);
        }
    }
    if let Some((_, rest)) = comm.rsplit_once("flush-") {
        return rest.contains(':').then(|| name(rest)).flatten();
    }
    if comm.starts_with("f2fs_") {
        return name(comm.rsplit_once('-')?.1).filter(|n| n.contains(':'));
    }
    if let Some(digits) = comm.strip_prefix("loop") {
        return (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| comm.to_owned());
    }
    if comm.starts_with("md")
        && let Some((disk, _)) = comm.split_once("_raid")
    {
        return name(disk);
    }
    None
}

/// The disk of a partition, from where sysfs places it: `…/block/sda/sda1` is on `sda`. What sysfs does
/// not know stays as it is.
fn whole_disk(root: &Root, device: &str) -> String {
    let link =
        if device.contains(':') { format!("/sys/dev/block/{device}") } else { format!("/sys/class/block/{device}") };
    let Ok(target) = root.read_link(link) else { return device.to_owned() };
    let mut parts = target.iter().skip_while(|p| *p != "block").skip(1);
    parts.next().and_then(|p| p.to_str()).unwrap_or(device).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_in_the_names_of_kernel_helpers() {
        for (comm, want) in [
            ("jbd2/sda1-8", Some("sda1")),
            ("jbd2/dm-3-8", Some("dm-3")),
            ("xfsaild/nvme0n1p2", Some("nvme0n1p2")),
            ("kworker/u8:1+flush-253:0", Some("253:0")),
            ("f2fs_ckpt-259:1", Some("259:1")),
            ("loop7", Some("loop7")),
            ("md127_raid1", Some("md127")),
            ("mysqld", None),
            ("loop", None),
            ("jbd2/../../x-8", None),
            ("kworker/u8:1-events", None),
        ] {
            assert_eq!(device_of(comm.as_bytes()).as_deref(), want, "{comm}");
        }
    }
}
