//! Which files are there now: matches names with the files held open, and tells rotation from news.

use crate::model::Mono;
use crate::source::console::follow::{FileId, Follow, Retired, open};
use crate::source::console::pattern::{Found, is_compressed_name, is_rotated_name};
use crate::source::console::siblings::start;
use crate::source::console::{Consoles, FILES_MAX, RESCAN_EVERY, enqueue};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Rounds of looking and watching until no new directory turns up between the two.
const ROUNDS_MAX: usize = 8;

impl Consoles {
    /// Compares what is there with what is open. `starting` holds the time of the state (0: there is none) when
    /// this is the first look.
    pub(super) fn rescan(&mut self, starting: Option<i64>, now: Mono) {
        let mut found = Found::default();
        for _ in 0..ROUNDS_MAX {
            found = Found::default();
            for (number, pattern) in self.patterns.iter().enumerate() {
                pattern.expand(number, &mut found);
            }
            add_link_targets(&mut found);
            let mut failed = Vec::new();
            let added =
                self.watcher.set_dirs(&found.dirs, &found.ancestors, |path, e| failed.push((path.to_owned(), e)));
            for (path, e) in failed {
                self.complain(&path, format!("watch {}: {e}; looked at every 10 s only", path.display()));
            }
            if !added {
                break;
            }
        }
        for (path, text) in std::mem::take(&mut found.trouble) {
            self.complain(&path, text);
        }
        if starting.is_some() {
            let idle = |n: &usize| !found.files.values().any(|named_by| named_by == n);
            for n in (0..self.patterns.len()).filter(idle).collect::<Vec<_>>() {
                let text = self.patterns[n].text.clone();
                self.complain(Path::new(&text), format!("console {text}: no such file yet; waiting for it"));
            }
        }
        let present = self.present(&found);
        self.retire_missing(&present, now);
        let mut by_inode: HashMap<(u64, u64), FileId> =
            self.files.iter().map(|(id, f)| ((f.dev, f.ino), *id)).collect();
        for (path, meta) in &present {
            if self.active.contains_key(path) {
                continue;
            }
            if let Some(id) = by_inode.get(&(meta.dev(), meta.ino())) {
                self.take_back(*id, path, &found);
                continue;
            }
            if is_old_generation(path, &found) {
                continue;
            }
            if let Some(id) = self.open_new(path, &found, starting, now) {
                by_inode.insert((meta.dev(), meta.ino()), id);
            }
        }
    }

    /// Says which paths have had no file for a while.
    pub(super) fn report_vanished(&mut self, now: Mono) {
        let gone = |f: &&Follow| {
            let lonely = f.retired == Some(Retired::Renamed) && !self.active.contains_key(&f.path);
            lonely && now.since(f.grown) >= RESCAN_EVERY
        };
        for path in self.files.values().filter(gone).map(|f| f.path.clone()).collect::<Vec<_>>() {
            self.complain_of_absence(&path);
        }
    }

    pub(super) fn complain_of_absence(&mut self, path: &Path) {
        self.complain(path, format!("console {} is gone; waiting for it to come back", path.display()));
    }

    fn present(&mut self, found: &Found) -> BTreeMap<PathBuf, Metadata> {
        let mut present = BTreeMap::new();
        for path in found.files.keys() {
            match std::fs::metadata(path) {
                Ok(meta) => {
                    present.insert(path.clone(), meta);
                }
                // Renamed or deleted since it was listed; another event is on its way.
                Err(e) if e.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {}
                Err(e) => self.complain(path, format!("look at {}: {e}; retried every 10 s", path.display())),
            }
        }
        present
    }

    fn retire_missing(&mut self, present: &BTreeMap<PathBuf, Metadata>, now: Mono) {
        let (files, queue) = (&mut self.files, &mut self.queue);
        self.active.retain(|path, id| {
            let Some(file) = files.get_mut(id) else { return false };
            let same = present.get(path).is_some_and(|m| (m.dev(), m.ino()) == (file.dev, file.ino));
            if !same {
                file.retired = Some(Retired::Renamed);
                file.grown = now;
                // Once more at least, to its end, before its successor.
                enqueue(files, queue, *id);
            }
            same
        });
    }

    /// A name whose file is open already: a rotated name of it, a second link, or a new name for it.
    fn take_back(&mut self, id: FileId, path: &Path, found: &Found) {
        let Some(file) = self.files.get_mut(&id) else { return };
        if file.retired != Some(Retired::Renamed) {
            return;
        }
        if file.path != *path {
            let old_name = file.path.file_name().unwrap_or_default();
            let name = path.file_name().unwrap_or_default();
            if is_rotated_name(name.as_bytes(), old_name.as_bytes()) || is_old_generation(path, found) {
                return;
            }
            file.path = path.to_owned();
            file.origin = crate::model::Origin::Console(path.to_string_lossy().into());
            if let Some(pattern) = found.files.get(path).and_then(|n| self.patterns.get(*n)) {
                file.host = pattern.host_of(path);
            }
        }
        file.retired = None;
        self.said.remove(path);
        self.active.insert(path.to_owned(), id);
    }

    fn open_new(&mut self, path: &Path, found: &Found, starting: Option<i64>, now: Mono) -> Option<FileId> {
        if self.files.len() >= FILES_MAX {
            let text = format!("more than {FILES_MAX} console files: the rest is not followed");
            self.complain(Path::new("console files"), text);
            return None;
        }
        let pattern = self.patterns.get(*found.files.get(path)?)?;
        let host = pattern.host_of(path);
        let opened = open(path).and_then(|file| {
            let meta = file.metadata()?;
            let (from, old_until) = self.begin(path, &file, &meta, starting);
            Follow::new(path, host, file, from, old_until, now)
        });
        match opened {
            Ok(mut follow) => {
                self.said.remove(path);
                let earlier = self.files.iter().rev().find(|(_, f)| f.path == path && f.retired.is_some());
                follow.after = earlier.map(|(id, _)| *id);
                let id = self.adopt(follow, now);
                self.active.insert(path.to_owned(), id);
                Some(id)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => {
                self.complain(path, format!("open {}: {e}; retried every 10 s", path.display()));
                None
            }
        }
    }

    /// From which byte a file is followed, and up to which it is old.
    fn begin(&self, path: &Path, file: &File, meta: &Metadata, starting: Option<i64>) -> (u64, u64) {
        let Some(state_at_us) = starting else {
            // Under another name it may have been read already.
            let head = start(file);
            let seen =
                self.done.iter().rev().find(|p| {
                    (p.dev, p.ino) == (meta.dev(), meta.ino()) && p.head.fits(&head) && p.offset <= meta.size()
                });
            return (seen.map_or(0, |p| p.offset), 0);
        };
        let state_at = u64::try_from(state_at_us).ok().filter(|us| *us > 0).map(Duration::from_micros);
        let made_since = || match (meta.created(), state_at) {
            (Ok(made), Some(at)) => made >= UNIX_EPOCH + at,
            _ => false,
        };
        if self.known.contains(path) || made_since() { (0, meta.size()) } else { (meta.size(), meta.size()) }
    }

    /// Follows it from now on.
    pub(super) fn adopt(&mut self, mut follow: Follow, now: Mono) -> FileId {
        let id = self.next_id;
        self.next_id += 1;
        follow.grown = now;
        if follow.retired != Some(Retired::Copy) {
            match self.watcher.add_file(id, &follow.file) {
                Ok(wd) => follow.watch = Some(wd),
                Err(e) => {
                    let text = format!("watch console files: {e}; looked at every 10 s only");
                    self.complain(Path::new("console file watches"), text);
                }
            }
        }
        self.files.insert(id, follow);
        enqueue(&mut self.files, &mut self.queue, id);
        id
    }
}

/// Whether a glob has caught what rotation leaves behind.
fn is_old_generation(path: &Path, found: &Found) -> bool {
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return false };
    if is_compressed_name(name) {
        return true;
    }
    let cuts = name.iter().enumerate().filter(|(_, b)| matches!(b, b'.' | b'-' | b'~')).map(|(i, _)| i);
    cuts.filter(|i| *i > 0 && is_rotated_name(name, &name[..*i]))
        .any(|i| found.files.contains_key(&path.with_file_name(std::ffi::OsStr::from_bytes(&name[..i]))))
}

/// The target of a link is rotated in its own directory.
fn add_link_targets(found: &mut Found) {
    let links = found.files.keys().filter(|p| p.is_symlink());
    let dirs: Vec<PathBuf> = links.filter_map(|p| Some(std::fs::canonicalize(p).ok()?.parent()?.to_owned())).collect();
    let room = crate::source::console::pattern::DIRS_MAX.saturating_sub(found.dirs.len());
    found.dirs.extend(dirs.into_iter().take(room));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_and_compressed_names_are_no_consoles_of_their_own() {
        let mut found = Found::default();
        for name in ["host", "host.1", "host-20261123", "host-2", "10.0.0.7", "x.1", "y.gz"] {
            found.files.insert(Path::new("/c").join(name), 0);
        }
        let old = |name: &str| is_old_generation(&Path::new("/c").join(name), &found);
        assert!(old("host.1") && old("host-20261123") && old("y.gz"));
        assert!(!old("host") && !old("host-2") && !old("10.0.0.7") && !old("x.1"));
    }
}
