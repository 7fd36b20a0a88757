//! Sockets in the shapes of `ss -peaonmi` and `netstat -W -neopa`, with the processes that hold them.

use crate::archive::Effort;
use crate::capture::collectors::sockets::{proto_name, timer_name, unix_kind};
use crate::capture::content::Pieces;
use crate::host::bytes::{pad_right, push_ip, push_left, push_number, push_right, push_word};
use crate::host::sockets::{self, CLOSE, ESTABLISHED, Inet, LISTEN, Proto, Sockets, TcpInfo, Unix};
use crate::host::tasks::Table;
use std::io::Write;

/// Most owners printed for one socket: the workers of a pre-forking server all hold its listener.
const OWNERS_MAX: usize = 64;

/// One descriptor of one process that is a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub inode: u32,
    pub pid: i32,
    pub fd: u32,
}

/// All of them, in the order of inodes.
pub(crate) struct Owners<'a> {
    all: Vec<Owner>,
    table: &'a Table,
}

impl<'a> Owners<'a> {
    /// `table`: the processes, for their names.
    pub(crate) fn new(mut all: Vec<Owner>, table: &'a Table) -> Owners<'a> {
        all.sort_unstable();
        Owners { all, table }
    }

    /// Who holds the socket; inode 0 is nobody's.
    pub(crate) fn of(&self, inode: u32) -> &[Owner] {
        if inode == 0 {
            return &[];
        }
        let from = self.all.partition_point(|o| o.inode < inode);
        // Few: not worth a second search through all.
        let length = self.all[from..].iter().take_while(|o| o.inode == inode).count();
        &self.all[from..from + length]
    }

    /// The name of its process.
    pub(crate) fn comm(&self, owner: &Owner) -> &'a [u8] {
        self.table.comm(owner.pid)
    }
}

/// `ss -peaonmi`: two lines for a TCP or UDP socket, one for a unix one.
pub(crate) fn ss(sockets: &Sockets, owners: &Owners) -> Pieces {
    let mut text = Pieces::new(Effort::Rows);
    text.open().extend_from_slice(
        b"Netid State      Recv-Q Send-Q Local Address:Port                Peer Address:Port                 Process\n",
    );
    for u in &sockets.unix {
        text.pack();
        let out = text.open();
        ss_head(out, unix_kind(u.kind), u.state, u.rqueue.unwrap_or(0), u.wqueue.unwrap_or(0));
        let start = out.len();
        push_word(out, u.name.as_deref().unwrap_or(b"*"));
        out.push(b' ');
        push_number(out, u.inode.into());
        pad_right(out, start, 33);
        let start = out.len();
        out.extend_from_slice(b" * ");
        push_number(out, u.peer.unwrap_or(0).into());
        pad_right(out, start, 34);
        users(out, owners, u.inode);
        out.push(b'\n');
    }
    for s in &sockets.inet {
        text.pack();
        ss_inet(text.open(), s, owners);
    }
    text
}

fn ss_head(out: &mut Vec<u8>, netid: &str, state: u8, rqueue: u32, wqueue: u32) {
    push_column(out, netid, 5);
    push_column(out, sockets::state_name(state), 10);
    push_left(out, rqueue.into(), 6);
    out.push(b' ');
    push_left(out, wqueue.into(), 6);
    out.push(b' ');
}

/// Text in a column of `width`, and the blank behind it.
fn push_column(out: &mut Vec<u8>, text: &str, width: usize) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    pad_right(out, start, width);
    out.push(b' ');
}

fn ss_inet(out: &mut Vec<u8>, s: &Inet, owners: &Owners) {
    ss_head(out, if s.proto == Proto::Tcp { "tcp" } else { "udp" }, s.state, s.rqueue, s.wqueue.unwrap_or(0));
    for (address, port) in [(s.local, s.local_port), (s.remote, s.remote_port)] {
        let start = out.len();
        if address.is_ipv6() {
            out.push(b'[');
        }
        push_ip(out, address);
        out.extend_from_slice(if address.is_ipv6() { b"]:" } else { b":" });
        match port {
            0 => out.push(b'*'),
            n => push_number(out, n.into()),
        }
        pad_right(out, start, 33);
        out.push(b' ');
    }
    users(out, owners, s.inode);
    if s.timer != 0 {
        let _ = write!(out, " timer:({},", timer_name(s.timer));
        milliseconds(out, s.timer_ms);
        let _ = write!(out, ",{})", s.retransmits);
    }
    if s.uid != 0 {
        out.extend_from_slice(b" uid:");
        push_number(out, s.uid.into());
    }
    out.extend_from_slice(b" ino:");
    push_number(out, s.inode.into());
    if s.interface != 0 {
        let _ = write!(out, " dev:{}", s.interface);
    }
    out.extend_from_slice(b"\n\t");
    if let Some(m) = s.skmem {
        // The kernel's order (SK_MEMINFO_*, linux/sock_diag.h) is this order.
        out.extend_from_slice(b" skmem:(");
        for (i, name) in ["r", "rb", "t", "tb", "f", "w", "o", "bl", "d"].iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name.as_bytes());
            push_number(out, m[i].into());
        }
        out.push(b')');
    }
    if let Some(name) = &s.congestion {
        out.push(b' ');
        push_word(out, name);
    }
    if let Some(i) = &s.info {
        tcp_info(out, i);
    }
    out.push(b'\n');
}

fn tcp_info(out: &mut Vec<u8>, i: &TcpInfo) {
    out.extend_from_slice(b" rto:");
    push_number(out, (i.rto_us / 1000).into());
    out.extend_from_slice(b" rtt:");
    thousandths(out, i.rtt_us);
    out.push(b'/');
    thousandths(out, i.rttvar_us);
    let mut field = |name: &str, n: u64| {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        push_number(out, n);
    };
    field("mss:", i.snd_mss.into());
    field("pmtu:", i.pmtu.into());
    field("rcvmss:", i.rcv_mss.into());
    field("cwnd:", i.cwnd.into());
    if let Some(n) = i.bytes.map(|b| b.0).filter(|n| *n > 0) {
        field("bytes_acked:", n);
    }
    if let Some(n) = i.bytes.map(|b| b.1).filter(|n| *n > 0) {
        field("bytes_received:", n);
    }
    field("lastsnd:", i.last_sent_ms.into());
    field("lastrcv:", i.last_received_ms.into());
    field("lastack:", i.last_ack_ms.into());
    if i.unacked > 0 {
        field("unacked:", i.unacked.into());
    }
    if i.total_retrans > 0 {
        field("retrans:", i.retrans.into());
        out.push(b'/');
        push_number(out, i.total_retrans.into());
    }
    let mut field = |name: &str, n: u64| {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        push_number(out, n);
    };
    if i.lost > 0 {
        field("lost:", i.lost.into());
    }
    if let Some(n) = i.notsent.filter(|n| *n > 0) {
        field("notsent:", n.into());
    }
    if let Some(n) = i.min_rtt_us {
        out.extend_from_slice(b" minrtt:");
        thousandths(out, n);
    }
}

/// Microseconds as milliseconds with three decimals.
fn thousandths(out: &mut Vec<u8>, us: u32) {
    push_number(out, (us / 1000).into());
    out.push(b'.');
    let rest = us % 1000;
    out.extend_from_slice(&[b'0' + (rest / 100) as u8, b'0' + (rest / 10 % 10) as u8, b'0' + (rest % 10) as u8]);
}

/// `1min59sec`, `12sec`, `6.200ms`, `200ms`: as ss prints a timer.
fn milliseconds(out: &mut Vec<u8>, ms: u32) {
    let (minutes, seconds, mut rest) = (ms / 60_000, ms % 60_000 / 1000, ms % 1000);
    if minutes > 0 {
        let _ = write!(out, "{minutes}min");
        rest = 0;
    }
    if seconds > 0 {
        if seconds > 9 {
            rest = 0;
        }
        let _ = write!(out, "{seconds}{}", if rest > 0 { "." } else { "sec" });
    }
    if rest > 0 {
        let _ = write!(out, "{rest:03}ms");
    }
}

/// `users:(("nginx",pid=1,fd=6),("nginx",pid=2,fd=6))`.
fn users(out: &mut Vec<u8>, owners: &Owners, inode: u32) {
    let held_by = owners.of(inode);
    if held_by.is_empty() {
        return;
    }
    out.extend_from_slice(b"users:(");
    for (i, o) in held_by.iter().take(OWNERS_MAX).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"(\"");
        // A quote in a name would end the field early.
        for (j, piece) in owners.comm(o).split(|b| *b == b'"').enumerate() {
            if j > 0 {
                out.extend_from_slice(b"\\x22");
            }
            push_word(out, piece);
        }
        out.extend_from_slice(b"\",pid=");
        push_number(out, o.pid.unsigned_abs().into());
        out.extend_from_slice(b",fd=");
        push_number(out, o.fd.into());
        out.push(b')');
    }
    out.push(b')');
}

/// `netstat -W -neopa`. The reference count of a unix socket is not in sock_diag: a dash stands for it.
pub(crate) fn netstat(sockets: &Sockets, owners: &Owners) -> Pieces {
    let mut text = Pieces::new(Effort::Rows);
    text.open().extend_from_slice(
        b"Active Internet connections (servers and established)\n\
          Proto Recv-Q Send-Q Local Address           Foreign Address         State       User       Inode      PID/Program name     Timer\n",
    );
    for s in &sockets.inet {
        text.pack();
        netstat_inet(text.open(), s, owners);
    }
    text.open().extend_from_slice(
        b"Active UNIX domain sockets (servers and established)\n\
          Proto RefCnt Flags       Type       State         I-Node   PID/Program name     Path\n",
    );
    for u in &sockets.unix {
        text.pack();
        netstat_unix(text.open(), u, owners);
    }
    text
}

fn netstat_inet(out: &mut Vec<u8>, s: &Inet, owners: &Owners) {
    let start = out.len();
    out.extend_from_slice(proto_name(s).as_bytes());
    pad_right(out, start, 5);
    out.push(b' ');
    push_right(out, s.rqueue.into(), 6);
    out.push(b' ');
    push_right(out, if s.state == LISTEN { 0 } else { s.wqueue.unwrap_or(0).into() }, 6);
    out.push(b' ');
    for (address, port) in [(s.local, s.local_port), (s.remote, s.remote_port)] {
        let start = out.len();
        push_ip(out, address);
        out.push(b':');
        match port {
            0 => out.push(b'*'),
            n => push_number(out, n.into()),
        }
        pad_right(out, start, 23);
        out.push(b' ');
    }
    let state = match (s.proto, s.state) {
        (Proto::Udp, CLOSE) => "",
        (_, state) => sockets::netstat_state(state),
    };
    push_column(out, state, 11);
    push_left(out, s.uid.into(), 10);
    out.push(b' ');
    push_left(out, s.inode.into(), 10);
    out.push(b' ');
    program(out, owners, s.inode);
    let name = match s.timer {
        0 => "off",
        4 => "probe",
        n => timer_name(n),
    };
    // The third figure counts keepalive probes, which no table has.
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b" (");
    let hundredths = (u64::from(s.timer_ms) + 5) / 10;
    push_number(out, hundredths / 100);
    out.extend_from_slice(&[b'.', b'0' + (hundredths / 10 % 10) as u8, b'0' + (hundredths % 10) as u8, b'/']);
    push_number(out, s.retransmits.into());
    out.extend_from_slice(b"/0)\n");
}

fn netstat_unix(out: &mut Vec<u8>, u: &Unix, owners: &Owners) {
    let kind = match u.kind {
        1 => "STREAM",
        2 => "DGRAM",
        5 => "SEQPACKET",
        _ => "UNKNOWN",
    };
    let (flags, state) = match u.state {
        LISTEN => ("[ ACC ]", "LISTENING"),
        ESTABLISHED => ("[ ]", "CONNECTED"),
        _ => ("[ ]", ""),
    };
    let _ = write!(out, "unix  -      {flags:<11} {kind:<10} {state:<13} {:<8} ", u.inode);
    program(out, owners, u.inode);
    out.push(b' ');
    if let Some(name) = &u.name {
        push_word(out, name);
    }
    out.push(b'\n');
}

/// `1279/qpidd`, padded to 20: the first that holds it, as netstat has it.
fn program(out: &mut Vec<u8>, owners: &Owners, inode: u32) {
    let start = out.len();
    match owners.of(inode).first() {
        Some(o) => {
            push_number(out, o.pid.unsigned_abs().into());
            out.push(b'/');
            push_word(out, owners.comm(o));
        }
        None => out.push(b'-'),
    }
    pad_right(out, start, 20);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::stat::Stat;
    use crate::host::tasks::Process;

    #[test]
    fn shapes() {
        let named =
            |pid| Process { stat: Stat { pid, comm: b"my \"app"[..].into(), ..Stat::default() }, ..Process::default() };
        let table = Table { processes: [2, 3, 8].map(named).into(), ..Table::default() };
        let owner = |inode, pid, fd| Owner { inode, pid, fd };
        let owners = Owners::new(vec![owner(9, 8, 4), owner(5, 3, 1), owner(5, 2, 1)], &table);
        assert_eq!(owners.of(5).len(), 2);
        assert!(owners.of(0).is_empty() && owners.of(6).is_empty());
        let inet = vec![Inet {
            proto: Proto::Tcp,
            state: ESTABLISHED,
            local: "::1".parse().expect("an address"),
            local_port: 80,
            remote: "::2".parse().expect("an address"),
            remote_port: 4000,
            interface: 0,
            timer: 1,
            timer_ms: 6_200,
            retransmits: 2,
            rqueue: 7,
            wqueue: Some(0),
            uid: 33,
            inode: 9,
            skmem: Some([0, 131_072, 0, 16_384, 0, 0, 0, 0, 1]),
            congestion: Some(b"cubic"[..].into()),
            info: Some(Box::new(TcpInfo { rto_us: 204_000, rtt_us: 44, rttvar_us: 1_022, ..TcpInfo::default() })),
        }];
        let unix = vec![Unix {
            kind: 1,
            state: LISTEN,
            inode: 5,
            peer: None,
            name: Some(b"/run/x"[..].into()),
            rqueue: Some(0),
            wqueue: Some(9),
        }];
        let s = Sockets { inet, unix, ..Sockets::default() };
        let text = String::from_utf8(ss(&s, &owners).finish().to_vec()).expect("text");
        for want in [
            "users:((\"my\\x20\\x22app\",pid=2,fd=1),(\"my\\x20\\x22app\",pid=3,fd=1))",
            "tcp   ESTAB      7      0      [::1]:80",
            "timer:(on,6.200ms,2) uid:33 ino:9\n\t skmem:(r0,rb131072,t0,tb16384,f0,w0,o0,bl0,d1) cubic rto:204 rtt:0.044/1.022",
        ] {
            assert!(text.contains(want), "{want} not in\n{text}");
        }
        let text = String::from_utf8(netstat(&s, &owners).finish().to_vec()).expect("text");
        let want = "tcp6       7      0 ::1:80                  ::2:4000                ESTABLISHED 33         9          8/my\\x20\"app         on (6.20/2/0)";
        assert!(text.contains(want), "{text}");
        let head = text.lines().nth(1).expect("a header");
        let line = text.lines().nth(2).expect("a line");
        for column in ["Local Address", "State", "User", "Inode", "PID/Program name", "Timer"] {
            let at = head.find(column).expect("a column");
            assert_eq!((line.as_bytes()[at - 1], line.as_bytes()[at] != b' '), (b' ', true), "{column}");
        }
        let unix = text.lines().last().expect("a line");
        assert_eq!(unix, "unix  -      [ ACC ]     STREAM     LISTENING     5        2/my\\x20\"app         /run/x");
        let mut out = Vec::new();
        milliseconds(&mut out, 119_500);
        assert_eq!(out, b"1min59sec");
    }
}
