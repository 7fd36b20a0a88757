//! The lock validator, the lock debugging checks, and sleeping where it is forbidden.

use super::{Recipe, Rule, rule};
use crate::model::{Kind, Severity};

pub(super) const RULES: &[Rule] = &[
    rule(
        "lockdep",
        Kind::Lockdep,
        Severity::Warning,
        &[
            "possible circular locking dependency detected",
            "possible recursive locking detected",
            "possible irq lock inversion dependency detected",
            "lock order inversion dependency detected",
            "safe -> ",
            "inconsistent lock state",
            "inconsistent {",
            "possible unsafe",
            "held lock freed!",
            "bad unlock balance detected!",
            "bad contention detected!",
            "bad held lock detected",
            "lock held when returning to user space!",
            "still has locks held!",
            "Nested lock was not taken",
            "suspicious RCU usage",
            "suspicious rcu_dereference_check() usage",
            "Invalid wait context",
            "lock order detected",
            "chain key collision",
            "DEBUG_LOCKS_WARN_ON(",
        ],
        "lockdep",
        "kernel/locking/lockdep.c print_*_bug, print_bad_irq_dependency, lockdep_rcu_suspicious",
        "The lock validator found an order or a use of a lock that can deadlock.",
    )
    .within(64)
    .check(lockdep_header)
    .then(&["warn", "lockdep_warn"])
    .recipe(Recipe::Lock)
    .up_to("!"),
    rule(
        "lockdep_warn",
        Kind::Lockdep,
        Severity::Warning,
        &["at kernel/locking/lockdep.c:", "at kernel/lockdep.c:", "WARNING: kernel/locking/lockdep.c:"],
        "locking bug",
        "kernel/locking/lockdep.c DEBUG_LOCKS_WARN_ON",
        "The lock validator's own consistency check failed.",
    )
    .within(64)
    .check(|b, _| b[..b.len().min(24)].windows(8).any(|w| w == b"WARNING:"))
    .recipe(Recipe::Trace),
    rule(
        "static_key",
        Kind::Lockdep,
        Severity::Warning,
        &[
            "INFO: trying to register non-static key",
            "BUG: key ",
            "BUG: MAX_LOCK",
            "BUG: MAX_STACK_TRACE_ENTRIES too low",
        ],
        "lockdep",
        "kernel/locking/lockdep.c register_lock_class, add_chain_cache",
        "A lock was used before it was initialised, or the validator ran out of space.",
    )
    .check(|b, at| !b[at..].starts_with(b"BUG: key ") || b.windows(4).any(|w| w == b"not " || w == b"has "))
    .recipe(Recipe::Trace)
    .up_to("."),
    rule(
        "spinlock_debug",
        Kind::Lockdep,
        Severity::Error,
        &["BUG: spinlock ", "BUG: rwlock", "BUG: lock held"],
        "spinlock",
        "kernel/locking/spinlock_debug.c spin_dump, rwlock_bug",
        "A spin lock or rw lock has a bad magic, a wrong owner, or does not come free.",
    )
    .up_to(" on "),
    rule(
        "preemptible",
        Kind::Lockdep,
        Severity::Warning,
        &["BUG: using "],
        "per-CPU data used in preemptible code",
        "lib/smp_processor_id.c check_preemption_disabled",
        "smp_processor_id() or a per-CPU access where the task may move to another CPU.",
    )
    .check(|b, _| memchr::memmem::find(b, b"in preemptible").is_some()),
    rule(
        "sleeping_in_atomic",
        Kind::AtomicSleep,
        Severity::Warning,
        &["BUG: sleeping function called from invalid context"],
        "sleeping function called from invalid context",
        "kernel/sched/core.c __might_resched",
        "A function that may sleep was called with a spin lock held or interrupts off.",
    ),
    rule(
        "scheduling_while_atomic",
        Kind::AtomicSleep,
        Severity::Error,
        &["BUG: scheduling while atomic", "BUG: scheduling with irqs disabled", "scheduling while atomic"],
        "scheduling while atomic",
        "kernel/sched/core.c __schedule_bug",
        "schedule() was called where sleeping is forbidden.",
    ),
];

/// The phrases stand behind `WARNING: `, `[ INFO: `, `[ BUG: ` or, in lockdep's own listings further down
/// in a report, behind something else that must not start a second report.
fn lockdep_header(body: &[u8], at: usize) -> bool {
    let before = &body[..at];
    let rest = &body[at..];
    if rest.starts_with(b"DEBUG_LOCKS_WARN_ON(") {
        return at == 0;
    }
    let lead = before.trim_ascii();
    let headed = [&b"WARNING:"[..], b"INFO:", b"BUG:", b"=="].iter().any(|w| memchr::memmem::find(before, w).is_some());
    if rest.starts_with(b"inconsistent {") || rest.starts_with(b"safe -> ") {
        // `WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected`
        return rest.starts_with(b"safe -> ") && headed;
    }
    // Cut at the front by another writer: `possible recursive locking detected ]`.
    headed
        || lead.is_empty()
        || lead.ends_with(b"/")
        || before.ends_with(b"task ")
        || before.starts_with(b"WARNING: ") && at < 24
}
