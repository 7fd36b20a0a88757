//! What can go wrong with a snapshot file, said so that the operator knows what is still readable.

use std::io;
use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened or read at all.
    #[error("{operation} {}: {cause}", path.display())]
    Io { operation: &'static str, path: PathBuf, cause: io::Error },
    /// The archive's file could not be written. Fatal for the writer: what was synced before stays good.
    #[error("{operation}: {cause}")]
    Write { operation: &'static str, cause: io::Error },
    /// An earlier write failed, so the file ends in the middle of a frame.
    #[error("write snapshot: an earlier write failed, nothing can follow it")]
    Broken,
    /// More than the format's own limits. The entry is left out; the writer goes on.
    #[error("write snapshot entry {entry:?}: {why}")]
    Refused { entry: String, why: String },
    /// Not a `.tar.zst` file.
    #[error("open {}: {what}, not a snapshot", path.display())]
    Foreign { path: PathBuf, what: String },
    /// A part of the file cannot be decoded; the message says which, and what is readable beside it.
    #[error("{operation} in {}: {why}", path.display())]
    Damaged { operation: String, path: PathBuf, why: String },
    #[error("{} has no entry {entry:?}", path.display())]
    NoEntry { path: PathBuf, entry: String },
    /// The entry is larger than the caller is willing to hold.
    #[error("read {entry:?} in {}: {size} bytes exceed the limit of {cap}", path.display())]
    TooLarge { path: PathBuf, entry: String, size: u64, cap: u64 },
    /// Nothing can be made of an interrupted file: not even its first entry is whole.
    #[error("salvage {}: {why}", path.display())]
    NothingWhole { path: PathBuf, why: String },
}

impl Error {
    /// Whether the disk was full.
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::Io { cause, .. } | Error::Write { cause, .. } => {
                matches!(cause.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
            }
            _ => false,
        }
    }
}
