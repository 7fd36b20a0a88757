//! sock_diag: requests for whole tables, and what the kernel answers.
//!
//! Requests are built with netlink-packet-sock-diag. Its parsers are not used on the answers: they
//! allocate three times a socket, take a path name of a unix socket only with its final zero, and
//! reject the whole answer for one short attribute; the kernel's layouts (linux/inet_diag.h,
//! unix_diag.h, tcp.h `struct tcp_info`, which only ever grows) are read here by offset instead, and
//! compared with the crate's in the tests.

use crate::host::names::Names;
use crate::host::sockets::{Inet, LISTEN, Proto, TcpInfo, Unix};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::unix::{ShowFlags, StateFlags as UnixStates, UnixRequest};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn whole_message(inner: SockDiagMessage) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, inner.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

pub fn inet_request(proto: Proto, v6: bool) -> Vec<u8> {
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

/// TCP listeners alone, without the figures of connections.
pub fn listeners_request(v6: bool) -> Vec<u8> {
    whole_message(SockDiagMessage::InetRequest(InetRequest {
        family: if v6 { libc::AF_INET6 } else { libc::AF_INET } as u8,
        protocol: libc::IPPROTO_TCP as u8,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::LISTEN,
        socket_id: if v6 { SocketId::new_v6() } else { SocketId::new_v4() },
    }))
}

pub fn unix_request() -> Vec<u8> {
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

/// A text that a zero ends; `None` for an empty one.
fn up_to_zero(b: &[u8]) -> Option<&[u8]> {
    b.split(|c| *c == 0).next().filter(|text| !text.is_empty())
}

/// `struct inet_diag_msg`, 72 bytes, and its attributes. `names` keeps those of congestion controls.
pub fn parse_inet(b: &[u8], proto: Proto, names: &mut Names) -> Option<Inet> {
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
            CONG => s.congestion = up_to_zero(value).map(|name| names.keep(name)),
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
        bytes: u64_at(b, 120).zip(u64_at(b, 128)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sockets::ESTABLISHED;
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
        let s = parse_inet(&bytes, Proto::Tcp, &mut Names::default()).expect("ours too");
        assert_eq!((s.local, s.local_port), (IpAddr::from([10, 0, 0, 1]), 443));
        assert_eq!((s.remote, s.remote_port), (IpAddr::from([10, 0, 0, 2]), 50_000));
        assert_eq!((s.rqueue, s.wqueue, s.uid, s.inode, s.interface), (11, Some(12), 1000, 77, 3));
        assert_eq!(s.skmem, Some([1, 2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!((s.congestion.as_deref(), up_to_zero(b"\0x")), (Some(&b"cubic"[..]), None));
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
            let got = parse_inet(&bytes[..cut], Proto::Tcp, &mut Names::default());
            assert_eq!(got.is_some(), cut >= 72, "{cut}");
            let _ = parse_unix(&bytes[..cut]);
        }
        let old = parse_tcp_info(&[0; 104]).expect("the oldest layout");
        assert_eq!((old.bytes, old.min_rtt_us), (None, None));
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
}
