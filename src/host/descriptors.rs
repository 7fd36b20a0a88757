//! Open descriptors of a process: what /proc/PID/fd links to, read without touching what is behind.
//!
//! Only readlink, and for files of a path fdinfo: neither asks the file system, so a dead NFS mount does
//! not matter. What only a `stat` through the link could tell (size, device of a file of another mount
//! namespace, whether a path is a directory that was opened without O_DIRECTORY) is not known here.
//! Descriptors belong to the process, so its threads are not asked: at 10,000 threads that is the
//! difference between 12.5 MB of repeated lines and none.
//!
//! Cost with its three texts, measured on two busy cores: 44,600 lines of lsof and 10,000 sockets in 250 ms
//! of CPU, where `lsof -nP` alone took 1.76 s.

use crate::host::Root;
use crate::host::bytes::{lines, number, words};
use crate::host::links::{Links, Shelf};
use crate::host::names::{Names, Text};
use crate::sys::procdir::{Buf, Name, ProcDir};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most descriptors looked at in all.
pub const DESCRIPTORS_MAX: usize = 400_000;
/// Most of one process. A service that leaks has hundreds of thousands, all alike.
pub const PER_PROCESS_MAX: usize = 65_536;
/// Most files whose position and mount are read: three system calls each, about 7 µs, instead of one.
pub const FDINFO_MAX: usize = 5_000;
const LINK_CAP: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Inode of the socket.
    Socket(u32),
    /// Inode of the pipe.
    Pipe(u64),
    /// `[eventpoll]`, `[eventfd]`, `inotify`, …
    Anonymous(Text),
    /// A path, as the kernel prints it: with ` (deleted)` where the file was removed.
    Path(Text),
    /// Namespaces and whatever else has the form `name:[number]`.
    Other(Text),
}

impl Target {
    /// `names` keeps the text of it.
    pub fn parse(link: &[u8], names: &mut Names) -> Target {
        let bracketed = |prefix: &[u8]| link.strip_prefix(prefix).and_then(|r| r.strip_suffix(b"]")).and_then(number);
        if let Some(inode) = bracketed(b"socket:[").and_then(|n| u32::try_from(n).ok()) {
            Target::Socket(inode)
        } else if let Some(inode) = bracketed(b"pipe:[") {
            Target::Pipe(inode)
        } else if let Some(name) = link.strip_prefix(b"anon_inode:") {
            Target::Anonymous(names.keep(name))
        } else if link.starts_with(b"/") {
            Target::Path(names.keep(link))
        } else {
            Target::Other(names.keep(link))
        }
    }

    /// Whether it is a removed file that still takes its space.
    pub fn is_deleted(&self) -> bool {
        matches!(self, Target::Path(p) if p.ends_with(b" (deleted)"))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Offset in bytes.
    pub position: Option<u64>,
    pub inode: Option<u64>,
    pub mount: Option<u64>,
    pub directory: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fd {
    pub number: u32,
    pub target: Target,
    /// `r`, `w`, `u` (both), or a blank where it is not known.
    pub mode: u8,
    /// Of files of a path, as far as it was asked for.
    pub place: Option<Box<Place>>,
}

impl Fd {
    /// Whether it has a position and a mount, which [`Fd::place`] holds if they were asked for.
    pub fn is_file(&self) -> bool {
        matches!(&self.target, Target::Path(path) if !is_device(path))
    }
}

/// The descriptors of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    pub pid: i32,
    pub fds: Vec<Fd>,
    /// There were more than the caps allow.
    pub more: bool,
    pub cwd: Option<Text>,
    pub root: Option<Text>,
    pub exe: Option<Text>,
}

/// What one look brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Open(Box<Open>),
    Gone,
    Denied,
}

/// Reads one process after another; shared by the threads of a sweep.
pub struct Scanner {
    proc: ProcDir,
    /// Shared with another reader of the same links.
    links: Arc<Shelf>,
    left: AtomicUsize,
    fdinfo_left: AtomicUsize,
}

#[derive(Default)]
pub struct Scratch {
    buf: Buf,
    numbers: Vec<u64>,
    names: Names,
}

impl Scanner {
    /// `links`: shared with whoever else reads the program and directory of each process.
    pub fn new(root: &Root, links: Arc<Shelf>) -> io::Result<Scanner> {
        Ok(Scanner {
            proc: ProcDir::open(&root.path("/proc"))?,
            links,
            left: AtomicUsize::new(DESCRIPTORS_MAX),
            fdinfo_left: AtomicUsize::new(FDINFO_MAX),
        })
    }

    /// All about one process; `alive` is called now and then.
    pub fn look(&self, scratch: &mut Scratch, pid: i32, alive: &dyn Fn()) -> Seen {
        let Scratch { buf, numbers, names } = scratch;
        let Ok(dir) = self.proc.open_dir(Name::number(pid.unsigned_abs().into()).as_cstr()) else { return Seen::Gone };
        let fd_dir = match dir.open_dir(c"fd") {
            Ok(d) => d,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Seen::Denied,
            Err(_) => return Seen::Gone,
        };
        let mut open = Open { pid, ..Open::default() };
        open.more = match fd_dir.numbers(numbers, PER_PROCESS_MAX) {
            Ok(more) => more,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Seen::Denied,
            Err(_) => return Seen::Gone,
        };
        let mut link = |name: &std::ffi::CStr| -> Option<Text> {
            dir.read_link(name, buf, LINK_CAP).is_ok().then(|| names.keep(buf))
        };
        open.root = link(c"root");
        match self.links.take(pid) {
            Some(known) => (open.exe, open.cwd) = (Some(known.exe), Some(known.cwd)),
            None => {
                (open.exe, open.cwd) = (link(c"exe"), link(c"cwd"));
                if let (Some(exe), Some(cwd)) = (&open.exe, &open.cwd) {
                    self.links.leave(pid, Links { exe: exe.clone(), cwd: cwd.clone() });
                }
            }
        }
        open.fds.reserve_exact(numbers.len());
        for (i, n) in numbers.iter().enumerate() {
            if i % 64 == 0 {
                alive();
            }
            if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| l.checked_sub(1)).is_err() {
                open.more = true;
                break;
            }
            let name = Name::number(*n);
            match fd_dir.read_link(name.as_cstr(), buf, LINK_CAP) {
                Ok(()) => {}
                // CAP_DAC_READ_SEARCH lists the directory, but the links want ptrace rights.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Seen::Denied,
                // Closed since the listing: no descriptor any more.
                Err(_) => continue,
            }
            let target = Target::parse(buf, names);
            let (mode, place) = self.more(&dir, &fd_dir, &target, *n, buf);
            open.fds.push(Fd { number: u32::try_from(*n).unwrap_or(u32::MAX), target, mode, place });
        }
        Seen::Open(Box::new(open))
    }

    /// How it was opened, and for files of a path where it stands.
    fn more(
        &self,
        dir: &ProcDir,
        fd_dir: &ProcDir,
        target: &Target,
        n: u64,
        buf: &mut Buf,
    ) -> (u8, Option<Box<Place>>) {
        match target {
            // Always both ways; not worth a system call.
            Target::Socket(_) | Target::Anonymous(_) => return (b'u', None),
            // The most common of all; how it was opened tells nothing.
            Target::Path(p) if **p == b"/dev/null"[..] => return (b' ', None),
            Target::Path(p) if !is_device(p) => {
                let budget = self.fdinfo_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| l.checked_sub(1));
                if budget.is_ok() && dir.read_record(Name::build("fdinfo/", n, "").as_cstr(), buf, 1024).is_ok() {
                    let (mode, place) = parse_fdinfo(buf);
                    return (mode, Some(Box::new(place)));
                }
            }
            Target::Path(_) | Target::Pipe(_) | Target::Other(_) => {}
        }
        let mode = match fd_dir.link_mode(Name::number(n).as_cstr()).map(|m| m & 0o600) {
            Ok(0o400) => b'r',
            Ok(0o200) => b'w',
            Ok(0o600) => b'u',
            _ => b' ',
        };
        (mode, None)
    }
}

/// A node under /dev (but not its memory file systems).
pub fn is_device(path: &[u8]) -> bool {
    path.starts_with(b"/dev/")
        && ![&b"/dev/shm/"[..], b"/dev/mqueue/", b"/dev/hugepages/"].iter().any(|d| path.starts_with(d))
}

/// `pos: 0`, `flags: 0100002` (octal), `mnt_id: 29`, `ino: 1234` (Linux 5.14 and later), tabs between.
pub fn parse_fdinfo(text: &[u8]) -> (u8, Place) {
    const O_DIRECTORY: u64 = 0o200_000;
    let mut place = Place::default();
    let mut mode = b' ';
    for line in lines(text).take(4) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let value = line[colon + 1..].trim_ascii();
        match &line[..colon] {
            b"pos" => place.position = number(value),
            b"mnt_id" => place.mount = number(value),
            b"ino" => place.inode = number(value),
            b"flags" => {
                let octal = std::str::from_utf8(value).ok().and_then(|v| u64::from_str_radix(v, 8).ok());
                if let Some(flags) = octal {
                    mode = match flags & 3 {
                        0 => b'r',
                        1 => b'w',
                        2 => b'u',
                        _ => b' ',
                    };
                    // The flag's bit differs on arm and powerpc (0o40000); there it stays unknown.
                    place.directory = cfg!(target_arch = "x86_64") && flags & O_DIRECTORY != 0;
                }
            }
            _ => {}
        }
    }
    (mode, place)
}

/// Device numbers by mount id, from /proc/self/mountinfo: `29 1 254:0 / / rw …`. Mounts of other
/// namespaces have other ids and are not in it.
pub fn parse_mounts(mountinfo: &[u8]) -> HashMap<u64, (u32, u32)> {
    let mut map = HashMap::new();
    for line in lines(mountinfo) {
        let mut w = words(line);
        let (Some(id), Some(_), Some(device)) = (w.next().and_then(number), w.next(), w.next()) else { continue };
        let Some(colon) = memchr::memchr(b':', device) else { continue };
        let part = |b: &[u8]| number(b).and_then(|n| u32::try_from(n).ok());
        if let (Some(major), Some(minor)) = (part(&device[..colon]), part(&device[colon + 1..])) {
            map.insert(id, (major, minor));
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let parse = |link: &[u8]| Target::parse(link, &mut Names::default());
        assert_eq!(parse(b"socket:[4242]"), Target::Socket(4242));
        assert_eq!(parse(b"pipe:[7]"), Target::Pipe(7));
        assert_eq!(parse(b"anon_inode:[eventpoll]"), Target::Anonymous(b"[eventpoll]"[..].into()));
        assert_eq!(parse(b"socket:[x]"), Target::Other(b"socket:[x]"[..].into()));
        assert!(parse(b"/tmp/a b\n (deleted)").is_deleted());
        assert!(is_device(b"/dev/null") && !is_device(b"/dev/shm/x") && !is_device(b"/device"));
    }

    #[test]
    fn fdinfo_and_mounts() {
        let (mode, place) = parse_fdinfo(b"pos:\t17\nflags:\t02\nmnt_id:\t29\nino:\t55\nlock: x\n");
        assert_eq!(
            (mode, place),
            (b'u', Place { position: Some(17), inode: Some(55), mount: Some(29), directory: false })
        );
        let mounts = parse_mounts(b"29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\nbad\n30 29 0:x / /p\n");
        assert_eq!((mounts.len(), mounts.get(&29)), (1, Some(&(254, 0))));
    }

    #[test]
    fn our_own_descriptors() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("held open");
        std::fs::write(&path, "0123456789").expect("write");
        let mut file = std::fs::File::open(&path).expect("open");
        std::io::Read::read_exact(&mut file, &mut [0; 4]).expect("read");
        std::fs::remove_file(&path).expect("remove");
        let scanner = Scanner::new(&Root::real(), Arc::default()).expect("/proc");
        let Seen::Open(open) = scanner.look(&mut Scratch::default(), std::process::id() as i32, &|| ()) else {
            panic!("our own are readable")
        };
        // Another test's memory file counts as deleted as well.
        let ours = |f: &&Fd| matches!(&f.target, Target::Path(p) if p.ends_with(b"/held open (deleted)"));
        let fd = open.fds.iter().find(ours).expect("the removed file");
        assert!(fd.target.is_deleted());
        assert_eq!((fd.mode, fd.place.as_ref().and_then(|p| p.position)), (b'r', Some(4)));
        assert!(open.exe.is_some() && open.cwd.is_some());
    }
}
