//! From single runs to "down" and "up again": pure, one state machine per probe.
//!
//! `failures` downs in a row open an incident, `recoveries` ups in a row end it. A service that
//! flaps (changed state three times within a window of ten such cycles) has one incident: while it
//! flaps, its recovery is held back and further downs are counted as `flaps`; the recovery is told
//! once it has calmed down. So between two openings of a probe there is always a recovery.
//!
//! Times are wall-clock; when that jumps, at worst flapping ends early or late.

mod event;

use crate::config::ProbeConfig;
use crate::model::event::EVENT_LINE_BYTES_MAX;
use crate::model::{Event, ProbeCause, ProbeOutcome, ProbeReport, Signal, Unchanged, Wall};
use crate::probe::status::{ProbeState, ProbeStatus};
use crate::probe::teller::TELL_EVERY;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Changes of state within the window from which on a service flaps.
const FLAPPING_CHANGES: usize = 3;
/// The window, in times of `interval * (failures + recoveries)`.
const WINDOW_CYCLES: u64 = 10;
/// Most lines of recent failures in an event's text.
const LINES_MAX: usize = 10;
/// How long past a run's end the role may be silent before what is known counts as stale.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state machine of one probe.
#[derive(Clone, Debug)]
pub struct Hysteresis {
    probe: ProbeConfig,
    host: Arc<str>,
    state: ProbeState,
    since: Option<Wall>,
    /// The last run.
    last: Option<(ProbeOutcome, u64, Wall)>,
    consecutive: u32,
    /// When the present run of equal outcomes began.
    streak_since: Option<Wall>,
    last_ok: Option<Wall>,
    /// One bit per run, newest lowest; 1 is a failure.
    history: u32,
    runs: u32,
    /// When the state changed between up and down, oldest first; at most [`FLAPPING_CHANGES`].
    changes: VecDeque<Wall>,
    /// Recent failures, as lines.
    lines: VecDeque<String>,
    /// The incident that is open.
    open: Option<Open>,
    stale_since: Option<Wall>,
}

#[derive(Clone, Debug)]
struct Open {
    event: Event,
    since: Wall,
    /// Times it went down again while the recovery was held back.
    flaps: u32,
    /// When it came up for good, as far as is known.
    up_since: Option<Wall>,
}

impl Hysteresis {
    /// `host`: the name of this host.
    pub fn new(probe: &ProbeConfig, host: Arc<str>) -> Hysteresis {
        Hysteresis {
            probe: probe.clone(),
            host,
            state: ProbeState::Unknown,
            since: None,
            last: None,
            consecutive: 0,
            streak_since: None,
            last_ok: None,
            history: 0,
            runs: 0,
            changes: VecDeque::new(),
            lines: VecDeque::new(),
            open: None,
            stale_since: None,
        }
    }

    pub fn name(&self) -> &str {
        &self.probe.name
    }

    /// Takes in a run, and those before it that were not told one by one. `number` is the counter of events; an opening takes the next number, and
    /// its recovery has the same.
    pub fn report(&mut self, report: &ProbeReport, at: Wall, number: &mut u64) -> Vec<Signal> {
        let mut signals = report.unchanged.map(|before| self.more_ups(before, at)).unwrap_or_default();
        signals.extend(self.run(report, at, number));
        signals
    }

    fn run(&mut self, report: &ProbeReport, at: Wall, number: &mut u64) -> Vec<Signal> {
        let down = matches!(report.outcome, ProbeOutcome::Down { .. });
        let was_down = self.last.as_ref().map(|(o, ..)| matches!(o, ProbeOutcome::Down { .. }));
        if was_down == Some(down) {
            self.consecutive = self.consecutive.saturating_add(1);
        } else {
            self.consecutive = 1;
            self.streak_since = Some(at);
        }
        self.last = Some((report.outcome.clone(), report.took_us, at));
        self.history = self.history << 1 | u32::from(down);
        self.runs = self.runs.saturating_add(1).min(32);
        self.stale_since = None;
        match &report.outcome {
            ProbeOutcome::Up => {
                self.last_ok = Some(at);
                self.up(at)
            }
            ProbeOutcome::Down { cause, detail } => {
                if self.lines.len() == LINES_MAX {
                    self.lines.pop_front();
                }
                let mut line = format!("{at} {} {}: {cause}: {detail}", self.probe.name, self.probe.target);
                let mut end = line.len().min(EVENT_LINE_BYTES_MAX);
                while !line.is_char_boundary(end) {
                    end -= 1;
                }
                line.truncate(end);
                self.lines.push_back(line);
                self.down(*cause, detail, at, number)
            }
        }
    }

    /// Counts runs that found it up, as the one before them did; it may have calmed down with them.
    fn more_ups(&mut self, more: Unchanged, at: Wall) -> Vec<Signal> {
        if matches!(&self.last, Some((ProbeOutcome::Up, ..))) {
            self.consecutive = self.consecutive.saturating_add(more.ups);
        }
        self.history = self.history.checked_shl(more.ups).unwrap_or(0);
        self.runs = self.runs.saturating_add(more.ups).min(32);
        let last = Wall(at.0.saturating_sub_unsigned(more.ago_us));
        self.last_ok = Some(last);
        self.up(last)
    }

    fn down(&mut self, cause: ProbeCause, detail: &str, at: Wall, number: &mut u64) -> Vec<Signal> {
        if self.state == ProbeState::Down || self.consecutive < self.probe.failures {
            return Vec::new();
        }
        let since = self.streak_since.unwrap_or(at);
        if self.state == ProbeState::Up {
            self.change(at);
        }
        self.state = ProbeState::Down;
        self.since = Some(since);
        if let Some(open) = &mut self.open {
            open.flaps = open.flaps.saturating_add(1);
            open.up_since = None;
            return Vec::new();
        }
        *number += 1;
        let event = self.event(cause, detail, since, at, *number);
        self.open = Some(Open { event: event.clone(), since, flaps: 0, up_since: None });
        // There is nothing more to wait for: both moments at once.
        vec![Signal::Opened(event.clone()), Signal::Closed(event)]
    }

    fn up(&mut self, at: Wall) -> Vec<Signal> {
        match self.state {
            ProbeState::Unknown => {
                self.state = ProbeState::Up;
                self.since = Some(at);
            }
            ProbeState::Down if self.consecutive >= self.probe.recoveries => {
                self.change(at);
                self.state = ProbeState::Up;
                self.since = self.streak_since;
                if let Some(open) = &mut self.open {
                    open.up_since = self.streak_since;
                }
            }
            _ => {}
        }
        if self.state != ProbeState::Up || self.flapping(at) {
            return Vec::new();
        }
        match self.open.take() {
            Some(open) => {
                self.lines.clear();
                vec![Signal::Recovered(self.recovery(open, at))]
            }
            None => Vec::new(),
        }
    }

    /// The role was silent for longer than [`Hysteresis::patience`]: it hangs or is gone. Counts
    /// nothing, since nothing was seen; the state is only marked as old.
    pub fn overdue(&mut self, at: Wall) {
        self.stale_since.get_or_insert(at);
    }

    /// How long to wait for a report before [`Hysteresis::overdue`].
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.probe.interval_ms.saturating_add(self.probe.timeout_ms)) + TELL_EVERY + PATIENCE
    }

    /// As it is at `now`.
    pub fn state(&self, now: Wall) -> ProbeStatus {
        let (cause, detail) = match &self.last {
            Some((ProbeOutcome::Down { cause, detail }, ..)) => (Some(*cause), Some(detail.clone())),
            _ => (None, None),
        };
        ProbeStatus {
            probe: self.probe.name.clone(),
            target: self.probe.target.to_string(),
            state: self.state,
            since: self.since,
            cause,
            detail,
            consecutive: self.consecutive,
            failed: self.history.count_ones(),
            of: self.runs,
            flapping: self.flapping(now),
            stale_since: self.stale_since,
            last_report: self.last.as_ref().map(|l| l.2),
            took_us: self.last.as_ref().map(|l| l.1),
        }
    }

    fn change(&mut self, at: Wall) {
        if self.changes.len() == FLAPPING_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(at);
    }

    fn flapping(&self, now: Wall) -> bool {
        let cycle = u64::from(self.probe.failures) + u64::from(self.probe.recoveries);
        let window = Duration::from_millis(self.probe.interval_ms.saturating_mul(cycle).saturating_mul(WINDOW_CYCLES));
        self.changes.len() == FLAPPING_CHANGES && self.changes.front().is_some_and(|first| now.since(*first) <= window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::probe_from_arg;
    use crate::model::{Kind, Mono, Severity};
    use crate::probe::hysteresis::event::signature;
    use crate::probe::teller::Teller;
    use proptest::prelude::*;

    const START: i64 = 1_795_400_000;

    /// Feeds runs one interval (5 s) apart; `failures` 3, `recoveries` 2, so the window is 250 s.
    struct Feed {
        hysteresis: Hysteresis,
        now: Wall,
        number: u64,
    }

    impl Feed {
        fn new() -> Feed {
            let mut probe = probe_from_arg("web=tcp:127.0.0.1:80").expect("a probe");
            probe.unit = Some("web.service".into());
            Feed { hysteresis: Hysteresis::new(&probe, "h".into()), now: Wall(START * 1_000_000), number: 7 }
        }

        fn run(&mut self, down: Option<ProbeCause>) -> Vec<Signal> {
            let outcome = match down {
                None => ProbeOutcome::Up,
                Some(cause) => ProbeOutcome::Down { cause, detail: "as a test".into() },
            };
            let report = ProbeReport { probe: "web".into(), outcome, took_us: 100, unchanged: None };
            let signals = self.hysteresis.report(&report, self.now, &mut self.number);
            self.now = Wall(self.now.0 + 5_000_000);
            signals
        }

        /// `U` and `D`; returns what was said after each: `o` opened and closed, `r` recovered, `.`.
        fn all(&mut self, runs: &str) -> String {
            let mut said = String::new();
            for c in runs.chars() {
                said.push_str(match self.run((c == 'D').then_some(ProbeCause::Refused)).as_slice() {
                    [] => ".",
                    [Signal::Opened(a), Signal::Closed(b)] if a == b => "o",
                    [Signal::Recovered(_)] => "r",
                    other => panic!("{other:?}"),
                });
            }
            said
        }
    }

    #[test]
    fn down_after_failures_in_a_row_and_up_after_recoveries_in_a_row() {
        let mut f = Feed::new();
        assert_eq!(f.all("UDDUDDDDDUDUUU"), "......o.....r.");
        assert_eq!(Feed::new().all("DDD"), "..o", "it may be down from the start");
    }

    #[test]
    fn the_event_says_what_an_operator_needs() {
        let mut f = Feed::new();
        assert_eq!(f.all("UDD"), "...");
        let signals = f.run(Some(ProbeCause::TimedOut));
        let e = signals[0].event();
        assert_eq!((e.number, f.number, e.kind, e.severity, e.alarm), (8, 8, Kind::ServiceDown, Severity::Error, true));
        assert_eq!((e.rule.as_str(), e.title.as_str()), ("probe:web", "service web down: timed out"));
        let details: Vec<(&str, &str)> = e.details.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let want = [
            ("cause", "timed_out"),
            ("detail", "as a test"),
            ("last_ok", &Wall(START * 1_000_000).to_string()),
            ("probe", "web"),
            ("since", &Wall((START + 5) * 1_000_000).to_string()),
            ("target", "tcp:127.0.0.1:80"),
            ("unit", "web.service"),
        ];
        assert_eq!(details, want);
        assert_eq!(e.text.len(), 3);
        assert!(e.text[2].contains("web tcp:127.0.0.1:80: timed out: as a test"), "{}", e.text[2]);
        assert_eq!(e.signature.0.len(), 16);
        assert_ne!(e.signature, signature("web", ProbeCause::Refused));
        let opened = e.clone();

        assert_eq!(f.all("U"), ".");
        let Signal::Recovered(r) = &f.run(None)[0] else { panic!("recovered") };
        assert_eq!((r.number, &r.signature, r.alarm), (opened.number, &opened.signature, false));
        // Down from 5 s to 20 s.
        assert_eq!(r.details.get("downtime_s").map(String::as_str), Some("15"));
        assert_eq!(r.details.get("flaps"), None);
    }

    #[test]
    fn a_flapping_service_has_one_incident() {
        let mut f = Feed::new();
        assert_eq!(f.all("UDDDUUDDD"), "...o.r..o");
        // From here on it flaps: nothing more is opened.
        assert_eq!(f.all(&"UUDDD".repeat(20)), ".".repeat(100));
        assert!(f.hysteresis.state(f.now).flapping);
        let calm = f.all(&"U".repeat(80));
        assert_eq!(calm.matches('r').count(), 1);
        assert_eq!(calm.matches('o').count(), 0);
        assert!(!f.hysteresis.state(f.now).flapping);
        // It can open again afterwards.
        assert_eq!(f.all("DDD"), "..o");
    }

    #[test]
    fn the_recovery_of_a_flapping_service_counts_its_flaps() {
        let mut f = Feed::new();
        f.all("UDDDUUDDDUUDDDUUDDD");
        let mut last = Vec::new();
        for _ in 0..100 {
            last.extend(f.run(None));
        }
        let [Signal::Recovered(r)] = last.as_slice() else { panic!("{last:?}") };
        assert_eq!(r.details.get("flaps").map(String::as_str), Some("2"));
    }

    #[test]
    fn a_flapping_service_that_stays_down_is_down() {
        let mut f = Feed::new();
        f.all("UDDDUUDDDUUDDD");
        assert_eq!(f.all(&"D".repeat(100)), ".".repeat(100));
        let status = f.hysteresis.state(f.now);
        assert_eq!((status.state, status.flapping), (ProbeState::Down, false));
        assert_eq!(f.all("UUU"), ".r.");
    }

    #[test]
    fn the_status_tells_the_last_runs() {
        let mut f = Feed::new();
        let s = f.hysteresis.state(f.now);
        assert_eq!((s.state, s.of, s.last_report, s.took_us), (ProbeState::Unknown, 0, None, None));
        f.all("UDUDD");
        let s = f.hysteresis.state(f.now);
        assert_eq!((s.state, s.consecutive, s.failed, s.of), (ProbeState::Up, 2, 3, 5));
        assert_eq!((s.cause, s.took_us, s.stale_since), (Some(ProbeCause::Refused), Some(100), None));
        f.hysteresis.overdue(f.now);
        let s = f.hysteresis.state(f.now);
        assert_eq!((s.state, s.consecutive, s.stale_since), (ProbeState::Up, 2, Some(f.now)), "silence is no failure");
        assert_eq!(f.hysteresis.patience(), Duration::from_secs(5 + 2 + 10 + 5));
        f.all("U");
        assert_eq!(f.hysteresis.state(f.now).stale_since, None);
    }

    proptest! {
        #[test]
        fn what_is_not_told_one_by_one_changes_nothing(runs in proptest::collection::vec(any::<(bool, bool)>(), 0..200)) {
            let mut probe = probe_from_arg("web=tcp:127.0.0.1:80").expect("a probe");
            probe.interval_ms = 1_000;
            let (mut all, mut told) = (Hysteresis::new(&probe, "h".into()), Hysteresis::new(&probe, "h".into()));
            let mut teller = Teller::new("web", probe.recoveries);
            let (mut numbers, mut opened) = ([0, 0], [Vec::new(), Vec::new()]);
            // Mostly up, as services are.
            for (s, down) in runs.iter().map(|(a, b)| *a && *b).enumerate() {
                let outcome = match down {
                    true => ProbeOutcome::Down { cause: ProbeCause::Refused, detail: "x".into() },
                    false => ProbeOutcome::Up,
                };
                let at = Wall((START + s as i64) * 1_000_000);
                let run = ProbeReport { probe: "web".into(), outcome: outcome.clone(), took_us: 1, unchanged: None };
                let is_open = |s: &Signal| matches!(s, Signal::Opened(_));
                opened[0].extend(all.report(&run, at, &mut numbers[0]).into_iter().filter(is_open));
                if let Some(report) = teller.report(outcome, 1, Mono((s as u64 + 1_000) * 1_000_000_000)) {
                    opened[1].extend(told.report(&report, at, &mut numbers[1]).into_iter().filter(is_open));
                    prop_assert_eq!(told.state(at), all.state(at));
                }
            }
            prop_assert_eq!(&opened[0], &opened[1]);
        }

        #[test]
        fn openings_and_recoveries_alternate(
            runs in proptest::collection::vec(any::<bool>(), 0..400),
            failures in 1u32..5,
            recoveries in 1u32..5,
        ) {
            let mut f = Feed::new();
            (f.hysteresis.probe.failures, f.hysteresis.probe.recoveries) = (failures, recoveries);
            let (mut open, mut in_a_row) = (None, 0);
            for down in runs {
                in_a_row = if down { in_a_row + 1 } else { 0 };
                for signal in f.run(down.then_some(ProbeCause::Refused)) {
                    match signal {
                        Signal::Opened(e) => {
                            prop_assert!(open.is_none() && in_a_row >= failures);
                            open = Some(e.number);
                        }
                        Signal::Closed(e) => prop_assert_eq!(open, Some(e.number)),
                        Signal::Recovered(e) => prop_assert_eq!(open.take(), Some(e.number)),
                    }
                }
                // Whatever happened: long enough down is an open incident.
                prop_assert!(in_a_row < failures || open.is_some());
            }
            for _ in 0..500 {
                for signal in f.run(None) {
                    prop_assert!(matches!(signal, Signal::Recovered(_)) && open.take().is_some());
                }
            }
            prop_assert!(open.is_none(), "calm ends every incident");
        }
    }
}
