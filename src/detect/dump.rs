//! A report's lines as stacks and program counters.

use crate::detect::frames::{self, Part};

/// Frames kept of one stack, and stacks kept of one report.
const FRAMES_MAX: usize = 256;
const STACKS_MAX: usize = 24;

/// One entry of a stack, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Frame(String),
    /// A function that the compiler put into the next frame, as a symbolizer adds it.
    Inlined(String),
    /// The registers printed in the middle of a stack say where the interrupted code was.
    Pc(String),
    IrqStart,
    IrqEnd,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stack {
    pub items: Vec<Item>,
}

impl Stack {
    /// The names of its frames, without suffixes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(Item::name)
    }

    /// The same without what only a symbolizer knows.
    pub fn printed(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter(|i| !matches!(i, Item::Inlined(_))).filter_map(Item::name)
    }
}

impl Item {
    pub fn name(&self) -> Option<&str> {
        match self {
            Item::Frame(n) | Item::Inlined(n) | Item::Pc(n) => Some(n.as_str()),
            Item::IrqStart | Item::IrqEnd => None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dump {
    pub stacks: Vec<Stack>,
    /// Program counters, in order of the text.
    pub pcs: Vec<String>,
}

impl Dump {
    /// Reads the bodies of a report, header first.
    pub fn read<'a>(bodies: impl Iterator<Item = &'a str>) -> Dump {
        let mut dump = Dump::default();
        let mut now = Stack::default();
        let mut gap = false;
        // The next frame is a remark, not a stack.
        let mut remark = false;
        for body in bodies {
            if std::mem::take(&mut remark) && matches!(frames::part(body), Part::Frame(..)) {
                continue;
            }
            remark = is_remark(body);
            let (before, rest) = frames::split_marker(body);
            for part in before.into_iter().chain(std::iter::once(frames::part(rest))) {
                // Another writer's line between two frames does not end a stack; the title of a section does.
                if part == Part::Text && !is_section(rest) {
                    continue;
                }
                dump.take(part, rest.ends_with("[inline]"), &mut now, &mut gap);
            }
        }
        dump.close(&mut now);
        dump
    }

    fn take(&mut self, part: Part<'_>, inlined: bool, now: &mut Stack, gap: &mut bool) {
        match part {
            Part::TraceStart => {
                self.close(now);
                *gap = false;
            }
            Part::Frame(name, true) => {
                if *gap {
                    self.close(now);
                    *gap = false;
                }
                push(now, if inlined { Item::Inlined(clean(name)) } else { Item::Frame(clean(name)) });
            }
            Part::Pc(name) => {
                let name = clean(name);
                if !*gap && !now.items.is_empty() {
                    push(now, Item::Pc(name.clone()));
                }
                if self.pcs.len() < STACKS_MAX {
                    self.pcs.push(name);
                }
            }
            Part::IrqStart => push(now, Item::IrqStart),
            Part::IrqEnd => push(now, Item::IrqEnd),
            Part::Frame(_, false) | Part::Neutral => {}
            Part::User | Part::Text => *gap = true,
        }
    }

    fn close(&mut self, now: &mut Stack) {
        let done = std::mem::take(now);
        if done.names().next().is_some() && self.stacks.len() < STACKS_MAX {
            self.stacks.push(done);
        }
    }
}

/// Beginnings of lines behind which another stack comes, by who prints them.
const SECTIONS: &[&str] = &[
    "CPU: ",            // lib/dump_stack.c dump_stack_print_info
    "NMI backtrace",    // lib/nmi_backtrace.c
    "Sending NMI",      // lib/nmi_backtrace.c
    "---[ ",            // kernel/panic.c
    "task:",            // kernel/sched/core.c sched_show_task
    "Allocated",        // mm/kasan/report.c print_track
    "Freed",            // mm/kasan/report.c print_track
    "Last potentially", // mm/kasan/report.c, kasan_record_aux_stack
    "Uninit was",       // mm/kmsan/report.c
    "hardirqs last",    // kernel/locking/lockdep.c print_irqtrace_events
    "softirqs last",    // kernel/locking/lockdep.c print_irqtrace_events
];

/// `Freed by task 12:`, `CPU: 1 PID: …`, `NMI backtrace for cpu 2`: what comes is another stack.
fn is_section(body: &str) -> bool {
    let t = body.trim();
    t.ends_with(':') || SECTIONS.iter().any(|w| t.starts_with(w))
}

/// `Preemption disabled at:` and below it one address that looks like a frame (kernel/sched/core.c
/// print_preempt_disable_ip).
fn is_remark(body: &str) -> bool {
    body.trim() == "Preemption disabled at:"
}

fn push(stack: &mut Stack, item: Item) {
    if stack.items.len() < FRAMES_MAX {
        stack.items.push(item);
    }
}

fn clean(name: &str) -> String {
    frames::readable(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_end_at_text_and_keep_the_interrupted_counter() {
        let text = "Call Trace:\n <IRQ>\n dump_stack+0x1/0x2\n tick+0x1/0x2\n </IRQ>\nRIP: 0010:busy+0x1/0x2\nRAX: 0000\n loop_forever+0x1/0x2\nFreed by task 1:\n kfree+0x1/0x2";
        let d = Dump::read(text.lines());
        assert_eq!(d.stacks.len(), 2);
        assert_eq!(d.stacks[0].names().collect::<Vec<_>>(), ["dump_stack", "tick", "busy", "loop_forever"]);
        assert_eq!(d.pcs, ["busy"]);
    }

    #[test]
    fn where_preemption_was_disabled_is_no_stack() {
        let text = "BUG: sleeping function\nPreemption disabled at:\n[<ffffffff81234567>] remark+0x1/0x2\nCall Trace:\n dump_stack+0x1/0x2\n caller+0x1/0x2";
        let d = Dump::read(text.lines());
        assert_eq!(d.stacks.len(), 1);
        assert_eq!(d.stacks[0].names().collect::<Vec<_>>(), ["dump_stack", "caller"]);
    }
}
