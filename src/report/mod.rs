//! Snapshots for people and for programs: everything is rendered into a `&mut dyn Write`, as text or
//! as JSON. Nothing here prints, reads a clock or decides an exit code.
//!
//! Whatever comes out of a log, an archive or a file name is hostile text: it passes [`safe()`] before it
//! reaches a terminal. JSON escapes it by itself.

mod actions;
mod entries;
mod list;
mod safe;
mod show;
mod units;

pub use actions::{Checked, Saved, extracted, pinned, pruned, saved, verified};
pub use entries::entries;
pub use list::{Row, State, list, rows};
pub use safe::{SafeWriter, safe};
pub use show::{Page, show};
pub use units::{age, size, took_ms, when};

use serde::Serialize;
use std::io::{self, Write};

/// Writes any answer as JSON, indented, with a line end.
pub fn json<T: Serialize + ?Sized>(out: &mut dyn Write, value: &T) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}
