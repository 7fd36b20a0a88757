//! Terminal control sequences, which may stand inside a phrase.

use std::borrow::Cow;

const ESCAPE: u8 = 0x1b;

/// Whether [`strip`] would change this text.
pub fn any(text: &[u8]) -> bool {
    memchr::memchr(ESCAPE, text).is_some()
}

/// Text without terminal control sequences (ECMA-48: `ESC [ … final byte`, or `ESC` and one character). None of them
/// reaches over the end of its line.
pub fn strip(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(ESCAPE, rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let end = match rest.first() {
            Some(b'[') => {
                rest[1..].iter().position(|c| (0x40..=0x7e).contains(c) || *c == b'\n').map_or(rest.len(), |n| n + 1)
            }
            Some(_) => 0,
            None => break,
        };
        // The final byte goes too, but never the end of a line.
        rest = match rest.get(end) {
            Some(b'\n') | None => &rest[end..],
            Some(_) => &rest[end + 1..],
        };
    }
    out.extend_from_slice(rest);
}

/// A line without terminal control sequences, carriage returns and NULs.
pub fn plain_line(line: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr3(ESCAPE, b'\r', 0, line).is_none() {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len());
    strip(line, &mut out);
    out.retain(|c| !matches!(c, b'\r' | 0));
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_go_and_lines_stay() {
        for (text, want) in [
            (&b"\x1b[1;31mBUG\x1b[0m: x\nnext"[..], &b"BUG: x\nnext"[..]),
            (b"a\x1b[12\nb\x1b\nc\x1bMd", b"a\nb\ncd"),
            (b"end\x1b", b"end"),
            (b"end\x1b[", b"end"),
            (b"plain\r\n", b"plain\r\n"),
        ] {
            let mut out = Vec::new();
            strip(text, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(want));
        }
    }

    #[test]
    fn a_line_loses_carriage_returns_too() {
        assert_eq!(plain_line(b"\x1b[1;31mBUG\x1b[0m: x\0\r").as_ref(), b"BUG: x");
        assert_eq!(plain_line(b"\x1b").as_ref(), b"");
    }
}
