//! The list of all collectors, in the order in which they run within their tier.

use crate::capture::Spec;
use crate::capture::collectors::{cgroups, descriptors, kernel_log, memory, processes, sockets, tasks};

/// Every collector. A new one is a file in `collectors/` and a line here.
pub const ALL: &[&Spec] = &[
    &kernel_log::SPEC,
    &tasks::SPEC,
    &sockets::SPEC,
    &memory::SPEC,
    &processes::SPEC,
    &descriptors::SPEC,
    &cgroups::SPEC,
];
