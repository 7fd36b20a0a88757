//! The kernel's network tables: parsed from netlink messages (`&[u8]`) and printed in the shape of `ip`.

pub mod address;
pub mod attributes;
pub mod link;
pub mod names;
pub mod neighbour;
pub mod route;
pub mod rule;

pub use address::Address;
pub use link::Link;
pub use neighbour::Neighbour;
pub use route::Route;
pub use rule::Rule;

use std::collections::BTreeMap;

/// Interface names by index, for tables that refer to them by number.
pub type Names = BTreeMap<u32, String>;

/// The name of an interface, or `if7` when it is gone or of another namespace.
pub fn interface(names: &Names, index: u32) -> String {
    names.get(&index).cloned().unwrap_or_else(|| format!("if{index}"))
}
