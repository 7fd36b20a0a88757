//! The way home: a snapshot that another store took, because its own did not answer, is moved when that is well again.
//!
//! The copy is a partial like any other: locked while it is written, on the disk and read back whole before it gets
//! its name; only then does the other one go. Power lost at any point leaves at least one of the two.

use crate::archive::Reader;
use crate::store::name::{PARTIAL, SUFFIX};
use crate::store::pending::{copy, rename_new, sync_dir};
use crate::store::salvage::complete;
use crate::store::{Error, Result, Store, Stored, reserve};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Snapshots moved in one go; the rest is moved the next time.
const MOVES_MAX: usize = 50;

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MovedFate {
    Moved,
    /// It was at home already, byte for byte: a slow store had published it after all.
    Already,
    /// It stays where it is, to be tried again.
    Stays(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub snapshot: Stored,
    /// Where it is now, or was to be.
    pub home: PathBuf,
    pub fate: MovedFate,
}

impl Store {
    /// Moves the snapshots of `other` that were meant for this store: those whose manifest says that this one was tried
    /// first; all of them when `other` is in memory and would lose them.
    ///
    /// Errors: `other` cannot be listed.
    pub fn bring_home(&self, other: &Store) -> Result<Vec<Moved>> {
        let ours = |s: &Stored| other.is_memory_backed() || self.was_meant(&s.path);
        let list = other.list()?;
        let list = list.into_iter().filter(|s| s.is_snapshot()).filter(ours).take(MOVES_MAX);
        let moved = list.map(|snapshot| {
            let home = self.dir.join(snapshot.path.file_name().unwrap_or_default());
            let fate = self.bring(&snapshot, &home).unwrap_or_else(|e| MovedFate::Stays(e.to_string()));
            Moved { snapshot, home, fate }
        });
        Ok(moved.collect())
    }

    /// Whether the manifest of this snapshot names us as a store that was tried and did not take it.
    fn was_meant(&self, snapshot: &Path) -> bool {
        let Ok(Some(manifest)) = Reader::open(snapshot).and_then(|r| r.manifest()) else { return false };
        manifest.stores.iter().any(|t| t.dir == self.dir && t.error.is_some())
    }

    fn bring(&self, snapshot: &Stored, home: &Path) -> Result<MovedFate> {
        let from = open(&snapshot.path)?;
        let len = from.metadata().map_err(at("read", &snapshot.path))?.len();
        let stays = |why: &str| Ok(MovedFate::Stays(why.to_owned()));
        // A part of it that we have already is whole for itself, and less than this one.
        let mut lesser = false;
        if let Ok(have) = open(home) {
            if same(&from, &have, len).map_err(at("read", home))? {
                have.sync_all().map_err(at("flush", home))?;
                self.pin_as(snapshot, home)?;
                remove(snapshot)?;
                return Ok(MovedFate::Already);
            }
            lesser = complete(&snapshot.path) && !salvaged(&snapshot.path) && salvaged(home);
            if !lesser {
                return stays("another snapshot of that name is there");
            }
        }
        // Neither the last room nor the reserve is for this: it is safe where it is.
        if self.free_bytes().is_some_and(|free| free < len + 2 * reserve::BYTES) {
            return stays("there is not enough room");
        }
        let partial = self.dir.join(format!("{}{PARTIAL}", stem_of(home)));
        let Some(file) = self.begin_move(&partial, &from)? else { return stays("it is being written there") };
        let have = file.metadata().map_err(at("read", &partial))?.len();
        copy(&from, &file, have, len).and_then(|()| file.sync_all()).map_err(at("write", &partial))?;
        if !complete(&partial) {
            // Not the fault of the copy: it is as bad where it lies.
            std::fs::remove_file(&partial).map_err(at("remove", &partial))?;
            return stays("it is damaged");
        }
        let named = if lesser { std::fs::rename(&partial, home) } else { rename_new(&partial, home) };
        named.and_then(|()| sync_dir(&self.dir)).map_err(at("publish", home))?;
        self.pin_as(snapshot, home)?;
        remove(snapshot)?;
        Ok(MovedFate::Moved)
    }

    /// The partial to write to, locked: a dead one that holds the beginning of `from` goes on where it ends, any other is
    /// set aside. `None`: somebody is writing it.
    fn begin_move(&self, partial: &Path, from: &File) -> Result<Option<File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        match options.open(partial) {
            Ok(dead) => {
                if let Err(TryLockError::WouldBlock) = dead.try_lock() {
                    return Ok(None);
                }
                let len = dead.metadata().map_err(at("read", partial))?.len();
                if len <= from.metadata().map_err(at("read", partial))?.len()
                    && same_start(from, &dead, len).map_err(at("read", partial))?
                {
                    return Ok(Some(dead));
                }
                drop(dead);
                self.set_aside(&stem_of(partial), partial).map_err(at("set aside", partial))?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(at("open", partial)(e)),
        }
        crate::store::pending::create_locked(&self.dir, &stem_of(partial), partial)
            .map(Some)
            .map_err(at("create", partial))
    }

    /// What was pinned there is pinned here.
    fn pin_as(&self, snapshot: &Stored, home: &Path) -> Result<()> {
        if snapshot.pinned {
            self.pin(&Stored { path: home.to_owned(), ..snapshot.clone() }, true)?;
        }
        Ok(())
    }
}

fn at<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |cause| Error::Io { operation, path: path.to_owned(), cause }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).map_err(at("open", path))
}

/// The copy at home is on the disk: the one that came from elsewhere goes, and its pin.
fn remove(snapshot: &Stored) -> Result<()> {
    std::fs::remove_file(&snapshot.path).map_err(at("remove", &snapshot.path))?;
    if snapshot.pinned {
        // Without its snapshot a pin means nothing.
        let _ = std::fs::remove_file(crate::store::dir::pin_path(&snapshot.path));
    }
    Ok(())
}

fn stem_of(path: &Path) -> String {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    [PARTIAL, SUFFIX].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name).to_owned()
}

fn salvaged(path: &Path) -> bool {
    Reader::open(path).and_then(|r| r.manifest()).is_ok_and(|m| m.is_none_or(|m| m.salvaged.is_some()))
}

fn same(a: &File, b: &File, len: u64) -> io::Result<bool> {
    Ok(b.metadata()?.len() == len && same_start(a, b, len)?)
}

/// Whether the first `len` bytes of both are the same.
fn same_start(a: &File, b: &File, len: u64) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0u8; 64 * 1024], vec![0u8; 64 * 1024]);
    let mut at = 0;
    while at < len {
        let want = left.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        a.read_exact_at(&mut left[..want], at)?;
        b.read_exact_at(&mut right[..want], at)?;
        if left[..want] != right[..want] {
            return Ok(false);
        }
        at += want as u64;
    }
    Ok(true)
}
