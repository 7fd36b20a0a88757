//! The core: one thread, one epoll, one loop. Everything that arrives becomes a record, a signal, a
//! decision and an order, in that order; nothing in here waits but the epoll.

use crate::capture::protocol::Published;
use crate::config::Config;
use crate::daemon::children::{Abandoned, Helper};
use crate::daemon::control::{Control, Reply, Request};
use crate::daemon::drills::{DRILLS_MAX, Drill};
use crate::daemon::keep::{Found, Tidy};
use crate::daemon::poller::{Poller, Token};
use crate::daemon::status::{LastSnapshot, LogLine, Status};
use crate::daemon::workers::{Ground, News, Workers};
use crate::detect::Detector;
use crate::incident::{Decision, Identity, Incidents};
use crate::model::{
    Event, Happening, HistoryLine, IncidentId, Kind, Losses, Mono, ProbeReport, Record, Signal, Trigger, Wall,
};
use crate::probe::Hysteresis;
use crate::probe::role::ProbeOrder;
use crate::source::role::{TailMessage, TailOrder};
use crate::source::{Cursor, KernelLog};
use crate::sys::notify::Notify;
use crate::sys::{clock, random};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Records taken from the kernel log before the loop looks elsewhere.
const KERNEL_BATCH: usize = 256;
/// How often the place in the kernel log is written down, at most.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// Housekeeping when nothing else happens.
const TICK: Duration = Duration::from_secs(5);
/// How long a stop waits for captures at work.
const STOP_MAX: Duration = Duration::from_secs(20);
/// Lines of history in one window; a storm must not wear the disk out.
const HISTORY_MAX: u32 = 60;
const HISTORY_WINDOW: Duration = Duration::from_secs(10);
/// Services that are down and may recover.
const DOWN_MAX: usize = 64;
const LOG_MAX: usize = 50;
const SNAPSHOTS_MAX: usize = 20;

/// Everything that the start-up made ready.
pub struct Parts {
    pub config: Config,
    pub identity: Identity,
    pub state_file: PathBuf,
    pub poller: Poller,
    pub kernel: Result<KernelLog, String>,
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
    stopping: Option<Mono>,
    keep_wanted: bool,
    /// Lines of history since then.
    history: (Mono, u32),
    /// Services that are down: number of the opening event, incident.
    down: VecDeque<(u64, IncidentId)>,
    started_at: Wall,
    counts: Counts,
    losses: Losses,
}

/// What `status` tells.
#[derive(Default)]
struct Counts {
    kernel_records: u64,
    console_records: u64,
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
            probes,
            config: parts.config,
            identity: parts.identity,
            state_file: parts.state_file,
            poller: parts.poller,
            kernel: parts.kernel,
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
            stopping: None,
            keep_wanted: true,
            history: (now, 0),
            down: VecDeque::new(),
            started_at: clock::wall(),
            counts: Counts::default(),
            losses: Losses::default(),
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

    // ---- what arrives

    fn read_kernel(&mut self) {
        let Ok(log) = &mut self.kernel else { return };
        let mut records = std::mem::take(&mut self.records);
        match log.read_batch(KERNEL_BATCH, clock::wall(), &mut records) {
            Ok(_) => self.counts.kernel_records += records.len() as u64,
            Err(e) => {
                let text = format!("read the kernel log: {e}");
                self.kernel = Err(text.clone());
                self.say(log::Level::Error, text);
            }
        }
        let now = clock::mono();
        for record in records.drain(..) {
            self.detector.feed(&record, now, &mut self.found);
        }
        self.records = records;
        if let Ok(log) = &mut self.kernel {
            let lost = log.losses();
            self.lose(lost);
        }
    }

    fn hear_tail(&mut self) {
        let mut messages = Vec::new();
        let alive = self.tail.messages::<TailMessage>(&mut self.buf, &mut messages);
        self.take_tail(messages);
        if !matches!(alive, Ok(true)) {
            self.say(log::Level::Warn, "the tail role ended; it is started again".into());
            let child = self.tail.drop_child(clock::mono(), &mut self.poller);
            self.abandoned.push(child);
        }
    }

    fn take_tail(&mut self, messages: Vec<TailMessage>) {
        let now = clock::mono();
        for message in messages {
            match message {
                TailMessage::Records(records) => {
                    self.counts.console_records += records.len() as u64;
                    for record in &records {
                        self.detector.feed(record, now, &mut self.found);
                    }
                }
                TailMessage::Notice(text) => self.say(log::Level::Warn, text),
                TailMessage::Losses(lost) => self.lose(lost),
                TailMessage::Ready { .. } => {}
            }
        }
    }

    fn hear_probe(&mut self) {
        let mut reports = Vec::new();
        let alive = self.prober.messages::<ProbeReport>(&mut self.buf, &mut reports);
        let (now, wall) = (clock::mono(), clock::wall());
        for report in reports {
            if let Some((probe, heard_at)) = self.probes.get_mut(&report.probe) {
                *heard_at = now;
                self.found.extend(probe.report(&report, wall, &mut self.event_number));
            }
        }
        if !matches!(alive, Ok(true)) {
            self.say(log::Level::Warn, "the probe role ended; it is started again".into());
            let child = self.prober.drop_child(now, &mut self.poller);
            self.abandoned.push(child);
        }
    }

    fn hear_keep(&mut self) {
        let mut found = Vec::new();
        let alive = self.keep.messages::<Found>(&mut self.buf, &mut found);
        for Found(text) in found {
            self.say(log::Level::Info, text);
        }
        if !matches!(alive, Ok(true)) {
            let child = self.keep.drop_child(clock::mono(), &mut self.poller);
            self.abandoned.push(child);
        }
    }

    fn accept(&mut self) {
        let Some(client) = self.control.accept(clock::mono()) else { return };
        let added = self.control.client_fd(client).map(|fd| self.poller.add(fd, Token::Client(client)));
        if !matches!(added, Some(Ok(()))) {
            self.control.drop_client(client);
        }
    }

    fn serve_client(&mut self, client: u32) {
        match self.control.read(client) {
            Ok(None) => {}
            Ok(Some(Request::Status)) => {
                let reply = Reply::Status(Box::new(self.status()));
                self.control.reply(client, &reply);
            }
            Ok(Some(Request::Drill { name, console, probe })) => {
                if let Err(e) = self.begin_drill(client, &name, console, &probe) {
                    self.control.reply(client, &Reply::Error(e));
                }
            }
            Err(_) => self.drop_client(client),
        }
    }

    fn drop_client(&mut self, client: u32) {
        if let Some(fd) = self.control.client_fd(client) {
            self.poller.remove(fd, Token::Client(client));
        }
        self.control.drop_client(client);
        if let Some(at) = self.drills.iter().position(|d| d.client == client) {
            let mut drill = self.drills.swap_remove(at);
            let now = clock::mono();
            self.abandoned.push(drill.tail.drop_child(now, &mut self.poller));
            self.abandoned.push(drill.prober.drop_child(now, &mut self.poller));
            self.say(log::Level::Info, format!("fire drill {} is over", drill.name));
        }
    }

    // ---- drills

    fn begin_drill(&mut self, client: u32, name: &str, console: PathBuf, probe: &str) -> Result<(), String> {
        if self.drills.len() >= DRILLS_MAX {
            return Err("another fire drill is on".into());
        }
        let mut drill = Drill::new(client, name, console, probe, &self.identity)?;
        let now = clock::mono();
        let start = TailOrder::Start { consoles: vec![drill.console.clone()], state_file: drill.state_file() };
        drill.tail.ensure(now, &mut self.poller, &[start]).map_err(|e| format!("start a tail role: {e}"))?;
        let start = ProbeOrder::start(std::slice::from_ref(&drill.target));
        drill.prober.ensure(now, &mut self.poller, &start).map_err(|e| format!("start a probe role: {e}"))?;
        self.control.subscribe(client);
        self.say(log::Level::Info, format!("fire drill {name} begins"));
        self.drills.push(drill);
        Ok(())
    }

    fn hear_drill_tail(&mut self, client: u32) {
        let mut messages = Vec::new();
        let Some(drill) = self.drills.iter_mut().find(|d| d.client == client) else { return };
        let alive = drill.tail.messages::<TailMessage>(&mut self.buf, &mut messages);
        let ready = messages.iter().any(|m| matches!(m, TailMessage::Ready { .. }));
        if ready && !std::mem::replace(&mut drill.ready, true) {
            self.control.reply(client, &Reply::DrillReady);
        }
        if !matches!(alive, Ok(true)) {
            let child = drill.tail.drop_child(clock::mono(), &mut self.poller);
            self.abandoned.push(child);
        }
        self.take_tail(messages);
    }

    fn hear_drill_probe(&mut self, client: u32) {
        let mut reports = Vec::new();
        let Some(drill) = self.drills.iter_mut().find(|d| d.client == client) else { return };
        let alive = drill.prober.messages::<ProbeReport>(&mut self.buf, &mut reports);
        for report in reports {
            self.found.extend(drill.probe.report(&report, clock::wall(), &mut self.event_number));
        }
        if !matches!(alive, Ok(true)) {
            let child = drill.prober.drop_child(clock::mono(), &mut self.poller);
            self.abandoned.push(child);
        }
    }

    // ---- what follows from it

    /// Signals → decisions → orders; then what the workers had to say.
    fn act(&mut self) {
        let now = clock::mono();
        self.detector.tick(now, &mut self.found);
        for signal in std::mem::take(&mut self.found) {
            self.decide(signal, now);
        }
        for news in std::mem::take(&mut self.news) {
            self.tell(news);
        }
    }

    fn decide(&mut self, signal: Signal, now: Mono) {
        if let Signal::Closed(e) = &signal {
            *self.counts.events.entry(e.kind).or_default() += 1;
        }
        let host = Arc::clone(&signal.event().host);
        let drill = self.drills.iter().position(|d| d.name == host);
        let incidents = match drill {
            Some(n) => &mut self.drills[n].incidents,
            None => &mut self.incidents,
        };
        match incidents.decide(signal, now, clock::wall(), || IncidentId(random::short_id())) {
            Decision::Capture { mut incident, unfinished } => {
                for (cause, n) in &self.losses.counts {
                    incident.losses.add(cause, *n);
                }
                if let Some(n) = drill {
                    self.drills[n].ids.push(incident.id.clone());
                }
                self.say(
                    log::Level::Error,
                    format!(
                        "{}: {} on {}; taking snapshot {}",
                        incident.kind, incident.title, incident.host, incident.id
                    ),
                );
                self.remember(HistoryLine {
                    at: incident.opened_at,
                    what: Happening::Incident,
                    host: incident.host.clone(),
                    kind: Some(incident.kind),
                    title: Some(incident.title.clone()),
                    incident: Some(incident.id.clone()),
                    detail: None,
                });
                if let (Kind::ServiceDown, Trigger::Event(event)) = (incident.kind, &incident.trigger) {
                    push(&mut self.down, DOWN_MAX, (event.number, incident.id.clone()));
                }
                self.with_workers(|w, _, g| w.order(incident, unfinished, g));
            }
            Decision::Update { id, event, recurrences } => {
                let losses = self.all_losses();
                if !self.workers.update(&id, &event, recurrences, &losses) {
                    self.say(
                        log::Level::Warn,
                        format!("{} belongs to incident {id}, whose snapshot is complete", brief(&event)),
                    );
                }
            }
            Decision::Note(event) => {
                self.say(log::Level::Info, format!("no alarm: {}", brief(&event)));
                self.remember(HistoryLine::of(Happening::Noted, clock::wall(), &event));
            }
            Decision::Suppress(why, event) => {
                let line = HistoryLine::of(Happening::Suppressed, clock::wall(), &event);
                self.remember(HistoryLine { detail: Some(why.into()), ..line });
                self.say(log::Level::Warn, format!("{}; no snapshot of its own ({why})", brief(&event)));
            }
            Decision::Recovery(event) => self.recovered(&event),
            Decision::Wait => {}
        }
    }

    fn recovered(&mut self, event: &Event) {
        let at = self.down.iter().position(|(number, _)| *number == event.number);
        let incident = at.and_then(|at| self.down.remove(at)).map(|(_, id)| id);
        let after = event.details.get("downtime_s").map(|s| format!("answers again after {s} s"));
        let of = incident.as_ref().map(|id| format!(" (incident {id})")).unwrap_or_default();
        self.say(log::Level::Warn, format!("recovered: {}{of}", brief(event)));
        let line = HistoryLine::of(Happening::Recovered, clock::wall(), event);
        self.remember(HistoryLine { incident, detail: after, ..line });
    }

    /// Has a line written into the history, within a rate; the rest is counted.
    fn remember(&mut self, line: HistoryLine) {
        let now = clock::mono();
        if now.since(self.history.0) > HISTORY_WINDOW {
            self.history = (now, 0);
        }
        self.history.1 += 1;
        if self.history.1 > HISTORY_MAX || !self.tail.order(&TailOrder::History(Box::new(line))) {
            self.losses.add("history_lines", 1);
        }
    }

    fn tell(&mut self, news: News) {
        match news {
            News::Ready { store, notices } => {
                let first = self.counts.store.replace(store.clone());
                if first.as_ref() != Some(&store) {
                    self.say(log::Level::Info, format!("snapshots go to {}", store.display()));
                    for n in notices {
                        self.say(log::Level::Warn, n);
                    }
                }
            }
            News::Published { published, incident } => self.published(published, *incident),
            News::Retry { id, error } => {
                self.keep_wanted = true;
                self.say(log::Level::Warn, format!("snapshot {id}: {error}; tried again"));
            }
            News::Lost { incident, error } => {
                self.keep_wanted = true;
                self.losses.add("capture_failed", 1);
                self.say(log::Level::Error, format!("no snapshot {} of {}: {error}", incident.id, incident.title));
                self.remember(HistoryLine {
                    at: clock::wall(),
                    what: Happening::Lost,
                    host: incident.host,
                    kind: Some(incident.kind),
                    title: Some(incident.title),
                    incident: Some(incident.id),
                    detail: Some(error),
                });
            }
            News::Notice(text) => self.say(log::Level::Warn, text),
        }
    }

    fn published(&mut self, published: Published, incident: crate::model::Incident) {
        self.counts.snapshots += 1;
        let t0 = published.t0_durable_ms.map_or_else(|| "never".into(), |ms| format!("after {ms} ms"));
        let text = format!(
            "snapshot {} is in {}: {} bytes, first tier on the disk {t0}, whole after {} ms",
            published.id,
            published.path.display(),
            published.bytes,
            published.total_ms
        );
        self.say(log::Level::Warn, text);
        if let Some(drill) = self.drills.iter().find(|d| d.ids.contains(&published.id)) {
            self.control.reply(drill.client, &Reply::Captured(published.clone()));
        }
        push(
            &mut self.counts.last,
            SNAPSHOTS_MAX,
            LastSnapshot { at: clock::wall(), title: incident.title, published },
        );
    }

    // ---- upkeep

    /// Children that should run do; what is due is done.
    fn keep_up(&mut self) {
        let now = clock::mono();
        let start = TailOrder::Start { consoles: self.config.consoles.clone(), state_file: self.state_file.clone() };
        let started = [
            self.tail.ensure(now, &mut self.poller, &[start]),
            match self.config.probes.is_empty() {
                true => Ok(false),
                false => self.prober.ensure(now, &mut self.poller, &ProbeOrder::start(&self.config.probes)),
            },
            match self.keep_wanted && self.stopping.is_none() {
                true => self.keep.ensure(now, &mut self.poller, &[Tidy { config: self.config.store.clone() }]),
                false => Ok(false),
            },
        ];
        self.keep_wanted &= !matches!(started[2], Ok(true));
        for error in started.into_iter().filter_map(Result::err) {
            self.say(log::Level::Error, format!("start a role: {error}; tried again"));
        }
        if self.stopping.is_none() {
            self.with_workers(|w, _, g| w.ensure(g));
        }
        self.with_workers(|w, _, g| w.check_deadlines(g));
        self.poll_klog(now);
        self.save(now, false);
        self.check_probes(now);
        for client in self.control.idle(now) {
            self.drop_client(client);
        }
        if let Some(notify) = &self.notify
            && let Some(every) = notify.watchdog
            && now.since(self.watchdog_at) >= every / 2
        {
            notify.send("WATCHDOG=1");
            self.watchdog_at = now;
        }
    }

    /// syslog(2) has no descriptor to wait for.
    fn poll_klog(&mut self, now: Mono) {
        let due = match &self.kernel {
            Ok(log) => log.poll_interval().is_some_and(|every| now.since(self.polled_at) >= every),
            Err(_) => false,
        };
        if due {
            self.polled_at = now;
            self.read_kernel();
        }
    }

    /// Has the place in the kernel log written down.
    fn save(&mut self, now: Mono, at_once: bool) {
        let Ok(log) = &self.kernel else { return };
        if !at_once && now.since(self.saved_at) < SAVE_EVERY {
            return;
        }
        let cursor = log.cursor();
        if self.saved.as_ref() != Some(&cursor) && self.tail.order(&TailOrder::SaveCursor(cursor.clone())) {
            self.saved = Some(cursor);
            self.saved_at = now;
        }
    }

    /// Probes that were not reported on for too long: their process hangs.
    fn check_probes(&mut self, now: Mono) {
        let late = self.probes.values().find(|(p, heard_at)| now.since(*heard_at) > p.patience());
        let Some(name) = late.map(|(p, _)| p.name().to_owned()) else { return };
        self.say(log::Level::Error, format!("the probe role says nothing of {name}; it is started again"));
        for (probe, heard_at) in self.probes.values_mut() {
            probe.overdue(clock::wall());
            *heard_at = now;
        }
        let child = self.prober.drop_child(now, &mut self.poller);
        self.abandoned.push(child);
    }

    fn until_due(&self) -> Duration {
        let now = clock::mono();
        let mut due = now.plus(TICK);
        let mut earlier = |t: Option<Mono>| due = t.map_or(due, |t| due.min(t));
        earlier(self.detector.next_due());
        earlier(self.workers.next_due(now));
        if let Ok(log) = &self.kernel {
            earlier(log.poll_interval().map(|every| self.polled_at.plus(every)));
            if self.saved.as_ref() != Some(&log.cursor()) {
                earlier(Some(self.saved_at.plus(SAVE_EVERY)));
            }
        }
        earlier(self.notify.as_ref().and_then(|n| n.watchdog).map(|every| self.watchdog_at.plus(every / 2)));
        earlier(self.stopping.map(|_| now.plus(Duration::from_millis(200))));
        due.since(now)
    }

    fn stop(&mut self) {
        let mut bytes = [0u8; 16];
        let _ = io::Read::read(&mut &self.signals, &mut bytes);
        if self.stopping.is_none() {
            if let Some(n) = &self.notify {
                n.send("STOPPING=1");
            }
            self.say(log::Level::Info, "stopping".into());
            self.stopping = Some(clock::mono());
        }
    }

    fn may_end(&mut self) -> bool {
        let Some(since) = self.stopping else { return false };
        let now = clock::mono();
        if self.workers.busy() && now.since(since) < STOP_MAX {
            return false;
        }
        self.save(now, true);
        let _ = self.tail.order(&TailOrder::Stop);
        true
    }

    /// Waits a moment for the tail role to write its state down, after the loop has ended.
    pub fn finish(mut self) {
        let until = clock::mono().plus(Duration::from_secs(2));
        while let Some(channel) = self.tail.channel() {
            let left = until.since(clock::mono());
            if left.is_zero() {
                break;
            }
            match channel.recv::<TailMessage>(&mut self.buf, Some(left)) {
                Ok(crate::sys::ipc::Received::Message(_)) => {}
                _ => break,
            }
        }
    }

    // ---- small things

    fn with_workers(&mut self, f: impl FnOnce(&mut Workers, &mut Vec<u8>, &mut Ground<'_>)) {
        let mut ground = Ground {
            now: clock::mono(),
            poller: &mut self.poller,
            abandoned: &mut self.abandoned,
            news: &mut self.news,
        };
        f(&mut self.workers, &mut self.buf, &mut ground);
    }

    fn lose(&mut self, lost: Losses) {
        for (cause, n) in lost.counts {
            self.losses.add(&cause, n);
            self.say(log::Level::Warn, format!("lost: {n} {cause}"));
        }
    }

    fn all_losses(&self) -> Losses {
        let mut all = self.losses.clone();
        for (cause, n) in &self.incidents.losses.counts {
            all.add(cause, *n);
        }
        all.add("capture_queue", self.workers.overflow);
        all
    }

    /// Says what is watched, and tells the service manager that it is.
    pub fn greet(&mut self) {
        let kernel = match &self.kernel {
            Ok(log) => format!("the kernel log ({})", log.name()),
            Err(_) => "no kernel log".into(),
        };
        let (consoles, probes) = (self.config.consoles.len(), self.config.probes.len());
        let version = self.identity.version.clone();
        let text = format!(
            "lastgasp {version} on {}: watches {kernel}, {consoles} console log pattern(s), {probes} probe(s)",
            self.identity.host
        );
        self.say(log::Level::Info, text);
        if probes == 0 {
            let text = "no service is probed; add one with --probe tcp:127.0.0.1:80 or a [[probe]] in the config";
            self.say(log::Level::Info, text.into());
        }
        for limit in self.identity.limits.clone() {
            self.say(log::Level::Warn, limit);
        }
        if self.kernel.is_err() && consoles == 0 && probes == 0 {
            let text =
                "nothing can be watched: no kernel log, no console log, no probe (run as root, or configure one)";
            self.say(log::Level::Error, text.into());
        }
        if let Some(n) = &self.notify {
            n.send("READY=1");
        }
    }

    /// One line for the log and for `status`.
    pub fn say(&mut self, level: log::Level, text: String) {
        log::log!(level, "{text}");
        push(&mut self.counts.log, LOG_MAX, LogLine { at: clock::wall(), text });
    }

    fn status(&mut self) -> Status {
        let now = clock::wall();
        let probes = self.probes.values().map(|(p, _)| p.state(now));
        Status {
            version: self.identity.version.clone(),
            pid: std::process::id() as i32,
            host: self.identity.host.clone(),
            started_at: self.started_at,
            now,
            kernel_log: match &self.kernel {
                Ok(log) => log.name().to_owned(),
                Err(why) => why.clone(),
            },
            kernel_records: self.counts.kernel_records,
            consoles: self.config.consoles.iter().map(|c| c.path.clone()).collect(),
            console_records: self.counts.console_records,
            probes: probes.collect(),
            store: self.counts.store.clone(),
            spare_ready: self.workers.spare_ready(),
            capturing: self.workers.active_ids(),
            stuck_children: self.abandoned.reap() as u64,
            events: self.counts.events.clone(),
            snapshots: self.counts.snapshots,
            last_snapshots: self.counts.last.iter().cloned().collect(),
            log: self.counts.log.iter().cloned().collect(),
            losses: self.all_losses(),
            limits: self.identity.limits.clone(),
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

fn brief(event: &Event) -> String {
    let task = match (&event.comm, event.pid) {
        (Some(comm), Some(pid)) => format!(" ({comm}, pid {pid})"),
        (Some(comm), None) => format!(" ({comm})"),
        (None, Some(pid)) => format!(" (pid {pid})"),
        (None, None) => String::new(),
    };
    let old = if event.old { ", logged before this start" } else { "" };
    format!("{} on {}: {}{task}{old}", event.kind, event.host, event.title)
}
