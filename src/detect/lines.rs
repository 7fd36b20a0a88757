//! What kind of line a body is, by how it begins: a dump's own, a shutdown's, anything else.

use crate::detect::rules::SHUTDOWN;

/// The first lines of a WARN behind its lost header.
pub(crate) fn is_cpu_line(body: &[u8]) -> bool {
    body.starts_with(b"CPU: ") || body.starts_with(b"Modules linked in:") || body.starts_with(b"RIP: 0010")
}

/// The machine goes down because somebody asked.
pub(crate) fn is_shutdown(body: &[u8]) -> bool {
    let head = &body[..body.len().min(48)];
    (0..head.len().min(16)).any(|at| {
        // The first byte by itself: this is asked of every line that is looked at.
        SHUTDOWN.iter().any(|w| w.as_bytes().first() == head.get(at) && head[at..].starts_with(w.as_bytes()))
    })
}

/// How the lines of a report begin, by who prints them. Generous on purpose: a line too many is text that is kept
/// and read over, a line too few lets a report end early.
const OWN: &[(&str, &[&str])] = &[
    // Indented, bracketed and continued lines: frames, registers, the body of every report.
    ("any", &[" ", "\t", "[", ">", "---[", "===", "INFO:", "BUG"]),
    // lib/dump_stack.c, kernel/module/main.c, kernel/panic.c
    (
        "dump_stack",
        &[
            "CPU",
            "Call ",
            "Hardware name",
            "Modules linked",
            "Tainted",
            "Workqueue",
            "Kernel ",
            "Dumping",
            "Rebooting",
            "Shutting",
            "Pid:",
        ],
    ),
    // arch/x86/kernel/dumpstack.c, process_64.c, arch/x86/mm/fault.c
    (
        "x86",
        &[
            "RIP", "RSP", "RAX", "RDX", "RBP", "R1", "EIP", "Code", "FS:", "CS:", "CR2", "DR", "PKRU", "PGD", "#PF",
            "Oops", "Process ", "Stack", "stack",
        ],
    ),
    // arch/arm64/kernel/process.c, arch/arm/kernel/process.c and traps.c
    (
        "arm",
        &[
            "pc :",
            "lr :",
            "sp :",
            "x2",
            "x1",
            "x9",
            "x8",
            "x5",
            "x6",
            "x3",
            "x0",
            "pstate",
            "PC is",
            "Exception",
            "Backtrace",
            "Internal",
        ],
    ),
    // arch/{powerpc,s390,riscv}/kernel
    ("others", &["NIP", "LR ", "GPR", "MSR", "CFAR", "Krnl", "Last ", "epc"]),
    // kernel/sched/core.c, kernel/hung_task.c, kernel/rcu/tree_stall.h, lib/nmi_backtrace.c, kernel/locking/lockdep.c
    (
        "hangs and locks",
        &[
            "task:",
            "\"echo",
            "Showing",
            "NMI",
            "Sending",
            "rcu",
            "Preemption",
            "in_atomic",
            "irq event",
            "hardirqs",
            "softirqs",
            "other info",
            "the existing",
            "which lock",
            "but task",
        ],
    ),
    // mm/kasan/report.c, mm/kmsan/report.c, mm/kmemleak.c, kernel/kcsan/report.c, mm/slub.c
    (
        "sanitizers and slabs",
        &[
            "Read of",
            "Write of",
            "Allocated",
            "Freed",
            "The buggy",
            "Memory state",
            "Bytes",
            "Uninit",
            "Local variable",
            "value changed",
            "read",
            "write",
            "backtrace",
            "unreferenced",
            "Redzone",
            "Object",
            "Padding",
            "Slab",
        ],
    ),
    // mm/show_mem.c, mm/oom_kill.c, mm/debug.c
    (
        "memory",
        &[
            "Mem",
            "Node",
            "DMA",
            "Normal",
            "Total swap",
            "Free swap",
            "Swap",
            "Tasks state",
            "lowmem",
            "active_anon",
            "oom",
            "page",
            "raw",
        ],
    ),
];

/// A line that only a dump holds.
pub(crate) fn is_own(body: &[u8]) -> bool {
    body.is_empty()
        || OWN.iter().any(|(_, leads)| leads.iter().any(|l| body.starts_with(l.as_bytes())))
        || memchr::memmem::find(&body[..body.len().min(160)], b"+0x").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_by_their_beginning() {
        assert!(is_own(b" vfs_read+0x1/0x2") && is_own(b"CPU: 1 PID: 2") && is_own(b""));
        assert!(!is_own(b"usb 1-1: new device"));
        assert!(is_shutdown(b"reboot: Restarting system") && !is_shutdown(b"systemd-shutdown: unmounting"));
        assert!(is_cpu_line(b"CPU: 1 PID: 2 Comm: x"));
    }
}
