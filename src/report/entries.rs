//! The table of what is in a snapshot.

use crate::archive::Entry;
use crate::report::list::{plain_table, write_table};
use crate::report::units::size;
use crate::report::{json, safe};
use std::io::{self, Write};

pub fn entries(out: &mut dyn Write, entries: &[Entry], as_json: bool) -> io::Result<()> {
    if as_json {
        return json(out, entries);
    }
    let mut table = plain_table(&["SIZE", "READ AT (UTC)", "COLLECTOR", "", "PATH"]);
    for e in entries {
        let at = e.at.and_then(|t| t.utc()).map_or(String::new(), |t| t.format("%Y-%m-%d %H:%M:%S").to_string());
        let mark = match (e.what, e.truncated) {
            ("file", Some(true)) => "cut",
            ("file", _) => "",
            (other, _) => other,
        };
        table.add_row([
            size(e.size),
            at,
            safe(e.collector.as_deref().unwrap_or("")).into_owned(),
            mark.to_owned(),
            safe(&e.path).into_owned(),
        ]);
    }
    write_table(out, &table)
}
