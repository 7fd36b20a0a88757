//! Incidents and snapshots for the tests of archive, store and report.

use lastgasp::archive::{CollectorResult, EntryHead, FORMAT, ManifestHead, Now, SyncData, TierMark, Writer};
use lastgasp::model::{
    BootId, Event, Incident, IncidentId, Kind, Losses, Missing, Origin, Outcome, Severity, Signature, Trigger, Wall,
};
use lastgasp::store::{PartialResult, Store};
use std::io::Write;
use std::time::{Duration, Instant};

/// 2026-11-23 00:55:00 UTC.
pub const T: Wall = Wall(1_795_395_300_000_000);

pub fn event() -> Event {
    Event {
        number: 1,
        kind: Kind::HungTask,
        severity: Severity::Error,
        alarm: true,
        rule: "hung_task".into(),
        title: "hung task in nfs_wait_bit_killable".into(),
        function: Some("nfs_wait_bit_killable".into()),
        signature: Signature("0123456789abcdef".into()),
        comm: Some("backup".into()),
        pid: Some(4711),
        cpu: None,
        tainted: Some("Not tainted".into()),
        kernel: Some("6.1.0-13-amd64".into()),
        timestamp: Some("1234.567890".into()),
        host: "web-01".into(),
        origin: Origin::Kmsg,
        seen_at: Some(T),
        seq: Some(17),
        line: None,
        last_line: None,
        corrupted: false,
        panicked: false,
        old: false,
        frames: vec!["nfs_wait_bit_killable".into(), "schedule".into()],
        modules: Vec::new(),
        details: [("state".to_owned(), "D".to_owned())].into(),
        text: vec!["INFO: task backup:4711 blocked for more than 120 seconds.".into(), "Call Trace:\x1b[2J".into()],
    }
}

pub fn incident(id: &str, at: Wall) -> Incident {
    Incident {
        format: 1,
        id: IncidentId(id.into()),
        kind: Kind::HungTask,
        title: event().title,
        host: "web-01".into(),
        captured_on: "web-01".into(),
        local: true,
        opened_at: at,
        drill: false,
        boot_id: Some(BootId("5f1c1a52-0000-4000-8000-000000000000".into())),
        kernel: Some("6.1.0-13-amd64".into()),
        version: "0.1.0".into(),
        trigger: Trigger::Event(Box::new(event())),
        events: Vec::new(),
        follows: None,
        events_left_out: 0,
        recurrences: 2,
        losses: Losses::default(),
        limits: Vec::new(),
    }
}

pub fn head(incident: Incident) -> ManifestHead {
    let at = incident.opened_at;
    ManifestHead {
        format: FORMAT,
        incident,
        started_at: at,
        finished_at: Wall(at.0 + 2_500_000),
        total_ms: 2500,
        tiers: vec![
            TierMark { tier: "T0".into(), durable_ms: Some(212) },
            TierMark { tier: "T1".into(), durable_ms: None },
        ],
        collectors: vec![
            CollectorResult {
                name: "tasks".into(),
                tier: "T0".into(),
                outcome: Outcome::Complete,
                started_ms: 3,
                took_ms: 80,
                bytes: 1000,
                entries: 2,
                missing: vec![Missing { what: "/proc/12/stack".into(), why: "permission denied".into() }],
            },
            CollectorResult {
                name: "mounts".into(),
                tier: "T1".into(),
                outcome: Outcome::TimedOut("stuck in rpc_wait_bit_killable".into()),
                started_ms: 90,
                took_ms: 2000,
                bytes: 0,
                entries: 0,
                missing: Vec::new(),
            },
        ],
        notes: vec!["a note".into()],
        salvaged: None,
        stores: Vec::new(),
        completed: None,
        losses: Losses::default(),
    }
}

/// Text that compresses, but not to nothing.
pub fn text(n: usize, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 64);
    let mut x = n as u64 + 1;
    while out.len() < bytes {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(format!("entry {n} line {:x} of some log text\n", x >> 40).as_bytes());
    }
    out.truncate(bytes);
    out
}

/// Entries of the test snapshot, in order, without incident.json.
pub fn contents() -> Vec<(String, Vec<u8>)> {
    let mut out = vec![
        ("proc/meminfo".to_owned(), text(1, 700)),
        ("proc/empty".to_owned(), Vec::new()),
        (format!("var/log/{}a name longer than a tar header", "deep/".repeat(20)), text(2, 513)),
        ("sos_commands/process/ps".to_owned(), text(3, 2048)),
    ];
    out.extend((0..4).map(|n| (format!("proc/{n}/stack"), text(10 + n, 300))));
    out
}

/// Writes the test snapshot's entries: incident, two entries, sync, the others with a flush after every second.
pub fn write_entries<F: Write + SyncData>(w: &mut Writer<F>, incident: &Incident) -> lastgasp::archive::Result<()> {
    w.append_incident(incident)?;
    for (i, (path, bytes)) in contents().iter().enumerate() {
        let at = Wall(incident.opened_at.0 + i as i64 * 1_000_000);
        w.append(&EntryHead { path, at, collector: "tasks", truncated: i == 3 }, bytes)?;
        match i {
            1 => w.sync()?,
            _ if i % 2 == 1 => w.flush_frame()?,
            _ => {}
        }
    }
    Ok(())
}

/// The boot after the one in which the test snapshot was taken.
pub fn now() -> Now {
    Now {
        at: Wall(T.0 + 600_000_000),
        boot_id: Some(BootId("11111111-2222-3333-4444-555555555555".into())),
        kernel: Some("6.1.0-14-amd64".into()),
        booted_at: Some(Wall(T.0 + 500_000_000)),
    }
}

/// What became of so many partial archives whose writers are gone. The lock of a writer outlives it for a moment when another
/// test was just starting a program: the child holds all descriptors until it has become that program.
pub fn salvaged(store: &Store, count: usize) -> Vec<PartialResult> {
    let until = Instant::now() + Duration::from_secs(10);
    let mut results = Vec::new();
    loop {
        results.extend(store.salvage_partials(&now()).expect("salvage"));
        if results.len() >= count || Instant::now() > until {
            return results;
        }
        std::thread::yield_now();
    }
}
