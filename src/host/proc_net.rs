//! /proc/net/{tcp,tcp6,udp,udp6,unix}, line by line: the fallback where sock_diag is refused.

use crate::host::bytes::{hex, number, words};
use crate::host::sockets::{CLOSE, ESTABLISHED, Inet, LISTEN, Proto, Unix};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A line of /proc/net/{tcp,tcp6,udp,udp6}:
/// `sl local:port remote:port st tx:rx tr:when retrnsmt uid timeout inode …`, numbers hexadecimal up to
/// `retrnsmt`, addresses as native 32-bit words.
pub fn parse_inet(line: &[u8], proto: Proto) -> Option<Inet> {
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
pub fn parse_unix(line: &[u8]) -> Option<Unix> {
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

    #[test]
    fn proc_net_lines() {
        let s = parse_inet(
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
            let s = parse_inet(
                b" 0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000005 00:00000000 00000000 0 0 9 1",
                Proto::Tcp,
            )
            .expect("a line");
            assert_eq!((s.local, s.rqueue, s.wqueue), (IpAddr::from(Ipv6Addr::LOCALHOST), 5, None));
        }
        assert_eq!(parse_inet(b"  sl  local_address rem_address", Proto::Tcp), None);
        let u = parse_unix(b"0000000000000000: 00000002 00000000 00010000 0001 01 5000 /run/a b.sock").expect("a line");
        assert_eq!((u.state, u.inode, u.name.as_deref()), (LISTEN, 5000, Some(&b"/run/a b.sock"[..])));
        let u = parse_unix(b"0000000000000000: 00000003 00000000 00000000 0001 03 5001").expect("a line");
        assert_eq!((u.state, u.name), (ESTABLISHED, None));
    }
}
