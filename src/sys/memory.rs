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

/// Large buffers of their own mapping, always, so that the heap does not keep them when they are freed, and two heaps for
/// all threads (mallopt(3), glibc; other allocators have no such habits). By itself glibc puts buffers of up to 32 MiB into
/// the heap once one of that size was freed, and has eight heaps a CPU.
pub fn be_frugal() {
    #[cfg(target_env = "gnu")]
    for (what, value) in
        [(libc::M_MMAP_THRESHOLD, 128 * 1024), (libc::M_TRIM_THRESHOLD, 256 * 1024), (libc::M_ARENA_MAX, 2)]
    {
        // SAFETY: mallopt takes two numbers and changes only the allocator's settings. What it refuses stays as it was.
        unsafe { libc::mallopt(what, value) };
    }
}

/// Gives free heap pages back to the system (malloc_trim(3), glibc).
pub fn trim() {
    // SAFETY: malloc_trim takes a padding size and touches only the allocator's own state, under its locks.
    unsafe { libc::malloc_trim(0) };
}
