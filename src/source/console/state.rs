//! How far each console file was read, kept over restarts.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes at the start of a file that tell it from another one with the same inode number.
pub const HEAD_MAX: usize = 256;

/// Every followed file, in the order in which they are to be finished: rotated ones first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleState {
    pub files: Vec<Position>,
    /// Rotated files read to their end and closed lately: not to be taken for missed ones.
    #[serde(default)]
    pub finished: Vec<Position>,
    /// When this was so, in microseconds since 1970: a file made after it is new, and read from its start, and
    /// so is a rotated one made and left behind since.
    pub at_us: i64,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The path under which it was found; a rotated file keeps it.
    pub path: String,
    pub dev: u64,
    pub ino: u64,
    /// Bytes whose lines were all given out.
    pub offset: u64,
    pub head: Head,
}

/// Fingerprint of the first bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many bytes were there, at most [`HEAD_MAX`].
    pub len: usize,
    /// First 16 hex digits of their SHA-256.
    pub hash: String,
}

impl Head {
    /// Of the first bytes of a file; what exceeds [`HEAD_MAX`] is ignored.
    pub fn of(start: &[u8]) -> Head {
        let start = &start[..start.len().min(HEAD_MAX)];
        let digest = Sha256::digest(start);
        let hash = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        Head { len: start.len(), hash }
    }

    /// Whether a file that starts with `start` is the same file, perhaps grown. Without a single byte
    /// seen, nothing can be said: false.
    pub fn fits(&self, start: &[u8]) -> bool {
        self.len > 0 && self.len <= start.len() && Head::of(&start[..self.len]) == *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grown_file_fits_and_another_does_not() {
        let head = Head::of(b"first line\n");
        assert!(head.fits(b"first line\nsecond\n"));
        assert!(!head.fits(b"First line\nsecond\n"));
        assert!(!head.fits(b"first"));
        assert!(!Head::of(b"").fits(b"first"));
    }
}
