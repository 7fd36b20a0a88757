//! What the core says: log lines, losses, status.

use crate::daemon::core::{Core, push};
use crate::daemon::status::{LogLine, Status};
use crate::daemon::workers::{Ground, Workers};
use crate::model::{Event, Happening, HistoryLine, Losses, Mono};
use crate::sys::clock;
use std::time::Duration;

const LOG_MAX: usize = 50;
/// Losses are told this often at most.
const LOSSES_EVERY: Duration = Duration::from_secs(5);

impl Core {
    pub(super) fn with_workers(&mut self, f: impl FnOnce(&mut Workers, &mut Vec<u8>, &mut Ground<'_>)) {
        let mut ground = Ground {
            now: clock::mono(),
            poller: &mut self.poller,
            abandoned: &mut self.abandoned,
            news: &mut self.news,
        };
        f(&mut self.workers, &mut self.buf, &mut ground);
    }

    /// Counts at once, tells at most every [`LOSSES_EVERY`]: a ring that is overrun is so many times a second.
    pub(super) fn lose(&mut self, lost: Losses) {
        for (cause, n) in lost.counts {
            self.losses.add(&cause, n);
            self.untold.add(&cause, n);
        }
        self.tell_losses(clock::mono());
    }

    pub(super) fn tell_losses(&mut self, now: Mono) {
        if self.untold.counts.is_empty() || now < self.losses_due {
            return;
        }
        self.losses_due = now.plus(LOSSES_EVERY);
        for (cause, n) in std::mem::take(&mut self.untold).counts {
            self.say(log::Level::Warn, format!("lost: {n} {cause}"));
        }
    }

    pub(super) fn all_losses(&self) -> Losses {
        let mut all = self.losses.clone();
        for (cause, n) in &self.incidents.losses.counts {
            all.add(cause, *n);
        }
        all.add("capture_queue", self.workers.overflow);
        all
    }

    /// Says what is watched, and tells the service manager that it is.
    pub(in crate::daemon) fn greet(&mut self) {
        let kernel = match &self.kernel {
            Ok(log) => format!("the kernel log ({})", log.name()),
            Err(_) => "no kernel log".into(),
        };
        let (consoles, probes) = (self.config.consoles.len(), self.config.probes.len());
        let listens = matches!(self.netconsole, Some(Ok(_)));
        let netconsole = if listens { "netconsole, " } else { "" };
        let version = self.identity.version.clone();
        let text = format!(
            "lastgasp {version} on {}: watches {kernel}, {netconsole}{consoles} console log pattern(s), {probes} probe(s)",
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
        if self.kernel.is_err() && !listens && consoles == 0 && probes == 0 {
            let text = "nothing can be watched: no kernel log, no console log, no netconsole, no probe (run as root, or configure one)";
            self.say(log::Level::Error, text.into());
        }
        self.remember_own(Happening::Started);
        if let Some(n) = &self.notify {
            n.send("READY=1");
        }
    }

    /// A line of history about this run itself.
    pub(super) fn remember_own(&mut self, what: Happening) {
        let (host, version) = (self.identity.host.clone(), self.identity.version.clone());
        let title = Some(format!("lastgasp {version}"));
        self.remember(HistoryLine { at: clock::wall(), what, host, kind: None, title, incident: None, detail: None });
    }

    /// One line for the log and for `status`.
    pub(in crate::daemon) fn say(&mut self, level: log::Level, text: String) {
        log::log!(level, "{text}");
        push(&mut self.counts.log, LOG_MAX, LogLine { at: clock::wall(), text });
    }

    pub(super) fn status(&mut self) -> Status {
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
            netconsole: self.netconsole.as_ref().map(|n| match n {
                Ok(n) => n.address().to_string(),
                Err(why) => why.clone(),
            }),
            netconsole_records: self.counts.netconsole_records,
            netconsole_senders: match &self.netconsole {
                Some(Ok(n)) => n.senders() as u64,
                _ => 0,
            },
            probes: probes.collect(),
            store: self.counts.store.clone(),
            spare_ready: self.workers.spare_ready(),
            capturing: self.workers.active_ids(),
            stuck_children: (self.abandoned.reap() + self.workers.lingering(clock::mono())) as u64,
            events: self.counts.events.clone(),
            snapshots: self.counts.snapshots,
            last_snapshots: self.counts.last.iter().cloned().collect(),
            log: self.counts.log.iter().cloned().collect(),
            losses: self.all_losses(),
            limits: self.identity.limits.clone(),
        }
    }
}

/// An event in one line.
pub(super) fn brief(event: &Event) -> String {
    let task = match (&event.comm, event.pid) {
        (Some(comm), Some(pid)) => format!(" ({comm}, pid {pid})"),
        (Some(comm), None) => format!(" ({comm})"),
        (None, Some(pid)) => format!(" (pid {pid})"),
        (None, None) => String::new(),
    };
    let old = if event.old { ", logged before this start" } else { "" };
    format!("{} on {}: {}{task}{old}", event.kind, event.host, event.title)
}
