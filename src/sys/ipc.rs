//! Datagrams between our own processes: a SOCK_SEQPACKET pair carries one JSON message per packet.
//!
//! Bounded by the kernel's socket buffer: `send` waits when the reader is behind, `try_send` says so.
//! A packet is at most [`PACKET_MAX`] bytes; larger messages must be cut by the sender.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Largest message, in bytes. Below the smallest common default of `net.core.wmem_default` (212,992).
pub const PACKET_MAX: usize = 128 * 1024;

/// One end of a pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What a read found.
#[derive(Debug)]
pub enum Received<M> {
    Message(M),
    /// Nothing there yet (non-blocking read).
    Empty,
    /// The other end is gone.
    Closed,
}

/// Makes a connected pair, both ends close-on-exec.
pub fn pair() -> io::Result<(Channel, Channel)> {
    let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    for end in [&a, &b] {
        // Best effort: room for four of the largest packets where net.core.wmem_max allows.
        let _ = setsockopt(end, sockopt::SndBuf, &(4 * PACKET_MAX));
    }
    Ok((Channel(a), Channel(b)))
}

impl Channel {
    /// Takes over one end that was handed down, for instance as standard input.
    pub fn from_fd(fd: OwnedFd) -> Channel {
        Channel(fd)
    }

    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends, waiting for room. Errors: `EPIPE` when the other end is gone, `InvalidData` when the
    /// message is larger than [`PACKET_MAX`].
    pub fn send<M: Serialize>(&self, message: &M) -> io::Result<()> {
        self.send_flags(message, MsgFlags::MSG_NOSIGNAL)
    }

    /// Sends if there is room; `WouldBlock` if not.
    pub fn try_send<M: Serialize>(&self, message: &M) -> io::Result<()> {
        self.send_flags(message, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)
    }

    fn send_flags<M: Serialize>(&self, message: &M, flags: MsgFlags) -> io::Result<()> {
        let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
        if bytes.len() > PACKET_MAX {
            let text = format!("message of {} bytes exceeds the packet limit of {PACKET_MAX}", bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        loop {
            match send(self.0.as_raw_fd(), &bytes, flags) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Reads one message if there is one.
    pub fn try_recv<M: DeserializeOwned>(&self, buf: &mut Vec<u8>) -> io::Result<Received<M>> {
        if buf.len() != PACKET_MAX {
            // Zeroed by the kernel as it is touched: most messages are small, and the rest of it takes no memory.
            *buf = vec![0; PACKET_MAX];
        }
        loop {
            match recv(self.0.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Ok(Received::Closed),
                Ok(n) => {
                    let m =
                        serde_json::from_slice(&buf[..n]).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                    return Ok(Received::Message(m));
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(Received::Empty),
                Err(nix::Error::ECONNRESET) => return Ok(Received::Closed),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Reads one message, waiting for it at most `wait` (`None`: for ever). `Empty` after that time.
    pub fn recv<M: DeserializeOwned>(&self, buf: &mut Vec<u8>, wait: Option<Duration>) -> io::Result<Received<M>> {
        if wait_readable(self.0.as_fd(), wait)? { self.try_recv(buf) } else { Ok(Received::Empty) }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until `fd` has something to read (or has failed); false when `wait` passed first.
pub fn wait_readable(fd: BorrowedFd<'_>, wait: Option<Duration>) -> io::Result<bool> {
    let timeout = match wait {
        None => PollTimeout::NONE,
        // Rounded up, so that a short wait never becomes a busy loop.
        Some(d) => {
            PollTimeout::try_from(i32::try_from(d.as_millis() + 1).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
        }
    };
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        Ok(n) => Ok(n > 0),
        Err(nix::Error::EINTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Waits until one of them has something to read (or has failed), or a signal came.
pub fn wait_any<const N: usize>(fds: [BorrowedFd<'_>; N]) -> io::Result<()> {
    let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_the_end_is_seen() {
        let (a, b) = pair().expect("socketpair");
        let mut buf = Vec::new();
        assert!(matches!(b.try_recv::<String>(&mut buf).expect("recv"), Received::Empty));
        a.send(&"one").expect("send");
        a.send(&"two").expect("send");
        for want in ["one", "two"] {
            match b.recv::<String>(&mut buf, Some(Duration::from_secs(5))).expect("recv") {
                Received::Message(m) => assert_eq!(m, want),
                other => panic!("{other:?}"),
            }
        }
        assert!(a.send(&"x".repeat(PACKET_MAX)).is_err());
        drop(a);
        assert!(matches!(b.try_recv::<String>(&mut buf).expect("recv"), Received::Closed));
    }
}
