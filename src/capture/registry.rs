//! The list of all collectors, in the order in which they run within their tier.

use crate::capture::Spec;
use crate::capture::collectors::*;

/// Every collector. A new one is a file in `collectors/` and a line here.
pub const ALL: &[&Spec] = &[
    // T1
    &identity::SPEC,
    &proc_system::SPEC,
    &sys_figures::SPEC,
    &sysctl::SPEC,
    &etc::SPEC,
    &network::SPEC,
    &mounts::SPEC,
    &block_devices::SPEC,
    // T2: rates before the benchmark, which adds to them
    &disk_rates::SPEC,
    &disk_benchmark::SPEC,
];
