//! All TCP, UDP and unix sockets of this network namespace: from the kernel's sock_diag tables, else
//! from /proc/net (fewer figures, twice the cost).
//!
//! Requests are built with netlink-packet-sock-diag. Its parsers are not used on the answers: they
//! allocate three times a socket, take a path name of a unix socket only with its final zero, and
//! reject the whole answer for one short attribute; the kernel's layouts (linux/inet_diag.h,
//! unix_diag.h, tcp.h `struct tcp_info`, which only ever grows) are read here by offset instead, and
//! compared with the crate's in the tests.

use crate::host::Root;
use crate::host::bytes::{hex, lines, number, words};
use crate::model::Deadline;
use crate::sys::sock_diag;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::unix::{ShowFlags, StateFlags as UnixStates, UnixRequest};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most sockets taken of one family and protocol: 40 MB of text in all, and past any sane host.
pub const SOCKETS_MAX: usize = 100_000;
/// Most bytes of one /proc/net file, in the fallback.
const PROC_NET_CAP: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proto {
    Tcp,
    Udp,
}

/// TCP states by their number (net/tcp_states.h), as ss prints them.
const STATES: [&str; 13] = [
    "UNKNOWN",
    "ESTAB",
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "UNCONN",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
    "SYN-RECV",
];
/// The same, as netstat prints them.
const NETSTAT_STATES: [&str; 13] = [
    "UNKNOWN",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "SYN_RECV",
];
pub const ESTABLISHED: u8 = 1;
pub const CLOSE: u8 = 7;
pub const LISTEN: u8 = 10;

/// The state's name in ss.
pub fn state_name(state: u8) -> &'static str {
    STATES.get(usize::from(state)).copied().unwrap_or("UNKNOWN")
}

/// The state's name in netstat.
pub fn netstat_state(state: u8) -> &'static str {
    NETSTAT_STATES.get(usize::from(state)).copied().unwrap_or("UNKNOWN")
}

/// A TCP or UDP socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Inet {
    pub proto: Proto,
    pub state: u8,
    pub local: IpAddr,
    pub local_port: u16,
    pub remote: IpAddr,
    pub remote_port: u16,
    /// Interface it is bound to, 0 for none; from sock_diag only.
    pub interface: u32,
    /// 0 none, 1 retransmit, 2 keepalive, 3 time-wait, 4 zero window probe.
    pub timer: u8,
    pub timer_ms: u32,
    pub retransmits: u8,
    /// Bytes not yet read; for a listener: connections waiting to be accepted.
    pub rqueue: u32,
    /// Bytes not yet acknowledged; for a listener: most that may wait (the backlog).
    pub wqueue: Option<u32>,
    pub uid: u32,
    /// 0: no process holds it (TIME-WAIT, or closed and still sending).
    pub inode: u32,
    /// r, rb, t, tb, f, w, o, bl, d of ss -m.
    pub skmem: Option<[u32; 9]>,
    pub congestion: Option<Box<[u8]>>,
    pub info: Option<Box<TcpInfo>>,
}

impl Inet {
    /// More connections wait than the backlog allows: the kernel drops new ones
    /// (`sk_acceptq_is_full`, include/net/sock.h, compares with `>`).
    pub fn accept_queue_full(&self) -> bool {
        self.proto == Proto::Tcp && self.state == LISTEN && self.wqueue.is_some_and(|most| self.rqueue > most)
    }
}

/// From `struct tcp_info`. Times in microseconds where named so, else milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpInfo {
    pub rto_us: u32,
    pub ato_us: u32,
    pub snd_mss: u32,
    pub rcv_mss: u32,
    pub unacked: u32,
    pub lost: u32,
    pub retrans: u32,
    pub last_sent_ms: u32,
    pub last_received_ms: u32,
    pub last_ack_ms: u32,
    pub pmtu: u32,
    pub rtt_us: u32,
    pub rttvar_us: u32,
    pub cwnd: u32,
    pub total_retrans: u32,
    /// Linux 4.1 and later.
    pub bytes_acked: Option<u64>,
    pub bytes_received: Option<u64>,
    /// Linux 4.6 and later.
    pub notsent: Option<u32>,
    pub min_rtt_us: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Unix {
    /// SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_SEQPACKET 5.
    pub kind: u8,
    pub state: u8,
    pub inode: u32,
    /// Inode of the other end; `None` for listeners, unconnected ones, and in the fallback.
    pub peer: Option<u32>,
    /// Path, or `@name` for an abstract one.
    pub name: Option<Box<[u8]>>,
    /// Bytes; for a listener connections waiting, and most that may wait.
    pub rqueue: Option<u32>,
    pub wqueue: Option<u32>,
}

/// Where a table came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    #[default]
    SockDiag,
    ProcNet,
}

#[derive(Clone, Debug, Default)]
pub struct Sockets {
    pub inet: Vec<Inet>,
    pub unix: Vec<Unix>,
    pub from: From,
    /// What is missing, and why.
    pub missing: Vec<(String, String)>,
}

impl Sockets {
    /// Reads every table, each from sock_diag and, where that is refused, from /proc/net. A fake root has
    /// files only.
    pub fn read(root: &Root, deadline: Deadline) -> Sockets {
        let mut s = Sockets::default();
        for (proto, v6, file) in [
            (Proto::Tcp, false, "/proc/net/tcp"),
            (Proto::Tcp, true, "/proc/net/tcp6"),
            (Proto::Udp, false, "/proc/net/udp"),
            (Proto::Udp, true, "/proc/net/udp6"),
        ] {
            let inet = &mut s.inet;
            let dumped = if root.is_real() {
                let request = inet_request(proto, v6);
                sock_diag::dump(&request, SOCKETS_MAX, deadline, &mut |b| inet.extend(parse_inet(b, proto)))
            } else {
                Err(io::Error::from_raw_os_error(libc::ENOSYS))
            };
            s.note(dumped, root, file, |s, text| {
                s.inet.extend(lines(text).skip(1).take(SOCKETS_MAX).filter_map(|l| parse_proc_inet(l, proto)));
            });
        }
        let unix = &mut s.unix;
        let dumped = if root.is_real() {
            let each = &mut |b: &[u8]| unix.extend(parse_unix(b));
            sock_diag::dump(&unix_request(), SOCKETS_MAX, deadline, each)
        } else {
            Err(io::Error::from_raw_os_error(libc::ENOSYS))
        };
        s.note(dumped, root, "/proc/net/unix", |s, text| {
            s.unix.extend(lines(text).skip(1).take(SOCKETS_MAX).filter_map(parse_proc_unix));
        });
        s
    }

    /// Reads every table from /proc/net.
    pub fn read_proc(root: &Root) -> Sockets {
        let mut s = Sockets::default();
        let refused = || Err(io::Error::from_raw_os_error(libc::ENOSYS));
        for (proto, file) in [
            (Proto::Tcp, "/proc/net/tcp"),
            (Proto::Tcp, "/proc/net/tcp6"),
            (Proto::Udp, "/proc/net/udp"),
            (Proto::Udp, "/proc/net/udp6"),
        ] {
            s.note(refused(), root, file, |s, text| {
                s.inet.extend(lines(text).skip(1).take(SOCKETS_MAX).filter_map(|l| parse_proc_inet(l, proto)));
            });
        }
        s.note(refused(), root, "/proc/net/unix", |s, text| {
            s.unix.extend(lines(text).skip(1).take(SOCKETS_MAX).filter_map(parse_proc_unix));
        });
        s
    }

    /// Falls back to `file` when the dump failed, and notes what is missing.
    fn note(
        &mut self,
        dumped: io::Result<sock_diag::Dump>,
        root: &Root,
        file: &str,
        parse: impl FnOnce(&mut Sockets, &[u8]),
    ) {
        match dumped {
            Ok(d) => {
                if d.truncated {
                    let why = format!("cut after {} sockets or at the deadline", d.answers);
                    self.missing.push((format!("sockets of {file}"), why));
                }
                if d.interrupted {
                    let why = "the table changed during the dump; some may be missing or twice".into();
                    self.missing.push((format!("sockets of {file}"), why));
                }
            }
            Err(refused) => {
                self.from = From::ProcNet;
                match root.read(file, PROC_NET_CAP) {
                    Ok(c) => {
                        parse(self, &c.bytes);
                        if c.truncated {
                            self.missing.push((file.into(), format!("cut at {PROC_NET_CAP} bytes")));
                        }
                    }
                    // A kernel without IPv6 has neither.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => self.missing.push((file.into(), format!("sock_diag: {refused}; {e}"))),
                }
            }
        }
    }
}

fn whole_message(inner: SockDiagMessage) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, inner.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn inet_request(proto: Proto, v6: bool) -> Vec<u8> {
    whole_message(SockDiagMessage::InetRequest(InetRequest {
        family: if v6 { libc::AF_INET6 } else { libc::AF_INET } as u8,
        protocol: if proto == Proto::Tcp { libc::IPPROTO_TCP } else { libc::IPPROTO_UDP } as u8,
        extensions: match proto {
            Proto::Tcp => ExtensionFlags::INFO | ExtensionFlags::SKMEMINFO | ExtensionFlags::CONG,
            Proto::Udp => ExtensionFlags::SKMEMINFO,
        },
        // All, TCP_NEW_SYN_RECV (12) included.
        states: StateFlags::from_bits_retain(u32::MAX),
        socket_id: if v6 { SocketId::new_v6() } else { SocketId::new_v4() },
    }))
}

fn unix_request() -> Vec<u8> {
    whole_message(SockDiagMessage::UnixRequest(UnixRequest {
        state_flags: UnixStates::from_bits_retain(u32::MAX),
        inode: 0,
        show_flags: ShowFlags::NAME | ShowFlags::PEER | ShowFlags::RQLEN,
        cookie: [0xff; 8],
    }))
}

fn u16_be(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*b.get(at..)?.first_chunk()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*b.get(at..)?.first_chunk()?))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*b.get(at..)?.first_chunk()?))
}

/// Netlink attributes: u16 length with its 4-byte head, u16 type, value, aligned to 4. Ends at the first
/// impossible length.
fn attributes(mut b: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = b.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = b.get(4..length)?;
        // The two upper bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
        let kind = u16::from_ne_bytes([head[2], head[3]]) & 0x3fff;
        b = b.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// `struct inet_diag_msg`, 72 bytes, and its attributes.
pub fn parse_inet(b: &[u8], proto: Proto) -> Option<Inet> {
    const INFO: u16 = 2;
    const CONG: u16 = 4;
    const SKMEMINFO: u16 = 7;
    let family = i32::from(*b.first()?);
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = *b.get(at..)?.first_chunk()?;
        match family {
            libc::AF_INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
            libc::AF_INET6 => Some(Ipv6Addr::from(bytes).into()),
            _ => None,
        }
    };
    let mut s = Inet {
        proto,
        state: *b.get(1)?,
        timer: *b.get(2)?,
        retransmits: *b.get(3)?,
        local_port: u16_be(b, 4)?,
        remote_port: u16_be(b, 6)?,
        local: address(8)?,
        remote: address(24)?,
        interface: u32_at(b, 40)?,
        timer_ms: u32_at(b, 52)?,
        rqueue: u32_at(b, 56)?,
        wqueue: Some(u32_at(b, 60)?),
        uid: u32_at(b, 64)?,
        inode: u32_at(b, 68)?,
        skmem: None,
        congestion: None,
        info: None,
    };
    for (kind, value) in attributes(b.get(72..)?) {
        match kind {
            INFO if s.state != LISTEN => s.info = parse_tcp_info(value).map(Box::new),
            CONG => s.congestion = value.split(|c| *c == 0).next().filter(|n| !n.is_empty()).map(Into::into),
            SKMEMINFO => {
                let mut words = [0u32; 9];
                // Older kernels have fewer; those stay 0, which is what ss prints too.
                for (i, w) in words.iter_mut().enumerate() {
                    *w = u32_at(value, i * 4).unwrap_or(0);
                }
                s.skmem = Some(words);
            }
            _ => {}
        }
    }
    Some(s)
}

/// `struct tcp_info`; `None` when even its oldest part (104 bytes) is not there.
fn parse_tcp_info(b: &[u8]) -> Option<TcpInfo> {
    Some(TcpInfo {
        rto_us: u32_at(b, 8)?,
        ato_us: u32_at(b, 12)?,
        snd_mss: u32_at(b, 16)?,
        rcv_mss: u32_at(b, 20)?,
        unacked: u32_at(b, 24)?,
        lost: u32_at(b, 32)?,
        retrans: u32_at(b, 36)?,
        last_sent_ms: u32_at(b, 44)?,
        last_received_ms: u32_at(b, 52)?,
        last_ack_ms: u32_at(b, 56)?,
        pmtu: u32_at(b, 60)?,
        rtt_us: u32_at(b, 68)?,
        rttvar_us: u32_at(b, 72)?,
        cwnd: u32_at(b, 80)?,
        total_retrans: u32_at(b, 100)?,
        bytes_acked: u64_at(b, 120),
        bytes_received: u64_at(b, 128),
        notsent: u32_at(b, 144),
        min_rtt_us: u32_at(b, 148),
    })
}

/// `struct unix_diag_msg`, 16 bytes, and its attributes.
pub fn parse_unix(b: &[u8]) -> Option<Unix> {
    const NAME: u16 = 0;
    const PEER: u16 = 2;
    const RQLEN: u16 = 4;
    let mut s = Unix {
        kind: *b.get(1)?,
        state: *b.get(2)?,
        inode: u32_at(b, 4)?,
        peer: None,
        name: None,
        rqueue: None,
        wqueue: None,
    };
    for (kind, value) in attributes(b.get(16..)?) {
        match kind {
            NAME => {
                s.name = match value.split_first() {
                    None => None,
                    // Abstract: a zero first; further zeros are part of the name.
                    Some((0, rest)) => Some([b"@", rest].concat().into()),
                    Some(_) => Some(value.split(|c| *c == 0).next().unwrap_or(value).into()),
                };
            }
            PEER => s.peer = u32_at(value, 0).filter(|i| *i != 0),
            RQLEN => (s.rqueue, s.wqueue) = (u32_at(value, 0), u32_at(value, 4)),
            _ => {}
        }
    }
    Some(s)
}

/// A line of /proc/net/{tcp,tcp6,udp,udp6}:
/// `sl local:port remote:port st tx:rx tr:when retrnsmt uid timeout inode …`, numbers hexadecimal up to
/// `retrnsmt`, addresses as native 32-bit words.
pub fn parse_proc_inet(line: &[u8], proto: Proto) -> Option<Inet> {
    let mut w = words(line).skip(1);
    let (local, local_port) = proc_address(w.next()?)?;
    let (remote, remote_port) = proc_address(w.next()?)?;
    let state = u8::try_from(hex(w.next()?)?).ok()?;
    let pair = |field: &[u8]| -> Option<(u64, u64)> {
        let colon = memchr::memchr(b':', field)?;
        Some((hex(&field[..colon])?, hex(&field[colon + 1..])?))
    };
    let (tx, rx) = pair(w.next()?)?;
    let (timer, when) = pair(w.next()?)?;
    let retransmits = hex(w.next()?)?;
    let uid = u32::try_from(number(w.next()?)?).ok()?;
    let _timeout = w.next()?;
    let inode = u32::try_from(number(w.next()?)?).ok()?;
    Some(Inet {
        proto,
        state,
        local,
        local_port,
        remote,
        remote_port,
        interface: 0,
        timer: u8::try_from(timer).unwrap_or(0),
        // In clock ticks of 10 ms (USER_HZ is 100 on every Linux that matters here).
        timer_ms: u32::try_from(when.saturating_mul(10)).unwrap_or(u32::MAX),
        retransmits: u8::try_from(retransmits).unwrap_or(u8::MAX),
        rqueue: u32::try_from(rx).ok()?,
        // The file does not have a listener's backlog.
        wqueue: if proto == Proto::Tcp && state == LISTEN { None } else { u32::try_from(tx).ok() },
        uid,
        inode,
        skmem: None,
        congestion: None,
        info: None,
    })
}

fn proc_address(field: &[u8]) -> Option<(IpAddr, u16)> {
    let colon = memchr::memchr(b':', field)?;
    let (address, port) = (&field[..colon], u16::try_from(hex(&field[colon + 1..])?).ok()?);
    let word = |at: usize| Some((hex(address.get(at..at + 8)?)? as u32).to_ne_bytes());
    match address.len() {
        8 => Some((Ipv4Addr::from(word(0)?).into(), port)),
        32 => {
            let mut bytes = [0u8; 16];
            for i in 0..4 {
                bytes[i * 4..i * 4 + 4].copy_from_slice(&word(i * 8)?);
            }
            Some((Ipv6Addr::from(bytes).into(), port))
        }
        _ => None,
    }
}

/// A line of /proc/net/unix: `address: refs protocol flags type st inode path`.
pub fn parse_proc_unix(line: &[u8]) -> Option<Unix> {
    let mut w = words(line).skip(3);
    let flags = hex(w.next()?)?;
    let kind = u8::try_from(hex(w.next()?)?).ok()?;
    let socket_state = hex(w.next()?)?;
    let inode = u32::try_from(number(w.next()?)?).ok()?;
    // The path is what follows the seventh word and one blank, further blanks included.
    let mut rest = line.trim_ascii_start();
    for _ in 0..7 {
        let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        rest = rest[end..].trim_ascii_start();
    }
    let name = (!rest.is_empty()).then(|| rest.into());
    /// __SO_ACCEPTCON (linux/net.h).
    const ACCEPTING: u64 = 0x1_0000;
    /// SS_CONNECTED (linux/net.h).
    const CONNECTED: u64 = 3;
    let state = if flags & ACCEPTING != 0 {
        LISTEN
    } else if socket_state == CONNECTED {
        ESTABLISHED
    } else {
        CLOSE
    };
    Some(Unix { kind, state, inode, peer: None, name, rqueue: None, wqueue: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{Emitable, Parseable};
    use netlink_packet_sock_diag::inet::nlas::{MemInfo, Nla};
    use netlink_packet_sock_diag::inet::{InetResponse, InetResponseHeader};

    fn example() -> InetResponse {
        let info: Vec<u8> = (0..60u32).flat_map(u32::to_ne_bytes).collect();
        let mem = MemInfo {
            receive_queue: 1,
            receive_queue_max: 2,
            bottom_send_queues: 3,
            send_queue_max: 4,
            cache: 5,
            send_queue: 6,
            options: 7,
            backlog_queue_length: 8,
            drops: 9,
        };
        InetResponse {
            header: InetResponseHeader {
                family: libc::AF_INET as u8,
                state: ESTABLISHED,
                timer: None,
                socket_id: SocketId {
                    source_port: 443,
                    destination_port: 50_000,
                    source_address: IpAddr::from([10, 0, 0, 1]),
                    destination_address: IpAddr::from([10, 0, 0, 2]),
                    interface_id: 3,
                    cookie: [0; 8],
                },
                recv_queue: 11,
                send_queue: 12,
                uid: 1000,
                inode: 77,
            },
            nlas: [Nla::TcpInfo(info), Nla::MemInfo(mem), Nla::Congestion("cubic".into())].into_iter().collect(),
        }
    }

    #[test]
    fn inet_answers_read_as_the_crate_wrote_them() {
        let response = example();
        let mut bytes = vec![0; response.buffer_len()];
        response.emit(&mut bytes);
        assert_eq!(InetResponse::parse(&bytes).expect("the crate reads itself"), response);
        let s = parse_inet(&bytes, Proto::Tcp).expect("ours too");
        assert_eq!((s.local, s.local_port), (IpAddr::from([10, 0, 0, 1]), 443));
        assert_eq!((s.remote, s.remote_port), (IpAddr::from([10, 0, 0, 2]), 50_000));
        assert_eq!((s.rqueue, s.wqueue, s.uid, s.inode, s.interface), (11, Some(12), 1000, 77, 3));
        assert_eq!(s.skmem, Some([1, 2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!(s.congestion.as_deref(), Some(&b"cubic"[..]));
        let i = s.info.expect("tcp_info");
        // Word n of the made-up structure is n.
        assert_eq!((i.rto_us, i.unacked, i.lost, i.rtt_us, i.cwnd, i.total_retrans), (2, 6, 8, 17, 20, 25));
        assert_eq!((i.notsent, i.min_rtt_us), (Some(36), Some(37)));
    }

    #[test]
    fn cut_answers_never_panic_and_old_kernels_are_read() {
        let response = example();
        let mut bytes = vec![0; response.buffer_len()];
        response.emit(&mut bytes);
        for cut in 0..bytes.len() {
            let got = parse_inet(&bytes[..cut], Proto::Tcp);
            assert_eq!(got.is_some(), cut >= 72, "{cut}");
            let _ = parse_unix(&bytes[..cut]);
        }
        let old = parse_tcp_info(&[0; 104]).expect("the oldest layout");
        assert_eq!((old.bytes_acked, old.min_rtt_us), (None, None));
        assert_eq!(parse_tcp_info(&[0; 103]), None);
    }

    #[test]
    fn unix_names_with_and_without_their_zero() {
        let answer = |name: &[u8]| {
            let mut b = vec![1u8, 1, LISTEN, 0];
            b.extend(99u32.to_ne_bytes());
            b.extend([0; 8]);
            b.extend(((name.len() + 4) as u16).to_ne_bytes());
            b.extend(0u16.to_ne_bytes());
            b.extend(name);
            b.resize(b.len().next_multiple_of(4), 0);
            b.extend([8, 0, 2, 0]);
            b.extend(55u32.to_ne_bytes());
            parse_unix(&b).expect("an answer")
        };
        for (raw, want) in
            [(&b"/run/x\0"[..], &b"/run/x"[..]), (b"/run/x", b"/run/x"), (b"\0abs\0tract", b"@abs\0tract")]
        {
            let s = answer(raw);
            assert_eq!((s.name.as_deref(), s.peer, s.inode), (Some(want), Some(55), 99));
        }
    }

    #[test]
    fn proc_net_lines() {
        let s = parse_proc_inet(
            b"   3: 0100007F:1F90 0200007F:C350 01 00000010:00000020 02:00000064 00000003  1000        0 4242 1 0 20 4 30 10 -1",
            Proto::Tcp,
        );
        // Addresses are native words: this expectation holds on little-endian machines.
        #[cfg(target_endian = "little")]
        {
            let s = s.expect("a line");
            assert_eq!((s.local, s.local_port), (IpAddr::from([127, 0, 0, 1]), 8080));
            assert_eq!((s.rqueue, s.wqueue, s.timer, s.timer_ms, s.retransmits), (32, Some(16), 2, 1000, 3));
            assert_eq!((s.uid, s.inode, s.state), (1000, 4242, ESTABLISHED));
            let s = parse_proc_inet(
                b" 0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000005 00:00000000 00000000 0 0 9 1",
                Proto::Tcp,
            )
            .expect("a line");
            assert_eq!((s.local, s.rqueue, s.wqueue), (IpAddr::from(Ipv6Addr::LOCALHOST), 5, None));
        }
        assert_eq!(parse_proc_inet(b"  sl  local_address rem_address", Proto::Tcp), None);
        let u = parse_proc_unix(b"0000000000000000: 00000002 00000000 00010000 0001 01 5000 /run/a b.sock")
            .expect("a line");
        assert_eq!((u.state, u.inode, u.name.as_deref()), (LISTEN, 5000, Some(&b"/run/a b.sock"[..])));
        let u = parse_proc_unix(b"0000000000000000: 00000003 00000000 00000000 0001 03 5001").expect("a line");
        assert_eq!((u.state, u.name), (ESTABLISHED, None));
    }
}
