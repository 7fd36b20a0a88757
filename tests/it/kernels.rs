//! What kernels that really crashed printed (`fixtures/kernel/`, recorded by `tests/vm/run --record`): both carriers of each
//! fault say the same, and quiet boots say nothing.

use lastgasp::config::RulesConfig;
use lastgasp::detect::Detector;
use lastgasp::model::{Event, KernelTime, Mono, Origin, Record, Signal};
use lastgasp::source::kmsg;
use regex::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Beside each log: what happened, as the scenario knows it, not as the detector said.
#[derive(Deserialize)]
struct Expected {
    kernel: String,
    /// Empty: nothing may raise an alarm.
    kinds: Vec<String>,
    /// One of them must be named; empty where none is known.
    functions: Vec<String>,
    panicked: bool,
    /// Patterns for details and fields of the event.
    details: BTreeMap<String, String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kernel")
}

/// Name, expectation and the logs of every fixture.
fn fixtures() -> Vec<(String, Expected, PathBuf)> {
    let mut found = Vec::new();
    for kernel in std::fs::read_dir(root()).expect("the fixtures are there").flatten() {
        if !kernel.path().is_dir() {
            continue;
        }
        for file in std::fs::read_dir(kernel.path()).expect("a readable directory").flatten() {
            let path = file.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a readable fixture");
            let expected = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let name = path.with_extension("").strip_prefix(root()).expect("below it").display().to_string();
            found.push((name, expected, path));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn closed(signals: Vec<Signal>) -> Vec<Event> {
    let ended = signals.into_iter().filter_map(|s| match s {
        Signal::Closed(e) => Some(e),
        _ => None,
    });
    let mut events: Vec<Event> = ended.collect();
    events.sort_by_key(|e| e.number);
    events
}

/// One for all: building its search takes longer than reading a log, and `finish` leaves nothing behind.
fn detector() -> MutexGuard<'static, Detector> {
    static ONE: OnceLock<Mutex<Detector>> = OnceLock::new();
    let new = || Mutex::new(Detector::new(&RulesConfig::default()).expect("the built-in rules are sound"));
    ONE.get_or_init(new).lock().unwrap_or_else(PoisonError::into_inner)
}

/// The console log as a file.
fn console(path: &Path) -> Option<Vec<Event>> {
    let text = std::fs::read(path.with_extension("console.log")).ok()?;
    let mut detector = detector();
    let mut out = Vec::new();
    for (n, line) in text.split(|c| *c == b'\n').enumerate() {
        let mut record = Record::plain(Origin::Replay("x".into()), "guest".into(), line);
        record.line = Some(n as u64 + 1);
        detector.feed(&record, Mono(0), &mut out);
    }
    detector.finish(&mut out);
    Some(closed(out))
}

/// The ring as `/dev/kmsg` gave it.
fn ring(path: &Path) -> Option<Vec<Event>> {
    let text = std::fs::read(path.with_extension("kmsg.log")).ok()?;
    let mut detector = detector();
    let mut out = Vec::new();
    // A line that begins with a space belongs to the dictionary of the record before it.
    for line in text.split(|c| *c == b'\n').filter(|l| l.first().is_some_and(u8::is_ascii_digit)) {
        let raw = kmsg::parse(line).unwrap_or_else(|| panic!("no record: {}", String::from_utf8_lossy(line)));
        let mut record = Record::plain(Origin::Kmsg, "guest".into(), raw.text.into_owned());
        record.facility = Some(raw.facility);
        record.level = Some(raw.level);
        record.seq = Some(raw.seq);
        record.stamp = Some(KernelTime(raw.stamp_us));
        record.caller = raw.caller.map(str::to_owned);
        detector.feed(&record, Mono(0), &mut out);
    }
    detector.finish(&mut out);
    Some(closed(out))
}

fn value_of(event: &Event, key: &str) -> String {
    let field = match key {
        "comm" => event.comm.clone(),
        "pid" => event.pid.map(|n| n.to_string()),
        "cpu" => event.cpu.map(|n| n.to_string()),
        "tainted" => event.tainted.clone(),
        _ => event.details.get(key).cloned(),
    };
    field.unwrap_or_default()
}

fn check(name: &str, expected: &Expected, events: &[Event]) -> Option<Event> {
    let alarms: Vec<&Event> = events.iter().filter(|e| e.alarm).collect();
    if expected.kinds.is_empty() {
        assert!(alarms.is_empty(), "{name}: an alarm: {:?}", alarms.iter().map(|e| &e.title).collect::<Vec<_>>());
        return None;
    }
    let first = *alarms.first().unwrap_or_else(|| panic!("{name}: nothing found"));
    assert!(expected.kinds.iter().any(|k| k == first.kind.name()), "{name}: {} ({})", first.kind, first.title);
    let named = |f: &String| expected.functions.contains(f);
    assert!(expected.functions.is_empty() || first.function.as_ref().is_some_and(named), "{name}: {}", first.title);
    if expected.panicked {
        assert!(alarms.iter().any(|e| e.panicked || e.kind.name() == "panic"), "{name}: the panic is not noted");
    }
    for (key, pattern) in &expected.details {
        let value = value_of(first, key);
        assert!(
            Regex::new(pattern).expect("a pattern").is_match(&value),
            "{name}: {key} is {value:?}, not {pattern:?}"
        );
    }
    if let Some(kernel) = &first.kernel {
        assert_eq!(kernel, &expected.kernel, "{name}");
    }
    Some(first.clone())
}

#[test]
fn every_recorded_fault_is_what_it_was() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 50, "only {} fixtures", fixtures.len());
    for (name, expected, path) in fixtures {
        let seen: Vec<Event> = [("console", console(&path)), ("kmsg", ring(&path))]
            .into_iter()
            .filter_map(|(carrier, events)| check(&format!("{name} by {carrier}"), &expected, &events?))
            .collect();
        // One failure, two carriers, one signature.
        if let [one, other] = &seen[..] {
            assert_eq!((&one.title, &one.signature), (&other.title, &other.signature), "{name}");
        }
    }
}

#[test]
fn one_bug_has_one_signature_on_every_kernel_and_two_bugs_have_two() {
    let mut by_scenario: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for (name, expected, path) in fixtures() {
        // Only where our own module is at fault is it the same bug, whatever the kernel.
        if matches!(&expected.functions[..], [f] if f.starts_with("fault_")) {
            let first = console(&path).and_then(|events| events.into_iter().find(|e| e.alarm));
            by_scenario.entry(name.split_once('/').expect("kernel/scenario").1.to_owned()).or_default().extend(first);
        }
    }
    let mut owners: BTreeMap<String, (String, Option<String>)> = BTreeMap::new();
    for (scenario, events) in by_scenario {
        let titles: Vec<&str> = events.iter().map(|e| e.title.as_str()).collect();
        assert!(titles.windows(2).all(|w| w[0] == w[1]), "{scenario}: {titles:?}");
        for e in events {
            let bug = (e.kind.name().to_owned(), e.function.clone());
            let owner = owners.entry(e.signature.0.clone()).or_insert_with(|| bug.clone());
            assert_eq!(*owner, bug, "{scenario}: two bugs with one signature");
        }
    }
}
