//! Why a store cannot be used, with what to do about it.

use std::io;
use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{operation} {}: {cause}", path.display())]
    Io { operation: &'static str, path: PathBuf, cause: io::Error },
    /// The directory exists but must not be used as it is.
    #[error("store {}: {why}; {remedy}", dir.display())]
    Unsafe { dir: PathBuf, why: String, remedy: String },
    /// No directory at all can be written to. One line per directory tried.
    #[error("no store to write to:{}", tried.iter().map(|t| format!("\n  {t}")).collect::<String>())]
    NoStore { tried: Vec<String> },
    /// `find` met nothing.
    #[error("no snapshot {wanted:?} in {} (`lastgasp list` shows what is there)", dir.display())]
    NotFound { dir: PathBuf, wanted: String },
    #[error("no snapshots in {}", dir.display())]
    Empty { dir: PathBuf },
    /// `find` met several.
    #[error("{wanted:?} is the start of {} snapshots: {}", matches.len(), matches.join(", "))]
    Ambiguous { wanted: String, matches: Vec<String> },
    #[error(transparent)]
    Archive(#[from] crate::archive::Error),
}

impl Error {
    /// The file or directory is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Error::Io { cause, .. } => cause.kind() == io::ErrorKind::NotFound,
            Error::NotFound { .. } | Error::Empty { .. } => true,
            _ => false,
        }
    }
}
