//! Which processes are worth the most when a cap, a deadline or a reader's patience cuts the list.
//!
//! Blocked ones first, then the failing service's, then what runs, then the largest consumers, then the
//! crowd: of 20,000 processes the reader wants some thirty, and a list that is cut in the order of pids
//! loses exactly those that were started last.

use crate::host::tasks::{Process, Table};
use std::cmp::Reverse;

/// Largest consumers of CPU time, and as many of memory.
const TOP: usize = 50;

/// Why a process is where it is in the order; the lower the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It or one of its threads is in uninterruptible sleep.
    Blocked,
    /// Of the service that failed.
    Service,
    Running,
    /// Among those with the most CPU time or memory.
    Top,
    Crowd,
}

/// The indices of `table.processes` in the order of their worth; within a class by pid.
pub fn order(table: &Table, is_service: impl Fn(&Process) -> bool) -> Vec<usize> {
    let top = top(table);
    let class = |index: usize| -> Class {
        let p = &table.processes[index];
        let any = |state: u8| p.stat.state == state || p.threads.iter().any(|t| t.stat.state == state);
        match () {
            () if any(b'D') => Class::Blocked,
            () if is_service(p) => Class::Service,
            () if any(b'R') => Class::Running,
            () if top.binary_search(&index).is_ok() => Class::Top,
            () => Class::Crowd,
        }
    };
    let mut keyed: Vec<(Class, usize)> = (0..table.processes.len()).map(|i| (class(i), i)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, i)| i).collect()
}

/// Indices of the largest consumers, ascending. CPU time is that of a whole life: the best that one look tells.
fn top(table: &Table) -> Vec<usize> {
    let mut out = Vec::new();
    let largest = |key: &dyn Fn(&Process) -> u64, out: &mut Vec<usize>| {
        let mut by: Vec<(Reverse<u64>, usize)> =
            table.processes.iter().enumerate().map(|(i, p)| (Reverse(key(p)), i)).collect();
        if by.len() > TOP {
            by.select_nth_unstable(TOP);
            by.truncate(TOP);
        }
        out.extend(by.into_iter().filter(|(k, _)| k.0 > 0).map(|(_, i)| i));
    };
    largest(&|p| p.stat.utime.saturating_add(p.stat.stime), &mut out);
    largest(&|p| p.stat.rss_pages, &mut out);
    out.sort_unstable();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::stat::Stat;

    fn process(pid: i32, state: u8, utime: u64, rss_pages: u64) -> Process {
        let stat = Stat { pid, state, utime, rss_pages, ..Stat::default() };
        Process { stat, ..Process::default() }
    }

    #[test]
    fn the_blocked_the_failing_the_running_and_the_large_come_before_the_crowd() {
        let mut processes: Vec<Process> = (1..=500).map(|pid| process(pid, b'S', 1, 1)).collect();
        processes[99] = process(100, b'S', 900, 1);
        processes[199] = process(200, b'S', 0, 900);
        processes[299] = process(300, b'R', 0, 0);
        processes[399] = process(400, b'S', 0, 0);
        processes[499] = process(500, b'D', 0, 0);
        // Its first thread sleeps; another one is blocked.
        let thread = crate::host::tasks::Thread { stat: Stat { state: b'D', ..Stat::default() }, ..Default::default() };
        processes[449].threads.push(thread);
        let table = Table { processes, ..Table::default() };
        let order = order(&table, |p| p.stat.pid == 400);
        let pids: Vec<i32> = order.iter().map(|i| table.processes[*i].stat.pid).collect();
        assert_eq!(pids[..4], [450, 500, 400, 300]);
        let place = |pid| pids.iter().position(|p| *p == pid).expect("it is in the order");
        assert!(place(100) < 4 + 2 * TOP && place(200) < 4 + 2 * TOP, "{} {}", place(100), place(200));
        assert_eq!(pids.len(), 500);
    }
}
