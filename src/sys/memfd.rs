//! Anonymous files in memory, which outlive the processes that hand them on.

use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// A new one, close-on-exec. `name` is what /proc/PID/fd shows.
pub fn create(name: &CStr) -> io::Result<OwnedFd> {
    Ok(memfd_create(name, MFdFlags::MFD_CLOEXEC)?)
}

/// Takes over descriptor `number`, which this process was started with. Errors: it is not open.
pub fn inherited(number: i32) -> io::Result<File> {
    // SAFETY: F_SETFD sets a flag of the descriptor table and touches no memory of ours.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, as fcntl has just said, and it was handed down for us alone; nobody else in this
    // process knows its number.
    Ok(unsafe { File::from_raw_fd(number) })
}
