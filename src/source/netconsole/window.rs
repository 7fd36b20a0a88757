//! Which sequence numbers of one sender came: repetitions are told, holes are counted, a reboot begins anew.
//!
//! The last [`WIDTH`] numbers are remembered with their stamps, so that a datagram that was overtaken by
//! others is no loss. A hole is counted when it leaves the window, or by [`Window::settle`]. It need not be
//! a loss on the way: netconsole sends only what the console's log level lets through, and the rest leaves holes too.

/// Numbers remembered.
pub const WIDTH: u64 = 64;
/// A longer step is another boot or a forgery, not that many losses.
const STEP_MAX: u64 = 1 << 20;
/// In the place of a stamp: nothing came under this number, and it is not counted (any more).
const UNKNOWN: u64 = u64::MAX;

/// What is known of a record that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Arrival {
    New,
    /// The very same came before.
    Again,
}

/// See the module.
#[derive(Debug)]
pub struct Window {
    newest: Option<u64>,
    /// Bit n: number `newest - n` is done with.
    done: u64,
    /// By number modulo [`WIDTH`].
    stamps: [u64; WIDTH as usize],
    missing: u64,
}

impl Default for Window {
    fn default() -> Window {
        Window { newest: None, done: u64::MAX, stamps: [UNKNOWN; WIDTH as usize], missing: 0 }
    }
}

impl Window {
    /// Whether a record came before; changes nothing.
    pub fn look(&self, seq: u64, stamp_us: u64) -> Arrival {
        let again = self.newest.is_some_and(|newest| newest >= seq && newest - seq < WIDTH)
            && self.stamps[slot(seq)] == stamp_us
            && stamp_us != UNKNOWN;
        if again { Arrival::Again } else { Arrival::New }
    }

    /// Notes a record.
    pub fn note(&mut self, seq: u64, stamp_us: u64) -> Arrival {
        if self.look(seq, stamp_us) == Arrival::Again {
            return Arrival::Again;
        }
        match self.newest {
            Some(newest) if seq > newest && seq - newest <= STEP_MAX => self.advance(seq, seq - newest),
            // Overtaken. Where another record has this number, it is of another boot.
            Some(newest) if seq <= newest && newest - seq < WIDTH && self.stamps[slot(seq)] == UNKNOWN => {
                self.done |= 1 << (newest - seq);
            }
            _ => self.begin(seq),
        }
        self.stamps[slot(seq)] = stamp_us;
        Arrival::New
    }

    fn begin(&mut self, seq: u64) {
        self.settle();
        self.stamps = [UNKNOWN; WIDTH as usize];
        self.newest = Some(seq);
    }

    fn advance(&mut self, seq: u64, step: u64) {
        let holes = |bits: u64| u64::from((!bits).count_ones());
        if step < WIDTH {
            // The bits that leave are the highest ones.
            self.missing += u64::from((!self.done >> (WIDTH - step)).count_ones());
            self.done = self.done << step | 1;
        } else {
            self.missing = self.missing.saturating_add(holes(self.done) + (step - WIDTH));
            self.done = 1;
        }
        for passed in 1..step.min(WIDTH) {
            self.stamps[slot(seq - passed)] = UNKNOWN;
        }
        self.newest = Some(seq);
    }

    /// Counts the holes that are there now; what comes later after all stays counted.
    pub fn settle(&mut self) {
        self.missing = self.missing.saturating_add(u64::from((!self.done).count_ones()));
        self.done = u64::MAX;
    }

    /// Whether [`Window::settle`] would count something.
    pub fn has_holes(&self) -> bool {
        self.done != u64::MAX
    }

    /// Numbers under which nothing came, since the last call.
    pub fn take_missing(&mut self) -> u64 {
        std::mem::take(&mut self.missing)
    }
}

fn slot(seq: u64) -> usize {
    (seq % WIDTH) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn missing(seqs: &[u64]) -> u64 {
        let mut w = Window::default();
        for seq in seqs {
            assert_eq!(w.note(*seq, seq / 2), Arrival::New, "{seq}");
        }
        w.settle();
        w.take_missing()
    }

    #[test]
    fn holes_are_counted_and_overtaken_records_are_none() {
        assert_eq!(missing(&[444, 445, 446]), 0);
        assert_eq!(missing(&[444, 446, 445, 447]), 0);
        assert_eq!(missing(&[444, 446, 450]), 4);
        assert_eq!(missing(&[1, 65]), 63);
        assert_eq!(missing(&[1, 66]), 64);
        assert_eq!(missing(&[1, 3, 1001]), 1 + 997);
        // The first ones of all may be out of order too.
        assert_eq!(missing(&[444, 443, 445]), 0);
        assert_eq!(missing(&[1, 1 << 40, u64::MAX]), 0);
    }

    #[test]
    fn a_repetition_is_told_and_a_reboot_is_none() {
        let mut w = Window::default();
        assert_eq!((w.note(5, 50), w.note(5, 50), w.note(7, 70)), (Arrival::New, Arrival::Again, Arrival::New));
        assert_eq!((w.look(5, 50), w.look(6, 60)), (Arrival::Again, Arrival::New));
        // The same number with another stamp: the machine was restarted.
        assert_eq!((w.note(5, 51), w.note(6, 61), w.note(7, 71)), (Arrival::New, Arrival::New, Arrival::New));
        assert_eq!(w.take_missing(), 1);
        assert_eq!((w.note(1000, 80), w.note(3, 90)), (Arrival::New, Arrival::New));
        assert!(!w.has_holes());
    }

    #[test]
    fn what_comes_after_it_was_counted_is_taken() {
        let mut w = Window::default();
        assert_eq!((w.note(5, 50), w.note(8, 80)), (Arrival::New, Arrival::New));
        w.settle();
        assert_eq!((w.note(6, 60), w.note(6, 60), w.note(9, 90)), (Arrival::New, Arrival::Again, Arrival::New));
        w.settle();
        assert_eq!(w.take_missing(), 2);
    }

    proptest! {
        #[test]
        fn every_number_is_either_there_or_missing(skip in proptest::collection::vec(0u64..100, 1..200)) {
            let (mut w, mut seq) = (Window::default(), 0);
            for s in &skip {
                seq += s + 1;
                prop_assert_eq!(w.note(seq, seq), Arrival::New);
                prop_assert_eq!(w.note(seq, seq), Arrival::Again);
            }
            w.settle();
            prop_assert_eq!(w.take_missing(), skip[1..].iter().sum::<u64>());
        }
    }
}
