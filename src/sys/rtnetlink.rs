//! Dumps of the kernel's network tables over NETLINK_ROUTE: raw messages, handed on as they arrive.
//!
//! A link dump takes the kernel's RTNL mutex in the caller's context: when that is held for ever, the send
//! itself never returns and no deadline here can help. Call it on a thread that can be abandoned.

use crate::model::Deadline;
use crate::sys::clock;
use crate::sys::ipc::wait_readable;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{bind, recv, sendto, socket};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};

/// What to list. Numbers: linux/rtnetlink.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Links,
    Addresses,
    Routes,
    Rules,
    Neighbours,
}

impl Table {
    /// The dump request and the size of its fixed header (ifinfomsg, ifaddrmsg, rtmsg, fib_rule_hdr, ndmsg).
    fn request(self) -> (u16, usize) {
        match self {
            Table::Links => (libc::RTM_GETLINK, 16),
            Table::Addresses => (libc::RTM_GETADDR, 8),
            Table::Routes => (libc::RTM_GETROUTE, 12),
            Table::Rules => (libc::RTM_GETRULE, 12),
            Table::Neighbours => (libc::RTM_GETNEIGH, 12),
        }
    }

    /// For messages: `links`.
    pub fn name(self) -> &'static str {
        match self {
            Table::Links => "links",
            Table::Addresses => "addresses",
            Table::Routes => "routes",
            Table::Rules => "rules",
            Table::Neighbours => "neighbours",
        }
    }
}

/// How a dump ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Messages handed to the caller.
    pub messages: usize,
    /// The caller stopped it.
    pub cut: bool,
    /// The table changed meanwhile (NLM_F_DUMP_INTR): entries may be missing or double.
    pub changed: bool,
}

/// Message types and flags of linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const HEADER: usize = 16;
/// The kernel fills at most 32 KiB per datagram of a dump (af_netlink.c `netlink_dump`).
const DATAGRAM: usize = 64 * 1024;

/// Lists `table` for address family `family` (0: all). `each` gets the body of every message, fixed header
/// first, and may stop the dump.
///
/// Errors: `TimedOut` at the deadline; the kernel's errno where it refuses (`EOPNOTSUPP` for a table that
/// is not built in); `InvalidData` when a message contradicts its own length.
pub fn dump(
    table: Table,
    family: u8,
    deadline: Deadline,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<Dumped> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let (kind, size) = table.request();
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut request = Vec::with_capacity(HEADER + size);
    request.extend_from_slice(&((HEADER + size) as u32).to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&flags.to_ne_bytes());
    // Sequence 1, sender 0 (the kernel fills in ours).
    request.extend_from_slice(&1_u32.to_ne_bytes());
    request.extend_from_slice(&0_u32.to_ne_bytes());
    request.push(family);
    request.resize(HEADER + size, 0);
    sendto(fd.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;

    let mut done = Dumped::default();
    let mut buf = vec![0_u8; DATAGRAM];
    loop {
        let left = deadline.left(clock::mono());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        if !wait_readable(fd.as_fd(), Some(left))? {
            continue;
        }
        let n = match recv(fd.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
            Ok(n) => n,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => continue,
            Err(e) => return Err(e.into()),
        };
        if datagram(&buf[..n], &mut done, &mut each)?.is_break() {
            return Ok(done);
        }
    }
}

/// Walks the messages of one datagram. Break: the dump is over.
fn datagram(
    mut rest: &[u8],
    done: &mut Dumped,
    each: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    while rest.len() >= HEADER {
        let len = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let kind = u16::from_ne_bytes([rest[4], rest[5]]);
        let flags = u16::from_ne_bytes([rest[6], rest[7]]);
        if len < HEADER || len > rest.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "netlink message contradicts its length"));
        }
        let body = &rest[HEADER..len];
        done.changed |= flags & NLM_F_DUMP_INTR != 0;
        match kind {
            NLMSG_DONE => return Ok(ControlFlow::Break(())),
            NLMSG_ERROR => {
                let errno = body.first_chunk::<4>().map_or(0, |b| i32::from_ne_bytes(*b));
                return match errno {
                    0 => Ok(ControlFlow::Break(())),
                    e => Err(io::Error::from_raw_os_error(e.saturating_neg())),
                };
            }
            _ => {
                done.messages += 1;
                if each(body).is_break() {
                    done.cut = true;
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        rest = &rest[(len.next_multiple_of(4)).min(rest.len())..];
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_loopback_is_listed_and_a_dump_can_be_cut() {
        let deadline = Deadline::after(clock::mono(), Duration::from_secs(10));
        let mut bodies = 0;
        let done = dump(Table::Links, 0, deadline, |body| {
            assert!(body.len() >= 16);
            bodies += 1;
            ControlFlow::Continue(())
        })
        .expect("a link dump needs no privilege");
        assert!(bodies >= 1 && bodies == done.messages && !done.cut);
        let done = dump(Table::Addresses, 0, deadline, |_| ControlFlow::Break(())).expect("address dump");
        assert!(done.cut || done.messages == 0);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut message = vec![0_u8; 20];
        message[..4].copy_from_slice(&64_u32.to_ne_bytes());
        let mut done = Dumped::default();
        assert!(datagram(&message, &mut done, &mut |_| ControlFlow::Continue(())).is_err());
        message[..4].copy_from_slice(&3_u32.to_ne_bytes());
        assert!(datagram(&message, &mut done, &mut |_| ControlFlow::Continue(())).is_err());
    }
}
