//! The detector through its public face: every rule against its two fixtures, carriers, bounds, hostile bytes.

mod interleaved;
mod quiet;
mod signature;

use lastgasp::config::{AddedRule, Regrade, RulesConfig};
use lastgasp::detect::{Detector, catalogue};
use lastgasp::model::event::{EVENT_LINE_BYTES_MAX, EVENT_LINES_MAX};
use lastgasp::model::{Event, Kind, Mono, Origin, Record, Severity, Signal};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

fn detector() -> Detector {
    Detector::new(&RulesConfig::default()).expect("the built-in rules are sound")
}

fn replay() -> Origin {
    Origin::Replay("x.log".into())
}

fn host() -> Arc<str> {
    "db7".into()
}

/// The built-in rules. Building their search takes longer than a test, so the tests share one detector; each log
/// is another host's.
fn shared() -> (MutexGuard<'static, Detector>, Arc<str>) {
    static ONE: OnceLock<Mutex<Detector>> = OnceLock::new();
    static HOSTS: AtomicU32 = AtomicU32::new(0);
    let host = format!("h{}", HOSTS.fetch_add(1, Ordering::Relaxed)).into();
    (ONE.get_or_init(|| Mutex::new(detector())).lock().unwrap_or_else(PoisonError::into_inner), host)
}

/// Everything a log says, as signals.
fn signals(detector: &mut Detector, host: &Arc<str>, lines: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Signal> {
    let mut out = Vec::new();
    for (n, line) in lines.into_iter().enumerate() {
        let mut record = Record::plain(replay(), host.clone(), line.as_ref());
        record.line = Some(n as u64 + 1);
        detector.feed(&record, Mono(0), &mut out);
    }
    detector.finish(&mut out);
    out
}

fn closed(signals: &[Signal]) -> Vec<Event> {
    signals
        .iter()
        .filter_map(|s| match s {
            Signal::Closed(e) => Some(e.clone()),
            _ => None,
        })
        .collect()
}

fn events(text: &str) -> Vec<Event> {
    let (mut d, host) = shared();
    closed(&signals(&mut d, &host, text.lines()))
}

fn fixture(name: &str) -> String {
    let path = format!("{}/fixtures/detect/{name}.log", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("every rule needs {path}: {e}"));
    let (source, log) = text.split_once('\n').expect("a source line and a log");
    assert!(source.starts_with("# "), "{path}: the first line names its source");
    log.to_owned()
}

#[test]
fn every_rule_has_a_hit_and_a_near_miss() {
    for rule in catalogue() {
        let log = fixture(&format!("{}.hit", rule.id));
        let found = events(&log);
        let first = found.first().unwrap_or_else(|| panic!("{}: the hit raises nothing", rule.id));
        assert_eq!(first.rule, rule.id, "the hit of {} raises another rule first", rule.id);
        if rule.id != "warn_cut" {
            // The very line that holds the phrase, not a later one that another spelling caught.
            let at = log.lines().position(|l| rule.phrases.iter().any(|p| l.contains(p))).map(|n| n as u64 + 1);
            assert_eq!(first.line, at, "{}", rule.id);
        }
        assert_eq!((first.kind, first.alarm), (rule.kind, rule.alarm), "{}", rule.id);
        assert_eq!(found.len(), 1, "{}: more than one event: {found:#?}", rule.id);
        // A CPU exception in a program is the near miss of one in the kernel, and an event of its own.
        let other = |e: &Event| e.kind == Kind::UserFault && e.rule != rule.id;
        let near = events(&fixture(&format!("{}.miss", rule.id)));
        let near: Vec<Event> = near.into_iter().filter(|e| e.alarm && !other(e)).collect();
        assert!(near.is_empty(), "{}: the near miss raises {near:#?}", rule.id);
    }
}

#[test]
fn no_fixture_is_left_behind() {
    let ids: Vec<&str> = catalogue().map(|r| r.id).collect();
    let dir = format!("{}/fixtures/detect", env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(dir).expect("the fixtures are there") {
        let name = entry.expect("a readable directory").file_name().into_string().expect("UTF-8");
        if let Some(rule) = name.strip_suffix(".hit.log").or_else(|| name.strip_suffix(".miss.log")) {
            assert!(ids.contains(&rule), "{name} belongs to no rule");
        }
    }
}

#[test]
fn a_boot_is_no_event() {
    for name in ["debian-12-6.1", "debian-12-6.12"] {
        let path = format!("{}/fixtures/boot/{name}.log", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(&path).expect("the fixture is there");
        let (mut d, host) = shared();
        // Two boots in a row: the first one ends in an orderly power-off.
        let lines = text.split(|c| *c == b'\n').chain(text.split(|c| *c == b'\n'));
        let found = closed(&signals(&mut d, &host, lines));
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

#[test]
fn an_oops_is_read_whole() {
    let found = events(&fixture("page_fault.hit"));
    let e = &found[0];
    assert_eq!(e.function.as_deref(), Some("session_read"));
    assert_eq!(e.title, "BUG: kernel NULL pointer dereference in session_read");
    assert!(e.panicked && !e.corrupted);
    assert_eq!((e.pid, e.cpu, e.comm.as_deref()), (Some(4242), Some(1), Some("worker")));
    assert_eq!((e.tainted.as_deref(), e.kernel.as_deref()), (Some("Not tainted"), Some("6.6.30")));
    assert_eq!(e.timestamp.as_deref(), Some("100.000000"));
    assert_eq!((e.line, e.last_line), (Some(1), Some(20)));
    assert_eq!(e.frames[0], "session_read");
    assert!(e.details["hardware"].starts_with("Example Board"));
}

#[test]
fn an_oom_kill_is_one_event_with_its_victim() {
    let e = &events(&fixture("oom.hit"))[0];
    let detail = |k: &str| e.details.get(k).map(String::as_str);
    assert_eq!((detail("victim"), detail("victim_pid")), (Some("java"), Some("4243")));
    assert_eq!((detail("anon_rss_kb"), detail("memcg")), (Some("512000"), Some("/system.slice/app.service")));
    assert_eq!(detail("scope"), Some("cgroup"));
}

#[test]
fn a_machine_check_is_an_alarm_unless_it_says_that_it_was_corrected() {
    let logged = "[  100.000000] mce: [Hardware Error]: Machine check events logged\n";
    let bank = |status: &str| {
        format!("{logged}[  100.000100] mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: {status}\n")
    };
    for (text, alarm) in
        [(logged.to_owned(), true), (bank("bd80000000100134"), true), (bank("8c00004000010090"), false)]
    {
        let found = events(&text);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert_eq!(found[0].alarm, alarm, "{text}");
    }
}

#[test]
fn two_oom_kills_are_two_events() {
    let one = fixture("oom.hit");
    let two = one.replace("4243", "5555");
    assert_eq!(events(&format!("{one}{two}")).len(), 2);
}

#[test]
fn io_errors_of_one_device_are_counted_and_of_two_kept_apart() {
    let line = |n: u32, dev: &str| {
        format!("[  100.{n:06}] I/O error, dev {dev}, sector {n} op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2")
    };
    let text: Vec<String> = (0..40).map(|n| line(n, if n % 4 == 0 { "sdb" } else { "sda" })).collect();
    let found = events(&text.join("\n"));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found.iter().map(|e| e.details["device"].as_str()).collect::<Vec<_>>(), ["sdb", "sda"]);
    assert_eq!(found[1].details["repeats"], "29");
    assert_eq!(found[0].details["sector"], "0");
}

#[test]
fn opened_comes_first_and_once_for_each_closed() {
    let mut text = String::new();
    for rule in catalogue() {
        text.push_str(&fixture(&format!("{}.hit", rule.id)));
    }
    let all = signals(&mut detector(), &host(), text.lines());
    let mut open = std::collections::BTreeSet::new();
    let mut last = 0;
    for s in &all {
        match s {
            Signal::Opened(e) => {
                assert!(e.number > last, "numbers count up");
                last = e.number;
                assert!(open.insert(e.number));
                assert!(!e.title.is_empty() && !e.text.is_empty());
            }
            Signal::Closed(e) => assert!(open.remove(&e.number), "closed without having been opened"),
            Signal::Recovered(_) => panic!("the detector recovers nothing"),
        }
    }
    assert!(open.is_empty());
}

#[test]
fn callers_keep_interleaved_reports_apart() {
    let a = fixture("page_fault.hit").replace("session_read", "alpha");
    let a: Vec<&str> = a.lines().filter(|l| !l.contains("panic")).collect();
    let b = fixture("gpf.hit").replace("list_walk", "beta");
    let b: Vec<&str> = b.lines().collect();
    let mut mixed = Vec::new();
    for n in 0..a.len().max(b.len()) {
        for (log, caller) in [(&a, "T11"), (&b, "T22")] {
            if let Some(l) = log.get(n) {
                mixed.push(l.replacen("] ", &format!("][  {caller}] "), 1));
            }
        }
    }
    let found = closed(&signals(&mut detector(), &host(), &mixed));
    let functions: Vec<_> = found.iter().map(|e| e.function.as_deref().unwrap_or("")).collect();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(functions.contains(&"alpha") && functions.contains(&"beta"), "{functions:?}");
}

#[test]
fn every_carrier_says_the_same() {
    let bare: Vec<String> = fixture("page_fault.hit").lines().map(|l| l[15..].to_owned()).collect();
    let mut signatures = Vec::new();
    for prefix in [
        "",
        "[  100.000000] ",
        "<4>[  100.000000] ",
        "[  100.000000][  T42] ",
        "Nov  9 10:19:35 db7 kernel: ",
        "Nov  9 10:19:35 db7 kernel: [  100.000000] ",
        "kern  :warn  : [  100.000000] ",
        "[Sun Jan  5 20:25:34 2025] ",
        "2025-01-21T04:41:44,285060+00:00 ",
        "\x1b[0m[  100.000000] ",
        "Sun 2025-01-05 20:25:34 UTC db7 kernel: ",
        "1736109934.123456 db7 kernel: ",
        "<4>1 2025-01-05T20:25:34.123456+00:00 db7 kernel - - - ",
        "4,1234,100000000,-,caller=T42;",
        "6.6.30,4,1234,100000000,-,caller=T42;",
        "[2025-01-05 20:25:34] [  100.000000][  T42] ",
        "[  100.000000] [pid:42,cpu1,worker] ",
        "[  100.000000 <    0.000021>] ",
    ] {
        let lines: Vec<String> = bare.iter().map(|b| format!("{prefix}{b}\r")).collect();
        let (mut d, host) = shared();
        let found = closed(&signals(&mut d, &host, &lines));
        assert_eq!(found.len(), 1, "{prefix:?}: {found:#?}");
        signatures.push(found[0].signature.clone());
    }
    let mut d = detector();
    let mut out = Vec::new();
    for b in &bare {
        let mut r = Record::plain(Origin::Kmsg, host(), b.as_bytes());
        r.facility = Some(0);
        r.caller = Some("T42".into());
        d.feed(&r, Mono(0), &mut out);
    }
    d.finish(&mut out);
    signatures.push(closed(&out)[0].signature.clone());
    signatures.dedup();
    assert_eq!(signatures.len(), 1);
}

#[test]
fn only_the_kernel_is_believed() {
    for rule in catalogue() {
        let (mut d, host) = shared();
        let mut out = Vec::new();
        for l in fixture(&format!("{}.hit", rule.id)).lines() {
            let mut r = Record::plain(Origin::Kmsg, host.clone(), &l.as_bytes()[15..]);
            r.facility = Some(1);
            d.feed(&r, Mono(0), &mut out);
        }
        d.finish(&mut out);
        assert!(out.is_empty(), "{}: a program's record raised it", rule.id);
    }
    for line in [
        "Nov  9 10:19:35 db7 app[1118]: kernel BUG at fs/inode.c:12!",
        "[  100.000000] app[1118]: Kernel panic - not syncing: as if",
        "<14>[  100.000000] kernel BUG at fs/inode.c:12!",
        "[  100.000000] xfs: Unknown parameter '   Kernel panic - not syncing: x'",
        "[  100.000000] xfs: Unknown parameter '[  100.000000] Kernel panic - not syncing: x'",
        "WARNING: RO_VPD is uninitialized or empty.",
        "INFO: BL31: Initializing runtime services",
        "BUG: report problems to the vendor",
    ] {
        let alarms: Vec<Event> = events(line).into_iter().filter(|e| e.alarm).collect();
        assert!(alarms.is_empty(), "{line}: {alarms:?}");
    }
}

#[test]
fn a_live_report_closes_a_second_after_its_last_line() {
    let mut d = detector();
    let mut out = Vec::new();
    let at = |ms: u64| Mono(0).plus(Duration::from_millis(ms));
    let mut lines = 0;
    for (n, l) in fixture("gpf.hit").lines().enumerate() {
        let mut r = Record::plain(Origin::Kmsg, host(), &l.as_bytes()[15..]);
        r.facility = Some(0);
        d.feed(&r, at(n as u64), &mut out);
        lines = n as u64;
    }
    assert!(matches!(out[..], [Signal::Opened(_)]));
    assert_eq!(d.next_due(), Some(at(lines + 1000)));
    d.tick(at(lines + 999), &mut out);
    assert_eq!(out.len(), 1);
    d.tick(at(lines + 1000), &mut out);
    assert!(matches!(out[..], [Signal::Opened(_), Signal::Closed(_)]));
    assert_eq!(d.next_due(), None);
}

#[test]
fn the_config_silences_regrades_and_adds() {
    let config = RulesConfig {
        silence: vec!["kernel_bug".into()],
        regrade: vec![Regrade { rule: "link_down".into(), severity: Some(Severity::Error), alarm: Some(true) }],
        add: vec![AddedRule {
            id: "site_raid".into(),
            phrase: "acme-raid: degraded".into(),
            pattern: Some(r"slot \d+".into()),
            kind: Kind::IoError,
            severity: Severity::Fatal,
            alarm: true,
            title: None,
        }],
    };
    let mut d = Detector::new(&config).expect("a sound config");
    let text = "[1.000000] kernel BUG at fs/inode.c:12!\n[20.000000] e1000e eth0: NIC Link is Down\n[40.000000] acme-raid: degraded, slot 12\n[60.000000] acme-raid: degraded, slot ?";
    let found = closed(&signals(&mut d, &host(), text.lines()));
    let seen: Vec<_> = found.iter().map(|e| (e.rule.as_str(), e.severity, e.alarm)).collect();
    assert_eq!(seen, [("link_down", Severity::Error, true), ("site_raid", Severity::Fatal, true)]);
    assert_eq!(found[1].title, "acme-raid: degraded");
}

#[test]
fn mistakes_in_the_config_are_named() {
    let wrong = |c: RulesConfig| Detector::new(&c).err().expect("an error").to_string();
    let e = wrong(RulesConfig { silence: vec!["kernel_bugs".into()], ..Default::default() });
    assert!(e.contains("kernel_bugs") && e.contains("\"kernel_bug\""), "{e}");
    let added = |id: &str, phrase: &str, pattern: Option<&str>| RulesConfig {
        add: vec![AddedRule {
            id: id.into(),
            phrase: phrase.into(),
            pattern: pattern.map(Into::into),
            kind: Kind::Other,
            severity: Severity::Info,
            alarm: false,
            title: None,
        }],
        ..Default::default()
    };
    assert!(wrong(added("panic", "x", None)).contains("panic"));
    assert!(wrong(added("mine", "", None)).contains("mine"));
    assert!(wrong(added("mine", "x", Some("("))).contains("mine"));
}

#[test]
fn a_storm_stays_within_its_bounds() {
    let mut lines = vec!["[    1.000000] general protection fault: 0000 [#1] SMP".to_owned()];
    for n in 0..20_000 {
        lines.push(format!("[    1.{n:06}]  frame_{n}+0x1/0x2 {}", "x".repeat(3000)));
    }
    let found = closed(&signals(&mut detector(), &host(), &lines));
    assert!(!found.is_empty());
    for e in &found {
        assert!(e.text.len() <= EVENT_LINES_MAX && e.text.iter().all(|l| l.len() <= EVENT_LINE_BYTES_MAX));
        assert!(e.frames.len() <= EVENT_LINES_MAX);
    }
}

/// Lines that look like trouble: phrases, prefixes and junk, mixed.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    let phrases: Vec<&'static str> = catalogue().flat_map(|r| r.phrases.iter().copied()).collect();
    let piece = prop_oneof![
        proptest::sample::select(phrases).prop_map(|p| p.as_bytes().to_vec()),
        proptest::sample::select(vec![
            "[  1.000000] ",
            "[  T1] ",
            "<4>",
            "<99>",
            "Nov  9 10:19:35 h kernel: ",
            "RIP: 0010:",
            " at ",
            " in ",
            "+0x",
            "/0x",
            "[<",
            ">]",
            "(",
            ")",
            "? ",
            "CPU: ",
            " PID: ",
            "Comm: ",
            "Tainted: ",
            " dev ",
            "sector ",
            "Killed process ",
            "[ cut here ]",
            "::",
            "<",
            "\x1b[",
        ])
        .prop_map(|p| p.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_it_panic(lines in proptest::collection::vec(nasty(), 1..60), kmsg in any::<bool>()) {
        let (mut d, host) = shared();
        let mut out = Vec::new();
        for l in lines {
            let origin = if kmsg { Origin::Kmsg } else { replay() };
            d.feed(&Record::plain(origin, host.clone(), l), Mono(0), &mut out);
        }
        d.finish(&mut out);
        let opened = out.iter().filter(|s| matches!(s, Signal::Opened(_))).count();
        prop_assert_eq!(opened * 2, out.len());
        for e in closed(&out) {
            prop_assert!(e.text.len() <= EVENT_LINES_MAX && e.text.iter().all(|l| l.len() <= EVENT_LINE_BYTES_MAX));
            prop_assert!(e.title.chars().count() <= 120);
            prop_assert_eq!(e.signature.0.len(), 16);
        }
    }
}

fn lastgasp(args: &[&str]) -> std::process::Output {
    assert_cmd::Command::cargo_bin("lastgasp")
        .expect("the binary is built")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/detect"))
        .args(args)
        .output()
        .expect("the binary runs")
}

#[test]
fn scan_prints_one_object_a_line_and_says_how_it_went() {
    let found = lastgasp(&["scan", "--format", "json", "page_fault.hit.log", "oom.hit.log"]);
    assert_eq!(found.status.code(), Some(0));
    let text = String::from_utf8(found.stdout).expect("JSON is UTF-8");
    assert_eq!(text.lines().count(), 2);
    let keys: Vec<&str> = text.lines().next().expect("a line").split("\"").skip(1).step_by(2).collect();
    for key in [
        "file",
        "line",
        "kind",
        "severity",
        "alarm",
        "title",
        "function",
        "signature",
        "comm",
        "pid",
        "cpu",
        "tainted",
        "kernel",
        "timestamp",
        "host",
        "corrupted",
        "panicked",
        "frames",
        "last_line",
        "taint_words",
        "modules",
        "details",
    ] {
        assert!(keys.contains(&key), "{key} is missing: {text}");
    }
    let row: serde_json::Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(row.as_object().expect("an object").len(), 22);
    assert_eq!((&row["file"], &row["line"]), (&"page_fault.hit.log".into(), &2.into()));

    assert_eq!(lastgasp(&["scan", "page_fault.miss.log"]).status.code(), Some(1));
    let mixed = lastgasp(&["scan", "not-there.log", "page_fault.hit.log"]);
    assert_eq!(mixed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&mixed.stderr).contains("not-there.log"));
    assert!(String::from_utf8_lossy(&mixed.stdout).contains("session_read"), "the other file is scanned all the same");
}

#[test]
fn rules_are_listed_with_their_sources() {
    let json = lastgasp(&["rules", "--format", "json"]);
    assert_eq!(String::from_utf8_lossy(&json.stdout).lines().count(), catalogue().count());
    let table = String::from_utf8(lastgasp(&["rules"]).stdout).expect("UTF-8");
    for rule in catalogue() {
        assert!(table.contains(rule.id), "{}", rule.id);
    }
}

#[test]
fn what_a_report_says_of_the_machine_is_kept() {
    let text = "[  100.000000] general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] PREEMPT SMP\n\
        [  100.000010] CPU: 3 UID: 0 PID: 77 Comm: k worker Tainted: G        W  OE      6.12.5-generic #6 PREEMPT(voluntary)\n\
        [  100.000011] Tainted: [W]=WARN, [O]=OOT_MODULE, [E]=UNSIGNED_MODULE\n\
        [  100.000012] Hardware name: Example Board/Rev A, BIOS 1.2 01/02/2024\n\
        [  100.000013] Workqueue: events pool_worker [pool]\n\
        [  100.000014] RIP: 0010:pool_take+0x1a/0x40 [pool]\n\
        [  100.000015] Call Trace:\n\
        [  100.000016]  pool_get+0x1a/0x40 [pool]\n\
        [  100.000017]  helper_run+0x1a/0x40 [helper]\n\
        [  100.000018]  process_one_work+0x1a/0x40\n\
        [  100.000019] Modules linked in: pool(OE) helper other\n";
    let e = &events(text)[0];
    assert_eq!((e.comm.as_deref(), e.pid, e.cpu), (Some("k worker"), Some(77), Some(3)));
    assert_eq!((e.tainted.as_deref(), e.kernel.as_deref()), (Some("G        W  OE"), Some("6.12.5-generic")));
    assert_eq!(e.modules, ["pool", "helper"]);
    assert_eq!(e.details["hardware"], "Example Board/Rev A, BIOS 1.2 01/02/2024");
    assert_eq!(e.details["workqueue"], "events pool_worker [pool]");
}

#[test]
fn a_disk_says_more_on_the_next_lines_without_being_counted_again() {
    let text = "[  100.000000] sd 0:0:0:0: [sda] tag#12 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_OK cmd_age=3s\n\
        [  100.000001] sd 0:0:0:0: [sda] tag#12 Add. Sense: Unrecovered read error\n\
        [  100.000002] sd 0:0:0:0: [sda] tag#12 CDB: Read(10) 28 00 00 12 34 56 00 00 08 00\n\
        [  100.000003] sd 1:0:0:0: [sdb] tag#12 CDB: Write(10) 2a 00 00 00 00 00 00 00 08 00\n\
        [  100.000004] critical medium error, dev sda, sector 1193046 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2\n";
    let found = events(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let detail = |k: &str| found[0].details.get(k).map(String::as_str);
    assert_eq!((detail("sense"), detail("command")), (Some("Unrecovered read error"), Some("Read(10)")));
    assert_eq!((detail("sector"), detail("operation"), detail("repeats")), (Some("1193046"), Some("READ"), Some("1")));
    assert_eq!(found[0].text.len(), 4);
}

#[test]
fn a_machine_check_of_several_lines_is_one_event() {
    let text = "[  100.000000] mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 7: 8c00004000010090\n\
        [  100.000001] mce: [Hardware Error]: TSC 0 ADDR 1234567000 MISC 1523a86 \n\
        [  100.000002] mce: [Hardware Error]: PROCESSOR 0:406f1 TIME 1736109934 SOCKET 0 APIC 0 microcode b000040\n";
    let found = events(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let detail = |k: &str| found[0].details.get(k).map(String::as_str);
    assert_eq!((detail("bank"), detail("address")), (Some("7"), Some("0x1234567000")));
    assert_eq!(detail("mca_error"), Some("memory controller error: read, channel 0"));
    assert_eq!(detail("repeats"), None);
}
