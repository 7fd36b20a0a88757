//! `lastgasp role NAME`: one process of `watch`, started by it with a channel as standard input.

use crate::cli::Exit;
use anyhow::{Result, bail};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// tail, probe or capture
    pub name: String,
}

pub fn run(args: &Args) -> Result<Exit> {
    bail!("no role {:?}", args.name)
}
