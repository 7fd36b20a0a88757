//! Space held for the day the disk is full: one preallocated file that a snapshot may displace.

use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A snapshot of a busy host with 10,000 sockets packs to about 0.6 MB; this is for several, or one bad one.
pub(crate) const BYTES: u64 = 8 << 20;
/// Not made where it would take more than a quarter of what is left.
const FREE_FACTOR: u64 = 4;

fn path(dir: &Path) -> PathBuf {
    dir.join("reserve")
}

/// Makes the reserve if it is not there. Errors: no space for it, or a file system that cannot preallocate.
pub(crate) fn ensure(dir: &Path, free: Option<u64>) -> io::Result<()> {
    let path = path(dir);
    if std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_file() && m.blocks() * 512 >= BYTES) {
        return Ok(());
    }
    if free.is_some_and(|f| f < BYTES * FREE_FACTOR) {
        return Err(io::Error::from_raw_os_error(libc::ENOSPC));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let made = options
        .open(&path)
        .and_then(|f| fallocate(&f, FallocateFlags::empty(), 0, BYTES as i64).map_err(io::Error::from));
    if made.is_err() {
        // Half a reserve would pass for a whole one by its name.
        let _ = std::fs::remove_file(&path);
    }
    made
}

/// Gives the space back to the file system; false when there was none to give.
pub(crate) fn give_up(dir: &Path) -> bool {
    std::fs::remove_file(path(dir)).is_ok()
}
