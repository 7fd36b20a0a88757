//! Snapshots for people and for programs: everything is rendered into a `&mut dyn Write`, as text or
//! as JSON. Nothing here prints, reads a clock or decides an exit code.
//!
//! Whatever comes out of a log, an archive or a file name is hostile text: it passes [`safe()`] before it
//! reaches a terminal. JSON is text as well: it passes [`safe_json()`].

mod actions;
mod entries;
mod list;
mod safe;
mod show;
mod units;

pub use actions::{Checked, Saved, extracted, pinned, pruned, saved, verified};
pub use entries::entries;
pub use list::{Row, State, list, rows};
pub use safe::{SafeWriter, safe, safe_json, safe_lines};
pub use show::{Page, show};
pub use units::{age, size, took_ms, when};

use serde::Serialize;
use std::io::{self, Write};

/// Writes any answer as JSON, indented, with a line end.
pub fn json<T: Serialize + ?Sized>(out: &mut dyn Write, value: &T) -> io::Result<()> {
    out.write_all(safe_json(&serde_json::to_string_pretty(value)?).as_bytes())?;
    out.write_all(b"\n")
}

/// The same on one line.
pub fn json_line<T: Serialize + ?Sized>(out: &mut dyn Write, value: &T) -> io::Result<()> {
    out.write_all(safe_json(&serde_json::to_string(value)?).as_bytes())?;
    out.write_all(b"\n")
}
