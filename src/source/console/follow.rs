//! One open console file: reads what it has grown by, notices when it was truncated and written anew.
//!
//! A file counts as rewritten when it is shorter than what was read, or when its first bytes or those right
//! before the reading position are not what they were. What was written between the last read and a
//! truncation is gone from this file; the copy that copytruncate left is looked for by the caller.

use crate::model::{Mono, Origin, Record, Wall};
use crate::source::console::siblings::{read_at, start};
use crate::source::console::state::{HEAD_MAX, Head, Position};
use crate::source::lines::{Cutter, Line};
use inotify::WatchDescriptor;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bytes before the reading position that are compared at each read.
const TAIL_MAX: u64 = 64;
/// After this time without growth an unfinished line is given out as it is: a dying machine does not
/// always finish its sentence.
pub const PARTIAL_AFTER: Duration = Duration::from_secs(2);

/// Names a followed file within one run; a younger one has a higher number.
pub type FileId = u64;

/// Why a file is no longer the one under its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// Renamed or deleted; its writer may still have it open.
    Renamed,
    /// A finished copy: read once to its end.
    Copy,
}

/// See the module.
#[derive(Debug)]
pub struct Follow {
    pub path: PathBuf,
    pub host: Arc<str>,
    pub origin: Origin,
    pub file: File,
    pub dev: u64,
    pub ino: u64,
    /// As of the last read; 0: deleted.
    pub links: u64,
    pub retired: Option<Retired>,
    /// It is in the queue of files to be read.
    pub queued: bool,
    /// The file whose lines come before this one's.
    pub after: Option<FileId>,
    pub watch: Option<WatchDescriptor>,
    /// When it last grew, or was opened.
    pub grown: Mono,
    cutter: Cutter,
    read_to: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    old_until: u64,
}

/// How a turn at reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to read now.
    More,
    AtEnd,
    /// Nothing was read: the content is another one. [`Follow::rewind`] or [`Follow::move_to_copy`] next.
    Rewritten,
}

/// Opens a regular file for reading. Errors: those of open(2), and `InvalidInput` for anything else: a FIFO
/// would lose its data to us, a device might act on being opened.
pub fn open(path: &Path) -> io::Result<File> {
    let check = |regular: bool| {
        if regular { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")) }
    };
    check(std::fs::metadata(path)?.is_file())?;
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    check(file.metadata()?.is_file())?;
    Ok(file)
}

impl Follow {
    /// Follows `file` from byte `from`; lines that end before `old_until` are old.
    pub fn new(path: &Path, host: Arc<str>, file: File, from: u64, old_until: u64, now: Mono) -> io::Result<Follow> {
        let meta = file.metadata()?;
        let mut tail = vec![0; from.min(TAIL_MAX) as usize];
        let before = from - tail.len() as u64;
        let n = read_at(&file, &mut tail, before)?;
        tail.truncate(n);
        let cutter = if tail.last() == Some(&b'\r') { Cutter::after_cr() } else { Cutter::default() };
        Ok(Follow {
            origin: Origin::Console(path.to_string_lossy().into()),
            path: path.to_owned(),
            host,
            dev: meta.dev(),
            ino: meta.ino(),
            links: meta.nlink(),
            retired: None,
            queued: false,
            after: None,
            watch: None,
            grown: now,
            cutter,
            read_to: from,
            head: start(&file),
            tail,
            old_until,
            file,
        })
    }

    /// Reads one buffer full at most, and appends at most `max` records.
    ///
    /// Errors: the file cannot be read; nothing is lost, try later.
    pub fn turn(
        &mut self,
        buffer: &mut [u8],
        max: usize,
        now: Mono,
        read_at_wall: Wall,
        out: &mut Vec<Record>,
    ) -> io::Result<Turn> {
        let meta = self.file.metadata()?;
        self.links = meta.nlink();
        if meta.size() < self.read_to || !self.same_head(buffer)? {
            return Ok(Turn::Rewritten);
        }
        let known = self.tail.len();
        let n = read_at(&self.file, buffer, self.read_to - known as u64)?;
        if n < known || buffer[..known] != self.tail {
            return Ok(Turn::Rewritten);
        }
        let mut data = &buffer[known..n];
        let mut more = n == buffer.len();
        let old = self.read_to < self.old_until;
        if old {
            // Old and new lines never share a turn.
            let left = usize::try_from(self.old_until - self.read_to).unwrap_or(usize::MAX);
            more |= left < data.len();
            data = &data[..left.min(data.len())];
        }
        if data.is_empty() {
            return Ok(Turn::AtEnd);
        }
        let origin = &self.origin;
        let host = &self.host;
        let took = self.cutter.feed(data, max, |line| out.push(record(origin, host, line, read_at_wall, old)));
        more |= took < data.len();
        self.read_to += took as u64;
        let seen = &buffer[..known + took];
        self.tail.clear();
        self.tail.extend_from_slice(&seen[seen.len().saturating_sub(TAIL_MAX as usize)..]);
        self.grown = now;
        Ok(if more { Turn::More } else { Turn::AtEnd })
    }

    fn same_head(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let n = read_at(&self.file, &mut buffer[..HEAD_MAX], 0)?;
        let start = &buffer[..n];
        if !start.starts_with(&self.head) {
            return Ok(false);
        }
        self.head.extend_from_slice(&start[self.head.len()..]);
        Ok(true)
    }

    /// Whether a line has begun and not ended.
    pub fn has_partial(&self) -> bool {
        self.cutter.pending() > 0
    }

    /// Gives out the unfinished line, if any.
    pub fn flush(&mut self, read_at: Wall, out: &mut Vec<Record>) {
        let old = self.read_to <= self.old_until;
        let (origin, host) = (&self.origin, &self.host);
        self.cutter.flush(|line| out.push(record(origin, host, line, read_at, old)));
    }

    /// Starts again at the beginning, as of a new file.
    pub fn rewind(&mut self) {
        self.cutter = Cutter::default();
        self.read_to = 0;
        self.head.clear();
        self.tail.clear();
        self.old_until = 0;
    }

    /// Goes on reading in `copy`, which holds what this file held; this one is rewound.
    pub fn move_to_copy(&mut self, copy: File, now: Mono) -> io::Result<Follow> {
        let meta = copy.metadata()?;
        let moved = Follow {
            path: self.path.clone(),
            host: self.host.clone(),
            origin: self.origin.clone(),
            file: copy,
            dev: meta.dev(),
            ino: meta.ino(),
            links: meta.nlink(),
            retired: Some(Retired::Copy),
            queued: false,
            after: self.after,
            watch: None,
            grown: now,
            cutter: std::mem::take(&mut self.cutter),
            read_to: self.read_to,
            head: std::mem::take(&mut self.head),
            tail: std::mem::take(&mut self.tail),
            old_until: self.old_until,
        };
        self.rewind();
        Ok(moved)
    }

    /// What identifies the content read so far: its head, how far, and the bytes right before that.
    pub fn fingerprint(&self) -> (Head, u64, &[u8]) {
        (Head::of(&self.head), self.read_to, &self.tail)
    }

    /// Up to where every line was given out.
    pub fn position(&self) -> Position {
        Position {
            path: self.path.to_string_lossy().into_owned(),
            dev: self.dev,
            ino: self.ino,
            offset: self.read_to - self.cutter.pending(),
            head: Head::of(&self.head),
        }
    }
}

fn record(origin: &Origin, host: &Arc<str>, line: Line<'_>, read_at: Wall, old: bool) -> Record {
    let mut record = Record::plain(origin.clone(), host.clone(), line.text);
    record.line = Some(line.number);
    record.truncated = line.truncated;
    record.read_at = Some(read_at);
    record.old = old;
    record
}
