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
    // T2: the log, once more and last of the tier; the benchmark waits for the rates, to which it adds, and then runs beside the rest
    &kernel_log_late::SPEC,
    &task_rates::SPEC,
    &queue_rates::SPEC,
    &disk_rates::SPEC,
    &disk_benchmark::SPEC,
    &systemd::SPEC,
    &firewall::SPEC,
    &dns::SPEC,
    &urls::SPEC,
    &commands::SPEC,
    // T3: after everything is on the disk
    &sysrq::SPEC,
];

/// Those that read nothing but what the kernel has in memory (/proc, netlink): no file system, device or program can
/// hold them for ever. All that is collected once too many workers hang.
pub const SAFE: &[&Spec] = &[
    &kernel_log::SPEC,
    &tasks::SPEC,
    &sockets::SPEC,
    &memory::SPEC,
    &descriptors::SPEC,
    &processes::SPEC,
    &network::SPEC,
    &cgroups::SPEC,
    &identity::SPEC,
    &proc_system::SPEC,
    &sysctl::SPEC,
    &kernel_log_late::SPEC,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Source, Tier};

    #[test]
    fn what_is_safe_is_in_the_list_and_has_the_first_tier_whole() {
        let safe = |spec: &Spec| SAFE.iter().any(|s| s.name == spec.name);
        assert!(SAFE.iter().all(|s| ALL.iter().any(|a| a.name == s.name)));
        assert!(ALL.iter().filter(|s| s.tier == Tier::T0).all(|s| safe(s)));
        for spec in SAFE {
            if let Source::Files(files) = spec.source {
                assert!(
                    files.iter().all(|f| f.path.starts_with("/proc/") || f.path.starts_with("/sys/")),
                    "{}",
                    spec.name
                );
            }
        }
    }
}
