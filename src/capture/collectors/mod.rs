//! One file per collector (or per family that shares one reading of the machine), each with a const `Spec`.

pub mod kernel_log;
pub mod memory;
pub mod processes;
pub mod sockets;
pub(crate) mod suspects;
pub mod block_devices;
pub mod commands;
pub mod disk_benchmark;
pub mod disk_rates;
pub mod dns;
pub mod etc;
pub mod firewall;
pub mod identity;
pub mod journal;
pub mod logs;
pub mod mounts;
pub mod network;
pub mod proc_system;
pub mod sys_figures;
pub mod sysctl;
pub mod systemd;
pub mod tasks;
pub mod time_sync;
pub mod urls;
