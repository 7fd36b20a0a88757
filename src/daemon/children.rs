//! A long-running child (tail, probe): started, watched, restarted when it ends, and when it hangs.

use crate::daemon::poller::{Poller, Token};
use crate::model::Mono;
use crate::sys::ipc::{Channel, Received};
use crate::sys::process::{Child, spawn_self, spawn_self_with};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// First wait before a restart; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A child that ran so long starts with a fresh back-off.
const SETTLED: Duration = Duration::from_secs(60);
/// Messages taken from one child before the loop looks at the others.
const BATCH: usize = 16;

/// One child with its role and its place in the poller.
#[derive(Debug)]
pub struct Helper {
    pub role: &'static str,
    token: Token,
    child: Option<Child>,
    started_at: Mono,
    retry_at: Mono,
    backoff: Duration,
    pub restarts: u64,
}

/// Starts the process of `role`: this binary, with a channel as standard input.
pub fn spawn_role(role: &str) -> io::Result<Child> {
    spawn_self(&["role".into(), role.into()])
}

/// Starts a capture worker; it inherits `command_lines`, the file of the cache.
pub fn spawn_capture(command_lines: Option<&OwnedFd>) -> io::Result<Child> {
    let mut args = vec!["role".into(), "capture".into()];
    args.extend(command_lines.map(|fd| fd.as_raw_fd().to_string().into()));
    spawn_self_with(&args, command_lines.map(|fd| fd.as_fd()))
}

impl Helper {
    pub fn new(role: &'static str, token: Token) -> Helper {
        Helper { role, token, child: None, started_at: Mono(0), retry_at: Mono(0), backoff: BACKOFF_MIN, restarts: 0 }
    }

    /// Starts it if it does not run and its back-off has passed, with `first` as its first messages.
    pub fn ensure(&mut self, now: Mono, poller: &mut Poller, first: &[impl Serialize]) -> io::Result<bool> {
        if !self.is_due(now) {
            return Ok(false);
        }
        self.started_at = now;
        self.retry_at = now.plus(self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        let child = spawn_role(self.role)?;
        for order in first {
            child.channel.try_send(order)?;
        }
        poller.add(&child.channel, self.token)?;
        self.child = Some(child);
        Ok(true)
    }

    /// Whether it does not run, and may be started now.
    pub fn is_due(&self, now: Mono) -> bool {
        self.child.is_none() && now >= self.retry_at
    }

    pub fn channel(&self) -> Option<&Channel> {
        self.child.as_ref().map(|c| &c.channel)
    }

    /// Sends an order without waiting; false when it is not running or too far behind to take it.
    pub fn order(&self, order: &impl Serialize) -> bool {
        self.channel().is_some_and(|c| c.try_send(order).is_ok())
    }

    /// Takes what it has to say, up to a batch; `None` in the list's place: it is gone.
    pub fn messages<M: DeserializeOwned>(&mut self, buf: &mut Vec<u8>, out: &mut Vec<M>) -> io::Result<bool> {
        let Some(child) = &self.child else { return Ok(false) };
        for _ in 0..BATCH {
            match child.channel.try_recv(buf)? {
                Received::Message(m) => out.push(m),
                Received::Empty => return Ok(true),
                Received::Closed => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Ends it without waiting (it is hung, or its channel is closed). It is started again by [`Helper::ensure`].
    pub fn drop_child(&mut self, now: Mono, poller: &mut Poller) -> Option<Child> {
        let child = self.child.take()?;
        poller.remove(&child.channel, self.token);
        child.kill();
        self.restarts += 1;
        if now.since(self.started_at) > SETTLED {
            self.backoff = BACKOFF_MIN;
            self.retry_at = now;
        }
        Some(child)
    }
}

/// Children that were killed and are waited for by nobody; those stuck in the kernel stay here.
#[derive(Debug, Default)]
pub struct Abandoned(Vec<Child>);

impl Abandoned {
    pub fn push(&mut self, child: Option<Child>) {
        self.0.extend(child);
    }

    /// Whether the child with this pid has not ended, as far as the last [`Abandoned::reap`] knew.
    pub fn has(&self, pid: i32) -> bool {
        self.0.iter().any(|c| c.pid.0 == pid)
    }

    /// Reaps those that have ended; how many have not.
    pub fn reap(&mut self) -> usize {
        use crate::sys::process::Life;
        self.0.retain(|c| matches!(c.life(), Ok(Life::Running)));
        self.0.len()
    }
}
