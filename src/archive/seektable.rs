//! The list of frames at the end of a snapshot, in the zstd seekable format (contrib/seekable_format
//! of zstd 1.5): a skippable frame that any zstd reader passes over.
//!
//! ```text
//! 5E 2A 4D 18 | size u32 | (packed u32, unpacked u32) per frame | frames u32 | descriptor 00 | B1 EA 92 8F
//! ```
//!
//! No per-frame checksum here (descriptor 0): each frame carries its own.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const FOOTER_MAGIC: u32 = 0x8F92_EAB1;
const FOOTER: u64 = 9;
const HEADER: u64 = 8;
/// Most frames of an archive; a table claiming more is not believed.
pub(crate) const FRAMES_MAX: usize = 1 << 20;

/// Sizes of one frame in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub packed: u32,
    pub unpacked: u32,
}

pub(crate) fn encode(frames: &[Sizes]) -> Vec<u8> {
    let body = frames.len() * 8 + FOOTER as usize;
    let mut out = Vec::with_capacity(HEADER as usize + body);
    out.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    out.extend_from_slice(&(body as u32).to_le_bytes());
    for f in frames {
        out.extend_from_slice(&f.packed.to_le_bytes());
        out.extend_from_slice(&f.unpacked.to_le_bytes());
    }
    out.extend_from_slice(&(frames.len() as u32).to_le_bytes());
    out.push(0);
    out.extend_from_slice(&FOOTER_MAGIC.to_le_bytes());
    out
}

/// The table at the end of a file of `len` bytes; `None` when there is none, or one that does not
/// account for every byte before it.
pub(crate) fn read(file: &File, len: u64) -> io::Result<Option<Vec<Sizes>>> {
    if len < HEADER + FOOTER {
        return Ok(None);
    }
    let mut footer = [0u8; FOOTER as usize];
    file.read_exact_at(&mut footer, len - FOOTER)?;
    let count = le32(&footer[0..4]) as usize;
    if le32(&footer[5..9]) != FOOTER_MAGIC || count > FRAMES_MAX {
        return Ok(None);
    }
    // Bit 7: eight or twelve bytes per frame. The other bits are reserved and must be zero.
    let each = match footer[4] {
        0 => 8,
        0x80 => 12,
        _ => return Ok(None),
    };
    let body = count as u64 * each + FOOTER;
    let Some(start) = len.checked_sub(HEADER + body) else { return Ok(None) };
    let mut table = vec![0u8; (HEADER + body) as usize];
    file.read_exact_at(&mut table, start)?;
    if le32(&table[0..4]) != SKIPPABLE_MAGIC || u64::from(le32(&table[4..8])) != body {
        return Ok(None);
    }
    let frames: Vec<Sizes> = table[HEADER as usize..(HEADER + body - FOOTER) as usize]
        .chunks_exact(each as usize)
        .map(|c| Sizes { packed: le32(&c[0..4]), unpacked: le32(&c[4..8]) })
        .collect();
    let sum: u64 = frames.iter().map(|f| u64::from(f.packed)).sum();
    Ok((sum == start).then_some(frames))
}

pub(crate) fn le32(b: &[u8]) -> u32 {
    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_table_reads_back_and_a_wrong_one_is_not_believed() {
        let frames = [Sizes { packed: 3, unpacked: 100 }, Sizes { packed: 2, unpacked: 7 }];
        let mut bytes = b"abcde".to_vec();
        bytes.extend_from_slice(&encode(&frames));
        let read_bytes = |b: &[u8]| {
            let mut f = tempfile::tempfile().expect("a temporary file");
            f.write_all(b).expect("write");
            read(&f, b.len() as u64).expect("read")
        };
        assert_eq!(read_bytes(&bytes), Some(frames.to_vec()));
        assert_eq!(read_bytes(&bytes[1..]), None, "five bytes of frames are announced");
        assert_eq!(read_bytes(&bytes[..bytes.len() - 1]), None);
        for i in 0..bytes.len() - 5 {
            let mut flipped = bytes.clone();
            flipped[5 + i] ^= 0x10;
            // Only the unpacked sizes are not cross-checked here; `verify` does that.
            if let Some(found) = read_bytes(&flipped) {
                assert!(found.iter().zip(&frames).all(|(a, b)| a.packed == b.packed));
            }
        }
        assert_eq!(read_bytes(b""), None);
    }
}
