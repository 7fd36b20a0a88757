//! `lastgasp pin`: keep a snapshot whatever the limits say; or no longer.

use crate::cli::target::target;
use crate::cli::{Exit, Format, Global};
use crate::report;
use anyhow::{Result, bail};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Id, the unique start of one, or a file in the store
    pub id: String,
    /// No longer keep it
    #[arg(long)]
    pub off: bool,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let Some((store, mut stored)) = target(global, Some(&args.id))?.and_then(|t| t.stored) else {
        bail!("{} lies in no store: only what the limits could remove can be pinned", args.id);
    };
    store.pin(&stored, !args.off)?;
    stored.pinned = !args.off;
    report::pinned(&mut std::io::stdout().lock(), &stored, global.format == Format::Json)?;
    Ok(Exit::Success)
}
