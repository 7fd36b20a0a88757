//! The list of all collectors, in the order in which they run within their tier.

use crate::capture::Spec;
use crate::capture::collectors::*;
use crate::capture::collectors::{cgroups, descriptors, kernel_log, memory, processes, sockets, tasks};

/// Every collector. A new one is a file in `collectors/` and a line here.
pub const ALL: &[&Spec] = &[
    // T0
    &kernel_log::SPEC,
    &tasks::SPEC,
    &sockets::SPEC,
    &memory::SPEC,
    // T1: what goes with the processes first
    &descriptors::SPEC,
    &processes::SPEC,
    &network::SPEC,
    &cgroups::SPEC,
    &identity::SPEC,
    &logs::SPEC,
    &journal::SPEC,
    &proc_system::SPEC,
    &sys_figures::SPEC,
    &sysctl::SPEC,
    &mounts::SPEC,
    &block_devices::SPEC,
    &time_sync::SPEC,
    &etc::SPEC,
    // T2: the log before it turns over; rates before the benchmark, which adds to them
    &kernel_log_late::SPEC,
    &task_rates::SPEC,
    &queue_rates::SPEC,
    &disk_rates::SPEC,
    &systemd::SPEC,
    &firewall::SPEC,
    &dns::SPEC,
    &urls::SPEC,
    &commands::SPEC,
    &disk_benchmark::SPEC,
    // T3: after everything is on the disk
    &sysrq::SPEC,
];
