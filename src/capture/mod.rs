//! Taking a snapshot: what to collect (`collectors`, one file each, listed in `registry`), in which
//! order (`plan`), by whom (`worker`, a process started beforehand), under whose eyes (`supervisor`).

pub mod collectors;
pub mod command_lines;
pub mod content;
pub mod context;
pub mod files;
pub mod guard;
pub mod helper;
pub mod mangle;
pub mod pool;
pub mod protocol;
pub mod registry;
pub mod schedule;
pub mod sink;
pub mod spec;
pub mod subject;
pub mod take;
pub mod worker;

pub use context::Context;
pub use sink::{Sink, Stop};
pub use spec::{CollectError, FileSpec, Sensitivity, Source, Spec, Tier};
