//! Programs that crash: the kernel is well and says so in one line.
//!
//! Such a line is an alarm: the kernel prints it only where the program has no handler for the signal, so each one is the
//! death of a process (`unhandled_signal`, kernel/signal.c), and on a server that is what the snapshot is for. The
//! severity stays below that of a kernel failure; where crashes are everyday business, `[[rules.regrade]]` makes the
//! rule quiet.

use super::{Recipe, Rule, Shape, rule};
use crate::model::{Kind, Severity};

pub(super) const RULES: &[Rule] = &[rule(
    "segfault",
    Kind::UserFault,
    Severity::Warning,
    &[
        ": segfault at ",
        "traps: ",
        ": unhandled signal ",
        ": unhandled exception: ",
        " trap invalid opcode ip:",
        " trap divide error ip:",
        " general protection ip:",
    ],
    "user program crashed",
    "arch/x86/mm/fault.c show_signal_msg; arch/x86/kernel/traps.c show_signal; arch/{arm64,riscv,powerpc}/kernel",
    "A program was ended by a CPU exception of its own.",
)
.within(48)
.check(user_fault)
.program()
.shape(Shape::Single)
.recipe(Recipe::None)];

/// `name[pid]: segfault at …`, `traps: name[pid] trap invalid opcode ip:…`.
fn user_fault(body: &[u8], at: usize) -> bool {
    let rest = &body[at..body.len().min(at + 200)];
    if rest.starts_with(b"traps: ") {
        return at < 2
            && (memchr::memmem::find(rest, b" ip:").is_some() || memchr::memmem::find(rest, b" rip:").is_some());
    }
    body[..at].ends_with(b"]") || rest.contains(&b'[') && body[..at].contains(&b'[')
}
