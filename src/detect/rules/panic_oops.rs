//! The kernel gives up, or a CPU exception hits kernel code.

use super::{Recipe, Role, Rule, rule};
use crate::model::{Kind, Severity};

pub(super) const RULES: &[Rule] = &[
    rule(
        "panic",
        Kind::Panic,
        Severity::Fatal,
        &["Kernel panic - not syncing", "Kernel panic: ", "Kernel Panic - not syncing"],
        "kernel panic",
        "kernel/panic.c vpanic",
        "The kernel gave up; nothing runs any more.",
    )
    .within(16)
    .role(Role::Panic)
    .veto(&["---[ end Kernel panic"])
    .recipe(Recipe::Panic)
    .up_to("\n"),
    rule(
        "end_panic",
        Kind::Panic,
        Severity::Fatal,
        &["---[ end Kernel panic - not syncing"],
        "kernel panic",
        "kernel/panic.c vpanic, last line",
        "The end of a panic whose beginning was lost.",
    )
    .within(2)
    .role(Role::Panic)
    .recipe(Recipe::None),
    rule(
        "stack_guard",
        Kind::Oops,
        Severity::Fatal,
        &["BUG: stack guard page was hit", "BUG: TASK stack guard page was hit", "BUG: IRQ stack guard page was hit", "kernel stack overflow", "Insufficient stack space to handle exception!", "do_IRQ: stack overflow:"],
        "kernel stack overflow",
        "arch/x86/kernel/traps.c handle_stack_overflow; arch/arm64/kernel/traps.c panic_bad_stack",
        "The kernel stack ran over its end.",
    )
    .within(40)
    .recipe(Recipe::Overflow),
    rule(
        "page_fault",
        Kind::Oops,
        Severity::Fatal,
        &[
            "BUG: unable to handle ",
            "BUG: kernel NULL pointer dereference",
            "BUG: Unable to handle ",
            "Unable to handle kernel ",
            "unable to handle page fault for address",
            "kernel tried to execute NX-protected page",
            "BUG: Kernel NULL pointer dereference",
        ],
        "unable to handle page fault",
        "arch/x86/mm/fault.c show_fault_oops; arch/arm64/mm/fault.c die_kernel_fault; arch/{arm,powerpc,riscv,s390}/mm/fault.c",
        "The kernel followed a bad pointer.",
    )
    .then(&["page_fault"])
    .recipe(Recipe::Pc)
    .up_to(" at "),
    rule(
        "gpf",
        Kind::Oops,
        Severity::Fatal,
        &["general protection fault"],
        "general protection fault",
        "arch/x86/kernel/traps.c exc_general_protection",
        "Kernel code used a non-canonical address or an invalid segment.",
    )
    .within(24)
    .check(kernel_exception)
    .recipe(Recipe::Pc),
    rule(
        "divide_error",
        Kind::Oops,
        Severity::Fatal,
        &["divide error:", "divide_error:"],
        "divide error",
        "arch/x86/kernel/traps.c exc_divide_error",
        "Kernel code divided by zero.",
    )
    .within(8)
    .check(kernel_exception)
    .recipe(Recipe::Pc),
    rule(
        "exception",
        Kind::Oops,
        Severity::Fatal,
        &[
            "stack segment:",
            "int3:",
            "segment not present:",
            "alignment check:",
            "bounds:",
            "invalid TSS:",
            "coprocessor segment overrun:",
            "simd exception:",
            "fpu exception:",
            "iret exception:",
            "control protection fault:",
            "debug: 0000",
            "Missing ENDBR:",
            "CFI failure at ",
            "unexpected #VE",
            "Thread overran stack, or stack corrupted",
        ],
        "CPU exception",
        "arch/x86/kernel/traps.c DO_ERROR; arch/x86/kernel/cet.c; kernel/cfi.c",
        "Another CPU exception in kernel code.",
    )
    .within(8)
    .check(kernel_exception)
    .recipe(Recipe::Pc)
    .up_to(":"),
    rule(
        "double_fault",
        Kind::Oops,
        Severity::Fatal,
        &["PANIC: double fault", "double fault: "],
        "double fault",
        "arch/x86/kernel/traps.c exc_double_fault",
        "A CPU exception while another one was being delivered.",
    )
    .within(8)
    .role(Role::Follow)
    .recipe(Recipe::Pc),
    rule(
        "bug_usercopy",
        Kind::Bug,
        Severity::Fatal,
        &["usercopy: Kernel memory ",
            "usercopy: kernel memory ", "detected buffer overflow in ", "detected kernel buffer overflow", "stack-protector: Kernel stack is corrupted in:"],
        "memory copy check failed",
        "mm/usercopy.c usercopy_abort; lib/string_helpers.c __fortify_report",
        "A copy would have run over the end of its object.",
    )
    .veto(&["Kernel panic"])
    .then(&["kernel_bug", "warn", "panic"])
    .recipe(Recipe::Trace)
    .up_to(" (offset"),
    rule(
        "rust_panic",
        Kind::Bug,
        Severity::Fatal,
        &["rust_kernel: panicked at"],
        "Rust panic",
        "rust/kernel/lib.rs panic, which calls BUG()",
        "Rust code of the kernel panicked: an index, an overflow, an unwrap.",
    )
    .within(4)
    .then(&["kernel_bug", "invalid_opcode"])
    .recipe(Recipe::Trace),
    rule(
        "kernel_bug",
        Kind::Bug,
        Severity::Fatal,
        &["kernel BUG at ", "Kernel BUG at ", "Kernel BUG ", "kernel BUG!", "Kernel bug detected[#"],
        "kernel BUG",
        "lib/bug.c report_bug; arch/x86/kernel/traps.c handle_bug",
        "A BUG() check of the kernel failed.",
    )
    .within(16)
    .check(bug_place)
    .recipe(Recipe::Pc),
    rule(
        "invalid_opcode",
        Kind::Oops,
        Severity::Fatal,
        &["invalid opcode:", "invalid op: "],
        "invalid opcode",
        "arch/x86/kernel/traps.c exc_invalid_op",
        "Kernel code ran into an undefined instruction; after `kernel BUG at` it belongs to that.",
    )
    .within(8)
    .check(kernel_exception)
    .role(Role::Follow)
    .recipe(Recipe::Pc),
    rule(
        "unhandled_fault",
        Kind::Oops,
        Severity::Fatal,
        &["Unhandled fault:", "Unhandled prefetch abort:", "Unhandled fault at", "Bad mode in ", "SError Interrupt on CPU", "Unexpected kernel BRK exception", "Unhandled Exception", "Machine check in kernel mode", "Alignment trap: not handling instruction",
            "Reserved instruction in kernel code[#"],
        "unhandled exception",
        "arch/arm/mm/fault.c do_DataAbort; arch/arm64/kernel/traps.c bad_mode, arm64_serror_panic",
        "An ARM exception that the kernel cannot handle.",
    )
    .within(24)
    .then(&["unhandled_fault"])
    .recipe(Recipe::Pc)
    .up_to(":"),
    rule(
        "s390_program_check",
        Kind::Oops,
        Severity::Fatal,
        &["addressing exception: ", "specification exception: ", "illegal operation: ", "protection exception: ", "data exception: ", "fixpoint divide exception: ", "operand exception: ", "privileged operation: ", "monitor event: "],
        "program check",
        "arch/s390/kernel/traps.c DO_ERROR_INFO; dumpstack.c die",
        "A program check in kernel mode on s390.",
    )
    .within(4)
    .check(s390_die)
    .role(Role::Follow)
    .recipe(Recipe::Pc)
    .up_to(":"),
    rule(
        "oops_code",
        Kind::Oops,
        Severity::Fatal,
        &["Internal error: ", "Oops: ", "Oops - ", "Oops [#", "Kernel access of bad area"],
        "kernel oops",
        "arch/{arm,arm64,powerpc,riscv,x86}/kernel traps.c die, __die",
        "The line that numbers an oops; alone when its first line was lost.",
    )
    .within(12)
    .check(oops_line)
    .role(Role::Follow)
    .recipe(Recipe::Pc)
    .up_to("["),
    rule(
        "init_killed",
        Kind::Panic,
        Severity::Fatal,
        &["Attempted to kill init!", "Attempted to kill the idle task!"],
        "kernel panic",
        "kernel/exit.c do_exit, find_child_reaper",
        "The first process ended; the panic that follows says so too.",
    )
    .within(8)
    .role(Role::Panic)
    .recipe(Recipe::None),
    rule(
        "vfs_root",
        Kind::Panic,
        Severity::Fatal,
        &["VFS: Cannot open root device"],
        "no root file system",
        "init/do_mounts.c mount_block_root",
        "The root device is not there; a panic follows.",
    )
    .within(2)
    .recipe(Recipe::None)
    .then(&["panic"]),
];

/// Asked after every other rule.
pub(super) const LAST: &[Rule] = &[
    rule(
        "bug_known",
        Kind::Bug,
        Severity::Error,
        &["BUG: workqueue leaked ", "BUG: Dentry ", "BUG: looking up invalid subclass", "BUG: atomic counter "],
        "BUG",
        "kernel/workqueue.c process_one_work; fs/dcache.c umount_check; kernel/locking/lockdep.c",
        "A check that prints `BUG:` and goes on.",
    )
    .recipe(Recipe::Trace)
    .up_to(": "),
    rule(
        "bug_line",
        Kind::Bug,
        Severity::Error,
        &["BUG: "],
        "BUG",
        "printk(KERN_* \"BUG: …\") in many files",
        "Any other line that the kernel itself calls a bug.",
    )
    .within(16)
    .veto(&["DEBUG: ", "DEBUG_", "recent printk recursion", "not a BUG"])
    .stamped()
    .check(|b, at| at == 0 || !b[at - 1].is_ascii_alphanumeric())
    .recipe(Recipe::Trace)
    .up_to(" at "),
];

/// `general protection fault: 0000 [#1] SMP`, `…, probably for non-canonical address`: kernel mode. User mode is
/// announced as `traps: name[pid] general protection fault ip:…`, or with `error:N in object`.
fn kernel_exception(body: &[u8], at: usize) -> bool {
    let rest = &body[at..body.len().min(at + 200)];
    let has = |w: &[u8]| memchr::memmem::find(rest, w).is_some();
    if has(b" ip:") || has(b" rip:") || has(b" in user ") {
        return false;
    }
    has(b"[#")
        || has(b"0000")
        || has(b"probably for")
        || has(b"maybe for")
        || has(b"CFI failure")
        || has(b"ENDBR")
        || at == 0 && has(b"fault in ")
}

/// `addressing exception: 0005 ilc:2 [#1]`, `Oops: 0004 ilc:2`.
fn s390_die(body: &[u8], at: usize) -> bool {
    let rest = &body[at..body.len().min(at + 100)];
    memchr::memmem::find(rest, b"[#").is_some() || memchr::memmem::find(rest, b"ilc:").is_some()
}

fn oops_line(body: &[u8], at: usize) -> bool {
    let rest = &body[at..body.len().min(at + 160)];
    // Every architecture counts its oopses on this line; `die_counter` in each traps.c.
    memchr::memmem::find(rest, b"[#").is_some() || rest.starts_with(b"Kernel access of bad area")
}

/// `kernel BUG at FILE:LINE!`, `Kernel BUG at FUNCTION+0x… [verbose debug info unavailable]`: behind ` at ` stands a place, or
/// nothing more when the line was cut. A program that is called like this says something else.
fn bug_place(body: &[u8], at: usize) -> bool {
    let rest = &body[at..];
    let Some(place) = rest.get(..14).filter(|r| r.ends_with(b" at ")).map(|_| rest[14..].trim_ascii()) else {
        return true;
    };
    let word = place.split(|c| *c == b' ').next().unwrap_or(place);
    let has = |w: &[u8]| memchr::memmem::find(word, w).is_some();
    word.is_empty() || has(b"/") || has(b".c") || has(b".h") || has(b".rs") || has(b"+0x") || word.starts_with(b"0x")
}
