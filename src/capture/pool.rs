//! Threads made beforehand, because on a dying machine no new one may be had. A thread that hangs is
//! not waited for: the pool merely has one fewer.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Stack of each thread, in bytes; only touched pages cost memory. getaddrinfo is the deepest caller.
const STACK_BYTES: usize = 1 << 20;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub struct Pool {
    name: &'static str,
    jobs: Sender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
    idle: Arc<AtomicUsize>,
}

impl Pool {
    /// Starts `threads` threads called `name`. Errors: the system refuses even the first.
    pub fn new(name: &'static str, threads: usize) -> io::Result<Pool> {
        let (jobs, queue) = channel();
        let pool = Pool { name, jobs, queue: Arc::new(Mutex::new(queue)), idle: Arc::new(AtomicUsize::new(0)) };
        for n in 0..threads {
            match pool.add() {
                Ok(()) => {}
                Err(e) if n == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(pool)
    }

    fn add(&self) -> io::Result<()> {
        let (queue, idle) = (Arc::clone(&self.queue), Arc::clone(&self.idle));
        self.idle.fetch_add(1, Ordering::SeqCst);
        let spawned = std::thread::Builder::new().name(self.name.into()).stack_size(STACK_BYTES).spawn(move || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = next else { return };
                job();
                idle.fetch_add(1, Ordering::SeqCst);
            }
        });
        if spawned.is_err() {
            self.idle.fetch_sub(1, Ordering::SeqCst);
        }
        spawned.map(drop)
    }

    /// Runs `job` on an idle thread; when all are taken (or hang), on a new one.
    /// Errors: none is idle and the system gives no new one.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        // Taken in one step: two callers must not both count on the last idle thread.
        while self.idle.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err() {
            self.add()?;
        }
        self.jobs.send(Box::new(job)).map_err(|_| io::Error::other("the thread pool is gone"))
    }
}
