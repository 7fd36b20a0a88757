//! Where the zstd frames of a file lie, and their unpacked bytes as one stream.
//!
//! With a seek table that is told; without, the block headers are walked (RFC 8878 section 3.1.1),
//! which unpacks nothing and finds where a cut file stops being whole.

use crate::archive::seektable::{self, FRAMES_MAX, le32};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

pub(crate) const MAGIC: u32 = 0xFD2F_B528;
/// Largest window that a frame may ask for (the default of zstd itself): 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;
const BLOCK_MAX: u64 = 128 * 1024;

/// One frame with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub at: u64,
    pub packed: u64,
    /// As the seek table says.
    pub unpacked: Option<u64>,
    /// False for a last frame that the end of the file cuts.
    pub whole: bool,
}

/// The frames of a file.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub frames: Vec<Frame>,
    /// Found by the seek table, which accounts for every byte.
    pub table: bool,
    /// Where and why the walk stopped before the end of the file.
    pub cut: Option<(u64, String)>,
}

/// By the seek table if it is there and believable, else by walking.
pub(crate) fn layout(file: &File, len: u64) -> io::Result<Layout> {
    if let Some(sizes) = seektable::read(file, len)? {
        let mut at = 0;
        let mut frames = Vec::with_capacity(sizes.len());
        for s in sizes {
            let packed = u64::from(s.packed);
            frames.push(Frame { at, packed, unpacked: Some(u64::from(s.unpacked)), whole: true });
            at += packed;
        }
        return Ok(Layout { frames, table: true, cut: None });
    }
    walk(file, len)
}

/// By walking, whatever the seek table says.
pub(crate) fn walk(file: &File, len: u64) -> io::Result<Layout> {
    let mut found = Layout { frames: Vec::new(), table: false, cut: None };
    let mut at = 0;
    while at < len {
        match measure(file, at, len)? {
            Measured::Data(packed) if found.frames.len() < FRAMES_MAX => {
                found.frames.push(Frame { at, packed, unpacked: None, whole: true });
                at += packed;
            }
            Measured::Skippable(packed) => at += packed,
            Measured::Data(_) => {
                found.cut = Some((at, "too many frames".into()));
                break;
            }
            Measured::Broken { data, why } => {
                if data {
                    found.frames.push(Frame { at, packed: len - at, unpacked: None, whole: false });
                }
                found.cut = Some((at, why.into()));
                break;
            }
        }
    }
    Ok(found)
}

enum Measured {
    Data(u64),
    Skippable(u64),
    /// `data`: it begins like a data frame, so its start may be readable.
    Broken {
        data: bool,
        why: &'static str,
    },
}

/// The size of the frame that begins at `at`.
fn measure(file: &File, at: u64, len: u64) -> io::Result<Measured> {
    let broken = |data, why| Ok(Measured::Broken { data, why });
    let mut head = [0u8; 18];
    let have = read_at_most(file, &mut head, at)?;
    if have < 4 {
        return broken(false, "the file ends within a frame's magic number");
    }
    let magic = le32(&head);
    if magic & 0xFFFF_FFF0 == 0x184D_2A50 {
        if have < 8 {
            return broken(false, "the file ends within a skippable frame");
        }
        let size = 8 + u64::from(le32(&head[4..]));
        return if at + size <= len {
            Ok(Measured::Skippable(size))
        } else {
            broken(false, "the file ends within the seek table")
        };
    }
    if magic != MAGIC {
        return broken(false, "no frame begins here");
    }
    let Some(descriptor) = head[..have].get(4).copied() else {
        return broken(true, "the file ends within a frame's header");
    };
    let single = descriptor >> 5 & 1;
    let content_size = match descriptor >> 6 {
        0 => u64::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let dictionary = [0u64, 1, 2, 4][usize::from(descriptor & 3)];
    let mut pos = at + 5 + u64::from(1 - single) + dictionary + content_size;
    loop {
        let mut block = [0u8; 3];
        if read_at_most(file, &mut block, pos)? < 3 {
            return broken(true, "the file ends within this frame");
        }
        let header = u32::from_le_bytes([block[0], block[1], block[2], 0]);
        let size = u64::from(header >> 3);
        let stored = match header >> 1 & 3 {
            1 => 1,
            0 | 2 if size <= BLOCK_MAX => size,
            _ => return broken(true, "this frame has an impossible block"),
        };
        pos += 3 + stored;
        if header & 1 == 1 {
            break;
        }
    }
    if descriptor >> 2 & 1 == 1 {
        pos += 4;
    }
    if pos <= len { Ok(Measured::Data(pos - at)) } else { broken(true, "the file ends within this frame") }
}

fn read_at_most(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut have = 0;
    while have < buf.len() {
        match file.read_at(&mut buf[have..], at + have as u64) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

/// A range of a file, read without moving the file's own position.
#[derive(Debug)]
pub(crate) struct Slice<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl<'a> Slice<'a> {
    pub fn of(file: &'a File, frame: &Frame) -> Slice<'a> {
        Slice { file, at: frame.at, left: frame.packed }
    }
}

impl Read for Slice<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buf[..want], self.at)?;
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

type Decoder<'a> = zstd::stream::read::Decoder<'static, BufReader<Slice<'a>>>;

/// The unpacked bytes of some frames, one after the other. After an error it goes on with the next
/// frame, so that a reader that can find its footing again loses only the bad one.
pub(crate) struct Chain<'a> {
    file: &'a File,
    frames: &'a [Frame],
    /// Indices into `frames`.
    todo: std::vec::IntoIter<usize>,
    current: Option<(usize, Decoder<'a>)>,
    /// Unpacked bytes delivered of the current frame.
    offset: u64,
    /// Unpacked bytes delivered in all, and the most there may be.
    total: u64,
    limit: u64,
    /// Why the current frame gives nothing more: kept, because a decoder that failed once may say
    /// anything when asked again.
    failed: Option<(io::ErrorKind, String)>,
}

impl<'a> Chain<'a> {
    /// `limit`: most bytes to unpack in all; a few KiB can claim to be terabytes.
    pub fn new(file: &'a File, frames: &'a [Frame], which: Vec<usize>, limit: u64) -> Chain<'a> {
        Chain { file, frames, todo: which.into_iter(), current: None, offset: 0, total: 0, limit, failed: None }
    }

    /// The frame that the last byte came from, and how many bytes of it were delivered.
    pub fn place(&self) -> (Option<usize>, u64) {
        (self.current.as_ref().map(|(i, _)| *i), self.offset)
    }

    /// Unpacked bytes delivered so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether it stopped because there was more than the limit.
    pub fn exhausted(&self) -> bool {
        self.total >= self.limit
    }

    /// Gives up the rest of the current frame and opens the next; false when there is none.
    pub fn advance(&mut self) -> io::Result<bool> {
        (self.current, self.offset, self.failed) = (None, 0, None);
        let Some(i) = self.todo.next() else { return Ok(false) };
        let slice = Slice::of(self.file, &self.frames[i]);
        let mut decoder = Decoder::with_buffer(BufReader::with_capacity(32 * 1024, slice))?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        self.current = Some((i, decoder));
        Ok(true)
    }
}

impl Read for Chain<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let room = usize::try_from(self.limit.saturating_sub(self.total)).unwrap_or(usize::MAX);
        if room == 0 {
            return Err(io::Error::other(format!("it unpacks to more than the limit of {} bytes", self.limit)));
        }
        let want = buf.len().min(room);
        loop {
            if let Some((kind, why)) = &self.failed {
                return Err(io::Error::new(*kind, why.clone()));
            }
            if let Some((_, decoder)) = &mut self.current {
                let n = match decoder.read(&mut buf[..want]) {
                    Ok(n) => n,
                    Err(e) => {
                        self.failed = Some((e.kind(), e.to_string()));
                        return Err(e);
                    }
                };
                if n > 0 {
                    self.offset += n as u64;
                    self.total += n as u64;
                    return Ok(n);
                }
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}
