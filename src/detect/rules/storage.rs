//! Disks, arrays and file systems.

use super::{Recipe, Role, Rule, Shape, rule};
use crate::model::{Kind, Severity};

pub(super) const RULES: &[Rule] = &[
    rule(
        "md_failure",
        Kind::IoError,
        Severity::Fatal,
        &["Disk failure on ", "md: super_written gets error", "not enough operational devices", "Cannot continue operation (", "kicking non-fresh"],
        "RAID member failed",
        "drivers/md/raid1.c raid1_error, raid10.c, raid5.c, raid0.c; md.c super_written",
        "A disk dropped out of a software RAID.",
    )
    .within(40)
    .check(|b, _| b.starts_with(b"md"))
    .single(),
    rule(
        "nvme",
        Kind::IoError,
        Severity::Error,
        &[" timeout, reset controller", " timeout, completion polled", " timeout, disable controller", " timeout, aborting", "controller is down; will reset", "Disabling device after reset failure", "Removing after probe failure", "Device not ready; aborting", "no available path - failing I/O", "no usable path - requeuing I/O", "nvme: I/O timeout"],
        "NVMe controller trouble",
        "drivers/nvme/host/pci.c nvme_timeout, nvme_reset_work; multipath.c nvme_ns_head_submit_bio",
        "An NVMe drive does not answer, is being reset, or is gone.",
    )
    .within(160)
    .check(|b, _| memchr::memmem::find(&b[..b.len().min(48)], b"nvme").is_some())
    .single(),
    rule(
        "buffer_io",
        Kind::IoError,
        Severity::Error,
        &["Buffer I/O error on dev"],
        "buffer I/O error",
        "fs/buffer.c buffer_io_error",
        "A block of a file system could not be read or written.",
    )
    .within(2)
    .veto(&["rpmb,", " dev fd"])
    .single(),
    rule(
        "block_io",
        Kind::IoError,
        Severity::Error,
        &["I/O error, dev ", "critical medium error, dev ", "critical target error, dev ", "critical nexus error, dev ", "critical space allocation error, dev ", "protection error, dev ", "timeout error, dev ", "end_request: I/O error", "recoverable transport error, dev "],
        "block device I/O error",
        "block/blk-mq.c blk_print_req_error (blk_errors[] in block/blk-core.c)",
        "A block device failed a request.",
    )
    .within(40)
    // The RPMB part of an eMMC answers no ordinary read (drivers/mmc/core/block.c), an empty floppy drive none at all
    // (drivers/block/floppy.c): every boot probes them.
    .veto(&["rpmb,", " dev fd"])
    .check(block_dev)
    .single(),
    rule(
        "beyond_end",
        Kind::IoError,
        Severity::Warning,
        &["attempt to access beyond end of device"],
        "access beyond end of device",
        "block/blk-core.c bio_check_eod",
        "A request starts past the end of its device: a damaged file system or a shrunk disk.",
    )
    .within(40)
    .single(),
    rule(
        "scsi",
        Kind::IoError,
        Severity::Error,
        &["rejecting I/O to offline device", "rejecting I/O to dead device", "Sense Key : Medium Error", "Sense Key : Hardware Error", "Device offlined - not ready after error recovery", "Synchronize Cache(10) failed", "FAILED Result: hostbyte=", "UNKNOWN(0x2003) Result: hostbyte="],
        "SCSI error",
        "drivers/scsi/scsi_lib.c scsi_device_state_check; scsi_logging.c scsi_print_sense, scsi_print_result; scsi_error.c",
        "A SCSI device reports an error or was taken offline.",
    )
    .within(64)
    .check(scsi_lead)
    .single(),
    rule(
        "ata",
        Kind::IoError,
        Severity::Error,
        &[": failed command: ", ": exception Emask ", ": hard resetting link", "0: disabled", "1: disabled", ": COMRESET failed", ": SError: {", ": revalidation failed"],
        "ATA error",
        "drivers/ata/libata-eh.c ata_eh_link_report, ata_eh_reset",
        "A SATA drive or link fails.",
    )
    .within(16)
    .check(ata_lead)
    .single(),
    rule(
        "superblock_write",
        Kind::FsError,
        Severity::Error,
        &["I/O error while writing superblock", "previous I/O error to superblock detected", "failed to write superblock", "Write access unavailable"],
        "superblock cannot be written",
        "fs/ext4/super.c ext4_commit_super; fs/ext2/super.c",
        "A file system cannot write its superblock.",
    )
    .within(64)
    .single(),
    rule(
        "fs_readonly",
        Kind::FsError,
        Severity::Error,
        &["Remounting filesystem read-only", "emounting filesystem read-only", "File system has been set read-only", "Filesystem has been set read-only", "remounting read-only"],
        "file system went read-only",
        "fs/ext4/super.c ext4_handle_error; fs/fat/misc.c __fat_fs_error; fs/f2fs",
        "A file system protects itself by refusing writes.",
    )
    .within(64)
    .single(),
    rule(
        "ext_fs",
        Kind::FsError,
        Severity::Error,
        &["EXT4-fs error (", "EXT3-fs error (", "EXT2-fs error (", "failed to convert unwritten extents", "Delayed block allocation failed", "This should not happen!! Data will be lost", "EXT4-fs critical", "EXT4-fs panic"],
        "ext4 error",
        "fs/ext4/super.c __ext4_error, ext4_handle_error, ext4_commit_super; fs/ext2/super.c",
        "An ext file system found damage or stopped writing.",
    )
    // Not `EXT4-fs (`: every mount says that, and a phrase of quiet lines makes scanning slow.
    .within(120)
    .check(ext_line)
    .shape(Shape::Single)
    .recipe(Recipe::None),
    rule(
        "jbd2",
        Kind::FsError,
        Severity::Error,
        &["JBD2: Detected IO errors while flushing", "JBD2: Error ", "Aborting journal on device", "JBD2: I/O error", "journal commit I/O error", "Detected aborted journal"],
        "journal aborted",
        "fs/jbd2/commit.c jbd2_journal_commit_transaction; journal.c jbd2_journal_abort",
        "The journal of an ext file system could not be written.",
    )
    .within(40)
    .single(),
    rule(
        "xfs",
        Kind::FsError,
        Severity::Fatal,
        &["Corruption of in-memory data", "Shutting down filesystem", "shutting down filesystem", "metadata I/O error", "Metadata corruption detected", "Metadata CRC error detected", "Internal error ", "log I/O error", "Corruption warning: Metadata has LSN", "Corruption detected. Unmount and run xfs_repair", "Please unmount the filesystem and rectify", "xfs_do_force_shutdown"],
        "XFS error",
        "fs/xfs/xfs_fsops.c xfs_do_force_shutdown; xfs_error.c; xfs_buf.c xfs_buf_ioerror_alert",
        "An XFS file system found damage or shut itself down.",
    )
    .within(48)
    .check(|b, _| b.starts_with(b"XFS"))
    .single(),
    rule(
        "btrfs",
        Kind::FsError,
        Severity::Error,
        &["BTRFS error (", "BTRFS critical (", "BTRFS: error (", "BTRFS: Transaction aborted", "BTRFS warning (", "BTRFS: Read error", "csum failed root", "checksum verify failed on ", "BTRFS error: ", "forced readonly"],
        "btrfs error",
        "fs/btrfs/messages.c __btrfs_handle_fs_error; inode.c, disk-io.c",
        "A btrfs file system found damage or went read-only.",
    )
    .within(96)
    .check(btrfs_line)
    .single(),
    rule(
        "other_fs",
        Kind::FsError,
        Severity::Error,
        &["FAT-fs (", "F2FS-fs (", "SQUASHFS error: ", "GFS2: ", "overlayfs: failed", "NTFS-fs error", "erofs: "],
        "file system error",
        "fs/fat/misc.c; fs/f2fs/super.c; fs/squashfs",
        "Another file system reports damage; most such lines name a bad image and are only noted.",
    )
    .within(2)
    .check(|b, at| memchr::memmem::find(&b[at..], b"error").is_some())
    .quiet()
    .single(),
    rule(
        "nfs_server",
        Kind::IoError,
        Severity::Error,
        &["not responding, still trying", "not responding, timed out"],
        "NFS server not responding",
        "net/sunrpc/clnt.c call_status, rpc_check_timeout",
        "A file server does not answer; whoever uses its mounts hangs.",
    )
    .within(160)
    .check(|b, at| b.starts_with(b"nfs:") || b.starts_with(b"rpc:") || b.starts_with(b"lockd:") || memchr::memmem::find(&b[..at], b"server ").is_some_and(|n| n < 16))
    .single(),
    rule(
        "dm_multipath",
        Kind::IoError,
        Severity::Error,
        &["device-mapper: multipath: ", "device-mapper: thin: ", "device-mapper: raid: ", "device-mapper: snapshots: "],
        "device mapper trouble",
        "drivers/md/dm-mpath.c fail_path; dm-thin.c set_pool_mode; dm-raid.c; dm-snap.c",
        "A path, a thin pool or a snapshot of the device mapper failed.",
    )
    .within(2)
    .check(|b, at| [&b"Failing path"[..], b"out of data space", b"out of metadata", b"nvalidating snapshot", b"switching pool to read-only", b"device failed"].iter().any(|w| memchr::memmem::find(&b[at..], w).is_some()))
    .role(Role::Start)
    .single(),
];

/// `sda, sector 12`: a device name behind `dev `.
fn block_dev(body: &[u8], at: usize) -> bool {
    let rest = &body[at..];
    rest.starts_with(b"end_request")
        || memchr::memmem::find(rest, b"dev ").is_some_and(|n| rest.get(n + 4).is_some_and(u8::is_ascii_alphanumeric))
}

/// `sd 0:0:0:0: [sda] …`, `scsi 2:0:0:0: …`.
fn scsi_lead(body: &[u8], _: usize) -> bool {
    [&b"sd "[..], b"sr ", b"st ", b"scsi ", b"ses ", b"["].iter().any(|w| body.starts_with(w))
        || body.starts_with(b"sd")
}

/// `ata1.00: failed command: …`. A link that is merely reset at boot says nothing else.
fn ata_lead(body: &[u8], at: usize) -> bool {
    let Some(rest) = body.strip_prefix(b"ata") else { return false };
    let port = rest.iter().take_while(|c| c.is_ascii_digit() || **c == b'.').count();
    port > 0 && 3 + port == at
}

/// `EXT4-fs error (device …`, or one of the phrases behind `EXT4-fs (device): `.
fn ext_line(body: &[u8], at: usize) -> bool {
    at < 120 && body.starts_with(b"EXT")
}

fn btrfs_line(body: &[u8], at: usize) -> bool {
    let rest = &body[at..body.len().min(at + 240)];
    let has = |w: &[u8]| memchr::memmem::find(rest, w).is_some();
    if !body.starts_with(b"BTRFS") {
        return false;
    }
    // Only damage: btrfs also calls a bad mount option an error.
    has(b"csum failed")
        || has(b"checksum verify failed")
        || has(b"ransaction aborted")
        || has(b"forced readonly")
        || has(b"errno=")
        || has(b"corrupt")
        || has(b"bdev ")
        || has(b"ead error")
        || has(b"I/O error")
}
