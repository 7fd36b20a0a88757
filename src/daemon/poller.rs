//! epoll, with what each descriptor stands for instead of bare numbers.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// What became readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    Kernel,
    Netconsole,
    Signal,
    Control,
    /// A client of the control socket, by number.
    Client(u32),
    Tail,
    Probe,
    Keep,
    /// A capture worker, by its pid.
    Worker(i32),
    /// The tail or probe process of a drill, by number.
    DrillTail(u32),
    DrillProbe(u32),
}

const EVENTS_MAX: usize = 32;

#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    tokens: HashMap<u64, Token>,
    next: u64,
}

impl Poller {
    pub fn new() -> io::Result<Poller> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Poller { epoll, tokens: HashMap::new(), next: 0 })
    }

    /// Reports `token` whenever `fd` is readable, until it is closed or removed.
    pub fn add(&mut self, fd: impl AsFd, token: Token) -> io::Result<()> {
        self.forget(token);
        self.next += 1;
        self.tokens.insert(self.next, token);
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, self.next))?)
    }

    /// Stops reporting `fd`.
    pub fn remove(&mut self, fd: impl AsFd, token: Token) {
        // A descriptor that epoll does not know any more is what was wanted.
        let _ = self.epoll.delete(fd);
        self.forget(token);
    }

    fn forget(&mut self, token: Token) {
        self.tokens.retain(|_, t| *t != token);
    }

    /// Waits for at most `wait`; what is readable then.
    pub fn wait(&mut self, wait: Duration, ready: &mut Vec<Token>) -> io::Result<()> {
        ready.clear();
        // Rounded up: a wait that is cut short would spin until the deadline.
        let ms = u16::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let n = match self.epoll.wait(&mut events, EpollTimeout::from(ms)) {
            Ok(n) => n,
            Err(nix::Error::EINTR) => 0,
            Err(e) => return Err(e.into()),
        };
        ready.extend(events[..n].iter().filter_map(|e| self.tokens.get(&e.data())));
        Ok(())
    }
}
