//! The schedule: whatever a collector does, it ends in exactly one outcome and nobody waits for it.

use lastgasp::capture::pool::Pool;
use lastgasp::capture::schedule::{self, Base, Ran, Step};
use lastgasp::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use lastgasp::config::Config;
use lastgasp::host::Root;
use lastgasp::model::{Deadline, Incident, IncidentId, Kind, Losses, Outcome, Trigger, Wall};
use lastgasp::sys::clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const fn spec(name: &'static str, run: fn(&Context, &mut Sink) -> Result<(), CollectError>, limit_ms: u64) -> Spec {
    Spec {
        name,
        doc: "A collector of a test.",
        tier: Tier::T0,
        source: Source::Run(run),
        cap_bytes: 100,
        limit_ms,
        sensitivity: Sensitivity::Plain,
        capabilities: &[],
    }
}

fn good(_: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    sink.put("good", "all there is")?;
    Ok(())
}

fn greedy(_: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    for n in 0.. {
        sink.put(format!("greedy/{n}"), vec![b'x'; 60])?;
    }
    Ok(())
}

fn stuck(_: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    sink.put("stuck/first", "delivered before it hung")?;
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    // Nobody ever writes.
    let _ = std::io::Read::read(&mut &reader, &mut [0]);
    Ok(())
}

fn broken(_: &Context, _: &mut Sink) -> Result<(), CollectError> {
    panic!("a bug of a collector, staged")
}

fn idle(_: &Context, _: &mut Sink) -> Result<(), CollectError> {
    Err(CollectError::Skipped("nothing of the kind here".into()))
}

fn failed(_: &Context, _: &mut Sink) -> Result<(), CollectError> {
    Err(CollectError::failed("read /nowhere")(std::io::ErrorKind::NotFound.into()))
}

static GOOD: Spec = spec("good", good, 30_000);
static GREEDY: Spec = spec("greedy", greedy, 30_000);
static STUCK: Spec = spec("stuck", stuck, 300);
static BROKEN: Spec = spec("broken", broken, 30_000);
static IDLE: Spec = spec("idle", idle, 30_000);
static FAILED: Spec = spec("failed", failed, 30_000);

fn base(deadline: Duration, skip: &[&str]) -> Base {
    let mut config = Config::default();
    config.capture.skip = skip.iter().map(|s| (*s).to_owned()).collect();
    let incident = Incident {
        format: 1,
        id: IncidentId("test".into()),
        kind: Kind::Other,
        title: "test".into(),
        host: "h".into(),
        captured_on: "h".into(),
        local: true,
        opened_at: Wall(0),
        drill: false,
        boot_id: None,
        kernel: None,
        version: "0".into(),
        trigger: Trigger::Manual { reason: "test".into() },
        events: Vec::new(),
        follows: None,
        events_left_out: 0,
        recurrences: 0,
        losses: Losses::default(),
        limits: Vec::new(),
    };
    Base {
        root: Root::real(),
        config: Arc::new(config),
        incident: Arc::new(incident),
        shared: Arc::default(),
        deadline: Deadline::after(clock::mono(), deadline),
    }
}

fn run(specs: &[&'static Spec], base: &Base) -> (BTreeMap<&'static str, Ran>, Vec<String>) {
    let pool = Pool::new("collector", 4).expect("threads");
    let mut paths = Vec::new();
    let ran = schedule::run(specs, base, &pool, &mut |step| {
        if let Step::Item(_, item) = step {
            paths.push(item.path);
        }
    });
    (ran.into_iter().map(|r| (r.spec_name, r)).collect(), paths)
}

#[test]
fn each_way_to_end_is_its_own_outcome_and_none_takes_the_others_with_it() {
    let all = [&STUCK, &BROKEN, &GREEDY, &IDLE, &FAILED, &GOOD];
    let before = clock::mono();
    let (ran, paths) = run(&all, &base(Duration::from_secs(60), &[]));
    assert!(clock::mono().since(before) < Duration::from_secs(30), "nobody waits for what hangs");
    assert_eq!(ran.len(), all.len(), "every collector has an outcome");
    assert_eq!(ran["good"].outcome, Outcome::Complete);
    assert!(matches!(&ran["greedy"].outcome, Outcome::Truncated(w) if w.contains("cap of 100 bytes")));
    assert_eq!((ran["greedy"].entries, ran["greedy"].bytes), (2, 100));
    let Outcome::TimedOut(why) = &ran["stuck"].outcome else { panic!("{:?}", ran["stuck"].outcome) };
    assert!(why.contains("wchan") || why.contains("syscall"), "where it hangs is evidence: {why}");
    assert!(matches!(&ran["broken"].outcome, Outcome::Failed(w) if w.contains("staged")));
    assert!(matches!(&ran["idle"].outcome, Outcome::Skipped(w) if w == "nothing of the kind here"));
    assert!(matches!(&ran["failed"].outcome, Outcome::Failed(w) if w.starts_with("read /nowhere")));
    assert!(paths.contains(&"stuck/first".to_owned()), "what was delivered before the hang is kept");
}

#[test]
fn the_config_and_the_end_of_the_capture_skip_with_a_reason() {
    let (ran, paths) = run(&[&GOOD], &base(Duration::from_secs(60), &["good"]));
    assert!(matches!(&ran["good"].outcome, Outcome::Skipped(w) if w.contains("capture.skip")));
    assert!(paths.is_empty());
    let (ran, _) = run(&[&GOOD], &base(Duration::ZERO, &[]));
    assert!(matches!(&ran["good"].outcome, Outcome::Skipped(w) if w.contains("capture.deadline")));
}
