//! Fragments → whole records, by sender, sequence number and stamp.
//!
//! The parts come in any order, some twice, some never. What is not whole after [`AGE_MAX`], or must make room
//! for others, is given out as far as it reaches without a hole: a machine that dies while it sends its last
//! words has sent the beginning of them. Every such record is counted, and so is every part that fits nothing.
//!
//! Bounds: [`PENDING_MAX`] records of [`RECORD_MAX`] bytes, together [`BYTES_MAX`]; a sender holds
//! [`PENDING_PER_SENDER_MAX`] of them, so that one cannot push out the others by itself.

use crate::model::Mono;
use crate::source::netconsole::frame::Fragment;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

/// Longest body: 8 KiB of text and dictionary (`PRINTKRB_RECORD_MAX` escaped, CONSOLE_EXT_LOG_MAX in
/// kernel/printk/internal.h) and 16 lines of user data of 256 bytes (drivers/net/netconsole.c).
pub const RECORD_MAX: usize = 16 * 1024;
/// Records not whole yet, of all senders.
pub const PENDING_MAX: usize = 64;
/// Of one sender. The kernel sends the parts of one record back to back.
pub const PENDING_PER_SENDER_MAX: usize = 8;
/// Bodies held, in bytes.
pub const BYTES_MAX: usize = 256 * 1024;
/// How long a record waits for its missing parts. The parts of one are sent within microseconds.
pub const AGE_MAX: Duration = Duration::from_secs(2);
/// Holes that are kept track of in one record; its parts are about 900 bytes each.
const PIECES_MAX: usize = 32;

/// A record, whole or as far as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    pub from: IpAddr,
    /// `head;body`, as an unfragmented frame would have been.
    pub bytes: Vec<u8>,
    pub whole: bool,
}

#[derive(Debug)]
struct Pending {
    from: IpAddr,
    seq: u64,
    stamp_us: u64,
    since: Mono,
    head: Vec<u8>,
    body: Vec<u8>,
    /// What of the body is there: in order, apart from each other.
    have: Vec<Range<usize>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fragments {
    /// Oldest first.
    pending: Vec<Pending>,
    bytes: usize,
    incomplete: u64,
    unfit: u64,
}

impl Fragments {
    /// Takes a part; what became whole, or had to go for it, is appended to `out`.
    pub fn add(&mut self, from: IpAddr, part: &Fragment<'_>, now: Mono, out: &mut Vec<Assembled>) {
        let end = part.offset.saturating_add(part.bytes.len());
        if part.bytes.is_empty() || end > part.total || part.total > RECORD_MAX {
            self.unfit += 1;
            return;
        }
        let known = |p: &Pending| p.from == from && p.seq == part.seq && p.stamp_us == part.stamp_us;
        let n = match self.pending.iter().position(known) {
            Some(n) => n,
            None => self.begin(from, part, now, out),
        };
        let record = &mut self.pending[n];
        if record.body.len() != part.total || !record.fill(part.offset..end, part.bytes) {
            self.unfit += 1;
        }
        if record.have.first() == Some(&(0..record.body.len())) {
            self.give(n, out);
        }
    }

    fn begin(&mut self, from: IpAddr, part: &Fragment<'_>, now: Mono, out: &mut Vec<Assembled>) -> usize {
        if self.pending.iter().filter(|p| p.from == from).count() >= PENDING_PER_SENDER_MAX
            && let Some(n) = self.pending.iter().position(|p| p.from == from)
        {
            self.give(n, out);
        }
        while self.pending.len() >= PENDING_MAX || self.bytes + part.total > BYTES_MAX {
            self.give(0, out);
        }
        self.bytes += part.total;
        self.pending.push(Pending {
            from,
            seq: part.seq,
            stamp_us: part.stamp_us,
            since: now,
            head: part.head.to_vec(),
            body: vec![0; part.total],
            have: Vec::new(),
        });
        self.pending.len() - 1
    }

    /// Gives up what waited too long.
    pub fn expire(&mut self, now: Mono, out: &mut Vec<Assembled>) {
        while self.pending.first().is_some_and(|p| now.since(p.since) >= AGE_MAX) {
            self.give(0, out);
        }
    }

    /// When [`Fragments::expire`] is next needed.
    pub fn next_due(&self) -> Option<Mono> {
        self.pending.first().map(|p| p.since.plus(AGE_MAX))
    }

    /// Takes record `n` out. Without its beginning there is nothing to show.
    fn give(&mut self, n: usize, out: &mut Vec<Assembled>) {
        let Pending { from, head, body, have, .. } = self.pending.remove(n);
        self.bytes -= body.len();
        let reach = have.first().filter(|r| r.start == 0).map_or(0, |r| r.end);
        let whole = reach == body.len();
        self.incomplete += u64::from(!whole);
        if reach > 0 {
            out.push(Assembled { from, bytes: [head.as_slice(), b";", &body[..reach]].concat(), whole });
        }
    }

    /// Records that were not whole when they were given out, since the last call.
    pub fn take_incomplete(&mut self) -> u64 {
        std::mem::take(&mut self.incomplete)
    }

    /// Parts that fit no record, since the last call.
    pub fn take_unfit(&mut self) -> u64 {
        std::mem::take(&mut self.unfit)
    }

    /// Records and bytes held now.
    pub fn held(&self) -> (usize, usize) {
        (self.pending.len(), self.bytes)
    }
}

impl Pending {
    /// Puts `bytes` at `place`. What is there stays; `false` when the part overlaps it without being a
    /// repetition, or makes more holes than any kernel's would.
    fn fill(&mut self, place: Range<usize>, bytes: &[u8]) -> bool {
        if self.have.iter().any(|r| r.start <= place.start && place.end <= r.end) {
            return true;
        }
        if self.have.len() >= PIECES_MAX || self.have.iter().any(|r| r.start < place.end && place.start < r.end) {
            return false;
        }
        self.body[place.clone()].copy_from_slice(bytes);
        let at = self.have.iter().position(|r| r.start > place.start).unwrap_or(self.have.len());
        self.have.insert(at, place);
        self.have.dedup_by(|next, before| {
            let joins = before.end == next.start;
            if joins {
                before.end = next.end;
            }
            joins
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::netconsole::frame::{Frame, parse};
    use proptest::prelude::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn feed(f: &mut Fragments, from: IpAddr, datagram: &str, ms: u64, out: &mut Vec<Assembled>) {
        let Frame::Fragment(part) = parse(datagram.as_bytes()) else { panic!("{datagram} is no fragment") };
        f.add(from, &part, Mono(ms * 1_000_000), out);
    }

    fn texts(out: &[Assembled]) -> Vec<(String, bool)> {
        out.iter().map(|a| (String::from_utf8_lossy(&a.bytes).into_owned(), a.whole)).collect()
    }

    #[test]
    fn parts_in_any_order_some_twice_of_two_senders() {
        let (mut f, mut out) = (Fragments::default(), Vec::new());
        for (from, part) in [
            (A, "6,4,7,-,ncfrag=16/31; the 2nd chunk."),
            (B, "6,4,7,-,ncfrag=0/4;ab"),
            (A, "6,4,7,-,ncfrag=16/31; the 2nd chunk."),
            (A, "6,4,7,-,ncfrag=0/31;the first chunk,"),
            (B, "6,4,7,-,ncfrag=2/4;cd"),
        ] {
            feed(&mut f, from, part, 0, &mut out);
        }
        let want = [("6,4,7,-;the first chunk, the 2nd chunk.".to_owned(), true), ("6,4,7,-;abcd".to_owned(), true)];
        assert_eq!(texts(&out), want);
        assert_eq!((f.held(), f.take_incomplete(), f.take_unfit()), ((0, 0), 0, 0));
    }

    #[test]
    fn what_stays_incomplete_is_given_as_far_as_it_reaches_and_counted() {
        let (mut f, mut out) = (Fragments::default(), Vec::new());
        feed(&mut f, A, "6,4,7,-,ncfrag=0/9;abc", 0, &mut out);
        feed(&mut f, A, "6,4,7,-,ncfrag=6/9;ghi", 1, &mut out);
        feed(&mut f, A, "6,5,7,-,ncfrag=3/9;def", 2, &mut out);
        assert_eq!(f.next_due(), Some(Mono(0).plus(AGE_MAX)));
        f.expire(Mono(1), &mut out);
        assert!(out.is_empty());
        f.expire(Mono(5_000_000_000), &mut out);
        assert_eq!(texts(&out), [("6,4,7,-;abc".to_owned(), false)]);
        assert_eq!((f.held(), f.take_incomplete(), f.next_due()), ((0, 0), 2, None));
    }

    #[test]
    fn parts_that_fit_nothing_are_counted_and_change_nothing() {
        let (mut f, mut out) = (Fragments::default(), Vec::new());
        feed(&mut f, A, "6,4,7,-,ncfrag=0/6;abc", 0, &mut out);
        for bad in [
            "6,4,7,-,ncfrag=0/7;abc",
            "6,4,7,-,ncfrag=2/6;XXX",
            "6,4,7,-,ncfrag=4/6;XXX",
            "6,4,7,-,ncfrag=3/6;",
            "6,9,7,-,ncfrag=0/16385;x",
            "6,9,7,-,ncfrag=18446744073709551615/16384;x",
        ] {
            feed(&mut f, A, bad, 0, &mut out);
        }
        assert_eq!((f.take_unfit(), f.held(), out.len()), (6, (1, 6), 0));
        feed(&mut f, A, "6,4,7,-,ncfrag=3/6;def", 0, &mut out);
        assert_eq!(texts(&out), [("6,4,7,-;abcdef".to_owned(), true)]);
    }

    #[test]
    fn a_flood_keeps_within_the_bounds_and_spares_other_senders() {
        let (mut f, mut out) = (Fragments::default(), Vec::new());
        feed(&mut f, B, "6,1,7,-,ncfrag=0/4;ab", 0, &mut out);
        for seq in 0..1000 {
            feed(&mut f, A, &format!("6,{seq},7,-,ncfrag=0/16384;x"), 0, &mut out);
        }
        assert_eq!(f.held(), (PENDING_PER_SENDER_MAX + 1, PENDING_PER_SENDER_MAX * RECORD_MAX + 4));
        feed(&mut f, B, "6,1,7,-,ncfrag=2/4;cd", 0, &mut out);
        assert_eq!(out.last().map(|a| a.from), Some(B));
        for n in 0..1000u32 {
            let from = IpAddr::V4(n.into());
            feed(&mut f, from, "6,1,7,-,ncfrag=0/16384;x", 0, &mut out);
            assert!(f.held().0 <= PENDING_MAX && f.held().1 <= BYTES_MAX);
        }
        assert_eq!(f.take_incomplete(), 2000 - f.held().0 as u64);
    }

    proptest! {
        #[test]
        fn any_cut_in_any_order_gives_the_record_back(
            body in proptest::collection::vec(any::<u8>(), 1..300), cuts in proptest::collection::vec(1usize..40, 1..30), turn in 0usize..30,
        ) {
            let (mut f, mut out, mut parts, mut at) = (Fragments::default(), Vec::new(), Vec::new(), 0);
            for (i, cut) in cuts.iter().enumerate() {
                let end = if i + 1 == cuts.len() { body.len() } else { (at + cut).min(body.len()) };
                if at < end {
                    parts.push(Fragment { head: b"6,1,2,-", seq: 1, stamp_us: 2, offset: at, total: body.len(), bytes: &body[at..end] });
                }
                at = end;
            }
            let turn = turn % parts.len();
            parts.rotate_left(turn);
            for part in &parts {
                f.add(A, part, Mono(0), &mut out);
            }
            prop_assert_eq!(out.len(), 1);
            prop_assert_eq!(&out[0].bytes[8..], &body[..]);
            prop_assert_eq!(f.held(), (0, 0));
        }
    }
}
