//! Tasks that do not run, CPUs that do not answer, grace periods that do not end.

use super::{Recipe, Rule, Shape, rule};
use crate::model::{Kind, Severity};

const STALL_VETO: &[&str] = &["Stall ended before state dump start"];

pub(super) const RULES: &[Rule] = &[
    rule(
        "hung_task",
        Kind::HungTask,
        Severity::Error,
        &["blocked for more than ", "blocked in I/O wait for more than ", "can't die for more than "],
        "task hung",
        "kernel/hung_task.c check_hung_task, hung_task_info",
        "khungtaskd: a task in state D was not scheduled for hung_task_timeout_secs.",
    )
    .anywhere()
    .check(task_before)
    .recipe(Recipe::Hang),
    rule(
        "soft_lockup",
        Kind::SoftLockup,
        Severity::Error,
        &["BUG: soft lockup"],
        "soft lockup",
        "kernel/watchdog.c watchdog_timer_fn",
        "A CPU did not schedule for 2 * watchdog_thresh seconds.",
    )
    .recipe(Recipe::Stall),
    rule(
        "workqueue_lockup",
        Kind::SoftLockup,
        Severity::Error,
        &["BUG: workqueue lockup"],
        "workqueue lockup",
        "kernel/workqueue.c wq_watchdog_timer_fn",
        "A worker pool made no progress for workqueue.watchdog_thresh seconds.",
    )
    .recipe(Recipe::None),
    rule(
        "hard_lockup",
        Kind::HardLockup,
        Severity::Fatal,
        &[
            "Watchdog detected hard LOCKUP",
            "watchdog: CPU: ",
            "Watchdog CPU:",
            "self-detected hard LOCKUP",
            "detected hard LOCKUP on other CPUs",
        ],
        "hard lockup",
        "kernel/watchdog.c watchdog_hardlockup_check; arch/powerpc/kernel/watchdog.c",
        "A CPU took no timer interrupt for watchdog_thresh seconds.",
    )
    .within(48)
    .check(hard_lockup)
    .recipe(Recipe::Pc),
    rule(
        "rcu_stall",
        Kind::RcuStall,
        Severity::Error,
        &[
            "INFO: rcu_",
            "self-detected stall on CPU",
            "detected stalls on CPUs/tasks",
            "detected expedited stalls on CPUs/tasks",
        ],
        "RCU stall",
        "kernel/rcu/tree_stall.h print_other_cpu_stall, print_cpu_stall; tree_exp.h; tasks.h",
        "An RCU grace period does not end: a CPU or a task stays in a read-side section.",
    )
    .within(64)
    .veto(STALL_VETO)
    .check(rcu_stall)
    // A check that fails while the stalled CPU is being looked at belongs to the stall.
    .then(&["warn", "soft_failures"])
    .recipe(Recipe::Stall),
    rule(
        "rcu_starved",
        Kind::RcuStall,
        Severity::Error,
        &["kthread starved for ", "kthread timer wakeup didn't happen for "],
        "RCU grace-period kthread starved",
        "kernel/rcu/tree_stall.h rcu_check_gp_kthread_starvation",
        "The kernel thread that ends grace periods gets no CPU time.",
    )
    .within(48)
    .check(|b, at| b[..at].windows(4).any(|w| w == b"rcu_"))
    .role(super::Role::Follow)
    .recipe(Recipe::Stall),
    rule(
        "clocksource_unstable",
        Kind::Other,
        Severity::Warning,
        &["Marking clocksource "],
        "clocksource unstable",
        "kernel/time/clocksource.c __clocksource_unstable",
        "The clock source jumps; often the mark of a stalled virtual CPU or broken firmware.",
    )
    .within(48)
    .quiet()
    .single(),
    rule(
        "rt_throttling",
        Kind::Other,
        Severity::Warning,
        &["sched: RT throttling activated", "sched: DL replenish lagged"],
        "real-time tasks throttled",
        "kernel/sched/rt.c sched_rt_runtime_exceeded",
        "Real-time tasks used up their share; other tasks starve.",
    )
    .quiet()
    .single(),
    rule(
        "nmi_watchdog_reset",
        Kind::Other,
        Severity::Fatal,
        &["watchdog did not stop!", "Watchdog timer pretimeout event"],
        "hardware watchdog about to fire",
        "drivers/watchdog/watchdog_dev.c watchdog_release; watchdog_pretimeout.c",
        "Nobody feeds the hardware watchdog any more.",
    )
    .within(48)
    .quiet()
    .shape(Shape::Single)
    .recipe(Recipe::None),
];

/// `INFO: task NAME:PID blocked …`: the name may hold anything, so only its two ends are looked at.
fn task_before(body: &[u8], at: usize) -> bool {
    let before = body[..at].trim_ascii_end();
    let digits = before.iter().rev().take_while(|c| c.is_ascii_digit()).count();
    let head = before.strip_prefix(b"INFO: ").unwrap_or(before);
    // With CONFIG_DETECT_HUNG_TASK_BLOCKER and in some vendor kernels a state follows the pid.
    let pid_last = digits > 0 && before.len() > digits && before[before.len() - digits - 1] == b':';
    head.starts_with(b"task ") && (pid_last || before.ends_with(b"task"))
        || head.starts_with(b"task ") && at < 96 && pid_like(head)
}

fn pid_like(head: &[u8]) -> bool {
    head.windows(2).any(|w| w[0] == b':' && w[1].is_ascii_digit())
}

fn hard_lockup(body: &[u8], at: usize) -> bool {
    let rest = &body[at..];
    if rest.starts_with(b"watchdog: CPU: ") || rest.starts_with(b"Watchdog CPU:") {
        return rest.len() < 300 && memchr::memmem::find(rest, b"ard LOCKUP").is_some();
    }
    true
}

/// `rcu: INFO: rcu_sched self-detected stall on CPU`, `INFO: rcu_tasks detected stalls on tasks`.
fn rcu_stall(body: &[u8], at: usize) -> bool {
    let head = &body[..body.len().min(160)];
    let rcu = memchr::memmem::find(&head[..head.len().min(at + 64)], b"rcu").is_some();
    rcu && memchr::memmem::find(head, b"stall").is_some()
}
