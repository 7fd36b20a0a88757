//! lastgasp: a small privileged Linux watchdog that captures crashes and hangs.
//!
//! The rooms and what may use what: `docs/ARCHITECTURE.md`, enforced by `tests/it/layering.rs`.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod archive;
pub mod capture;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod detect;
pub mod host;
pub mod incident;
pub mod model;
pub mod probe;
pub mod report;
pub mod source;
pub mod store;
pub mod sys;
