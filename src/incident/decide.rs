//! The state machine: bursts, cool-down, rate limit.
//!
//! An event is announced twice. On `Opened` a capture starts at once, unless something of the same
//! rule was captured lately: then only the complete report (`Closed`, a second later at most) tells
//! whether it is the same failure again, and the decision waits for it.

use crate::config::IncidentConfig;
use crate::incident::burst::Burst;
use crate::incident::cooldown::Cooldown;
use crate::model::{BootId, Event, Incident, IncidentId, Losses, Mono, Severity, Signal, Trigger, Wall};
use std::collections::VecDeque;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// Open bursts at most; one per host is the rule. The oldest is closed beyond that.
const BURSTS_MAX: usize = 256;

/// What the incidents of this host have in common.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Name of this host.
    pub host: String,
    pub boot_id: Option<BootId>,
    pub kernel: Option<String>,
    /// lastgasp's version.
    pub version: String,
    /// What lastgasp cannot see here.
    pub limits: Vec<String>,
    /// These incidents are of a fire drill.
    pub drill: bool,
}

/// What is to be done about a signal. Not carrying it out loses evidence.
#[must_use]
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// Take a snapshot of this incident now. `unfinished`: its trigger's complete report follows as an `Update`.
    Capture { incident: Box<Incident>, unfinished: bool },
    /// More about an incident that is being captured, or was. `recurrences`: how often the event's
    /// signature came since its last snapshot but this one.
    Update { id: IncidentId, event: Box<Event>, recurrences: u64 },
    /// More about an incident whose snapshot is complete; it will be in a further one, see [`Incidents::follow_up`].
    Later { id: IncidentId, event: Box<Event> },
    /// An event without alarm: show and count it.
    Note(Box<Event>),
    /// Not captured, for this reason (`cooldown`, `rate_limit`); already counted.
    Suppress(&'static str, Box<Event>),
    /// A service answers again.
    Recovery(Box<Event>),
    /// The same event will be complete in a moment.
    Wait,
}

/// Everything that decides.
#[derive(Debug)]
pub struct Incidents {
    config: IncidentConfig,
    identity: Identity,
    bursts: Vec<Burst>,
    cooldown: Cooldown,
    captures: VecDeque<Mono>,
    /// What came to nothing, by cause.
    pub losses: Losses,
}

impl Incidents {
    pub fn new(config: IncidentConfig, identity: Identity) -> Incidents {
        Incidents {
            config,
            identity,
            bursts: Vec::new(),
            cooldown: Cooldown::default(),
            captures: VecDeque::new(),
            losses: Losses::default(),
        }
    }

    /// Decides about one signal. `new_id` is called when an incident is opened.
    pub fn decide(&mut self, signal: Signal, now: Mono, wall: Wall, new_id: impl FnOnce() -> IncidentId) -> Decision {
        let coalesce = Duration::from_millis(self.config.coalesce_ms);
        self.bursts.retain(|b| !b.is_over(now, coalesce));
        match signal {
            Signal::Recovered(event) => Decision::Recovery(Box::new(event)),
            Signal::Opened(event) if !event.alarm => Decision::Wait,
            Signal::Closed(event) if !event.alarm => {
                self.forget(event.number);
                Decision::Note(Box::new(event))
            }
            Signal::Opened(event) => self.opened(event, now, wall, coalesce, new_id),
            Signal::Closed(event) => self.closed(event, now, wall, coalesce, new_id),
        }
    }

    fn opened(
        &mut self,
        event: Event,
        now: Mono,
        wall: Wall,
        coalesce: Duration,
        new_id: impl FnOnce() -> IncidentId,
    ) -> Decision {
        if let Some(burst) = self.bursts.iter_mut().find(|b| b.takes(&event, now, coalesce)) {
            burst.touch(now);
            burst.unfinished.push(event.number);
            return Decision::Wait;
        }
        let window = Duration::from_secs(self.config.cooldown_s);
        if self.rate_is_reached(event.severity, now)
            || (!event.old && self.cooldown.rule_is_warm(&event.host, &event.rule, now, window))
        {
            return Decision::Wait;
        }
        self.open(event, now, wall, true, new_id)
    }

    fn closed(
        &mut self,
        event: Event,
        now: Mono,
        wall: Wall,
        coalesce: Duration,
        new_id: impl FnOnce() -> IncidentId,
    ) -> Decision {
        let window = Duration::from_secs(self.config.cooldown_s);
        let member = self.bursts.iter().position(|b| b.unfinished.contains(&event.number));
        if let Some(i) = member {
            let burst = &mut self.bursts[i];
            burst.unfinished.retain(|n| *n != event.number);
            burst.touch(now);
            let id = burst.id.clone();
            // Known by its signature from here on, whatever it looked like on its first line.
            let mut recurrences = 0;
            // What was logged before this start must not silence what happens now.
            let known = event.old || self.cooldown.recurs(&event, now, window);
            if !known {
                recurrences = self.cooldown.captured(&event, now);
            }
            if !known && burst.keep(&event, now) {
                return Decision::Later { id, event: Box::new(event) };
            }
            return Decision::Update { id, event: Box::new(event), recurrences };
        }
        if let Some(burst) = self.bursts.iter_mut().find(|b| b.takes(&event, now, coalesce)) {
            burst.touch(now);
            let id = burst.id.clone();
            let known = event.old || self.cooldown.recurs(&event, now, window);
            if !known && burst.keep(&event, now) {
                self.cooldown.captured(&event, now);
                return Decision::Later { id, event: Box::new(event) };
            }
            return Decision::Update { id, event: Box::new(event), recurrences: 0 };
        }
        if !event.old && self.cooldown.recurs(&event, now, window) {
            self.losses.add("cooldown", 1);
            return Decision::Suppress("cooldown", Box::new(event));
        }
        self.open(event, now, wall, false, new_id)
    }

    /// Opens an incident, if the rate allows.
    fn open(
        &mut self,
        event: Event,
        now: Mono,
        wall: Wall,
        unfinished: bool,
        new_id: impl FnOnce() -> IncidentId,
    ) -> Decision {
        if self.rate_is_reached(event.severity, now) {
            self.losses.add("rate_limit", 1);
            return Decision::Suppress("rate_limit", Box::new(event));
        }
        self.captures.push_back(now);
        let id = new_id();
        let mut burst = Burst::new(id.clone(), &event, now);
        let mut recurrences = 0;
        if !unfinished {
            burst.unfinished.clear();
            if !event.old {
                recurrences = self.cooldown.captured(&event, now);
            }
        }
        if self.bursts.len() >= BURSTS_MAX {
            self.bursts.remove(0);
        }
        self.bursts.push(burst);
        Decision::Capture { incident: Box::new(self.incident(id, event, wall, recurrences)), unfinished }
    }

    /// The snapshot of this incident is complete, or was given up: what joins it now is in none.
    pub fn complete(&mut self, id: &IncidentId) {
        self.bursts.iter_mut().filter(|b| b.id == *id).for_each(Burst::complete);
    }

    /// Events that came too late for the snapshot of incident `id`, although it was still being taken.
    pub fn missed(&mut self, id: &IncidentId, events: &[Event], now: Mono) {
        if let Some(burst) = self.bursts.iter_mut().find(|b| b.id == *id) {
            for event in events {
                burst.keep(event, now);
            }
        }
    }

    /// When [`Incidents::follow_up`] has something to say.
    pub fn next_due(&self) -> Option<Mono> {
        let coalesce = Duration::from_millis(self.config.coalesce_ms);
        self.bursts.iter().filter_map(|b| b.follow_up_due(coalesce)).min()
    }

    /// A further snapshot of a burst whose first one was complete before the burst was over: a panic that follows an
    /// oops by seconds must not be lost because the snapshot was quick.
    pub fn follow_up(&mut self, now: Mono, wall: Wall, new_id: impl FnOnce() -> IncidentId) -> Option<Decision> {
        let coalesce = Duration::from_millis(self.config.coalesce_ms);
        let due = |b: &Burst| b.follow_up_due(coalesce).is_some_and(|at| at <= now);
        let at = self.bursts.iter().position(due)?;
        let id = new_id();
        let (follows, late, left_out) = self.bursts[at].follow_up(id.clone());
        let mut late = late.into_iter();
        let trigger = late.next()?;
        if self.rate_is_reached(trigger.severity, now) {
            self.losses.add("rate_limit", 1);
            self.bursts[at].complete();
            return Some(Decision::Suppress("rate_limit", Box::new(trigger)));
        }
        self.captures.push_back(now);
        let mut incident = self.incident(id, trigger, wall, 0);
        incident.events = late.collect();
        incident.events_left_out = left_out;
        incident.follows = Some(follows);
        Some(Decision::Capture { incident: Box::new(incident), unfinished: false })
    }

    /// Whether an event of this severity may have no snapshot now. Warnings stop at half of the hourly number: a program
    /// that crashes in a loop must not use up what the oops after it needs.
    fn rate_is_reached(&mut self, severity: Severity, now: Mono) -> bool {
        while self.captures.front().is_some_and(|t| now.since(*t) >= HOUR) {
            self.captures.pop_front();
        }
        let most = self.config.max_per_hour as usize;
        let most = if severity <= Severity::Warning { most.div_ceil(2) } else { most };
        self.captures.len() >= most
    }

    fn incident(&self, id: IncidentId, event: Event, wall: Wall, recurrences: u64) -> Incident {
        let identity = &self.identity;
        let local = !event.origin.is_console();
        Incident {
            format: 1,
            id,
            kind: event.kind,
            title: event.title.clone(),
            host: event.host.to_string(),
            captured_on: identity.host.clone(),
            local,
            opened_at: wall,
            drill: identity.drill,
            boot_id: if local { identity.boot_id.clone() } else { None },
            kernel: if local { identity.kernel.clone() } else { event.kernel.clone() },
            version: identity.version.clone(),
            trigger: Trigger::Event(Box::new(event)),
            events: Vec::new(),
            follows: None,
            events_left_out: 0,
            recurrences,
            losses: self.losses.clone(),
            limits: identity.limits.clone(),
        }
    }

    fn forget(&mut self, number: u64) {
        for b in &mut self.bursts {
            b.unfinished.retain(|n| *n != number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Origin, Signature};

    fn event(number: u64, kind: Kind, signature: &str) -> Event {
        Event {
            rule: kind.name().to_owned(),
            title: format!("{kind} in f"),
            function: Some("f".into()),
            signature: Signature(signature.into()),
            ..Event::blank(number, kind, "h".into(), Origin::Kmsg)
        }
    }

    fn fresh(max_per_hour: u32) -> Incidents {
        let config = IncidentConfig { coalesce_ms: 10_000, cooldown_s: 600, max_per_hour };
        Incidents::new(config, Identity { host: "h".into(), ..Identity::default() })
    }

    const fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    /// Announces an event twice, as the detector does; what came of each.
    fn both(i: &mut Incidents, e: &Event, seconds: u64) -> (Decision, Decision) {
        let id = || IncidentId(format!("id{}", e.number));
        let opened = i.decide(Signal::Opened(e.clone()), at(seconds), Wall(0), id);
        let closed = i.decide(Signal::Closed(e.clone()), at(seconds), Wall(0), id);
        (opened, closed)
    }

    fn captures(d: &(Decision, Decision)) -> usize {
        [&d.0, &d.1].iter().filter(|d| matches!(d, Decision::Capture { .. })).count()
    }

    #[test]
    fn an_oops_a_panic_and_thirty_hung_tasks_are_one_incident_of_the_first_kind() {
        let mut i = fresh(12);
        let first = both(&mut i, &event(1, Kind::Oops, "a"), 0);
        assert!(matches!(&first.0, Decision::Capture { incident, unfinished: true } if incident.kind == Kind::Oops));
        assert!(matches!(&first.1, Decision::Update { id, .. } if id.0 == "id1"));
        assert_eq!(captures(&both(&mut i, &event(2, Kind::Panic, "b"), 1)), 0);
        for n in 0..30 {
            let d = both(&mut i, &event(3 + n, Kind::HungTask, &format!("t{n}")), 120 + n);
            assert!(matches!(&d.1, Decision::Update { id, .. } if id.0 == "id1"), "{d:?}");
        }
    }

    #[test]
    fn what_comes_after_the_snapshot_was_complete_gets_a_further_one() {
        let mut i = fresh(12);
        let with_text = |n, kind, signature| Event { text: vec!["a line".into()], ..event(n, kind, signature) };
        assert_eq!(captures(&both(&mut i, &with_text(1, Kind::Oops, "a"), 0)), 1);
        // In time for the snapshot.
        assert!(matches!(both(&mut i, &with_text(2, Kind::Oops, "b"), 1).1, Decision::Update { .. }));
        i.complete(&IncidentId("id1".into()));
        // The worker was told of one when its manifest was written.
        i.missed(&IncidentId("id1".into()), &[with_text(8, Kind::Warning, "m")], at(2));
        // Too late for it; the same failure again is no news.
        assert!(matches!(both(&mut i, &with_text(3, Kind::Warning, "c"), 2).1, Decision::Later { .. }));
        assert!(matches!(both(&mut i, &with_text(4, Kind::Oops, "a"), 3).1, Decision::Update { .. }));
        let new_id = || IncidentId("id9".into());
        assert_eq!(i.next_due(), Some(at(12)));
        assert!(i.follow_up(at(11), Wall(0), new_id).is_none());
        // A panic is the end of it: nothing is waited for.
        assert!(matches!(both(&mut i, &with_text(5, Kind::Panic, "d"), 5).1, Decision::Later { .. }));
        let Some(Decision::Capture { incident, unfinished: false }) = i.follow_up(at(5), Wall(0), new_id) else {
            panic!("no further snapshot");
        };
        assert_eq!(incident.follows, Some(IncidentId("id1".into())));
        assert_eq!(incident.events.len(), 2);
        assert_eq!(i.next_due(), None);
        // What comes now joins the further one; its number is bounded.
        assert!(
            matches!(both(&mut i, &with_text(6, Kind::Warning, "e"), 6).1, Decision::Update { id, .. } if id.0 == "id9")
        );
        for n in 10..20 {
            i.complete(&IncidentId("id9".into()));
            let hung = Event { signature: Signature(format!("t{n}")), ..with_text(n, Kind::HungTask, "t") };
            let _ = both(&mut i, &hung, 6 + n);
            let _ = i.follow_up(at(60), Wall(0), new_id);
        }
        assert_eq!(i.next_due(), None);
        assert_eq!(i.captures.len(), 3);
    }

    #[test]
    fn a_recurrence_within_the_cooldown_is_counted_and_told_to_the_next_snapshot() {
        let mut i = fresh(12);
        assert_eq!(captures(&both(&mut i, &event(1, Kind::Warning, "a"), 0)), 1);
        for (n, s) in [(2, 100), (3, 200)] {
            let d = both(&mut i, &event(n, Kind::Warning, "a"), s);
            assert_eq!(d.0, Decision::Wait);
            assert!(matches!(d.1, Decision::Suppress("cooldown", _)));
        }
        // Another bug of the same rule waits for its complete report, and then is captured.
        let other = both(&mut i, &event(4, Kind::Warning, "b"), 300);
        assert_eq!(captures(&other), 1);
        assert!(matches!(other.1, Decision::Capture { unfinished: false, .. }));
        let again = both(&mut i, &event(5, Kind::Warning, "a"), 1000);
        assert!(matches!(again.0, Decision::Capture { .. }));
        assert!(matches!(again.1, Decision::Update { recurrences: 2, .. }), "{again:?}");
        assert_eq!(i.losses.counts["cooldown"], 2);
    }

    #[test]
    fn a_storm_of_distinct_failures_is_limited_and_every_loss_counted() {
        let mut i = fresh(3);
        let mut taken = 0;
        for n in 0..2000 {
            taken += captures(&both(&mut i, &event(n, Kind::Warning, &format!("s{n}")), n));
        }
        assert_eq!(taken, 3);
        let lost: u64 = i.losses.counts.values().sum();
        // Each event was captured, joined a burst, or was counted.
        assert!(lost > 0 && lost <= 1997, "{lost}");
        assert!(i.bursts.len() <= BURSTS_MAX);
    }

    #[test]
    fn warnings_leave_half_of_the_snapshots_to_what_is_worse() {
        let mut i = fresh(4);
        let mut taken = 0;
        for n in 0..100 {
            let signature = format!("s{n}");
            let crash = Event { severity: Severity::Warning, ..event(n, Kind::UserFault, &signature) };
            taken += captures(&both(&mut i, &crash, n * 20));
        }
        assert_eq!(taken, 2);
        assert_eq!(captures(&both(&mut i, &event(200, Kind::Oops, "oops"), 2010)), 1);
    }

    #[test]
    fn events_without_alarm_are_noted_once() {
        let mut i = fresh(3);
        let mut e = event(1, Kind::UserFault, "a");
        e.alarm = false;
        let d = both(&mut i, &e, 0);
        assert_eq!(d.0, Decision::Wait);
        assert!(matches!(d.1, Decision::Note(_)));
    }

    #[test]
    fn a_second_disk_is_news_although_the_signature_is_the_same() {
        let mut i = fresh(12);
        for (n, device, seconds, want) in [(1, "sda", 0, 1), (2, "sda", 100, 0), (3, "sdb", 400, 1)] {
            let mut e = event(n, Kind::IoError, "a");
            e.details.insert("device".into(), device.into());
            assert_eq!(captures(&both(&mut i, &e, seconds)), want, "{device} at {seconds} s");
        }
    }

    #[test]
    fn what_was_logged_before_the_start_neither_absorbs_nor_silences_what_happens_now() {
        let mut i = fresh(12);
        for n in 1..4 {
            let mut old = event(n, Kind::Oom, "a");
            old.old = true;
            assert_eq!(captures(&both(&mut i, &old, 0)), usize::from(n == 1), "one incident of all that is old");
        }
        assert_eq!(captures(&both(&mut i, &event(4, Kind::Oom, "a"), 3)), 1);
        assert_eq!(captures(&both(&mut i, &event(5, Kind::Oom, "a"), 60)), 0);
    }

    #[test]
    fn hosts_do_not_share_bursts() {
        let mut i = fresh(12);
        assert_eq!(captures(&both(&mut i, &event(1, Kind::Oops, "a"), 0)), 1);
        let mut other = event(2, Kind::Oops, "a");
        other.host = "elsewhere".into();
        assert_eq!(captures(&both(&mut i, &other, 1)), 1);
    }
}
