//! Lines of one stream (a log of one host) to reports: what opens one, what belongs to it, when it is complete.
//!
//! With caller ids each task or CPU has a report of its own; without them a report takes the lines that follow
//! it up to the next header. The first cause keeps the report: an `Oops:` behind its `BUG:`, a panic behind
//! either, belong to it. Everything is bounded: reports open at once, lines and time of each.

use crate::detect::lines::{is_cpu_line, is_own, is_shutdown};
use crate::detect::prefilter::{Hit, Prefilter};
use crate::detect::prefix::{self, Line};
use crate::detect::report::{Report, subject, subject_of, victim_pid};
use crate::detect::rules::{Role, Shape};
use crate::model::{Kind, Mono, Origin, Record, Signal};
use std::sync::Arc;

/// Reports open at once in one stream; a storm closes the oldest.
const OPEN_MAX: usize = 8;
/// Lines of the stream without one of its own after which a report is complete.
const QUIET_LINES_MAX: u32 = 60;
/// Lines of the stream after which a report is given up. An OOM report lists every task of the machine.
const LINES_MAX: u32 = 4000;
/// printk time between two lines of one report.
const GAP_US_MAX: u64 = 10_000_000;
/// Lines about the same device behind one that counts that are read for details (libata-eh.c prints ten for a command).
const DETAIL_LINES_MAX: u32 = 12;
/// A header and the remark behind it, when the header is printed again.
const REPLAY_LINES_MAX: u32 = 2;
/// Lines that were passed over, from the last one back, that are searched for a stamp.
const STAMP_LINES_MAX: usize = 64;
/// A follow-up header belongs to its cause if it comes within this many lines and before any stack.
const THEN_LINES_MAX: u32 = 12;

/// The state of one log of one host.
pub(crate) struct Stream {
    pub origin: Origin,
    pub host: Arc<str>,
    open: Vec<Report>,
    lines: u64,
    /// Highest printk stamp since the last boot marker.
    uptime_us: u64,
    /// The machine was seen going down by itself.
    expected_down: bool,
    /// The line at which firmware or a kernel announced itself, and what had been there before.
    boot_marker: Option<(u64, bool)>,
    /// The line before was cut and is printed again: the header on the next line is the one of the open report.
    replayed: bool,
    /// `[ cut here ]` was seen this many lines ago, by this caller.
    cut: Option<(u32, Option<Vec<u8>>)>,
}

/// What the assembly needs of the detector.
pub(crate) struct Context<'a> {
    pub filter: &'a Prefilter,
    pub number: &'a mut u64,
    pub now: Mono,
}

impl Stream {
    pub fn new(origin: Origin, host: Arc<str>) -> Stream {
        Stream {
            origin,
            host,
            open: Vec::new(),
            lines: 0,
            uptime_us: 0,
            expected_down: false,
            boot_marker: None,
            cut: None,
            replayed: false,
        }
    }

    /// Whether a line without a literal can be passed over.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.cut.is_none()
    }

    /// Counts lines that were passed over. Within them time goes on, so the last stamp is the highest; lines may stand behind
    /// it that have none, such as those of a service manager or a login prompt.
    pub fn pass(&mut self, lines: u64, text: &[u8]) {
        self.lines += lines;
        if self.origin.is_console() {
            let mut last = text.rsplit(|c| *c == b'\n').take(STAMP_LINES_MAX);
            self.note_uptime(last.find_map(|line| prefix::parse(&line[..line.len().min(64)]).printk_us));
        }
    }

    fn note_uptime(&mut self, us: Option<u64>) {
        self.uptime_us = self.uptime_us.max(us.unwrap_or(0));
    }

    /// Takes one line.
    pub fn feed(
        &mut self,
        record: &Record,
        text: &[u8],
        line: &Line<'_>,
        hit: Option<Hit>,
        cx: &mut Context<'_>,
        out: &mut Vec<Signal>,
    ) {
        self.lines += 1;
        self.age(line, cx, out);
        if is_shutdown(line.body) && !line.user {
            self.expected_down = true;
        }
        let again = self.console_remark(line.body);
        let taken = match hit {
            // The whole of a line that ends in the remark follows.
            Some(hit) if !again => self.header(record, text, line, hit, cx, out),
            _ => false,
        };
        self.replayed = again;
        if !taken {
            self.body(record, text, line, cx, out);
        }
        // The boot marker compares with what came before it.
        self.note_uptime(line.printk_us);
    }

    /// What the console says about itself (kernel/printk/printk.c console_prepend_dropped, console_prepend_replay):
    /// `** 12 printk messages dropped **` cuts every report that is open; behind `** replaying previous printk message **`
    /// the last line comes again, whole. True for the latter.
    fn console_remark(&mut self, body: &[u8]) -> bool {
        if memchr::memmem::find(body, b"** ").is_none() {
            return false;
        }
        if memchr::memmem::find(body, b" printk messages dropped **").is_some() {
            for r in &mut self.open {
                r.event.corrupted = true;
            }
        }
        memchr::memmem::find(body, b"** replaying previous printk message **").is_some()
    }

    /// Closes what this line shows to be over.
    fn age(&mut self, line: &Line<'_>, cx: &Context<'_>, out: &mut Vec<Signal>) {
        for r in &mut self.open {
            r.lines += 1;
            r.since_own += 1;
        }
        let replay = matches!(self.origin, Origin::Replay(_));
        self.close_where(cx, out, |r| {
            let gap = match (line.printk_us, r.last_us) {
                (Some(now), Some(then)) => {
                    now.saturating_sub(then) > GAP_US_MAX || now.saturating_add(GAP_US_MAX) < then
                }
                _ => false,
            };
            gap || r.lines > LINES_MAX || r.since_own > quiet_lines(r, cx.filter) || !replay && r.due() <= cx.now
        });
        if let Some((age, _)) = &mut self.cut {
            *age += 1;
            if *age > THEN_LINES_MAX {
                self.cut = None;
            }
        }
    }

    /// Closes reports whose time is up.
    pub fn tick(&mut self, cx: &Context<'_>, out: &mut Vec<Signal>) {
        if !matches!(self.origin, Origin::Replay(_)) {
            self.close_where(cx, out, |r| r.due() <= cx.now);
        }
    }

    pub fn next_due(&self) -> Option<Mono> {
        if matches!(self.origin, Origin::Replay(_)) {
            return None;
        }
        self.open.iter().map(Report::due).min()
    }

    pub fn finish(&mut self, cx: &Context<'_>, out: &mut Vec<Signal>) {
        self.close_where(cx, out, |_| true);
        self.cut = None;
    }

    fn close_where(&mut self, cx: &Context<'_>, out: &mut Vec<Signal>, over: impl Fn(&Report) -> bool) {
        let mut n = 0;
        while n < self.open.len() {
            if over(&self.open[n]) {
                let report = self.open.remove(n);
                report.close(cx.filter, out);
            } else {
                n += 1;
            }
        }
    }

    /// A header: a new report, or a follow-up of an open one. `false`: no header after all.
    fn header(
        &mut self,
        record: &Record,
        text: &[u8],
        line: &Line<'_>,
        hit: Hit,
        cx: &mut Context<'_>,
        out: &mut Vec<Signal>,
    ) -> bool {
        let active = &cx.filter.rules[hit.rule];
        if active.rule.id == "warn_cut" {
            return self.cut_here(line);
        }
        if active.rule.role == Role::Boot {
            return self.boot(record, text, line, hit, cx, out);
        }
        self.cut = None;
        // The boot that follows a panic is the panic's.
        self.expected_down |= active.rule.role == Role::Panic;
        if let Some(n) = self.joined(line, hit, cx.filter) {
            let report = &mut self.open[n];
            if self.replayed && report.rule == hit.rule {
                report.event.text.clear();
            }
            let counted = !cx.filter.rules[report.rule].rule.then.contains(&active.rule.id);
            report.follow(active, counted, line, cx.now);
            report.append(line, text, cx.now, true);
            return true;
        }
        self.open_report(record, text, line, hit, cx, out);
        true
    }

    /// The open report that a header belongs to.
    fn joined(&self, line: &Line<'_>, hit: Hit, filter: &Prefilter) -> Option<usize> {
        let active = &filter.rules[hit.rule];
        let rule = active.rule;
        let own = |r: &Report| r.caller.as_deref() == line.caller;
        if self.replayed
            && let Some(n) = self.open.iter().rposition(|r| r.rule == hit.rule && own(r) && r.lines <= REPLAY_LINES_MAX)
        {
            return Some(n);
        }
        // A panic ends everything; whatever the dying kernel still prints belongs to the cause.
        if let Some(n) = self.open.iter().rposition(|r| r.event.panicked || r.event.kind == Kind::Panic) {
            return Some(n);
        }
        if rule.shape == Shape::Single {
            let subject = subject_of(active, line);
            return self.open.iter().rposition(|r| {
                let other = &filter.rules[r.rule];
                let same_rule = r.rule == hit.rule && (subject == r.subject || subject.is_none());
                let same_device = subject.is_some() && subject == r.subject && other.kind == active.kind;
                other.rule.shape == Shape::Single && (same_rule || same_device) && (other.alarm || !active.alarm)
                    || other.rule.then.contains(&rule.id) && !r.frames
            });
        }
        let by_caller = self.open.iter().rposition(|r| own(r) && filter.rules[r.rule].rule.shape != Shape::Single);
        if let Some(n) = by_caller {
            let r = &self.open[n];
            let cause = filter.rules[r.rule].rule;
            let then = cause.then.contains(&rule.id) && !r.frames && r.lines <= THEN_LINES_MAX;
            let follows = rule.role != Role::Start && r.rule != hit.rule;
            let same_kill = matches!(rule.shape, Shape::Until(_)) && r.rule == hit.rule && !self.next_kill(r, line);
            // A task that dies in an oops goes on to exit with its locks held; what is said about that is no news.
            let aftermath = r.done
                && matches!(r.event.kind, Kind::Oops | Kind::Bug)
                && matches!(active.kind, Kind::AtomicSleep | Kind::Lockdep);
            if then || follows || same_kill || aftermath {
                return Some(n);
            }
        }
        if rule.role == Role::Panic {
            return self.open.iter().rposition(|r| filter.rules[r.rule].rule.shape != Shape::Single);
        }
        None
    }

    /// Whether an OOM line starts the next kill rather than telling more of the open one.
    fn next_kill(&self, r: &Report, line: &Line<'_>) -> bool {
        let invoked = memchr::memmem::find(line.body, b"invoked oom-killer:").is_some();
        let memcg = line.body.starts_with(b"oom-kill:");
        let other_victim = match (victim_pid(line.body), r.event.details.get("victim_pid")) {
            (Some(pid), Some(known)) => pid != *known,
            _ => false,
        };
        invoked || other_victim || memcg && r.done
    }

    fn cut_here(&mut self, line: &Line<'_>) -> bool {
        for r in &mut self.open {
            if r.caller.as_deref() == line.caller && r.frames {
                r.done = true;
            }
        }
        if !self.open.iter().any(|r| r.event.panicked) {
            self.cut = Some((0, line.caller.map(<[u8]>::to_vec)));
        }
        false
    }

    /// A kernel or firmware announces itself. An event only where the machine was running and nobody saw it stop.
    fn boot(
        &mut self,
        record: &Record,
        text: &[u8],
        line: &Line<'_>,
        hit: Hit,
        cx: &mut Context<'_>,
        out: &mut Vec<Signal>,
    ) -> bool {
        if !self.origin.is_console() {
            return false;
        }
        let firmware = line.body.starts_with(b"SeaBIOS");
        let panicked = self.open.iter().any(|r| r.event.panicked || r.event.kind == Kind::Panic);
        // Firmware that speaks after something else, or a kernel whose stamps start again.
        let ran = self.uptime_us >= 1_000_000 || firmware && self.lines > 1;
        let fresh = self.boot_marker.is_none_or(|(at, _)| self.lines - at > 400 || self.uptime_us >= 1_000_000);
        let expected = self.expected_down || panicked;
        self.finish(cx, out);
        if fresh {
            self.boot_marker = Some((self.lines, ran && !expected));
        }
        self.uptime_us = 0;
        if firmware {
            return true;
        }
        self.expected_down = false;
        if let Some((at, true)) = self.boot_marker {
            self.boot_marker = Some((at, false));
            self.open_report(record, text, line, hit, cx, out);
        }
        true
    }

    fn open_report(
        &mut self,
        record: &Record,
        text: &[u8],
        line: &Line<'_>,
        hit: Hit,
        cx: &mut Context<'_>,
        out: &mut Vec<Signal>,
    ) {
        let active = &cx.filter.rules[hit.rule];
        // Without caller ids the next header ends the report before it; with them, that of the same caller.
        let single = active.rule.shape == Shape::Single;
        if !single {
            self.close_where(cx, out, |r| {
                r.caller.as_deref() == line.caller && cx.filter.rules[r.rule].rule.shape != Shape::Single
            });
        }
        while self.open.len() >= OPEN_MAX {
            let oldest = self.open.remove(0);
            oldest.close(cx.filter, out);
        }
        if !active.silenced {
            *cx.number += 1;
        }
        let mut report = Report::new(record, line, hit, active, *cx.number, cx.now);
        report.append(line, text, cx.now, true);
        report.analyse(active);
        if !report.muted {
            out.push(Signal::Opened(report.event.clone()));
        }
        self.open.push(report);
    }

    /// A line that is no header.
    fn body(&mut self, record: &Record, text: &[u8], line: &Line<'_>, cx: &mut Context<'_>, out: &mut Vec<Signal>) {
        if self.cut.as_ref().is_some_and(|(_, caller)| caller.as_deref() == line.caller) && is_cpu_line(line.body) {
            self.cut = None;
            if let Some(rule) = cx.filter.rules.iter().position(|r| r.rule.id == "warn_cut") {
                self.open_report(record, text, line, Hit { rule, at: 0 }, cx, out);
                return;
            }
        }
        let filter = cx.filter;
        let takes = |r: &Report| filter.rules[r.rule].rule.shape != Shape::Single;
        let own = self.open.iter().rposition(|r| takes(r) && r.caller.as_deref() == line.caller);
        let gated =
            || self.open.iter().rposition(|r| takes(r) && (r.gate || r.event.panicked) && line.caller.is_some());
        let Some(n) = own.or_else(gated) else { return self.detail(text, line, cx) };
        let r = &mut self.open[n];
        if r.stamped && !line.kernel || line.user {
            return;
        }
        r.append(line, text, cx.now, is_own(line.body));
        if let Shape::Until(_) = filter.rules[r.rule].rule.shape {
            r.note_victim(line.body);
        }
    }
}

impl Stream {
    /// More about the device of a report of single lines: its status, the command that failed.
    fn detail(&mut self, text: &[u8], line: &Line<'_>, cx: &Context<'_>) {
        let speaks_of = |r: &Report| {
            r.subject.is_some()
                && r.since_own <= DETAIL_LINES_MAX
                && cx.filter.rules[r.rule].rule.shape == Shape::Single
                && subject(r.event.kind, line) == r.subject
        };
        if !line.user
            && let Some(n) = self.open.iter().rposition(speaks_of)
        {
            self.open[n].append(line, text, cx.now, false);
        }
    }

    /// Remembers where the file stands, for reports that took this line.
    pub fn stamp_lines(&mut self, line: Option<u64>) {
        for r in &mut self.open {
            r.note_line(line);
        }
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }
}

fn quiet_lines(r: &Report, filter: &Prefilter) -> u32 {
    // An OOM report's task list has as many lines as the machine has tasks; they count as its own.
    match filter.rules[r.rule].rule.shape {
        Shape::Single => QUIET_LINES_MAX * 4,
        _ => QUIET_LINES_MAX,
    }
}
