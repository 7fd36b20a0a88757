//! The machine's edge: the only folder with `unsafe`, the only clock, the only place that starts
//! processes. One system call per wrapper, errors as `std::io::Error` with the errno kept.

pub mod alarm;
pub mod capability;
pub mod clock;
pub mod direct_io;
pub mod exec;
pub mod fdpass;
pub mod ipc;
pub mod klog;
pub mod kmsg;
pub mod logger;
pub mod memfd;
pub mod memory;
pub mod notify;
pub mod procdir;
pub mod process;
pub mod random;
pub mod ring;
pub mod rlimit;
pub mod rtnetlink;
pub mod sock_diag;
pub mod statfs;
pub mod sysrq;
pub mod timex;
pub mod udp;
