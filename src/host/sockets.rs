//! All TCP, UDP and unix sockets of this network namespace: from the kernel's sock_diag tables, else
//! from /proc/net (fewer figures, twice the cost).

use crate::host::Root;
use crate::host::bytes::lines;
use crate::host::names::{Names, Text};
use crate::host::{inet_diag, proc_net};
use crate::model::Deadline;
use crate::sys::sock_diag;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

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
    /// Name of the congestion control: `cubic`, `bbr`.
    pub congestion: Option<Text>,
    pub info: Option<Box<TcpInfo>>,
}

impl Inet {
    /// More connections wait than the backlog allows: the kernel drops new ones
    /// (`sk_acceptq_is_full`, include/net/sock.h, compares with `>`).
    pub fn accept_queue_full(&self) -> bool {
        self.proto == Proto::Tcp && self.state == LISTEN && self.wqueue.is_some_and(|most| self.rqueue > most)
    }

    /// A connection with data that nobody reads or that the other side does not acknowledge.
    pub fn has_data_waiting(&self) -> bool {
        self.state != LISTEN && (self.rqueue > 0 || self.wqueue > Some(0) || self.retransmits > 0)
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
    /// Acknowledged and received; Linux 4.1 and later.
    pub bytes: Option<(u64, u64)>,
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
        let mut names = Names::default();
        for (proto, v6, file) in [
            (Proto::Tcp, false, "/proc/net/tcp"),
            (Proto::Tcp, true, "/proc/net/tcp6"),
            (Proto::Udp, false, "/proc/net/udp"),
            (Proto::Udp, true, "/proc/net/udp6"),
        ] {
            let inet = &mut s.inet;
            let dumped = if root.is_real() {
                let request = inet_diag::inet_request(proto, v6);
                let each = &mut |b: &[u8]| inet.extend(inet_diag::parse_inet(b, proto, &mut names));
                sock_diag::dump(&request, SOCKETS_MAX, deadline, each)
            } else {
                Err(io::Error::from_raw_os_error(libc::ENOSYS))
            };
            s.note(dumped, root, file, |s, text| {
                s.inet.extend(lines(text).skip(1).take(SOCKETS_MAX).filter_map(|l| proc_net::parse_inet(l, proto)));
            });
        }
        let unix = &mut s.unix;
        let dumped = if root.is_real() {
            let each = &mut |b: &[u8]| unix.extend(inet_diag::parse_unix(b));
            sock_diag::dump(&inet_diag::unix_request(), SOCKETS_MAX, deadline, each)
        } else {
            Err(io::Error::from_raw_os_error(libc::ENOSYS))
        };
        s.note(dumped, root, "/proc/net/unix", |s, text| {
            s.unix.extend(lines(text).skip(1).take(SOCKETS_MAX).filter_map(proc_net::parse_unix));
        });
        s.sort();
        s
    }

    /// Puts them in order: by table; listeners first, then what has data waiting, then connections to our listeners, then
    /// the others; within these by age, which is that of their inodes; at the end what no process holds any more. So what a
    /// cap cuts is the crowd. The kernel gives them in the order of its hash, in which neighbours have nothing in common; in
    /// this one they are alike, for a reader, and for the compressor, which needs a third less for the same text.
    fn sort(&mut self) {
        let listening: HashSet<u16> = self.inet.iter().filter(|s| s.state == LISTEN).map(|s| s.local_port).collect();
        let rank = |s: &Inet| match () {
            () if s.state == LISTEN => 0,
            () if s.has_data_waiting() => 1,
            () if listening.contains(&s.local_port) => 2,
            () => 3,
        };
        self.inet.sort_by_cached_key(|s| {
            let table = (s.proto, s.local.is_ipv6());
            (table, rank(s), s.inode == 0, s.inode, s.local_port, s.remote, s.remote_port)
        });
        self.unix.sort_unstable_by_key(|u| u.inode);
    }

    /// TCP sockets that listen, and no others: a dump of a few, however many connections there are.
    /// Errors: sock_diag is refused. A fake root has files only.
    pub fn listeners(root: &Root, deadline: Deadline) -> io::Result<Vec<Inet>> {
        let mut all = Vec::new();
        if !root.is_real() {
            return Ok(Sockets::read_proc(root).inet.into_iter().filter(|s| s.state == LISTEN).collect());
        }
        let mut names = Names::default();
        for v6 in [false, true] {
            let request = inet_diag::listeners_request(v6);
            sock_diag::dump(&request, SOCKETS_MAX, deadline, &mut |b| {
                all.extend(inet_diag::parse_inet(b, Proto::Tcp, &mut names).filter(|s| s.state == LISTEN));
            })?;
        }
        Ok(all)
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
                s.inet.extend(lines(text).skip(1).take(SOCKETS_MAX).filter_map(|l| proc_net::parse_inet(l, proto)));
            });
        }
        s.note(refused(), root, "/proc/net/unix", |s, text| {
            s.unix.extend(lines(text).skip(1).take(SOCKETS_MAX).filter_map(proc_net::parse_unix));
        });
        s.sort();
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
