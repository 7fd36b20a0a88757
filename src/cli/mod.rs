//! Flags to one call; error to exit code; the only place that prints.
//!
//! Each command is one file: `Args` and `run`. An error is printed with its causes and ends in
//! [`Exit::Error`]; a closed standard output (`lastgasp list | head`) is success.

mod collectors;
mod common;
mod config;
mod drill;
mod exit;
mod extract;
mod list;
mod pin;
mod prune;
mod role;
mod rules;
mod salvage;
mod scan;
mod show;
mod snap;
mod status;
mod target;
mod verify;
mod watch;

pub use exit::Exit;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Captures crashes and hangs of a Linux machine before anyone restarts the service.
#[derive(Parser, Debug)]
#[command(name = "lastgasp", version, max_term_width = 100, after_help = exit::HELP)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(clap::Args, Debug, Clone)]
pub struct Global {
    /// Config file; without, /etc/lastgasp/lastgasp.toml if it exists, else the defaults
    #[arg(long, short = 'c', global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the snapshots, instead of the configured ones
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Output for people or for programs
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Watch this machine until told to stop: detect, capture, keep
    Watch(watch::Args),
    /// Take a snapshot now
    Snap(snap::Args),
    /// Find failures in old logs
    Scan(scan::Args),
    /// What the running watch sees, and what it lost
    Status(status::Args),
    /// The snapshots in the store
    List(list::Args),
    /// What a snapshot says; or one of its entries
    Show(show::Args),
    /// Unpack a snapshot, or some of its entries
    Extract(extract::Args),
    /// Check a snapshot against its own checksums
    Verify(verify::Args),
    /// Complete what an interrupted capture left, as the next start of a watch does
    Salvage(salvage::Args),
    /// Keep a snapshot whatever the limits say; or no longer
    Pin(pin::Args),
    /// Apply the store's limits now
    Prune(prune::Args),
    /// Check, show or print an example of the config
    Config(config::Args),
    /// What a snapshot collects, from which privilege, within which limits
    Collectors(collectors::Args),
    /// What the detector recognises
    Rules(rules::Args),
    /// A fire drill: stage two failures, await their snapshots, check them
    Drill(drill::Args),
    /// A part of `watch` (started by it)
    #[command(hide = true)]
    Role(role::Args),
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(exit) => exit.into(),
        Err(error) if exit::is_broken_pipe(&error) => Exit::Success.into(),
        Err(error) => {
            eprintln!("lastgasp: {}", crate::report::safe_lines(&format!("{error:#}")));
            Exit::Error.into()
        }
    }
}

fn run(cli: &Cli) -> Result<Exit> {
    let global = &cli.global;
    match &cli.command {
        Command::Watch(args) => watch::run(global, args),
        Command::Snap(args) => snap::run(global, args),
        Command::Scan(args) => scan::run(global, args),
        Command::Status(args) => status::run(global, args),
        Command::List(args) => list::run(global, args),
        Command::Show(args) => show::run(global, args),
        Command::Extract(args) => extract::run(global, args),
        Command::Verify(args) => verify::run(global, args),
        Command::Salvage(args) => salvage::run(global, args),
        Command::Pin(args) => pin::run(global, args),
        Command::Prune(args) => prune::run(global, args),
        Command::Config(args) => config::run(global, args),
        Command::Collectors(args) => collectors::run(global, args),
        Command::Rules(args) => rules::run(global, args),
        Command::Drill(args) => drill::run(global, args),
        Command::Role(args) => role::run(args),
    }
}
