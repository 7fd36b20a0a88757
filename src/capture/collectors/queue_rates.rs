//! `queue_rates`: the machine's queues at two moments a second apart: connections that wait to be accepted, packets
//! that were dropped because nobody took them in, tasks that wait for a CPU, pages that wait for a disk.
//!
//! `lastgasp/queue_rates.txt` says what grew; a counter that stood still is left out, so that what is there is worth
//! reading.

use crate::capture::collectors::sockets::{DUMP_GUARD, end};
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::bytes::{hex, lines, number, push_word, words};
use crate::host::sockets::{Inet, Sockets};
use crate::model::Mono;
use crate::sys::clock;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "queue_rates",
    doc: "Accept queues, dropped packets, run queue and kernel counters at two moments a second apart: what grows right now.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 2 << 20,
    limit_ms: 6_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};

const WINDOW: Duration = Duration::from_secs(1);
const CAP: usize = 4 << 20;
/// Listeners that are shown; the fullest first.
const LISTENERS_MAX: usize = 200;

/// Where a name and a number stand on one line.
const PAIRS: &[&str] = &["/proc/vmstat"];
/// Where a line of names is followed by one of numbers, both after the same word.
const TABLES: &[&str] = &["/proc/net/netstat", "/proc/net/snmp"];

type Counters = BTreeMap<String, u64>;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let first = Moment::read(ctx);
    // Time itself is what is awaited here; a cancelled capture is noticed at the next wake-up.
    loop {
        let left = WINDOW.saturating_sub(clock::mono().since(first.at));
        if left.is_zero() || ctx.expired() {
            break;
        }
        std::thread::park_timeout(left.min(Duration::from_millis(100)));
    }
    let second = Moment::read(ctx);
    for why in first.missing.iter().chain(&second.missing) {
        sink.missing("accept queues", why.clone());
    }
    sink.put("lastgasp/queue_rates.txt", text(&first, &second))?;
    Ok(())
}

/// Everything at one moment.
#[derive(Default)]
struct Moment {
    at: Mono,
    counters: Counters,
    /// Tasks that run or would, and tasks that wait for I/O.
    running: Option<u64>,
    blocked: Option<u64>,
    listeners: BTreeMap<(IpAddr, u16, u32), (u32, Option<u32>)>,
    missing: Option<String>,
}

impl Moment {
    fn read(ctx: &Context) -> Moment {
        let mut m = Moment { at: clock::mono(), ..Moment::default() };
        let read = |path: &str| ctx.root.read(path, CAP).map(|c| c.bytes).unwrap_or_default();
        for file in PAIRS {
            pairs(&read(file), &mut m.counters);
        }
        for file in TABLES {
            table(&read(file), &mut m.counters);
        }
        softnet(&read("/proc/net/softnet_stat"), &mut m.counters);
        let stat = read("/proc/stat");
        for line in lines(&stat) {
            let mut w = words(line);
            let (Some(name), Some(n)) = (w.next(), w.next().and_then(number)) else { continue };
            match name {
                b"procs_running" => m.running = Some(n),
                b"procs_blocked" => m.blocked = Some(n),
                b"ctxt" => drop(m.counters.insert("context switches".into(), n)),
                b"intr" => drop(m.counters.insert("interrupts".into(), n)),
                b"processes" => drop(m.counters.insert("forks".into(), n)),
                _ => {}
            }
        }
        let (root, deadline) = (ctx.root.clone(), ctx.deadline);
        match DUMP_GUARD.run(move || Sockets::listeners(&root, deadline)) {
            Ok(Ok(all)) => m.listeners = all.iter().map(queue).collect(),
            Ok(Err(e)) => m.missing = Some(format!("ask for listeners: {e}")),
            Err(place) => m.missing = Some(format!("no answer in 1.5 s; the reader hangs at {place}")),
        }
        m
    }
}

/// A listener by what tells it from others, with what waits and what may.
fn queue(s: &Inet) -> ((IpAddr, u16, u32), (u32, Option<u32>)) {
    ((s.local, s.local_port, s.inode), (s.rqueue, s.wqueue))
}

/// `pgmajfault 77`.
fn pairs(text: &[u8], out: &mut Counters) {
    for line in lines(text).take(1000) {
        let mut w = words(line);
        let (Some(name), Some(n)) = (w.next(), w.next().and_then(number)) else { continue };
        // Others are levels, not counters (mm/vmstat.c vmstat_text: the node's and zone's come first, `nr_…`).
        if !name.starts_with(b"nr_") {
            out.insert(String::from_utf8_lossy(name).into_owned(), n);
        }
    }
}

/// `TcpExt: SyncookiesSent …` and below it `TcpExt: 0 …` (net/ipv4/proc.c).
fn table(text: &[u8], out: &mut Counters) {
    let all: Vec<&[u8]> = lines(text).take(1000).collect();
    for two in all.chunks_exact(2) {
        let (mut names, mut values) = (words(two[0]), words(two[1]));
        let (Some(group), Some(same)) = (names.next(), values.next()) else { continue };
        if group != same {
            continue;
        }
        for (name, value) in names.zip(values) {
            // A few are levels or settings, negative ones among them.
            if let Some(n) = number(value).filter(|_| !LEVELS.contains(&name)) {
                let name = format!("{}{}", String::from_utf8_lossy(group), String::from_utf8_lossy(name));
                out.insert(name.replace(':', " "), n);
            }
        }
    }
}

/// Of /proc/net/snmp, what goes up and down.
const LEVELS: &[&[u8]] =
    &[b"Forwarding", b"DefaultTTL", b"RtoAlgorithm", b"RtoMin", b"RtoMax", b"MaxConn", b"CurrEstab"];

/// One line a CPU, hexadecimal: packets, dropped, out of time, … (net/core/net-procfs.c softnet_seq_show).
fn softnet(text: &[u8], out: &mut Counters) {
    let mut sums = [0u64; 3];
    for line in lines(text).take(8192) {
        for (sum, value) in sums.iter_mut().zip(words(line)) {
            *sum = sum.saturating_add(hex(value).unwrap_or(0));
        }
    }
    for (name, sum) in ["softnet packets", "softnet dropped", "softnet out of time"].iter().zip(sums) {
        out.insert((*name).into(), sum);
    }
}

fn text(a: &Moment, b: &Moment) -> Vec<u8> {
    let mut out = Vec::with_capacity(16_384);
    let seconds = b.at.since(a.at).as_secs_f64().max(0.001);
    let level = |n: Option<u64>| n.map_or_else(|| "?".into(), |n| n.to_string());
    let _ = writeln!(
        out,
        "over {seconds:.2} s\nrun queue: {} then {} tasks run or wait for a CPU\nblocked: {} then {} tasks wait for I/O",
        level(a.running),
        level(b.running),
        level(a.blocked),
        level(b.blocked)
    );
    listeners(&mut out, a, b);
    out.extend_from_slice(b"\ncounters that grew, per second:\n");
    for (name, now) in &b.counters {
        let grew = now.saturating_sub(*a.counters.get(name).unwrap_or(now));
        if grew > 0 {
            let _ = write!(out, "{:>14.1} ", grew as f64 / seconds);
            for (i, word) in name.split(' ').enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                push_word(&mut out, word.as_bytes());
            }
            out.push(b'\n');
        }
    }
    out
}

/// Those with connections that wait, the fullest first, and whether their process takes any in.
fn listeners(out: &mut Vec<u8>, a: &Moment, b: &Moment) {
    let mut waiting: Vec<_> = b
        .listeners
        .iter()
        .map(|(key, now)| (key, a.listeners.get(key).map(|then| then.0), now))
        .filter(|(_, then, now)| now.0 > 0 || then.is_some_and(|n| n > 0))
        .collect();
    waiting.sort_by_key(|(key, _, now)| (std::cmp::Reverse(now.0), **key));
    let _ = writeln!(
        out,
        "\nlisteners with connections that wait to be accepted: {} of {}",
        waiting.len(),
        b.listeners.len()
    );
    for ((address, port, _), then, (now, most)) in waiting.iter().take(LISTENERS_MAX) {
        let most = most.map_or_else(|| "?".into(), |n| n.to_string());
        let (then, word) = match then {
            Some(then) if then < now => (then.to_string(), "grows"),
            Some(then) if then > now => (then.to_string(), "shrinks"),
            Some(then) => (then.to_string(), "stands still"),
            None => ("-".into(), "new"),
        };
        let _ = writeln!(out, "{then:>6} then {now:>6} of {most:<6} {}  {word}", end(*address, *port));
    }
    if waiting.len() > LISTENERS_MAX {
        let _ = writeln!(out, "  and {} more", waiting.len() - LISTENERS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_is_told_and_what_stood_still_is_not() {
        let mut a = Moment { running: Some(3), ..Moment::default() };
        table(b"TcpExt: ListenOverflows ListenDrops TW\nTcpExt: 5 7 9\nIp: Forwarding\nIp: 1\n", &mut a.counters);
        pairs(b"nr_dirty 5\npgmajfault 10\n", &mut a.counters);
        softnet(b"00000010 00000001 00000000 0\n00000010 00000001 00000000 0\n", &mut a.counters);
        let mut b = Moment { at: Mono(2_000_000_000), running: Some(4), ..Moment::default() };
        table(b"TcpExt: ListenOverflows ListenDrops TW\nTcpExt: 25 7 9\n", &mut b.counters);
        pairs(b"nr_dirty 50\npgmajfault 11\n", &mut b.counters);
        softnet(b"00000010 00000003 00000000 0\n00000010 00000001 00000000 0\n", &mut b.counters);
        let key = |port: u16| (IpAddr::from([127, 0, 0, 1]), port, 1);
        a.listeners = [(key(80), (10, Some(128))), (key(22), (0, Some(128)))].into();
        b.listeners = [(key(80), (129, Some(128))), (key(22), (0, Some(128))), (key(81), (1, None))].into();
        let text = String::from_utf8(text(&a, &b)).expect("text");
        let want = "over 2.00 s\nrun queue: 3 then 4 tasks run or wait for a CPU\nblocked: ? then ? tasks wait for I/O\n\n\
                    listeners with connections that wait to be accepted: 2 of 3\n    \
                    10 then    129 of 128    127.0.0.1:80  grows\n     \
                    - then      1 of ?      127.0.0.1:81  new\n\n\
                    counters that grew, per second:\n          10.0 TcpExt ListenOverflows\n           0.5 pgmajfault\n           1.0 softnet dropped\n";
        assert_eq!(text, want);
    }

    #[test]
    fn broken_tables_bring_nothing_and_no_panic() {
        let broken = [&b""[..], b"TcpExt: A\n", b"TcpExt: A\nIp: 1\n", b"\xff \xff\n\n\n", b"X: A B\nX: 1\n"];
        let mut tables = Counters::new();
        broken.iter().for_each(|text| table(text, &mut tables));
        assert_eq!(tables, Counters::from([("X A".to_owned(), 1)]));
        let mut others = Counters::new();
        for text in [&b""[..], b"\xff \xff\n\n\n", b"a\n", b"a b\n", b"a 18446744073709551616\n"] {
            pairs(text, &mut others);
            softnet(text, &mut others);
        }
        assert!(others.keys().all(|k| k.starts_with("softnet ")), "{others:?}");
    }
}
