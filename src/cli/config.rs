//! `lastgasp config check|show|example`.

use crate::cli::common::{config_and_file, config_of};
use crate::cli::{Exit, Format, Global};
use crate::config::{self, Config, ProbeConfig, ProbeTarget, form, glob};
use crate::report;
use anyhow::{Context, Result};
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

/// Most files that a pattern is expanded to.
const FILES_MAX: usize = 10_000;

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Name every mistake (exit code 2), or say what would be watched
    Check {
        /// Instead of the file of --config
        file: Option<PathBuf>,
    },
    /// Print the config that holds, defaults included
    Show,
    /// Print a commented config with every key
    Example,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    match &args.command {
        Command::Check { file: Some(file) } => check(&Global { config: Some(file.clone()), ..global.clone() }),
        Command::Check { file: None } => check(global),
        Command::Show => {
            let config = config_of(global)?;
            let text = match global.format {
                Format::Text => config::render(&config),
                Format::Json => report::safe_json(&serde_json::to_string_pretty(&config)?).into_owned() + "\n",
            };
            stdout().write_all(text.as_bytes())?;
            Ok(Exit::Success)
        }
        Command::Example => {
            stdout().write_all(config::example().as_bytes())?;
            Ok(Exit::Success)
        }
    }
}

fn check(global: &Global) -> Result<Exit> {
    let (config, file) = match config_and_file(global) {
        Ok(found) => found,
        Err(error) => match error.downcast_ref::<config::Error>() {
            Some(config::Error::Invalid(problems)) if global.format == Format::Json => {
                let json = serde_json::json!({ "good": false, "file": problems.file, "problems": problems.list });
                report::json(&mut stdout(), &json)?;
                return Ok(Exit::Error);
            }
            _ => return Err(error),
        },
    };
    let watched = watched(&config);
    let warnings = warnings(&config);
    let mut out = stdout().lock();
    match global.format {
        Format::Json => {
            let watched: Vec<_> =
                watched.iter().map(|(what, text)| serde_json::json!({ "what": what, "text": text })).collect();
            let json = serde_json::json!({
                "good": true, "file": file, "problems": [], "watched": watched, "warnings": warnings,
            });
            report::json(&mut out, &json)?;
        }
        Format::Text => {
            match &file {
                Some(file) => writeln!(out, "{}: good", report::safe(&file.to_string_lossy()))?,
                None => writeln!(out, "no {}: the defaults hold", config::DEFAULT_PATH)?,
            }
            for (what, text) in watched {
                writeln!(out, "  {what:<11} {}", report::safe(&text))?;
            }
            for warning in warnings {
                writeln!(out, "warning: {}", report::safe(&warning.to_string()))?;
            }
        }
    }
    out.flush().context("write to standard output")?;
    Ok(Exit::Success)
}

/// What would be watched and where snapshots go, as (what, in words).
fn watched(config: &Config) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if config.kmsg.enabled {
        lines.push(("kernel log", "/dev/kmsg".to_owned()));
    }
    for c in &config.consoles {
        let files = match files(&c.path) {
            n if n >= FILES_MAX => format!("{FILES_MAX} files or more"),
            1 => "1 file".to_owned(),
            n => format!("{n} files"),
        };
        lines.push(("console", format!("{} ({files} now)", c.path)));
    }
    if let Some(address) = &config.netconsole.listen {
        lines.push(("netconsole", format!("{address} ({} host(s) named)", config.netconsole.hosts.len())));
    }
    for p in &config.probes {
        lines.push((
            "probe",
            format!(
                "{}: {} every {}, timeout {}, down after {} failures, up after {}",
                p.name,
                p.target,
                form::duration_text(p.interval_ms),
                form::duration_text(p.timeout_ms),
                p.failures,
                p.recoveries,
            ),
        ));
    }
    let store = &config.store;
    match store.dirs.as_slice() {
        [] => lines.push(("store", "the default store".to_owned())),
        dirs => lines.extend(dirs.iter().map(|d| ("store", d.display().to_string()))),
    }
    lines.push((
        "limits",
        format!(
            "at most {} snapshots, {}, {}; {} stay free",
            store.max_count,
            form::size_text(store.max_bytes),
            form::duration_text(store.max_age_s.saturating_mul(1000)),
            form::size_text(store.min_free_bytes),
        ),
    ));
    for c in &config.capture.commands {
        lines.push(("command", format!("{}: {}", c.name, c.argv.join(" "))));
    }
    for u in &config.capture.urls {
        lines.push(("url", format!("{}: {}", u.name, u.url)));
    }
    lines
}

/// What is accepted and yet likely not what was meant on this machine.
fn warnings(config: &Config) -> Vec<String> {
    let mut list = Vec::new();
    let listens = config.netconsole.listen.is_some();
    if !config.kmsg.enabled && config.consoles.is_empty() && !listens && config.probes.is_empty() {
        list.push(
            "nothing is watched: the kernel log is off, and there is no console, no netconsole and no probe".to_owned(),
        );
    }
    if !listens && !config.netconsole.hosts.is_empty() {
        list.push("netconsole.host: nothing is listened to; write netconsole.listen = \"0.0.0.0:6666\"".to_owned());
    }
    for c in &config.consoles {
        if files(&c.path) == 0 {
            list.push(format!("console {}: no such file now; it is followed as soon as there is one", c.path));
        }
    }
    list.extend(config.probes.iter().filter_map(probe_warning));
    for c in &config.capture.commands {
        if let Some(program) = c.argv.first().filter(|p| !Path::new(p).is_file()) {
            list.push(format!("command {}: {program} is not there", c.name));
        }
    }
    let known = crate::capture::registry::ALL;
    for name in config.capture.skip.iter().filter(|n| !known.iter().any(|k| k.name == n.as_str())) {
        let near = form::nearest(name, known.iter().map(|k| k.name));
        let near = near.map_or(String::new(), |n| format!("; did you mean {n}?"));
        list.push(format!("capture.skip: there is no collector {name}{near}"));
    }
    list
}

fn probe_warning(p: &ProbeConfig) -> Option<String> {
    let by_name = |host: &str| {
        let literal = host.parse::<std::net::IpAddr>().is_ok() || host == "localhost";
        (!literal).then(|| {
            format!("probe {}: {host} is a name, so the probe also fails when it cannot be resolved; an address avoids that", p.name)
        })
    };
    match &p.target {
        ProbeTarget::Tcp { host, .. } => by_name(host),
        ProbeTarget::Http { url, verify, .. } => {
            let url = config::url::HttpUrl::parse(url).ok()?;
            // With the certificate checked, the name is needed.
            if url.tls && *verify { None } else { by_name(&url.host) }
        }
        ProbeTarget::Unit { .. } if crate::sys::exec::find("systemctl").is_none() => {
            Some(format!("probe {}: there is no systemctl on this host", p.name))
        }
        ProbeTarget::Unix { path } if !path.starts_with("/") => None,
        ProbeTarget::Unix { path } | ProbeTarget::Pidfile { path } if !path.exists() => {
            Some(format!("probe {}: {} is not there now", p.name, path.display()))
        }
        _ => None,
    }
}

/// How many files a path or pattern means now, at most [`FILES_MAX`].
fn files(pattern: &str) -> usize {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.split('/').filter(|c| !c.is_empty()) {
        let mut next = Vec::new();
        for dir in found {
            if !glob::is_pattern(component) {
                let path = dir.join(component);
                if path.exists() {
                    next.push(path);
                }
            } else if let Ok(entries) = std::fs::read_dir(&dir) {
                use std::os::unix::ffi::OsStrExt;
                let names = entries.take(FILES_MAX).flatten().map(|e| e.file_name());
                let fits = names.filter(|n| glob::matches(component.as_bytes(), n.as_bytes()));
                next.extend(fits.take(FILES_MAX - next.len()).map(|n| dir.join(n)));
            }
        }
        found = next;
    }
    found.iter().filter(|p| p.is_file()).count()
}
