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

/// Lets go of the pages of our own code and constants that are mapped by now, so that what only the start needed is not
/// kept (and not locked) for ever. They stay in the page cache, and come back one by one as they are used: to be followed by
/// a rehearsal of what must be there on the day, and only then by [`lock_on_fault`].
pub fn forget_code() {
    /// `data` is not used. A result other than 0 ends the walk: the program itself comes first, its libraries are not ours.
    unsafe extern "C" fn each(info: *mut libc::dl_phdr_info, _: usize, _: *mut libc::c_void) -> libc::c_int {
        // SAFETY: dl_iterate_phdr hands a valid structure, whose table has that many entries, for the length of the call.
        let (base, headers) = unsafe {
            let info = &*info;
            (info.dlpi_addr as usize, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
        };
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as usize;
        // What was ever writable holds relocations, which the file has not: those pages are not to be dropped.
        let read_only = headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0);
        for h in read_only {
            let start = (base + h.p_vaddr as usize).next_multiple_of(page);
            let end = (base + h.p_vaddr as usize + h.p_memsz as usize) / page * page;
            if start < end {
                // SAFETY: the range is whole pages of one of our segments that are a file's, private and never written:
                // after this they read the same, from the file. An error (locked pages) changes nothing.
                unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
            }
        }
        1
    }
    // SAFETY: `each` matches the type that is asked for and ignores the pointer, which is null.
    unsafe { libc::dl_iterate_phdr(Some(each), std::ptr::null_mut()) };
}

/// Gives free heap pages back to the system (malloc_trim(3), glibc).
pub fn trim() {
    // SAFETY: malloc_trim takes a padding size and touches only the allocator's own state, under its locks.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_was_let_go_still_runs() {
        be_frugal();
        let before: Vec<u8> = include_bytes!("memory.rs").to_vec();
        forget_code();
        // Constants and functions come back from the file.
        assert_eq!(before, include_bytes!("memory.rs"));
        assert!(format!("{:?}", std::env::args().next()).len() > 2);
        trim();
    }
}
