//! Capped, typed reads of /proc, /sys, cgroups and sockets under a [`Root`] that tests can fake.
//! Parsers take `&[u8]`; only `Root` touches the file system.

pub mod disk_bench;
pub mod disks;
pub mod diskstats;
pub mod mounts;
pub mod net;
pub mod root;
pub mod sysctl;

pub use root::{Capped, Root};
