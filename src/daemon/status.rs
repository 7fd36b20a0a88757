//! What `lastgasp status` shows: what is watched, what happened, what was lost.

use crate::capture::protocol::Published;
use crate::model::{IncidentId, Kind, Losses, Wall};
use crate::probe::ProbeStatus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: i32,
    pub host: String,
    pub started_at: Wall,
    pub now: Wall,
    /// Where the kernel log comes from, or why it does not.
    pub kernel_log: String,
    pub kernel_records: u64,
    /// Globs and files as configured.
    pub consoles: Vec<String>,
    pub console_records: u64,
    /// Where netconsole datagrams are listened for, or why not; `None`: not wanted.
    #[serde(default)]
    pub netconsole: Option<String>,
    #[serde(default)]
    pub netconsole_records: u64,
    /// Senders heard of lately.
    #[serde(default)]
    pub netconsole_senders: u64,
    pub probes: Vec<ProbeStatus>,
    /// Where the next snapshot goes; `None` until the spare worker said so.
    pub store: Option<PathBuf>,
    pub spare_ready: bool,
    pub capturing: Vec<IncidentId>,
    /// Children that were given up and are stuck in the kernel.
    pub stuck_children: u64,
    /// Events by kind, alarms and others.
    pub events: BTreeMap<Kind, u64>,
    pub snapshots: u64,
    pub last_snapshots: Vec<LastSnapshot>,
    /// Last things worth a line: recoveries, suppressions, notices.
    pub log: Vec<LogLine>,
    pub losses: Losses,
    /// What cannot be seen for want of privilege.
    pub limits: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastSnapshot {
    pub at: Wall,
    pub title: String,
    #[serde(flatten)]
    pub published: Published,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Wall,
    pub text: String,
}
