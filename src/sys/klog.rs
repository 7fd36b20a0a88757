//! syslog(2), which glibc calls klogctl(3): the kernel's ring as text, read without consuming it.
//!
//! Source of fact: syslog(2); `do_syslog` in kernel/printk/printk.c.

use std::io;

/// Most bytes ever asked for. The ring is 16 KiB to a few MiB (CONFIG_LOG_BUF_SHIFT, `log_buf_len=`).
pub const READ_MAX: usize = 16 * 1024 * 1024;

/// From <linux/syslog.h>; libc does not name them.
const SYSLOG_ACTION_READ_ALL: libc::c_int = 3;
const SYSLOG_ACTION_SIZE_BUFFER: libc::c_int = 10;

/// Size of the ring, in bytes.
///
/// Errors: `EPERM` without CAP_SYSLOG where kernel.dmesg_restrict=1, `ENOSYS` without CONFIG_PRINTK.
pub fn size() -> io::Result<usize> {
    // SAFETY: SYSLOG_ACTION_SIZE_BUFFER ignores buffer and length; a null pointer of length 0 is allowed.
    let rc = unsafe { libc::klogctl(SYSLOG_ACTION_SIZE_BUFFER, std::ptr::null_mut(), 0) };
    usize::try_from(rc).map_err(|_| io::Error::last_os_error())
}

/// Replaces `into` with the newest whole records that fit `cap` bytes (at most [`READ_MAX`]), each line as
/// `<N>[stamp] text`. Nothing is consumed and nothing waited for.
///
/// Errors: as [`size`].
pub fn read_all(into: &mut Vec<u8>, cap: usize) -> io::Result<()> {
    into.clear();
    into.resize(cap.min(READ_MAX), 0);
    let len = libc::c_int::try_from(into.len()).expect("READ_MAX fits an int");
    // SAFETY: the buffer is owned, initialised and `len` bytes long; the kernel writes at most that.
    let rc = unsafe { libc::klogctl(SYSLOG_ACTION_READ_ALL, into.as_mut_ptr().cast(), len) };
    match usize::try_from(rc) {
        Ok(n) => {
            into.truncate(n);
            Ok(())
        }
        Err(_) => {
            let error = io::Error::last_os_error();
            into.clear();
            Err(error)
        }
    }
}
