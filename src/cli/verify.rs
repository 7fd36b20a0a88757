//! `lastgasp verify`: check snapshots against their own checksums.

use crate::archive::{Error, Reader};
use crate::cli::target::{say_none, stores_of, target};
use crate::cli::{Exit, Format, Global};
use crate::report::{self, Checked};
use anyhow::Result;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// Far above any snapshot of ours; stops a file that claims to be huge.
const UNPACKED_MAX: u64 = 64 << 30;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Ids, unique starts of ids, or files; without, the newest
    pub ids: Vec<String>,
    /// Every snapshot in the store
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let mut paths: Vec<PathBuf> = Vec::new();
    if args.all {
        for store in stores_of(global)? {
            paths.extend(store.list()?.into_iter().filter(|s| s.is_snapshot()).map(|s| s.path));
        }
    } else if args.ids.is_empty() {
        paths.extend(target(global, None)?.map(|t| t.path));
    } else {
        for id in &args.ids {
            paths.extend(target(global, Some(id))?.map(|t| t.path));
        }
    }
    if paths.is_empty() {
        return say_none(global);
    }
    let checked: Vec<Checked> = paths.into_iter().map(check).collect::<Result<_>>()?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    report::verified(&mut out, &checked, global.format == Format::Json)?;
    out.flush()?;
    Ok(if checked.iter().all(Checked::ok) { Exit::Success } else { Exit::Damaged })
}

/// A file that cannot be read at all is an error of the command's, not damage of the file.
fn check(path: PathBuf) -> Result<Checked> {
    match Reader::open(&path) {
        Ok(reader) => Ok(Checked { path, report: Some(reader.verify(UNPACKED_MAX)), error: None }),
        Err(e @ Error::Io { .. }) => Err(e.into()),
        Err(e) => Ok(Checked { path, report: None, error: Some(e.to_string()) }),
    }
}
