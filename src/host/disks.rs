//! Block devices as /sys/block shows them: size, queue, health counters, partitions, what is built on them.

use crate::host::Root;
use serde::Serialize;
use std::fmt::Write;
use std::io;

/// Most devices, partitions or holders that are listed.
const NAMES_MAX: usize = 2_000;
/// Most bytes of one attribute.
const CAP: usize = 4_096;

/// One whole device, or a partition of one. `None`: the driver has no such attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// The kernel's name: `sda`, `nvme0n1`, `md0`, `cciss!c0d0`.
    pub name: String,
    /// `8:0`.
    pub device: Option<String>,
    pub size_bytes: Option<u64>,
    pub removable: Option<bool>,
    pub read_only: Option<bool>,
    pub rotational: Option<bool>,
    pub scheduler: Option<String>,
    pub queue_depth: Option<u64>,
    pub requests: Option<u64>,
    pub write_cache: Option<String>,
    /// Reads and writes on their way.
    pub in_flight: Option<(u64, u64)>,
    pub model: Option<String>,
    pub vendor: Option<String>,
    /// `running`, `offline`, `blocked` (SCSI), `live`, `resetting`, `dead` (NVMe).
    pub state: Option<String>,
    /// Seconds after which the SCSI layer gives a request up.
    pub timeout_s: Option<u64>,
    pub requests_made: Option<u64>,
    pub requests_done: Option<u64>,
    pub errors: Option<u64>,
    pub timeouts: Option<u64>,
    /// It has hardware behind it: neither loop, RAM, device mapper nor RAID.
    pub physical: bool,
    /// Kernel name of a device mapper target, as its owner calls it.
    pub label: Option<String>,
    /// RAID level, for md.
    pub level: Option<String>,
    pub partitions: Vec<Disk>,
    /// Names of the devices built on this one, or on one of its partitions.
    pub holders: Vec<String>,
}

impl Disk {
    /// The node under /dev. In sysfs `!` stands for `/`.
    pub fn node(&self) -> String {
        format!("/dev/{}", self.name.replace('!', "/"))
    }

    /// Type as lsblk prints it.
    pub fn kind(&self) -> &str {
        let n = self.name.as_str();
        match n {
            _ if n.starts_with("loop") => "loop",
            _ if n.starts_with("md") => self.level.as_deref().unwrap_or("md"),
            _ if n.starts_with("dm-") => "dm",
            _ if n.starts_with("sr") => "rom",
            _ => "disk",
        }
    }
}

/// The names under /sys/block.
pub fn names(root: &Root) -> io::Result<Vec<String>> {
    let (names, _) = root.list("/sys/block", NAMES_MAX)?;
    Ok(names.into_iter().filter_map(|n| n.into_string().ok()).collect())
}

/// Reads one whole device. Attributes under `device/` ask the driver, and may block while it recovers:
/// read guarded.
pub fn read(root: &Root, name: &str) -> Disk {
    let dir = format!("/sys/block/{name}");
    let text = |attribute: &str| text(root, &format!("{dir}/{attribute}"));
    let number = |attribute: &str| text(attribute).and_then(|t| number(&t));
    let mut disk = common(root, &dir, name);
    disk.removable = number("removable").map(|n| n != 0);
    disk.rotational = number("queue/rotational").map(|n| n != 0);
    // `mq-deadline [none]`: the one in brackets is used.
    disk.scheduler = text("queue/scheduler").map(|s| match (s.find('['), s.find(']')) {
        (Some(a), Some(b)) if a < b => s[a + 1..b].to_owned(),
        _ => s,
    });
    disk.requests = number("queue/nr_requests");
    disk.write_cache = text("queue/write_cache");
    disk.queue_depth = number("device/queue_depth");
    disk.model = text("device/model");
    disk.vendor = text("device/vendor");
    disk.state = text("device/state");
    disk.timeout_s = number("device/timeout");
    disk.requests_made = number("device/iorequest_cnt");
    disk.requests_done = number("device/iodone_cnt");
    disk.errors = number("device/ioerr_cnt");
    disk.timeouts = number("device/iotmo_cnt");
    disk.physical = root.read_link(format!("{dir}/device")).is_ok() && !name.starts_with("sr");
    disk.label = text("dm/name");
    disk.level = text("md/level");
    if let Ok((below, _)) = root.list(&dir, NAMES_MAX) {
        for part in below.iter().filter_map(|n| n.to_str()).filter(|n| n.starts_with(name)) {
            let dir = format!("{dir}/{part}");
            if root.read(format!("{dir}/partition"), CAP).is_ok() {
                disk.partitions.push(common(root, &dir, part));
            }
        }
    }
    disk
}

/// What whole devices and partitions both have.
fn common(root: &Root, dir: &str, name: &str) -> Disk {
    let text = |attribute: &str| text(root, &format!("{dir}/{attribute}"));
    let number = |attribute: &str| text(attribute).and_then(|t| number(&t));
    let holders = root.list(format!("{dir}/holders"), NAMES_MAX).map(|(n, _)| n).unwrap_or_default();
    Disk {
        name: name.to_owned(),
        device: text("dev"),
        // Sectors of 512 bytes, whatever the disk's own size is.
        size_bytes: number("size").map(|n| n.saturating_mul(512)),
        read_only: number("ro").map(|n| n != 0),
        in_flight: text("inflight").and_then(|t| {
            let mut f = t.split_whitespace().map(str::parse::<u64>);
            Some((f.next()?.ok()?, f.next()?.ok()?))
        }),
        holders: holders.into_iter().filter_map(|n| n.into_string().ok()).collect(),
        ..Disk::default()
    }
}

fn text(root: &Root, path: &str) -> Option<String> {
    let got = root.read(path, CAP).ok()?;
    let text: String = got.text().trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    (!text.is_empty()).then_some(text)
}

/// Decimal, or hexadecimal with `0x` as the SCSI counters print.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `lsblk`: a tree of devices, partitions and what is built on them. `mounted` gives the mount points of one.
pub fn lsblk(disks: &[Disk], mounted: impl Fn(&Disk) -> Vec<String>) -> String {
    // Name with its branch, device, removable, size, read-only, type, mount points.
    let mut rows: Vec<[String; 7]> =
        vec![["NAME", "MAJ:MIN", "RM", "SIZE", "RO", "TYPE", "MOUNTPOINTS"].map(str::to_owned)];
    let built: std::collections::BTreeSet<&str> = disks
        .iter()
        .flat_map(|d| d.holders.iter().chain(d.partitions.iter().flat_map(|p| &p.holders)))
        .map(String::as_str)
        .collect();
    // An own stack with the branch drawn so far; a device on several others (RAID) is shown below each.
    // Depth is bounded: a holder chain deeper than this is a loop or nonsense.
    const DEPTH_MAX: usize = 12;
    const ROWS_MAX: usize = 10_000;
    let tops = disks.iter().filter(|d| !built.contains(d.name.as_str()) && d.size_bytes != Some(0));
    let mut todo: Vec<(&Disk, &str, usize, String, bool)> =
        tops.map(|d| (d, d.kind(), 0, String::new(), true)).collect();
    todo.reverse();
    while let Some((d, kind, depth, indent, last)) = todo.pop() {
        if rows.len() > ROWS_MAX {
            break;
        }
        let branch = match (depth, last) {
            (0, _) => "",
            (_, true) => "`-",
            (_, false) => "|-",
        };
        let shown = d.label.as_deref().unwrap_or(&d.name);
        let device = d.device.clone().unwrap_or_default();
        let mounts = mounted(d).join(" ");
        let flag = |b: Option<bool>| if b == Some(true) { "1" } else { "0" }.to_owned();
        rows.push([
            format!("{indent}{branch}{shown}"),
            device,
            flag(d.removable),
            d.size_bytes.map(human).unwrap_or_default(),
            flag(d.read_only),
            kind.to_owned(),
            mounts,
        ]);
        if depth >= DEPTH_MAX {
            continue;
        }
        let mut below: Vec<(&Disk, &str)> = d.partitions.iter().map(|p| (p, "part")).collect();
        below.extend(d.holders.iter().filter_map(|h| disks.iter().find(|x| x.name == *h)).map(|x| (x, x.kind())));
        let indent = match (depth, last) {
            (0, _) => String::new(),
            (_, true) => format!("{indent}  "),
            (_, false) => format!("{indent}| "),
        };
        let count = below.len();
        for (i, (x, kind)) in below.into_iter().enumerate().rev() {
            todo.push((x, kind, depth + 1, indent.clone(), i + 1 == count));
        }
    }
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let (w0, w1, w3, w5) = (width(0), width(1), width(3), width(5));
    let mut out = String::new();
    for r in &rows {
        let line = format!("{:<w0$} {:>w1$} {:>2} {:>w3$} {:>2} {:<w5$} {}", r[0], r[1], r[2], r[3], r[4], r[5], r[6]);
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// `931.5G`, as lsblk prints sizes: one decimal unless it is zero.
fn human(bytes: u64) -> String {
    const UNITS: &[char] = &['B', 'K', 'M', 'G', 'T', 'P', 'E'];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let rounded = format!("{value:.1}");
    format!("{}{}", rounded.strip_suffix(".0").unwrap_or(&rounded), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_like_lsblk() {
        assert_eq!(human(274_877_906_944), "256G");
        assert_eq!(human(1_000_204_886_016), "931.5G");
        assert_eq!(human(512), "512B");
    }

    #[test]
    fn a_raid_is_drawn_below_each_of_its_members() {
        let part = |name: &str, holder: &str| Disk {
            name: name.into(),
            size_bytes: Some(1 << 30),
            holders: vec![holder.into()],
            ..Disk::default()
        };
        let disk = |name: &str, p: Disk| Disk {
            name: name.into(),
            size_bytes: Some(2 << 30),
            partitions: vec![p],
            ..Disk::default()
        };
        let md = Disk {
            name: "md0".into(),
            device: Some("9:0".into()),
            size_bytes: Some(1 << 30),
            level: Some("raid1".into()),
            // A loop in the data must not become a loop of ours.
            holders: vec!["md0".into()],
            ..Disk::default()
        };
        let disks = [disk("sda", part("sda1", "md0")), disk("sdb", part("sdb1", "md0")), md];
        let text = lsblk(&disks, |d| if d.device.as_deref() == Some("9:0") { vec!["/srv".into()] } else { vec![] });
        assert!(text.contains("\nsda"), "{text}");
        assert!(text.contains("\n`-sda1"), "{text}");
        assert!(text.contains("\n  `-md0"), "{text}");
        assert!(text.contains("raid1 /srv"), "{text}");
        assert!(text.lines().count() < 60);
    }

    #[test]
    fn scsi_counters_are_hexadecimal() {
        assert_eq!((number("0x1f"), number("31"), number("x")), (Some(31), Some(31), None));
    }
}
