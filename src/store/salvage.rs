//! What interrupted captures left: each dead partial becomes a snapshot, or is kept under a name that
//! says that nothing in it could be read. Nothing is removed before its successor is on the disk.

use crate::archive::{self, Now, Reader, Salvaged, Why};
use crate::model::Wall;
use crate::store::dir::{NAMES_MAX, take_apart};
use crate::store::name::{NEWBORN, PARTIAL, SUFFIX, UNREADABLE};
use crate::store::open::WRITE_TEST;
use crate::store::pending::{rename_new, sync_dir};
use crate::store::{Error, Result, Store};
use crate::sys::clock;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Litter is surely nobody's after this time: it lives for milliseconds.
const LITTER_AGE: Duration = Duration::from_secs(600);

/// What became of one partial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartialFate {
    /// It was complete; only its publication had been interrupted.
    Published(PathBuf),
    /// Its whole part is a snapshot now.
    Salvaged { path: PathBuf, what: Salvaged },
    /// Nothing in it is whole; kept under this name.
    Unreadable { path: PathBuf, why: String },
    /// Left as it is, to be tried again: no space, failing disk.
    Failed { why: String },
}

/// One dead partial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialResult {
    /// The partial as it was called.
    pub partial: PathBuf,
    pub fate: PartialFate,
}

impl Store {
    /// Deals with every partial whose writer is gone. Those being written (locked) are left alone. `now`: what is known
    /// of this boot, for the manifests.
    pub fn salvage_partials(&self, now: &Now) -> Result<Vec<PartialResult>> {
        self.sweep();
        let mut results = Vec::new();
        for stored in self.list()?.into_iter().filter(|s| s.partial) {
            match self.salvage_one(&stored.path, now) {
                Ok(None) => {}
                Ok(Some(fate)) => results.push(PartialResult { partial: stored.path, fate }),
                Err(e) => {
                    let fate = PartialFate::Failed { why: e.to_string() };
                    results.push(PartialResult { partial: stored.path, fate });
                }
            }
        }
        Ok(results)
    }

    /// Removes what a process leaves that dies within `begin`, while a partial moves into the reserve (the partial is
    /// still whole then), or within the write test.
    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        let now = clock::wall();
        for entry in entries.flatten().take(NAMES_MAX) {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let Ok(meta) = entry.metadata() else { continue };
            let newborn = name.ends_with(NEWBORN) && unlocked(&entry.path());
            let test = name.starts_with(WRITE_TEST);
            let age = now.since(Wall(meta.mtime().saturating_mul(1_000_000)));
            if (newborn || test) && meta.is_file() && age > LITTER_AGE {
                // Cannot be removed: it is there next time.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// `None`: somebody is writing it, or dealt with it meanwhile.
    fn salvage_one(&self, partial: &Path, now: &Now) -> Result<Option<PartialFate>> {
        let at = |operation, path: &Path| {
            let path = path.to_owned();
            move |cause| Error::Io { operation, path, cause }
        };
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(partial) {
            Ok(f) => f,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(at("open", partial)(e)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(e)) => return Err(at("lock", partial)(e)),
        }
        let name = partial.file_name().and_then(|n| n.to_str()).unwrap_or("");
        let Some((stem, _)) = take_apart(name) else { return Ok(None) };
        let target = self.dir.join(format!("{stem}{SUFFIX}"));
        if complete(&target) {
            // An earlier salvage was itself interrupted, after its rename.
            std::fs::remove_file(partial).map_err(at("remove", partial))?;
            return Ok(Some(PartialFate::Published(target)));
        }
        if complete(partial) {
            file.sync_all().map_err(at("flush", partial))?;
            self.publish_as(partial, &target)?;
            return Ok(Some(PartialFate::Published(target)));
        }
        let work = self.dir.join(format!("{stem}{PARTIAL}.salvage"));
        let _ = std::fs::remove_file(&work);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let mut out: File = options.open(&work).map_err(at("create", &work))?;
        match archive::salvage(partial, &mut out, Why::Found(now)) {
            Ok(what) => {
                self.publish_as(&work, &target)?;
                std::fs::remove_file(partial).map_err(at("remove", partial))?;
                Ok(Some(PartialFate::Salvaged { path: target, what }))
            }
            Err(e @ (archive::Error::NothingWhole { .. } | archive::Error::Foreign { .. })) => {
                let _ = std::fs::remove_file(&work);
                let path = self.dir.join(format!("{stem}{UNREADABLE}"));
                self.publish_as(partial, &path)?;
                Ok(Some(PartialFate::Unreadable { path, why: e.to_string() }))
            }
            Err(e) => {
                let _ = std::fs::remove_file(&work);
                Err(e.into())
            }
        }
    }

    fn publish_as(&self, from: &Path, to: &Path) -> Result<()> {
        rename_new(from, to).and_then(|()| sync_dir(&self.dir)).map_err(|cause| Error::Io {
            operation: "publish",
            path: to.into(),
            cause,
        })
    }
}

/// Makes a snapshot `to`, which must not be there, of a partial anywhere, which is left as it is.
///
/// Errors: `to` is there or cannot be written, `partial` cannot be read or is being written. That nothing in it can be read
/// is no error but [`PartialFate::Unreadable`], with `partial` as its path.
pub fn salvage_file(partial: &Path, to: &Path, now: &Now) -> Result<PartialFate> {
    let at = |operation, path: &Path| {
        let path = path.to_owned();
        move |cause| Error::Io { operation, path: path.clone(), cause }
    };
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(partial).map_err(at("open", partial))?;
    if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
        return Err(at("salvage", partial)(io::Error::other("it is being written")));
    }
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(at("write", to)(io::Error::from_raw_os_error(libc::EEXIST)));
    }
    let mut work = to.as_os_str().to_owned();
    work.push(format!(".new-{}", std::process::id()));
    let work = PathBuf::from(work);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut out = options.open(&work).map_err(at("create", &work))?;
    let done = if complete(partial) {
        let copied = (&file).seek(SeekFrom::Start(0)).and_then(|_| io::copy(&mut &file, &mut out));
        copied.and_then(|_| out.sync_all()).map_err(at("write", &work)).map(|()| PartialFate::Published(to.into()))
    } else {
        let what = archive::salvage(partial, &mut out, Why::Found(now)).map_err(Error::from);
        what.map(|what| PartialFate::Salvaged { path: to.into(), what })
    };
    let named = done.and_then(|fate| rename_new(&work, to).map_err(at("write", to)).map(|()| fate));
    if named.is_err() {
        let _ = std::fs::remove_file(&work);
    }
    match named {
        Err(Error::Archive(e @ (archive::Error::NothingWhole { .. } | archive::Error::Foreign { .. }))) => {
            Ok(PartialFate::Unreadable { path: partial.into(), why: e.to_string() })
        }
        other => other,
    }
}

/// Whether nobody is writing the file.
fn unlocked(path: &Path) -> bool {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path);
    file.is_ok_and(|f| f.try_lock().is_ok())
}

/// Whether the file is a snapshot to its last byte.
pub(super) fn complete(path: &Path) -> bool {
    /// Far above any snapshot of ours.
    const UNPACKED_MAX: u64 = 64 << 30;
    Reader::open(path).is_ok_and(|r| r.cut().is_none() && r.verify(UNPACKED_MAX).ok)
}
