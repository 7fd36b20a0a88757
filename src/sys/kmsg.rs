//! `/dev/kmsg`: one `read(2)` is one record of the kernel's ring.
//!
//! Source of fact: Documentation/ABI/testing/dev-kmsg and `devkmsg_read` in kernel/printk/printk.c.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// First size of the buffer, in bytes: what the kernel itself formats into (CONSOLE_EXT_LOG_MAX, 8192
/// from 3.15 on), so that EINVAL is not seen in practice.
const BUFFER_FIRST: usize = 8 * 1024;
/// Largest size; a kernel whose records are longer than this does not exist.
const BUFFER_LAST: usize = 64 * 1024;

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KmsgRead {
    /// One record, in the buffer given.
    Record,
    /// Nothing there yet.
    Empty,
    /// Records were overwritten before they were read. The next read gives the oldest that is left;
    /// how many are gone is the hole in the sequence numbers.
    Overrun,
}

/// A reader with its own place in the ring.
#[derive(Debug)]
pub struct Kmsg {
    file: File,
    buffer: Vec<u8>,
}

impl Kmsg {
    /// Opens for reading, at the oldest record, non-blocking.
    ///
    /// Errors: `EPERM` without CAP_SYSLOG where kernel.dmesg_restrict=1, `EACCES` by file mode, `ENOENT`
    /// where the unit hides devices.
    pub fn open() -> io::Result<Kmsg> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open("/dev/kmsg")?;
        Ok(Kmsg { file, buffer: vec![0; BUFFER_FIRST] })
    }

    /// Goes behind the newest record: only what is logged from now on is read.
    pub fn seek_end(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::End(0)).map(drop)
    }

    /// Goes back to the oldest record.
    pub fn seek_start(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0)).map(drop)
    }

    /// Waits until there is a record to be read, or for `limit`; true for the former.
    pub fn wait(&self, limit: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, limit) {
            Ok(n) => Ok(n > 0),
            Err(nix::Error::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads one record, replacing what `into` held. Never waits.
    pub fn read(&mut self, into: &mut Vec<u8>) -> io::Result<KmsgRead> {
        into.clear();
        loop {
            let error = match self.file.read(&mut self.buffer) {
                Ok(n) => {
                    into.extend_from_slice(&self.buffer[..n]);
                    // End of file cannot happen on this device; as Empty it does no harm.
                    return Ok(if n == 0 { KmsgRead::Empty } else { KmsgRead::Record });
                }
                Err(e) => e,
            };
            match error.raw_os_error() {
                Some(libc::EAGAIN) => return Ok(KmsgRead::Empty),
                Some(libc::EPIPE) => return Ok(KmsgRead::Overrun),
                Some(libc::EINTR) => {}
                // The record is longer than the buffer. The kernel has stepped over it already
                // (devkmsg_read moves on before it checks the length), so it shows as a hole in the
                // sequence; the next one will fit.
                Some(libc::EINVAL) if self.buffer.len() < BUFFER_LAST => {
                    let larger = (self.buffer.len() * 2).min(BUFFER_LAST);
                    self.buffer.resize(larger, 0);
                }
                _ => return Err(error),
            }
        }
    }
}

impl AsFd for Kmsg {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
