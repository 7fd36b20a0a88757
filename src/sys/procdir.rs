//! Directories of /proc by descriptor: many small reads without a path walk or an allocation each.
//!
//! A descriptor of /proc/PID also pins the process it was opened for: once that process is gone every
//! read through it fails with `ESRCH`, even if the pid has been given to another process meanwhile.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes asked for in one getdents64 call: 340 entries. Most fd directories fit in one.
const DENTS_BYTES: usize = 8 * 1024;

/// A buffer for many small reads. It keeps its length, so that not every read has to clear it first: for
/// a 64 KiB environment that costs as much as the read.
#[derive(Debug, Default)]
pub struct Buf {
    store: Vec<u8>,
    used: usize,
}

impl Buf {
    /// Forgets what was read and has room for `cap` bytes.
    fn room(&mut self, cap: usize) -> &mut [u8] {
        self.used = 0;
        if self.store.len() < cap {
            self.store.resize(cap, 0);
        }
        &mut self.store[..cap]
    }
}

/// What the last read brought.
impl std::ops::Deref for Buf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.store[..self.used]
    }
}

/// An open directory.
#[derive(Debug)]
pub struct ProcDir(OwnedFd);

/// A relative path with its terminating zero, built without an allocation: `1234`, `task/77/stat`.
#[derive(Clone, Copy)]
pub struct Name {
    bytes: [u8; 56],
}

impl Name {
    /// `number` alone.
    pub fn number(number: u64) -> Name {
        Name::build("", number, "")
    }

    /// A literal of at most 48 bytes; more is cut.
    pub fn literal(name: &'static str) -> Name {
        let mut bytes = [0u8; 56];
        let n = &name.as_bytes()[..name.len().min(48)];
        bytes[..n.len()].copy_from_slice(n);
        Name { bytes }
    }

    /// `prefix`, `number` and `suffix`. Both literals have at most 16 bytes; more is cut.
    pub fn build(prefix: &'static str, number: u64, suffix: &'static str) -> Name {
        let mut bytes = [0u8; 56];
        let p = &prefix.as_bytes()[..prefix.len().min(16)];
        bytes[..p.len()].copy_from_slice(p);
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut n = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        let end = p.len() + digits.len() - at;
        bytes[p.len()..end].copy_from_slice(&digits[at..]);
        let s = &suffix.as_bytes()[..suffix.len().min(16)];
        bytes[end..end + s.len()].copy_from_slice(s);
        Name { bytes }
    }

    pub fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).expect("at most 52 of the 56 bytes are ever written")
    }
}

/// -1 becomes the errno, in one place.
fn check(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

impl ProcDir {
    /// Opens an absolute path.
    pub fn open(path: &Path) -> io::Result<ProcDir> {
        let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: `path` is a valid C string for the length of the call; no other pointer is passed.
        let fd = check(unsafe {
            libc::openat(libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)
        })?;
        // SAFETY: `fd` was just opened and belongs to nobody else.
        Ok(ProcDir(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Opens a directory below this one.
    pub fn open_dir(&self, name: &CStr) -> io::Result<ProcDir> {
        self.open_flags(name, libc::O_RDONLY | libc::O_DIRECTORY).map(ProcDir)
    }

    fn open_flags(&self, name: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
        // SAFETY: `name` is a valid C string for the length of the call; the descriptor is open.
        let fd = check(unsafe { libc::openat(self.0.as_raw_fd(), name.as_ptr(), flags | libc::O_CLOEXEC) })?;
        // SAFETY: `fd` was just opened and belongs to nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Replaces `buf` with at most `cap` bytes of a file of one record (`stat`, `status`, `wchan`,
    /// `cmdline`, …). True when there may be more.
    ///
    /// Such files answer a read with all they have, as far as it fits, so a short read is the end and
    /// the usual second call that returns 0 is saved: a quarter of the cost of a small file.
    pub fn read_record(&self, name: &CStr, buf: &mut Buf, cap: usize) -> io::Result<bool> {
        let fd = self.open_flags(name, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW);
        let room = buf.room(cap);
        let fd = fd?;
        let mut filled = 0;
        while filled < cap {
            // A read of /proc/PID/cmdline is answered page by page: ask again after a whole number of
            // pages only.
            match nix::unistd::read(fd.as_fd(), &mut room[filled..]) {
                Ok(0) => break,
                Ok(n) => {
                    filled += n;
                    if n % 4096 != 0 {
                        break;
                    }
                }
                Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        buf.used = filled;
        Ok(filled == cap)
    }

    /// Replaces `buf` with where a symlink points. Longer than `cap`: cut.
    pub fn read_link(&self, name: &CStr, buf: &mut Buf, cap: usize) -> io::Result<()> {
        let room = buf.room(cap);
        // SAFETY: `name` is a valid C string; the kernel writes at most `room.len()` bytes into `room`,
        // which is that long and initialised.
        let n = unsafe { libc::readlinkat(self.0.as_raw_fd(), name.as_ptr(), room.as_mut_ptr().cast(), room.len()) };
        // -1 does not convert; errno is still that of the call.
        buf.used = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        Ok(())
    }

    /// The permission bits of a link itself, never of what it points to. For /proc/PID/fd/N they tell
    /// how it was opened: 0o400 for reading, 0o200 for writing.
    pub fn link_mode(&self, name: &CStr) -> io::Result<u32> {
        let stat = nix::sys::stat::fstatat(self.0.as_fd(), name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(stat.st_mode)
    }

    /// The entries whose names are plain numbers, in the kernel's order, at most `max`; true when
    /// there were more.
    pub fn numbers(&self, out: &mut Vec<u64>, max: usize) -> io::Result<bool> {
        out.clear();
        // From the start, also when it was listed before.
        nix::unistd::lseek(self.0.as_fd(), 0, nix::unistd::Whence::SeekSet)?;
        let mut buf = vec![0u8; DENTS_BYTES];
        loop {
            // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`, which is that long and
            // initialised; the descriptor is open.
            let n = unsafe { libc::syscall(libc::SYS_getdents64, self.0.as_raw_fd(), buf.as_mut_ptr(), buf.len()) };
            let Ok(n) = usize::try_from(n) else { return Err(io::Error::last_os_error()) };
            if n == 0 {
                return Ok(false);
            }
            for number in dents(&buf[..n]).filter_map(decimal) {
                if out.len() == max {
                    return Ok(true);
                }
                out.push(number);
            }
        }
    }
}

impl AsFd for ProcDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The names in a buffer of `struct linux_dirent64`: u64 inode, i64 offset, u16 record length, u8
/// type, then the name and its zero (fs/readdir.c).
fn dents(mut buf: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*buf.get(16)?, *buf.get(17)?]));
        let name = buf.get(19..length)?;
        buf = &buf[length..];
        Some(name.split(|b| *b == 0).next().unwrap_or(name))
    })
}

fn decimal(name: &[u8]) -> Option<u64> {
    if name.is_empty() || name.len() > 19 {
        return None;
    }
    name.iter().try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_built_in_place() {
        assert_eq!(Name::number(0).as_cstr().to_bytes(), b"0");
        assert_eq!(Name::build("task/", u64::MAX, "/stat").as_cstr().to_bytes(), b"task/18446744073709551615/stat");
    }

    #[test]
    fn lists_and_reads_our_own_process() {
        let proc = ProcDir::open(Path::new("/proc")).expect("/proc");
        let mut pids = Vec::new();
        assert!(!proc.numbers(&mut pids, 100_000).expect("list"));
        let me = u64::from(std::process::id());
        assert!(pids.contains(&me));
        assert!(proc.numbers(&mut pids, 1).expect("list"));
        let dir = proc.open_dir(Name::number(me).as_cstr()).expect("our directory");
        let mut buf = Buf::default();
        assert!(!dir.read_record(c"stat", &mut buf, 4096).expect("stat"));
        assert!(buf.starts_with(format!("{me} (").as_bytes()));
        assert!(dir.read_record(c"stat", &mut buf, 4).expect("stat"));
        dir.read_link(c"exe", &mut buf, 4096).expect("exe");
        assert_eq!(*buf, *std::env::current_exe().expect("exe").as_os_str().as_bytes());
    }

    #[test]
    fn broken_directory_records_end_the_list() {
        assert_eq!(dents(&[0; 10]).count(), 0);
        assert_eq!(dents(&[0; 64]).count(), 0);
        assert_eq!(decimal(b"12x"), None);
        assert_eq!(decimal(b"99999999999999999999"), None);
    }
}
