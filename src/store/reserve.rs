//! Space held for the day the disk is full: one preallocated file, in whose place a snapshot goes on.
//!
//! It is not removed to make room, because whatever filled the disk would be first to take the room: the
//! partial takes the file itself, with its inode and its blocks.

use crate::store::pending::rename_new;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A whole snapshot of a host with 30,201 threads and 140,203 sockets packs to 0.9 MB (tests/sick/46-reserve-size.sh).
pub(crate) const BYTES: u64 = 8 << 20;
/// Not made where it would take more than a quarter of what is left.
const FREE_FACTOR: u64 = 4;

fn path(dir: &Path) -> PathBuf {
    dir.join("reserve")
}

/// Whether there is one.
pub(crate) fn held(dir: &Path) -> bool {
    std::fs::symlink_metadata(path(dir)).is_ok_and(|m| m.is_file() && m.blocks() > 0)
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

/// Makes the reserve the file `name`, open and locked. It is written from its start, and what is left of it
/// reads as zeros.
pub(crate) fn take(dir: &Path, name: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path(dir))?;
    match file.try_lock() {
        Err(e @ std::fs::TryLockError::WouldBlock) => return Err(e.into()),
        // No locks here: as for any partial.
        Ok(()) | Err(std::fs::TryLockError::Error(_)) => {}
    }
    rename_new(&path(dir), name)?;
    Ok(file)
}
