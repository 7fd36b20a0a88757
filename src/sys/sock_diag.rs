//! The kernel's socket tables over NETLINK_SOCK_DIAG: one dump request, its answers one by one.
//!
//! Only the transport is here; what an answer means is `host::sockets`. No privilege is needed. The
//! kernel may load a `*_diag` module for the first request of a family (request_module waits for
//! modprobe), so on a machine whose disk hangs the *send* can block: callers put a guard around it.

use crate::model::Deadline;
use crate::sys::clock;
use crate::sys::ipc::wait_readable;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Largest answer packet: the kernel fills at most 32 KiB per read (NLMSG_GOODSIZE and what follows).
const RECV_BYTES: usize = 64 * 1024;
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// How a dump ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    pub answers: usize,
    /// The table changed while it was dumped: some sockets may be missing or twice.
    pub interrupted: bool,
    /// Cut at the cap or at the deadline.
    pub truncated: bool,
}

/// Sends `request` (a whole netlink message, header included) and hands each answer's payload to
/// `each`, at most `cap` of them.
///
/// Errors: the errno of the socket or that of the kernel's answer (`ENOENT`: no such family here).
pub fn dump(request: &[u8], cap: usize, deadline: Deadline, each: &mut dyn FnMut(&[u8])) -> io::Result<Dump> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    send(fd.as_raw_fd(), request, MsgFlags::empty())?;
    let mut buf = vec![0u8; RECV_BYTES];
    let mut dump = Dump::default();
    loop {
        match recv(fd.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
            Ok(n) => match packet(&buf[..n], cap, &mut dump, each) {
                Step::More => {}
                Step::Done => return Ok(dump),
                Step::Failed(e) => return Err(e),
            },
            Err(nix::Error::EINTR) => {}
            Err(nix::Error::EAGAIN) => {
                let now = clock::mono();
                if deadline.passed(now) {
                    dump.truncated = true;
                    return Ok(dump);
                }
                wait_readable(fd.as_fd(), Some(deadline.left(now)))?;
            }
            Err(e) => return Err(e.into()),
        }
        if deadline.passed(clock::mono()) {
            dump.truncated = true;
            return Ok(dump);
        }
    }
}

enum Step {
    More,
    Done,
    Failed(io::Error),
}

/// One packet: messages of a 16-byte header (u32 length, u16 type, u16 flags, u32 sequence, u32
/// port) and their payload, aligned to 4 bytes. A length that does not fit ends the dump.
fn packet(mut buf: &[u8], cap: usize, dump: &mut Dump, each: &mut dyn FnMut(&[u8])) -> Step {
    while buf.len() >= HEADER {
        let length = u32::from_ne_bytes([buf[0], buf[1], buf[2], buf[3]]) as usize;
        let kind = u16::from_ne_bytes([buf[4], buf[5]]);
        let flags = u16::from_ne_bytes([buf[6], buf[7]]);
        if length < HEADER || length > buf.len() {
            return Step::Failed(io::Error::new(io::ErrorKind::InvalidData, "a netlink message of impossible length"));
        }
        let payload = &buf[HEADER..length];
        dump.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        match kind {
            // Both carry an errno, negative; 0 in a plain end.
            NLMSG_ERROR | NLMSG_DONE => {
                let errno = payload.first_chunk::<4>().map_or(0, |b| i32::from_ne_bytes(*b));
                return if errno < 0 {
                    Step::Failed(io::Error::from_raw_os_error(errno.saturating_neg()))
                } else {
                    Step::Done
                };
            }
            _ if dump.answers == cap => {
                dump.truncated = true;
                return Step::Done;
            }
            _ => {
                dump.answers += 1;
                each(payload);
            }
        }
        buf = &buf[length.next_multiple_of(4).min(buf.len())..];
    }
    Step::More
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut m = ((HEADER + payload.len()) as u32).to_ne_bytes().to_vec();
        m.extend(kind.to_ne_bytes());
        m.extend(flags.to_ne_bytes());
        m.extend([0; 8]);
        m.extend(payload);
        m.resize(m.len().next_multiple_of(4), 0);
        m
    }

    #[test]
    fn packets_are_walked_and_bad_lengths_refused() {
        let mut seen = Vec::new();
        let mut dump = Dump::default();
        let mut bytes = message(20, 2, b"abc");
        bytes.extend(message(20, 2 | NLM_F_DUMP_INTR, b"defg"));
        assert!(matches!(packet(&bytes, 9, &mut dump, &mut |p| seen.push(p.to_vec())), Step::More));
        assert_eq!(seen, [b"abc".to_vec(), b"defg".to_vec()]);
        assert!(dump.interrupted && !dump.truncated);
        assert!(matches!(packet(&bytes, 3, &mut dump, &mut |_| {}), Step::Done));
        assert!(dump.truncated);
        assert!(matches!(packet(&message(NLMSG_DONE, 2, &[0; 4]), 9, &mut dump, &mut |_| {}), Step::Done));
        let error = message(NLMSG_ERROR, 0, &(-libc::ENOENT).to_ne_bytes());
        match packet(&error, 9, &mut dump, &mut |_| {}) {
            Step::Failed(e) => assert_eq!(e.raw_os_error(), Some(libc::ENOENT)),
            _ => panic!("an error ends the dump"),
        }
        let mut bad = message(20, 0, b"x");
        bad[0] = 3;
        assert!(matches!(packet(&bad, 9, &mut dump, &mut |_| {}), Step::Failed(_)));
        bad[0] = 200;
        assert!(matches!(packet(&bad, 9, &mut dump, &mut |_| {}), Step::Failed(_)));
    }
}
