//! What kind of line a body is, by how it begins: a dump's own, a shutdown's, anything else.

use crate::detect::rules::SHUTDOWN;

/// The first lines of a WARN behind its lost header.
pub(crate) fn is_cpu_line(body: &[u8]) -> bool {
    body.starts_with(b"CPU: ") || body.starts_with(b"Modules linked in:") || body.starts_with(b"RIP: 0010")
}

/// The machine goes down because somebody asked.
pub(crate) fn is_shutdown(body: &[u8]) -> bool {
    let head = &body[..body.len().min(48)];
    SHUTDOWN
        .iter()
        .any(|w| head.starts_with(w.as_bytes()) || memchr::memmem::find(head, w.as_bytes()).is_some_and(|at| at < 16))
}

/// A line that only a dump holds.
pub(crate) fn is_own(body: &[u8]) -> bool {
    const LEADS: &[&[u8]] = &[
        b" ",
        b"\t",
        b"CPU",
        b"Call ",
        b"Hardware name",
        b"Modules linked",
        b"RIP",
        b"RSP",
        b"RAX",
        b"RDX",
        b"RBP",
        b"R1",
        b"EIP",
        b"Code",
        b"FS:",
        b"CS:",
        b"CR2",
        b"DR",
        b"PKRU",
        b"Workqueue",
        b"Process ",
        b"Stack",
        b"pc :",
        b"lr :",
        b"sp :",
        b"x2",
        b"x1",
        b"x9",
        b"x8",
        b"x5",
        b"x6",
        b"x3",
        b"x0",
        b"pstate",
        b"task:",
        b"Kernel ",
        b"---[",
        b"===",
        b"Showing",
        b"stack",
        b"NMI",
        b"Sending",
        b"rcu",
        b"Read of",
        b"Write of",
        b"Allocated",
        b"Freed",
        b"The buggy",
        b"Memory state",
        b"PGD",
        b"#PF",
        b"Oops",
        b"NIP",
        b"LR ",
        b"GPR",
        b"MSR",
        b"CFAR",
        b"Krnl",
        b"epc",
        b"PC is",
        b"Mem",
        b"Node",
        b"DMA",
        b"Normal",
        b"[",
        b"INFO:",
        b"Pid:",
        b"BUG",
        b"Last ",
        b"Exception",
        b"Backtrace",
        b"backtrace",
        b"unreferenced",
        b"Uninit",
        b"Local variable",
        b"page",
        b"raw",
        b">",
        b"irq event",
        b"hardirqs",
        b"softirqs",
        b"Tainted",
        b"Internal",
        b"Total swap",
        b"Free swap",
        b"Swap",
        b"Tasks state",
        b"lowmem",
        b"active_anon",
        b"oom",
        b"\"echo",
        b"Preemption",
        b"in_atomic",
        b"other info",
        b"the existing",
        b"which lock",
        b"but task",
        b"Bytes",
        b"value changed",
        b"read",
        b"write",
        b"Dumping",
        b"Rebooting",
        b"Shutting",
        b"Redzone",
        b"Object",
        b"Padding",
        b"Slab",
    ];
    body.is_empty()
        || LEADS.iter().any(|l| body.starts_with(l))
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
