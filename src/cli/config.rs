//! `lastgasp config`.

use crate::cli::{Exit, Global};
use anyhow::{Result, bail};

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(_global: &Global, _args: &Args) -> Result<Exit> {
    bail!("config is being built")
}
