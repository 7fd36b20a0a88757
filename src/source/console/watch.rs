//! inotify: which followed file has grown, and where a new name has appeared.

use crate::source::console::follow::FileId;
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One read; some 1,000 events of short names.
const BUFFER: usize = 32 * 1024;
/// Most reads in a row: the rest of a flood waits for the next step.
const READS_MAX: usize = 64;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Grown(FileId),
    /// It was renamed, unlinked or given other permissions.
    Changed(FileId),
    /// A name came or went in a watched directory.
    Name(OsString),
    /// A watched directory itself is not where it was.
    DirGone,
    /// The kernel's queue was full (fs.inotify.max_queued_events): anything may have happened.
    Overflow,
}

enum Target {
    File(FileId),
    Dir,
}

struct DirWatch {
    /// For names in it, not only for its own going.
    names: bool,
    wd: WatchDescriptor,
    dev: u64,
    ino: u64,
}

/// See the module.
pub struct Watcher {
    inotify: Inotify,
    watches: Watches,
    buffer: Vec<u8>,
    targets: HashMap<i32, Target>,
    dirs: HashMap<PathBuf, DirWatch>,
}

impl Watcher {
    /// Errors: `EMFILE` when fs.inotify.max_user_instances is used up.
    pub fn new() -> io::Result<Watcher> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        Ok(Watcher { inotify, watches, buffer: vec![0; BUFFER], targets: HashMap::new(), dirs: HashMap::new() })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Hands over what has happened; never waits. Errors: reading failed.
    pub fn read(&mut self, mut seen: impl FnMut(Seen)) -> io::Result<()> {
        for _ in 0..READS_MAX {
            let events = match self.inotify.read_events(&mut self.buffer) {
                Ok(events) => events,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    seen(Seen::Overflow);
                    continue;
                }
                let key = event.wd.get_watch_descriptor_id();
                match self.targets.get(&key) {
                    Some(Target::File(id)) if event.mask.contains(EventMask::MODIFY) => seen(Seen::Grown(*id)),
                    Some(Target::File(id)) => seen(Seen::Changed(*id)),
                    Some(Target::Dir) => match event.name {
                        Some(name) => seen(Seen::Name(name.to_owned())),
                        None => seen(Seen::DirGone),
                    },
                    None => {}
                }
                if event.mask.contains(EventMask::IGNORED) {
                    self.targets.remove(&key);
                    self.dirs.retain(|_, d| d.wd.get_watch_descriptor_id() != key);
                }
            }
        }
        Ok(())
    }

    /// Watches exactly these directories: for names, and `ancestors` only for being moved or removed. True when
    /// one was added: what came to be in it before that made no event, so the caller looks again. Failures go
    /// to `failed`.
    pub fn set_dirs(
        &mut self,
        dirs: &BTreeSet<PathBuf>,
        ancestors: &BTreeSet<PathBuf>,
        mut failed: impl FnMut(&Path, io::Error),
    ) -> bool {
        let wanted = |path: &PathBuf, names: bool| dirs.contains(path) == names && (names || ancestors.contains(path));
        let mut gone: Vec<PathBuf> = Vec::new();
        for (path, dir) in &self.dirs {
            let same = std::fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == (dir.dev, dir.ino));
            if !same || !wanted(path, dir.names) {
                gone.push(path.clone());
            }
        }
        for path in gone {
            let Some(dir) = self.dirs.remove(&path) else { continue };
            // Another path may lead to the same directory, and shares its watch.
            if !self.dirs.values().any(|d| d.wd == dir.wd) {
                self.remove(dir.wd);
            }
        }
        let mut added = false;
        for path in dirs.union(ancestors) {
            if self.dirs.contains_key(path) {
                continue;
            }
            match self.add_dir(path, dirs.contains(path)) {
                Ok(()) => added = true,
                Err(e) => failed(path, e),
            }
        }
        added
    }

    fn add_dir(&mut self, path: &Path, names: bool) -> io::Result<()> {
        // MASK_ADD: two paths to one directory share a watch, and neither may take from the other.
        let mut mask = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR | WatchMask::MASK_ADD;
        if names {
            mask |= WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::DELETE;
        }
        let wd = self.watches.add(path, mask)?;
        let meta = std::fs::metadata(path)?;
        self.targets.insert(wd.get_watch_descriptor_id(), Target::Dir);
        self.dirs.insert(path.to_owned(), DirWatch { names, wd, dev: meta.dev(), ino: meta.ino() });
        Ok(())
    }

    /// Watches the file behind an open descriptor, whatever its name is by now.
    ///
    /// Errors: `ENOSPC` when fs.inotify.max_user_watches is used up.
    pub fn add_file(&mut self, id: FileId, file: &File) -> io::Result<WatchDescriptor> {
        let mask = WatchMask::MODIFY | WatchMask::ATTRIB | WatchMask::MOVE_SELF | WatchMask::DELETE_SELF;
        let wd = self.watches.add(format!("/proc/self/fd/{}", file.as_raw_fd()), mask)?;
        self.targets.insert(wd.get_watch_descriptor_id(), Target::File(id));
        Ok(wd)
    }

    /// Ends a watch. That it is gone already is no error.
    pub fn remove(&mut self, wd: WatchDescriptor) {
        self.targets.remove(&wd.get_watch_descriptor_id());
        let _ = self.watches.remove(wd);
    }
}
