//! `lastgasp role NAME`: one process of `watch`, started by it with a channel as standard input.

use crate::cli::Exit;
use crate::sys::memfd::inherited;
use crate::sys::process::{parent_channel, set_name};
use anyhow::{Context, Result, bail};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// tail, probe, capture or keep
    pub name: String,
    /// For capture: the number of the descriptor with the cache of command lines
    pub command_lines: Option<i32>,
}

pub fn run(args: &Args) -> Result<Exit> {
    let channel = parent_channel().context("take standard input as the channel to the parent")?;
    let result = match args.name.as_str() {
        "tail" => {
            set_name(c"lastgasp-tail");
            crate::source::role::run(channel, &crate::daemon::sort_consoles).map_err(anyhow::Error::from)
        }
        "probe" => {
            set_name(c"lastgasp-probe");
            crate::probe::role::run(channel).map_err(anyhow::Error::from)
        }
        "capture" => {
            set_name(c"lastgasp-captur");
            let command_lines = args.command_lines.map(inherited).transpose();
            let command_lines = command_lines.context("take over the cache of command lines")?;
            crate::capture::worker::run(channel, command_lines).map_err(anyhow::Error::from)
        }
        "keep" => {
            set_name(c"lastgasp-keep");
            crate::daemon::keep::run(channel).map_err(anyhow::Error::from)
        }
        other => bail!("no role {other:?}: tail, probe, capture, keep; they are started by `lastgasp watch`"),
    };
    // A collector may be stuck in the kernel; nobody waits for its thread.
    result.with_context(|| format!("role {}", args.name))?;
    Ok(Exit::Success)
}
