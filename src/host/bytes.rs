//! Small tools for bytes that others chose: numbers out of them, and a safe way to print them.

use std::io::Write;
use std::net::IpAddr;

/// A decimal number that is the whole of `field`; `None` for anything else, overflow included.
pub fn number(field: &[u8]) -> Option<u64> {
    if field.is_empty() {
        return None;
    }
    let mut n = 0u64;
    for b in field {
        if !b.is_ascii_digit() {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
    }
    Some(n)
}

/// As [`number`], with an optional minus.
pub fn signed(field: &[u8]) -> Option<i64> {
    match field.strip_prefix(b"-") {
        Some(digits) => number(digits).and_then(|n| i64::try_from(n).ok()).map(|n| -n),
        None => number(field).and_then(|n| i64::try_from(n).ok()),
    }
}

/// A hexadecimal number that is the whole of `field`.
pub fn hex(field: &[u8]) -> Option<u64> {
    if field.is_empty() || field.len() > 16 {
        return None;
    }
    field.iter().try_fold(0u64, |n, b| Some(n << 4 | u64::from((*b as char).to_digit(16)?)))
}

/// The words of a line: runs of anything but blanks.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| matches!(b, b' ' | b'\t' | b'\n')).filter(|w| !w.is_empty())
}

/// Lines without their ends; the empty piece after a final newline is no line.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let none = text.is_empty();
    text.split(|b| *b == b'\n').take_while(move |_| !none)
}

/// Appends `text` so that it stays on one line and in one column, and cannot drive a terminal: control
/// characters, backslash and bytes that are not UTF-8 become `\xHH`; other text is kept.
pub fn push_safe(out: &mut Vec<u8>, text: &[u8]) {
    // What is printable ASCII throughout, which is nearly everything, is copied at once.
    if text.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'\\') {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut utf8 = [0u8; 4];
            let encoded = c.encode_utf8(&mut utf8).as_bytes();
            if c == '\\' || !crate::model::text::is_harmless(c) {
                push_hex(out, encoded);
            } else {
                out.extend_from_slice(encoded);
            }
        }
        push_hex(out, chunk.invalid());
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for b in bytes {
        out.extend_from_slice(&[b'\\', b'x', DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    }
}

/// As [`push_safe`], with blanks escaped too: for columns that are separated by blanks.
pub fn push_word(out: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|b| (0x21..0x7f).contains(b) && *b != b'\\') {
        out.extend_from_slice(text);
        return;
    }
    for piece in text.split_inclusive(|b| *b == b' ') {
        let (body, blank) = match piece.split_last() {
            Some((b' ', body)) => (body, true),
            _ => (piece, false),
        };
        push_safe(out, body);
        if blank {
            out.extend_from_slice(b"\\x20");
        }
    }
}

/// Appends a decimal number: the hot loops' replacement for `write!`.
pub fn push_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `n` blanks.
pub fn push_blanks(out: &mut Vec<u8>, n: usize) {
    const BLANKS: [u8; 64] = [b' '; 64];
    let mut left = n;
    while left > 0 {
        let now = left.min(BLANKS.len());
        out.extend_from_slice(&BLANKS[..now]);
        left -= now;
    }
}

/// Pads what was appended since `start` with blanks, up to `width` bytes.
pub fn pad_right(out: &mut Vec<u8>, start: usize, width: usize) {
    let have = out.len() - start;
    push_blanks(out, width.saturating_sub(have));
}

/// Appends a number, right-aligned in `width` columns.
pub fn push_right(out: &mut Vec<u8>, n: u64, width: usize) {
    let length = n.checked_ilog10().unwrap_or(0) as usize + 1;
    push_blanks(out, width.saturating_sub(length));
    push_number(out, n);
}

/// Appends a number, left-aligned in `width` columns.
pub fn push_left(out: &mut Vec<u8>, n: u64, width: usize) {
    let start = out.len();
    push_number(out, n);
    pad_right(out, start, width);
}

/// Appends an IP address as `Display` has it, IPv4 without the formatting machinery: it is most of a socket table.
pub fn push_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(a) => {
            for (i, part) in a.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                push_number(out, part.into());
            }
        }
        // Writing into memory cannot fail.
        IpAddr::V6(a) => _ = write!(out, "{a}"),
    }
}

/// Appends a JSON string; bytes that are not UTF-8 become U+FFFD.
pub fn push_json(out: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'\\' && *b != b'"') {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    let json = serde_json::to_string(String::from_utf8_lossy(text).as_ref());
    let json = json.expect("a string always serialises into memory");
    out.extend_from_slice(crate::model::text::safe_json(&json).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe(t: &[u8]) -> String {
        let mut out = Vec::new();
        push_safe(&mut out, t);
        String::from_utf8(out).expect("always UTF-8")
    }

    #[test]
    fn numbers_are_whole_fields() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"18446744073709551616", b"1 ", b"-1", b"0x1"] {
            assert_eq!(number(bad), None);
        }
        assert_eq!(signed(b"-20"), Some(-20));
        assert_eq!(hex(b"0100007F"), Some(0x0100_007f));
        assert_eq!(hex(b"fffffffffffffffff"), None);
        for n in [0, 7, 10, 999, 1000, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
            let mut out = Vec::new();
            push_right(&mut out, n, 5);
            assert_eq!(out, format!("{n:>5}").as_bytes());
            let mut out = b"x".to_vec();
            push_left(&mut out, n, 5);
            assert_eq!(out, format!("x{n:<5}").as_bytes());
        }
        for text in ["0.0.0.0", "255.10.0.1", "::", "fe80::1", "::ffff:1.2.3.4"] {
            let mut out = Vec::new();
            push_ip(&mut out, text.parse().expect("an address"));
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn hostile_text_stays_on_its_line() {
        assert_eq!(safe(b"a\nb\x1b[2Jc"), "a\\x0ab\\x1b[2Jc");
        assert_eq!(safe(b"back\\slash \xff\xfe"), "back\\x5cslash \\xff\\xfe");
        assert_eq!(safe("grün \u{202e}".as_bytes()), "grün \\xe2\\x80\\xae");
        let mut out = Vec::new();
        push_word(&mut out, b"a b\n");
        assert_eq!(out, b"a\\x20b\\x0a");
        let mut out = Vec::new();
        push_json(&mut out, b"q\"\n\xff\xc2\x9b");
        assert_eq!(out, b"\"q\\\"\\n\xef\xbf\xbd\\u009b\"");
        assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), "q\"\n\u{fffd}\u{9b}");
    }

    #[test]
    fn lines_and_words() {
        assert_eq!(lines(b"").count(), 0);
        assert_eq!(lines(b"a\n\nb\n").collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
        assert_eq!(words(b" a\t b ").collect::<Vec<_>>(), [b"a", b"b"]);
    }
}
