//! The last entry of a snapshot, `manifest.json`: how every collector ended and what every entry is.

use crate::model::{BootId, Incident, Losses, Missing, Outcome, Wall};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Version written by this code.
pub const FORMAT: u32 = 1;

/// When the entries of one tier were on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierMark {
    /// `T0`, `T1`, `T2`.
    pub tier: String,
    /// Milliseconds from the start of the capture until fdatasync returned; `None`: never reached.
    pub durable_ms: Option<u64>,
}

/// How one collector ended. Times count from the start of the capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorResult {
    pub name: String,
    pub tier: String,
    /// In JSON two keys, `outcome` and `why`.
    #[serde(flatten)]
    pub outcome: Outcome,
    pub started_ms: u64,
    pub took_ms: u64,
    /// Of its entries, before compression.
    pub bytes: u64,
    pub entries: u64,
    pub missing: Vec<Missing>,
}

/// One entry of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryMeta {
    /// Relative to the top directory.
    pub path: String,
    /// Bytes of its content.
    pub size: u64,
    /// Of its content, lower-case hex.
    pub sha256: String,
    /// When its content was read from the machine.
    pub at: Wall,
    /// Cut at a cap. `None` in a salvaged archive, where nobody knows any more.
    pub truncated: Option<bool>,
    /// Who brought it. `None` in a salvaged archive.
    pub collector: Option<String>,
    /// Index of the zstd frame that holds it whole.
    pub frame: u32,
    /// Where its content starts within that frame, unpacked.
    pub offset: u64,
}

/// The last entry of each tier, [`tier_entry`]: how its collectors ended. A capture that is interrupted later has no
/// manifest, but this; and with it the tier is known to be whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierEnd {
    pub tier: String,
    /// Milliseconds from the start of the capture until its collectors had ended. The disk had it later.
    pub collected_ms: u64,
    /// The boot in which the capture ran.
    pub boot_id: Option<BootId>,
    pub collectors: Vec<CollectorResult>,
}

/// Where the [`TierEnd`] of a tier lies.
pub fn tier_entry(tier: &str) -> String {
    format!("lastgasp/tiers/{tier}.json")
}

/// One store that a capture tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreTry {
    pub dir: PathBuf,
    /// Why it did not take the snapshot; `None`: it did.
    pub error: Option<String>,
    /// Milliseconds until it was given up; 0 where that was known beforehand. Of the last one: until the manifest was
    /// written.
    pub took_ms: u64,
}

/// What those who completed an interrupted capture knew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    pub at: Wall,
    /// lastgasp's version that did it.
    pub version: String,
    pub boot_id: Option<BootId>,
    pub kernel: Option<String>,
    /// When this boot began.
    pub booted_at: Option<Wall>,
    /// The machine went down between the capture and this; `None`: the boot of the capture, or this one, is not known.
    pub machine_went_down: Option<bool>,
}

/// Everything but the list of entries, which the writer itself keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestHead {
    /// [`FORMAT`].
    pub format: u32,
    /// As known at the end of the capture (`incident.json` has it as known at its start).
    pub incident: Incident,
    pub started_at: Wall,
    /// Of a salvaged archive: the time of its last entry.
    pub finished_at: Wall,
    pub total_ms: u64,
    pub tiers: Vec<TierMark>,
    pub collectors: Vec<CollectorResult>,
    /// Anything else that a reader should know, one sentence each.
    pub notes: Vec<String>,
    /// Set when the capture was interrupted and this is what was left: why, and what was lost.
    pub salvaged: Option<String>,
    /// The stores that were tried, in order, when the first one did not take the snapshot.
    pub stores: Vec<StoreTry>,
    /// Of a salvaged archive.
    pub completed: Option<Completed>,
    pub losses: Losses,
}

/// `manifest.json`: the fields of [`ManifestHead`] and `entries`, in one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub incident: Incident,
    pub started_at: Wall,
    pub finished_at: Wall,
    pub total_ms: u64,
    pub tiers: Vec<TierMark>,
    pub collectors: Vec<CollectorResult>,
    pub notes: Vec<String>,
    pub salvaged: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<StoreTry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<Completed>,
    pub losses: Losses,
    /// Every entry but the manifest itself, in the order of the archive.
    pub entries: Vec<EntryMeta>,
}

impl Manifest {
    pub fn new(head: ManifestHead, entries: Vec<EntryMeta>) -> Manifest {
        Manifest {
            format: head.format,
            incident: head.incident,
            started_at: head.started_at,
            finished_at: head.finished_at,
            total_ms: head.total_ms,
            tiers: head.tiers,
            collectors: head.collectors,
            notes: head.notes,
            salvaged: head.salvaged,
            stores: head.stores,
            completed: head.completed,
            losses: head.losses,
            entries,
        }
    }

    /// The manifest without its list of entries.
    pub fn into_head(self) -> ManifestHead {
        ManifestHead {
            format: self.format,
            incident: self.incident,
            started_at: self.started_at,
            finished_at: self.finished_at,
            total_ms: self.total_ms,
            tiers: self.tiers,
            collectors: self.collectors,
            notes: self.notes,
            salvaged: self.salvaged,
            stores: self.stores,
            completed: self.completed,
            losses: self.losses,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_two_keys_beside_the_name() {
        let result = CollectorResult {
            name: "ps".into(),
            tier: "T0".into(),
            outcome: Outcome::TimedOut("stuck in nfs_wait".into()),
            started_ms: 1,
            took_ms: 2000,
            bytes: 7,
            entries: 1,
            missing: Vec::new(),
        };
        let json = serde_json::to_value(&result).expect("serialises");
        assert_eq!(json["outcome"], "timed_out");
        assert_eq!(json["why"], "stuck in nfs_wait");
        assert_eq!(serde_json::from_value::<CollectorResult>(json).expect("reads back"), result);
        let done = CollectorResult { outcome: Outcome::Complete, ..result };
        let json = serde_json::to_string(&done).expect("serialises");
        assert_eq!(serde_json::from_str::<CollectorResult>(&json).expect("reads back"), done);
    }
}
