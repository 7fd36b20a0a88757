//! Disks and file systems: which device, where, what was asked of it and what it answered.

use crate::detect::facts::{between, number_after, set, set_number};
use crate::model::Event;

pub(super) fn read(event: &mut Event, body: &str) {
    if let Some(name) = device(body) {
        set(event, "device", &name);
    }
    for (key, name) in [("sector ", "sector"), ("logical block ", "block"), ("block ", "block")] {
        if let Some(n) = number_after(body, key) {
            set_number(event, name, Some(n));
            break;
        }
    }
    if let Some(name) = between(body, "server ", " not responding") {
        set(event, "server", name);
    }
    // block/blk-mq.c blk_print_req_error
    if let Some(op) = between(body, " op 0x", " ").and_then(|w| w.split_once(":(").map(|p| p.1)) {
        set(event, "operation", op.trim_end_matches(')'));
    }
    scsi(event, body);
    ata(event, body);
}

/// `Sense Key : Medium Error [current]`, `Add. Sense: Unrecovered read error`, `CDB: Read(10) 28 00 …` (drivers/scsi/scsi_logging.c);
/// before 3.19 `CDB: ` alone and the command on the line below.
fn scsi(event: &mut Event, body: &str) {
    if let Some((_, key)) = body.split_once("Sense Key : ") {
        set(event, "sense_key", key.split(" [").next().unwrap_or(key));
    }
    if let Some((_, sense)) = body.split_once("Add. Sense: ") {
        set(event, "sense", sense);
    }
    if let Some((_, cdb)) = body.split_once(" CDB: ") {
        set(event, "command", cdb.split([' ', ':']).next().unwrap_or(cdb));
    }
}

/// `failed command: READ FPDMA QUEUED`, `status: { DRDY ERR }`, `error: { UNC }` (drivers/ata/libata-eh.c ata_eh_link_report).
fn ata(event: &mut Event, body: &str) {
    if !body.starts_with("ata") {
        return;
    }
    if let Some((_, command)) = body.split_once(": failed command: ") {
        set(event, "command", command);
    }
    for (key, name) in [(": status: { ", "ata_status"), (": error: { ", "ata_error")] {
        if let Some(bits) = between(body, key, "}") {
            set(event, name, bits);
        }
    }
}

/// The device that a storage line speaks of: `dev sda1`, `(sda1)`, `(device sda1)`, `[sda]`, `nvme0`, `ata1.00`, `md0`.
pub(crate) fn device(body: &str) -> Option<String> {
    let word = |rest: &str| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.!".contains(c))).unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches('.');
        (!name.is_empty() && name.len() <= 32).then(|| name.to_owned())
    };
    for lead in ["Disk failure on ", "(device ", " dev ", " device ", "Buffer I/O error on "] {
        if let Some((_, rest)) = body.split_once(lead)
            && let Some(name) = word(rest)
            && name != "of"
        {
            return Some(name);
        }
    }
    for lead in ["-fs (", "XFS (", "-fs error (", "BTRFS error (", "BTRFS critical ("] {
        if let Some((_, rest)) = body.split_once(lead) {
            return word(rest);
        }
    }
    let t = body.trim_start();
    if t.starts_with("sd ") || t.starts_with("sr ") {
        let (_, rest) = t.split_once('[')?;
        return word(rest);
    }
    for lead in ["block ", "nvme "] {
        if let Some(rest) = t.strip_prefix(lead) {
            return word(rest);
        }
    }
    if t.starts_with("ata") || t.starts_with("nvme") || t.starts_with("md") {
        return word(t.strip_prefix("md/").and_then(|r| r.split_once(':')).map_or(t, |p| p.1));
    }
    None
}

/// A device and its partitions are one subject: `sda1` → `sda`, `nvme0n1p2` → `nvme0`, `ata1.00` → `ata1`.
pub(crate) fn subject(device: &str) -> &str {
    if let Some(rest) = device.strip_prefix("nvme") {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        return &device[..4 + digits];
    }
    if device.starts_with("ata") {
        return device.split('.').next().unwrap_or(device);
    }
    if ["sd", "hd", "vd", "xvd"].iter().any(|p| device.starts_with(p)) {
        return device.trim_end_matches(|c: char| c.is_ascii_digit());
    }
    device
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::facts::tests::details_of;
    use crate::model::Kind;

    #[test]
    fn devices_are_found_and_grouped() {
        for (body, want) in [
            ("I/O error, dev sda1, sector 12 op 0x0:(READ) flags 0x0", "sda1"),
            ("Buffer I/O error on dev nvme0n1p1, logical block 7", "nvme0n1p1"),
            ("EXT4-fs (dm-0): Remounting filesystem read-only", "dm-0"),
            ("EXT4-fs error (device sda1): ext4_lookup:1", "sda1"),
            ("sd 0:0:0:0: [sdb] tag#1 Sense Key : Medium Error [current]", "sdb"),
            ("nvme nvme1: I/O 12 QID 3 timeout, aborting", "nvme1"),
            ("ata1.00: failed command: READ DMA", "ata1.00"),
            ("md/raid1:md1: Disk failure on sdc1, disabling device.", "sdc1"),
        ] {
            assert_eq!(device(body).as_deref(), Some(want), "{body}");
        }
        assert_eq!(
            (subject("sda1"), subject("nvme0n1p2"), subject("ata1.00"), subject("dm-0")),
            ("sda", "nvme0", "ata1", "dm-0")
        );
    }

    #[test]
    fn what_a_disk_answers_is_kept() {
        assert_eq!(
            details_of(
                Kind::IoError,
                "sd 0:0:0:0: [sda] tag#12 Sense Key : Medium Error [current] [descriptor]\n\
                 sd 0:0:0:0: [sda] tag#12 Add. Sense: Unrecovered read error - auto reallocate failed\n\
                 sd 0:0:0:0: [sda] tag#12 CDB: Read(10) 28 00 00 12 34 56 00 00 08 00\n\
                 critical medium error, dev sda, sector 1193046 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
            ),
            [
                "command=Read(10)",
                "device=sda",
                "operation=READ",
                "sector=1193046",
                "sense=Unrecovered read error - auto reallocate failed",
                "sense_key=Medium Error",
            ]
        );
        assert_eq!(
            details_of(
                Kind::IoError,
                "ata1.00: failed command: READ FPDMA QUEUED\nata1.00: status: { DRDY ERR }\nata1.00: error: { UNC }",
            ),
            ["ata_error=UNC", "ata_status=DRDY ERR", "command=READ FPDMA QUEUED", "device=ata1.00"]
        );
    }
}
