//! One file per collector (or per family that shares one reading of the machine), each with a const `Spec`.

pub mod cgroups;
pub mod descriptors;
pub mod kernel_log;
pub mod memory;
pub mod processes;
pub(crate) mod socket_text;
pub mod sockets;
pub(crate) mod suspects;
pub mod tasks;
