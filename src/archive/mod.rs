//! The snapshot format: framed tar.zst, its writer, its reader, its salvage.
//!
//! ```text
//! HOST-TIME-KIND-ID.tar.zst
//! ┌ zstd frame 0 ──────┐┌ frame 1 ───────────┐   ┌ frame n ─────────────────────┐┌ skippable frame ┐
//! │ tar: incident.json ││ tar: entry, entry… │ … │ tar: manifest.json, two zero ││ seek table      │
//! │                    ││ about 1 MiB        │   │ blocks                       ││ (seektable.rs)  │
//! └────────────────────┘└────────────────────┘   └──────────────────────────────┘└─────────────────┘
//! ```
//!
//! - `tar --zstd -xf` opens it. All entries lie in one directory named like the file, are regular files
//!   of mode 0600 owned by root, and have the time at which their content was read.
//! - An entry never spans two frames, every frame has a content checksum: a damaged frame costs its own
//!   entries only, a cut file is good up to its last whole frame, one entry is read by unpacking one frame.
//! - `incident.json` ([`crate::model::Incident`]) comes first and says what happened; `manifest.json`
//!   ([`Manifest`]) comes last and says how every collector ended and what every entry is.
//! - A file without manifest and seek table is a capture that was interrupted: [`salvage()`] completes it.

mod error;
mod extract;
mod frames;
mod manifest;
mod names;
mod reader;
mod salvage;
mod seektable;
mod sniff;
mod tarwalk;
mod verify;
mod writer;

pub use error::{Error, Result};
pub use extract::Extracted;
pub use manifest::{
    CollectorResult, Completed, EntryMeta, FORMAT, Manifest, ManifestHead, StoreTry, TierEnd, TierMark, tier_entry,
};
pub use names::safe_path;
pub use reader::{Entry, Problem, Reader};
pub use salvage::{Now, Salvaged, Why, salvage};
pub use verify::VerifyReport;
pub use writer::{Body, ENTRIES_MAX, Effort, EntryHead, FRAME_BYTES, Finished, SyncData, Writer, warm_up};

/// First entry of every snapshot.
pub const INCIDENT_ENTRY: &str = "incident.json";
/// Last entry of every finished snapshot.
pub const MANIFEST_ENTRY: &str = "manifest.json";
