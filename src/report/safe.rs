//! Text that cannot command a terminal: escape sequences, control characters and those that reorder or
//! hide text become visible.

use crate::model::text::is_harmless as harmless;
pub use crate::model::text::safe_json;
use std::borrow::Cow;
use std::io::{self, Write};

fn escape(c: char, out: &mut String) {
    use std::fmt::Write;
    let _ = match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        // Kernel text is indented with it.
        '\t' => out.write_str("    "),
        c if (c as u32) < 0x100 => write!(out, "\\x{:02x}", c as u32),
        c => write!(out, "\\u{{{:x}}}", c as u32),
    };
}

/// One line of text, made fit for a terminal: `\x1b[2J` instead of a cleared screen. A tab becomes spaces.
pub fn safe(text: &str) -> Cow<'_, str> {
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmless(c) { out.push(c) } else { escape(c, &mut out) }
    }
    Cow::Owned(out)
}

/// As [`safe`] for text of several lines, such as an error with its drawing: line ends stay.
pub fn safe_lines(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| harmless(c) || c == '\n') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split('\n').map(safe).collect::<Vec<_>>().join("\n"))
}

/// Passes a file on to a terminal: as [`safe`], but line ends and tabs stay, and bytes that are no
/// UTF-8 become `\xNN`. Call `finish` at the end.
pub struct SafeWriter<W: Write> {
    to: W,
    /// The start of a character whose rest has not come yet; at most three bytes.
    carry: Vec<u8>,
}

impl<W: Write> SafeWriter<W> {
    pub fn new(to: W) -> SafeWriter<W> {
        SafeWriter { to, carry: Vec::new() }
    }

    /// Writes what was held back.
    pub fn finish(mut self) -> io::Result<()> {
        for b in std::mem::take(&mut self.carry) {
            write!(self.to, "\\x{b:02x}")?;
        }
        self.to.flush()
    }
}

impl<W: Write> Write for SafeWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let joined: Cow<'_, [u8]> = if self.carry.is_empty() {
            Cow::Borrowed(buf)
        } else {
            let mut all = std::mem::take(&mut self.carry);
            all.extend_from_slice(buf);
            Cow::Owned(all)
        };
        let mut out = String::with_capacity(joined.len() + 16);
        for chunk in joined.utf8_chunks() {
            for c in chunk.valid().chars() {
                if harmless(c) || matches!(c, '\n' | '\t') { out.push(c) } else { escape(c, &mut out) }
            }
            let bad = chunk.invalid();
            let at_end = bad.as_ptr_range().end == joined.as_ptr_range().end;
            if at_end && std::str::from_utf8(bad).is_err_and(|e| e.error_len().is_none()) {
                self.carry.extend_from_slice(bad);
            } else {
                use std::fmt::Write;
                for b in bad {
                    let _ = write!(out, "\\x{b:02x}");
                }
            }
        }
        self.to.write_all(out.as_bytes())?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(safe("plain täxt"), "plain täxt");
        assert_eq!(safe("a\x1b[2J\u{9b}b\n\tc"), "a\\x1b[2J\\x9bb\\n    c");
        assert_eq!(safe("gnp.\u{202e}exe"), "gnp.\\u{202e}exe");
    }

    #[test]
    fn json_stays_json_and_becomes_harmless() {
        let value = serde_json::json!({ "a\u{9b}": ["\u{7f}\u{202e}\u{e0001}\n\x1b[2J", "grün 🦀"], "b": 1.5 });
        for json in [serde_json::to_string(&value), serde_json::to_string_pretty(&value)] {
            let json = json.expect("JSON");
            let shown = safe_json(&json);
            assert!(shown.chars().all(|c| harmless(c) || c == '\n'), "{shown:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
        }
        assert_eq!(safe_lines("a\x1b\n\tb\u{9b}\n"), "a\\x1b\n    b\\x9b\n");
    }

    fn through(parts: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut w = SafeWriter::new(&mut out);
        for p in parts {
            w.write_all(p).expect("a vector takes all");
        }
        w.finish().expect("a vector takes all");
        String::from_utf8(out).expect("only text comes out")
    }

    #[test]
    fn a_character_cut_by_a_chunk_is_put_together_again() {
        assert_eq!(through(&[b"a\xc3", b"\xa4\n", b"\xe2\x82"]), "aä\n\\xe2\\x82");
        assert_eq!(through(&[b"\xff\x1b]0;x\x07"]), "\\xff\\x1b]0;x\\x07");
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let cut = at.index(bytes.len() + 1);
            let whole = through(&[&bytes]);
            prop_assert_eq!(&whole, &through(&[&bytes[..cut], &bytes[cut..]]));
            prop_assert!(whole.chars().all(|c| harmless(c) || c == '\n' || c == '\t'));
        }
    }
}
