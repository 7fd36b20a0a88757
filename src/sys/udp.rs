//! A UDP socket that listens: datagrams one by one, never waiting, and how many the kernel had to drop.

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, recvmsg, setsockopt,
    socket, sockopt,
};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Asked of the kernel for datagrams not read yet: a dying machine sends some hundred of them at once, and each takes
/// about 2 KiB there.
const QUEUE_BYTES: usize = 4 << 20;

/// See the module.
#[derive(Debug)]
pub struct UdpListener {
    fd: OwnedFd,
    /// Datagrams dropped for want of room since it was opened, as the last one read said (SO_RXQ_OVFL, socket(7)).
    dropped: u32,
}

/// One datagram, in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub from: IpAddr,
    /// Bytes in the buffer.
    pub len: usize,
    /// It was longer than the buffer.
    pub truncated: bool,
    /// Datagrams that the kernel dropped before this one, since the one before.
    pub dropped: u32,
}

impl UdpListener {
    /// Binds `address`, also one that no interface has yet.
    ///
    /// Errors: the address is in use; the family is not there.
    pub fn bind(address: SocketAddr) -> io::Result<UdpListener> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(family, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::RxqOvfl, &1)?;
        // The unforced one stops at net.core.rmem_max; either way some room is there.
        if setsockopt(&fd, sockopt::RcvBufForce, &QUEUE_BYTES).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &QUEUE_BYTES)?;
        }
        // The option of IPv4 holds for IPv6 sockets too (inet_can_nonlocal_bind, include/net/inet_sock.h).
        setsockopt(&fd, sockopt::IpFreebind, &true)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        Ok(UdpListener { fd, dropped: 0 })
    }

    /// Readable when there is a datagram.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The next datagram; `None` when there is none now.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        let mut control = cmsg_space!(u32);
        let mut parts = [IoSliceMut::new(buffer)];
        let got =
            match recvmsg::<SockaddrStorage>(self.fd.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()) {
                Ok(got) => got,
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
        let from = got.address.as_ref().and_then(|a| match (a.as_sockaddr_in(), a.as_sockaddr_in6()) {
            (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
            (_, Some(v6)) => Some(IpAddr::V6(v6.ip())),
            _ => None,
        });
        let from = from.ok_or_else(|| io::Error::other("a datagram without a sender's address"))?;
        let total = got
            .cmsgs()
            .ok()
            .and_then(|mut all| all.find_map(|c| if let ControlMessageOwned::RxqOvfl(n) = c { Some(n) } else { None }));
        let total = total.unwrap_or(self.dropped);
        // A u32 in the kernel, which goes round.
        let dropped = total.wrapping_sub(self.dropped);
        let datagram = Datagram { from, len: got.bytes, truncated: got.flags.contains(MsgFlags::MSG_TRUNC), dropped };
        self.dropped = total;
        Ok(Some(datagram))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn datagrams_are_read_cut_and_what_was_dropped_is_counted() {
        let mut listener = UdpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("loopback");
        let at = nix::sys::socket::getsockname::<SockaddrStorage>(listener.fd.as_raw_fd()).expect("it has a name");
        let at = at.as_sockaddr_in().map(|a| (a.ip(), a.port())).expect("IPv4");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let mut buffer = [0; 8];
        assert_eq!(listener.receive(&mut buffer).expect("nothing"), None);
        sender.send_to(b"0123456789", at).expect("send");
        let first = listener.receive(&mut buffer).expect("read").expect("one");
        assert_eq!((first.from, first.len, first.truncated, first.dropped), (at.0.into(), 8, true, 0));
        // Without privilege the room is smaller, never larger.
        setsockopt(&listener.fd, sockopt::RcvBuf, &4096).expect("a small queue");
        for _ in 0..100 {
            sender.send_to(&[0; 1000], at).expect("send");
        }
        // The kernel notes with a datagram how many were dropped before it came.
        while listener.receive(&mut buffer).expect("read").is_some() {}
        sender.send_to(b"x", at).expect("send");
        let last = listener.receive(&mut buffer).expect("read").expect("one");
        assert!(last.dropped > 50, "{last:?}");
    }
}
