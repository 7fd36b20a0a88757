//! What stands before a kernel message on a line: stamps, levels, host names, tags, caller ids.
//!
//! Understood, alone or one after the other: `<4>`, `[   12.345678]`, `[ T12]` and `[ C0]`
//! (CONFIG_PRINTK_CALLER, `print_caller` in kernel/printk/printk.c), `[Sun Jan  5 20:25:34 2025]` (dmesg -T),
//! `kern  :warn  : ` (dmesg -x), `2025-01-21T04:41:44,285060+00:00` (dmesg --time-format iso), RFC 3164 and
//! RFC 5424 syslog stamps with host and tag, the short forms of journalctl, the extended form of /dev/kmsg and netconsole
//! ([`extended`]), stamps of console servers ([`dates`]), callers as vendors print them ([`vendor`]), and `message repeated N
//! times: [ … ]`. A stamp in the middle of a line (a login prompt printed before it) is found as well.
//!
//! Everything works on bytes, looks at no more than the head of the line and never allocates.

mod dates;
mod extended;
mod tags;
mod vendor;

use dates::{dmesg_date, figures, full, in_brackets, iso, syslog_stamp};
use tags::{dmesg_x, is_dictionary, is_program_tag, repeated, tagged};

/// How far into a line a stamp may stand when something else was printed before it.
const STAMP_SEARCH_BYTES: usize = 96;

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
    if is_program_tag(line.body) || !line.kernel && is_dictionary(line.body) {
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
                // RFC 5424: the version stands behind the priority.
                line.body = rest.strip_prefix(b"1 ").filter(|r| r.first() == Some(&b'2')).unwrap_or(rest);
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
        Some(c) if c.is_ascii_digit() => {
            if first {
                extended::header(line);
            }
            if line.body.len() == b.len() {
                iso(line);
            }
            if first && line.body.len() == b.len() {
                figures(line);
            }
        }
        Some(c) if c.is_ascii_uppercase() && first => {
            if let Some(n) = syslog_stamp(b).or_else(|| full(b)) {
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
        if let Some((id, rest)) = caller(line.body).or_else(|| vendor::caller(line.body)) {
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
    } else if let Some((n, dmesg)) = in_brackets(b) {
        let end = b[1..n].iter().position(|c| *c == b']').map_or(n, |at| at + 1);
        line.stamp = line.stamp.or(Some(&b[1..end]));
        line.kernel |= dmesg;
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
    // Some vendor kernels append the CPU, and its cluster: `[   12.345678@0]`, `[12.345678@1,0]`.
    for mark in [b'@', b','] {
        if b.get(i) == Some(&mark) {
            i += 1;
            let at = i;
            while b.get(i).is_some_and(u8::is_ascii_digit) && i - at < 4 {
                i += 1;
            }
        }
    }
    // journalctl -o short-delta, dmesg -d: `[   12.345678 <    0.000123 >]`.
    if b.get(i..i + 2) == Some(b" <") {
        let delta = b[i + 2..].iter().take(20).take_while(|c| c.is_ascii_digit() || b" .".contains(c)).count();
        if b.get(i + 2 + delta) == Some(&b'>') {
            i += 3 + delta;
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
            // journalctl -o short, short-precise, short-iso, short-iso-precise, short-full, short-unix, short-delta
            "Jan 05 20:25:34 ohm kernel: BUG: x",
            "Jan 05 20:25:34.123456 ohm kernel: BUG: x",
            "2025-01-05T20:25:34+00:00 ohm kernel: BUG: x",
            "2025-01-05T20:25:34.123456+00:00 ohm kernel: BUG: x",
            "Sun 2025-01-05 20:25:34 UTC ohm kernel: BUG: x",
            "Sun 2025-01-05 20:25:34.123456 CEST ohm kernel: BUG: x",
            "Sun 2025-01-05 20:25:34 +0330 ohm kernel: BUG: x",
            "1736109934.123456 ohm kernel: BUG: x",
            "[   12.345678 <    0.000123 >] ohm kernel: BUG: x",
            // RFC 5424
            "<4>1 2025-01-05T20:25:34.123456+00:00 ohm kernel - - - BUG: x",
            "<4>1 2025-01-05T20:25:34Z ohm kernel - - - [   12.345678] BUG: x",
            // dmesg -d, --reltime, --time-format delta, --show-delta
            "[   12.345678 <    0.000123>] BUG: x",
            "[Jan 5 20:25] BUG: x",
            "[  +0.001234] BUG: x",
            "[<    0.001234>] BUG: x",
            // raw /dev/kmsg, netconsole
            "4,1234,567890123,-;BUG: x",
            "4,1234,567890123,-,caller=T123;BUG: x",
            "4,1234,567890123,-,ncfrag=0/33;BUG: x",
            "6.12.0-1-generic,4,1234,567890123,-;BUG: x",
            "6.12.0,4,1234,567890123,-,caller=C3,ncfrag=0/33;BUG: x",
            // pstore, vmcore-dmesg
            "<4>[   12.345678][  T123] BUG: x",
            // console servers
            "[2025-01-05 20:25:34] [   12.345678] BUG: x",
            "[2025-01-05T20:25:34.123Z] [   12.345678] BUG: x",
            "[Sun Jan  5 20:25:34 2025] [   12.345678] BUG: x",
            "[20:25:34] [   12.345678] BUG: x",
            "20:25:34.123 [   12.345678] BUG: x",
            "2025-01-05 20:25:34 [   12.345678] BUG: x",
            "Jan  5 20:25:34 [   12.345678] BUG: x",
            // vendors
            "[12.345678@1,0] BUG: x",
            "[   12.345678] [pid:123,cpu0,name] BUG: x",
            "[   12.345678][pid:123,cpu0,in irq] BUG: x",
            "[   12.345678] [0:  swapper/0:    1] BUG: x",
            "[   12.345678] I[0:  swapper/0:    1] BUG: x",
            "[   12.345678] (0)[123:name]BUG: x",
            "[20250105_20:25:34.123456]@1 BUG: x",
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
        assert_eq!(parse(b"14,1234,567890123,-;x").facility, Some(1));
        let l = parse(b"6.12.0,4,1234,567890123,-,caller=C3,ncfrag=0/33;x");
        assert_eq!((l.caller, l.printk_us, l.kernel, l.user), (Some(&b"C3"[..]), Some(567_890_123), true, false));
        assert!(parse(b"4,1234,567890123,-,ncfrag=960/1135;kernel BUG at x").user);
        assert!(parse(b" SUBSYSTEM=pci").user && parse(b" taskname=kernel BUG at x").user);
        assert!(!parse(b"  x=1").user && !parse(b" f+0x1/0x2").user && !parse(b"[1.000000]  a=1").user);
        for (line, caller) in [
            ("[   12.345678] [    T7] x", "T7"),
            ("[   12.345678][   C15] x", "C15"),
            ("[   12.345678] [pid:123,cpu0,name] x", "123"),
            ("[   12.345678] [pid:123,cpu4,in irq] x", "cpu4"),
            ("[   12.345678] [0:  kworker/0:1:   77] x", "77"),
            ("[   12.345678] I[3:  swapper/3:    0] x", "3"),
            ("[   12.345678] (2)[99:name]x", "99"),
        ] {
            let l = parse(line.as_bytes());
            assert_eq!((l.caller, l.body), (Some(caller.as_bytes()), &b"x"[..]), "{line}");
        }
        assert!(!parse(b"WARNING: x").kernel);
        // A console server stamps the firmware's lines too.
        assert!(!parse(b"[2025-01-05 20:25:34] WARNING: x").kernel && !parse(b"20:25:34 WARNING: x").kernel);
        assert!(parse(b"Sun 2025-01-05 20:25:34 UTC ohm app[12]: x").user);
        assert!(parse(b"1736109934.123456 ohm app[12]: x").user);
        assert_eq!(
            body("[ INFO: possible recursive locking detected ]"),
            "[ INFO: possible recursive locking detected ]"
        );
        assert_eq!(body("[<ffffffff81662d11>] dump_stack+0x45/0x56"), "[<ffffffff81662d11>] dump_stack+0x45/0x56");
    }
}
