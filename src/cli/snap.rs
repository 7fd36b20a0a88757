//! `lastgasp snap`: one snapshot now, by a capture worker of its own, whether or not a watch runs.

use crate::capture::protocol::{Message, Order, Preparation, Published};
use crate::capture::{Spec, registry};
use crate::cli::common::config_of;
use crate::cli::{Exit, Format, Global};
use crate::config::Config;
use crate::daemon::control::{Connection, default_path};
use crate::daemon::spawn_capture;
use crate::host::Root;
use crate::model::{BootId, Incident, IncidentId, Kind, Losses, Trigger};
use crate::report;
use crate::store;
use crate::sys::ipc::Received;
use crate::sys::process::Child;
use crate::sys::{clock, random};
use anyhow::{Context, Result, anyhow, bail};
use std::io::{IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Why; it is written into the snapshot
    #[arg(long, short, default_value = "taken by hand")]
    pub reason: String,
    /// Only these collectors (see `lastgasp collectors`)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Leave the disk read benchmark out
    #[arg(long)]
    pub no_disk_benchmark: bool,
}

/// What publishing may take beyond the capture's own deadline.
const PUBLISH_MAX: Duration = Duration::from_secs(15);
/// The watch answers within one turn of its loop; one that does not is not waited for.
const WATCH_MAX: Duration = Duration::from_millis(500);
/// Stores are few; so are attempts.
const STORES_MAX: usize = 4;

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let mut config = config_of(global)?;
    config.capture.disk_benchmark &= !args.no_disk_benchmark;
    check_names(&args.only)?;
    let incident = incident(&config, &args.reason);
    let live = global.format == Format::Text && std::io::stderr().is_terminal();
    let mut failures = Vec::new();
    for _ in 0..STORES_MAX {
        match attempt(&config, &incident, args, &failures, live)? {
            Ok(published) => return tell(global, &published),
            Err(failed) => {
                eprintln!("lastgasp: {}", report::safe(&failed.error));
                let over = failed.place.is_none();
                failures.push(failed);
                if over {
                    break;
                }
            }
        }
    }
    let errors: Vec<&str> = failures.iter().map(|f| f.error.as_str()).collect();
    Err(anyhow!("no snapshot was written: {}", errors.join("; then ")))
}

fn check_names(only: &[String]) -> Result<()> {
    let known: Vec<&str> = registry::ALL.iter().map(|s: &&Spec| s.name).collect();
    for name in only {
        if !known.contains(&name.as_str()) {
            bail!("no collector {name:?}; there are: {}", known.join(", "));
        }
    }
    Ok(())
}

fn incident(config: &Config, reason: &str) -> Incident {
    let root = Root::real();
    let read = |path: &str| root.read(path, 256).ok().map(|c| c.text().trim().to_owned()).filter(|t| !t.is_empty());
    let host = config.general.host.clone().or_else(|| read("/proc/sys/kernel/hostname"));
    let host = host.unwrap_or_else(|| "localhost".into());
    Incident {
        format: 1,
        id: IncidentId(random::short_id()),
        kind: Kind::Other,
        title: format!("snapshot: {reason}"),
        host: host.clone(),
        captured_on: host,
        local: true,
        opened_at: clock::wall(),
        drill: false,
        boot_id: read("/proc/sys/kernel/random/boot_id").map(BootId),
        kernel: read("/proc/sys/kernel/osrelease"),
        version: env!("CARGO_PKG_VERSION").into(),
        trigger: Trigger::Manual { reason: reason.to_owned() },
        events: Vec::new(),
        follows: None,
        events_left_out: 0,
        recurrences: 0,
        losses: Losses::default(),
        limits: crate::daemon::limits(),
    }
}

struct Failed {
    /// The store that did not take it; another may do better. `None`: no store can help.
    place: Option<PathBuf>,
    error: String,
}

/// What a running watch remembers of command lines: the processes that hang now cannot be asked any more. Without a watch, or
/// from one that does not answer, nothing.
fn command_lines(config: &Config) -> Option<OwnedFd> {
    let path = config.general.control.clone().unwrap_or_else(default_path);
    Connection::open(&path).ok()??.command_lines(WATCH_MAX).ok()?
}

fn attempt(
    config: &Config,
    incident: &Incident,
    args: &Args,
    earlier: &[Failed],
    live: bool,
) -> Result<Result<Published, Failed>> {
    let child = spawn_capture(command_lines(config).as_ref()).context("start a capture worker")?;
    let avoid: Vec<PathBuf> = earlier.iter().filter_map(|f| f.place.clone()).collect();
    // Until the worker says where it writes: where it will try first.
    let mut place = store::candidates(&config.store, None).into_iter().find(|d| !avoid.contains(d));
    let preparation = Preparation { config: config.clone(), avoid, lock: false };
    child.channel.send(&Order::Prepare(Box::new(preparation))).context("prepare the capture worker")?;
    let until = clock::mono().plus(Duration::from_millis(config.capture.deadline_ms) + PUBLISH_MAX);
    let mut buf = Vec::new();
    let mut progress = Progress::new(live);
    loop {
        let left = until.since(clock::mono());
        if left.is_zero() {
            child.kill();
            return Ok(Err(Failed { place, error: "the capture worker hangs; it is left alone".into() }));
        }
        match child.channel.recv::<Message>(&mut buf, Some(left)).context("hear the capture worker")? {
            Received::Message(Message::Ready { store, notices }) => {
                place = Some(store);
                notices.iter().for_each(|n| progress.line(n));
                order(&child, incident, args, earlier)?;
            }
            Received::Message(Message::Published(p)) => {
                progress.end();
                return Ok(Ok(p));
            }
            Received::Message(Message::Failed { store, error }) => {
                progress.end();
                return Ok(Err(Failed { place: place.filter(|_| store), error }));
            }
            Received::Message(Message::Notice(text)) if !live => eprintln!("lastgasp: {text}"),
            Received::Message(m) => progress.show(&m),
            Received::Empty => {}
            Received::Closed => {
                progress.end();
                return Ok(Err(Failed { place: None, error: "the capture worker ended without a snapshot".into() }));
            }
        }
    }
}

fn order(child: &Child, incident: &Incident, args: &Args, earlier: &[Failed]) -> Result<()> {
    let collectors = if args.only.is_empty() { None } else { Some(args.only.clone()) };
    let order = Order::Capture {
        incident: Box::new(incident.clone()),
        unfinished: false,
        collectors,
        earlier: earlier.iter().map(|f| f.error.chars().take(500).collect()).collect(),
    };
    child.channel.send(&order).context("order the capture")
}

fn tell(global: &Global, p: &Published) -> Result<Exit> {
    let mut out = std::io::stdout().lock();
    if global.format == Format::Json {
        report::json_line(&mut out, p)?;
        return Ok(Exit::Success);
    }
    let outcomes: Vec<String> = p.outcomes.iter().map(|(k, n)| format!("{n} {}", k.replace('_', " "))).collect();
    let t0 = p.t0_durable_ms.map_or_else(|| "not confirmed".into(), |ms| format!("after {ms} ms"));
    writeln!(out, "{}", report::safe(&p.path.to_string_lossy()))?;
    writeln!(
        out,
        "{} in {} ms; first tier on the disk {t0}; collectors: {}",
        bytesize::ByteSize::b(p.bytes),
        p.total_ms,
        outcomes.join(", ")
    )?;
    writeln!(out, "read it with: lastgasp show {}", p.id)?;
    Ok(Exit::Success)
}

/// A line per collector on a terminal: what runs, how it ended.
struct Progress {
    live: bool,
    running: Vec<String>,
}

impl Progress {
    fn new(live: bool) -> Progress {
        Progress { live, running: Vec::new() }
    }

    fn show(&mut self, message: &Message) {
        match message {
            Message::Started { collector } => {
                self.running.push(collector.clone());
                self.status();
            }
            Message::Ended { collector, outcome, why, bytes, took_ms } => {
                self.running.retain(|r| r != collector);
                let why = why.as_deref().map(|w| format!(": {}", report::safe(w))).unwrap_or_default();
                self.line(&format!(
                    "{collector:<18} {outcome:<10} {:>10} {took_ms:>6} ms{why}",
                    bytesize::ByteSize::b(*bytes).to_string()
                ));
            }
            Message::Durable { tier, ms } => self.line(&format!("-- {tier} is on the disk after {ms} ms")),
            Message::Notice(text) => self.line(&report::safe(text)),
            _ => {}
        }
    }

    /// A line that stays, above the line that changes.
    fn line(&mut self, text: &str) {
        if self.live {
            eprintln!("\r\x1b[K{text}");
            self.status();
        }
    }

    fn status(&self) {
        if self.live && !self.running.is_empty() {
            eprint!("\r\x1b[K… {}", self.running.join(", "));
        }
    }

    fn end(&self) {
        if self.live {
            eprint!("\r\x1b[K");
        }
    }
}
