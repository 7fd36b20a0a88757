//! `lastgasp extract`: unpack a snapshot, or some of its entries.

use crate::archive::Reader;
use crate::cli::target::{say_none, target};
use crate::cli::{Exit, Format, Global};
use crate::report;
use anyhow::{Result, bail};
use std::cell::Cell;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Id, the unique start of one, or a file; without, the newest
    pub id: Option<String>,
    /// Entries or directories in the snapshot; without, everything
    pub entries: Vec<String>,
    /// Where to put the snapshot's directory
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Stop after unpacking this much: a small file may claim to be huge
    #[arg(long, value_name = "SIZE", default_value = "16GiB")]
    pub max_bytes: bytesize::ByteSize,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let Some(target) = target(global, args.id.as_deref())? else { return say_none(global) };
    let reader = Reader::open(&target.path)?;
    // With or without the top directory and a slash at the end, as completion and `tar -t` give them.
    let wanted: Vec<(String, Cell<bool>)> = args
        .entries
        .iter()
        .map(|e| {
            let e = e.trim_matches('/');
            let below = reader.top_dir().and_then(|t| e.strip_prefix(t)?.strip_prefix('/')).unwrap_or(e);
            (below.to_owned(), Cell::new(false))
        })
        .collect();
    let filter = |path: &str| {
        let hit = |w: &str| path.strip_prefix(w).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut any = wanted.is_empty();
        for (_, seen) in wanted.iter().filter(|(w, _)| hit(w)) {
            seen.set(true);
            any = true;
        }
        any
    };
    let done = reader.extract(&args.directory, &filter, args.max_bytes.as_u64())?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    report::extracted(&mut out, &done, global.format == Format::Json)?;
    out.flush()?;
    if !done.damaged.is_empty() {
        return Ok(Exit::Damaged);
    }
    let unseen: Vec<&str> = wanted.iter().filter(|(_, seen)| !seen.get()).map(|(w, _)| w.as_str()).collect();
    if !unseen.is_empty() {
        bail!("no entry {} (`lastgasp show ID --entries` lists them)", unseen.join(", "));
    }
    Ok(Exit::Success)
}
