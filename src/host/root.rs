//! The file system as collectors see it: `/`, or a directory that stands for it in a test.
//!
//! Every read has a cap, opens without following a final symlink where asked, never blocks on a FIFO
//! or device (`O_NONBLOCK`, regular files and procfs only), and keeps the errno.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a file, and whether there were more than the cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capped {
    pub bytes: Vec<u8>,
    pub truncated: bool,
}

impl Capped {
    /// As text; bad UTF-8 becomes U+FFFD.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// Where absolute paths are looked up.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Default for Root {
    fn default() -> Root {
        Root::real()
    }
}

impl Root {
    /// The machine itself.
    pub fn real() -> Root {
        Root(PathBuf::from("/"))
    }

    /// A directory that stands for `/`.
    pub fn at(dir: impl Into<PathBuf>) -> Root {
        Root(dir.into())
    }

    /// Whether this is the machine itself: system calls (netlink, statfs, O_DIRECT) make sense only then.
    pub fn is_real(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The path under this root.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let p = absolute.as_ref();
        self.0.join(p.strip_prefix("/").unwrap_or(p))
    }

    /// Reads at most `cap` bytes. Refuses anything but regular files (procfs and sysfs count as such).
    pub fn read(&self, absolute: impl AsRef<Path>, cap: usize) -> io::Result<Capped> {
        let file = self.open(absolute.as_ref())?;
        read_capped(file, cap)
    }

    /// Reads at most the last `cap` bytes of a regular file, from the start of a line when cut.
    pub fn read_tail(&self, absolute: impl AsRef<Path>, cap: usize) -> io::Result<Capped> {
        use std::io::{Seek, SeekFrom};
        let mut file = self.open(absolute.as_ref())?;
        let size = file.metadata()?.len();
        let skip = size.saturating_sub(cap as u64);
        if skip == 0 {
            return read_capped(file, cap);
        }
        file.seek(SeekFrom::Start(skip))?;
        let mut got = read_capped(file, cap)?;
        let line = got.bytes.iter().position(|b| *b == b'\n').map_or(0, |i| i + 1);
        got.bytes.drain(..line);
        got.truncated = true;
        Ok(got)
    }

    /// Names in a directory, sorted, at most `max` of them; the flag says that there were more.
    pub fn list(&self, absolute: impl AsRef<Path>, max: usize) -> io::Result<(Vec<std::ffi::OsString>, bool)> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(absolute))? {
            if names.len() == max {
                names.sort();
                return Ok((names, true));
            }
            names.push(entry?.file_name());
        }
        names.sort();
        Ok((names, false))
    }

    /// Names of the directories in a directory, sorted, at most `max`; symlinks are not followed. The
    /// flag says that there were more.
    pub fn list_dirs(&self, absolute: impl AsRef<Path>, max: usize) -> io::Result<(Vec<std::ffi::OsString>, bool)> {
        let mut names = Vec::new();
        let mut more = false;
        for entry in std::fs::read_dir(self.path(absolute))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                more = names.len() == max;
                if more {
                    break;
                }
                names.push(entry.file_name());
            }
        }
        names.sort();
        Ok((names, more))
    }

    /// Where a symlink points, unresolved.
    pub fn read_link(&self, absolute: impl AsRef<Path>) -> io::Result<PathBuf> {
        std::fs::read_link(self.path(absolute))
    }

    /// What stands at a path, symlinks not followed.
    pub fn metadata(&self, absolute: impl AsRef<Path>) -> io::Result<std::fs::Metadata> {
        std::fs::symlink_metadata(self.path(absolute))
    }

    fn open(&self, absolute: &Path) -> io::Result<File> {
        let path = self.path(absolute);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
            .open(&path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_file() { Ok(file) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")) }
    }
}

/// Reads to the end or to `cap`; one byte more is asked for, to know whether there was more.
pub fn read_capped(file: impl Read, cap: usize) -> io::Result<Capped> {
    let mut bytes = Vec::new();
    let mut limited = file.take(cap as u64 + 1);
    limited.read_to_end(&mut bytes)?;
    let truncated = bytes.len() > cap;
    bytes.truncate(cap);
    Ok(Capped { bytes, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_capped_and_fifos_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = Root::at(dir.path());
        std::fs::write(dir.path().join("f"), "one\ntwo\nthree\n").expect("write");
        assert_eq!(root.read("/f", 4).expect("read"), Capped { bytes: b"one\n".to_vec(), truncated: true });
        assert!(!root.read("/f", 14).expect("read").truncated);
        let tail = root.read_tail("/f", 8).expect("tail");
        assert_eq!((tail.bytes.as_slice(), tail.truncated), (&b"three\n"[..], true));
        nix::unistd::mkfifo(&dir.path().join("p"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        assert_eq!(root.read("/p", 4).expect_err("a fifo").kind(), io::ErrorKind::InvalidInput);
        assert!(root.list("/", 1).expect("list").1);
    }
}
