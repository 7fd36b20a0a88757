//! An event of a log, as a line of text or of JSON.

use crate::cli::Format;
use crate::model::{Event, taint};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// One event as a line of JSON. The keys are part of the output format.
#[derive(Serialize)]
struct Row<'a> {
    file: &'a str,
    line: Option<u64>,
    kind: &'a str,
    severity: &'a str,
    alarm: bool,
    title: &'a str,
    function: Option<&'a str>,
    signature: &'a str,
    comm: Option<&'a str>,
    pid: Option<i32>,
    cpu: Option<u32>,
    tainted: Option<&'a str>,
    taint_words: Vec<String>,
    kernel: Option<&'a str>,
    timestamp: Option<&'a str>,
    host: &'a str,
    corrupted: bool,
    panicked: bool,
    frames: &'a [String],
    modules: &'a [String],
    details: &'a BTreeMap<String, String>,
    last_line: Option<u64>,
}

pub fn event(file: &str, e: &Event, format: Format, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Json => {
            let row = Row {
                file,
                line: e.line,
                kind: e.kind.name(),
                severity: e.severity.name(),
                alarm: e.alarm,
                title: &e.title,
                function: e.function.as_deref(),
                signature: &e.signature.0,
                comm: e.comm.as_deref(),
                pid: e.pid,
                cpu: e.cpu,
                tainted: e.tainted.as_deref(),
                taint_words: e.tainted.as_deref().map(taint::words).unwrap_or_default(),
                kernel: e.kernel.as_deref(),
                timestamp: e.timestamp.as_deref(),
                host: &e.host,
                corrupted: e.corrupted,
                panicked: e.panicked,
                frames: &e.frames,
                modules: &e.modules,
                details: &e.details,
                last_line: e.last_line,
            };
            crate::report::json_line(out, &row)
        }
        Format::Text => writeln!(out, "{}", text_line(file, e)),
    }
}

/// Details that a line of text shows.
const IN_TEXT: &[&str] = &[
    "device",
    "sector",
    "command",
    "sense_key",
    "sense",
    "server",
    "interface",
    "victim",
    "memcg",
    "wait_s",
    "blocked_on",
    "owner",
    "bank",
    "mca_error",
    "pcie_error",
    "location",
    "panic",
    "repeats",
];

/// `console.log:12: oops fatal unable to handle page fault in foo [#3f…] comm/12 cpu 1, panicked`.
fn text_line(file: &str, e: &Event) -> String {
    let mut s = format!("{file}:{}: {} {} {}", e.line.unwrap_or(0), e.kind.name(), e.severity.name(), e.title);
    if let Some(f) = &e.function
        && !e.title.ends_with(f.as_str())
    {
        s.push_str(&format!(" ({f})"));
    }
    if let Some(at) = &e.timestamp {
        s.push_str(&format!(" at {at}"));
    }
    match (&e.comm, e.pid) {
        (Some(comm), Some(pid)) => s.push_str(&format!(", task {comm}/{pid}")),
        (Some(comm), None) => s.push_str(&format!(", task {comm}")),
        (None, Some(pid)) => s.push_str(&format!(", pid {pid}")),
        (None, None) => {}
    }
    for key in IN_TEXT {
        if let Some(value) = e.details.get(*key) {
            s.push_str(&format!(", {key} {value}"));
        }
    }
    for (flag, word) in [(e.panicked, "panicked"), (e.corrupted, "corrupted"), (!e.alarm, "no alarm")] {
        if flag {
            s.push_str(&format!(", {word}"));
        }
    }
    s.push_str(&format!(" [{}]", e.signature));
    // Nothing that a log holds may steer the terminal.
    crate::report::safe(&s).into_owned()
}
