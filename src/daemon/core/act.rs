//! What follows: signals become decisions, decisions orders, and the workers' news is told.

use crate::capture::protocol::Published;
use crate::daemon::control::Reply;
use crate::daemon::core::voice::brief;
use crate::daemon::core::{Core, push};
use crate::daemon::status::LastSnapshot;
use crate::daemon::workers::News;
use crate::incident::Decision;
use crate::model::{Event, Happening, HistoryLine, Incident, IncidentId, Kind, Mono, Signal, Trigger};
use crate::source::role::TailOrder;
use crate::sys::{clock, random};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Lines of history in one window; a storm must not wear the disk out.
const HISTORY_MAX: u32 = 60;
const HISTORY_WINDOW: Duration = Duration::from_secs(10);
/// Services that are down and may recover.
const DOWN_MAX: usize = crate::config::keys::PROBES_MAX;
const SNAPSHOTS_MAX: usize = 20;

impl Core {
    /// Signals → decisions → orders; then what the workers had to say.
    pub(super) fn act(&mut self) {
        let now = clock::mono();
        self.detector.tick(now, &mut self.found);
        self.recount(now);
        for signal in std::mem::take(&mut self.found) {
            self.decide(signal, now);
        }
        while let Some(decision) = self.incidents.follow_up(now, clock::wall(), || IncidentId(random::short_id())) {
            self.carry_out(decision, None);
        }
        for news in std::mem::take(&mut self.news) {
            self.tell(news);
        }
    }

    pub(super) fn decide(&mut self, signal: Signal, now: Mono) {
        if let Signal::Closed(e) = &signal {
            self.recount.found(e);
            *self.counts.events.entry(e.kind).or_default() += 1;
        }
        let host = Arc::clone(&signal.event().host);
        let drill = self.drills.iter().position(|d| d.name == host);
        let incidents = match drill {
            Some(n) => &mut self.drills[n].incidents,
            None => &mut self.incidents,
        };
        let decision = incidents.decide(signal, now, clock::wall(), || IncidentId(random::short_id()));
        self.carry_out(decision, drill);
    }

    /// Does what was decided; `drill`: for this fire drill.
    fn carry_out(&mut self, decision: Decision, drill: Option<usize>) {
        match decision {
            Decision::Capture { mut incident, unfinished } => {
                for (cause, n) in &self.losses.counts {
                    incident.losses.add(cause, *n);
                }
                if let Some(n) = drill {
                    self.drills[n].ids.push(incident.id.clone());
                }
                let old = matches!(&incident.trigger, Trigger::Event(e) if e.old);
                let old = if old { ", logged before this start" } else { "" };
                let after = incident.follows.as_ref().map_or_else(String::new, |id| format!(" after {id}"));
                let (kind, title, host, id) = (incident.kind, &incident.title, &incident.host, &incident.id);
                self.say(log::Level::Error, format!("{kind}: {title} on {host}{old}; taking snapshot {id}{after}"));
                self.remember(HistoryLine {
                    at: incident.opened_at,
                    what: Happening::Incident,
                    host: incident.host.clone(),
                    kind: Some(incident.kind),
                    title: Some(incident.title.clone()),
                    incident: Some(incident.id.clone()),
                    detail: None,
                });
                if let (Kind::ServiceDown, Trigger::Event(event)) = (incident.kind, &incident.trigger) {
                    push(&mut self.down, DOWN_MAX, (event.number, incident.id.clone()));
                }
                self.with_workers(|w, _, g| w.order(incident, unfinished, g));
            }
            Decision::Update { id, event, recurrences } => {
                let losses = self.all_losses();
                if !self.workers.update(&id, &event, recurrences, &losses) {
                    let text = format!("{} belongs to incident {id}, whose snapshot is complete", brief(&event));
                    self.say(log::Level::Warn, text);
                    let line = HistoryLine::of(Happening::Followed, clock::wall(), &event);
                    self.remember(HistoryLine { incident: Some(id), ..line });
                }
            }
            Decision::Later { id, event } => {
                let what = brief(&event);
                self.say(
                    log::Level::Warn,
                    format!("{what} belongs to incident {id}, whose snapshot is complete; a further one follows"),
                );
                let line = HistoryLine::of(Happening::Followed, clock::wall(), &event);
                self.remember(HistoryLine { incident: Some(id), ..line });
            }
            Decision::Note(event) => {
                self.say(log::Level::Info, format!("no alarm: {}", brief(&event)));
                self.remember(HistoryLine::of(Happening::Noted, clock::wall(), &event));
            }
            Decision::Suppress(why, event) => {
                let line = HistoryLine::of(Happening::Suppressed, clock::wall(), &event);
                self.remember(HistoryLine { detail: Some(why.into()), ..line });
                self.say(log::Level::Warn, format!("{}; no snapshot of its own ({why})", brief(&event)));
            }
            Decision::Recovery(event) => self.recovered(&event),
            Decision::Wait => {}
        }
    }

    pub(super) fn recovered(&mut self, event: &Event) {
        let at = self.down.iter().position(|(number, _)| *number == event.number);
        let incident = at.and_then(|at| self.down.remove(at)).map(|(_, id)| id);
        let after = event.details.get("downtime_s").map(|s| format!("answers again after {s} s"));
        let of = incident.as_ref().map(|id| format!(" (incident {id})")).unwrap_or_default();
        self.say(log::Level::Warn, format!("recovered: {}{of}", brief(event)));
        let line = HistoryLine::of(Happening::Recovered, clock::wall(), event);
        self.remember(HistoryLine { incident, detail: after, ..line });
    }

    /// Has a line written into the history, within a rate; the rest is counted.
    pub(super) fn remember(&mut self, line: HistoryLine) {
        let now = clock::mono();
        if now.since(self.history.0) > HISTORY_WINDOW {
            self.history = (now, 0);
        }
        self.history.1 += 1;
        if self.history.1 > HISTORY_MAX || !self.tail.order(&TailOrder::History(Box::new(line))) {
            self.losses.add("history_lines", 1);
        }
    }

    pub(super) fn tell(&mut self, news: News) {
        match news {
            News::Ready { store, notices } => {
                self.away.ready(&store, clock::mono());
                let first = self.counts.store.replace(store.clone());
                if first.as_ref() != Some(&store) {
                    self.say(log::Level::Info, format!("snapshots go to {}", store.display()));
                    for n in notices {
                        self.say(log::Level::Warn, n);
                    }
                }
            }
            News::Published { published, incident, late } => {
                self.keep_wanted |= std::mem::take(&mut self.keep_after_capture);
                let id = published.id.clone();
                self.away.published(&published.path, clock::mono());
                self.published(published, *incident);
                self.incidents.missed(&id, &late, clock::mono());
            }
            News::Durable { id, ms } => {
                let text = format!("snapshot {id}: the first tier is on the disk after {ms} ms");
                self.say(log::Level::Info, text);
            }
            News::Retry { id, error } => {
                // What the worker left is salvaged when the incident is dealt with: until then the next
                // worker wants its name.
                self.keep_after_capture = true;
                self.say(log::Level::Warn, format!("snapshot {id}: {error}; tried again"));
            }
            News::Lost { incident, error } => {
                self.keep_wanted = true;
                self.incidents.complete(&incident.id);
                self.losses.add("capture_failed", 1);
                self.say(log::Level::Error, format!("no snapshot {} of {}: {error}", incident.id, incident.title));
                self.remember(HistoryLine {
                    at: clock::wall(),
                    what: Happening::Lost,
                    host: incident.host,
                    kind: Some(incident.kind),
                    title: Some(incident.title),
                    incident: Some(incident.id),
                    detail: Some(error),
                });
            }
            News::Notice(text) => self.say(log::Level::Warn, text),
        }
    }

    /// A snapshot that had gone to another store lies in its own now.
    pub(super) fn moved(&mut self, id: IncidentId, host: String, kind: Kind, path: PathBuf) {
        let detail = Some(path.display().to_string());
        self.counts.last.iter_mut().filter(|l| l.published.id == id).for_each(|l| l.published.path = path.clone());
        self.remember(HistoryLine {
            at: clock::wall(),
            what: Happening::Moved,
            host,
            kind: Some(kind),
            title: None,
            incident: Some(id),
            detail,
        });
    }

    pub(super) fn published(&mut self, published: Published, incident: Incident) {
        self.counts.snapshots += 1;
        self.incidents.complete(&published.id);
        let t0 = published.t0_durable_ms.map_or_else(|| "never".into(), |ms| format!("after {ms} ms"));
        let text = format!(
            "snapshot {} is in {}: {} bytes, first tier on the disk {t0}, whole after {} ms",
            published.id,
            published.path.display(),
            published.bytes,
            published.total_ms
        );
        self.say(log::Level::Warn, text);
        if let Some(drill) = self.drills.iter().find(|d| d.ids.contains(&published.id)) {
            self.control.reply(drill.client, &Reply::Captured(published.clone()));
        }
        self.remember(HistoryLine {
            at: clock::wall(),
            what: Happening::Captured,
            host: incident.host,
            kind: Some(incident.kind),
            title: Some(incident.title.clone()),
            incident: Some(incident.id),
            detail: Some(published.path.display().to_string()),
        });
        push(
            &mut self.counts.last,
            SNAPSHOTS_MAX,
            LastSnapshot { at: clock::wall(), title: incident.title, published },
        );
    }
}
