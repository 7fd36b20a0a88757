//! What arrives: kernel records, messages of the children, requests of clients.

use crate::daemon::control::{Reply, Request};
use crate::daemon::core::Core;
use crate::daemon::keep::Found;
use crate::daemon::poller::Token;
use crate::model::ProbeReport;
use crate::source::role::TailMessage;
use crate::sys::clock;

/// Records taken from the kernel log before the loop looks elsewhere.
const KERNEL_BATCH: usize = 256;

impl Core {
    pub(super) fn read_kernel(&mut self) {
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
            if !lost.counts.is_empty() {
                self.recount.lost(now);
            }
            self.lose(lost);
        }
    }

    pub(super) fn hear_tail(&mut self) {
        let mut messages = Vec::new();
        let alive = self.tail.messages::<TailMessage>(&mut self.buf, &mut messages);
        let remounted = messages.iter().any(|m| matches!(m, TailMessage::Remounted));
        self.take_tail(messages);
        let over = match remounted {
            true => Some(
                "a file system under the console files was mounted or unmounted; they are taken up where they stood",
            ),
            false if !matches!(alive, Ok(true)) => Some("the tail role ended; it is started again"),
            false => None,
        };
        if let Some(why) = over {
            self.say(log::Level::Warn, why.into());
            let child = self.tail.drop_child(clock::mono(), &mut self.poller);
            self.abandoned.push(child);
        }
    }

    pub(super) fn take_tail(&mut self, messages: Vec<TailMessage>) {
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
                TailMessage::Ready { .. } | TailMessage::Remounted => {}
            }
        }
    }

    pub(super) fn hear_probe(&mut self) {
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

    pub(super) fn hear_keep(&mut self) {
        let mut found = Vec::new();
        let alive = self.keep.messages::<Found>(&mut self.buf, &mut found);
        for found in found {
            match found {
                Found::Told(text) => self.say(log::Level::Info, text),
                Found::Moved { id, host, kind, path, text } => {
                    self.say(log::Level::Warn, text);
                    self.moved(id, host, kind, path);
                }
                Found::Away(n) => self.away.count(n, clock::mono()),
            }
        }
        if !matches!(alive, Ok(true)) {
            let child = self.keep.drop_child(clock::mono(), &mut self.poller);
            self.abandoned.push(child);
        }
    }

    pub(super) fn accept(&mut self) {
        let Some(client) = self.control.accept(clock::mono()) else { return };
        let added = self.control.client_fd(client).map(|fd| self.poller.add(fd, Token::Client(client)));
        if !matches!(added, Some(Ok(()))) {
            self.control.drop_client(client);
        }
    }

    pub(super) fn serve_client(&mut self, client: u32) {
        match self.control.read(client) {
            Ok(None) => {}
            Ok(Some(Request::Status)) => {
                let reply = Reply::Status(Box::new(self.status()));
                self.control.reply(client, &reply);
            }
            Ok(Some(Request::CommandLines)) => {
                let told = match self.workers.command_lines() {
                    Some(file) => self.control.reply_with(client, &Reply::CommandLines, file),
                    None => self.control.reply(client, &Reply::Error("no memory for a cache of command lines".into())),
                };
                if !told {
                    self.drop_client(client);
                }
            }
            Ok(Some(Request::Drill { name, console, probe })) => {
                if let Err(e) = self.begin_drill(client, &name, console, &probe) {
                    self.control.reply(client, &Reply::Error(e));
                }
            }
            Err(_) => self.drop_client(client),
        }
    }

    pub(super) fn drop_client(&mut self, client: u32) {
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
}
