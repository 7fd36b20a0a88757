//! The table of snapshots.

use crate::archive::{Error, Reader};
use crate::model::Wall;
use crate::report::units::{age, short_when, size};
use crate::report::{json, safe};
use crate::store::Stored;
use serde::Serialize;
use std::io::{self, Write};

/// Longest title in the table, in characters.
const TITLE_MAX: usize = 60;

/// What a look into the file showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has an end and a readable head; `verify` looks further.
    Whole,
    /// Its end or its head is not readable.
    Damaged,
    /// Being written, or left by an interrupted capture.
    Partial,
    /// Nothing in it is whole.
    Unreadable,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub stored: Stored,
    /// RFC 3339, UTC.
    pub opened_at: String,
    pub state: State,
    /// From incident.json; `None` where that cannot be read.
    pub title: Option<String>,
    /// A fire drill's.
    pub drill: bool,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// Looks into each snapshot for its title; unpacks the first frame only.
pub fn rows(list: &[Stored]) -> Vec<Row> {
    list.iter().map(row).collect()
}

fn row(stored: &Stored) -> Row {
    let mut row = Row {
        opened_at: stored.at.to_string(),
        stored: stored.clone(),
        state: State::Whole,
        title: None,
        drill: false,
        problem: None,
    };
    match Reader::open(&stored.path) {
        Err(e) => row.problem = Some(short(&e)),
        Ok(reader) => {
            row.problem = reader.cut().map(|p| p.to_string());
            match reader.incident() {
                Ok(incident) => (row.title, row.drill) = (Some(incident.title), incident.drill),
                Err(e) => row.problem = Some(short(&e)),
            }
        }
    }
    row.state = match stored {
        s if s.unreadable => State::Unreadable,
        s if s.partial => State::Partial,
        _ if row.problem.is_some() => State::Damaged,
        _ => State::Whole,
    };
    row
}

/// Without the path, which the row has.
fn short(e: &Error) -> String {
    match e {
        Error::Foreign { what, .. } => what.clone(),
        Error::Damaged { operation, why, .. } => format!("{operation}: {why}"),
        Error::Io { operation, cause, .. } => format!("{operation}: {cause}"),
        other => other.to_string(),
    }
}

/// Newest first, as the rows come.
pub fn list(out: &mut dyn Write, rows: &[Row], now: Wall, as_json: bool) -> io::Result<()> {
    if as_json {
        return json(out, rows);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = plain_table(&["ID", "WHEN", "AGE", "HOST", "KIND", "SIZE", "", "TITLE"]);
    for r in rows {
        let s = &r.stored;
        let title = match (&r.title, r.state) {
            (Some(t), State::Whole) => safe(&shorten(t)).into_owned(),
            (Some(t), State::Partial) => format!("(being written, or interrupted) {}", safe(&shorten(t))),
            (Some(t), _) => format!("(damaged) {}", safe(&shorten(t))),
            (None, State::Partial) => "(being written, or interrupted)".into(),
            (None, State::Unreadable) => "(unreadable)".into(),
            (None, _) => format!("(damaged) {}", safe(&shorten(r.problem.as_deref().unwrap_or_default()))),
        };
        let marks = format!("{}{}", if s.pinned { "pinned" } else { "" }, if r.drill { " drill" } else { "" });
        table.add_row([
            safe(&s.id.0).into_owned(),
            short_when(s.at),
            age(now.since(s.at)),
            safe(&s.host).into_owned(),
            s.kind.name().to_owned(),
            size(s.bytes),
            marks.trim().to_owned(),
            title,
        ]);
    }
    write_table(out, &table)
}

/// A table without lines, whose cells are never wrapped: it may be piped into awk.
pub(crate) fn plain_table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    table
}

/// Without the padding at both ends of each line.
pub(crate) fn write_table(out: &mut dyn Write, table: &comfy_table::Table) -> io::Result<()> {
    for line in table.lines() {
        writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(&line).trim_end())?;
    }
    Ok(())
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= TITLE_MAX {
        return text.to_owned();
    }
    text.chars().take(TITLE_MAX - 1).chain(['…']).collect()
}
