//! Threads for guarded work, made before anything happens: on a machine that gives no new one, reading is still
//! guarded.

use crate::capture::pool::Pool;
use std::io;
use std::sync::OnceLock;

/// Shared by all guards of this process; a thread that is stuck is not replaced here.
static RESERVE: OnceLock<Pool> = OnceLock::new();

/// Starts `threads` threads in advance. Later calls change nothing. Errors: the system refuses even the first.
pub fn prepare(threads: usize) -> io::Result<()> {
    if RESERVE.get().is_none() {
        // Whoever came first in between has the same.
        let _ = RESERVE.set(Pool::new("guarded", threads)?);
    }
    Ok(())
}

/// Runs `work`, which may hang, on a thread of the reserve, else on a new one. Errors: neither can be had.
pub fn start(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    match RESERVE.get() {
        Some(pool) => pool.run(work),
        None => std::thread::Builder::new().name("guarded".into()).spawn(work).map(drop),
    }
}
