//! What `verify`, `extract`, `salvage`, `prune` and `pin` did.

use crate::archive::{Extracted, Salvaged, VerifyReport};
use crate::report::units::size;
use crate::report::{json, safe};
use crate::store::{PartialFate, Removal, Stored};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Most problems of one file on the terminal; JSON has all that were kept.
const PROBLEMS_SHOWN: usize = 20;

/// The check of one file. `report` is `None` when it could not even be opened: then `error` says why.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    pub path: PathBuf,
    pub report: Option<VerifyReport>,
    pub error: Option<String>,
}

impl Checked {
    pub fn ok(&self) -> bool {
        self.report.as_ref().is_some_and(|r| r.ok)
    }
}

pub fn verified(out: &mut dyn Write, checked: &[Checked], as_json: bool) -> io::Result<()> {
    if as_json {
        return json(out, checked);
    }
    for c in checked {
        let path = c.path.to_string_lossy();
        let path = safe(&path);
        match &c.report {
            None => writeln!(out, "{path}: DAMAGED: {}", safe(c.error.as_deref().unwrap_or("not readable")))?,
            Some(r) => {
                let whole = format!("{} entries, {} unpacked", r.readable, size(r.bytes));
                let salvaged = r.salvaged.as_deref().map(|s| format!("; salvaged: {s}")).unwrap_or_default();
                if r.ok {
                    writeln!(out, "{path}: ok: {whole}{}", safe(&salvaged))?;
                    continue;
                }
                let of = r.expected.map(|n| format!(" of {n}")).unwrap_or_default();
                writeln!(out, "{path}: DAMAGED: {}{of} entries are whole{}", r.readable, safe(&salvaged))?;
                for p in r.problems.iter().take(PROBLEMS_SHOWN) {
                    writeln!(out, "  {}", safe(&p.to_string()))?;
                }
                if r.problems.len() > PROBLEMS_SHOWN {
                    writeln!(out, "  … {} problems more", r.problems.len() - PROBLEMS_SHOWN)?;
                }
            }
        }
    }
    Ok(())
}

pub fn extracted(out: &mut dyn Write, done: &Extracted, as_json: bool) -> io::Result<()> {
    if as_json {
        return json(out, done);
    }
    let dir = done.dir.to_string_lossy();
    writeln!(out, "{} files, {}, in {}", done.files, size(done.bytes), safe(&dir))?;
    for (word, list) in [("not unpacked", &done.refused), ("DAMAGED", &done.damaged)] {
        for p in list {
            writeln!(out, "  {word}: {}", safe(&p.to_string()))?;
        }
    }
    Ok(())
}

/// What became of one file that a capture left. `output` is `None` when nothing in it can be read: then `why` says why.
/// `salvaged` is `None` when the file was whole, and only its name was to be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Saved {
    pub file: PathBuf,
    pub output: Option<PathBuf>,
    pub salvaged: Option<Salvaged>,
    pub why: Option<String>,
}

impl Saved {
    pub fn new(file: PathBuf, fate: PartialFate) -> Saved {
        let (output, salvaged, why) = match fate {
            PartialFate::Published(path) => (Some(path), None, None),
            PartialFate::Salvaged { path, what } => (Some(path), Some(what), None),
            PartialFate::Unreadable { why, .. } | PartialFate::Failed { why } => (None, None, Some(why)),
        };
        Saved { file, output, salvaged, why }
    }
}

pub fn saved(out: &mut dyn Write, saved: &[Saved], as_json: bool) -> io::Result<()> {
    if as_json {
        return json(out, saved);
    }
    for s in saved {
        let Some(output) = &s.output else {
            let why = s.why.as_deref().unwrap_or("nothing in it is whole");
            writeln!(out, "{}: nothing can be saved: {}", safe(&s.file.to_string_lossy()), safe(why))?;
            continue;
        };
        let output = output.to_string_lossy();
        match &s.salvaged {
            None => writeln!(out, "{}: it was whole", safe(&output))?,
            Some(what) => {
                let tiers = match &what.tiers[..] {
                    [] => "no tier is whole".to_owned(),
                    tiers => format!("{} whole", tiers.join(", ")),
                };
                let (entries, good, lost) = (what.entries, size(what.bytes_good), size(what.bytes_lost));
                writeln!(out, "{}: {entries} entries, {tiers}; {good} kept, {lost} lost", safe(&output))?;
                writeln!(out, "  {}", safe(&what.note))?;
            }
        }
    }
    Ok(())
}

pub fn pruned(out: &mut dyn Write, removals: &[Removal], dry_run: bool, as_json: bool) -> io::Result<()> {
    if as_json {
        return json(out, removals);
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    for r in removals {
        writeln!(out, "{verb} {} ({}): {}", safe(&r.path.to_string_lossy()), size(r.bytes), safe(&r.why))?;
    }
    let bytes = removals.iter().map(|r| r.bytes).sum();
    writeln!(out, "{verb} {} snapshots, {}", removals.len(), size(bytes))
}

pub fn pinned(out: &mut dyn Write, snapshot: &Stored, as_json: bool) -> io::Result<()> {
    if as_json {
        return json(out, snapshot);
    }
    let what = if snapshot.pinned { "pinned: kept whatever the limits say" } else { "no longer pinned" };
    writeln!(out, "{} is {what}", safe(&name(&snapshot.path)))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
