//! The page of one snapshot: what happened, when, where, what the log said, how the capture went,
//! what is missing, and how to open it.

use crate::archive::{ManifestHead, Problem, Reader};
use crate::model::{Event, Happening, HistoryLine, Incident, Trigger};
use crate::report::list::{plain_table, write_table};
use crate::report::units::{size, took_ms, when};
use crate::report::{json, safe};
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

/// Most lines of the trigger's text on the page; all of them are in incident.json.
const TEXT_MAX: usize = 80;
/// Most functions of the trace on the page.
const FRAMES_MAX: usize = 12;
/// Most further events, and most missing things, on the page.
const LIST_MAX: usize = 40;

/// Everything that the page shows, gathered from one archive.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    pub path: PathBuf,
    pub bytes: u64,
    /// `None` for a file outside the store.
    pub pinned: Option<bool>,
    /// As known at the end of the capture where the manifest tells, else as at its start.
    pub incident: Option<Incident>,
    /// Everything of the manifest but the list of entries.
    pub manifest: Option<ManifestHead>,
    /// Made by something else: it is listed and unpacked, and says nothing of an incident.
    pub foreign: bool,
    /// Entries that can be listed.
    pub entries: u64,
    /// What is wrong with the file, as far as a look at it shows.
    pub problems: Vec<Problem>,
    /// What the store's history says of this incident, oldest first; empty outside the store.
    pub history: Vec<HistoryLine>,
}

impl Page {
    /// Gathers the page. A damaged or foreign archive gives a page with problems, not an error.
    pub fn of(reader: &Reader, pinned: Option<bool>) -> Page {
        let mut problems: Vec<Problem> = reader.cut().into_iter().collect();
        let mut problem = |place: &str, why: String| problems.push(Problem { place: place.into(), why });
        let manifest = reader.manifest().unwrap_or_else(|e| {
            problem("manifest.json", e.to_string());
            None
        });
        let incident = match &manifest {
            Some(m) => Some(m.incident.clone()),
            None if reader.top_dir().is_none() => None,
            None => reader.incident().map_err(|e| problem("incident.json", e.to_string())).ok(),
        };
        let entries = match &manifest {
            Some(m) => m.entries.len(),
            None => reader.entries().len(),
        };
        Page {
            path: reader.path().to_owned(),
            bytes: reader.len(),
            pinned,
            incident,
            manifest: manifest.map(crate::archive::Manifest::into_head),
            foreign: reader.top_dir().is_none(),
            entries: entries as u64,
            problems,
            history: Vec::new(),
        }
    }
}

pub fn show(out: &mut dyn Write, page: &Page, as_json: bool) -> io::Result<()> {
    if as_json {
        return json(out, page);
    }
    match &page.incident {
        Some(incident) => what(out, incident)?,
        None if page.foreign => writeln!(out, "an archive that was not made by lastgasp")?,
        None => writeln!(out, "a snapshot whose incident.json cannot be read")?,
    }
    for line in &page.history {
        let detail = line.detail.as_deref().or(line.title.as_deref()).unwrap_or_default();
        match line.what {
            Happening::Recovered => field(out, "recovered", &format!("{}: {detail}", when(line.at)))?,
            Happening::Followed => field(out, "followed by", &format!("{}: {detail}", when(line.at)))?,
            _ => {}
        }
    }
    file(out, page)?;
    if let Some(incident) = &page.incident {
        told(out, incident)?;
    }
    if let Some(manifest) = &page.manifest {
        collectors(out, manifest)?;
        missing(out, manifest)?;
        losses(out, manifest)?;
    }
    how_to_open(out, page)
}

fn field(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    if value.is_empty() { Ok(()) } else { writeln!(out, "  {name:<10} {}", safe(value)) }
}

fn what(out: &mut dyn Write, i: &Incident) -> io::Result<()> {
    let drill = if i.drill { "FIRE DRILL, no real failure: " } else { "" };
    writeln!(out, "{drill}{}", safe(&i.title))?;
    let event = match &i.trigger {
        Trigger::Event(e) => Some(e),
        Trigger::Manual { .. } => None,
    };
    let severity = event.map_or(String::new(), |e| format!(", {}", e.severity));
    field(out, "kind", &format!("{}{severity}: {}", i.kind, i.kind.doc()))?;
    field(out, "when", &when(i.opened_at))?;
    let seen_by = if i.local { String::new() } else { format!(", seen by {}", i.captured_on) };
    field(out, "host", &format!("{}{seen_by}", i.host))?;
    field(out, "kernel", i.kernel.as_deref().unwrap_or_default())?;
    field(out, "boot", i.boot_id.as_ref().map_or("", |b| &b.0))?;
    if let Trigger::Manual { reason } = &i.trigger {
        field(out, "by hand", if reason.is_empty() { "no reason given" } else { reason })?;
    }
    if let Some(e) = event {
        where_(out, e)?;
    }
    if i.recurrences > 0 {
        let text = format!("{} earlier times since its last snapshot", i.recurrences);
        field(out, "recurred", &text)?;
    }
    for limit in &i.limits {
        field(out, "limit", limit)?;
    }
    Ok(())
}

fn where_(out: &mut dyn Write, e: &Event) -> io::Result<()> {
    field(out, "function", e.function.as_deref().unwrap_or_default())?;
    let task: Vec<String> = [e.comm.clone(), e.pid.map(|p| format!("pid {p}")), e.cpu.map(|c| format!("CPU {c}"))]
        .into_iter()
        .flatten()
        .collect();
    field(out, "task", &task.join(", "))?;
    field(out, "tainted", &tainted(e))?;
    field(out, "modules", &e.modules.join(", "))?;
    field(out, "hardware", e.details.get("hardware").map_or("", String::as_str))?;
    let details: Vec<String> =
        e.details.iter().filter(|(k, _)| *k != "hardware").map(|(k, v)| format!("{k}={v}")).collect();
    field(out, "details", &details.join(" "))?;
    let mut trace: Vec<&str> = e.frames.iter().take(FRAMES_MAX).map(String::as_str).collect();
    if e.frames.len() > FRAMES_MAX {
        trace.push("…");
    }
    field(out, "trace", &trace.join(" < "))?;
    let mut source = e.origin.to_string();
    if let Some(seq) = e.seq {
        source.push_str(&format!(" record {seq}"));
    }
    if let Some(line) = e.line {
        source.push_str(&format!(" line {line}"));
    }
    if let Some(stamp) = &e.timestamp {
        source.push_str(&format!(", stamped {stamp}"));
    }
    field(out, "source", &source)?;
    field(out, "rule", &format!("{}, signature {}", e.rule, e.signature))?;
    if e.old {
        field(
            out,
            "note",
            "it was logged before lastgasp started: the snapshot shows the machine some time afterwards",
        )?;
    }
    if e.corrupted {
        field(out, "note", "its text is cut, interleaved or without frames")?;
    }
    Ok(())
}

/// `G        W  OE: warning happened before, out-of-tree module, unsigned module`.
fn tainted(e: &Event) -> String {
    let Some(letters) = &e.tainted else { return String::new() };
    let words = crate::model::taint::words(letters).join(", ");
    if words.is_empty() { letters.clone() } else { format!("{letters}: {words}") }
}

fn file(out: &mut dyn Write, page: &Page) -> io::Result<()> {
    let id = page.incident.as_ref().map_or(String::new(), |i| format!("{}, ", i.id));
    let pinned = if page.pinned == Some(true) { ", pinned" } else { "" };
    field(out, "snapshot", &format!("{id}{} packed, {} entries{pinned}", size(page.bytes), page.entries))?;
    if let Some(first) = page.incident.as_ref().and_then(|i| i.follows.as_ref()) {
        field(out, "follows", &format!("{first}, which was complete when this was logged"))?;
    }
    if let Some(m) = &page.manifest {
        let mut steps: Vec<String> = m
            .tiers
            .iter()
            .map(|t| match t.durable_ms {
                Some(ms) => format!("{} on disk after {}", t.tier, took_ms(ms)),
                None if m.salvaged.is_some() => format!("{} kept whole", t.tier),
                None => format!("{} never on disk", t.tier),
            })
            .collect();
        if m.salvaged.is_none() {
            steps.push(format!("all after {}", took_ms(m.total_ms)));
        }
        field(out, "capture", &steps.join(", "))?;
        field(out, "SALVAGED", m.salvaged.as_deref().unwrap_or_default())?;
        for note in &m.notes {
            field(out, "note", note)?;
        }
    }
    for p in &page.problems {
        field(out, "DAMAGED", &p.to_string())?;
    }
    field(out, "file", &page.path.to_string_lossy())
}

fn told(out: &mut dyn Write, i: &Incident) -> io::Result<()> {
    if let Trigger::Event(e) = &i.trigger {
        // The manifest's incident may hold the complete report under the same number.
        let complete = i.events.iter().find(|f| f.number == e.number && f.text.len() > e.text.len());
        let text = complete.map_or(&e.text, |f| &f.text);
        if !text.is_empty() {
            writeln!(out, "\nWhat was logged")?;
            for line in text.iter().take(TEXT_MAX) {
                writeln!(out, "  | {}", safe(line))?;
            }
            if text.len() > TEXT_MAX {
                writeln!(out, "  … {} lines more in incident.json", text.len() - TEXT_MAX)?;
            }
        }
    }
    if !i.events.is_empty() {
        writeln!(out, "\nWhat followed")?;
        let mut table = plain_table(&["  WHEN", "KIND", "SEVERITY", "WHAT"]);
        for e in i.events.iter().take(LIST_MAX) {
            let at = e.seen_at.map_or_else(
                || e.timestamp.clone().unwrap_or_default(),
                |t| t.utc().map_or(String::new(), |t| t.format("%H:%M:%S%.3f UTC").to_string()),
            );
            let at = format!("  {}", safe(&at));
            table.add_row([&at, e.kind.name(), e.severity.name(), safe(&e.title).as_ref()]);
        }
        write_table(out, &table)?;
        let more = i.events.len().saturating_sub(LIST_MAX) as u64 + i.events_left_out;
        if more > 0 {
            writeln!(out, "  … {more} events more")?;
        }
    }
    Ok(())
}

fn collectors(out: &mut dyn Write, m: &ManifestHead) -> io::Result<()> {
    if m.collectors.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nHow the collectors ended")?;
    let mut table = plain_table(&["  COLLECTOR", "TIER", "AT", "TOOK", "BYTES", "ENTRIES", "OUTCOME"]);
    for c in &m.collectors {
        table.add_row([
            format!("  {}", safe(&c.name)),
            safe(&c.tier).into_owned(),
            took_ms(c.started_ms),
            took_ms(c.took_ms),
            size(c.bytes),
            c.entries.to_string(),
            safe(&c.outcome.to_string()).into_owned(),
        ]);
    }
    write_table(out, &table)
}

fn missing(out: &mut dyn Write, m: &ManifestHead) -> io::Result<()> {
    let all: Vec<_> = m.collectors.iter().flat_map(|c| c.missing.iter().map(move |x| (c, x))).collect();
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWhat is missing, and why")?;
    for (c, x) in all.iter().take(LIST_MAX) {
        writeln!(out, "  {}: {}: {}", safe(&c.name), safe(&x.what), safe(&x.why))?;
    }
    if all.len() > LIST_MAX {
        writeln!(out, "  … {} things more in manifest.json", all.len() - LIST_MAX)?;
    }
    Ok(())
}

fn losses(out: &mut dyn Write, m: &ManifestHead) -> io::Result<()> {
    let mut counts = m.incident.losses.counts.clone();
    // The manifest's own count is the later one.
    counts.extend(m.losses.counts.iter().map(|(k, n)| (k.clone(), *n)));
    if counts.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWhat was lost before it could be read, or not captured")?;
    for (cause, n) in &counts {
        writeln!(out, "  {}: {n}", safe(cause))?;
    }
    Ok(())
}

fn how_to_open(out: &mut dyn Write, page: &Page) -> io::Result<()> {
    let path = page.path.to_string_lossy();
    let path = shell_word(&safe(&path));
    // A file outside the store has no id that would find it.
    let id = match (&page.incident, page.pinned) {
        (Some(i), Some(_)) => safe(&i.id.0).into_owned(),
        _ => path.clone(),
    };
    writeln!(out, "\nTo look into it")?;
    writeln!(out, "  lastgasp show {id} --entries")?;
    writeln!(out, "  lastgasp extract {id}")?;
    writeln!(out, "  tar --zstd -xf {path}")
}

/// Quoted for a POSIX shell where need be.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_spaces_can_be_pasted() {
        assert_eq!(shell_word("/var/lib/x.tar.zst"), "/var/lib/x.tar.zst");
        assert_eq!(shell_word("/a b/it's"), r"'/a b/it'\''s'");
    }
}
