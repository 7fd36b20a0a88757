//! After a restart: finds again what was being read, wherever rotation has put it meanwhile, and what came and
//! went in between.

use crate::model::Mono;
use crate::source::console::follow::{Follow, Retired, open};
use crate::source::console::siblings::{self, start};
use crate::source::console::state::{ConsoleState, Position};
use crate::source::console::{Consoles, FILES_MAX};
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// File systems stamp with the clock of the last timer tick, 1 to 10 ms behind the one we read.
const STAMP_LAG: Duration = Duration::from_millis(20);

impl Consoles {
    /// Takes up the files of an earlier run, rotated ones first as they were.
    pub(super) fn restore(&mut self, state: &ConsoleState, now: Mono) {
        self.done.extend(state.finished.iter().take(FILES_MAX).cloned());
        self.restore_followed(state, now);
        let paths: BTreeSet<PathBuf> = self.known.iter().cloned().collect();
        for path in paths {
            if !self.active.contains_key(&path) {
                self.restore_missed(&path, state, now);
            }
        }
    }

    /// A file that was rotated while we were down may have been followed by others that were rotated too.
    fn restore_missed(&mut self, path: &Path, state: &ConsoleState, now: Mono) {
        let Ok(at_us) = u64::try_from(state.at_us) else { return };
        let since = UNIX_EPOCH + Duration::from_micros(at_us).saturating_sub(STAMP_LAG);
        let was_there = |file: &File, ino: u64| {
            let head = start(file);
            state.files.iter().chain(&state.finished).any(|p| p.ino == ino && p.head.fits(&head))
        };
        // copytruncate and then a rename: the inode is the one we knew, the content is not.
        let renewed = |file: &File, meta: &Metadata| {
            state.files.iter().any(|p| p.ino == meta.ino()) && !was_there(file, meta.ino())
        };
        for file in siblings::missed(path, since, renewed) {
            let Ok(meta) = file.metadata() else { continue };
            let open_already = self.files.values().any(|f| (f.dev, f.ino) == (meta.dev(), meta.ino()));
            if open_already || was_there(&file, meta.ino()) || self.files.len() >= FILES_MAX {
                continue;
            }
            let Some(host) = self.patterns.iter().find(|p| p.names(path)).map(|p| p.host_of(path)) else { return };
            if let Ok(mut follow) = Follow::new(path, host, file, 0, meta.size(), now) {
                follow.retired = Some(Retired::Renamed);
                follow.after = self.files.iter().rev().find(|(_, f)| f.path == path).map(|(id, _)| *id);
                self.adopt(follow, now);
            }
        }
    }

    fn restore_followed(&mut self, state: &ConsoleState, now: Mono) {
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
