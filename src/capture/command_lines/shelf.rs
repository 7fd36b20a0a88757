//! The file in memory that the cache lies in between two workers.
//!
//! ```text
//! slot 0 at 0, slot 1 at SLOT_BYTES, each:
//!   magic 8 | sequence u64 | length u64 | sum u64 (FNV-1a of sequence and body) | body
//! ```
//!
//! A writer fills the older slot, a reader takes the newest that is whole. So a writer that dies half-way, or that
//! is read meanwhile, costs one state. Nothing here waits: the file is in memory and has no locks.

use crate::capture::command_lines::{BYTES_MAX, CommandLines};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: &[u8; 8] = b"LGLINES1";
const HEAD_BYTES: usize = 32;
const SLOT_BYTES: u64 = (BYTES_MAX + 4096) as u64;

/// The file; pages that were never written cost nothing.
#[derive(Debug)]
pub struct Shelf(File);

impl Shelf {
    pub fn new(file: File) -> Shelf {
        Shelf(file)
    }

    /// The newest whole state, and its number; nothing yet: an empty one.
    pub fn load(&self) -> (CommandLines, u64) {
        match self.newest() {
            Some((sequence, body)) => (CommandLines::decode(&body), sequence),
            None => (CommandLines::default(), 0),
        }
    }

    /// Puts a state beside the newest one.
    pub fn store(&self, lines: &CommandLines) -> io::Result<()> {
        let sequence = self.newest().map_or(0, |(n, _)| n) + 1;
        let body = lines.encode();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
        bytes.extend_from_slice(MAGIC);
        for word in [sequence, body.len() as u64, sum(sequence, &body)] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&body);
        self.0.write_all_at(&bytes, sequence % 2 * SLOT_BYTES)
    }

    fn newest(&self) -> Option<(u64, Vec<u8>)> {
        [0, 1].into_iter().filter_map(|slot| self.slot(slot)).max_by_key(|(sequence, _)| *sequence)
    }

    fn slot(&self, slot: u64) -> Option<(u64, Vec<u8>)> {
        let mut head = [0u8; HEAD_BYTES];
        self.0.read_exact_at(&mut head, slot * SLOT_BYTES).ok()?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes of 32"));
        let (sequence, length, expected) = (word(8), word(16), word(24));
        if head[..8] != *MAGIC || length > BYTES_MAX as u64 {
            return None;
        }
        let mut body = vec![0u8; length as usize];
        self.0.read_exact_at(&mut body, slot * SLOT_BYTES + HEAD_BYTES as u64).ok()?;
        (sum(sequence, &body) == expected).then_some((sequence, body))
    }
}

/// FNV-1a, 64 bits: against torn writes, not against an enemy.
fn sum(sequence: u64, body: &[u8]) -> u64 {
    let bytes = sequence.to_le_bytes();
    bytes.iter().chain(body).fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::command_lines::tests::line;

    #[test]
    fn the_newest_whole_state_is_found_whatever_became_of_the_other() {
        let file = File::from(crate::sys::memfd::create(c"test").expect("a memfd"));
        let shelf = Shelf::new(file.try_clone().expect("a second handle"));
        assert_eq!(shelf.load(), (CommandLines::default(), 0));
        let mut states = Vec::new();
        for n in 1..=3u64 {
            let mut lines = CommandLines::default();
            for pid in 1..=n {
                lines.put(pid as i32, line(n, "a b c"));
            }
            shelf.store(&lines).expect("store");
            assert_eq!(shelf.load(), (lines.clone(), n));
            states.push(lines);
        }
        // A writer that died in the middle of number 3: number 2 is still there.
        file.write_all_at(b"!", SLOT_BYTES + HEAD_BYTES as u64 + 4).expect("damage");
        assert_eq!(shelf.load(), (states[1].clone(), 2));
        shelf.store(&states[0]).expect("store");
        assert_eq!(shelf.load(), (states[0].clone(), 3));
        file.set_len(10).expect("cut");
        assert_eq!(shelf.load().1, 0);
    }
}
