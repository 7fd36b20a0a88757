//! Fire drills: begun by a client, heard like the rest.

use crate::daemon::control::Reply;
use crate::daemon::core::Core;
use crate::daemon::drills::{DRILLS_MAX, Drill};
use crate::model::ProbeReport;
use crate::probe::ProbeOrder;
use crate::source::role::{TailMessage, TailOrder};
use crate::sys::clock;
use std::path::PathBuf;

impl Core {
    pub(super) fn begin_drill(&mut self, client: u32, name: &str, console: PathBuf, probe: &str) -> Result<(), String> {
        if self.drills.len() >= DRILLS_MAX {
            return Err("another fire drill is on".into());
        }
        let mut drill = Drill::new(client, name, console, probe, &self.identity)?;
        let now = clock::mono();
        let consoles = vec![drill.console.clone()];
        // Begun when it says so: the drill writes its lines next.
        let start = TailOrder::Start { consoles, aside: false, state_file: drill.state_file() };
        drill.tail.ensure(now, &mut self.poller, &[start]).map_err(|e| format!("start a tail role: {e}"))?;
        let start = ProbeOrder::start(std::slice::from_ref(&drill.target));
        drill.prober.ensure(now, &mut self.poller, &start).map_err(|e| format!("start a probe role: {e}"))?;
        self.control.subscribe(client);
        self.say(log::Level::Info, format!("fire drill {name} begins"));
        self.drills.push(drill);
        Ok(())
    }

    pub(super) fn hear_drill_tail(&mut self, client: u32) {
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

    pub(super) fn hear_drill_probe(&mut self, client: u32) {
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
}
