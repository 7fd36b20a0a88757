//! Where a collector puts its entries: capped, and on their way to the archive at once, so that
//! what a collector delivered before it hung is kept.

use crate::capture::CollectError;
use crate::capture::content::{Content, Pieces};
use crate::model::{Missing, Wall};
use crate::sys::clock;
use std::sync::mpsc::SyncSender;

/// Most `Missing` lines of one collector; the rest is counted in one last line.
const MISSING_MAX: usize = 200;
/// Where no line ends within so many bytes, a cut entry is cut to the byte.
const LINE_MAX: usize = 64 * 1024;

/// The sink takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    #[error("the collector's cap is reached")]
    Full,
    #[error("the capture goes on without this collector")]
    Cancelled,
}

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Relative path inside the archive.
    pub path: String,
    pub content: Content,
    /// When its content was read.
    pub at: Wall,
    /// Cut at a cap.
    pub truncated: bool,
}

/// What flows from collectors to the archive writer. `collector` is the index in the plan.
#[derive(Debug)]
pub enum Delivery {
    Item {
        collector: usize,
        item: Item,
    },
    Missing {
        collector: usize,
        missing: Missing,
    },
    /// The last of a collector: how it ended, and which of its entries were cut.
    Done {
        collector: usize,
        result: Result<(), CollectError>,
        truncated: Vec<String>,
    },
}

pub struct Sink {
    collector: usize,
    to: SyncSender<Delivery>,
    left_bytes: u64,
    truncated: Vec<String>,
    missing: usize,
}

impl Sink {
    /// A sink for collector number `collector` that takes `cap_bytes` in all.
    pub fn new(collector: usize, cap_bytes: u64, to: SyncSender<Delivery>) -> Sink {
        Sink { collector, to, left_bytes: cap_bytes, truncated: Vec::new(), missing: 0 }
    }

    /// Adds an entry. What exceeds the collector's cap is cut, at the
    /// end of a line where there is one, marked, and ends the collector with `Full`.
    pub fn put(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Result<(), Stop> {
        self.put_cut(path, bytes, false)
    }

    /// As [`Sink::put`], for content that the collector itself already cut (`truncated`).
    pub fn put_cut(
        &mut self,
        path: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
        mut truncated: bool,
    ) -> Result<(), Stop> {
        let mut bytes = bytes.into();
        let room = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        let full = bytes.len() > room;
        if full {
            bytes.truncate(room);
            // Half a line, half an object of JSON: readers of text are spared that.
            if let Some(end) = memchr::memrchr(b'\n', &bytes[bytes.len().saturating_sub(LINE_MAX)..]) {
                let cut = bytes.len() - bytes.len().min(LINE_MAX) + end + 1;
                bytes.truncate(cut);
            }
            truncated = true;
        }
        self.left_bytes = if full { 0 } else { self.left_bytes - bytes.len() as u64 };
        self.deliver(path.into(), bytes.into(), truncated)?;
        if full { Err(Stop::Full) } else { Ok(()) }
    }

    /// As [`Sink::put`], for a text that was written in pieces.
    pub fn put_pieces(&mut self, path: impl Into<String>, pieces: Pieces) -> Result<(), Stop> {
        self.put_pieces_cut(path, pieces, false)
    }

    /// As [`Sink::put_cut`], for a text that was written in pieces.
    pub fn put_pieces_cut(&mut self, path: impl Into<String>, pieces: Pieces, truncated: bool) -> Result<(), Stop> {
        let mut content = pieces.finish();
        let full = content.size() > self.left_bytes;
        if full {
            content.truncate(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
            content.end_with_a_line(LINE_MAX);
        }
        self.left_bytes = if full { 0 } else { self.left_bytes - content.size() };
        self.deliver(path.into(), content, truncated || full)?;
        if full { Err(Stop::Full) } else { Ok(()) }
    }

    fn deliver(&mut self, path: String, content: Content, truncated: bool) -> Result<(), Stop> {
        if truncated {
            self.truncated.push(path.clone());
        }
        let item = Item { path, content, at: clock::wall(), truncated };
        self.to.send(Delivery::Item { collector: self.collector, item }).map_err(|_| Stop::Cancelled)
    }

    /// Notes something that could not be had, while the collector goes on.
    pub fn missing(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.missing += 1;
        let missing = match self.missing {
            n if n < MISSING_MAX => Missing { what: what.into(), why: why.into() },
            MISSING_MAX => Missing { what: "more".into(), why: format!("further lines left out after {MISSING_MAX}") },
            _ => return,
        };
        // A closed channel means that nobody records any more; there is nobody left to tell.
        let _ = self.to.send(Delivery::Missing { collector: self.collector, missing });
    }

    /// Says that the collector has ended; for the supervisor's thread, not for collectors.
    pub fn done(self, result: Result<(), CollectError>) {
        // A closed channel: given up long ago.
        let _ = self.to.send(Delivery::Done { collector: self.collector, result, truncated: self.truncated });
    }

    /// Bytes that still fit.
    pub fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    /// The entries that were cut.
    pub fn truncated(&self) -> &[String] {
        &self.truncated
    }
}
