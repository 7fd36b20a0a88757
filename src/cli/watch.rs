//! `lastgasp watch`: the daemon, in the foreground.

use crate::cli::common::config_of;
use crate::cli::{Exit, Global};
use crate::config::ConsoleConfig;
use crate::daemon::{Setup, run as run_daemon};
use anyhow::{Context, Result, anyhow};
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Probe a service besides the configured ones: tcp:HOST:PORT, http://…, https://…, unix:PATH, unit:NAME, process:NAME, pidfile:PATH; NAME=… names it
    #[arg(long, value_name = "TARGET")]
    pub probe: Vec<String>,
    /// Follow a console log (file or glob) besides the configured ones
    #[arg(long, value_name = "PATH")]
    pub console: Vec<String>,
    /// Control socket, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// Do not follow the kernel log of this machine
    #[arg(long)]
    pub no_kernel_log: bool,
    /// Log more
    #[arg(long, short)]
    pub verbose: bool,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    crate::sys::logger::install("watch", args.verbose);
    let mut config = config_of(global)?;
    for text in &args.probe {
        let mut probe = crate::config::probe_from_arg(text).map_err(|e| anyhow!("--probe {text}: {e}"))?;
        let taken = |name: &str| config.probes.iter().any(|p| p.name == name);
        if taken(&probe.name) {
            let base = probe.name.clone();
            let free = (2..).map(|n| format!("{base}-{n}")).find(|n| !taken(n));
            probe.name = free.expect("one of endlessly many names is free");
        }
        config.probes.push(probe);
    }
    for path in &args.console {
        let path = std::path::absolute(path).with_context(|| format!("--console {path}"))?;
        let path = path.to_str().with_context(|| format!("--console {}: not UTF-8", path.display()))?.to_owned();
        config.consoles.push(ConsoleConfig { path, host: None });
    }
    if args.control.is_some() {
        config.general.control = args.control.clone();
    }
    config.kmsg.enabled &= !args.no_kernel_log;
    run_daemon(Setup { config, version: env!("CARGO_PKG_VERSION") })?;
    Ok(Exit::Success)
}
