//! `history.jsonl` beside the state file: a JSON object a line, appended and flushed as it happens,
//! so that it tells after a crash what was seen last. Two files of at most [`FILE_MAX`] bytes.

use crate::model::HistoryLine;
use crate::model::text::safe_json;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Some four thousand lines; then it becomes `history.1.jsonl`, and the one before goes.
pub const FILE_MAX: u64 = 1 << 20;
/// Name of the present file.
pub const FILE: &str = "history.jsonl";
/// Name of the one before.
pub const FILE_BEFORE: &str = "history.1.jsonl";

/// Appends `line` in `dir`, durably.
pub fn append(dir: &Path, line: &HistoryLine) -> io::Result<()> {
    let path = dir.join(FILE);
    let json = serde_json::to_string(line).map_err(io::Error::other)?;
    // It is read with `cat` and `tail`.
    let mut bytes = safe_json(&json).into_owned().into_bytes();
    bytes.push(b'\n');
    let mut file = open(&path)?;
    // Power lost in the middle of a line must not cost the next one as well.
    let len = file.metadata()?.len();
    let mut last = [0u8];
    if len > 0 && file.read_exact_at(&mut last, len - 1).is_ok() && last != *b"\n" {
        bytes.insert(0, b'\n');
    }
    if len + bytes.len() as u64 > FILE_MAX {
        std::fs::rename(&path, dir.join(FILE_BEFORE))?;
        file = open(&path)?;
    }
    file.write_all(&bytes)?;
    file.sync_data()
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// The last `max` lines, oldest first; those that are no history (a torn last line) are left out.
pub fn last(dir: &Path, max: usize) -> io::Result<Vec<HistoryLine>> {
    let mut lines = Vec::new();
    for name in [FILE_BEFORE, FILE] {
        match std::fs::read(dir.join(name)) {
            Ok(bytes) => lines.extend(bytes.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    let first = lines.len().saturating_sub(max);
    Ok(lines.split_off(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Happening, Wall};

    fn line(n: i64) -> HistoryLine {
        let detail = Some("x".repeat(1000));
        HistoryLine {
            at: Wall(n),
            what: Happening::Noted,
            host: "h".into(),
            kind: None,
            title: None,
            incident: None,
            detail,
        }
    }

    #[test]
    fn it_keeps_the_newest_within_its_bound_and_skips_a_torn_line() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for n in 0..2500 {
            append(dir.path(), &line(n)).expect("append");
        }
        let size = |name| std::fs::metadata(dir.path().join(name)).expect("exists").len();
        assert!(size(FILE) <= FILE_MAX && size(FILE_BEFORE) <= FILE_MAX);
        OpenOptions::new()
            .append(true)
            .open(dir.path().join(FILE))
            .expect("open")
            .write_all(b"{\"at\":")
            .expect("tear");
        let got = last(dir.path(), 3).expect("read");
        assert_eq!(got.iter().map(|l| l.at.0).collect::<Vec<_>>(), [2497, 2498, 2499]);
        append(dir.path(), &line(2500)).expect("append");
        let got = last(dir.path(), 2).expect("read");
        assert_eq!(got.iter().map(|l| l.at.0).collect::<Vec<_>>(), [2499, 2500], "the torn line cost only itself");
    }
}
