//! The tail role, in a thread: restart, back-pressure, its state file.

use crate::source::{PATIENCE, Reader, append, config, copytruncate, rename_away};
use lastgasp::config::ConsoleConfig;
use lastgasp::model::Record;
use lastgasp::source::{Aside, ConsoleState, TailMessage, TailOrder};
use lastgasp::sys::clock;
use lastgasp::sys::ipc::{self, Channel, Received};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A tail role in a thread, and the parent's end of its channel.
struct Tail {
    channel: Channel,
    packet: Vec<u8>,
    thread: std::thread::JoinHandle<Result<(), lastgasp::source::Error>>,
    records: Vec<Record>,
    notices: Vec<String>,
    cursor: Option<lastgasp::source::Cursor>,
}

impl Tail {
    fn start(consoles: Vec<ConsoleConfig>, state_file: &Path) -> Tail {
        Tail::start_with(consoles, Vec::new(), state_file)
    }

    fn start_with(consoles: Vec<ConsoleConfig>, aside: Vec<Aside>, state_file: &Path) -> Tail {
        let (channel, theirs) = ipc::pair().expect("socketpair");
        let here = consoles.clone();
        let sort = move |_: &[ConsoleConfig]| (here.clone(), aside.clone());
        let thread = std::thread::spawn(move || lastgasp::source::role::run(theirs, &sort));
        channel.send(&TailOrder::Start { consoles, aside: true, state_file: state_file.to_owned() }).expect("sends");
        let mut tail =
            Tail { channel, packet: Vec::new(), thread, records: Vec::new(), notices: Vec::new(), cursor: None };
        match tail.channel.recv(&mut tail.packet, Some(PATIENCE)).expect("receives") {
            Received::Message(TailMessage::Ready { cursor }) => tail.cursor = cursor,
            other => panic!("not ready: {other:?}"),
        }
        tail
    }

    /// Takes one message; false when the other end is gone.
    fn take(&mut self) -> bool {
        match self.channel.recv(&mut self.packet, Some(PATIENCE)).expect("receives") {
            Received::Message(TailMessage::Records(records)) => self.records.extend(records),
            Received::Message(TailMessage::Notice(text)) => self.notices.push(text),
            Received::Message(_) => {}
            Received::Empty => panic!("silent for {PATIENCE:?} after {} records", self.records.len()),
            Received::Closed => return false,
        }
        true
    }

    fn until(&mut self, records: usize) {
        while self.records.len() < records {
            assert!(self.take(), "ended after {} records", self.records.len());
        }
    }

    /// Orders the end and takes what was still under way.
    fn stop(mut self) -> Vec<Record> {
        self.channel.send(&TailOrder::Stop).expect("sends");
        while self.take() {}
        self.thread.join().expect("no panic").expect("ends well");
        self.records
    }
}

#[test]
fn a_restart_in_the_middle_loses_and_repeats_nothing_wherever_rotation_put_the_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state = dir.path().join("state.json");
    let names = ["kept", "renamed", "copied", "made"];
    let path = |name: &str| dir.path().join(format!("{name}.log"));
    let configs = || vec![config(dir.path().join("*.log"))];
    for name in &names[..3] {
        append(path(name), "from before the first start\n");
    }
    let mut written = 0;
    let mut write = |count: usize| {
        let range = written..written + count;
        written += count;
        range
    };
    let lines = |range: std::ops::Range<usize>| range.map(|n| format!("line {n}\n")).collect::<String>();
    let (a, b, c) = (write(30_000), write(5_000), write(10));

    let mut first = Tail::start(configs(), &state);
    for name in &names[..3] {
        append(path(name), lines(a.clone()));
    }
    // In the middle of a backlog.
    first.until(10_000);
    let mut got = first.stop();
    assert!(got.len() < 90_000, "stopped in the middle");
    assert_eq!(std::fs::metadata(&state).expect("written").permissions().mode() & 0o777, 0o600);

    for name in &names[..3] {
        append(path(name), lines(b.clone()));
    }
    rename_away(&path("renamed"));
    copytruncate(&path("copied"));
    for name in names {
        append(path(name), lines(c.clone()));
    }
    let mut second = Tail::start(configs(), &state);
    let total = 3 * (30_000 + 5_000 + 10) + 10;
    second.until(total - got.len());
    assert!(second.notices.is_empty(), "{:?}", second.notices);
    let more = second.stop();
    assert!(more.iter().all(|r| r.old), "all of it was written before the second start");
    got.extend(more);
    for name in names {
        let texts: Vec<&[u8]> = got.iter().filter(|r| &*r.host == name).map(|r| r.text.as_slice()).collect();
        let from = if name == "made" { c.start } else { 0 };
        let want: Vec<Vec<u8>> = (from..c.end).map(|n| format!("line {n}").into_bytes()).collect();
        assert!(texts.iter().eq(want.iter()), "{name}: {} lines of {}", texts.len(), want.len());
    }
}

#[test]
fn a_parent_that_is_behind_is_waited_for_and_heard_meanwhile() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("c.log");
    let state = dir.path().join("state.json");
    append(&path, "");
    let mut tail = Tail::start(vec![config(&path)], &state);
    assert!(tail.cursor.is_none());
    let cursor = lastgasp::source::Cursor {
        boot_id: lastgasp::model::BootId("a boot".into()),
        seq: Some(41),
        stamp: Some(lastgasp::model::KernelTime(7)),
    };
    // Quotes double in JSON, bad bytes triple: the batches must still fit their packets.
    let line = [vec![b'"'; 3000], vec![0xff; 3000], b"\n".to_vec()].concat();
    let count = 1500;
    append(&path, line.repeat(count));
    for seq in 0..100 {
        tail.channel
            .send(&TailOrder::SaveCursor(lastgasp::source::Cursor { seq: Some(seq), ..cursor.clone() }))
            .expect("sends");
    }
    tail.channel.send(&TailOrder::SaveCursor(cursor.clone())).expect("sends");
    tail.until(count);
    assert_eq!(tail.stop().len(), count);
    let again = Tail::start(vec![config(&path)], &state);
    assert_eq!(again.cursor, Some(cursor));
    // The parent goes away: so does the role.
    drop(again.channel);
    again.thread.join().expect("no panic").expect("ends well");
}

#[test]
fn a_broken_state_file_is_said_and_replaced() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("c.log");
    let state = dir.path().join("state.json");
    append(&path, "old\n");
    std::fs::write(&state, b"{\"consoles\": \xff").expect("writes");
    let mut tail = Tail::start(vec![config(&path)], &state);
    assert!(tail.take());
    assert!(tail.notices[0].contains("state.json") && tail.notices[0].contains("starting afresh"));
    append(&path, "new\n");
    tail.until(1);
    assert_eq!(tail.stop()[0].text, b"new");
    assert!(std::fs::read(&state).expect("written").starts_with(b"{\"cursor\":"));
}

/// Not a test of anything: prints how fast it goes. `cargo test --release --test it measure -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, to be run by hand in a release build"]
fn measure_throughput() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let names = ["a.log", "b.log", "c.log"];
    let line = format!("[12345.678901] {}\n", "usb 1-1: new high-speed USB device number 7 using xhci_hcd ".repeat(2));
    let lines = (100 << 20) / 3 / line.len();
    for name in names {
        append(dir.path().join(name), "");
    }
    let consoles = vec![config(dir.path().join("*.log"))];
    let mut reader = Reader::start(&consoles, &ConsoleState::default());
    let mut tail = Tail::start(consoles, &dir.path().join("state.json"));
    // Held back until all is written.
    for name in names {
        append(dir.path().join(name), line.repeat(lines));
    }
    let begin = clock::mono();
    reader.until("all lines", |r| r.len() >= 3 * lines);
    println!("consoles: {} lines, {:?}", 3 * lines, clock::mono().since(begin));
    drop(reader);
    let begin = clock::mono();
    tail.until(3 * lines);
    println!("tail role, JSON included: {:?}", clock::mono().since(begin));
    tail.stop();
    let begin = clock::mono();
    let mut bytes = 0;
    let path = dir.path().join("a.log").display().to_string();
    for _ in 0..10 {
        lastgasp::source::for_each_record(&path, "h".into(), |r| bytes += r.text.len()).expect("reads");
    }
    println!("replay: {} MB in {:?}", bytes >> 20, clock::mono().since(begin));
}

#[test]
fn files_that_are_read_aside_are_followed_like_the_others_and_go_on_where_they_were() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    for d in [&here, &there] {
        std::fs::create_dir(d).expect("mkdir");
        append(d.join("c.log"), "from before\n");
    }
    let state = dir.path().join("state.json");
    let start = || {
        let aside = Aside { root: there.clone(), consoles: vec![config(there.join("*.log"))] };
        Tail::start_with(vec![config(here.join("*.log"))], vec![aside], &state)
    };
    let mut first = start();
    append(here.join("c.log"), "one\n");
    first.until(1);
    // There is no telling when the thread has begun, and a file that is there already is followed from its end.
    let lines = || std::fs::read(there.join("c.log")).expect("reads").iter().filter(|b| **b == b'\n').count();
    let from = std::time::Instant::now();
    while first.records.len() < 2 {
        assert!(from.elapsed() < PATIENCE, "no line of the file aside came");
        append(there.join("c.log"), format!("line {}\n", lines()));
        match first.channel.recv(&mut first.packet, Some(std::time::Duration::from_millis(50))).expect("receives") {
            Received::Message(TailMessage::Records(records)) => first.records.extend(records),
            Received::Message(TailMessage::Notice(text)) => panic!("{text}"),
            Received::Message(_) | Received::Empty => {}
            Received::Closed => panic!("ended"),
        }
    }
    let mut got = first.stop();
    append(there.join("c.log"), format!("line {}\n", lines()));
    append(here.join("c.log"), "two\n");
    let mut second = start();
    let number =
        |r: &Record| String::from_utf8_lossy(&r.text).strip_prefix("line ").and_then(|n| n.parse::<usize>().ok());
    let wanted = lines() - got.iter().filter_map(number).min().expect("a line of the file aside");
    let there_so_far = got.iter().filter_map(number).count();
    second.until(wanted - there_so_far + 1);
    got.extend(second.stop());
    let numbers: Vec<usize> = got.iter().filter_map(number).collect();
    let want: Vec<usize> = (numbers[0]..lines()).collect();
    assert_eq!(numbers, want, "each line once, in order, over the restart");
    assert_eq!(
        got.iter().filter(|r| number(r).is_none()).map(|r| r.text.as_slice()).collect::<Vec<_>>(),
        [&b"one"[..], b"two"]
    );
}
