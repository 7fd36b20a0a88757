//! The machine's edge: the only folder with `unsafe`, the only clock, the only place that starts
//! processes. One system call per wrapper, errors as `std::io::Error` with the errno kept.

pub mod capability;
pub mod clock;
pub mod exec;
pub mod ipc;
pub mod memory;
pub mod procdir;
pub mod process;
pub mod ring_read;
pub mod rlimit;
pub mod sock_diag;
