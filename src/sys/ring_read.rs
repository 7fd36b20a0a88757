//! The kernel's log ring read once, from its oldest record to its newest, without ever waiting.

use crate::model::Deadline;
use crate::sys::clock;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

/// One record of /dev/kmsg is at most this long (CONSOLE_EXT_LOG_MAX, 8 KiB, before escapes).
const RECORD_BYTES: usize = 16 * 1024;

/// What was read.
#[derive(Debug, Default)]
pub struct Ring {
    /// Records as /dev/kmsg gives them, each ending in a newline.
    pub records: Vec<u8>,
    pub count: u64,
    /// How often the ring overtook us (EPIPE): records were lost there.
    pub overruns: u64,
    /// It did not fit the cap, or the deadline passed: the newest records are missing.
    pub truncated: bool,
}

/// Reads /dev/kmsg from the start of the ring until it has no more.
///
/// Errors: `EPERM` or `EACCES` under kernel.dmesg_restrict without CAP_SYSLOG; `ENOENT` without
/// /dev/kmsg.
pub fn kmsg(cap: usize, deadline: Deadline) -> io::Result<Ring> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open("/dev/kmsg")?;
    let mut ring = Ring::default();
    let mut buf = vec![0u8; RECORD_BYTES];
    loop {
        // The clock is asked once in 256 records: a read costs less than a microsecond.
        if ring.count % 256 == 255 && deadline.passed(clock::mono()) {
            ring.truncated = true;
            return Ok(ring);
        }
        match file.read(&mut buf) {
            Ok(0) => return Ok(ring),
            Ok(n) => {
                if ring.records.len() + n > cap {
                    ring.truncated = true;
                    return Ok(ring);
                }
                ring.records.extend_from_slice(&buf[..n]);
                ring.count += 1;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(ring),
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {
                ring.overruns += 1;
                // A ring that is overwritten faster than it is read would keep us for ever.
                if ring.overruns % 64 == 0 && deadline.passed(clock::mono()) {
                    ring.truncated = true;
                    return Ok(ring);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The ring as text through syslog(2), where /dev/kmsg cannot be opened: `<6>[    0.000000] text`.
///
/// Errors: `EPERM` as above.
pub fn klog(cap: usize) -> io::Result<Vec<u8>> {
    /// SYSLOG_ACTION_READ_ALL: the last messages, without clearing (linux/syslog.h).
    const READ_ALL: libc::c_int = 3;
    let mut buf = vec![0u8; cap];
    let length = libc::c_int::try_from(buf.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the kernel writes at most `length` bytes into `buf`, which is at least that long.
    let n = unsafe { libc::klogctl(READ_ALL, buf.as_mut_ptr().cast(), length) };
    match usize::try_from(n) {
        Ok(n) => {
            buf.truncate(n);
            Ok(buf)
        }
        Err(_) => Err(io::Error::last_os_error()),
    }
}
