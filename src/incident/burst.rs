//! One failure and what follows from it: the events that make one incident.

use crate::model::{EVENTS_MAX, Event, IncidentId, Kind, Mono};
use std::time::Duration;

/// Further snapshots of one burst, for what came after its first one was complete.
const FOLLOW_UPS_MAX: u32 = 2;
/// Events kept for a further snapshot; the rest is counted.
const LATE_MAX: usize = EVENTS_MAX;
/// Bytes of their text; what is beyond is known by its title alone.
const LATE_TEXT_MAX: usize = 1 << 20;

/// How long after a grave first cause its typical consequences still belong to it. The kernel
/// reports a hung task 120 s to 240 s after it stopped (kernel/hung_task.c: `sysctl_hung_task_timeout_secs`,
/// checked once per interval), an RCU stall after 21 s to 60 s.
const CONSEQUENCE_WINDOW: Duration = Duration::from_secs(300);

/// A trickle of events must not keep one incident open for ever and hide a new failure behind it.
const LENGTH_MAX: Duration = Duration::from_secs(60);

/// One open incident.
#[derive(Debug)]
pub struct Burst {
    pub id: IncidentId,
    pub host: String,
    /// Kind of the first cause.
    pub kind: Kind,
    /// It was logged before this start. What happens now is never part of it.
    old: bool,
    opened_at: Mono,
    last_at: Mono,
    /// Event numbers that belong to it and are not closed yet.
    pub unfinished: Vec<u64>,
    /// Its snapshot is complete (or was given up): what comes now is in none.
    complete: bool,
    /// What came since then, and when the first of it did.
    late: Vec<Event>,
    late_since: Mono,
    /// How many more came than are kept.
    left_out: u64,
    follow_ups: u32,
}

impl Burst {
    pub fn new(id: IncidentId, event: &Event, now: Mono) -> Burst {
        Burst {
            id,
            host: event.host.to_string(),
            kind: event.kind,
            old: event.old,
            opened_at: now,
            last_at: now,
            unfinished: vec![event.number],
            complete: false,
            late: Vec::new(),
            late_since: now,
            left_out: 0,
            follow_ups: 0,
        }
    }

    /// Whether `event`, seen `now`, is part of this failure.
    pub fn takes(&self, event: &Event, now: Mono, coalesce: Duration) -> bool {
        if *self.host != *event.host || self.old != event.old {
            return false;
        }
        (now.since(self.last_at) <= coalesce && now.since(self.opened_at) <= LENGTH_MAX.max(coalesce))
            || (is_grave(self.kind) && is_consequence(event.kind) && now.since(self.opened_at) <= CONSEQUENCE_WINDOW)
    }

    pub fn touch(&mut self, now: Mono) {
        self.last_at = now;
    }

    /// Its snapshot takes nothing in any more.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Keeps an event whose text would otherwise be in no snapshot. `false`: it has none, or is in time for the
    /// snapshot that is being taken, or there were enough of them.
    pub fn keep(&mut self, event: &Event, now: Mono) -> bool {
        let wanted = self.complete && !event.text.is_empty() && self.follow_ups < FOLLOW_UPS_MAX;
        if !wanted {
            return false;
        }
        if self.late.len() >= LATE_MAX {
            self.left_out += 1;
            return false;
        }
        if self.late.is_empty() {
            self.late_since = now;
        }
        let bytes = |e: &Event| e.text.iter().map(String::len).sum::<usize>();
        let mut event = event.clone();
        if self.late.iter().map(bytes).sum::<usize>() + bytes(&event) > LATE_TEXT_MAX {
            event.leave_text_out();
        }
        self.late.push(event);
        true
    }

    /// When what was kept is worth a snapshot: at once after a panic, which nothing follows; else when the burst
    /// has had time to say the rest.
    pub fn follow_up_due(&self, coalesce: Duration) -> Option<Mono> {
        let last_words = |e: &Event| e.panicked || e.kind == Kind::Panic;
        let wait = if self.late.iter().any(last_words) { Duration::ZERO } else { coalesce };
        (!self.late.is_empty()).then(|| self.late_since.plus(wait))
    }

    /// What was kept, the gravest first, and how many more there were; the burst goes on under the name of the new snapshot.
    pub fn follow_up(&mut self, id: IncidentId) -> (IncidentId, Vec<Event>, u64) {
        self.complete = false;
        self.follow_ups += 1;
        let mut late = std::mem::take(&mut self.late);
        late.sort_by_key(|e| std::cmp::Reverse(e.severity));
        (std::mem::replace(&mut self.id, id), late, std::mem::take(&mut self.left_out))
    }

    /// Nothing can join any more.
    pub fn is_over(&self, now: Mono, coalesce: Duration) -> bool {
        let waits = if is_grave(self.kind) { CONSEQUENCE_WINDOW } else { Duration::ZERO };
        now.since(self.last_at) > coalesce
            && now.since(self.opened_at) > waits
            && self.unfinished.is_empty()
            && self.late.is_empty()
    }
}

/// Kernel code died or stands still: tasks waiting for what it held will be reported one by one.
fn is_grave(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Panic
            | Kind::Oops
            | Kind::Bug
            | Kind::Kasan
            | Kind::SoftLockup
            | Kind::HardLockup
            | Kind::RcuStall
            | Kind::HungTask
            | Kind::IoError
            | Kind::FsError
    )
}

fn is_consequence(kind: Kind) -> bool {
    matches!(kind, Kind::HungTask | Kind::RcuStall | Kind::SoftLockup | Kind::HardLockup | Kind::Panic)
}
