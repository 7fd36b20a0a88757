//! One file per folder of `src/`. Needs no root, no network and no services.

mod archive;
mod collectors_host;
mod config;
mod keeping;
mod layering;
mod probe;
mod report;
mod source;
mod store;
