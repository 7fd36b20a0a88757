//! Reads past the page cache (O_DIRECT): what the disk itself delivers. Read only, by construction.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Alignment of buffers, offsets and lengths that every disk accepts: the largest logical block in use.
pub const ALIGN: usize = 4096;

/// Memory that a disk may write into directly.
pub struct Aligned {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` bytes, rounded up to [`ALIGN`].
    pub fn new(len: usize) -> Aligned {
        let len = len.next_multiple_of(ALIGN);
        let storage = vec![0; len + ALIGN];
        let start = storage.as_ptr().align_offset(ALIGN);
        // `align_offset` may decline in theory; then the kernel refuses the read with EINVAL, harmlessly.
        Aligned { start: start.min(ALIGN), storage, len }
    }

    fn slice(&mut self, len: usize) -> &mut [u8] {
        let end = self.start + len.min(self.len);
        &mut self.storage[self.start..end]
    }
}

/// A block device or regular file, open for direct reads.
pub struct DirectFile(File);

impl DirectFile {
    /// Opens without the page cache. Errors: `EACCES`/`EPERM` without privilege or where a device cgroup
    /// denies it, `EINVAL` where the file system knows no O_DIRECT (tmpfs before Linux 6.6), `ENXIO` for a
    /// device that is gone.
    pub fn open(path: &Path) -> io::Result<DirectFile> {
        let flags = libc::O_DIRECT | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        OpenOptions::new().read(true).custom_flags(flags).open(path).map(DirectFile)
    }

    /// Size in bytes; of a device, by seeking to its end.
    pub fn size(&mut self) -> io::Result<u64> {
        self.0.seek(SeekFrom::End(0))
    }

    /// Reads up to `len` bytes at `offset`, both multiples of [`ALIGN`]. Returns how many came.
    pub fn read_at(&self, buffer: &mut Aligned, len: usize, offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer.slice(len), offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}
