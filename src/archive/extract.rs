//! Unpacks an archive, ours or a foreign one, without trusting a single name in it.
//!
//! Every path is walked component by component from the target directory's descriptor with O_NOFOLLOW,
//! so neither `..` nor a symbolic link, in the archive or already on the disk, leads outside; files are
//! only ever created (O_EXCL), never overwritten. Links and devices are listed, not made.

use crate::archive::reader::{Found, Problem, Problems, Reader};
use crate::archive::tarwalk::What;
use crate::archive::writer::hex;
use crate::archive::{ENTRIES_MAX, Error, MANIFEST_ENTRY, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What was unpacked.
#[derive(Clone, Debug, Serialize)]
pub struct Extracted {
    /// The directory that holds the files: the top directory below the one asked for.
    pub dir: PathBuf,
    pub files: u64,
    pub bytes: u64,
    /// Entries that were not unpacked on purpose, and why: names that lead outside, links, devices,
    /// files that are there already.
    pub refused: Vec<Problem>,
    /// Parts of the archive that could not be read. What was read of such an entry is kept, with
    /// `.damaged` behind its name.
    pub damaged: Vec<Problem>,
}

impl Reader {
    /// Unpacks the entries for which `filter` (given the path below the top directory) is true into
    /// `dir`, which is made if need be. Unpacks at most `cap_total` bytes.
    ///
    /// Errors: `dir` cannot be made or opened, or a file not be written (disk full). What is wrong
    /// with the archive is in the report instead.
    pub fn extract(&self, dir: &Path, filter: &dyn Fn(&str) -> bool, cap_total: u64) -> Result<Extracted> {
        let io_error = |operation| move |cause| Error::Io { operation, path: dir.into(), cause };
        std::fs::create_dir_all(dir).map_err(io_error("create directory"))?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let root = openat(AT_FDCWD, dir, flags, Mode::empty()).map_err(|e| io_error("open directory")(e.into()))?;
        let mut work = Work { root, files: 0, bytes: 0, refused: Problems::default(), damaged: Problems::default() };
        let (frames, manifest) = self.frames_for(filter);
        let sums: std::collections::HashMap<&str, &str> =
            manifest.iter().flat_map(|m| &m.entries).map(|e| (e.path.as_str(), e.sha256.as_str())).collect();
        let mut failed = None;
        let mut seen = 0usize;
        let walk = self.visit(frames, cap_total, &mut |found, body| {
            seen += 1;
            if seen > ENTRIES_MAX {
                work.refused.add("file", format!("it has more than {ENTRIES_MAX} entries"));
                return ControlFlow::Break(());
            }
            if !filter(&found.path) {
                return ControlFlow::Continue(());
            }
            match work.entry(found, body, sums.get(found.path.as_str()).copied()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(cause) => {
                    let path = dir.join(&found.head.path);
                    failed = Some(Error::Io { operation: "write", path, cause });
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        work.damaged.extend(walk);
        if let Some(p) = self.cut() {
            work.damaged.add(p.place, p.why);
        }
        Ok(Extracted {
            dir: self.top_dir().map_or_else(|| dir.to_owned(), |top| dir.join(top)),
            files: work.files,
            bytes: work.bytes,
            refused: work.refused.finish(),
            damaged: work.damaged.finish(),
        })
    }

    /// The frames that hold what `filter` wants: all of them where no manifest tells.
    fn frames_for(&self, filter: &dyn Fn(&str) -> bool) -> (Vec<usize>, Option<&crate::archive::Manifest>) {
        let count = self.layout.frames.len();
        let Some(manifest) = self.index().ok().flatten() else { return (self.all_frames(), None) };
        let mut frames: Vec<usize> = manifest
            .entries
            .iter()
            .filter(|e| filter(&e.path))
            .map(|e| e.frame as usize)
            .chain(filter(MANIFEST_ENTRY).then_some(count - 1))
            .filter(|f| *f < count)
            .collect();
        frames.sort_unstable();
        frames.dedup();
        (frames, Some(manifest))
    }
}

struct Work {
    root: OwnedFd,
    files: u64,
    bytes: u64,
    refused: Problems,
    damaged: Problems,
}

impl Work {
    /// Unpacks one entry. Only trouble with the disk that would hit every further entry is an error.
    fn entry(&mut self, found: &Found, body: &mut dyn Read, sha256: Option<&str>) -> std::io::Result<()> {
        let name = &found.head.path;
        if found.head.what == What::Dir && matches!(name.as_str(), "." | "./") {
            return Ok(());
        }
        let Some(parts) = parts(name) else {
            self.refused.add(format!("entry {name}"), "its name leads outside the directory");
            return Ok(());
        };
        match &found.head.what {
            What::File | What::Dir => {}
            What::Symlink(to) | What::Hardlink(to) => {
                let why = format!("it is a {} to {to}, which is not unpacked", found.head.what.name());
                self.refused.add(format!("entry {name}"), why);
                return Ok(());
            }
            What::Other(what) => {
                self.refused.add(format!("entry {name}"), format!("it is a {what}, which is not unpacked"));
                return Ok(());
            }
        }
        let is_dir = found.head.what == What::Dir;
        let dirs = if is_dir { &parts[..] } else { &parts[..parts.len() - 1] };
        let parent = match self.descend(dirs) {
            Ok(fd) => fd,
            Err(e) => return self.refuse(name, "make its directory", e),
        };
        if is_dir {
            return Ok(());
        }
        let last = parts[parts.len() - 1];
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = match openat(&parent, last, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(fd) => File::from(fd),
            Err(e) => return self.refuse(name, "create it", e),
        };
        self.fill(found, body, &mut file, sha256, &parent, last)?;
        self.files += 1;
        let time = TimeSpec::new(i64::try_from(found.head.mtime).unwrap_or(0), 0);
        // Without the right time the file is still good.
        let _ = futimens(file.as_fd(), &time, &time);
        Ok(())
    }

    fn fill(
        &mut self,
        found: &Found,
        body: &mut dyn Read,
        file: &mut File,
        sha256: Option<&str>,
        parent: &OwnedFd,
        last: &str,
    ) -> std::io::Result<()> {
        let mut sha = Sha256::new();
        let mut chunk = [0u8; 16 * 1024];
        let why = loop {
            match body.read(&mut chunk) {
                Ok(0) if sha256.is_some_and(|told| told != hex(&sha.clone().finalize())) => {
                    break "its content does not match its checksum".to_owned();
                }
                Ok(0) => return Ok(()),
                Ok(n) => {
                    file.write_all(&chunk[..n])?;
                    sha.update(&chunk[..n]);
                    self.bytes += n as u64;
                }
                Err(e) => break e.to_string(),
            }
        };
        let aside = format!("{last}.damaged");
        let flags = nix::fcntl::RenameFlags::RENAME_NOREPLACE;
        let kept =
            if nix::fcntl::renameat2(parent, last, parent, aside.as_str(), flags).is_ok() { &aside } else { last };
        self.damaged.add(format!("entry {}", found.head.path), format!("{why}; what was readable is in {kept}"));
        Ok(())
    }

    /// The directory at `parts` below the root, made where it is not there.
    fn descend(&self, parts: &[&str]) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut at = openat(&self.root, ".", flags, Mode::empty())?;
        for part in parts {
            at = match openat(&at, *part, flags, Mode::empty()) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&at, *part, Mode::S_IRWXU) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(e) => return Err(e),
                    }
                    openat(&at, *part, flags, Mode::empty())?
                }
                other => other?,
            };
        }
        Ok(at)
    }

    fn refuse(&mut self, name: &str, doing: &str, e: Errno) -> std::io::Result<()> {
        let why = match e {
            Errno::ENOSPC
            | Errno::EDQUOT
            | Errno::EIO
            | Errno::EROFS
            | Errno::EACCES
            | Errno::EPERM
            | Errno::EMFILE => {
                return Err(e.into());
            }
            Errno::EEXIST => "a file of that name is there already and is not overwritten".into(),
            Errno::ELOOP | Errno::ENOTDIR => "a symbolic link or a file stands in its way".into(),
            e => format!("cannot {doing}: {}", e.desc()),
        };
        self.refused.add(format!("entry {name}"), why);
        Ok(())
    }
}

/// The components of a name that stays inside; `None` for any other.
fn parts(name: &str) -> Option<Vec<&str>> {
    if name.starts_with('/') || name.contains('\0') {
        return None;
    }
    let parts: Vec<&str> = name.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.is_empty() || parts.contains(&"..") { None } else { Some(parts) }
}
