//! `sockets`: every TCP, UDP and unix socket with its queues, timers and TCP figures.
//!
//! `lastgasp/sockets.tsv` has one line a socket, of those with nothing to tell only the first; all of them are in the
//! next tier's `ss`, with their owners. `lastgasp/sockets_summary.txt` answers the first questions: which listener does
//! not accept, how many connections are in which state on which port, and which peer holds them all.

use crate::archive::Effort;
use crate::capture::content::Pieces;
use crate::capture::guard::Sweep;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::bytes::{push_ip, push_number, push_word};
use crate::host::queues::Moment;
use crate::host::sockets::{self, CLOSE, From, Inet, LISTEN, Proto, Sockets, Unix};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "sockets",
    doc: "All sockets with queues, timers and TCP figures: full accept queues, piled-up states, the peer that holds all connections.",
    tier: Tier::T0,
    source: Source::Run(run),
    cap_bytes: 64 << 20,
    limit_ms: 4_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};

/// The kernel may wait for modprobe before it answers; 10,000 sockets take 12 ms when it does not.
pub(crate) const DUMP_GUARD: Sweep = Sweep { per_item: Duration::from_millis(1_500), max_stuck: 1, workers: 1 };
/// Lines of sockets without data waiting, of each table: 40,000 idle connections tell no more, and the first tier is to be
/// on the disk before anything else happens.
const IDLE_MAX: usize = 1_000;
/// Peers and ports shown in the summary.
const TOP: usize = 50;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let sockets = read(ctx, sink);
    sink.put("lastgasp/sockets_summary.txt", summary(&sockets))?;
    sink.put_pieces("lastgasp/sockets.tsv", table(&sockets))?;
    let mut queues = Moment::read(&ctx.root);
    queues.set_listeners(sockets.inet.iter().filter(|s| s.proto == Proto::Tcp));
    // Nobody else sets either.
    let _ = ctx.shared.queues.set(queues);
    let _ = ctx.shared.sockets.set(sockets);
    Ok(())
}

/// The dump of this capture: the shared one, or one made now.
pub(crate) fn read(ctx: &Context, sink: &mut Sink) -> Arc<Sockets> {
    if let Some(s) = ctx.shared.sockets.get() {
        return Arc::clone(s);
    }
    let (root, deadline) = (ctx.root.clone(), ctx.deadline);
    let sockets = DUMP_GUARD.run(move || Sockets::read(&root, deadline)).unwrap_or_else(|place| {
        sink.missing("sock_diag", format!("did not answer in 1.5 s; the reader hangs at {place}"));
        Sockets::read_proc(&ctx.root)
    });
    for (what, why) in &sockets.missing {
        sink.missing(what.clone(), why.clone());
    }
    if ctx.root.is_real() && sockets.from == From::ProcNet {
        sink.missing("TCP figures, backlogs and unix peers", "sock_diag is refused; read from /proc/net instead");
    }
    Arc::new(sockets)
}

/// `tcp`, `tcp6`, `udp`, `udp6`.
pub(crate) fn proto_name(s: &Inet) -> &'static str {
    match (s.proto, s.local) {
        (Proto::Tcp, IpAddr::V4(_)) => "tcp",
        (Proto::Tcp, IpAddr::V6(_)) => "tcp6",
        (Proto::Udp, IpAddr::V4(_)) => "udp",
        (Proto::Udp, IpAddr::V6(_)) => "udp6",
    }
}

/// All but the idle ones beyond [`IDLE_MAX`] of a table, in the order of [`Sockets`].
fn listed(sockets: &Sockets) -> impl Iterator<Item = &Inet> {
    let mut idle = HashMap::<&str, usize>::new();
    sockets.inet.iter().filter(move |s| {
        if s.state == LISTEN || s.has_data_waiting() {
            return true;
        }
        let n = idle.entry(proto_name(s)).or_default();
        *n += 1;
        *n <= IDLE_MAX
    })
}

fn table(sockets: &Sockets) -> Pieces {
    let mut text = Pieces::new(Effort::Rows);
    text.open().extend_from_slice(
        b"proto\tstate\tlocal\tlocal_port\tremote\tremote_port\trecv_q\tsend_q\tuid\tinode\ttimer\ttimer_ms\tretransmits\t\
          rtt_us\tunacked\tlost\tretrans\ttotal_retrans\tcwnd\tbytes_acked\tbytes_received\tlast_received_ms\tdrops\tname_or_peer\n",
    );
    for s in listed(sockets) {
        text.pack();
        inet_line(text.open(), s);
    }
    for u in &sockets.unix {
        text.pack();
        unix_line(text.open(), u);
    }
    text
}

fn optional(out: &mut Vec<u8>, n: Option<u64>) {
    out.push(b'\t');
    if let Some(n) = n {
        push_number(out, n);
    }
}

fn inet_line(out: &mut Vec<u8>, s: &Inet) {
    out.extend_from_slice(proto_name(s).as_bytes());
    out.push(b'\t');
    out.extend_from_slice(sockets::state_name(s.state).as_bytes());
    for (address, port) in [(s.local, s.local_port), (s.remote, s.remote_port)] {
        out.push(b'\t');
        push_ip(out, address);
        out.push(b'\t');
        push_number(out, port.into());
    }
    out.push(b'\t');
    push_number(out, s.rqueue.into());
    optional(out, s.wqueue.map(Into::into));
    optional(out, Some(s.uid.into()));
    optional(out, Some(s.inode.into()));
    out.push(b'\t');
    out.extend_from_slice(timer_name(s.timer).as_bytes());
    optional(out, (s.timer != 0).then(|| s.timer_ms.into()));
    optional(out, Some(s.retransmits.into()));
    let i = s.info.as_deref();
    for n in [
        i.map(|i| u64::from(i.rtt_us)),
        i.map(|i| i.unacked.into()),
        i.map(|i| i.lost.into()),
        i.map(|i| i.retrans.into()),
        i.map(|i| i.total_retrans.into()),
        i.map(|i| i.cwnd.into()),
        i.and_then(|i| i.bytes).map(|b| b.0),
        i.and_then(|i| i.bytes).map(|b| b.1),
        i.map(|i| i.last_received_ms.into()),
        s.skmem.map(|m| m[8].into()),
    ] {
        optional(out, n);
    }
    out.extend_from_slice(b"\t\n");
}

fn unix_line(out: &mut Vec<u8>, u: &Unix) {
    out.extend_from_slice(unix_kind(u.kind).as_bytes());
    out.push(b'\t');
    out.extend_from_slice(sockets::state_name(u.state).as_bytes());
    out.extend_from_slice(b"\t\t\t\t");
    optional(out, u.rqueue.map(Into::into));
    optional(out, u.wqueue.map(Into::into));
    out.push(b'\t');
    optional(out, Some(u.inode.into()));
    out.extend_from_slice(b"\t\t\t\t\t\t\t\t\t\t\t\t\t\t");
    if let Some(name) = &u.name {
        push_word(out, name);
    } else if let Some(peer) = u.peer {
        let _ = write!(out, "peer={peer}");
    }
    out.push(b'\n');
}

/// As ss names it.
pub(crate) fn unix_kind(kind: u8) -> &'static str {
    match kind {
        1 => "u_str",
        2 => "u_dgr",
        5 => "u_seq",
        _ => "u_???",
    }
}

/// As ss names it (net/ipv4/inet_diag.c).
pub(crate) fn timer_name(timer: u8) -> &'static str {
    match timer {
        0 => "",
        1 => "on",
        2 => "keepalive",
        3 => "timewait",
        4 => "persist",
        _ => "unknown",
    }
}

/// The most frequent first; equal counts in the order of their keys.
fn ranked<K: Ord + Hash + Clone>(counts: HashMap<K, u64>) -> Vec<(K, u64)> {
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all
}

fn summary(sockets: &Sockets) -> Vec<u8> {
    let mut out = Vec::with_capacity(16_384);
    by_state(&mut out, sockets);
    listeners(&mut out, sockets);
    by_port(&mut out, sockets);
    by_peer(&mut out, sockets);
    trouble(&mut out, sockets);
    out
}

fn by_state(out: &mut Vec<u8>, sockets: &Sockets) {
    let mut counts = BTreeMap::<(&str, &str), u64>::new();
    for s in &sockets.inet {
        *counts.entry((proto_name(s), sockets::state_name(s.state))).or_default() += 1;
    }
    for u in &sockets.unix {
        *counts.entry((unix_kind(u.kind), sockets::state_name(u.state))).or_default() += 1;
    }
    let _ = writeln!(out, "sockets: {} TCP and UDP, {} unix", sockets.inet.len(), sockets.unix.len());
    let mut last = "";
    for ((proto, state), n) in counts {
        if proto != last {
            let _ = write!(out, "{}{proto:6}", if last.is_empty() { "" } else { "\n" });
            last = proto;
        }
        let _ = write!(out, " {state}={n}");
    }
    out.push(b'\n');
    let left_out = sockets.inet.len() - listed(sockets).count();
    if left_out > 0 {
        let _ = writeln!(
            out,
            "{left_out} without data waiting are not in sockets.tsv; the text of ss in the next tier has them"
        );
    }
}

/// Listeners in the order of how full their queue is. A full one refuses new connections although its
/// process is alive: it does not accept.
fn listeners(out: &mut Vec<u8>, sockets: &Sockets) {
    let mut all: Vec<&Inet> = sockets.inet.iter().filter(|s| s.proto == Proto::Tcp && s.state == LISTEN).collect();
    all.sort_by_key(|s| (std::cmp::Reverse(s.rqueue), s.local_port, s.local));
    let _ = writeln!(out, "\nlisteners ({}): connections waiting to be accepted / most that may wait", all.len());
    for s in all.iter().take(4 * TOP) {
        let most = s.wqueue.map_or_else(|| "?".into(), |n| n.to_string());
        let note = if s.accept_queue_full() {
            "  FULL: new connections are dropped"
        } else if s.rqueue > 0 {
            "  waiting"
        } else {
            ""
        };
        let _ = writeln!(out, "{:>6} / {most:<6} {}{note}", s.rqueue, end(s.local, s.local_port));
    }
    for u in sockets.unix.iter().filter(|u| u.state == LISTEN && u.rqueue.is_some_and(|n| n > 0)).take(TOP) {
        let most = u.wqueue.map_or_else(|| "?".into(), |n| n.to_string());
        let _ = write!(out, "{:>6} / {most:<6} ", u.rqueue.unwrap_or(0));
        push_word(out, u.name.as_deref().unwrap_or(b"(unnamed)"));
        out.extend_from_slice(if u.rqueue > u.wqueue { b"  FULL: connect waits\n" } else { b"  waiting\n" });
    }
}

/// An address and port: `10.0.0.1:80`, `[::1]:80`.
pub(crate) fn end(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// Connections by the port of the service: the local one where something listens on it, else the remote.
fn by_port(out: &mut Vec<u8>, sockets: &Sockets) {
    let listening: std::collections::HashSet<u16> =
        sockets.inet.iter().filter(|s| s.proto == Proto::Tcp && s.state == LISTEN).map(|s| s.local_port).collect();
    let mut counts = HashMap::<(bool, u16, &str), u64>::new();
    for s in sockets.inet.iter().filter(|s| s.proto == Proto::Tcp && s.state != LISTEN && s.state != CLOSE) {
        let to_us = listening.contains(&s.local_port);
        let port = if to_us { s.local_port } else { s.remote_port };
        *counts.entry((to_us, port, sockets::state_name(s.state))).or_default() += 1;
    }
    out.extend_from_slice(b"\nTCP connections by port and state:\n");
    for ((to_us, port, state), n) in ranked(counts).into_iter().take(TOP) {
        let _ = writeln!(out, "{n:>7} {} {port:<5} {state}", if to_us { "to our port  " } else { "to their port" });
    }
}

/// One backend or client that holds all connections shows here.
fn by_peer(out: &mut Vec<u8>, sockets: &Sockets) {
    let mut counts = HashMap::<IpAddr, u64>::new();
    let mut total = 0u64;
    for s in sockets.inet.iter().filter(|s| s.proto == Proto::Tcp && s.state != LISTEN && s.remote_port != 0) {
        *counts.entry(s.remote).or_default() += 1;
        total += 1;
    }
    let _ = writeln!(out, "\nTCP connections by remote address ({total} to {} addresses):", counts.len());
    for (peer, n) in ranked(counts).into_iter().take(TOP) {
        let _ = writeln!(out, "{n:>7} {:>3}% {peer}", n * 100 / total.max(1));
    }
}

/// Connections that do not move: unread or unacknowledged data, retransmits. The worst first.
fn trouble(out: &mut Vec<u8>, sockets: &Sockets) {
    let mut bad: Vec<&Inet> = sockets.inet.iter().filter(|s| s.proto == Proto::Tcp && s.has_data_waiting()).collect();
    let unread: u64 = bad.iter().map(|s| u64::from(s.rqueue)).sum();
    let unsent: u64 = bad.iter().map(|s| u64::from(s.wqueue.unwrap_or(0))).sum();
    let _ = writeln!(
        out,
        "\nTCP connections with data that does not move: {} ({unread} bytes unread, {unsent} bytes unacknowledged)",
        bad.len()
    );
    bad.sort_by_key(|s| std::cmp::Reverse((s.retransmits, s.wqueue, s.rqueue)));
    for s in bad.iter().take(TOP) {
        let _ = writeln!(
            out,
            "{} {} -> {} recv_q={} send_q={} retransmits={}",
            sockets::state_name(s.state),
            end(s.local, s.local_port),
            end(s.remote, s.remote_port),
            s.rqueue,
            s.wqueue.unwrap_or(0),
            s.retransmits
        );
    }
    let drops: u64 = sockets.inet.iter().filter_map(|s| s.skmem).map(|m| u64::from(m[8])).sum();
    let _ = writeln!(out, "\npackets dropped at sockets since they were opened: {drops}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(state: u8, local_port: u16, remote: [u8; 4], rqueue: u32, wqueue: u32) -> Inet {
        Inet {
            proto: Proto::Tcp,
            state,
            local: IpAddr::from([127, 0, 0, 1]),
            local_port,
            remote: remote.into(),
            remote_port: if state == LISTEN { 0 } else { 40_000 },
            interface: 0,
            timer: 0,
            timer_ms: 0,
            retransmits: 0,
            rqueue,
            wqueue: Some(wqueue),
            uid: 0,
            inode: 1,
            skmem: None,
            congestion: None,
            info: None,
        }
    }

    #[test]
    fn the_summary_tells_the_story() {
        let mut inet = vec![tcp(LISTEN, 80, [0; 4], 129, 128), tcp(LISTEN, 22, [0; 4], 0, 128)];
        inet.extend((0..90).map(|_| tcp(8, 80, [10, 0, 0, 9], 5, 0)));
        inet.extend((0..10).map(|i| tcp(1, 80, [10, 0, 1, i], 0, 0)));
        let unix = vec![Unix {
            kind: 1,
            state: LISTEN,
            inode: 5,
            peer: None,
            name: Some(b"/run/a b"[..].into()),
            rqueue: Some(3),
            wqueue: Some(2),
        }];
        let s = Sockets { inet, unix, ..Sockets::default() };
        let text = String::from_utf8(summary(&s)).expect("text");
        for want in [
            "tcp    CLOSE-WAIT=90 ESTAB=10 LISTEN=2",
            "   129 / 128    127.0.0.1:80  FULL: new connections are dropped",
            "     3 / 2      /run/a\\x20b  FULL: connect waits",
            "     90 to our port   80    CLOSE-WAIT",
            "     90  90% 10.0.0.9",
            "does not move: 90 (450 bytes unread, 0 bytes unacknowledged)",
        ] {
            assert!(text.contains(want), "{want} not in\n{text}");
        }
        let table = String::from_utf8(table(&s).finish().to_vec()).expect("text");
        let columns = |l: &str| l.split('\t').count();
        let head = table.lines().next().expect("a header");
        assert!(table.lines().all(|l| columns(l) == columns(head)), "{table}");
        assert_eq!(table.lines().count(), 1 + s.inet.len() + s.unix.len());
    }

    #[test]
    fn idle_connections_beyond_a_thousand_are_counted_and_not_listed() {
        let mut inet: Vec<Inet> = (0..IDLE_MAX + 7).map(|_| tcp(1, 80, [10, 0, 0, 1], 0, 0)).collect();
        inet.push(tcp(1, 80, [10, 0, 0, 2], 5, 0));
        inet.push(tcp(LISTEN, 80, [0; 4], 0, 128));
        let s = Sockets { inet, ..Sockets::default() };
        let table = String::from_utf8(table(&s).finish().to_vec()).expect("text");
        assert_eq!(
            table.lines().count(),
            1 + IDLE_MAX + 2,
            "a header, the idle ones, the listener, the one that waits"
        );
        assert!(table.contains("10.0.0.2") && table.contains("LISTEN"));
        let summary = String::from_utf8(summary(&s)).expect("text");
        assert!(summary.contains("\n7 without data waiting are not in sockets.tsv"), "{summary}");
    }
}
