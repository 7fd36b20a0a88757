//! One report while it is assembled: its lines, its time, and at its end the event that it makes.

use crate::detect::dump::Dump;
use crate::detect::prefilter::{Active, Hit, Prefilter};
use crate::detect::prefix::{self, Line};
use crate::detect::rules::{Recipe, Role, Shape};
use crate::detect::{facts, recipe, signature, title};
use crate::model::event::{EVENT_LINE_BYTES_MAX, EVENT_LINES_MAX};
use crate::model::{Event, Kind, Mono, Record, Signal};
use std::time::Duration;

/// A report is complete this long after its last own line.
const SETTLE: Duration = Duration::from_secs(1);
/// No report stays open longer, whatever still comes.
const AGE_MAX: Duration = Duration::from_secs(10);
/// Foreign lines kept inside a report that has no caller ids to tell them by.
const FOREIGN_RUN_MAX: u32 = 12;
/// Lines kept free at the end of a long text for what names the victim or the panic.
const KEY_LINES_RESERVE: usize = 20;

/// A report that is being assembled.
pub(crate) struct Report {
    pub event: Event,
    pub rule: usize,
    pub muted: bool,
    pub bare: bool,
    pub caller: Option<Vec<u8>>,
    pub stamped: bool,
    pub subject: Option<String>,
    pub opened: Mono,
    pub last_own: Mono,
    pub last_us: Option<u64>,
    pub lines: u32,
    pub since_own: u32,
    pub frames: bool,
    /// Its end was seen; only a panic or another follow-up may still be added.
    pub done: bool,
    /// Other CPUs print into it: `Sending NMI from CPU`.
    pub gate: bool,
    /// An OOM report has named its victim.
    pub victim: bool,
    pub repeats: u64,
}

impl Report {
    pub fn new(record: &Record, line: &Line<'_>, hit: Hit, active: &Active, number: u64, now: Mono) -> Report {
        let stamp =
            line.stamp.map(|s| String::from_utf8_lossy(s).into_owned()).or_else(|| record.stamp.map(|s| s.to_string()));
        let event = Event {
            severity: active.severity,
            alarm: active.alarm,
            rule: active.id.to_string(),
            timestamp: stamp,
            seen_at: record.read_at,
            seq: record.seq,
            line: record.line,
            last_line: record.line,
            corrupted: record.truncated,
            old: record.old,
            ..Event::blank(number, active.kind, record.host.clone(), record.origin.clone())
        };
        Report {
            event,
            rule: hit.rule,
            muted: active.silenced,
            bare: record.is_bare(),
            caller: line.caller.map(<[u8]>::to_vec),
            stamped: line.printk_us.is_some(),
            subject: subject_of(active, line),
            opened: now,
            last_own: now,
            last_us: line.printk_us,
            lines: 0,
            since_own: 0,
            frames: false,
            done: false,
            gate: false,
            victim: false,
            repeats: 0,
        }
    }

    /// When the report is complete if nothing more comes.
    pub fn due(&self) -> Mono {
        self.last_own.plus(SETTLE).min(self.opened.plus(AGE_MAX))
    }

    /// Another header became part of this report.
    /// `counted`: it says the same again, rather than more of it.
    pub fn follow(&mut self, active: &Active, counted: bool, line: &Line<'_>, now: Mono) {
        self.last_own = now;
        self.done = false;
        if active.rule.role == Role::Panic && self.event.kind != Kind::Panic {
            self.event.panicked = true;
        }
        if active.rule.shape == Shape::Single {
            self.repeats += u64::from(counted);
            self.event.severity = self.event.severity.max(active.severity);
        }
        self.note_victim(line.body);
    }

    pub fn note_victim(&mut self, body: &[u8]) {
        if self.event.kind == Kind::Oom && memchr::memmem::find(body, b"Killed process ").is_some() {
            self.victim = true;
            self.done = true;
            if let Some(pid) = victim_pid(body) {
                self.event.details.entry("victim_pid".into()).or_insert(pid);
            }
        }
    }

    pub fn append(&mut self, line: &Line<'_>, text: &[u8], now: Mono, own: bool) {
        if own {
            self.since_own = 0;
            self.last_own = now;
            self.last_us = line.printk_us.or(self.last_us);
        }
        let body = line.body;
        if memchr::memmem::find(body, b"+0x").is_some() {
            self.frames |= self.lines > 0;
        }
        if body.starts_with(b"Sending NMI from CPU")
            || body.starts_with(b"NMI backtrace for cpu")
            || body.starts_with(b"Sending NMI to ")
        {
            self.gate = true;
        }
        let keep = own || (!self.done && self.since_own <= FOREIGN_RUN_MAX);
        let room = EVENT_LINES_MAX - if is_key(body) { 0 } else { KEY_LINES_RESERVE };
        if keep && self.event.text.len() < room {
            let cut = &text[..text.len().min(EVENT_LINE_BYTES_MAX)];
            let mut s = String::from_utf8_lossy(cut).into_owned();
            // A replaced byte takes three.
            let mut end = s.len().min(EVENT_LINE_BYTES_MAX);
            while !s.is_char_boundary(end) {
                end -= 1;
            }
            s.truncate(end);
            self.event.text.push(s);
        }
        if own && body.starts_with(b"---[ end trace") {
            self.done = true;
        }
    }

    /// Function, frames, title, signature and facts from the text so far.
    pub fn analyse(&mut self, active: &Active) {
        let text = std::mem::take(&mut self.event.text);
        let bodies: Vec<&str> = text.iter().map(|t| self.body_of(t)).collect();
        let header = bodies.first().copied().unwrap_or("");
        for body in &bodies {
            facts::read(&mut self.event, body);
        }
        self.event.modules.clear();
        for body in &bodies {
            facts::modules(body, &mut self.event.modules);
        }
        let recipe_used = active.rule.recipe;
        let dump = Dump::read(bodies.iter().copied());
        let function = recipe::function(recipe_used, &bodies, &dump);
        self.event.frames = recipe::frames_of(&dump, function.as_deref());
        let stable = recipe::stable_frames(&dump, function.as_deref());
        let start = active.rule.triggers.iter().filter_map(|t| header.find(t)).min().unwrap_or(0);
        self.event.title =
            title::title(active.rule.title, active.title.as_deref(), &header[start..], function.as_deref());
        let mut unlocated = title::title(active.rule.title, active.title.as_deref(), &header[start..], None);
        // The function of a program is not known; the object it crashed in is the next best.
        if let Some(object) = self.event.details.get("object").filter(|_| self.event.kind == Kind::UserFault) {
            unlocated = title::located(&unlocated, object);
            self.event.title.clone_from(&unlocated);
        }
        self.event.signature = signature::signature(self.event.kind, function.as_deref(), &unlocated, &stable);
        self.event.function = function;
        self.event.text = text;
    }

    fn body_of<'t>(&self, text: &'t str) -> &'t str {
        if self.bare {
            return text;
        }
        let body = prefix::parse(text.as_bytes()).body;
        // A prefix is ASCII, so what follows it starts at a character.
        std::str::from_utf8(body).unwrap_or(text)
    }

    pub fn close(mut self, filter: &Prefilter, out: &mut Vec<Signal>) {
        let active = &filter.rules[self.rule];
        self.analyse(active);
        // What the config says of a rule stands.
        if let Some(verdict) = active.rule.verdict.filter(|_| active.alarm == active.rule.alarm) {
            self.event.alarm = verdict(&self.event);
        }
        let traced = active.rule.shape == Shape::Trace && active.rule.recipe != Recipe::None;
        self.event.corrupted |= traced && self.event.function.is_none();
        if self.repeats > 0 {
            self.event.details.insert("repeats".into(), self.repeats.to_string());
        }
        if !self.muted {
            out.push(Signal::Closed(self.event));
        }
    }

    pub fn note_line(&mut self, line: Option<u64>) {
        if self.since_own == 0 && line.is_some() {
            self.event.last_line = line;
        }
    }
}

/// What repeated lines must share to be one event.
pub(crate) fn subject_of(active: &Active, line: &Line<'_>) -> Option<String> {
    subject(active.kind, line)
}

/// The device that a line of a kind speaks of.
pub(crate) fn subject(kind: Kind, line: &Line<'_>) -> Option<String> {
    let body = String::from_utf8_lossy(&line.body[..line.body.len().min(512)]);
    match kind {
        Kind::IoError | Kind::FsError => facts::device(&body).map(|d| facts::subject(&d).to_owned()),
        Kind::MachineCheck => facts::pci_address(&body).map(str::to_owned),
        _ => None,
    }
}

pub(crate) fn victim_pid(body: &[u8]) -> Option<String> {
    for lead in [&b"Killed process "[..], b"Kill process ", b",pid="] {
        if let Some(at) = memchr::memmem::find(body, lead) {
            let digits: Vec<u8> =
                body[at + lead.len()..].iter().copied().take_while(u8::is_ascii_digit).take(10).collect();
            return String::from_utf8(digits).ok().filter(|d| !d.is_empty());
        }
    }
    None
}

/// Lines that must not be lost at the end of a long text.
fn is_key(body: &[u8]) -> bool {
    [&b"Kernel panic"[..], b"Killed process", b"oom-kill:", b"---[ end"]
        .iter()
        .any(|w| memchr::memmem::find(&body[..body.len().min(96)], w).is_some())
}
