//! WARN and its kin: the kernel goes on, but something is not as it should be.

use super::{Recipe, Role, Rule, rule};
use crate::model::{Kind, Severity};

/// Asked before the general BUG and WARN: the file that the header names says what it is.
pub(super) const FIRST: &[Rule] = &[
    rule(
        "refcount",
        Kind::Refcount,
        Severity::Error,
        &["refcount_t: ", "at lib/refcount.c:", "WARNING: lib/refcount.c:"],
        "refcount bug",
        "lib/refcount.c refcount_warn_saturate",
        "A reference counter was taken from zero, ran over or under.",
    )
    .within(64)
    .check(|b, at| at < 2 || b[..b.len().min(24)].windows(8).any(|w| w == b"WARNING:"))
    .then(&["warn", "refcount"])
    .recipe(Recipe::Trace),
    rule(
        "list_corruption",
        Kind::ListCorruption,
        Severity::Error,
        &[
            "list_add corruption",
            "list_del corruption",
            "list_add double add",
            "list corruption. ",
            "lib/list_debug.c:",
        ],
        "list corruption",
        "lib/list_debug.c __list_add_valid_or_report, __list_del_entry_valid_or_report",
        "The neighbours of a list entry do not point back to it.",
    )
    .within(64)
    .check(|b, at| at < 2 || b[..b.len().min(24)].windows(4).any(|w| w == b"WARN" || w == b"BUG "))
    .then(&["warn", "kernel_bug", "list_corruption", "invalid_opcode"])
    .recipe(Recipe::Trace),
];

pub(super) const RULES: &[Rule] = &[
    rule(
        "odebug",
        Kind::Warning,
        Severity::Warning,
        &["ODEBUG: "],
        "ODEBUG bug",
        "lib/debugobjects.c debug_print_object",
        "An object was freed, initialised or activated in the wrong state.",
    )
    .within(2)
    .check(|b, at| {
        memchr::memmem::find(&b[at..], b"object type:").is_some()
            || memchr::memmem::find(&b[at..], b"object:").is_some()
    })
    .then(&["warn"])
    .recipe(Recipe::Trace),
    rule(
        "warn_stack",
        Kind::Warning,
        Severity::Warning,
        &[
            "WARNING: kernel stack regs at",
            "WARNING: kernel stack frame pointer at",
            "WARNING: stack recursion on stack type",
            "WARNING: can't access registers at",
            "WARNING: can't dereference registers at",
            "WARNING: stack going in the wrong direction",
            "WARNING: unrecognized unwind stack type",
        ],
        "kernel stack looks wrong",
        "arch/x86/kernel/unwind_frame.c, unwind_orc.c",
        "The unwinder met a stack that cannot be.",
    )
    .within(2)
    .recipe(Recipe::None),
    rule(
        "warn",
        Kind::Warning,
        Severity::Warning,
        &["WARNING: CPU: ", "WARNING: at ", "WARNING: at", "WARNING: "],
        "WARNING",
        "kernel/panic.c __warn; lib/bug.c report_bug",
        "A WARN() check of the kernel failed.",
    )
    .within(16)
    .check(warn_location)
    .recipe(Recipe::Warn),
    rule(
        "warn_cut",
        Kind::Warning,
        Severity::Warning,
        &["------------[ cut here ]"],
        "WARNING",
        "kernel/panic.c __warn, lib/bug.c (CUT_HERE)",
        "The mark before a WARN or BUG whose first line was lost.",
    )
    .within(2)
    .recipe(Recipe::Warn),
    rule(
        "badness",
        Kind::Warning,
        Severity::Warning,
        &["Badness at "],
        "WARNING",
        "kernel/panic.c before 2.6.24; arch/powerpc/kernel/traps.c",
        "The old spelling of WARN.",
    )
    .within(2)
    .recipe(Recipe::Warn),
    rule(
        "irq_nobody_cared",
        Kind::Other,
        Severity::Error,
        &[": nobody cared", "IRQ handler type mismatch"],
        "interrupt without a handler",
        "kernel/irq/spurious.c __report_bad_irq; kernel/irq/manage.c __setup_irq",
        "An interrupt line fires and no driver wants it; the kernel switches it off.",
    )
    .within(24)
    .check(|b, _| b.starts_with(b"irq ") || b.starts_with(b"genirq: ") || b.starts_with(b"IRQ "))
    .recipe(Recipe::None),
    rule(
        "rtnl_assertion",
        Kind::Warning,
        Severity::Warning,
        &["RTNL: assertion failed at "],
        "RTNL assertion failed",
        "include/linux/rtnetlink.h ASSERT_RTNL",
        "Network configuration was touched without its lock.",
    )
    .within(2)
    .then(&["warn"])
    .recipe(Recipe::Trace),
    rule(
        "unregister_netdevice",
        Kind::Other,
        Severity::Error,
        &["unregister_netdevice: waiting for "],
        "network device cannot be removed",
        "net/core/dev.c netdev_wait_allrefs_any",
        "A reference to a network device is never given back; its namespace cannot end.",
    )
    .within(2)
    .single(),
    rule(
        "vfs_busy",
        Kind::Other,
        Severity::Error,
        &["VFS: Busy inodes after unmount", "VFS: Close: file count is 0", "VFS: Close: file count is zero"],
        "VFS reference counting broken",
        "fs/super.c generic_shutdown_super; fs/open.c filp_close",
        "Files or inodes outlive their file system, or were freed while in use.",
    )
    .within(2)
    .recipe(Recipe::None),
    rule(
        "soft_failures",
        Kind::Warning,
        Severity::Warning,
        &[
            "sysctl table check failed",
            "eek! page_mapcount",
            "kobject_add_internal failed for ",
            "sysfs: cannot create duplicate filename",
            "near stack overflow (cur:",
            "IRQs not enabled as expected",
        ],
        "kernel self check failed",
        "fs/sysfs/dir.c sysfs_warn_dup; lib/kobject.c; kernel/sysctl-test.c and others",
        "A self check that prints a stack without using WARN.",
    )
    .within(24)
    .quiet()
    .role(Role::Follow)
    .recipe(Recipe::Trace),
];

/// The three grammars: `WARNING: CPU: N PID: N at F:N fn`, `WARNING: at F:N fn`, `WARNING: F:N at fn, CPU#N`. Anything
/// else behind `WARNING:` is a firmware's, a driver's or a program's remark.
fn warn_location(body: &[u8], at: usize) -> bool {
    let rest = &body[at + 8..body.len().min(at + 400)];
    let rest = rest.trim_ascii_start();
    if let Some(tail) = rest.strip_prefix(b"CPU: ") {
        return memchr::memmem::find(tail, b" at ").is_some() && tail.first().is_some_and(u8::is_ascii_digit)
            || tail.len() < 24;
    }
    if let Some(tail) = rest.strip_prefix(b"at") {
        return source_location(tail.trim_ascii_start());
    }
    source_location(rest) && memchr::memmem::find(rest, b" at ").is_some()
}

/// `mm/slab.h:473`: a path of a source file and a line number, as the first word.
fn source_location(rest: &[u8]) -> bool {
    let word = rest.split(|c| *c == b' ').next().unwrap_or(rest);
    let Some(colon) = word.iter().rposition(|c| *c == b':') else { return false };
    let (file, line) = (&word[..colon], &word[colon + 1..]);
    let source = [&b".c"[..], b".h", b".rs", b".S", b".y"].iter().any(|e| file.ends_with(e));
    source && line.first().is_some_and(u8::is_ascii_digit)
}
