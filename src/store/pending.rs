//! A snapshot being written: its name, its lock, and the step that makes it visible.
//!
//! `*.partial` (locked) → fsync → rename → fsync of the directory. A reader of the store therefore
//! sees a snapshot whole or not at all, and a crash at any point leaves either a partial whose lock is
//! gone or the snapshot.

use crate::archive::SyncData;
use crate::model::Incident;
use crate::store::name::{NEWBORN, PARTIAL, SUFFIX, UNREADABLE, stem};
use crate::store::{Error, Result, Store, reserve};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::cell::Cell;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A snapshot in the making. Dropped without `publish`, its partial stays for `salvage_partials`.
#[derive(Debug)]
pub struct Pending {
    dir: PathBuf,
    stem: String,
    path: PathBuf,
    /// Holds the lock for as long as this lives.
    file: File,
}

/// The partial's file for the archive writer. When the disk is full it gives up the store's reserve
/// once and goes on.
#[derive(Debug)]
pub struct PendingFile {
    dir: PathBuf,
    file: File,
    /// Whether the partial's name is on the disk.
    named: Cell<bool>,
}

impl Store {
    /// Starts a snapshot. The partial of a dead attempt at the same incident is set aside under a name of
    /// its own. Errors: the name is taken, or the directory cannot be written to.
    pub fn begin(&self, incident: &Incident) -> Result<Pending> {
        let stem = stem(incident);
        let path = self.dir.join(format!("{stem}{PARTIAL}"));
        let taken = self.dir.join(format!("{stem}{SUFFIX}"));
        let failed = |cause| Error::Io { operation: "start snapshot", path: path.clone(), cause };
        if std::fs::symlink_metadata(&taken).is_ok() {
            let cause = io::Error::from_raw_os_error(libc::EEXIST);
            return Err(Error::Io { operation: "start snapshot", path: taken, cause });
        }
        self.set_aside(&stem, &path).map_err(failed)?;
        let mut made = create_locked(&self.dir, &stem, &path);
        if is_full(&made) && reserve::give_up(&self.dir) {
            made = create_locked(&self.dir, &stem, &path);
        }
        let file = made.map_err(failed)?;
        Ok(Pending { dir: self.dir.clone(), stem, path, file })
    }

    /// A worker died over this incident: its partial gets the letter a, b, … behind its id, so that the
    /// whole snapshot has the name that is told. It is evidence of an earlier moment, and is salvaged like
    /// any other. `EEXIST`: it is being written, or salvaged.
    fn set_aside(&self, stem: &str, partial: &Path) -> io::Result<()> {
        let dead = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(partial) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let taken = || io::Error::from_raw_os_error(libc::EEXIST);
        dead.try_lock().map_err(|_| taken())?;
        for letter in 'a'..='z' {
            let name = |suffix: &str| self.dir.join(format!("{stem}{letter}{suffix}"));
            // One stem, one snapshot, whatever its suffix.
            if [SUFFIX, PARTIAL, UNREADABLE].iter().all(|s| std::fs::symlink_metadata(name(s)).is_err()) {
                return rename_new(partial, &name(PARTIAL));
            }
        }
        Err(taken())
    }
}

/// Creates and locks under another name first: a partial without a lock would pass for a dead one.
fn create_locked(dir: &Path, stem: &str, path: &Path) -> io::Result<File> {
    let new = dir.join(format!("{stem}{NEWBORN}"));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(&new)?;
    // A file system without locks (some FUSE) still takes the snapshot; its partials are then never
    // taken for dead, because whoever asks gets the same error.
    let locked = match file.try_lock() {
        Err(e @ TryLockError::WouldBlock) => Err(e.into()),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    };
    if let Err(e) = locked.and_then(|()| rename_new(&new, path)) {
        let _ = std::fs::remove_file(&new);
        return Err(e);
    }
    Ok(file)
}

/// Renames, but never over another file. File systems without that flag (NFS, some FUSE) get a check
/// before the rename, which is as good in a directory that is ours alone.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Err(nix::Error::EINVAL | nix::Error::ENOSYS) => {
            if std::fs::symlink_metadata(to).is_ok() {
                return Err(io::Error::from_raw_os_error(libc::EEXIST));
            }
            std::fs::rename(from, to)
        }
        other => other.map_err(io::Error::from),
    }
}

/// fsync of a directory: makes a rename in it durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn is_full<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)))
}

impl Pending {
    /// The file to hand to [`crate::archive::Writer::create`]. Shares the lock.
    pub fn file(&self) -> Result<PendingFile> {
        let file = self.file.try_clone().map_err(|cause| self.error("open", cause))?;
        Ok(PendingFile { dir: self.dir.clone(), file, named: Cell::new(false) })
    }

    /// The one directory that all entries lie in.
    pub fn top_dir(&self) -> &str {
        &self.stem
    }

    /// Where it is now: `….tar.zst.partial`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it will be: `….tar.zst`.
    pub fn final_path(&self) -> PathBuf {
        self.dir.join(format!("{}{SUFFIX}", self.stem))
    }

    /// Makes the finished snapshot visible and durable. On an error the partial stays.
    pub fn publish(self) -> Result<PathBuf> {
        let to = self.final_path();
        self.file.sync_all().map_err(|cause| self.error("flush", cause))?;
        rename_new(&self.path, &to).map_err(|cause| self.error("publish", cause))?;
        sync_dir(&self.dir).map_err(|cause| Error::Io {
            operation: "flush directory",
            path: self.dir.clone(),
            cause,
        })?;
        Ok(to)
    }

    /// Removes the partial: nothing worth keeping was written.
    pub fn discard(self) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(|cause| self.error("remove", cause))
    }

    fn error(&self, operation: &'static str, cause: io::Error) -> Error {
        Error::Io { operation, path: self.path.clone(), cause }
    }
}

impl Write for PendingFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let done = self.file.write(buf);
        if is_full(&done) && reserve::give_up(&self.dir) { self.file.write(buf) } else { done }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SyncData for PendingFile {
    /// With delayed allocation a full disk may show only here. The first time the directory is synced
    /// as well: content without a name is lost with the power too. Not in `begin`, so that the capture
    /// of what is perishable does not wait for a disk.
    fn sync_data(&self) -> io::Result<()> {
        let mut done = self.file.sync_data();
        if is_full(&done) && reserve::give_up(&self.dir) {
            done = self.file.sync_data();
        }
        done?;
        if !self.named.get() {
            sync_dir(&self.dir)?;
            self.named.set(true);
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        let done = self.file.sync_all();
        if is_full(&done) && reserve::give_up(&self.dir) { self.file.sync_all() } else { done }
    }
}
