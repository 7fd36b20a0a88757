//! What the operator wants: [`Config`] as meant. `load` makes it from TOML as written (with line
//! numbers) against one table of keys; every key has a default, and without any file the defaults hold.

mod build;
mod example;
pub mod form;
pub mod glob;
pub mod keys;
mod load;
mod meant;
mod problem;
mod raw;
mod target;
pub mod url;

pub use example::{example, render};
pub use load::{DEFAULT_PATH, load, load_default, parse};
pub use meant::*;
pub use problem::{Error, Problem, Problems};
pub use target::{SCHEMES, parse_target, probe_from_arg};
