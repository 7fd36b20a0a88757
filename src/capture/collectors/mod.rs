//! One file per collector (or per family that shares one reading of the machine), each with a const `Spec`.

pub mod block_devices;
pub mod disk_benchmark;
pub mod disk_rates;
pub mod etc;
pub mod identity;
pub mod mounts;
pub mod network;
pub mod proc_system;
pub mod sys_figures;
pub mod sysctl;
