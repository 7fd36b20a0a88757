//! A sweep over items of which some are known to hang their reader: the healthy ones first and all of them,
//! the doubtful ones last and only as many as a bounded number of threads may be lost for.
//!
//! Two hundred hung processes must not cost the command line of a single healthy one, nor two hundred threads.

use crate::capture::guard::{Beat, StuckItem, Sweep, Swept};
use crate::model::Deadline;
use crate::sys::clock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How an item looked before it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    Healthy,
    /// May hang.
    Doubtful,
    /// Seen to wait for what its reader would wait for.
    Hangs,
}

/// What it brought.
#[derive(Debug)]
pub struct Outcome<O> {
    /// One per item; `None` where it hung, was not tried or panicked.
    pub results: Vec<Option<O>>,
    pub stuck: Vec<StuckItem>,
    /// Indices that were not tried because others like them hang.
    pub spared: Vec<usize>,
    /// Indices that were not tried because the time was up.
    pub late: Vec<usize>,
}

/// The questions about an item.
pub struct Wary<'a, I> {
    pub doubt: &'a dyn Fn(&I) -> Doubt,
    /// What it has in common with others that would hang like it.
    pub class: &'a dyn Fn(&I) -> u64,
    /// Whether an item that [`Doubt::Hangs`] still looks like that.
    pub still_hangs: &'a dyn Fn(&I) -> bool,
}

impl<I: Send + Sync + 'static> Wary<'_, I> {
    /// Runs `job` for each item under `sweep`'s limits, `sweep.max_stuck` of them for each degree of doubt.
    pub fn sweep<O: Send + 'static, S: 'static>(
        &self,
        sweep: &Sweep,
        items: &Arc<Vec<I>>,
        deadline: Deadline,
        scratch: fn() -> S,
        job: impl Fn(&mut S, &I, &Beat) -> O + Send + Sync + 'static,
    ) -> Outcome<O> {
        let job = Arc::new(job);
        let run = |indices: Vec<usize>, sweep: &Sweep, out: &mut Outcome<O>| -> Vec<usize> {
            if indices.is_empty() {
                return indices;
            }
            let (all, job) = (Arc::clone(items), Arc::clone(&job));
            let indices = Arc::new(indices);
            let swept =
                sweep.sweep(Arc::clone(&indices), deadline, scratch, move |s, i: &usize, b| job(s, &all[*i], b));
            take(swept, &indices, out)
        };
        let mut out = Outcome {
            results: items.iter().map(|_| None).collect(),
            stuck: Vec::new(),
            spared: Vec::new(),
            late: Vec::new(),
        };
        let of = |wanted: Doubt| (0..items.len()).filter(|i| (self.doubt)(&items[*i]) == wanted).collect::<Vec<_>>();

        // Healthy ones can hang too. Those that are not like the ones that did are tried all the same.
        let rest = run(of(Doubt::Healthy), sweep, &mut out);
        let mut hung = BTreeMap::<u64, usize>::new();
        out.stuck.iter().for_each(|s| *hung.entry((self.class)(&items[s.index])).or_default() += 1);
        let (alike, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|i| hung.contains_key(&(self.class)(&items[*i])));
        let mut left = run(others, sweep, &mut out);
        left.extend(alike);

        // Side by side, because they are likely to take their whole time.
        let many = |n: usize| Sweep { workers: sweep.max_stuck.min(n), ..*sweep };
        let doubtful = of(Doubt::Doubtful);
        left.extend(run(doubtful.clone(), &many(doubtful.len()), &mut out));
        let hanging = of(Doubt::Hangs);
        let rest = run(hanging.clone(), &many(hanging.len()), &mut out);
        // A lock that is merely contended is free by now.
        let (still, free): (Vec<_>, Vec<_>) = rest.into_iter().partition(|i| (self.still_hangs)(&items[*i]));
        left.extend(run(free, sweep, &mut out));
        left.extend(still);
        match deadline.passed(clock::mono()) {
            true => out.late = left,
            false => out.spared = left,
        }
        out
    }
}

/// Moves what one sweep brought to its place; the indices that it did not try.
fn take<O>(swept: Swept<O>, indices: &[usize], out: &mut Outcome<O>) -> Vec<usize> {
    let tried = indices.len() - swept.skipped;
    for (i, result) in indices.iter().zip(swept.results) {
        out.results[*i] = result;
    }
    out.stuck.extend(swept.stuck.into_iter().map(|s| StuckItem { index: indices[s.index], place: s.place }));
    indices[tried..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn no_healthy_item_is_lost_to_hung_ones_and_few_threads_are() {
        // 0..100 healthy, but 40..60 hang all the same; 100..300 are known to hang, the last of them no longer.
        let (reader, writer) = nix::unistd::pipe().expect("pipe");
        let items = Arc::new((0..300usize).collect::<Vec<_>>());
        let limits = Sweep { per_item: Duration::from_millis(40), max_stuck: 3, workers: 1 };
        let wary = Wary {
            doubt: &|i: &usize| if *i < 100 { Doubt::Healthy } else { Doubt::Hangs },
            class: &|i: &usize| u64::from((40..60).contains(i)),
            still_hangs: &|i: &usize| *i != 299,
        };
        let hangs = |i: usize| (40..60).contains(&i) || (100..299).contains(&i);
        let began = clock::mono();
        let deadline = Deadline::after(began, Duration::from_secs(20));
        let out = wary.sweep(
            &limits,
            &items,
            deadline,
            || (),
            move |(), i, _| {
                if hangs(*i) {
                    let _ = nix::unistd::read(reader.as_fd(), &mut [0u8; 1]);
                }
                *i
            },
        );
        for i in (0..40).chain(60..100).chain([299]) {
            assert_eq!(out.results[i], Some(i));
        }
        assert!(out.stuck.len() <= 6 + 3, "{} threads lost", out.stuck.len());
        assert_eq!(out.spared.len() + out.stuck.len(), 20 + 199);
        assert!(out.late.is_empty() && clock::mono().since(began) < Duration::from_secs(5));
        drop(writer);
    }
}
