//! The only clock. Everything else is handed its times.

use crate::model::{Mono, Wall};
use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC now.
pub fn mono() -> Mono {
    let t = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists since Linux 2.6");
    Mono((t.tv_sec() as u64).saturating_mul(1_000_000_000).saturating_add(t.tv_nsec() as u64))
}

/// CLOCK_REALTIME now.
pub fn wall() -> Wall {
    let t = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME exists on every Linux");
    Wall(t.tv_sec().saturating_mul(1_000_000).saturating_add(t.tv_nsec() / 1_000))
}

/// CPU time that this process has used, all threads together.
pub fn process_cpu() -> std::time::Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("exists since Linux 2.6.12").into()
}
