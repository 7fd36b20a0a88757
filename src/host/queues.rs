//! The machine's queues at one moment: connections that wait to be accepted, tasks that wait for a CPU or a disk, and
//! the kernel's counters of packets, pages and switches. Two moments tell what grows.

use crate::host::Root;
use crate::host::bytes::{hex, lines, number, words};
use crate::host::sockets::{Inet, LISTEN};
use crate::model::Mono;
use crate::sys::clock;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most bytes of one file; /proc/stat has a line a CPU and a number an interrupt.
const CAP: usize = 4 << 20;
/// Where a name and a number stand on one line.
const PAIRS: &[&str] = &["/proc/vmstat"];
/// Where a line of names is followed by one of numbers, both after the same word.
const TABLES: &[&str] = &["/proc/net/netstat", "/proc/net/snmp"];

pub type Counters = BTreeMap<String, u64>;
/// What tells a listener from others: address, port, inode.
pub type Listener = (IpAddr, u16, u32);

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    pub at: Mono,
    /// Since boot.
    pub counters: Counters,
    /// Tasks that run or would, and tasks that wait for I/O.
    pub running: Option<u64>,
    pub blocked: Option<u64>,
    /// Connections that wait to be accepted, and most that may.
    pub listeners: BTreeMap<Listener, (u32, Option<u32>)>,
}

impl Moment {
    /// Reads all but the listeners; what cannot be read is not in it.
    pub fn read(root: &Root) -> Moment {
        let mut m = Moment { at: clock::mono(), ..Moment::default() };
        let read = |path: &str| root.read(path, CAP).map(|c| c.bytes).unwrap_or_default();
        for file in PAIRS {
            pairs(&read(file), &mut m.counters);
        }
        for file in TABLES {
            table(&read(file), &mut m.counters);
        }
        softnet(&read("/proc/net/softnet_stat"), &mut m.counters);
        m.take_stat(&read("/proc/stat"));
        m
    }

    /// Those of `sockets` that listen.
    pub fn set_listeners<'a>(&mut self, sockets: impl IntoIterator<Item = &'a Inet>) {
        let listening = sockets.into_iter().filter(|s| s.state == LISTEN);
        self.listeners = listening.map(|s| ((s.local, s.local_port, s.inode), (s.rqueue, s.wqueue))).collect();
    }

    fn take_stat(&mut self, stat: &[u8]) {
        for line in lines(stat) {
            let mut w = words(line);
            let (Some(name), Some(n)) = (w.next(), w.next().and_then(number)) else { continue };
            match name {
                b"procs_running" => self.running = Some(n),
                b"procs_blocked" => self.blocked = Some(n),
                b"ctxt" => drop(self.counters.insert("context switches".into(), n)),
                b"intr" => drop(self.counters.insert("interrupts".into(), n)),
                b"processes" => drop(self.counters.insert("forks".into(), n)),
                _ => {}
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name_and_levels_are_left_out() {
        let mut c = Counters::new();
        table(b"TcpExt: ListenOverflows ListenDrops TW\nTcpExt: 5 7 9\nIp: Forwarding\nIp: 1\n", &mut c);
        pairs(b"nr_dirty 5\npgmajfault 10\n", &mut c);
        softnet(b"00000010 00000001 00000000 0\n00000010 00000001 00000000 0\n", &mut c);
        let got: Vec<(&str, u64)> = c.iter().map(|(k, n)| (k.as_str(), *n)).collect();
        let want = [
            ("TcpExt ListenDrops", 7),
            ("TcpExt ListenOverflows", 5),
            ("TcpExt TW", 9),
            ("pgmajfault", 10),
            ("softnet dropped", 2),
            ("softnet out of time", 0),
            ("softnet packets", 32),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn a_moment_of_this_machine() {
        let m = Moment::read(&Root::real());
        assert!(m.running > Some(0), "we run: {m:?}");
        assert!(m.counters.get("context switches") > Some(&0) && m.counters.contains_key("pgfault"));
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
