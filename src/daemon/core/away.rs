//! Snapshots that had to go to another store than the first, and when it is worth trying to move them home.

use crate::model::Mono;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a move that failed is tried again, while snapshots would go to the first store.
const AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Away {
    /// The first store; `None`: there is none at all.
    home: Option<PathBuf>,
    /// Where snapshots would go, as the spare worker said last.
    store: Option<PathBuf>,
    /// When the next try is due; `None`: nothing is away.
    due: Option<Mono>,
}

impl Away {
    pub fn new(home: Option<PathBuf>) -> Away {
        Away { home, ..Away::default() }
    }

    /// A spare worker found `store` to be the first that can be written to.
    pub fn ready(&mut self, store: &Path, now: Mono) {
        if self.store.replace(store.to_owned()).is_some_and(|before| before != store) && self.well() {
            self.due = Some(now);
        }
    }

    /// A snapshot was published.
    pub fn published(&mut self, path: &Path, now: Mono) {
        if path.parent() != self.home.as_deref() {
            // A slow store may be well, and done with its own copy, in a moment.
            self.due.get_or_insert(now.plus(AGAIN));
        }
    }

    /// So many are away, the `keep` role said.
    pub fn count(&mut self, n: u64, now: Mono) {
        self.due = (n > 0).then(|| now.plus(AGAIN));
    }

    /// Whether to try now.
    pub fn take_due(&mut self, now: Mono) -> bool {
        let due = self.well() && self.due.is_some_and(|at| at <= now);
        if due {
            // Until the role has counted them.
            self.due = Some(now.plus(AGAIN));
        }
        due
    }

    fn well(&self) -> bool {
        self.home.is_some() && self.home == self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_goes_home_once_its_store_is_well() {
        let (home, other) = (Path::new("/a"), Path::new("/b"));
        let at = |s: u64| Mono(s * 1_000_000_000);
        let mut away = Away::new(Some(home.into()));
        away.ready(home, at(0));
        away.published(Path::new("/a/x"), at(1));
        assert!(!away.take_due(at(1000)), "nothing is away");
        away.ready(other, at(1000));
        away.published(Path::new("/b/x"), at(1001));
        assert!(!away.take_due(at(2000)), "the first store is not well");
        away.ready(home, at(2001));
        assert!(away.take_due(at(2001)));
        assert!(!away.take_due(at(2002)), "once");
        away.count(1, at(2003));
        assert!(!away.take_due(at(2062)) && away.take_due(at(2064)), "one stayed: again after a while");
        away.count(0, at(2065));
        assert!(!away.take_due(at(9999)));
        // The spare was ready for the first store all the time: only the capture met the failure.
        away.published(Path::new("/b/y"), at(10_000));
        assert!(!away.take_due(at(10_059)) && away.take_due(at(10_060)));
    }
}
