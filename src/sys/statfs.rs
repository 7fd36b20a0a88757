//! How full a file system is. May block for ever on a dead server or device: call it guarded.

use std::io;
use std::path::Path;

/// Figures of one file system, in bytes and inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total_bytes: u64,
    pub free_bytes: u64,
    /// Free for unprivileged users: what df calls available.
    pub available_bytes: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// statvfs(3) on `path`. It crosses the path's mounts, each of which may be the one that hangs.
pub fn space(path: &Path) -> io::Result<Space> {
    let s = nix::sys::statvfs::statvfs(path)?;
    // The C types differ between targets; all are at most 64 bits and unsigned.
    #[allow(clippy::useless_conversion)]
    let n = |v| u64::try_from(v).unwrap_or(u64::MAX);
    let block = match s.fragment_size() {
        0 => s.block_size(),
        f => f,
    };
    let bytes = |blocks: u64| blocks.saturating_mul(n(block));
    Ok(Space {
        total_bytes: bytes(n(s.blocks())),
        free_bytes: bytes(n(s.blocks_free())),
        available_bytes: bytes(n(s.blocks_available())),
        inodes: n(s.files()),
        inodes_free: n(s.files_free()),
    })
}
