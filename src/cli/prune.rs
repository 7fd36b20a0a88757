//! `lastgasp prune`: apply the store's limits now.

use crate::cli::target::stores_of;
use crate::cli::{Exit, Format, Global};
use crate::report;
use crate::sys::clock;
use anyhow::Result;
use std::io::{BufWriter, Write};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only say what would go
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let mut removals = Vec::new();
    for store in stores_of(global)? {
        removals.extend(store.prune(clock::wall(), args.dry_run)?);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    report::pruned(&mut out, &removals, args.dry_run, global.format == Format::Json)?;
    out.flush()?;
    Ok(Exit::Success)
}
