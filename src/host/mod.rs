//! Capped, typed reads of /proc, /sys, cgroups and sockets under a [`Root`] that tests can fake.
//! Parsers take `&[u8]`; only `Root`, and for the many small files of /proc/PID `sys::procdir`, touch the file
//! system.

pub mod bytes;
pub mod cgroup;
pub mod descriptors;
pub mod disk_bench;
pub mod disks;
pub mod diskstats;
pub mod inet_diag;
pub mod limits;
pub mod links;
pub mod mask;
pub mod mounts;
pub mod names;
pub mod net;
pub mod proc_net;
pub mod ps;
pub mod queues;
pub mod root;
pub mod second_look;
pub mod sockets;
pub mod stat;
pub mod suspicion;
pub mod sysctl;
pub mod tasks;
pub mod users;
pub mod worth;

pub use root::{Capped, Root};
