//! Who ran, on which CPU, under which kernel, on which machine, and whose modules took part.

use crate::detect::facts::{cut, leading_number, number_after, set};
use crate::model::Event;

/// Most modules of one trace that are named.
const MODULES_MAX: usize = 32;

/// `CPU: 1 PID: 12 Comm: x Not tainted 6.1.0 #1` (lib/dump_stack.c), `Pid: 12, comm: x Not tainted 2.6.32 #1`, `Hardware name: …`,
/// and where the release stands alone: `      Not tainted 6.6.30 #1` (kernel/hung_task.c), `6.6.30 #1 Not tainted` (lockdep.c).
pub(super) fn read(event: &mut Event, body: &str) {
    let t = body.trim_start();
    if let Some(name) = t.strip_prefix("Hardware name:") {
        set(event, "hardware", name);
        return;
    }
    if let Some(queue) = t.strip_prefix("Workqueue: ") {
        set(event, "workqueue", queue);
        return;
    }
    if let Some(reason) = t.split_once("Kernel panic - not syncing").map(|p| p.1) {
        set(event, "panic", reason.trim_start_matches(':'));
    }
    if event.tainted.is_some() && event.kernel.is_some() {
        return;
    }
    if t.starts_with("Not tainted ") || t.starts_with("Tainted: ") && !t.contains("]=") {
        return taint(event, t);
    }
    if let Some((before, _)) = t.split_once(" Not tainted")
        && before.starts_with(|c: char| c.is_ascii_digit())
        && before.contains('.')
    {
        event.kernel = event.kernel.take().or(release(before));
        event.tainted.get_or_insert_with(|| "Not tainted".into());
        return;
    }
    if let Some((before, flags)) = t.split_once(" Tainted: ")
        && before.starts_with(|c: char| c.is_ascii_digit())
        && before.contains('.')
    {
        event.kernel = event.kernel.take().or(release(before));
        event.tainted.get_or_insert_with(|| cut(flags_of(flags).0));
        return;
    }
    comm_line(event, t);
}

fn comm_line(event: &mut Event, t: &str) {
    let comm = t.split_once("Comm: ").or_else(|| t.split_once("comm: ").filter(|p| p.0.starts_with("Pid: ")));
    let Some((before, after)) = comm else {
        // The newest WARN grammar: `…, CPU#1: comm/123`.
        if let Some((_, tail)) = t.split_once(", CPU#")
            && let Some((cpu, task)) = tail.split_once(": ")
        {
            event.cpu = event.cpu.or(cpu.parse().ok());
            if let Some((name, pid)) = task.trim().rsplit_once('/') {
                event.pid = event.pid.or(pid.parse().ok());
                event.comm.get_or_insert_with(|| cut(name));
            }
        }
        return;
    };
    if event.tainted.is_some() {
        return;
    }
    event.cpu = event.cpu.or(number_after(before, "CPU: ").and_then(|n| u32::try_from(n).ok()));
    let pid = number_after(before, "PID: ").or_else(|| number_after(before, "Pid: "));
    event.pid = event.pid.or(pid.and_then(|n| i32::try_from(n).ok()));
    // The name ends where the taint begins; it may hold spaces itself.
    let Some((name, tail)) = ["Kdump: loaded", "Not tainted", "Tainted: "]
        .iter()
        .find_map(|w| after.find(w).map(|n| (after[..n].trim(), &after[n..])))
    else {
        event.comm.get_or_insert_with(|| cut(after.split(' ').next().unwrap_or(after)));
        return;
    };
    event.comm.get_or_insert_with(|| cut(name));
    taint(event, tail.strip_prefix("Kdump: loaded").unwrap_or(tail).trim_start());
}

/// `Not tainted 6.6.30 #1`, `Tainted: G        W  OE     6.6.30 #1`.
fn taint(event: &mut Event, tail: &str) {
    if let Some(rest) = tail.strip_prefix("Not tainted") {
        event.tainted.get_or_insert_with(|| "Not tainted".into());
        event.kernel = event.kernel.take().or(release(rest));
    } else if let Some(rest) = tail.strip_prefix("Tainted: ") {
        let (flags, rest) = flags_of(rest);
        event.tainted.get_or_insert_with(|| cut(flags));
        event.kernel = event.kernel.take().or(release(rest));
    }
}

/// The letters, and what stands behind them.
fn flags_of(text: &str) -> (&str, &str) {
    let n = text.bytes().take_while(|c| c.is_ascii_uppercase() || *c == b' ').count();
    (text[..n].trim_end(), &text[n..])
}

/// The first word, if it looks like a kernel release.
fn release(rest: &str) -> Option<String> {
    // RHEL 7 fills the place of flags that are not set with dashes.
    let word = rest.trim_start_matches([' ', '-']).split_ascii_whitespace().next()?;
    word.bytes().next().is_some_and(|c| c.is_ascii_digit()).then(|| cut(word.trim_start_matches('(')))
}

/// Adds the modules that a frame or program counter of this body names: `f+0x1/0x2 [mod]`, with CONFIG_STACKTRACE_BUILD_ID
/// `f+0x1/0x2 [mod 4a1b…]` (kernel/kallsyms.c `__sprint_symbol`), on arm `(f [mod]) from [<…>] (g+0x1/0x2 [mod])`.
pub(crate) fn modules(body: &str, into: &mut Vec<String>) {
    if !body.contains("+0x") {
        return;
    }
    for piece in body.split('[').skip(1).take(8) {
        let Some((inside, _)) = piece.split_once(']') else { continue };
        let name = inside.split(' ').next().unwrap_or(inside);
        let first = name.bytes().next();
        let named = first.is_some_and(|c| c.is_ascii_lowercase() || c == b'_' || c.is_ascii_uppercase())
            && name.len() <= 56
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
        // Not an address, a stamp's caller, or what a symbolizer adds.
        let address = name.len() >= 8 && name.bytes().all(|c| c.is_ascii_hexdigit());
        let caller = name.len() > 1 && matches!(first, Some(b'T' | b'C')) && leading_number(&name[1..]).is_some();
        if named
            && !address
            && !caller
            && name != "inline"
            && into.len() < MODULES_MAX
            && !into.iter().any(|m| m == name)
        {
            into.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::facts::tests::event_of;
    use crate::model::Kind;

    #[test]
    fn the_comm_line_of_every_age_is_read() {
        for (line, tainted, kernel) in [
            ("CPU: 1 PID: 42 Comm: a b Not tainted 6.6.30 #1", "Not tainted", "6.6.30"),
            (
                "CPU: 1 UID: 0 PID: 42 Comm: a b Tainted: G        W  OE      6.12.3-4.el10 #1 PREEMPT(full)",
                "G        W  OE",
                "6.12.3-4.el10",
            ),
            (
                "CPU: 1 PID: 42 Comm: a b Kdump: loaded Tainted: P           O       5.14.0 #1",
                "P           O",
                "5.14.0",
            ),
            (
                "CPU: 1 PID: 42 Comm: a b Tainted: GF          O--------------   3.10.0-54.0.1.el7.s390x #1",
                "GF          O",
                "3.10.0-54.0.1.el7.s390x",
            ),
            ("Pid: 42, comm: a b Not tainted 2.6.32-71.el6.x86_64 #1", "Not tainted", "2.6.32-71.el6.x86_64"),
        ] {
            let e = event_of(Kind::Oops, line);
            assert_eq!((e.comm.as_deref(), e.pid), (Some("a b"), Some(42)), "{line}");
            assert_eq!((e.tainted.as_deref(), e.kernel.as_deref()), (Some(tainted), Some(kernel)), "{line}");
        }
        let e = event_of(
            Kind::HungTask,
            "INFO: task x:1 blocked for more than 120 seconds.\n      Tainted: G        W          6.6.30 #1",
        );
        assert_eq!((e.tainted.as_deref(), e.kernel.as_deref()), (Some("G        W"), Some("6.6.30")));
        let e = event_of(Kind::Lockdep, "6.6.30 #1 Not tainted");
        assert_eq!((e.tainted.as_deref(), e.kernel.as_deref()), (Some("Not tainted"), Some("6.6.30")));
        // The long form of 6.12 comes on a line of its own and adds nothing.
        let e = event_of(
            Kind::Oops,
            "CPU: 0 UID: 0 PID: 9 Comm: x Tainted: G        W           6.12.0 #1\nTainted: [W]=WARN",
        );
        assert_eq!(e.tainted.as_deref(), Some("G        W"));
    }

    #[test]
    fn modules_are_named_once_and_in_order() {
        let mut got = Vec::new();
        for line in [
            "RIP: 0010:pool_map+0x1a/0x40 [dm_thin_pool]",
            " dm_submit+0x1/0x2 [dm_mod 4a1b2c3d4e5f60718293a4b5c6d7e8f901234567]",
            " pool_ctr+0x1/0x2 [dm_thin_pool]",
            " [<ffffffffa0642332>] ? xmit+0x42/0x220 [l2tp_ppp]",
            " vfs_write net/x.c:1 [inline]",
            "[<bf000abc>] (init [ext2]) from [<c0101234>] (do_one_initcall+0x1/0x2)",
            "Modules linked in: many [last unloaded: other]",
        ] {
            super::modules(line, &mut got);
        }
        assert_eq!(got, ["dm_thin_pool", "dm_mod", "l2tp_ppp", "ext2"]);
    }
}
