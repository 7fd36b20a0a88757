//! Who printed a line, in the spellings of vendors' kernels, between the stamp and the text.
//!
//! HiSilicon `[pid:123,cpu0,name]`, `[pid:123,cpu0,in irq]`; Samsung `[0:  name:  123]`, in interrupts `I[0:  name:  123]`;
//! MediaTek `(0)[123:name]`. The names are programs' own.

/// The task (its pid) or, in an interrupt, the CPU; and what follows.
pub(super) fn caller(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let t = b.strip_prefix(b" ").unwrap_or(b);
    hisilicon(t).or_else(|| mediatek(t)).or_else(|| samsung(t))
}

fn digits(b: &[u8]) -> usize {
    b.iter().take(8).take_while(|c| c.is_ascii_digit()).count()
}

/// The inside of brackets, no longer than a name and two numbers, and what follows.
fn brackets(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = b.strip_prefix(b"[")?;
    let end = inside.iter().take(48).position(|c| *c == b']')?;
    let rest = &inside[end + 1..];
    Some((&inside[..end], rest.strip_prefix(b" ").unwrap_or(rest)))
}

fn hisilicon(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inside, rest) = brackets(b)?;
    let id = inside.strip_prefix(b"pid:")?;
    let id = id.strip_prefix(b" ").unwrap_or(id);
    let pid = digits(id);
    let tail = id[pid..].strip_prefix(b",")?;
    let tail = tail.strip_prefix(b" ").unwrap_or(tail);
    if pid == 0 || !tail.starts_with(b"cpu") {
        return None;
    }
    if tail.ends_with(b",in irq") {
        let cpu = 3 + digits(&tail[3..]);
        return Some((&tail[..cpu], rest));
    }
    Some((&id[..pid], rest))
}

fn mediatek(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let cpu = digits(b.strip_prefix(b"(")?);
    let task = b.get(1 + cpu..)?.strip_prefix(b")")?;
    let (inside, rest) = brackets(task)?;
    let pid = digits(inside);
    (cpu > 0 && pid > 0 && inside.get(pid) == Some(&b':')).then(|| (&inside[..pid], rest))
}

fn samsung(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let irq = b.first() == Some(&b'I');
    let (inside, rest) = brackets(b.strip_prefix(b"I").unwrap_or(b))?;
    let cpu = digits(inside);
    let last = inside.iter().rposition(|c| *c == b':')?;
    let pid = inside[last + 1..].trim_ascii();
    let whole = cpu > 0 && cpu <= 3 && inside.get(cpu) == Some(&b':') && last > cpu;
    (whole && !pid.is_empty() && digits(pid) == pid.len()).then(|| (if irq { &inside[..cpu] } else { pid }, rest))
}
