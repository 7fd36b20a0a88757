//! What stands before a kernel message on a line: stamps, levels, host names, tags, caller ids.
//!
//! Understood, alone or one after the other: `<4>`, `[   12.345678]`, `[ T12]` and `[ C0]`
//! (CONFIG_PRINTK_CALLER, `print_caller` in kernel/printk/printk.c), `[Sun Jan  5 20:25:34 2025]` (dmesg -T),
//! `kern  :warn  : ` (dmesg -x), `2025-01-21T04:41:44,285060+00:00` (dmesg --time-format iso), RFC 3164 and
//! RFC 5424-like syslog stamps with host and tag, the short forms of journalctl, and `message repeated N
//! times: [ … ]`. A stamp in the middle of a line (a login prompt printed before it) is found as well.
//!
//! Everything works on bytes, looks at no more than the head of the line and never allocates.

/// How far into a line a stamp may stand when something else was printed before it.
const STAMP_SEARCH_BYTES: usize = 96;
/// Longest host name and tag together.
const TAG_SEARCH_BYTES: usize = 120;

/// A line taken apart. All parts borrow from the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// What the kernel (or whoever) wrote.
    pub body: &'a [u8],
    /// The outermost stamp as written, without brackets.
    pub stamp: Option<&'a [u8]>,
    /// The printk stamp in microseconds since boot.
    pub printk_us: Option<u64>,
    /// `T12` or `C0`.
    pub caller: Option<&'a [u8]>,
    /// syslog facility from `<N>` or from dmesg -x; 0 is the kernel.
    pub facility: Option<u32>,
    /// A printk stamp, a dmesg stamp or a `kernel:` tag says that the kernel wrote it.
    pub kernel: bool,
    /// A tag or `name[pid]:` says that a program wrote it.
    pub user: bool,
}

/// Takes `text` apart.
pub(crate) fn parse(text: &[u8]) -> Line<'_> {
    let mut line = Line { body: text, ..Line::default() };
    // Each round takes one part off; the bound keeps hostile lines cheap.
    for round in 0..8 {
        let before = line.body;
        step(&mut line, round == 0);
        if line.body.len() == before.len() {
            break;
        }
    }
    if line.printk_us.is_none() && !line.kernel {
        late_stamp(&mut line);
    }
    if is_program_tag(line.body) {
        line.user = true;
    }
    line
}

/// The caller id and the body of a `/dev/kmsg` record: nothing is stripped, the carrier told the rest.
pub(crate) fn bare(text: &[u8]) -> Line<'_> {
    Line { body: text, kernel: true, ..Line::default() }
}

fn step<'a>(line: &mut Line<'a>, first: bool) {
    let b = line.body;
    match b.first() {
        Some(b'<') => {
            if let Some((n, rest)) = level(b) {
                line.facility = line.facility.or(Some(n >> 3));
                line.body = rest;
            }
        }
        Some(b'[') => bracket(line),
        // `[ ts] [ T12] body`: a space between two brackets.
        Some(b' ') if line.kernel && line.caller.is_none() => {
            if let Some((id, rest)) = caller(&b[1..]) {
                line.caller = Some(id);
                line.body = rest;
            }
        }
        Some(c) if c.is_ascii_digit() => iso(line),
        Some(c) if c.is_ascii_uppercase() && first => {
            if let Some(n) = syslog_stamp(b) {
                line.stamp = line.stamp.or(Some(&b[..n]));
                line.body = skip_space(&b[n..]);
                tagged(line, true);
            }
        }
        Some(b'k') if b.starts_with(b"kernel: ") => {
            line.kernel = true;
            line.body = &b[8..];
        }
        Some(b'm') if b.starts_with(b"message repeated ") => repeated(line),
        Some(c) if c.is_ascii_lowercase() && first => dmesg_x(line),
        _ => {}
    }
}

/// `<4>` → 4.
fn level(b: &[u8]) -> Option<(u32, &[u8])> {
    let digits = b[1..].iter().take(3).take_while(|c| c.is_ascii_digit()).count();
    if digits == 0 || b.get(1 + digits) != Some(&b'>') {
        return None;
    }
    Some((number(&b[1..=digits])? as u32, &b[digits + 2..]))
}

fn bracket(line: &mut Line<'_>) {
    let b = line.body;
    if let Some((us, n)) = printk_stamp(b) {
        line.stamp = line.stamp.or(Some(trim(&b[1..n - 1])));
        line.printk_us = Some(us);
        line.kernel = true;
        line.body = one_space(&b[n..]);
        if let Some((id, rest)) = caller(line.body) {
            line.caller = Some(id);
            line.body = rest;
        }
        // journalctl -o short-monotonic: `[   12.345678] host kernel: body`.
        tagged(line, false);
    } else if line.kernel && line.caller.is_none() {
        if let Some((id, rest)) = caller(b) {
            line.caller = Some(id);
            line.body = rest;
        }
    } else if let Some(n) = dmesg_date(b) {
        line.stamp = line.stamp.or(Some(&b[1..n - 1]));
        line.kernel = true;
        line.body = one_space(&b[n..]);
    }
}

/// `[   12.345678]`, also `[   12.345678@0]`: microseconds and the length with brackets.
fn printk_stamp(b: &[u8]) -> Option<(u64, usize)> {
    let mut i = 1;
    while b.get(i) == Some(&b' ') && i < 8 {
        i += 1;
    }
    let sec_at = i;
    while b.get(i).is_some_and(u8::is_ascii_digit) && i - sec_at < 10 {
        i += 1;
    }
    let sec = number(&b[sec_at..i])?;
    if b.get(i) != Some(&b'.') {
        return None;
    }
    let frac_at = i + 1;
    i = frac_at;
    while b.get(i).is_some_and(u8::is_ascii_digit) && i - frac_at < 9 {
        i += 1;
    }
    let frac = &b[frac_at..i];
    if !(3..=9).contains(&frac.len()) {
        return None;
    }
    let mut us = number(frac)?;
    for _ in frac.len()..6 {
        us *= 10;
    }
    for _ in 6..frac.len() {
        us /= 10;
    }
    // Some vendor kernels append the CPU: `[   12.345678@0]`, `[   12.345678][0]`.
    if b.get(i) == Some(&b'@') || b.get(i) == Some(&b',') {
        i += 1;
        let at = i;
        while b.get(i).is_some_and(u8::is_ascii_digit) && i - at < 4 {
            i += 1;
        }
    }
    (b.get(i) == Some(&b']')).then(|| (sec.saturating_mul(1_000_000).saturating_add(us), i + 1))
}

/// `[  T12] `, `[    C0] `; task or CPU.
fn caller(b: &[u8]) -> Option<(&[u8], &[u8])> {
    if b.first() != Some(&b'[') {
        return None;
    }
    let pad = b[1..].iter().take(8).take_while(|c| **c == b' ').count();
    let id = &b[1 + pad..];
    if !matches!(id.first(), Some(b'T' | b'C')) {
        return None;
    }
    let digits = id[1..].iter().take(8).take_while(|c| c.is_ascii_digit()).count();
    if digits == 0 || id.get(1 + digits) != Some(&b']') {
        return None;
    }
    Some((&id[..=digits], one_space(&id[digits + 2..])))
}

/// `[Sun Jan  5 20:25:34 2025]`, also with a one-figure day and no padding.
fn dmesg_date(b: &[u8]) -> Option<usize> {
    let head = &b[..b.len().min(34)];
    let end = head.iter().position(|c| *c == b']')?;
    let inside = &head[1..end];
    let day = inside.get(..4)?;
    let ok = DAYS.iter().any(|d| &day[..3] == *d) && day[3] == b' ' && inside.contains(&b':');
    ok.then_some(end + 1)
}

const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// `Oct 12 23:25:16`, `Nov  9 10:19:35.123456`: the length.
fn syslog_stamp(b: &[u8]) -> Option<usize> {
    let month = b.get(..3)?;
    if !MONTHS.contains(&month) || b.get(3) != Some(&b' ') {
        return None;
    }
    let mut i = 4;
    while b.get(i) == Some(&b' ') && i < 6 {
        i += 1;
    }
    let day = b[i..].iter().take(2).take_while(|c| c.is_ascii_digit()).count();
    i += day;
    if day == 0 || b.get(i) != Some(&b' ') {
        return None;
    }
    i += 1;
    let time = b.get(i..i + 8)?;
    if time[2] != b':' || time[5] != b':' || !time[0].is_ascii_digit() {
        return None;
    }
    i += 8;
    while b.get(i).is_some_and(|c| c.is_ascii_digit() || *c == b'.') && i < 32 {
        i += 1;
    }
    Some(i)
}

/// `2025-01-21T04:41:44,285060+00:00`, `2020-05-13T11:56:27.236308Z`, `2018/01/09 14:28:48`.
fn iso(line: &mut Line<'_>) {
    let b = line.body;
    let Some(d) = b.get(..19) else { return };
    let dashed = d[4] == b'-' && d[7] == b'-' && (d[10] == b'T' || d[10] == b' ');
    let slashed = d[4] == b'/' && d[7] == b'/' && d[10] == b' ';
    if !(dashed || slashed) || d[13] != b':' || d[16] != b':' {
        return;
    }
    let mut i = 19;
    let mut comma = false;
    while let Some(c) = b.get(i) {
        match c {
            b',' => comma = true,
            b'0'..=b'9' | b'.' | b'+' | b'-' | b':' | b'Z' => {}
            _ => break,
        }
        i += 1;
        if i > 40 {
            return;
        }
    }
    line.stamp = line.stamp.or(Some(&b[..i]));
    line.body = skip_space(&b[i..]);
    if comma {
        // dmesg alone writes a comma; the message follows at once.
        line.kernel |= line.facility.unwrap_or(0) == 0;
    } else if dashed {
        tagged(line, true);
    }
}

/// `kern  :warn  : ` of dmesg -x.
fn dmesg_x(line: &mut Line<'_>) {
    const FACILITIES: [(&[u8], u32); 7] =
        [(b"kern", 0), (b"user", 1), (b"mail", 2), (b"daemon", 3), (b"auth", 4), (b"syslog", 5), (b"lpr", 6)];
    let b = line.body;
    let Some((_, facility)) = FACILITIES.iter().find(|(name, _)| b.starts_with(name)) else { return };
    let head = &b[..b.len().min(20)];
    let mut colons = head.iter().enumerate().filter(|(_, c)| **c == b':').map(|(i, _)| i);
    let (Some(one), Some(two)) = (colons.next(), colons.next()) else { return };
    if one > 8 || two - one > 9 || !b[one + 1..two].iter().all(|c| c.is_ascii_lowercase() || *c == b' ') {
        return;
    }
    line.facility = Some(*facility);
    line.kernel |= *facility == 0;
    line.body = skip_space(&b[two + 1..]);
}

/// After a syslog stamp: `host kernel: `, `kernel: `, `INFO kernel: `, `host program[12]: `. `any`: another tag
/// than the kernel's counts too.
fn tagged(line: &mut Line<'_>, any: bool) {
    let b = line.body;
    let head = &b[..b.len().min(TAG_SEARCH_BYTES)];
    let mut at = 0;
    for _ in 0..3 {
        let word = head[at..].iter().position(|c| *c == b' ').map_or(&head[at..], |n| &head[at..at + n]);
        if word == b"kernel:" || word == b"vmunix:" || word == b"kernel[0]:" {
            line.kernel = true;
            line.user = false;
            line.body = one_space(&b[at + word.len()..]);
            return;
        }
        let name_like = word.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.()[]/@:".contains(c));
        if word.is_empty() || !name_like {
            return;
        }
        if word.ends_with(b":") {
            // A shouted word is the message, not a tag: `WARNING:`, `BUG:`.
            let program = word.ends_with(b"]:") || word.iter().any(u8::is_ascii_lowercase);
            let at_host = at > 0 || any;
            if program && at_host && any {
                line.user = true;
                line.body = one_space(&b[at + word.len()..]);
            } else if program && at > 0 && word.ends_with(b"]:") {
                line.user = true;
            }
            return;
        }
        at += word.len() + 1;
        if at >= head.len() {
            return;
        }
    }
}

/// `message repeated 9 times: [block nvme0n1: no available path]` (rsyslog).
fn repeated(line: &mut Line<'_>) {
    let b = line.body;
    let head = &b[..b.len().min(48)];
    let Some(at) = memchr::memmem::find(head, b"times: [") else { return };
    let inner = &b[at + 8..];
    let inner = inner.strip_suffix(b"]").unwrap_or(inner);
    line.body = inner.strip_prefix(b" ").unwrap_or(inner);
}

/// A stamp behind something else, such as a login prompt or half a line of another writer.
fn late_stamp(line: &mut Line<'_>) {
    let b = line.body;
    let head = &b[..b.len().min(STAMP_SEARCH_BYTES)];
    for at in memchr::memchr_iter(b'[', head) {
        if at > 0
            && let Some((us, n)) = printk_stamp(&b[at..])
        {
            line.stamp = line.stamp.or(Some(trim(&b[at + 1..at + n - 1])));
            line.printk_us = Some(us);
            line.kernel = true;
            line.user = false;
            line.body = one_space(&b[at + n..]);
            if let Some((id, rest)) = caller(line.body) {
                line.caller = Some(id);
                line.body = rest;
            }
            return;
        }
    }
}

/// Where a second stamp begins in a body: two writers shared a line.
pub(crate) fn second_stamp(body: &[u8]) -> Option<usize> {
    let head = &body[..body.len().min(1024)];
    memchr::memchr_iter(b'[', head).take(32).find(|at| *at > 0 && printk_stamp(&body[*at..]).is_some())
}

/// `systemd[1]: …`: a program that writes to the kernel log, or a console's own chatter.
fn is_program_tag(b: &[u8]) -> bool {
    let head = &b[..b.len().min(64)];
    let Some(open) = head.iter().position(|c| *c == b'[') else { return false };
    let name = &head[..open];
    let digits = head[open + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
    !name.is_empty()
        && digits > 0
        && head[open + 1 + digits..].starts_with(b"]:")
        && name.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.()/@:".contains(c))
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0u64, |n, c| c.is_ascii_digit().then(|| n * 10 + u64::from(c - b'0')))
}

fn one_space(b: &[u8]) -> &[u8] {
    b.strip_prefix(b" ").unwrap_or(b)
}

fn skip_space(b: &[u8]) -> &[u8] {
    let n = b.iter().take_while(|c| **c == b' ').count();
    &b[n..]
}

fn trim(b: &[u8]) -> &[u8] {
    skip_space(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(s: &str) -> String {
        String::from_utf8_lossy(parse(s.as_bytes()).body).into_owned()
    }

    #[test]
    fn every_prefix_is_taken_off() {
        for s in [
            "BUG: x",
            "[   12.345678] BUG: x",
            "<4>[   12.345678] BUG: x",
            "<4>BUG: x",
            "[   12.345678][  T123] BUG: x",
            "[   12.345678][    C0] BUG: x",
            "[   12.345678] [    C0] BUG: x",
            "[   12.345678@1] BUG: x",
            "Nov  9 10:19:35 ohm kernel: [   12.345678] BUG: x",
            "Nov  9 10:19:35 ohm kernel: BUG: x",
            "Nov  9 10:19:35 localhost.localdomain kernel: BUG: x",
            "2020-05-13T11:56:27.236308Z INFO kernel: [  893.009245] BUG: x",
            "2020-05-13T11:56:27+0200 ohm kernel: BUG: x",
            "[   12.345678] ohm kernel: BUG: x",
            "kern  :warn  : [   12.345678] BUG: x",
            "kern  :warn  : 2025-01-21T04:41:44,285060+00:00 BUG: x",
            "[Sun Jan  5 20:25:34 2025] BUG: x",
            "kernel: BUG: x",
            "kernel: message repeated 9 times: [BUG: x]",
            "ohm login: [   12.345678][ T1] BUG: x",
        ] {
            assert_eq!(body(s), "BUG: x", "{s}");
        }
    }

    #[test]
    fn says_who_wrote_it() {
        let l = parse(b"[   12.345678][  T123] x");
        assert_eq!((l.caller, l.printk_us, l.kernel), (Some(&b"T123"[..]), Some(12_345_678), true));
        assert!(parse(b"Nov  9 10:19:35 ohm openvpn[1118]: WARNING: x").user);
        assert!(parse(b"[   12.345678] systemd[1]: x").user);
        assert!(parse(b"[   12.345678] ohm systemd[1]: x").user);
        assert!(!parse(b"[   12.345678] EXT4-fs error: x").user);
        assert_eq!(parse(b"<12>x").facility, Some(1));
        assert!(!parse(b"WARNING: x").kernel);
        assert_eq!(
            body("[ INFO: possible recursive locking detected ]"),
            "[ INFO: possible recursive locking detected ]"
        );
        assert_eq!(body("[<ffffffff81662d11>] dump_stack+0x45/0x56"), "[<ffffffff81662d11>] dump_stack+0x45/0x56");
    }
}
