//! Lines of a dump: stack frames and program counters of every architecture, and what stands between them.
//!
//! Understood are, for x86 `RIP: 0010:f+0x1/0x2`, `RIP: 0010:[<addr>]  [<addr>] f+0x1/0x2`, `EIP is at f+…`; for arm `PC is at
//! f+…`; arm64 `pc : f+…`; powerpc `NIP [addr] f+…`; riscv `epc : f+…`; s390 `Krnl PSW : … (f+0x1/0x2)`; and frames as
//! ` f+0x1/0x2 [mod]`, ` [<addr>] ? f+…`, ` [<addr>] (f) from [<addr>] (g+…)`, ` f from g+…`, ` f file.c:12 [inline]`.

mod names;

pub(crate) use names::{is_symbol, readable, syscall};

/// One line of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The program counter stood here.
    Pc(&'a str),
    /// A frame; `false`: the unwinder doubts it.
    Frame(&'a str, bool),
    /// `Call Trace:`, `Backtrace:`, `backtrace:`.
    TraceStart,
    /// `<IRQ>`, `<NMI>`, `<SOFTIRQ>`: the stack of an interrupt begins.
    IrqStart,
    /// `</IRQ>`, `<EOI>`, `</NMI>`: back in what was interrupted.
    IrqEnd,
    /// Registers, code bytes, an empty line: neither begins nor ends a stack.
    Neutral,
    /// `RIP: 0033:…` and the like: user space from here.
    User,
    /// Anything else; ends a stack.
    Text,
}

/// Reads one body.
pub(crate) fn part(body: &str) -> Part<'_> {
    let t = body.trim();
    if t.is_empty() {
        return Part::Neutral;
    }
    if let Some(p) = program_counter(t) {
        return p;
    }
    if let Some(m) = marker(t) {
        return m;
    }
    if let Some((name, sure)) = frame(t) {
        return Part::Frame(name, sure);
    }
    if is_register_line(t) { Part::Neutral } else { Part::Text }
}

fn program_counter(t: &str) -> Option<Part<'_>> {
    for lead in ["RIP: ", "EIP: ", "RIP  "] {
        if let Some(rest) = t.strip_prefix(lead) {
            let (segment, rest) = rest.split_once(':').unwrap_or(("0010", rest));
            if matches!(segment, "0033" | "0023" | "0073" | "002b") {
                return Some(Part::User);
            }
            return Some(named(rest).map_or(Part::Neutral, Part::Pc));
        }
    }
    for lead in [
        "RIP [<",
        "RIP [",
        "EIP is at ",
        "PC is at ",
        "pc : ",
        "pc: ",
        "NIP [",
        "epc : ",
        "epc: ",
        "Krnl PSW :",
        "IP: ",
        "PC: ",
        "ERA: ",
        "era  : ",
    ] {
        if let Some(rest) = t.strip_prefix(lead) {
            if lead.starts_with("RIP [") {
                // The repetition at the end of an old x86 oops.
                return Some(Part::Neutral);
            }
            return Some(named(rest).map_or(Part::Neutral, Part::Pc));
        }
    }
    // The continuation of a s390 PSW: `           (f+0x1/0x2)`, caught as a frame below; and the link register.
    for lead in ["LR is at ", "lr : ", "LR [", "ra : ", "ra: "] {
        if t.starts_with(lead) {
            return Some(Part::Neutral);
        }
    }
    None
}

fn marker(t: &str) -> Option<Part<'_>> {
    // Older kernels put the marker in front of the frame: `<IRQ>  [<addr>] dump_stack+…`; that is split by the caller.
    Some(match t {
        "<IRQ>" | "<NMI>" | "<SOFTIRQ>" | "<#DB>" | "<#DF>" | "<ENTRY_TRAMPOLINE>" => Part::IrqStart,
        "</IRQ>" | "</NMI>" | "</SOFTIRQ>" | "<EOI>" | "<<EOE>>" | "</#DB>" | "</#DF>" => Part::IrqEnd,
        "<TASK>" | "</TASK>" | "Call Trace (unreliable):" => Part::Neutral,
        "Call Trace:" | "Call trace:" | "Backtrace:" | "Backtrace: " | "backtrace:" | "Call Trace: "
        | "stack backtrace:" => Part::TraceStart,
        _ if t.starts_with("backtrace (crc ") || t.starts_with("Call Trace:") || t.starts_with("Backtrace:") => {
            Part::TraceStart
        }
        _ => return None,
    })
}

/// A marker in front of a frame, and the frame.
pub(crate) fn split_marker(body: &str) -> (Option<Part<'_>>, &str) {
    let t = body.trim_start();
    for (lead, part) in [
        ("<IRQ> ", Part::IrqStart),
        ("<NMI> ", Part::IrqStart),
        ("<EOI> ", Part::IrqEnd),
        ("<<EOE>> ", Part::IrqEnd),
        ("</IRQ> ", Part::IrqEnd),
        ("<TASK> ", Part::Neutral),
        ("Call Trace: ", Part::TraceStart),
    ] {
        if let Some(rest) = t.strip_prefix(lead)
            && !rest.trim().is_empty()
        {
            return (Some(part), rest);
        }
    }
    (None, body)
}

/// A frame and whether the unwinder stands by it.
fn frame(t: &str) -> Option<(&str, bool)> {
    // ` f file.c:12 [inline]`, added by symbolizers.
    if let Some(head) = t.strip_suffix("[inline]") {
        let mut words = head.split_ascii_whitespace();
        let mut name = words.next()?;
        let sure = name != "?";
        if name.starts_with("[<") || name == "?" {
            name = words.next()?;
        }
        return (words.next().is_some() && is_symbol(name)).then_some((name, sure));
    }
    let mut rest = t;
    let mut sure = !t.ends_with("(unreliable)");
    // Up to two addresses, the doubt, parentheses.
    for _ in 0..6 {
        rest = rest.trim_start();
        if let Some(r) = rest.strip_prefix('?') {
            sure = false;
            rest = r;
        } else if rest.starts_with("[<") || rest.starts_with("([<") {
            rest = &rest[rest.find('>')? + 1..];
            rest = rest.strip_prefix(']').unwrap_or(rest);
            rest = rest.strip_prefix(')').unwrap_or(rest);
        } else if rest.starts_with('[') {
            let end = rest.find(']')?;
            if !(8..=20).contains(&end) || !rest[1..end].bytes().all(|c| c.is_ascii_hexdigit()) {
                return None;
            }
            rest = &rest[end + 1..];
        } else {
            break;
        }
    }
    // arm: `(f) from [<addr>] (g+0x1/0x2)`, `f from g+0x1/0x2`. The frame is f: its caller comes next.
    if let Some((callee, tail)) = rest.split_once(" from ")
        && tail.contains("+0x")
    {
        let name = callee.trim().trim_start_matches('(').trim_end_matches(')');
        let name = name.split("+0x").next().unwrap_or(name);
        return is_symbol(name).then_some((name, sure));
    }
    let rest = rest.trim_start_matches('(');
    let plus = rest.find("+0x")?;
    let name = &rest[..plus];
    let length = rest[plus + 3..].bytes().take_while(u8::is_ascii_hexdigit).count();
    if length == 0 || rest.as_bytes().get(plus + 3 + length) != Some(&b'/') {
        return None;
    }
    is_symbol(name).then_some((name, sure))
}

/// The function behind the addresses of a program counter line.
fn named(rest: &str) -> Option<&str> {
    let plus = rest.find("+0x")?;
    let head = &rest[..plus];
    // Rust names hold spaces: `<a::B as c::D>::e`.
    let name = match head.find('<').filter(|_| head.contains("::")) {
        Some(at) if !head[at..].starts_with("<0") => &head[at..],
        _ => head.rsplit([' ', ']', '(', ':', '\t']).next().unwrap_or(head),
    };
    is_symbol(name).then_some(name)
}

/// How lines of registers and code begin, by the architecture that prints them. They neither begin nor end a stack.
const REGISTERS: &[(&str, &[&str])] = &[
    // arch/x86/kernel/process_64.c, process_32.c __show_regs; dumpstack.c show_opcodes
    (
        "x86",
        &[
            "RSP", "RAX", "RDX", "RBP", "R10", "R13", "FS:", "CS:", "CR2", "DR0", "DR3", "DR6", "Code:", "EAX", "ESI",
            "DS:", "CR0", "EFLAGS", "ESP", "ORIG_RAX", "PKRU",
        ],
    ),
    // arch/arm64/kernel/process.c, arch/arm/kernel/process.c __show_regs
    (
        "arm",
        &[
            "x29",
            "x2",
            "x1",
            "x9",
            "x8",
            "x5",
            "x6",
            "x3",
            "x0",
            "sp :",
            "sp:",
            "pstate",
            "r10",
            "r7",
            "r3",
            "Exception stack(",
            "Stack:",
        ],
    ),
    // arch/powerpc/kernel/process.c show_regs
    ("powerpc", &["GPR", "MSR", "CFAR", "CTR:", "LR ", "REGS:", "TRAP:", "XER:", "Instruction dump:"]),
    // arch/s390/kernel/dumpstack.c show_registers
    ("s390", &["Krnl ", "R:"]),
    // arch/riscv/kernel/process.c __show_regs
    (
        "riscv",
        &["gp :", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "s1", "s2", "s5", "s8", "s11", "a0", "a2", "a5", "status"],
    ),
    // kernel/sched/debug.c, between stacks
    ("sched", &["sched:"]),
];

/// Registers and code: `RSP: 0018:… EFLAGS: …`, `x29: …`, `GPR00: …`, `Code: …`, and their continuation in figures.
fn is_register_line(t: &str) -> bool {
    REGISTERS.iter().any(|(_, leads)| leads.iter().any(|l| t.starts_with(l)))
        || t.bytes().take(10).all(|c| c.is_ascii_hexdigit() || c == b':' || c == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_counters_of_every_architecture() {
        for (text, want) in [
            ("RIP: 0010:foo+0x1a/0x40", "foo"),
            ("RIP: 0010:[<ffffffffa0577200>]  [<ffffffffa0577200>] foo+0xf0/0x1a0 [dm_thin_pool]", "foo"),
            ("EIP: foo+0x1a/0x40", "foo"),
            ("EIP is at foo+0x1a/0x40", "foo"),
            ("EIP: 0060:[<c0123456>] EFLAGS: 00010246 CPU: 0", ""),
            ("PC is at foo+0x1a/0x40", "foo"),
            ("pc : foo+0x1a/0x40", "foo"),
            ("pc : [<ffff000008086e10>] foo+0x1a/0x40", ""),
            ("NIP [c0000000000b0a40] foo+0x1a/0x40", "foo"),
            ("NIP [c0000000000b0a40] .foo+0x1a/0x40", ".foo"),
            ("epc : foo+0x1a/0x40", "foo"),
            ("Krnl PSW : 0704c00180000000 000003ff80088142 (foo+0x1a/0x40 [mod])", "foo"),
        ] {
            match part(text) {
                Part::Pc(name) => assert!(name == want || want.is_empty(), "{text}: {name}"),
                other => assert!(want.is_empty(), "{text}: {other:?}"),
            }
        }
        assert_eq!(part("RIP: 0033:0x7fad92c3c370"), Part::User);
    }

    #[test]
    fn frames_of_every_style() {
        for (text, want) in [
            (" foo+0x1a/0x40", Part::Frame("foo", true)),
            (" ? foo+0x1a/0x40", Part::Frame("foo", false)),
            (" [<ffffffff81662d11>] foo+0x45/0x56", Part::Frame("foo", true)),
            (" [<ffffffff81662d11>] ? foo+0x45/0x56 [mod]", Part::Frame("foo", false)),
            ("[<80c1e5e8>] (foo) from [<80c1eb20>] (bar+0x60/0xdc)", Part::Frame("foo", true)),
            (" foo from bar+0x60/0xdc", Part::Frame("foo", true)),
            ("[c0000000fa3c3d30] [c0000000000b0a40] foo+0x1a/0x40 (unreliable)", Part::Frame("foo", false)),
            (" ([<00000000001128b2>] foo+0x11a/0x130)", Part::Frame("foo", true)),
            (" foo net/core/dev.c:12 [inline]", Part::Frame("foo", true)),
            (" foo.isra.12+0x1/0x2 net/core/dev.c:12", Part::Frame("foo.isra.12", true)),
            ("Call Trace:", Part::TraceStart),
            (" <IRQ>", Part::IrqStart),
            (" </IRQ>", Part::IrqEnd),
            ("RAX: 0000000000000000 RBX: 0000000000000001", Part::Neutral),
            ("CPU: 1 PID: 12 Comm: x Not tainted 6.1.0", Part::Text),
        ] {
            assert_eq!(part(text), want, "{text}");
        }
    }
}
