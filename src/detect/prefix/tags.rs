//! Names before a message: facility and level, host, program; and what says that a program wrote it.

use crate::detect::prefix::{Line, one_space, skip_space};

/// Longest host name and tag together.
const TAG_SEARCH_BYTES: usize = 120;

/// `kern  :warn  : ` of dmesg -x.
pub(super) fn dmesg_x(line: &mut Line<'_>) {
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
pub(super) fn tagged(line: &mut Line<'_>, any: bool) {
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
        // RFC 5424: the program's name without a colon, then process, message id and data.
        if word == b"kernel" && head[at + word.len()..].starts_with(b" - - - ") {
            line.kernel = true;
            line.body = &b[at + word.len() + 7..];
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
pub(super) fn repeated(line: &mut Line<'_>) {
    let b = line.body;
    let head = &b[..b.len().min(48)];
    let Some(at) = memchr::memmem::find(head, b"times: [") else { return };
    let inner = &b[at + 8..];
    let inner = inner.strip_suffix(b"]").unwrap_or(inner);
    line.body = inner.strip_prefix(b" ").unwrap_or(inner);
}

/// `systemd[1]: …`: a program that writes to the kernel log, or a console's own chatter.
pub(super) fn is_program_tag(b: &[u8]) -> bool {
    let head = &b[..b.len().min(64)];
    let Some(open) = head.iter().position(|c| *c == b'[') else { return false };
    let name = &head[..open];
    let digits = head[open + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
    !name.is_empty()
        && digits > 0
        && head[open + 1 + digits..].starts_with(b"]:")
        && name.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.()/@:".contains(c))
}

/// ` KEY=value`: the dictionary behind a record of `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg) or the user data of
/// netconsole. Programs choose some of the values.
pub(super) fn is_dictionary(b: &[u8]) -> bool {
    let Some(rest) = b.strip_prefix(b" ") else { return false };
    let key = rest.iter().take(64).take_while(|c| c.is_ascii_alphanumeric() || **c == b'_').count();
    key > 1 && rest[0].is_ascii_alphabetic() && rest.get(key) == Some(&b'=')
}
