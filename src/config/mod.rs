//! What the operator wants: [`Config`] as meant. `load` makes it from TOML as written (with line
//! numbers) against one table of keys; every key has a default, and without any file the defaults hold.

mod meant;

pub use meant::*;
