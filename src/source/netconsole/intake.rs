//! Datagrams of many senders → records of their hosts.

use crate::model::{Losses, Mono, Origin, Record, Wall};
use crate::source::kmsg;
use crate::source::lines::{Cutter, LINE_MAX, Line};
use crate::source::netconsole::fragments::{Assembled, Fragments};
use crate::source::netconsole::frame::{Frame, parse};
use crate::source::netconsole::window::{Arrival, Window};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Senders known at once; beyond that, the one that was silent longest is forgotten. Sender addresses can be forged.
pub const SENDERS_MAX: usize = 256;
/// Lines taken from one datagram. A kernel's has 1000 bytes, a stamp on each line of them.
pub const LINES_PER_DATAGRAM_MAX: usize = 128;
/// A sender that was silent for so long sends the rest of its line, or the missing records, no more.
const QUIET: Duration = Duration::from_secs(2);
/// The kernel cuts longer console text into pieces of this size (MAX_PRINT_CHUNK in drivers/net/netconsole.c):
/// a datagram of just this many bytes goes on in the next.
const CHUNK: usize = 1000;

/// What is remembered of one sender.
#[derive(Debug)]
struct Sender {
    address: IpAddr,
    host: Arc<str>,
    origin: Origin,
    window: Window,
    cutter: Cutter,
    heard_at: Mono,
}

/// See the module. Apart from the socket, so that it can be tested.
#[derive(Debug)]
pub struct Intake {
    names: Vec<(IpAddr, Arc<str>)>,
    /// Most recently heard first.
    senders: Vec<Sender>,
    fragments: Fragments,
    assembled: Vec<Assembled>,
    scratch: Vec<u8>,
    missing: u64,
    dropped_lines: u64,
    foreign: u64,
}

impl Intake {
    /// With hosts by address; any other sender is a host named by its address.
    pub fn new(names: Vec<(IpAddr, Arc<str>)>) -> Intake {
        Intake {
            names: names.into_iter().map(|(address, name)| (address.to_canonical(), name)).collect(),
            senders: Vec::new(),
            fragments: Fragments::default(),
            assembled: Vec::new(),
            scratch: Vec::new(),
            missing: 0,
            dropped_lines: 0,
            foreign: 0,
        }
    }

    /// Takes one datagram; what it says, or completes, is appended to `out`.
    pub fn datagram(&mut self, from: IpAddr, bytes: &[u8], now: Mono, read_at: Wall, out: &mut Vec<Record>) {
        let from = from.to_canonical();
        self.sender(from, now, read_at, out);
        let frame = parse(bytes);
        let sender = &mut self.senders[0];
        match frame {
            Frame::Basic(text) => {
                let mut lines = 0;
                let took = sender.cutter.feed(text, LINES_PER_DATAGRAM_MAX, |line| {
                    lines += 1;
                    out.push(basic(&sender.origin, &sender.host, &line, read_at));
                });
                self.dropped_lines += memchr::memchr_iter(b'\n', &text[took..]).count() as u64;
                if text.len() != CHUNK || text.ends_with(b"\n") || lines >= LINES_PER_DATAGRAM_MAX {
                    sender.flush(read_at, out);
                }
            }
            Frame::Record(record) => {
                sender.flush(read_at, out);
                self.record(record, true, read_at, out);
            }
            Frame::Fragment(part) => {
                sender.flush(read_at, out);
                if sender.window.look(part.seq, part.stamp_us) == Arrival::New {
                    let mut assembled = std::mem::take(&mut self.assembled);
                    self.fragments.add(from, &part, now, &mut assembled);
                    self.assembled = assembled;
                    self.take_assembled(now, read_at, out);
                }
            }
        }
    }

    /// Gives out what waited long enough. Due at [`Intake::next_due`].
    pub fn tick(&mut self, now: Mono, read_at: Wall, out: &mut Vec<Record>) {
        self.fragments.expire(now, &mut self.assembled);
        self.take_assembled(now, read_at, out);
        for sender in self.senders.iter_mut().filter(|s| now.since(s.heard_at) >= QUIET) {
            sender.flush(read_at, out);
            sender.window.settle();
        }
    }

    /// When [`Intake::tick`] has something to do.
    pub fn next_due(&self) -> Option<Mono> {
        let waiting = self.senders.iter().filter(|s| s.cutter.pending() > 0 || s.window.has_holes());
        let quiet = waiting.map(|s| s.heard_at.plus(QUIET)).min();
        quiet.into_iter().chain(self.fragments.next_due()).min()
    }

    /// What was lost since the last call: `netconsole_missing_records` (or never sent: see [`Window`]),
    /// `netconsole_incomplete_records`, `netconsole_unfit_fragments`, `netconsole_dropped_lines`.
    pub fn losses(&mut self) -> Losses {
        let missing = self.senders.iter_mut().map(|s| s.window.take_missing());
        self.missing = missing.fold(self.missing, u64::saturating_add);
        let mut losses = Losses::default();
        losses.add("netconsole_missing_records", std::mem::take(&mut self.missing));
        losses.add("netconsole_incomplete_records", self.fragments.take_incomplete());
        losses.add("netconsole_unfit_fragments", self.fragments.take_unfit());
        losses.add("netconsole_dropped_lines", std::mem::take(&mut self.dropped_lines));
        losses
    }

    /// Records of other facilities than the kernel's, dropped since the start.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    /// How many senders are remembered.
    pub fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Bytes held back for what is not complete, at most.
    pub fn held_bytes(&self) -> usize {
        let line = |s: &Sender| usize::try_from(s.cutter.pending()).map_or(LINE_MAX, |n| n.min(LINE_MAX));
        self.fragments.held().1 + self.senders.iter().map(line).sum::<usize>()
    }

    /// Brings the sender to the front, known or new.
    fn sender(&mut self, address: IpAddr, now: Mono, read_at: Wall, out: &mut Vec<Record>) {
        match self.senders.iter().position(|s| s.address == address) {
            Some(n) => self.senders[..=n].rotate_right(1),
            None => {
                if self.senders.len() >= SENDERS_MAX
                    && let Some(mut forgotten) = self.senders.pop()
                {
                    forgotten.flush(read_at, out);
                    forgotten.window.settle();
                    self.missing = self.missing.saturating_add(forgotten.window.take_missing());
                }
                let text: Arc<str> = address.to_string().into();
                let name = self.names.iter().find(|(a, _)| *a == address).map(|(_, name)| Arc::clone(name));
                let sender = Sender {
                    address,
                    host: name.unwrap_or_else(|| Arc::clone(&text)),
                    origin: Origin::Netconsole(text),
                    window: Window::default(),
                    cutter: Cutter::default(),
                    heard_at: now,
                };
                self.senders.insert(0, sender);
            }
        }
        self.senders[0].heard_at = now;
    }

    /// Takes a whole record, or what came of it, of the sender in front.
    fn record(&mut self, bytes: &[u8], whole: bool, read_at: Wall, out: &mut Vec<Record>) {
        // What parsed as a frame parses as a record; the header is the same.
        let Some(raw) = kmsg::parse(bytes) else { return };
        let sender = &mut self.senders[0];
        if sender.window.note(raw.seq, raw.stamp_us) == Arrival::Again {
            return;
        }
        if raw.facility != 0 {
            self.foreign += 1;
            return;
        }
        let first = out.len();
        raw.records(&sender.origin, &sender.host, read_at, &mut self.scratch, out);
        self.dropped_lines += (out.len() - first).saturating_sub(LINES_PER_DATAGRAM_MAX) as u64;
        out.truncate(first + LINES_PER_DATAGRAM_MAX);
        if let Some(last) = out[first..].last_mut() {
            last.truncated |= !whole;
        }
    }

    fn take_assembled(&mut self, now: Mono, read_at: Wall, out: &mut Vec<Record>) {
        let mut assembled = std::mem::take(&mut self.assembled);
        for Assembled { from, bytes, whole } in assembled.drain(..) {
            let heard_at = self.senders.iter().find(|s| s.address == from).map(|s| s.heard_at);
            self.sender(from, heard_at.unwrap_or(now), read_at, out);
            self.record(&bytes, whole, read_at, out);
        }
        self.assembled = assembled;
    }
}

impl Sender {
    /// Gives out the unfinished line.
    fn flush(&mut self, read_at: Wall, out: &mut Vec<Record>) {
        self.cutter.flush(|line| out.push(basic(&self.origin, &self.host, &line, read_at)));
    }
}

fn basic(origin: &Origin, host: &Arc<str>, line: &Line<'_>, read_at: Wall) -> Record {
    let mut record = Record::plain(origin.clone(), Arc::clone(host), line.text);
    record.read_at = Some(read_at);
    record.truncated = line.truncated;
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    struct Receiver(Intake, Vec<Record>);

    impl Receiver {
        fn new() -> Receiver {
            Receiver(Intake::new(vec![(A, "db1".into())]), Vec::new())
        }

        /// What `datagram` of `from` gives at once.
        fn hear(&mut self, from: IpAddr, datagram: impl AsRef<[u8]>) -> Vec<String> {
            self.0.datagram(from, datagram.as_ref(), Mono(0), Wall(5), &mut self.1);
            self.texts()
        }

        fn later(&mut self) -> Vec<String> {
            self.0.tick(Mono(0).plus(QUIET), Wall(6), &mut self.1);
            self.texts()
        }

        fn texts(&mut self) -> Vec<String> {
            self.1.drain(..).map(|r| String::from_utf8_lossy(&r.text).into_owned()).collect()
        }

        fn lost(&mut self, cause: &str) -> u64 {
            self.0.losses().counts.get(cause).copied().unwrap_or(0)
        }
    }

    #[test]
    fn a_host_is_its_address_or_its_name() {
        let mut r = Receiver::new();
        let mapped = "::ffff:192.0.2.1".parse().expect("an address");
        r.0.datagram(
            mapped,
            b"6.4.0,4,7,5140900,-,caller=T1;\\x1b[31mred\\x0atwo\n DEVICE=n1\n",
            Mono(0),
            Wall(5),
            &mut r.1,
        );
        r.0.datagram(B, b"[    1.000000] x\r\n", Mono(0), Wall(5), &mut r.1);
        let [first, second, third] = r.1.as_slice() else { panic!("{:?}", r.1) };
        assert_eq!((&*first.host, &first.origin), ("db1", &Origin::Netconsole("192.0.2.1".into())));
        assert_eq!(
            (first.seq, first.level, first.facility, first.caller.as_deref()),
            (Some(7), Some(4), Some(0), Some("T1"))
        );
        assert_eq!((first.stamp, first.read_at), (Some(crate::model::KernelTime(5_140_900)), Some(Wall(5))));
        assert_eq!((first.text.as_slice(), second.text.as_slice()), (&b"red"[..], &b"two"[..]));
        assert_eq!(
            (&*third.host, third.facility, third.text.as_slice()),
            ("192.0.2.2", None, &b"[    1.000000] x"[..])
        );
    }

    #[test]
    fn records_of_programs_and_repetitions_are_dropped() {
        let mut r = Receiver::new();
        assert_eq!(r.hear(A, "14,1,5,-;BUG: from a program\n"), [""; 0]);
        assert_eq!(r.hear(A, "6,2,6,-;once\n"), ["once"]);
        assert_eq!(r.hear(A, "6,2,6,-;once\n"), [""; 0]);
        assert_eq!(r.hear(B, "6,2,6,-;once\n"), ["once"]);
        assert_eq!((r.0.foreign(), r.0.losses()), (1, Losses::default()));
    }

    #[test]
    fn holes_are_told_when_nothing_came_for_a_while() {
        let mut r = Receiver::new();
        for seq in [1, 5, 3] {
            r.hear(A, format!("6,{seq},{seq},-;x\n"));
        }
        assert_eq!((r.0.losses(), r.0.next_due()), (Losses::default(), Some(Mono(0).plus(QUIET))));
        r.later();
        assert_eq!((r.lost("netconsole_missing_records"), r.0.next_due()), (2, None));
    }

    #[test]
    fn a_long_line_of_the_basic_format_goes_on_in_the_next_datagram() {
        let mut r = Receiver::new();
        let line = "x".repeat(1500);
        assert_eq!(r.hear(A, &line[..1000]), [""; 0]);
        assert_eq!(r.hear(B, "other\n"), ["other"]);
        assert_eq!(r.hear(A, format!("{}\nnext\n", &line[1000..])), [line.as_str(), "next"]);
        // Without a next one, and with a frame of the other format behind it.
        assert_eq!(r.hear(A, &line[..1000]), [""; 0]);
        assert_eq!(r.later(), [&line[..1000]]);
        assert_eq!(r.hear(A, &line[..1000]), [""; 0]);
        assert_eq!(r.hear(A, "6,1,1,-;y\n"), [&line[..1000], "y"]);
        // An unfinished line that is shorter is all that was sent.
        assert_eq!(r.hear(A, "a prompt: "), ["a prompt: "]);
    }

    #[test]
    fn fragments_become_a_record_once_and_a_torn_one_is_marked() {
        let mut r = Receiver::new();
        // The escape is cut in two.
        let [first, second] = ["6,1,9,-,ncfrag=0/20;one \\x", "6,1,9,-,ncfrag=6/20;1b[1mred\n K=v\n"];
        assert_eq!(r.hear(A, second), [""; 0]);
        assert_eq!(r.hear(A, first), ["one red"]);
        assert_eq!((r.hear(A, first), r.hear(A, second)), (vec![], vec![]));
        assert_eq!((r.later(), r.0.losses()), (vec![], Losses::default()));
        assert_eq!(r.hear(A, "6,2,9,-,ncfrag=0/20;one"), [""; 0]);
        r.0.tick(Mono(0).plus(QUIET), Wall(6), &mut r.1);
        assert!(r.1[0].truncated && r.1[0].text == b"one");
        assert_eq!(r.lost("netconsole_incomplete_records"), 1);
    }

    #[test]
    fn floods_stay_within_the_bounds() {
        let mut r = Receiver::new();
        assert_eq!(r.hear(A, "\n".repeat(5000)).len(), LINES_PER_DATAGRAM_MAX);
        assert_eq!(r.lost("netconsole_dropped_lines"), 5000 - LINES_PER_DATAGRAM_MAX as u64);
        assert_eq!(r.hear(A, format!("6,1,1,-;{}", "\\x0a".repeat(2000))).len(), LINES_PER_DATAGRAM_MAX);
        assert_eq!(r.lost("netconsole_dropped_lines"), 2001 - LINES_PER_DATAGRAM_MAX as u64);
        for n in 0..2000u32 {
            r.hear(IpAddr::V4(n.into()), vec![b'x'; 1000]);
            r.hear(IpAddr::V4(n.into()), format!("6,{n},1,-,ncfrag=0/16384;x"));
        }
        assert_eq!(r.0.senders(), SENDERS_MAX);
        assert!(r.0.held_bytes() <= crate::source::netconsole::fragments::BYTES_MAX + SENDERS_MAX * LINE_MAX);
    }
}
