//! The bytes of an entry on their way to the archive: in one piece, or, for the large texts of a large machine, in
//! pieces that are packed while the rest is still being written.
//!
//! A tar header says how long its entry is, so an entry must be complete before the archive can begin it. On a machine
//! with 50,000 descriptors that is some MB of text a collector, several collectors at a time. Packed at the fastest
//! level they are a thirtieth, for 1 ms of CPU a MB.

use crate::archive::{Body, Effort};
use std::borrow::Cow;
use std::io;
use zstd::bulk::Decompressor;

/// A piece is packed when it is at least so large, in bytes.
const PIECE_BYTES: usize = 128 * 1024;
const LEVEL: i32 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Plain(Vec<u8>),
    /// A zstd frame, and what it unpacks to.
    Packed {
        bytes: Box<[u8]>,
        size: usize,
    },
}

impl Piece {
    fn size(&self) -> usize {
        match self {
            Piece::Plain(bytes) => bytes.len(),
            Piece::Packed { size, .. } => *size,
        }
    }

    fn plain(&self, unpacker: &mut Option<Decompressor<'static>>) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Piece::Plain(bytes) => Ok(Cow::Borrowed(bytes)),
            Piece::Packed { bytes, size } => {
                let unpacker = match unpacker {
                    Some(u) => u,
                    None => unpacker.insert(Decompressor::new()?),
                };
                unpacker.decompress(bytes, *size).map(Cow::Owned)
            }
        }
    }
}

/// All bytes of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    pieces: Vec<Piece>,
    size: usize,
    effort: Effort,
}

impl Content {
    pub fn size(&self) -> u64 {
        self.size as u64
    }

    /// In one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.size);
        let gathered = self.each(&mut |b| {
            all.extend_from_slice(b);
            Ok(())
        });
        gathered.expect("packed by this process from its own memory");
        all
    }

    /// Takes the rest of a line away that [`Content::truncate`] left at the end, if that is no more than `most` bytes.
    pub fn end_with_a_line(&mut self, most: usize) {
        if let Some(Piece::Plain(last)) = self.pieces.last_mut() {
            let from = last.len().saturating_sub(most);
            if let Some(end) = memchr::memrchr(b'\n', &last[from..]) {
                self.size -= last.len() - (from + end + 1);
                last.truncate(from + end + 1);
            }
        }
    }

    /// Keeps the first `room` bytes.
    pub fn truncate(&mut self, room: usize) {
        let mut kept = 0;
        let mut at = 0;
        while at < self.pieces.len() && kept + self.pieces[at].size() <= room {
            kept += self.pieces[at].size();
            at += 1;
        }
        if at < self.pieces.len() {
            let part = self.pieces[at].plain(&mut None).map(|p| p[..room - kept].to_vec()).unwrap_or_default();
            kept += part.len();
            self.pieces.truncate(at);
            self.pieces.push(Piece::Plain(part));
        }
        self.size = self.size.min(kept);
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content { size: bytes.len(), pieces: vec![Piece::Plain(bytes)], effort: Effort::Quick }
    }
}

impl Body for Content {
    fn size(&self) -> u64 {
        self.size as u64
    }

    fn each(&self, to: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut unpacker = None;
        self.pieces.iter().try_for_each(|p| to(&p.plain(&mut unpacker)?))
    }

    fn effort(&self) -> Effort {
        self.effort
    }
}

/// Content that is being written.
#[derive(Default)]
pub struct Pieces {
    done: Content,
    open: Vec<u8>,
    packer: Option<zstd::bulk::Compressor<'static>>,
}

impl Pieces {
    /// For a table whose compression is worth that much.
    pub fn new(effort: Effort) -> Pieces {
        Pieces { done: Content { effort, ..Content::default() }, ..Pieces::default() }
    }

    /// Where to write on: append only. After a line or some, call [`Pieces::pack`].
    pub fn open(&mut self) -> &mut Vec<u8> {
        &mut self.open
    }

    /// Bytes so far.
    pub fn size(&self) -> usize {
        self.done.size + self.open.len()
    }

    /// Packs what was written if that is enough for a piece.
    pub fn pack(&mut self) {
        if self.open.len() < PIECE_BYTES {
            return;
        }
        if self.packer.is_none() {
            self.packer = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        let size = self.open.len();
        self.done.size += size;
        // Without memory for the packer the text stays as it is.
        let piece = match self.packer.as_mut().and_then(|p| p.compress(&self.open).ok()) {
            Some(bytes) => {
                self.open.clear();
                Piece::Packed { bytes: bytes.into(), size }
            }
            None => Piece::Plain(std::mem::take(&mut self.open)),
        };
        self.done.pieces.push(piece);
    }

    pub fn finish(mut self) -> Content {
        self.done.size += self.open.len();
        self.open.shrink_to_fit();
        self.done.pieces.push(Piece::Plain(self.open));
        self.done
    }
}

/// Packs and unpacks a piece, so that the code for it is in memory before the process locks what it has.
pub fn warm_up() {
    let mut pieces = Pieces::default();
    while pieces.open().len() < PIECE_BYTES {
        pieces.open().extend_from_slice(b"warm-up\n");
    }
    pieces.pack();
    // Nothing here can fail but the allocator, and then the capture itself will say so.
    let _ = pieces.finish().each(&mut |_| Ok(()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: usize) -> (Content, Vec<u8>) {
        let (mut pieces, mut plain) = (Pieces::default(), Vec::new());
        for n in 0..lines {
            let line = format!("line {n} of a text that repeats itself\n");
            pieces.open().extend_from_slice(line.as_bytes());
            pieces.pack();
            plain.extend_from_slice(line.as_bytes());
        }
        (pieces.finish(), plain)
    }

    #[test]
    fn pieces_come_back_as_they_were_written_and_are_small_meanwhile() {
        let (content, plain) = text(20_000);
        assert_eq!((content.size(), content.to_vec() == plain), (plain.len() as u64, true));
        let held: usize = content
            .pieces
            .iter()
            .map(|p| match p {
                Piece::Plain(b) => b.capacity(),
                Piece::Packed { bytes, .. } => bytes.len(),
            })
            .sum();
        assert!(held < PIECE_BYTES + plain.len() / 5, "{held} bytes held of {}", plain.len());
        assert_eq!(text(1).0.to_vec(), text(1).1);
        assert_eq!(Content::from(plain.clone()).to_vec(), plain);
    }

    #[test]
    fn a_cut_keeps_the_start() {
        for room in [0, 1, PIECE_BYTES, 3 * PIECE_BYTES + 17, usize::MAX] {
            let (mut content, plain) = text(20_000);
            content.truncate(room);
            let want = &plain[..room.min(plain.len())];
            assert_eq!((content.size(), content.to_vec() == want), (want.len() as u64, true), "{room}");
        }
    }
}
