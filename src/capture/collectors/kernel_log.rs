//! `kernel_log`: the kernel's log ring from its oldest record to its newest, read by ourselves.
//!
//! `sos_commands/kernel/dmesg` has the text as `dmesg` prints it; `lastgasp/kmsg.txt` the records with
//! sequence number, level, facility and device properties, as /dev/kmsg gives them.

use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::bytes::{hex, lines, number, push_number};
use crate::sys::capability::Capability;
use crate::sys::{klog, ring};
use std::io;

pub const SPEC: Spec = Spec {
    name: "kernel_log",
    doc: "The kernel's log ring, complete: the crash report itself and what led to it.",
    tier: Tier::T0,
    source: Source::Run(run),
    cap_bytes: 48 << 20,
    limit_ms: 3_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[Capability::Syslog],
};

/// Most bytes read of the ring: log_buf_len is 128 KiB to 16 MiB in practice.
const RING_CAP: usize = 20 << 20;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    collect(ctx, sink, Reading::First)
}

/// Which of the readings of one capture.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    First,
    /// Only what the first has not; all of it where there was no first.
    Late,
}

/// Puts the ring as dmesg prints it into one entry; at the first reading as it is into another one.
pub(crate) fn collect(ctx: &Context, sink: &mut Sink, reading: Reading) -> Result<(), CollectError> {
    let dmesg_entry = match reading {
        Reading::First => "sos_commands/kernel/dmesg",
        Reading::Late => "lastgasp/dmesg_late.txt",
    };
    if !ctx.root.is_real() {
        return Err(CollectError::Skipped("the log ring belongs to the machine, not to a directory".into()));
    }
    match ring::read(RING_CAP, ctx.deadline) {
        Ok(ring) => {
            if ring.overruns > 0 {
                sink.missing("kernel log records", format!("overwritten {} times while they were read", ring.overruns));
            }
            let known = ctx.shared.kernel_log_end.get().copied();
            let records = match known.filter(|_| reading == Reading::Late) {
                Some(next) => {
                    let (new, lost) = since(&ring.records, next);
                    if lost > 0 {
                        let why = "overwritten between the two readings of the ring";
                        sink.missing(format!("{lost} kernel log records"), why);
                    }
                    new
                }
                None => &ring.records,
            };
            sink.put_cut(dmesg_entry, dmesg(records), ring.truncated)?;
            if reading == Reading::First {
                if let Some(last) = last_sequence(&ring.records) {
                    // Nobody else has set it: this reading is the first.
                    let _ = ctx.shared.kernel_log_end.set(last + 1);
                }
                sink.put_cut("lastgasp/kmsg.txt", ring.records, ring.truncated)?;
            }
            Ok(())
        }
        Err(kmsg) => match syslog() {
            Ok(raw) => {
                sink.missing("levels and facilities", format!("/dev/kmsg: {kmsg}; read through syslog(2) instead"));
                sink.put(dmesg_entry, without_levels(&raw))?;
                Ok(())
            }
            Err(klog) => {
                let denied = [&kmsg, &klog].iter().any(|e| e.kind() == io::ErrorKind::PermissionDenied);
                let hint = if denied { " (kernel.dmesg_restrict is 1: needs CAP_SYSLOG)" } else { "" };
                let cause = io::Error::new(klog.kind(), format!("{kmsg}; syslog(2): {klog}{hint}"));
                Err(CollectError::Failed { operation: "open /dev/kmsg".into(), cause })
            }
        },
    }
}

/// The sequence number of a record's first line; `None` for the lines of its properties.
fn sequence(line: &[u8]) -> Option<u64> {
    if line.first() == Some(&b' ') { None } else { line.split(|b| *b == b',').nth(1).and_then(number) }
}

fn last_sequence(records: &[u8]) -> Option<u64> {
    let mut end = records.len();
    while end > 0 {
        let start = memchr::memrchr(b'\n', &records[..end - 1]).map_or(0, |at| at + 1);
        if let Some(n) = sequence(&records[start..end]) {
            return Some(n);
        }
        end = start;
    }
    None
}

/// The records from number `next` on, and how many of them are not there any more.
fn since(records: &[u8], next: u64) -> (&[u8], u64) {
    let mut at = 0;
    while at < records.len() {
        let end = memchr::memchr(b'\n', &records[at..]).map_or(records.len(), |n| at + n + 1);
        if let Some(n) = sequence(&records[at..end]).filter(|n| *n >= next) {
            return (&records[at..], n - next);
        }
        at = end;
    }
    (&[], 0)
}

/// The ring as text through syslog(2), where /dev/kmsg cannot be opened.
fn syslog() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    klog::read_all(&mut text, RING_CAP)?;
    Ok(text)
}

/// Records (`6,1234,5678901,-;text`, then ` KEY=value` lines) as dmesg prints them: `[    5.678901] text`.
/// A line end inside a record, which the kernel writes as `\x0a`, starts a new line with the same stamp.
pub fn dmesg(records: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.len());
    for line in lines(records) {
        if line.first() == Some(&b' ') {
            continue;
        }
        let Some(semicolon) = memchr::memchr(b';', line) else { continue };
        let Some(micros) = line[..semicolon].split(|b| *b == b',').nth(2).and_then(number) else { continue };
        stamp(&mut out, micros);
        let mut text = &line[semicolon + 1..];
        while let Some(at) = memchr::memchr(b'\\', text) {
            out.extend_from_slice(&text[..at]);
            match text.get(at + 1..at + 4).filter(|e| e[0] == b'x').and_then(|e| hex(&e[1..])) {
                Some(0x0a) => {
                    out.push(b'\n');
                    stamp(&mut out, micros);
                }
                // What the kernel escaped is put back, but for controls: they would drive a terminal.
                Some(byte) if byte == 0x09 || (byte >= 0x20 && byte != 0x7f) => out.push(byte as u8),
                Some(_) => out.extend_from_slice(&text[at..at + 4]),
                None => {
                    out.push(b'\\');
                    text = &text[at + 1..];
                    continue;
                }
            }
            text = &text[at + 4..];
        }
        out.extend_from_slice(text);
        out.push(b'\n');
    }
    out
}

/// `[%5lu.%06lu] `, as printk's own prefix.
fn stamp(out: &mut Vec<u8>, micros: u64) {
    out.push(b'[');
    crate::host::bytes::push_right(out, micros / 1_000_000, 5);
    out.push(b'.');
    let mut fraction = Vec::with_capacity(8);
    push_number(&mut fraction, 1_000_000 + micros % 1_000_000);
    out.extend_from_slice(&fraction[1..]);
    out.extend_from_slice(b"] ");
}

/// syslog(2) text without its `<6>` at the start of lines.
fn without_levels(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for line in lines(raw) {
        let rest = line.strip_prefix(b"<").and_then(|l| {
            let end = memchr::memchr(b'>', l)?;
            number(&l[..end]).map(|_| &l[end + 1..])
        });
        out.extend_from_slice(rest.unwrap_or(line));
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_dmesg_lines() {
        let records =
            b"6,1,0,-;Linux version 6.1\n SUBSYSTEM=x\n4,2,1234567,c,caller=T1;a\\x0ab \\x5c \\x1b[2J \\xc3\\xbc \\q\n\
            3,3,99999999999,-;late\nbroken\n7,x,y;z\n";
        let want = "[    0.000000] Linux version 6.1\n[    1.234567] a\n[    1.234567] b \\ \\x1b[2J ü \\q\n[99999.999999] late\n";
        assert_eq!(String::from_utf8_lossy(&dmesg(records)), want);
        assert_eq!(without_levels(b"<6>[    0.1] a\n<x>b\n\n<12>"), b"[    0.1] a\n<x>b\n\n\n");
    }
    #[test]
    fn a_later_reading_begins_where_the_first_ended() {
        let records = b"6,7,0,-;a\n SUBSYSTEM=x\n6,8,1,-;b\n6,11,2,-;c\n KEY=1,2,3\n";
        assert_eq!((last_sequence(records), last_sequence(b" KEY=1\n"), last_sequence(b"")), (Some(11), None, None));
        assert_eq!(since(records, 8), (&records[23..], 0));
        assert_eq!(since(records, 9), (&b"6,11,2,-;c\n KEY=1,2,3\n"[..], 2), "9 and 10 were overwritten");
        assert_eq!(since(records, 12), (&b""[..], 0));
    }
}
