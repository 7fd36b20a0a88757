//! Functions that are never at fault: they report, allocate, copy, lock or dispatch for somebody else.
//!
//! The names are data ([`tables`]); here is who asks for which of them.

mod tables;

use tables::{ANCHORS, CORE, DISPATCH, Group, INTERRUPT_ENTRY, LIBRARY, LOCKS, MEMORY, REPORTING, SANITIZERS, WAITING};

/// A long trace names the same few functions over and over, so a plain walk over the tables is fast enough: it
/// runs only for the frames of a report, some hundred at most.
fn listed(name: &str, groups: &[Group]) -> bool {
    groups.iter().flat_map(|g| g.names.split_ascii_whitespace()).any(|p| match p.strip_suffix('*') {
        Some(lead) => name.starts_with(lead),
        None => name == p,
    })
}

/// Never the function of any report.
pub(crate) fn is_helper(name: &str) -> bool {
    // Rust's panic machinery, where its names could not be read.
    name.contains("panicking")
        || [REPORTING, SANITIZERS, MEMORY, LIBRARY, LOCKS, CORE, DISPATCH].iter().any(|l| listed(name, l))
}

/// Allocates, or only passes the request on: in a leak, what the driver core asked for is the driver core's.
pub(crate) fn is_allocation(name: &str) -> bool {
    [REPORTING, SANITIZERS, MEMORY, LIBRARY, LOCKS, DISPATCH].iter().any(|l| listed(name, l))
}

/// Not what a hanging task waits in.
pub(crate) fn is_waiting(name: &str) -> bool {
    listed(name, WAITING)
}

/// Prints, dumps or checks: skipped even where the function of a header or program counter is taken as it is.
pub(crate) fn is_reporting(name: &str) -> bool {
    [REPORTING, SANITIZERS].iter().any(|l| listed(name, l))
}

/// Calls into subsystems: the end of a search downwards in a stall.
pub(crate) fn is_anchor(name: &str) -> bool {
    listed(name, ANCHORS)
}

/// Where an interrupt enters.
pub(crate) fn is_interrupt_entry(name: &str) -> bool {
    listed(name, INTERRUPT_ENTRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[&[Group]] =
        &[REPORTING, SANITIZERS, MEMORY, LIBRARY, LOCKS, CORE, DISPATCH, WAITING, ANCHORS, INTERRUPT_ENTRY];

    #[test]
    fn every_group_says_why_and_every_name_is_well_formed() {
        for group in ALL.iter().flat_map(|l| l.iter()) {
            assert!(group.why.len() > 10);
            for name in group.names.split_ascii_whitespace() {
                let lead = name.strip_suffix('*').unwrap_or(name);
                assert!(!lead.contains('*'), "{name}: a star stands at the end");
                assert!(lead.len() >= 2, "{name}");
            }
        }
    }

    #[test]
    fn helpers_are_skipped() {
        for f in [
            "dump_stack_lvl",
            "kasan_report",
            "kfree",
            "memcpy",
            "strncpy_from_user",
            "_raw_spin_lock",
            "do_syscall_64",
            "refcount_warn_saturate",
            "perf_trace_lock",
            "try_to_grab_pending",
            "core::panicking::panic_fmt",
            "__WARN_trap",
        ] {
            assert!(is_helper(f), "{f}");
        }
        assert!(
            is_waiting("schedule_timeout") && is_anchor("call_timer_fn") && is_interrupt_entry("apic_timer_interrupt")
        );
    }

    /// Names that begin like a helper's and are not.
    #[test]
    fn subsystems_are_not_helpers() {
        for f in [
            "ext4_file_read_iter",
            "tcp_sendmsg",
            "rtnl_newlink",
            "ip_rcv",
            "vfs_write",
            "strp_data_ready",
            "stripe_add",
            "stream_open",
            "memfd_create",
            "mem_cgroup_charge",
            "memory_failure",
            "unwind_next_frame",
            "qlist_free_all",
            "track_pfn_remap",
            "number_of_things",
            "pointer_table",
            "check_pgt_cache",
            "nilfs_sysfs_delete_device_group",
        ] {
            assert!(!is_helper(f), "{f}");
        }
    }
}
