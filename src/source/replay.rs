//! A file, or standard input, as records: what `scan` reads. Streams in constant memory.

use crate::model::{Origin, Record};
use crate::source::Error;
use crate::source::lines::Cutter;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// Bytes read at once; larger gains nothing (a page-cached gigabyte at 64 KiB to 4 MiB differs by noise).
const CHUNK: usize = 256 * 1024;

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub bytes: u64,
    pub records: u64,
    /// Lines that were longer than the cap.
    pub truncated: u64,
}

/// Calls `f` for each line of `path`; `-` is standard input. The record is reused: clone what is to be kept.
/// Control sequences and CRs are removed as for a console ([`crate::source::lines`]).
///
/// Errors: the file cannot be opened or read; `f` has seen what came before.
pub fn for_each_record(path: &str, host: Arc<str>, mut f: impl FnMut(&Record)) -> Result<Replayed, Error> {
    let failed = |source| Error::Read { path: path.into(), source };
    let mut record = Record::plain(Origin::Replay(path.into()), host, Vec::new());
    if path == "-" {
        return stream(io::stdin().lock(), &mut record, &mut f).map_err(failed);
    }
    let file = File::open(Path::new(path)).map_err(failed)?;
    stream(file, &mut record, &mut f).map_err(failed)
}

fn stream(mut from: impl Read, record: &mut Record, f: &mut impl FnMut(&Record)) -> io::Result<Replayed> {
    let mut chunk = vec![0; CHUNK];
    let mut cutter = Cutter::default();
    let mut done = Replayed::default();
    loop {
        let n = match from.read(&mut chunk) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        done.bytes += n as u64;
        let give = |line: crate::source::lines::Line<'_>| {
            record.text.clear();
            record.text.extend_from_slice(line.text);
            record.line = Some(line.number);
            record.truncated = line.truncated;
            done.records += 1;
            done.truncated += u64::from(line.truncated);
            f(record);
        };
        if n == 0 {
            cutter.flush(give);
            return Ok(done);
        }
        cutter.feed(&chunk[..n], usize::MAX, give);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_caps_hold_across_chunks() {
        let mut input = vec![b'x'; CHUNK - 1];
        input.extend_from_slice(b"\r\nsecond\xff\nlast");
        let mut seen = Vec::new();
        let mut record = Record::plain(Origin::Replay("-".into()), "h".into(), Vec::new());
        let done = stream(&input[..], &mut record, &mut |r: &Record| seen.push(r.clone())).expect("memory reads");
        assert_eq!((done.records, done.truncated), (3, 1));
        assert_eq!((seen[1].line, seen[1].text.as_slice()), (Some(2), &b"second\xff"[..]));
        assert_eq!((seen[2].line, seen[2].text.as_slice()), (Some(3), &b"last"[..]));
        assert!(for_each_record("/nonexistent/log", "h".into(), |_| ()).is_err());
    }
}
