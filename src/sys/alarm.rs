//! A moment to be woken at, as a descriptor: whoever waits for something else in poll(2) need not look at the clock meanwhile
//! (timerfd_create(2)).

use crate::model::Mono;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Readable from the moment it is set to until it is set again.
#[derive(Debug)]
pub struct Alarm(TimerFd);

impl Alarm {
    /// Not set. Errors: no descriptor left.
    pub fn new() -> io::Result<Alarm> {
        Ok(Alarm(TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?))
    }

    /// Wakes nobody when `None`. A moment that has passed wakes at once.
    pub fn set(&self, at: Option<Mono>) -> io::Result<()> {
        match at {
            // Zero would disarm it.
            Some(at) => {
                let at = TimeSpec::from_duration(Duration::from_nanos(at.0.max(1)));
                Ok(self.0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
            }
            None => Ok(self.0.unset()?),
        }
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;
    use crate::sys::ipc::wait_readable;

    #[test]
    fn it_is_readable_from_its_moment_until_it_is_set_again() {
        let alarm = Alarm::new().expect("a timer");
        let readable = |wait| wait_readable(alarm.as_fd(), Some(wait)).expect("poll");
        assert!(!readable(Duration::ZERO));
        let at = clock::mono().plus(Duration::from_millis(20));
        alarm.set(Some(at)).expect("set");
        assert!(readable(Duration::from_secs(20)) && clock::mono() >= at);
        assert!(readable(Duration::ZERO), "still");
        alarm.set(None).expect("unset");
        assert!(!readable(Duration::ZERO));
        alarm.set(Some(Mono(0))).expect("set");
        assert!(readable(Duration::from_secs(20)), "passed long ago");
    }
}
