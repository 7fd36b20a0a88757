//! The incident directory: reserve, publish atomically, list, pin, retention (a pure plan), salvage; and the way of a
//! snapshot to the first of several such directories that takes it (`stores`, `relay`), and back home (`home`).
//!
//! ```text
//! /var/lib/lastgasp/                                     0700
//!   web01-20261123T021500Z-hung_task-ab12cd34.tar.zst    0600  a snapshot
//!   web01-20261123T021500Z-hung_task-ab12cd34.pin        0600  empty: that snapshot is kept whatever the limits say
//!   web01-20261123T031500Z-oops-ef56gh78.tar.zst.partial 0600  being written, locked (flock) by its writer
//!   web01-20261122T231500Z-oops-zz99yy88.unreadable      0600  of an interrupted capture, nothing in it is whole
//!   reserve                                              0600  8 MiB held for the day the disk is full; becomes a partial
//! ```
//!
//! There is no index: names say what the list shows, and no file can disagree with them. Files of any
//! other name are ignored and never removed. A partial whose lock nobody holds is dead: `salvage_partials`.

mod dir;
mod error;
mod hand;
mod home;
mod name;
mod open;
mod pending;
mod relay;
mod reserve;
mod retention;
mod salvage;
mod stores;

pub use error::{Error, Result};
pub use home::{Moved, MovedFate};
pub use name::stem;
pub use open::{candidates, default_dir, fallback_dir, open_first, view_first};
pub use pending::{Pending, PendingFile};
pub use relay::{PATIENCE, Relay, RelayFile};
pub use retention::{Limits, Now, Removal, plan};
pub use salvage::{PartialFate, PartialResult, salvage_file};
pub use stores::Stores;

use crate::model::{IncidentId, Kind, Wall};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A directory of snapshots.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    limits: Limits,
    notices: Vec<String>,
    memory_backed: bool,
}

/// One file of the store, as its name tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    pub id: IncidentId,
    pub host: String,
    pub kind: Kind,
    /// When the incident opened, to the second.
    pub at: Wall,
    /// Size of the file.
    pub bytes: u64,
    pub pinned: bool,
    pub path: PathBuf,
    /// Being written, or left by an interrupted capture.
    pub partial: bool,
    /// Left by an interrupted capture, and nothing in it is whole.
    pub unreadable: bool,
}

impl Stored {
    /// A finished (or salvaged) snapshot.
    pub fn is_snapshot(&self) -> bool {
        !self.partial && !self.unreadable
    }
}

impl Store {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the operator should know about this directory, each once: `on tmpfs: lost at reboot`.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Whether the directory is lost at a reboot (tmpfs, ramfs).
    pub fn is_memory_backed(&self) -> bool {
        self.memory_backed
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn with_limits(mut self, limits: Limits) -> Store {
        self.limits = limits;
        self
    }
}
