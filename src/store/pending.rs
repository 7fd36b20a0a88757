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
use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A snapshot in the making. Dropped without `publish`, its partial stays for `salvage_partials`.
#[derive(Debug)]
pub struct Pending(Rc<Body>);

/// The partial's file for the archive writer. When the disk is full it goes on in the place of the store's
/// reserve.
#[derive(Debug)]
pub struct PendingFile(Rc<Body>);

#[derive(Debug)]
struct Body {
    dir: PathBuf,
    stem: String,
    path: PathBuf,
    /// Holds the lock for as long as this lives.
    file: RefCell<File>,
    /// Bytes written.
    len: Cell<u64>,
    /// Whether the partial's name is on the disk.
    named: Cell<bool>,
    /// The file was the reserve and is longer than what is written.
    in_reserve: Cell<bool>,
}

/// Bytes copied at a time, when a partial moves into the reserve or a snapshot moves home.
const COPY_BYTES: usize = 64 * 1024;

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
        // No inode, or no room for a name: the reserve has both.
        let in_reserve = is_full(&made) && reserve::held(&self.dir);
        if in_reserve {
            made = reserve::take(&self.dir, &path);
        }
        let file = RefCell::new(made.map_err(failed)?);
        Ok(Pending(Rc::new(Body {
            dir: self.dir.clone(),
            stem,
            path,
            file,
            len: Cell::new(0),
            named: Cell::new(false),
            in_reserve: Cell::new(in_reserve),
        })))
    }

    /// A worker died over this incident: its partial gets the letter a, b, … behind its id, so that the
    /// whole snapshot has the name that is told. It is evidence of an earlier moment, and is salvaged like
    /// any other. `EEXIST`: it is being written, or salvaged.
    pub(super) fn set_aside(&self, stem: &str, partial: &Path) -> io::Result<()> {
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
pub(super) fn create_locked(dir: &Path, stem: &str, path: &Path) -> io::Result<File> {
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
    pub fn file(&self) -> PendingFile {
        PendingFile(Rc::clone(&self.0))
    }

    /// The one directory that all entries lie in.
    pub fn top_dir(&self) -> &str {
        &self.0.stem
    }

    /// Where it is now: `….tar.zst.partial`.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Where it will be: `….tar.zst`.
    pub fn final_path(&self) -> PathBuf {
        self.0.dir.join(format!("{}{SUFFIX}", self.0.stem))
    }

    /// Whether the disk was full and the reserve became the snapshot.
    pub fn in_reserve(&self) -> bool {
        self.0.in_reserve.get()
    }

    /// Makes the finished snapshot visible and durable. On an error the partial stays.
    pub fn publish(self) -> Result<PathBuf> {
        let to = self.final_path();
        self.0.settle().map_err(|cause| self.error("flush", cause))?;
        rename_new(&self.0.path, &to).map_err(|cause| self.error("publish", cause))?;
        sync_dir(&self.0.dir).map_err(|cause| Error::Io {
            operation: "flush directory",
            path: self.0.dir.clone(),
            cause,
        })?;
        Ok(to)
    }

    /// Removes the partial: nothing worth keeping was written.
    pub fn discard(self) -> Result<()> {
        std::fs::remove_file(&self.0.path).map_err(|cause| self.error("remove", cause))
    }

    fn error(&self, operation: &'static str, cause: io::Error) -> Error {
        Error::Io { operation, path: self.0.path.clone(), cause }
    }
}

impl Body {
    /// What is on the disk is what was written, no more, and all of it.
    fn settle(&self) -> io::Result<()> {
        if self.in_reserve.get() {
            self.file.borrow().set_len(self.len.get())?;
        }
        self.file.borrow().sync_all()
    }

    /// The disk is full: whether the partial can go on, either in the reserve's place or in the room that the
    /// reserve leaves.
    fn make_room(&self) -> bool {
        if self.in_reserve.get() || !reserve::held(&self.dir) {
            return false;
        }
        let new = self.dir.join(format!("{}{NEWBORN}", self.stem));
        let moved = reserve::take(&self.dir, &new).and_then(|file| {
            let copied = copy(&self.file.borrow(), &file, 0, self.len.get());
            // On the disk before it replaces what may be there already.
            copied.and_then(|()| file.sync_data()).and_then(|()| std::fs::rename(&new, &self.path))?;
            Ok(file)
        });
        match moved {
            Ok(file) => {
                *self.file.borrow_mut() = file;
                self.named.set(false);
                self.in_reserve.set(true);
                true
            }
            // More was written than the reserve holds, or the disk fails: its room is all that it can still give.
            Err(_) => std::fs::remove_file(&new).is_ok(),
        }
    }
}

/// Copies the bytes from `at` to `len` to the same place, and leaves `to` behind them.
pub(crate) fn copy(from: &File, mut to: &File, mut at: u64, len: u64) -> io::Result<()> {
    let mut block = vec![0u8; COPY_BYTES];
    to.seek(SeekFrom::Start(at))?;
    while at < len {
        let want = block.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        from.read_exact_at(&mut block[..want], at)?;
        to.write_all(&block[..want])?;
        at += want as u64;
    }
    Ok(())
}

impl Write for PendingFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let body = &self.0;
        let mut done = (&*body.file.borrow()).write(buf);
        if is_full(&done) && body.make_room() {
            done = (&*body.file.borrow()).write(buf);
        }
        if let Ok(n) = &done {
            body.len.set(body.len.get() + *n as u64);
        }
        done
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SyncData for PendingFile {
    /// With delayed allocation a full disk may show only here. The first time the directory is synced
    /// as well: content without a name is lost with the power too. Not in `begin`, so that the capture
    /// of what is perishable does not wait for a disk.
    fn sync_data(&self) -> io::Result<()> {
        let body = &self.0;
        let mut done = body.file.borrow().sync_data();
        if is_full(&done) && body.make_room() {
            done = body.file.borrow().sync_data();
        }
        done?;
        if !body.named.get() {
            sync_dir(&body.dir)?;
            body.named.set(true);
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        let done = self.0.settle();
        if is_full(&done) && self.0.make_room() { self.0.settle() } else { done }
    }
}
