//! Which processes may hang whoever reads their command line: told from a scan that takes no lock.
//!
//! `cmdline`, `environ` and `maps` wait for the target's memory lock. It is held for long when a page fault waits for
//! a dead file system; from then on whoever wants it for writing (mmap, munmap, brk) queues, and every reader
//! behind them. That queue is visible: a thread in state D in one of few functions.

use crate::host::tasks::{Process, Wait};

/// How likely a read waits for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// Nothing speaks for it.
    None,
    /// One of its threads is blocked, on whatever.
    Blocked,
    /// One of its threads waits for the memory lock of the process.
    WaitsForMemory {
        tid: i32,
        /// Index of the function.
        function: usize,
    },
}

/// Where a task waits for its memory lock, as `wchan` has it: the innermost function that is none of the scheduler's and
/// the locks' own (those are left out, kernel/sched: in_sched_functions). Seen on 6.18, or read in
/// mm/mmap.c, mm/vma.c, mm/mmap_lock.c, mm/mprotect.c, mm/madvise.c, mm/mremap.c, mm/mlock.c, mm/gup.c,
/// ipc/shm.c, kernel/fork.c, kernel/exit.c and arch/*/mm/fault.c.
const FUNCTIONS: &[&[u8]] = &[
    b"vm_mmap_pgoff",
    b"__vm_munmap",
    b"vm_munmap",
    b"__vma_start_write",
    b"vma_start_write",
    b"__vma_enter_locked",
    b"do_mprotect_pkey",
    b"__do_sys_brk",
    b"__x64_sys_brk",
    b"__se_sys_brk",
    b"__ia32_sys_brk",
    b"__arm64_sys_brk",
    b"do_madvise",
    b"madvise_lock",
    b"__do_sys_mremap",
    b"__x64_sys_mremap",
    b"__se_sys_mremap",
    b"do_mremap",
    b"do_mlock",
    b"__mm_populate",
    b"lock_mm_and_find_vma",
    b"get_mmap_lock_carefully",
    b"do_user_addr_fault",
    b"do_page_fault",
    b"exc_page_fault",
    b"rwsem_down_read_slowpath",
    b"rwsem_down_write_slowpath",
    b"down_read",
    b"down_read_killable",
    b"down_write",
    b"down_write_killable",
    b"dup_mmap",
    b"dup_mm",
    b"copy_process",
    b"exit_mm",
    b"acct_collect",
    b"ksys_shmdt",
    b"do_shmat",
];

impl Suspicion {
    pub fn of(p: &Process) -> Suspicion {
        let own = (p.stat.pid, p.stat.state, &p.wait);
        let tasks = std::iter::once(own).chain(p.threads.iter().map(|t| (t.stat.pid, t.stat.state, &t.wait)));
        tasks.map(|(tid, state, wait)| of_task(tid, state, wait)).max().unwrap_or(Suspicion::None)
    }

    /// The function that gives it away.
    pub fn function(self) -> Option<&'static str> {
        match self {
            Suspicion::WaitsForMemory { function, .. } => std::str::from_utf8(FUNCTIONS[function]).ok(),
            _ => None,
        }
    }
}

/// Whether a task in state D with this `wchan` waits for its memory lock.
pub fn is_memory_wait(wchan: &[u8]) -> bool {
    FUNCTIONS.contains(&wchan)
}

fn of_task(tid: i32, state: u8, wait: &Wait) -> Suspicion {
    let wchan = wait.wchan.as_deref().unwrap_or_default();
    match FUNCTIONS.iter().position(|f| *f == wchan) {
        Some(function) if state == b'D' => Suspicion::WaitsForMemory { tid, function },
        _ if state == b'D' || wait.stack.is_some() => Suspicion::Blocked,
        _ => Suspicion::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::stat::{Stat, Status};
    use crate::host::tasks::Thread;
    use crate::model::Mono;

    #[test]
    fn a_queue_for_the_memory_lock_is_seen_in_any_thread() {
        let wait = |wchan: &[u8]| Wait { wchan: Some(wchan.into()), ..Wait::default() };
        let stat = |pid, state| Stat { pid, state, ..Stat::default() };
        let mut p = Process {
            at: Mono(0),
            stat: stat(7, b'S'),
            status: Status::default(),
            wait: wait(b"futex_do_wait"),
            in_execve: false,
            oom_score_adj: None,
            cgroup: None,
            threads: Vec::new(),
            threads_left_out: 0,
        };
        assert_eq!(Suspicion::of(&p), Suspicion::None);
        p.threads.push(Thread { stat: stat(8, b'D'), wait: wait(b"folio_wait_bit_common") });
        assert_eq!(Suspicion::of(&p), Suspicion::Blocked);
        // Running again: no queue.
        p.threads.push(Thread { stat: stat(9, b'R'), wait: wait(b"vm_mmap_pgoff") });
        assert_eq!(Suspicion::of(&p), Suspicion::Blocked);
        p.threads.push(Thread { stat: stat(10, b'D'), wait: wait(b"vm_mmap_pgoff") });
        let seen = Suspicion::of(&p);
        assert!(matches!(seen, Suspicion::WaitsForMemory { tid: 10, .. }), "{seen:?}");
        assert_eq!(seen.function(), Some("vm_mmap_pgoff"));
    }
}
