//! Tasks and CPUs that are stuck: which, for how long, and who is in the way.

use crate::detect::facts::{cut, leading_number, number_after, set, set_number};
use crate::model::Event;

/// `INFO: task NAME:PID blocked for more than N seconds.` (kernel/hung_task.c check_hung_task)
pub(super) fn task(event: &mut Event, body: &str) {
    let Some((_, rest)) = body.split_once("task ") else { return };
    for phrase in [" blocked for more than ", " blocked in I/O wait for more than ", " can't die for more than "] {
        let Some((task, tail)) = rest.split_once(phrase) else { continue };
        if let Some((name, pid)) = task.rsplit_once(':') {
            event.comm.get_or_insert_with(|| cut(name));
            event.pid = event.pid.or(leading_number(pid).and_then(|n| i32::try_from(n).ok()));
        }
        set_number(event, "wait_s", leading_number(tail));
    }
    if body.starts_with("INFO: task ") {
        blocker(event, rest);
    }
}

/// Since 6.16, with CONFIG_DETECT_HUNG_TASK_BLOCKER (kernel/hung_task.c debug_show_blocker):
/// `… is blocked on a mutex likely owned by task NAME:PID.`, `… blocked on a semaphore likely last held by task NAME:PID`,
/// `… <reader> blocked on an rw-semaphore likely owned by task NAME:PID <writer>`, `… on a mutex, but the owner is not found.`
fn blocker(event: &mut Event, rest: &str) {
    let Some((_, lock)) = rest.split_once(" blocked on a") else { return };
    let lock = lock.strip_prefix('n').unwrap_or(lock).trim_start();
    let end = lock.find([' ', ',', '.']).unwrap_or(lock.len());
    set(event, "blocked_on", &lock[..end]);
    for phrase in [" likely owned by task ", " likely last held by task "] {
        let Some((_, owner)) = lock.split_once(phrase) else { continue };
        let owner = owner.trim_end().trim_end_matches('.');
        let owner = owner.rsplit_once(" <").filter(|p| p.1.ends_with('>')).map_or(owner, |p| p.0);
        if let Some((name, pid)) = owner.rsplit_once(':') {
            set(event, "owner", name);
            set_number(event, "owner_pid", leading_number(pid));
        }
    }
}

/// `BUG: soft lockup - CPU#1 stuck for 22s! [name:123]` (kernel/watchdog.c), `Watchdog detected hard LOCKUP on cpu 3`,
/// `watchdog: CPU 3 self-detected hard LOCKUP @ …` (arch/powerpc/kernel/watchdog.c).
pub(super) fn lockup(event: &mut Event, body: &str) {
    if let Some((_, rest)) = body.split_once("soft lockup - CPU#") {
        event.cpu = event.cpu.or(leading_number(rest).and_then(|n| u32::try_from(n).ok()));
        set_number(event, "wait_s", number_after(rest, "stuck for "));
        if let Some((_, task)) = rest.split_once('[')
            && let Some((name, pid)) = task.trim_end().trim_end_matches(']').rsplit_once(':')
        {
            event.comm.get_or_insert_with(|| cut(name));
            event.pid = event.pid.or(pid.parse().ok());
        }
    }
    for key in ["LOCKUP on cpu ", "watchdog: CPU "] {
        if let Some(n) = number_after(body, key) {
            event.cpu = event.cpu.or(u32::try_from(n).ok());
        }
    }
    // `BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 31s!`
    if body.contains("workqueue lockup") {
        set_number(event, "wait_s", number_after(body, "stuck for "));
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::facts::tests::event_of;
    use crate::model::Kind;

    #[test]
    fn a_hung_task_and_who_blocks_it() {
        for (line, lock, owner) in [
            ("INFO: task a:b:7 is blocked on a mutex likely owned by task c d:8.", "mutex", Some(("c d", "8"))),
            ("INFO: task a:b:7 blocked on a semaphore likely last held by task c:d:8", "semaphore", Some(("c:d", "8"))),
            (
                "INFO: task a:7 <writer> blocked on an rw-semaphore likely owned by task c:8 <reader>",
                "rw-semaphore",
                Some(("c", "8")),
            ),
            ("INFO: task a:7 is blocked on a mutex, but the owner is not found.", "mutex", None),
        ] {
            let e = event_of(Kind::HungTask, &format!("INFO: task a:b:7 blocked for more than 122 seconds.\n{line}"));
            assert_eq!((e.comm.as_deref(), e.pid), (Some("a:b"), Some(7)));
            let detail = |k: &str| e.details.get(k).map(String::as_str);
            assert_eq!((detail("wait_s"), detail("blocked_on")), (Some("122"), Some(lock)), "{line}");
            assert_eq!(detail("owner").zip(detail("owner_pid")), owner, "{line}");
        }
    }

    #[test]
    fn lockups_name_their_cpu() {
        let e = event_of(Kind::SoftLockup, "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:55]");
        assert_eq!((e.cpu, e.comm.as_deref(), e.pid), (Some(3), Some("kworker/3:1"), Some(55)));
        assert_eq!(e.details["wait_s"], "22");
        assert_eq!(event_of(Kind::HardLockup, "watchdog: Watchdog detected hard LOCKUP on cpu 5").cpu, Some(5));
        assert_eq!(event_of(Kind::HardLockup, "watchdog: CPU 9 self-detected hard LOCKUP @ f+0x1/0x2").cpu, Some(9));
    }
}
