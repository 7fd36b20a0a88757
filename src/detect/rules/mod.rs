//! The rule table: what a rule says, as data, and all rules in the order in which they are asked.
//!
//! A line is looked at when it holds a trigger. Of the rules whose trigger it holds, the first one in
//! the list of all rules whose place, vetoes and check agree takes the line: put the special before the general.
//! Each rule names the kernel source that prints its phrase.

mod boot;
mod hangs;
mod hardware;
mod locking;
mod memory;
mod network;
mod panic_oops;
mod sanitizers;
mod storage;
mod user;
mod warnings;

use crate::model::{Event, Kind, Severity};

/// Where in the body a trigger must begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Within this many bytes of its start.
    Within(usize),
    /// Anywhere in the scanned part.
    Anywhere,
}

/// How a rule behaves towards a report that is already open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Always a report of its own.
    Start,
    /// Belongs to the open report, if there is one; else a report of its own.
    Follow,
    /// Like `Follow`, and marks the report it joins as panicked.
    Panic,
    /// A boot marker: ends everything that is open.
    Boot,
}

/// How a report goes on after its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A dump of many lines: registers, stacks.
    Trace,
    /// One line; more of the same device or subject are counted into it.
    Single,
    /// A dump that ends with a line of the same rule family (the OOM killer's).
    Until(&'static str),
}

/// Where the function at fault stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// Program counter, then the first stack.
    Pc,
    /// `… in FUNCTION` of the header, then the first stack.
    Header,
    /// The three grammars of WARN, then the program counter, then the stack.
    Warn,
    /// First useful frame of the first stack.
    Trace,
    /// The lock that was wanted (`at: FUNCTION`), then the first stack.
    Lock,
    /// What the CPU ran below the interrupt that noticed.
    Stall,
    /// What the blocked task waits in.
    Hang,
    /// What recursed until the stack was full.
    Overflow,
    /// The stack of the allocation.
    Leak,
    /// `… is corrupted in: FUNCTION` of a panic, then the first stack.
    Panic,
    /// The text names no function.
    None,
}

/// What the title is made from; ` in FUNCTION` follows when one is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Title {
    Fixed(&'static str),
    /// The header from its trigger up to this text, normalised.
    UpTo(&'static str),
}

/// Whether a complete report is an alarm.
pub(crate) type Verdict = fn(&Event) -> bool;

/// Whether the body goes on, behind the trigger that starts at the given byte, as the kernel writes it.
pub(crate) type Check = fn(&[u8], usize) -> bool;

/// One rule. Built with [`rule`] and the methods below, all `const`.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub id: &'static str,
    pub kind: Kind,
    pub severity: Severity,
    pub alarm: bool,
    pub triggers: &'static [&'static str],
    pub vetoes: &'static [&'static str],
    pub place: Place,
    pub check: Option<Check>,
    /// Whether it is an alarm, asked of the complete report where the first line cannot tell.
    pub verdict: Option<Verdict>,
    /// Needs a printk stamp or a kernel tag on a console: the phrase is also firmware's or user space's.
    pub stamped: bool,
    /// May stand on a line that is tagged with a program's name and pid.
    pub program: bool,
    pub role: Role,
    /// Rules that belong to this one when they follow before any stack was printed.
    pub then: &'static [&'static str],
    pub shape: Shape,
    pub recipe: Recipe,
    pub title: Title,
    /// File (and function) in the kernel's source that prints it.
    pub source: &'static str,
    pub doc: &'static str,
}

/// A rule with the common answers: an alarm, near the start of the body, strong, a trace follows.
pub(crate) const fn rule(
    id: &'static str,
    kind: Kind,
    severity: Severity,
    triggers: &'static [&'static str],
    title: &'static str,
    source: &'static str,
    doc: &'static str,
) -> Rule {
    Rule {
        id,
        kind,
        severity,
        alarm: true,
        triggers,
        vetoes: &[],
        place: Place::Within(32),
        check: None,
        verdict: None,
        stamped: false,
        program: false,
        role: Role::Start,
        then: &[],
        shape: Shape::Trace,
        recipe: Recipe::Trace,
        title: Title::Fixed(title),
        source,
        doc,
    }
}

impl Rule {
    pub const fn quiet(mut self) -> Rule {
        self.alarm = false;
        self
    }
    /// Quiet on its first line; `verdict` decides when the report is complete.
    pub const fn quiet_until(mut self, verdict: Verdict) -> Rule {
        self.alarm = false;
        self.verdict = Some(verdict);
        self
    }
    pub const fn veto(mut self, vetoes: &'static [&'static str]) -> Rule {
        self.vetoes = vetoes;
        self
    }
    pub const fn within(mut self, bytes: usize) -> Rule {
        self.place = Place::Within(bytes);
        self
    }
    pub const fn anywhere(mut self) -> Rule {
        self.place = Place::Anywhere;
        self
    }
    pub const fn check(mut self, check: Check) -> Rule {
        self.check = Some(check);
        self
    }
    pub const fn stamped(mut self) -> Rule {
        self.stamped = true;
        self
    }
    pub const fn program(mut self) -> Rule {
        self.program = true;
        self
    }
    pub const fn role(mut self, role: Role) -> Rule {
        self.role = role;
        self
    }
    pub const fn then(mut self, ids: &'static [&'static str]) -> Rule {
        self.then = ids;
        self
    }
    pub const fn shape(mut self, shape: Shape) -> Rule {
        self.shape = shape;
        self
    }
    pub const fn single(mut self) -> Rule {
        self.shape = Shape::Single;
        self.recipe = Recipe::None;
        self
    }
    pub const fn recipe(mut self, recipe: Recipe) -> Rule {
        self.recipe = recipe;
        self
    }
    pub const fn up_to(mut self, stop: &'static str) -> Rule {
        self.title = Title::UpTo(stop);
        self
    }
}

/// Text behind these words is whatever a program chose: a trigger found after one does not count.
const CHOSEN_BY_USERS: &[&str] = &[
    "Unknown parameter '",       // fs/fs_parser.c: mount options
    "Unrecognized mount option", // several file systems
    "Unknown kernel command line parameters",
    "Command line:", // init/main.c
    "Kernel command line:",
    "Modules linked in:", // kernel/module/main.c
    "audit(",             // kernel/audit.c
    "Comm: ",             // lib/dump_stack.c
    "executable: ",
    "login: ",
];

/// The machine goes down because somebody asked: a boot behind one of these is no event.
/// kernel/reboot.c kernel_restart, kernel_halt, kernel_power_off; kernel/kexec_core.c kernel_kexec; drivers/tty/sysrq.c.
pub(crate) const SHUTDOWN: &[&str] =
    &["reboot: ", "Restarting system", "Starting new kernel", "Power down.", "System halted"];

/// Whether a program chose what follows this text.
pub(crate) fn chosen_by_user(before: &[u8]) -> bool {
    let fits = |w: &&&str| w.len() <= before.len();
    CHOSEN_BY_USERS.iter().filter(fits).any(|w| memchr::memmem::find(before, w.as_bytes()).is_some())
}

/// All families, in the order in which they are asked.
pub(crate) fn all() -> impl Iterator<Item = &'static Rule> {
    [
        boot::RULES,
        hangs::RULES,
        sanitizers::RULES,
        locking::RULES,
        memory::RULES,
        user::RULES,
        warnings::FIRST,
        panic_oops::RULES,
        warnings::RULES,
        hardware::RULES,
        storage::RULES,
        network::RULES,
        panic_oops::LAST,
    ]
    .into_iter()
    .flatten()
}

/// One rule as `lastgasp rules` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    pub id: &'static str,
    pub kind: Kind,
    pub severity: Severity,
    /// Whether it raises an incident.
    pub alarm: bool,
    /// The literals that a line is searched for.
    pub phrases: &'static [&'static str],
    pub doc: &'static str,
    /// Where the kernel prints it.
    pub source: &'static str,
}

/// Every built-in rule.
pub fn catalogue() -> impl Iterator<Item = RuleInfo> {
    all().map(|r| RuleInfo {
        id: r.id,
        kind: r.kind,
        severity: r.severity,
        alarm: r.alarm,
        phrases: r.triggers,
        doc: r.doc,
        source: r.source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_rule_is_documented() {
        let mut ids: Vec<&str> = all().map(|r| r.id).collect();
        let n = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), n);
        for r in all() {
            assert!(!r.triggers.is_empty() && r.triggers.iter().all(|t| t.len() >= 5), "{}", r.id);
            assert!(!r.doc.is_empty() && !r.source.is_empty(), "{}", r.id);
            assert!(r.then.iter().all(|t| all().any(|o| o.id == *t)), "{}: then", r.id);
        }
    }
}
