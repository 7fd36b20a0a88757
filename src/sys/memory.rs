//! Keeping pages resident, so that a machine out of memory or with a hung disk can still run us.

use nix::sys::mman::{MlockAllFlags, mlockall};
use std::io;

/// Locks present and future pages as they are touched (`MCL_ONFAULT`, Linux 4.4): a process warms
/// its emergency path first and then locks what that touched, instead of its whole text.
///
/// Errors: `ENOMEM` or `EPERM` where RLIMIT_MEMLOCK is too small and CAP_IPC_LOCK is absent.
pub fn lock_on_fault() -> io::Result<()> {
    // nix has no name for MCL_ONFAULT.
    let flags = MlockAllFlags::from_bits_retain(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT);
    mlockall(flags).map_err(io::Error::from)
}

/// Gives free heap pages back to the system (malloc_trim(3), glibc).
pub fn trim() {
    // SAFETY: malloc_trim takes a padding size and touches only the allocator's own state, under its locks.
    unsafe { libc::malloc_trim(0) };
}
