//! Datagrams of other hosts' netconsole: read in the loop, a bounded number at a time.

use crate::daemon::core::Core;
use crate::model::{Losses, Mono, Record};
use crate::source::Netconsole;
use crate::sys::clock;
use std::io;
use std::time::Duration;

/// Datagrams taken before the loop looks elsewhere. One takes some microseconds.
const DATAGRAMS_BATCH: usize = 64;
/// How often losses are told, at most: who sends may be hostile.
const LOSSES_EVERY: Duration = Duration::from_secs(2);
/// Not told each time: the console's log level leaves holes as well, and on most machines all the time.
const MISSING: &str = "netconsole_missing_records";

impl Core {
    pub(super) fn read_netconsole(&mut self) {
        let (now, wall) = (clock::mono(), clock::wall());
        self.with_netconsole(now, |n, out| n.read_batch(DATAGRAMS_BATCH, now, wall, out).map(|_| ()));
    }

    /// What the intake held back and is due, and what was lost.
    pub(super) fn tick_netconsole(&mut self, now: Mono) {
        let Some(Ok(netconsole)) = &mut self.netconsole else { return };
        let told = now.since(self.netconsole_told_at) >= LOSSES_EVERY;
        let losses = if told { netconsole.losses() } else { Losses::default() };
        if netconsole.next_due().is_some_and(|due| due <= now) {
            self.with_netconsole(now, |n, out| {
                n.tick(now, clock::wall(), out);
                Ok(())
            });
        }
        if told {
            self.netconsole_told_at = now;
            self.lose_netconsole(losses);
        }
    }

    pub(super) fn netconsole_due(&self) -> Option<Mono> {
        match &self.netconsole {
            Some(Ok(netconsole)) => netconsole.next_due(),
            _ => None,
        }
    }

    fn with_netconsole(&mut self, now: Mono, f: impl FnOnce(&mut Netconsole, &mut Vec<Record>) -> io::Result<()>) {
        let Some(Ok(netconsole)) = &mut self.netconsole else { return };
        let mut records = std::mem::take(&mut self.records);
        let done = f(netconsole, &mut records);
        self.counts.netconsole_records += records.len() as u64;
        for record in records.drain(..) {
            self.detector.feed(&record, now, &mut self.found);
        }
        self.records = records;
        if let Err(e) = done {
            // Its descriptor goes with it, and out of the epoll.
            let text = format!("read netconsole datagrams: {e}");
            self.netconsole = Some(Err(text.clone()));
            self.say(log::Level::Error, text);
        }
    }

    fn lose_netconsole(&mut self, mut losses: Losses) {
        if let Some(n) = losses.counts.remove(MISSING) {
            if !self.losses.counts.contains_key(MISSING) {
                let text = format!(
                    "{n} {MISSING}: lost on the way, or not sent for the log level of the sender's console; more are \
                     counted in the status and not told"
                );
                self.say(log::Level::Warn, text);
            }
            self.losses.add(MISSING, n);
        }
        self.lose(losses);
    }
}
