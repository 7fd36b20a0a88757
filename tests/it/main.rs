//! One file per folder of `src/`. Needs no root, no network and no services.

mod archive;
mod capture;
mod collectors_host;
mod collectors_process;
mod config;
mod detect;
mod drill;
mod host;
mod keeping;
mod kernels;
mod layering;
mod packaging;
mod probe;
mod registry;
mod report;
mod source;
mod store;
mod stores;
