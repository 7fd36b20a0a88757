//! What lies in a store, finding one of it, pins, and carrying out the retention plan.

use crate::model::Wall;
use crate::store::name::{PARTIAL, PIN, Parsed, SUFFIX, UNREADABLE, parse};
use crate::store::{Error, Now, Removal, Result, Store, Stored, plan};
use crate::sys::timex;
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Most names that are looked at; a directory with more is no store.
pub(crate) const NAMES_MAX: usize = 100_000;

impl Store {
    /// Everything of ours in the directory, newest first. Opens no snapshot.
    pub fn list(&self) -> Result<Vec<Stored>> {
        let io_error = |cause| Error::Io { operation: "list store", path: self.dir.clone(), cause };
        let mut found = Vec::new();
        let mut pins = HashSet::new();
        for (seen, entry) in std::fs::read_dir(&self.dir).map_err(io_error)?.enumerate() {
            if seen >= NAMES_MAX {
                return Err(io_error(io::Error::other(format!("more than {NAMES_MAX} files"))));
            }
            let entry = entry.map_err(io_error)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if let Some(stem) = name.strip_suffix(PIN) {
                pins.insert(stem.to_owned());
                continue;
            }
            let Some((stem, parsed)) = take_apart(&name) else { continue };
            // Removed meanwhile: no loss. A link or directory of such a name is not ours.
            let Ok(meta) = std::fs::symlink_metadata(entry.path()) else { continue };
            if meta.is_file() {
                found.push((stem, stored(entry.path(), &name, parsed, meta.len())));
            }
        }
        let mut list: Vec<Stored> =
            found.into_iter().map(|(stem, s)| Stored { pinned: pins.contains(&stem), ..s }).collect();
        list.sort_by(|a, b| (b.at, &b.path).cmp(&(a.at, &a.path)));
        Ok(list)
    }

    /// One snapshot by id, unique start of an id, or file name; `None` is the newest. Interrupted and
    /// unreadable ones only by their whole id or name.
    pub fn find(&self, wanted: Option<&str>) -> Result<Stored> {
        let list = self.list()?;
        let Some(wanted) = wanted else {
            let newest = list.into_iter().find(Stored::is_snapshot);
            return newest.ok_or_else(|| Error::Empty { dir: self.dir.clone() });
        };
        let name = Path::new(wanted).file_name().and_then(|n| n.to_str()).unwrap_or(wanted);
        let file_name = |s: &Stored| s.path.file_name().and_then(|n| n.to_str()).unwrap_or("").to_owned();
        let in_here = !wanted.contains('/') || Path::new(wanted).parent().is_some_and(|p| same_dir(p, &self.dir));
        if in_here {
            let exact = |s: &&Stored| {
                let own = file_name(s);
                own == name || own.strip_suffix(SUFFIX) == Some(name) || s.id.0 == name
            };
            // A whole one is preferred to an interrupted one of the same id.
            let hit = list.iter().filter(exact).min_by_key(|s| !s.is_snapshot());
            if let Some(s) = hit {
                return Ok(s.clone());
            }
            let matches: Vec<&Stored> =
                list.iter().filter(|s| s.is_snapshot() && !name.is_empty() && s.id.0.starts_with(name)).collect();
            match matches[..] {
                [] => {}
                [one] => return Ok(one.clone()),
                _ => {
                    let matches = matches.iter().take(20).map(|s| format!("{} ({} {})", s.id, s.kind, s.at)).collect();
                    return Err(Error::Ambiguous { wanted: wanted.into(), matches });
                }
            }
        }
        Err(Error::NotFound { dir: self.dir.clone(), wanted: wanted.into() })
    }

    /// Keeps a snapshot whatever the limits say, or no longer.
    pub fn pin(&self, snapshot: &Stored, on: bool) -> Result<()> {
        let path = pin_path(&snapshot.path);
        let done = if on {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
            options.open(&path).and_then(|f| f.sync_all())
        } else {
            ignore_missing(std::fs::remove_file(&path))
        };
        let done = done.and_then(|()| crate::store::pending::sync_dir(&self.dir));
        done.map_err(|cause| Error::Io { operation: if on { "pin" } else { "unpin" }, path, cause })
    }

    /// Applies the limits; with `dry_run` only says what would go. A file that cannot be removed ends
    /// it with an error; what was removed before stays removed.
    pub fn prune(&self, now: Wall, dry_run: bool) -> Result<Vec<Removal>> {
        let steered = timex::read().is_ok_and(|c| c.status & timex::STA_UNSYNC == 0);
        let removals = plan(&self.list()?, &self.limits, self.free_bytes(), Now { wall: now, steered });
        if !dry_run {
            for r in &removals {
                // Pinned since the plan was made?
                if std::fs::symlink_metadata(pin_path(&r.path)).is_ok() {
                    continue;
                }
                ignore_missing(std::fs::remove_file(&r.path)).map_err(|cause| Error::Io {
                    operation: "remove snapshot",
                    path: r.path.clone(),
                    cause,
                })?;
            }
        }
        Ok(removals)
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn same_dir(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// The stem and its parts; `None` for files that are not ours.
pub(crate) fn take_apart(name: &str) -> Option<(String, Parsed)> {
    let stem = [PARTIAL, SUFFIX, UNREADABLE].iter().find_map(|s| name.strip_suffix(s))?;
    Some((stem.to_owned(), parse(stem)?))
}

fn stored(path: PathBuf, name: &str, p: Parsed, bytes: u64) -> Stored {
    Stored {
        id: p.id,
        host: p.host,
        kind: p.kind,
        at: p.at,
        bytes,
        pinned: false,
        path,
        partial: name.ends_with(PARTIAL),
        unreadable: name.ends_with(UNREADABLE),
    }
}

pub(crate) fn pin_path(snapshot: &Path) -> PathBuf {
    let name = snapshot.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let stem = [PARTIAL, SUFFIX, UNREADABLE].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
    snapshot.with_file_name(format!("{stem}{PIN}"))
}
