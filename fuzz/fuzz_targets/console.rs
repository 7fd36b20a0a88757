//! Console bytes in pieces of any size → lines → reports, with time passing between the pieces.
//!
//! The input is one byte from which the sizes of the pieces are drawn, then the text. How it is cut must not
//! matter to the lines.

#![no_main]

use lastgasp::model::{Mono, Origin, Record};
use lastgasp::source::lines::{Cutter, LINE_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((seed, text)) = data.split_first() else { return };
    let whole = lines([text].into_iter());
    let pieces = pieces(*seed, text);
    assert!(lines(pieces.iter().copied()) == whole, "the cut depends on the pieces");
    lastgasp_fuzz::detect(|detector, host| {
        // Some hundred searches one by one: of the start, and from a place that is no multiple of anything.
        detector.search(&text[..text.len().min(2048)]);
        detector.search(&text[..text.len().min(2048)][text.len().min(usize::from(*seed))..]);
        let mut record = Record::plain(Origin::Console("/c.log".into()), host, Vec::new());
        let mut cutter = Cutter::default();
        // Up to 13 s from one piece to the next: more than any report stays open.
        let mut now = Mono(0);
        for (n, piece) in pieces.iter().enumerate() {
            cutter.feed(piece, usize::MAX, |line| {
                record.text.clear();
                record.text.extend_from_slice(line.text);
                record.line = Some(line.number);
                record.truncated = line.truncated;
                detector.feed(&record, now);
            });
            now = Mono(now.0 + u64::from(*seed) * 50_000_000 * (n as u64 % 2));
            detector.tick(now);
        }
        cutter.flush(|line| {
            record.text = line.text.to_vec();
            detector.feed(&record, now);
        });
    });
});

fn pieces(seed: u8, text: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut list, mut state) = (text, Vec::new(), u32::from(seed));
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Many small ones, some of several lines.
        let size = 1 + (state >> 24) as usize * (1 + (state >> 20 & 7) as usize);
        let (piece, more) = rest.split_at(size.min(rest.len()));
        list.push(piece);
        rest = more;
    }
    list
}

fn lines<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<(u64, Vec<u8>, bool)> {
    let (mut cutter, mut lines) = (Cutter::default(), Vec::new());
    let mut give = |l: lastgasp::source::lines::Line<'_>| {
        assert!(l.text.len() <= LINE_MAX);
        lines.push((l.number, l.text.to_vec(), l.truncated));
    };
    for piece in pieces {
        assert_eq!(cutter.feed(piece, usize::MAX, &mut give), piece.len());
    }
    cutter.flush(&mut give);
    lines
}
