//! `lastgasp status`: asks the running watch.

use crate::cli::common::config_of;
use crate::cli::{Exit, Format, Global};
use crate::config::Config;
use crate::daemon::control::{Connection, Reply, Request, default_path};
use crate::daemon::status::Status;
use crate::probe::ProbeState;
use crate::report::safe;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// The core answers within one turn of its loop.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Lines of history shown when nobody answers.
const LAST_WORDS: usize = 10;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Control socket of the watch, instead of the configured one
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let config = config_of(global)?;
    let path = args.control.clone().or(config.general.control.clone()).unwrap_or_else(default_path);
    let place = path.display();
    let opened = Connection::open(&path).with_context(|| format!("connect to {place}"))?;
    let mut out = std::io::stdout().lock();
    let Some(mut connection) = opened else {
        match global.format {
            Format::Json => {
                crate::report::json_line(&mut out, &serde_json::json!({ "running": false, "control": path }))?
            }
            Format::Text => {
                writeln!(out, "no watch is running (nobody answers on {})", safe(&place.to_string()))?;
                last_words(&config, &mut out)?;
            }
        }
        return Ok(Exit::Nothing);
    };
    connection.send(&Request::Status).with_context(|| format!("ask {place}"))?;
    match connection.receive(ANSWER_MAX).with_context(|| format!("hear {place}"))? {
        Reply::Status(status) if global.format == Format::Json => {
            crate::report::json_line(&mut out, &status)?;
        }
        Reply::Status(status) => text(&status, &mut out)?,
        Reply::Error(e) => bail!("the watch says: {e}"),
        other => bail!("the watch answers something else: {other:?}"),
    }
    Ok(Exit::Success)
}

/// What the last watch saw, from the history in the store.
fn last_words(config: &Config, out: &mut impl Write) -> std::io::Result<()> {
    for dir in crate::store::candidates(&config.store, None) {
        let lines = crate::source::history::last(&dir, LAST_WORDS).unwrap_or_default();
        if !lines.is_empty() {
            let file = dir.join(crate::source::history::FILE);
            writeln!(out, "last of {}:", safe(&file.to_string_lossy()))?;
        }
        for l in lines {
            let what =
                serde_json::to_value(l.what).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
            let title = l.title.as_deref().map(|t| format!(" {}", safe(t))).unwrap_or_default();
            let detail = l.detail.as_deref().map(|d| format!(" ({})", safe(d))).unwrap_or_default();
            writeln!(out, "   {} {what} on {}:{title}{detail}", l.at, safe(&l.host))?;
        }
    }
    Ok(())
}

fn text(s: &Status, out: &mut impl Write) -> std::io::Result<()> {
    let uptime = Duration::from_secs(s.now.since(s.started_at).as_secs());
    writeln!(
        out,
        "lastgasp {} watches {} (pid {}, for {})",
        s.version,
        safe(&s.host),
        s.pid,
        humantime::format_duration(uptime)
    )?;
    writeln!(out, "kernel log   {} ({} records)", safe(&s.kernel_log), s.kernel_records)?;
    match s.consoles.as_slice() {
        [] => writeln!(out, "consoles     none")?,
        list => writeln!(out, "consoles     {} ({} lines)", safe(&list.join(" ")), s.console_records)?,
    }
    if let Some(n) = &s.netconsole {
        let (lines, senders) = (s.netconsole_records, s.netconsole_senders);
        writeln!(out, "netconsole   {} ({lines} lines, {senders} sender(s) heard of)", safe(n))?;
    }
    if s.probes.is_empty() {
        writeln!(out, "probes       none; add one with --probe tcp:127.0.0.1:80 or a [[probe]] in the config")?;
    }
    for p in &s.probes {
        let since = p.since.map(|t| format!(" since {t}")).unwrap_or_default();
        let cause = p.cause.map(|c| format!(": {c}")).unwrap_or_default();
        let detail = p.detail.as_deref().map(|d| format!(" ({})", safe(d))).unwrap_or_default();
        let state = match (p.state, p.stale_since.is_some()) {
            (_, true) => "not heard of",
            (ProbeState::Up, _) => "up",
            (ProbeState::Down, _) => "DOWN",
            (ProbeState::Unknown, _) => "not decided yet",
        };
        let flapping = if p.flapping { ", flapping" } else { "" };
        writeln!(out, "probe        {} {} {}{since}{flapping}{cause}{detail}", safe(&p.probe), safe(&p.target), state)?;
    }
    let store = s.store.as_ref().map_or_else(|| "not known yet".into(), |p| p.display().to_string());
    let spare = if s.spare_ready { "a worker is ready" } else { "NO WORKER IS READY" };
    writeln!(out, "store        {}; {spare}", safe(&store))?;
    if s.stuck_children > 0 {
        writeln!(out, "stuck        {} process(es) of ours hang in the kernel", s.stuck_children)?;
    }
    let events: Vec<String> = s.events.iter().map(|(k, n)| format!("{n} {k}")).collect();
    writeln!(out, "events       {}", if events.is_empty() { "none".into() } else { events.join(", ") })?;
    let losses: Vec<String> = s.losses.counts.iter().map(|(k, n)| format!("{n} {}", safe(k))).collect();
    writeln!(out, "lost         {}", if losses.is_empty() { "nothing".into() } else { losses.join(", ") })?;
    for limit in &s.limits {
        writeln!(out, "limit        {}", safe(limit))?;
    }
    writeln!(out, "snapshots    {} since the start", s.snapshots)?;
    for l in &s.last_snapshots {
        writeln!(out, "   {} {} {} {}", l.at, l.published.id, l.published.kind, safe(&l.title))?;
    }
    for l in &s.log {
        writeln!(out, "log          {} {}", l.at, safe(&l.text))?;
    }
    Ok(())
}
