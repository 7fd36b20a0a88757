//! What a collector declares about itself. Help, man page, plan, manifest and the unit file's
//! capability set come from these declarations or are tested against them.

use crate::capture::{Context, Sink};
use crate::sys::capability::Capability;
use serde::Serialize;
use std::io;

/// When a collector runs: the most perishable first. Each tier ends with a flush to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Tier {
    /// Kernel log, task states, sockets, memory, pressure: gone in seconds.
    T0,
    /// Descriptors, logs, network, mounts: gone with the restart.
    T1,
    /// Slow: disk benchmark, helpers, commands of the operator.
    T2,
    /// Last, when all else is on the disk: what makes the kernel speak into its log, and so may overwrite what is in it.
    T3,
}

impl Tier {
    pub const ALL: &'static [Tier] = &[Tier::T0, Tier::T1, Tier::T2, Tier::T3];

    pub fn name(self) -> &'static str {
        match self {
            Tier::T0 => "T0",
            Tier::T1 => "T1",
            Tier::T2 => "T2",
            Tier::T3 => "T3",
        }
    }
}

/// What a reader outside may learn from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Sensitivity {
    /// Figures and states.
    Plain,
    /// Host names, addresses, user names, paths.
    Identifying,
    /// Text of users or applications: logs, command lines, command output.
    Content,
}

impl Sensitivity {
    pub fn name(self) -> &'static str {
        match self {
            Sensitivity::Plain => "plain",
            Sensitivity::Identifying => "identifying",
            Sensitivity::Content => "content",
        }
    }
}

/// One file or family of files copied as they are.
#[derive(Clone, Copy, Debug)]
pub struct FileSpec {
    /// Absolute path; `*` stands for any name in one component. The entry has the same path, without
    /// the leading slash.
    pub path: &'static str,
    /// Most bytes of one such file. Logs are cut at their start (the tail is kept), others at the end.
    pub cap_bytes: usize,
    /// Keep the end, not the start.
    pub tail: bool,
    /// Absent on many hosts: not worth a line in the manifest.
    pub optional: bool,
}

impl FileSpec {
    /// A small /proc or /sys file that may be absent (kernel configuration).
    pub const fn new(path: &'static str) -> FileSpec {
        FileSpec { path, cap_bytes: 1 << 20, tail: false, optional: true }
    }

    pub const fn cap(self, cap_bytes: usize) -> FileSpec {
        FileSpec { cap_bytes, ..self }
    }

    /// Its absence is reported.
    pub const fn required(self) -> FileSpec {
        FileSpec { optional: false, ..self }
    }

    pub const fn tail(self) -> FileSpec {
        FileSpec { tail: true, ..self }
    }
}

/// Where a collector's bytes come from.
#[derive(Clone, Copy)]
pub enum Source {
    Files(&'static [FileSpec]),
    /// Puts entries into the sink until done, out of room or told to stop.
    Run(fn(&Context, &mut Sink) -> Result<(), CollectError>),
}

/// One collector.
#[derive(Clone, Copy)]
pub struct Spec {
    /// `lower_snake`, unique.
    pub name: &'static str,
    /// One sentence: what it brings and what a reader learns from it.
    pub doc: &'static str,
    pub tier: Tier,
    pub source: Source,
    /// Most bytes of all its entries together, before compression.
    pub cap_bytes: u64,
    /// Given up after this time; what it delivered until then stays.
    pub limit_ms: u64,
    pub sensitivity: Sensitivity,
    /// What it needs to see everything; without, it sees less and says so.
    pub capabilities: &'static [Capability],
}

/// Why a collector ended without success.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Not applicable here; no fault.
    #[error("{0}")]
    Skipped(String),
    /// `operation`: lower case, what was being done, to what: `read /proc/stat`.
    #[error("{operation}: {cause}")]
    Failed { operation: String, cause: io::Error },
    /// The sink said stop: full or cancelled. Pass on with `?`.
    #[error(transparent)]
    Stopped(#[from] crate::capture::Stop),
}

impl CollectError {
    /// For `map_err`: `.map_err(CollectError::failed("read /proc/stat"))`.
    pub fn failed(operation: impl Into<String>) -> impl FnOnce(io::Error) -> CollectError {
        let operation = operation.into();
        move |cause| CollectError::Failed { operation, cause }
    }
}
