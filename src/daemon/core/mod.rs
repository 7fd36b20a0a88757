//! The core: one thread, one epoll, one loop. Everything that arrives becomes a record, a signal, a
//! decision and an order, in that order; nothing in here waits but the epoll.

mod act;
mod away;
mod drill;
mod hear;
mod network;
mod recount;
mod upkeep;
mod voice;

use crate::config::Config;
use crate::daemon::children::{Abandoned, Helper};
use crate::daemon::control::Control;
use crate::daemon::core::away::Away;
use crate::daemon::core::recount::Recount;
use crate::daemon::drills::Drill;
use crate::daemon::poller::{Poller, Token};
use crate::daemon::status::{LastSnapshot, LogLine};
use crate::daemon::workers::{News, Workers};
use crate::detect::Detector;
use crate::incident::{Identity, Incidents};
use crate::model::{IncidentId, Kind, Losses, Mono, Record, Signal, Wall};
use crate::probe::Hysteresis;
use crate::source::counters::Counters;
use crate::source::{Cursor, KernelLog, Netconsole};
use crate::sys::clock;
use crate::sys::notify::Notify;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that the start-up made ready.
pub struct Parts {
    pub config: Config,
    pub identity: Identity,
    pub state_file: PathBuf,
    pub poller: Poller,
    pub kernel: Result<KernelLog, String>,
    /// `None`: not wanted.
    pub netconsole: Option<Result<Netconsole, String>>,
    pub detector: Detector,
    pub tail: Helper,
    pub control: Control,
    pub signals: UnixStream,
    pub notify: Option<Notify>,
}

pub struct Core {
    config: Config,
    identity: Identity,
    state_file: PathBuf,
    poller: Poller,
    kernel: Result<KernelLog, String>,
    netconsole: Option<Result<Netconsole, String>>,
    counters: Counters,
    recount: Recount,
    detector: Detector,
    incidents: Incidents,
    probes: BTreeMap<String, (Hysteresis, Mono)>,
    tail: Helper,
    prober: Helper,
    keep: Helper,
    workers: Workers,
    abandoned: Abandoned,
    control: Control,
    drills: Vec<Drill>,
    signals: UnixStream,
    notify: Option<Notify>,
    /// Signals found in this turn of the loop.
    found: Vec<Signal>,
    news: Vec<News>,
    records: Vec<Record>,
    buf: Vec<u8>,
    event_number: u64,
    saved: Option<Cursor>,
    saved_at: Mono,
    polled_at: Mono,
    watchdog_at: Mono,
    netconsole_told_at: Mono,
    stopping: Option<Mono>,
    keep_wanted: bool,
    /// A worker left something to salvage; another one is at the same incident.
    keep_after_capture: bool,
    away: Away,
    /// Lines of history since then.
    history: (Mono, u32),
    /// Services that are down: number of the opening event, incident.
    down: VecDeque<(u64, IncidentId)>,
    started_at: Wall,
    counts: Counts,
    losses: Losses,
    /// Losses that no log line has told of yet, and when the next may.
    untold: Losses,
    losses_due: Mono,
}

/// What `status` tells.
#[derive(Default)]
struct Counts {
    kernel_records: u64,
    console_records: u64,
    netconsole_records: u64,
    events: BTreeMap<Kind, u64>,
    snapshots: u64,
    last: VecDeque<LastSnapshot>,
    log: VecDeque<LogLine>,
    store: Option<PathBuf>,
}

impl Core {
    pub fn new(parts: Parts) -> Core {
        let host: Arc<str> = parts.identity.host.as_str().into();
        let now = clock::mono();
        let probes = parts.config.probes.iter();
        let probes = probes.map(|p| (p.name.clone(), (Hysteresis::new(p, Arc::clone(&host)), now))).collect();
        Core {
            incidents: Incidents::new(parts.config.incident.clone(), parts.identity.clone()),
            workers: Workers::new(parts.config.clone()),
            away: Away::new(crate::store::candidates(&parts.config.store, None).into_iter().next()),
            probes,
            config: parts.config,
            identity: parts.identity,
            state_file: parts.state_file,
            poller: parts.poller,
            kernel: parts.kernel,
            netconsole: parts.netconsole,
            counters: Counters::open(),
            recount: Recount::default(),
            detector: parts.detector,
            tail: parts.tail,
            prober: Helper::new("probe", Token::Probe),
            keep: Helper::new("keep", Token::Keep),
            abandoned: Abandoned::default(),
            control: parts.control,
            drills: Vec::new(),
            signals: parts.signals,
            notify: parts.notify,
            found: Vec::new(),
            news: Vec::new(),
            records: Vec::new(),
            buf: Vec::new(),
            // Probe events count down from the top, so that they never meet the detector's numbers.
            event_number: u64::MAX / 2,
            saved: None,
            saved_at: now,
            polled_at: Mono(0),
            watchdog_at: Mono(0),
            netconsole_told_at: now,
            stopping: None,
            keep_wanted: true,
            keep_after_capture: false,
            history: (now, 0),
            down: VecDeque::new(),
            started_at: clock::wall(),
            counts: Counts::default(),
            losses: Losses::default(),
            untold: Losses::default(),
            losses_due: Mono(0),
        }
    }

    /// Runs until told to stop. Errors: epoll itself failed.
    pub fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.keep_up();
            self.poller.wait(self.until_due(), &mut ready)?;
            for token in &ready {
                self.serve(*token);
            }
            self.act();
            if self.may_end() {
                return Ok(());
            }
        }
    }

    fn serve(&mut self, token: Token) {
        match token {
            Token::Kernel => self.read_kernel(),
            Token::Netconsole => self.read_netconsole(),
            Token::Signal => self.stop(),
            Token::Control => self.accept(),
            Token::Client(n) => self.serve_client(n),
            Token::Tail => self.hear_tail(),
            Token::Probe => self.hear_probe(),
            Token::Keep => self.hear_keep(),
            Token::Worker(pid) => self.with_workers(|w, buf, g| w.hear(pid, buf, g)),
            Token::DrillTail(n) => self.hear_drill_tail(n),
            Token::DrillProbe(n) => self.hear_drill_probe(n),
        }
    }
}

/// Adds to a list that forgets its oldest.
fn push<T>(list: &mut VecDeque<T>, max: usize, item: T) {
    if list.len() >= max {
        list.pop_front();
    }
    list.push_back(item);
}
