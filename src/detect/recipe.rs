//! Which function is at fault: one way per family of reports.

use crate::detect::dump::{Dump, Item, Stack};
use crate::detect::frames::{self, Part};
use crate::detect::rules::Recipe;
use crate::detect::skip;

/// The function of a report; `None` where the text names none. `bodies` begins with the header.
pub(crate) fn function(recipe: Recipe, bodies: &[&str], dump: &Dump) -> Option<String> {
    let header = bodies.first().copied().unwrap_or("");
    let found = match recipe {
        Recipe::None => None,
        Recipe::Pc if executes_data(bodies) => {
            first_useful(dump).or_else(|| first_doubtful(bodies)).or_else(|| counter(dump))
        }
        Recipe::Pc => counter(dump).or_else(|| first_useful(dump)),
        Recipe::Header => useful(after_in(header)).or_else(|| first_useful(dump)).or_else(|| plain(after_in(header))),
        Recipe::Warn => useful(warn_site(header))
            .or_else(|| bodies.iter().take(8).find_map(|b| useful(warn_site(b))))
            // The header names no function, or a helper: the program counter stood in the one that warned.
            .or_else(|| dump.pcs.first().filter(|n| !skip::is_helper(n)).cloned())
            .or_else(|| first_useful(dump))
            .or_else(|| counter(dump))
            .or_else(|| plain(warn_site(header))),
        Recipe::Trace => last_function(bodies).or_else(|| first_useful(dump)).or_else(|| counter(dump)),
        Recipe::Panic if header.contains("corrupted stack end detected") => {
            recursing(dump).or_else(|| first_useful(dump))
        }
        Recipe::Panic => useful(after(header, " in: ")).or_else(|| first_useful(dump)),
        Recipe::Lock => wanted_lock(bodies)
            .or_else(|| held_lock(bodies))
            .or_else(|| acquiring(bodies))
            .or_else(|| first_useful(dump)),
        Recipe::Stall => stalled(dump).or_else(|| counter(dump)),
        Recipe::Overflow => recursing(dump).or_else(|| counter(dump)).or_else(|| first_useful(dump)),
        Recipe::Hang => hanging(&Dump::read(before_panic(bodies))),
        Recipe::Leak => allocated_for(dump).or_else(|| first_useful(dump)),
    };
    found.map(|f| frames::syscall(&f).into_owned())
}

/// The frames that a reader wants to see: those of the stack the function came from, reporting frames left out.
pub(crate) fn frames_of(dump: &Dump, function: Option<&str>) -> Vec<String> {
    let mut out = shown(stack_of(dump, function).into_iter().flat_map(Stack::names));
    if let (Some(f), true) = (function, out.is_empty()) {
        out.push(f.to_owned());
    }
    out
}

/// The frames that stay the same from kernel to kernel: without helpers and dispatchers, whose layers change, and
/// without what only a symbolizer knows.
pub(crate) fn stable_frames(dump: &Dump, function: Option<&str>) -> Vec<String> {
    let stable = |n: &&str| function == Some(*n) || !(skip::is_helper(n) || skip::is_anchor(n) || skip::is_waiting(n));
    shown(stack_of(dump, function).into_iter().flat_map(Stack::printed).filter(stable))
}

fn stack_of<'a>(dump: &'a Dump, function: Option<&str>) -> Option<&'a Stack> {
    function
        .and_then(|f| dump.stacks.iter().find(|s| s.names().any(|n| frames::syscall(n) == f)))
        .or_else(|| dump.stacks.first())
}

fn shown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut out: Vec<String> =
        names.skip_while(|n| skip::is_reporting(n)).map(|n| frames::syscall(n).into_owned()).collect();
    out.dedup();
    out
}

fn plain(name: Option<&str>) -> Option<String> {
    name.map(frames::readable)
}

fn useful(name: Option<&str>) -> Option<String> {
    plain(name).filter(|n| !skip::is_helper(n))
}

/// The first program counter in kernel code that is nobody's helper.
fn counter(dump: &Dump) -> Option<String> {
    let first = dump.pcs.iter().find(|n| !skip::is_reporting(n))?;
    if skip::is_helper(first) { first_useful(dump).or_else(|| Some(first.clone())) } else { Some(first.clone()) }
}

/// The fault was to fetch an instruction, so the program counter is no function: who jumped there is at fault
/// (`#PF: supervisor instruction fetch in kernel mode` of arch/x86/mm/fault.c show_fault_oops; `Execute from
/// non-executable memory` of arch/arm64/mm/fault.c).
fn executes_data(bodies: &[&str]) -> bool {
    bodies
        .iter()
        .take(6)
        .any(|b| b.contains("instruction fetch in kernel mode") || b.contains("xecute from non-executable"))
}

/// Where the unwinder could not begin it doubts every frame; then the first one is the best there is.
fn first_doubtful(bodies: &[&str]) -> Option<String> {
    bodies.iter().find_map(|b| match frames::part(b) {
        Part::Frame(name, false) => useful(Some(name)).filter(|n| !skip::is_waiting(n)),
        _ => None,
    })
}

fn first_useful(dump: &Dump) -> Option<String> {
    dump.stacks
        .iter()
        .take(3)
        .find_map(|s| s.names().find(|n| !skip::is_helper(n) && !skip::is_waiting(n)))
        .map(str::to_owned)
}

/// In a leak whatever has "alloc" in its name did what it was asked for.
fn allocated_for(dump: &Dump) -> Option<String> {
    dump.stacks.first()?.names().find(|n| !skip::is_allocation(n) && !n.contains("alloc")).map(str::to_owned)
}

/// `     last function: FUNCTION` below `BUG: workqueue leaked lock or atomic` (kernel/workqueue.c).
fn last_function(bodies: &[&str]) -> Option<String> {
    let rest = bodies.iter().take(6).find_map(|b| b.trim().strip_prefix("last function: "))?;
    let name = rest.split("+0x").next().unwrap_or(rest).trim();
    plain(frames::is_symbol(name).then_some(name))
}

/// `… in FUNCTION+0x1/0x2`, `… in FUNCTION / other`.
fn after_in(header: &str) -> Option<&str> {
    after(header, " in ")
}

fn after<'a>(header: &'a str, word: &str) -> Option<&'a str> {
    let at = header.find(word)? + word.len();
    let rest = &header[at..];
    let name = match rest.find("+0x") {
        Some(plus) if frames::is_symbol(&rest[..plus]) => &rest[..plus],
        _ => rest.split([' ', '+', ',']).next()?,
    };
    frames::is_symbol(name).then_some(name)
}

/// The function behind the source location of a WARN.
fn warn_site(header: &str) -> Option<&str> {
    if !header.contains("WARNING:") && !header.contains("Badness at") {
        return None;
    }
    let at = header.rfind(" at ").map(|n| n + 4).or_else(|| header.find(" at").map(|n| n + 3))?;
    header[at..].split_ascii_whitespace().take(3).find_map(|word| {
        let word = word.trim_end_matches(',');
        let name = word.split("+0x").next().unwrap_or(word).trim_end_matches("()");
        let function = word.contains("+0x") || word.ends_with("()");
        (function && frames::is_symbol(name)).then_some(name)
    })
}

/// `… is trying to acquire lock:` and the `at: FUNCTION` of the next lines.
fn wanted_lock(bodies: &[&str]) -> Option<String> {
    const WANTS: &[&str] = &[
        "trying to acquire lock",
        "trying to release lock",
        "trying to lock:",
        "trying to contend lock",
        "takes:",
        "is freeing memory",
    ];
    let start = bodies.iter().take(60).position(|b| WANTS.iter().any(|w| b.contains(w)))?;
    bodies[start..].iter().take(5).find(|b| b.contains(" at: ")).and_then(|b| lock_site(b))
}

/// `… (&lock){+.+.}-{3:3}, at: FUNCTION+0x1/0x2`: where a lock was, or is to be, taken (lockdep.c print_lock).
fn lock_site(line: &str) -> Option<String> {
    let rest = &line[line.find(" at: ")? + 5..];
    let name = rest.rsplit("] ").next().unwrap_or(rest).split("+0x").next()?.split_ascii_whitespace().next()?;
    useful(frames::is_symbol(name).then_some(name)).filter(|n| !skip::is_waiting(n))
}

/// `TASK still has locks held!`, `lock held when returning to user space!`: who took the lock and kept it.
fn held_lock(bodies: &[&str]) -> Option<String> {
    const KEPT: &[&str] = &["still has locks held!", "lock held when returning to user space!"];
    let header = bodies.first()?;
    if !KEPT.iter().any(|w| header.contains(w)) {
        return None;
    }
    bodies.iter().take(20).find(|b| b.contains(" at: ")).and_then(|b| lock_site(b))
}

/// The stack of the task that lockdep stopped stands last, below the chain of those that came before it
/// (kernel/locking/lockdep.c print_circular_bug).
fn acquiring(bodies: &[&str]) -> Option<String> {
    let at = bodies.iter().position(|b| b.trim() == "stack backtrace:")?;
    first_useful(&Dump::read(bodies[at..].iter().copied()))
}

/// The text of the cause without the panic that followed: its stack is that of the reporter.
fn before_panic<'a>(bodies: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let panic = |b: &&str| b.starts_with("Kernel panic - not syncing");
    let end = bodies.iter().skip(1).position(panic).map_or(bodies.len(), |n| n + 1);
    bodies[..end].iter().copied()
}

/// A stack that ran over its end: the top frame is whatever took the last bytes. A function that calls itself is
/// the answer; a longer circle was entered by the frame above the dispatcher.
fn recursing(dump: &Dump) -> Option<String> {
    let stack = dump.stacks.iter().max_by_key(|s| s.items.len())?;
    let names: Vec<&str> = stack.names().collect();
    let itself = names.windows(3).find(|w| w[0] == w[1] && w[1] == w[2] && !skip::is_helper(w[0]));
    match itself {
        Some(w) => Some(w[0].to_owned()),
        None => above_anchor(interrupted(stack).unwrap_or(&stack.items)),
    }
}

/// What the CPU ran below the interrupt: the frame above the first dispatcher.
fn stalled(dump: &Dump) -> Option<String> {
    // A report shows every CPU; one that was idle holds nobody up (kernel/sched/idle.c).
    let idle = |s: &Stack| s.names().any(|n| matches!(n, "do_idle" | "cpu_startup_entry"));
    if dump.stacks.iter().any(idle) && !dump.stacks.iter().all(idle) {
        let stacks = dump.stacks.iter().filter(|s| !idle(s)).cloned().collect();
        return stalled(&Dump { stacks, pcs: dump.pcs.clone() });
    }
    let gp_kthread = |s: &Stack| s.names().any(|n| n == "rcu_gp_kthread" || n == "rcu_nocb_gp_kthread");
    // A lockup prints registers, then the stack of the CPU that noticed it about itself: nothing is below.
    if let (Some(first), Some(_)) = (dump.stacks.first(), dump.pcs.first())
        && interrupted(first).is_none()
        && !gp_kthread(first)
        && !first.items.iter().any(|i| matches!(i, Item::Pc(_) | Item::IrqStart))
    {
        return above_anchor(&first.items);
    }
    let mut fallback = None;
    for (n, stack) in dump.stacks.iter().enumerate().filter(|(_, s)| !gp_kthread(s)) {
        let Some(below) = interrupted(stack) else {
            if fallback.is_none() {
                fallback = above_anchor(&stack.items);
            }
            continue;
        };
        // The registers of a soft lockup stand before its stack: their counter is the innermost frame.
        let counter = dump.pcs.first().filter(|_| n == 0 && !below.iter().any(|i| matches!(i, Item::Pc(_))));
        let below: Vec<Item> =
            counter.map(|pc| Item::Pc(pc.clone())).into_iter().chain(below.iter().cloned()).collect();
        if let Some(name) = above_anchor(&below) {
            return Some(name);
        }
    }
    fallback
}

/// The part of a stack behind the entry of the interrupt.
fn interrupted(stack: &Stack) -> Option<&[Item]> {
    let at = stack.items.iter().position(|i| match i {
        Item::Frame(n) => skip::is_interrupt_entry(n),
        Item::IrqEnd => true,
        _ => false,
    })?;
    // Entry frames come in rows: `__irq_svc` behind `gic_handle_irq`.
    let more = stack.items[at..].iter().take_while(|i| match i {
        Item::Frame(n) => skip::is_interrupt_entry(n) || skip::is_reporting(n),
        Item::IrqEnd => true,
        _ => false,
    });
    let rest = &stack.items[at + more.count()..];
    (!rest.is_empty()).then_some(rest)
}

/// The frame above the first dispatcher. Where only helpers stand there, the dispatcher says most.
fn above_anchor(items: &[Item]) -> Option<String> {
    let mut last: Option<&str> = None;
    let mut useful: Option<&str> = None;
    let mut anchor: Option<&str> = None;
    for item in items {
        let Some(name) = item.name() else { continue };
        if name.starts_with("smp_call_function") && !name.ends_with("interrupt") {
            // However the other CPUs were called, that they do not answer is one failure.
            return Some("smp_call_function".into());
        }
        if skip::is_anchor(name) {
            if last.is_some() {
                anchor = Some(name).filter(|n| !skip::is_helper(n));
                break;
            }
            continue;
        }
        last = Some(name);
        // A compat entry turns the arguments into native ones and calls the native entry.
        if !skip::is_helper(name) && (useful.is_none() || !name.contains("_compat_")) {
            useful = Some(name);
        }
    }
    useful.or(anchor).or(last).map(str::to_owned)
}

/// The first frame of a blocked task that is not waiting itself; the two great queues stand for themselves.
fn hanging(dump: &Dump) -> Option<String> {
    let stack = dump.stacks.first()?;
    let mut names = stack.names();
    let first = names.find(|n| {
        n.starts_with("synchronize_")
            || n.starts_with("__synchronize_")
            || *n == "rtnl_lock"
            || !(skip::is_helper(n) || skip::is_waiting(n))
    })?;
    if first.starts_with("synchronize_") || first.starts_with("__synchronize_") {
        return Some("synchronize_rcu".into());
    }
    Some(first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(recipe: Recipe, text: &str) -> Option<String> {
        let bodies: Vec<&str> = text.lines().collect();
        function(recipe, &bodies, &Dump::read(bodies.iter().copied()))
    }

    #[test]
    fn each_recipe_finds_its_function() {
        for (recipe, text, want) in [
            (Recipe::Pc, "oops\nRIP: 0010:foo+0x1/0x2\nCall Trace:\n bar+0x1/0x2", "foo"),
            (
                Recipe::Pc,
                "BUG: x\n#PF: supervisor instruction fetch in kernel mode\nRIP: 0010:table+0x0/0x40\nCall Trace:\n bar+0x1/0x2",
                "bar",
            ),
            (
                Recipe::Pc,
                "BUG: x\n#PF: supervisor instruction fetch in kernel mode\nRIP: 0010:table+0x0/0x40\nCall Trace:\n ? bar+0x1/0x2",
                "bar",
            ),
            (Recipe::Pc, "oops\nRIP: 0010:memcpy+0x1/0x2\nCall Trace:\n kfree+0x1/0x2\n bar+0x1/0x2", "bar"),
            (Recipe::Header, "BUG: KASAN: use-after-free in foo+0x1/0x2\nCall Trace:\n bar+0x1/0x2", "foo"),
            (
                Recipe::Header,
                "BUG: KASAN: use-after-free in memcpy+0x1/0x2\nCall Trace:\n dump_stack+0x1/0x2\n bar+0x1/0x2",
                "bar",
            ),
            (Recipe::Warn, "WARNING: CPU: 1 PID: 2 at net/core/dev.c:12 foo+0x1/0x2", "foo"),
            (Recipe::Warn, "WARNING: at net/core/dev.c:12 foo()", "foo"),
            (Recipe::Warn, "WARNING: net/core/dev.c:12 at foo+0x1/0x2, CPU#1: x/1", "foo"),
            (
                Recipe::Lock,
                "WARNING: possible\nx/1 is trying to acquire lock:\nffff (a){+.+.}-{3:3}, at: foo+0x1/0x2\n",
                "foo",
            ),
            (
                Recipe::Stall,
                "rcu\n <IRQ>\n rcu_x+0x1/0x2\n apic_timer_interrupt+0x1/0x2\n </IRQ>\nRIP: 0010:random+0x1/0x2\n foo+0x1/0x2\n vfs_write+0x1/0x2",
                "foo",
            ),
            (
                Recipe::Stall,
                "rcu\nNMI backtrace for cpu 0\nCall Trace:\n default_idle+0x1/0x2\n do_idle+0x1/0x2\n start_kernel+0x1/0x2\nCPU: 1 PID: 1\nCall Trace:\n <IRQ>\n rcu_x+0x1/0x2\n </IRQ>\n foo+0x1/0x2\n vfs_write+0x1/0x2",
                "foo",
            ),
            (
                Recipe::Hang,
                "task\nCall Trace:\n __schedule+0x1/0x2\n schedule+0x1/0x2\n mutex_lock+0x1/0x2\n foo+0x1/0x2",
                "foo",
            ),
        ] {
            assert_eq!(of(recipe, text).as_deref(), Some(want), "{text}");
        }
        assert_eq!(of(Recipe::None, "x\nRIP: 0010:foo+0x1/0x2"), None);
    }
}
