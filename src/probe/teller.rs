//! What the role tells the core of its looks: every failure, and every success until the service counts as up. Of further
//! successes in a row it tells the sum, every ten seconds: the core of a machine on which all is well is not woken for each.

use crate::model::{Mono, ProbeOutcome, ProbeReport, Unchanged};
use std::time::Duration;

/// Most time between two reports of a service that is up (or its interval, if that is longer).
pub(crate) const TELL_EVERY: Duration = Duration::from_secs(10);

/// One probe's.
#[derive(Debug)]
pub(crate) struct Teller {
    probe: String,
    /// Successes in a row, told or not, after which the core knows the service to be up.
    recoveries: u32,
    streak: u32,
    told_at: Mono,
    /// Successes since then, and the last of them.
    untold: Option<(u32, Mono)>,
}

impl Teller {
    pub fn new(probe: &str, recoveries: u32) -> Teller {
        Teller { probe: probe.to_owned(), recoveries, streak: 0, told_at: Mono(0), untold: None }
    }

    /// What to tell of a look that ended at `now`, if anything.
    pub fn report(&mut self, outcome: ProbeOutcome, took_us: u64, now: Mono) -> Option<ProbeReport> {
        if outcome == ProbeOutcome::Up {
            self.streak = self.streak.saturating_add(1);
            if self.streak > self.recoveries && now.since(self.told_at) < TELL_EVERY {
                let ups = self.untold.map_or(0, |(ups, _)| ups).saturating_add(1);
                self.untold = Some((ups, now));
                return None;
            }
        } else {
            self.streak = 0;
        }
        self.told_at = now;
        let unchanged = self.untold.take().map(|(ups, last)| Unchanged {
            ups,
            ago_us: u64::try_from(now.since(last).as_micros()).unwrap_or(u64::MAX),
        });
        Some(ProbeReport { probe: self.probe.clone(), outcome, took_us, unchanged })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProbeCause;

    fn down() -> ProbeOutcome {
        ProbeOutcome::Down { cause: ProbeCause::Refused, detail: "x".into() }
    }

    #[test]
    fn failures_and_first_successes_are_told_and_the_others_are_summed_up() {
        let mut teller = Teller::new("web", 2);
        let at = |s: u64| Mono(s * 1_000_000_000);
        let told = |teller: &mut Teller, outcome, s| teller.report(outcome, 1, at(s)).map(|r| r.unchanged);
        assert_eq!(told(&mut teller, ProbeOutcome::Up, 100), Some(None));
        assert_eq!(told(&mut teller, ProbeOutcome::Up, 101), Some(None), "up from here on");
        for s in 102..111 {
            assert_eq!(told(&mut teller, ProbeOutcome::Up, s), None, "{s}");
        }
        let nine = Unchanged { ups: 9, ago_us: 1_000_000 };
        assert_eq!(told(&mut teller, ProbeOutcome::Up, 111), Some(Some(nine)));
        assert_eq!(told(&mut teller, ProbeOutcome::Up, 112), None);
        let one = Unchanged { ups: 1, ago_us: 2_000_000 };
        assert_eq!(told(&mut teller, down(), 114), Some(Some(one)), "with what was not told yet");
        assert_eq!(told(&mut teller, down(), 115), Some(None));
        for s in [116, 117] {
            assert_eq!(told(&mut teller, ProbeOutcome::Up, s), Some(None), "each until it is up again");
        }
        assert_eq!(told(&mut teller, ProbeOutcome::Up, 118), None);
        // A probe that runs seldom tells every run.
        let mut seldom = Teller::new("seldom", 1);
        for s in [0, 60, 120] {
            assert_eq!(told(&mut seldom, ProbeOutcome::Up, s), Some(None), "{s}");
        }
    }
}
