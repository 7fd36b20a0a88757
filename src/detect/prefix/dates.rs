//! Dates and times that loggers put before a line.
//!
//! A stamp of a logger says nothing of who wrote the line; only `dmesg -T` writes dates that stand for the kernel.

use crate::detect::prefix::tags::tagged;
use crate::detect::prefix::{Line, number, skip_space};

/// `[Sun Jan  5 20:25:34 2025]`, also with a one-figure day and no padding.
pub(super) fn dmesg_date(b: &[u8]) -> Option<usize> {
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
pub(super) fn syslog_stamp(b: &[u8]) -> Option<usize> {
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
pub(super) fn iso(line: &mut Line<'_>) {
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

/// Other stamps that begin with a figure: `1736109934.123456 ` (journalctl -o short-unix), `20:25:34.123 ` (console
/// servers).
pub(super) fn figures(line: &mut Line<'_>) {
    let b = line.body;
    let digits = b.iter().take(12).take_while(|c| c.is_ascii_digit()).count();
    let unix = (9..=11).contains(&digits) && b.get(digits) == Some(&b'.');
    let end = if unix {
        let more = b[digits + 1..].iter().take(10).take_while(|c| c.is_ascii_digit()).count();
        (more > 0).then_some(digits + 1 + more)
    } else {
        time_of_day(b)
    };
    let Some(end) = end.filter(|n| b.get(*n) == Some(&b' ')) else { return };
    line.stamp = line.stamp.or(Some(&b[..end]));
    line.body = skip_space(&b[end..]);
    tagged(line, unix);
}

/// `20:25:34`, with a fraction behind `.` or `,`: the length.
fn time_of_day(b: &[u8]) -> Option<usize> {
    let t = b.get(..8)?;
    let figures = [0, 1, 3, 4, 6, 7].iter().all(|i| t[*i].is_ascii_digit());
    if !figures || t[2] != b':' || t[5] != b':' {
        return None;
    }
    let fraction = match b.get(8) {
        Some(b'.' | b',') => 1 + b[9..].iter().take(9).take_while(|c| c.is_ascii_digit()).count(),
        _ => 0,
    };
    Some(8 + fraction)
}

/// `Sun 2025-01-05 20:25:34 UTC ` (journalctl -o short-full, with-unit): the length without the last space.
pub(super) fn full(b: &[u8]) -> Option<usize> {
    if !DAYS.contains(&b.get(..3)?) || b.get(3) != Some(&b' ') {
        return None;
    }
    let date = b.get(4..14)?;
    if date[4] != b'-' || date[7] != b'-' || !date[0].is_ascii_digit() || b.get(14) != Some(&b' ') {
        return None;
    }
    let time = 15 + time_of_day(&b[15..])?;
    let zone = b.get(time..)?.strip_prefix(b" ")?;
    let zone =
        zone.iter().take(6).take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || b"+-".contains(c)).count();
    (zone > 0).then_some(time + 1 + zone)
}

/// A date or time in brackets that a console server or a vendor's printk writes before the kernel's own stamp:
/// `[2025-01-05 20:25:34]`, `[2025-01-05T20:25:34.123Z]`, `[20:25:34]`, `[20250105_20:25:34.123456]@1`; and dmesg
/// --reltime: `[Jan 5 20:25]`, `[  +0.001234]`, `[<    0.001234>]`. The length; whether dmesg wrote it.
pub(super) fn in_brackets(b: &[u8]) -> Option<(usize, bool)> {
    let head = &b[..b.len().min(40)];
    let end = head.iter().position(|c| *c == b']')?;
    let inside = &head[1..end];
    let delta = skip_space(inside);
    if let Some(rest) = delta.strip_prefix(b"+").or_else(|| delta.strip_prefix(b"<")) {
        let rest = skip_space(rest.strip_suffix(b">").unwrap_or(rest));
        let figures = rest.len() > 2 && rest.contains(&b'.') && rest.iter().all(|c| c.is_ascii_digit() || *c == b'.');
        return figures.then_some((end + 1, true));
    }
    if inside.get(..3).is_some_and(|m| MONTHS.contains(&m)) {
        let plain = inside[3..].iter().all(|c| c.is_ascii_digit() || b" :".contains(c));
        return (inside.contains(&b':') && plain).then_some((end + 1, true));
    }
    let dashed = inside.len() >= 19 && inside[4] == b'-' && inside[7] == b'-' && matches!(inside[10], b' ' | b'T');
    let packed = inside.len() >= 17 && inside[8] == b'_' && number(&inside[..8]).is_some();
    let time = if dashed {
        time_of_day(&inside[11..]).is_some()
    } else if packed {
        time_of_day(&inside[9..]).is_some()
    } else {
        time_of_day(inside) == Some(inside.len())
    };
    if !time {
        return None;
    }
    let mut n = end + 1;
    if packed && b.get(n) == Some(&b'@') {
        n += 1 + b[n + 1..].iter().take(3).take_while(|c| c.is_ascii_digit()).count();
    }
    Some((n, false))
}
