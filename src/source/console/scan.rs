//! Which files are there now: matches names with the files held open, tells rotation from news, and finds
//! after a restart what was being read before it.

use crate::model::Mono;
use crate::source::console::follow::{FileId, Follow, Retired, open};
use crate::source::console::pattern::{Found, is_compressed_name, is_rotated_name};
use crate::source::console::siblings::{self, start};
use crate::source::console::state::{ConsoleState, Position};
use crate::source::console::{Consoles, FILES_MAX, RESCAN_EVERY, enqueue};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Rounds of looking and watching until no new directory turns up between the two.
const ROUNDS_MAX: usize = 8;

impl Consoles {
    /// Takes up the files of an earlier run, rotated ones first as they were.
    pub(super) fn restore(&mut self, state: &ConsoleState, now: Mono) {
        for position in state.files.iter().take(FILES_MAX) {
            let path = PathBuf::from(&position.path);
            let Some(pattern) = self.patterns.iter().find(|p| p.names(&path)) else { continue };
            let host = pattern.host_of(&path);
            self.known.insert(path.clone());
            let Some((file, retired)) = locate(&path, position) else {
                self.losses.add("console_rewritten_files", 1);
                let text = format!(
                    "{}: what was after byte {} when lastgasp stopped is gone (rotated away); its last lines may be missed",
                    path.display(),
                    position.offset
                );
                self.notices.push(text);
                continue;
            };
            let old_until = file.metadata().map_or(u64::MAX, |m| m.size());
            match Follow::new(&path, host, file, position.offset, old_until, now) {
                Ok(mut follow) => {
                    follow.retired = retired;
                    let id = self.adopt(follow, now);
                    if retired.is_none() {
                        self.active.insert(path, id);
                    }
                }
                Err(e) => self.complain(&path, format!("read {}: {e}; retried every 10 s", path.display())),
            }
        }
    }

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
            let text = format!("console {} is gone; waiting for it to come back", path.display());
            self.complain(&path, text);
        }
    }

    fn present(&mut self, found: &Found) -> BTreeMap<PathBuf, Metadata> {
        let mut present = BTreeMap::new();
        for path in found.files.keys() {
            match std::fs::metadata(path) {
                Ok(meta) => {
                    present.insert(path.clone(), meta);
                }
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

/// The file of an earlier run: under its path, renamed, or as a copy.
fn locate(path: &Path, position: &Position) -> Option<(File, Option<Retired>)> {
    let mut ino_now = None;
    if let Ok(file) = open(path)
        && let Ok(meta) = file.metadata()
    {
        ino_now = Some(meta.ino());
        // Device numbers may change over a reboot; inode number and content together do not lie.
        let same_inode = meta.ino() == position.ino;
        let same = if position.head.len == 0 { meta.dev() == position.dev } else { position.head.fits(&start(&file)) };
        if same_inode && same && meta.size() >= position.offset {
            return Some((file, None));
        }
    }
    if ino_now != Some(position.ino)
        && let Some(file) = siblings::renamed(path, position.ino, &position.head, position.offset)
    {
        return Some((file, Some(Retired::Renamed)));
    }
    let copy = siblings::copied(path, ino_now.unwrap_or(0), &position.head, position.offset, &[])?;
    Some((copy, Some(Retired::Copy)))
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
