//! Upkeep: children that should run do, what is due is done, and the end is orderly.

use crate::daemon::core::Core;
use crate::daemon::keep::Tidy;
use crate::model::{Happening, Mono};
use crate::probe::ProbeOrder;
use crate::source::role::{TailMessage, TailOrder};
use crate::sys::clock;
use std::io;
use std::time::Duration;

/// How often the place in the kernel log is written down, at most.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// Housekeeping when nothing else happens.
const TICK: Duration = Duration::from_secs(5);
/// How long a stop waits for captures at work.
const STOP_MAX: Duration = Duration::from_secs(20);
/// What the end of the loop may take beyond that.
const STOP_SLACK: Duration = Duration::from_secs(5);

impl Core {
    /// Children that should run do; what is due is done.
    pub(super) fn keep_up(&mut self) {
        let now = clock::mono();
        self.keep_wanted |= self.away.take_due(now);
        let started = [
            match self.tail.is_due(now) {
                true => {
                    let start = TailOrder::Start {
                        consoles: self.config.consoles.clone(),
                        aside: true,
                        state_file: self.state_file.clone(),
                    };
                    self.tail.ensure(now, &mut self.poller, &[start])
                }
                false => Ok(false),
            },
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
        self.tick_netconsole(now);
        self.save(now, false);
        self.check_probes(now);
        self.tell_losses(now);
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
    pub(super) fn poll_klog(&mut self, now: Mono) {
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
    pub(super) fn save(&mut self, now: Mono, at_once: bool) {
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
    pub(super) fn check_probes(&mut self, now: Mono) {
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

    pub(super) fn until_due(&self) -> Duration {
        let now = clock::mono();
        let mut due = now.plus(TICK);
        let mut earlier = |t: Option<Mono>| due = t.map_or(due, |t| due.min(t));
        earlier(self.detector.next_due());
        earlier(self.incidents.next_due());
        earlier(self.recount.next_due());
        earlier((!self.untold.counts.is_empty()).then_some(self.losses_due));
        earlier(self.workers.next_due(now));
        earlier(self.netconsole_due());
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

    pub(super) fn stop(&mut self) {
        let mut bytes = [0u8; 16];
        let _ = io::Read::read(&mut &self.signals, &mut bytes);
        if self.stopping.is_none() {
            if let Some(n) = &self.notify {
                n.send("STOPPING=1");
                // The unit's own limit is short, because it is also how long a child that cannot be killed holds
                // up a restart; captures at work get their time this way.
                n.send(&format!("EXTEND_TIMEOUT_USEC={}", (STOP_MAX + STOP_SLACK).as_micros()));
            }
            self.say(log::Level::Info, "stopping".into());
            self.stopping = Some(clock::mono());
        }
    }

    pub(super) fn may_end(&mut self) -> bool {
        let Some(since) = self.stopping else { return false };
        let now = clock::mono();
        if self.workers.busy() && now.since(since) < STOP_MAX {
            return false;
        }
        self.remember_own(Happening::Stopped);
        self.save(now, true);
        let _ = self.tail.order(&TailOrder::Stop);
        true
    }

    /// Waits a moment for the tail role to write its state down, after the loop has ended.
    pub(in crate::daemon) fn finish(mut self) {
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
}
