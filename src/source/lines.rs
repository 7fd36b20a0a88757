//! Bytes → lines, for anything that is a stream of console text.
//!
//! A line ends at LF, at CR (progress bars, firmware) or at any mix of CRs before an LF. Terminal control
//! sequences, NUL and the other control characters but TAB are removed. Longer lines than
//! [`LINE_MAX`] are cut, however long they are: memory stays bounded. Time is linear in the input.
//! Any other byte stays as it is, valid UTF-8 or not.
//!
//! ```text
//! "50%\r100%\r\n"        → "50%", "100%"         both with the number of their LF-line
//! "\x1b[31mBUG:\x1b[0m"  → "BUG:"
//! "\r\n\r\n"             → "", ""
//! ```

use memchr::{memchr, memchr2};

/// Most bytes of a line that are kept, before control sequences are removed. printk itself stops
/// at 1-2 KiB.
pub const LINE_MAX: usize = 8 * 1024;

/// One line as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counts LFs from 1; parts divided by CR share a number.
    pub number: u64,
    pub text: &'a [u8],
    /// It was longer than [`LINE_MAX`].
    pub truncated: bool,
}

/// Cuts a stream that arrives in pieces of any size.
#[derive(Debug)]
pub struct Cutter {
    /// Start of the unfinished line, raw but without NULs, at most [`LINE_MAX`] bytes.
    held: Vec<u8>,
    /// Bytes of the stream in the unfinished line, those dropped included.
    held_raw: u64,
    truncated: bool,
    /// A part of this LF-line was given out already, so an empty rest is no line.
    split: bool,
    number: u64,
    clean: Vec<u8>,
}

impl Default for Cutter {
    fn default() -> Cutter {
        Cutter { held: Vec::new(), held_raw: 0, truncated: false, split: false, number: 1, clean: Vec::new() }
    }
}

impl Cutter {
    /// One that starts behind a CR: an LF that follows at once is part of the same line end.
    pub fn after_cr() -> Cutter {
        Cutter { split: true, ..Cutter::default() }
    }

    /// Bytes of the stream that belong to a line not given out yet.
    pub fn pending(&self) -> u64 {
        self.held_raw
    }

    /// Takes from `chunk` until `max` lines were given out; returns how many bytes it took.
    pub fn feed(&mut self, chunk: &[u8], max: usize, mut give: impl FnMut(Line<'_>)) -> usize {
        let mut at = 0;
        let mut given = 0;
        while given < max && at < chunk.len() {
            let rest = &chunk[at..];
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.hold(rest);
                return chunk.len();
            };
            given += usize::from(self.end(&rest[..end], rest[end] == b'\n', &mut give));
            at += end + 1;
        }
        at
    }

    /// Gives out the unfinished line, if there is one: the stream ended, or paused for long. More of the
    /// same line may still follow, and is then a line of its own.
    pub fn flush(&mut self, mut give: impl FnMut(Line<'_>)) {
        if self.held_raw > 0 {
            self.end(&[], false, &mut give);
        }
    }

    /// Ends a line whose last piece is `piece`; true if there was one to give out.
    fn end(&mut self, piece: &[u8], lf: bool, give: &mut impl FnMut(Line<'_>)) -> bool {
        let direct = self.held_raw == 0 && piece.len() <= LINE_MAX && memchr(0, piece).is_none();
        if !direct {
            self.hold(piece);
        }
        let raw = if direct { piece } else { &self.held };
        let given = !raw.is_empty() || (lf && !self.split);
        if given {
            let text = cleaned(raw, &mut self.clean);
            give(Line { number: self.number, text, truncated: self.truncated });
        }
        self.split = !lf && (self.split || given);
        self.number += u64::from(lf);
        self.held.clear();
        self.held_raw = 0;
        self.truncated = false;
        given
    }

    fn hold(&mut self, piece: &[u8]) {
        self.held_raw += piece.len() as u64;
        let room = LINE_MAX - self.held.len();
        if memchr(0, piece).is_none() {
            self.held.extend_from_slice(&piece[..piece.len().min(room)]);
            self.truncated |= piece.len() > room;
            return;
        }
        // A file that was being written when power failed may hold megabytes of NULs before the next
        // line; they must not use up that line's room.
        let mut wanted = 0;
        for b in piece.iter().filter(|b| **b != 0) {
            wanted += 1;
            if wanted <= room {
                self.held.push(*b);
            }
        }
        self.truncated |= wanted > room;
    }
}

/// `raw` without control sequences and control characters; `scratch` holds the result where there were any.
pub fn cleaned<'a>(raw: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    // One pass without branches, which the compiler turns into vector code: almost all lines are clean.
    if !raw.iter().fold(false, |dirty, b| dirty | is_control(*b)) {
        return raw;
    }
    scratch.clear();
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        rest = match *first {
            0x1b => after_escape(tail),
            b => {
                if !is_control(b) {
                    scratch.push(b);
                }
                tail
            }
        };
    }
    scratch
}

fn is_control(b: u8) -> bool {
    (b < 0x20 && b != b'\t') || b == 0x7f
}

/// What is left behind the control sequence whose ESC stood before `s`. ECMA-48 5.4 (CSI), 5.6 (strings).
/// What is not a whole sequence loses only its introducer: nobody can hide a line behind an ESC.
fn after_escape(s: &[u8]) -> &[u8] {
    match s.first() {
        Some(b'[') => {
            let parameters = s[1..].iter().take_while(|b| (0x20..=0x3f).contains(*b)).count();
            let rest = &s[1 + parameters..];
            if rest.first().is_some_and(|b| (0x40..=0x7e).contains(b)) { &rest[1..] } else { rest }
        }
        // OSC, DCS, SOS, PM, APC: text up to BEL or ESC \. The search stops at the next ESC, so all
        // searches of one line together pass over it once.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => match memchr2(0x07, 0x1b, s) {
            Some(i) if s[i] == 0x07 => &s[i + 1..],
            Some(i) if s.get(i + 1) == Some(&b'\\') => &s[i + 2..],
            _ => &s[1..],
        },
        // Two and three byte sequences: charset choice, save cursor, reset.
        Some(0x20..=0x2f) => match s.get(1) {
            Some(0x30..=0x7e) => &s[2..],
            _ => &s[1..],
        },
        Some(0x30..=0x7e) => &s[1..],
        _ => s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(chunks: &[&[u8]]) -> Vec<(u64, Vec<u8>, bool)> {
        let mut cutter = Cutter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            let took = cutter.feed(chunk, usize::MAX, |l| lines.push((l.number, l.text.to_vec(), l.truncated)));
            assert_eq!(took, chunk.len());
        }
        cutter.flush(|l| lines.push((l.number, l.text.to_vec(), l.truncated)));
        lines
    }

    fn texts(input: &[u8]) -> Vec<Vec<u8>> {
        cut(&[input]).into_iter().map(|(_, t, _)| t).collect()
    }

    #[test]
    fn line_ends_of_all_kinds() {
        assert_eq!(texts(b"a\nb\r\nc\r\r\nd"), [b"a", b"b", b"c", b"d"]);
        assert_eq!(texts(b"\n\r\n\n"), [b"", b"", b""]);
        let lines = cut(&[b"50%\r100%\r\nnext\n"]);
        let got: Vec<(u64, &[u8])> = lines.iter().map(|(n, t, _)| (*n, t.as_slice())).collect();
        assert_eq!(got, [(1, &b"50%"[..]), (1, b"100%"), (2, b"next")]);
    }

    #[test]
    fn control_sequences_are_removed_and_hide_nothing() {
        assert_eq!(texts(b"\x1b[1;31mBUG:\x1b[0m at \x1b]0;title\x07x\x1b(B\ty\x1b7\x00\x08z"), [b"BUG: at x\tyz"]);
        assert_eq!(texts(b"\x1b]never closed BUG"), [b"never closed BUG"]);
        assert_eq!(texts(b"\x1bPq\x1b\\BUG"), [b"BUG"]);
        assert_eq!(texts(b"\x1b[\xff\xfe\x1b"), [b"\xff\xfe"]);
    }

    #[test]
    fn long_lines_are_cut_and_nuls_do_not_count() {
        let mut input = vec![b'x'; 5 << 20];
        input.push(b'\n');
        input.resize(input.len() + (1 << 20), 0);
        input.extend_from_slice(b"after\n");
        let lines = cut(&input.chunks(4000).collect::<Vec<_>>());
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].1.len(), lines[0].2), (LINE_MAX, true));
        assert_eq!((lines[1].1.as_slice(), lines[1].2), (&b"after"[..], false));
    }

    #[test]
    fn feeding_stops_at_the_limit_and_goes_on_there() {
        let mut cutter = Cutter::default();
        let mut n = 0;
        let input = b"a\nb\nc";
        let took = cutter.feed(input, 2, |_| n += 1);
        assert_eq!((took, n, cutter.pending()), (4, 2, 0));
        cutter.feed(&input[took..], 2, |_| n += 1);
        assert_eq!((n, cutter.pending()), (2, 1));
    }

    proptest! {
        #[test]
        fn the_cut_does_not_depend_on_the_pieces(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(0x1b), Just(0), Just(b'['), any::<u8>()], 0..300),
            size in 1usize..20,
        ) {
            let whole = cut(&[&input]);
            let pieces = cut(&input.chunks(size).collect::<Vec<_>>());
            prop_assert_eq!(&whole, &pieces);
            for (_, text, _) in &whole {
                prop_assert!(!text.iter().any(|b| is_control(*b)));
            }
        }
    }
}
