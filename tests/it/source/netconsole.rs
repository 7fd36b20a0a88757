//! Frames of netconsole through the detector: what each format is trusted with.

use lastgasp::config::RulesConfig;
use lastgasp::detect::Detector;
use lastgasp::model::{Event, Mono, Signal, Wall};
use lastgasp::source::netconsole::Intake;
use std::net::IpAddr;
use std::path::Path;

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn events(datagrams: impl IntoIterator<Item = Vec<u8>>) -> Vec<Event> {
    let mut intake = Intake::new(vec![(FROM, "db1".into())]);
    let mut detector = Detector::new(&RulesConfig::default()).expect("the built-in rules are sound");
    let (mut records, mut out) = (Vec::new(), Vec::new());
    for datagram in datagrams {
        intake.datagram(FROM, &datagram, Mono(0), Wall(0), &mut records);
    }
    intake.tick(Mono(u64::MAX), Wall(0), &mut records);
    for record in &records {
        detector.feed(record, Mono(0), &mut out);
    }
    detector.finish(&mut out);
    out.into_iter().filter_map(|s| if let Signal::Closed(e) = s { Some(e) } else { None }).collect()
}

/// The lines of a fixture, each with its stamp in microseconds and its text behind the stamp.
fn lines(fixture: &str) -> Vec<(u64, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/detect").join(fixture);
    let text = std::fs::read_to_string(path).expect("a fixture");
    let stamped = text.lines().filter_map(|l| l.strip_prefix('[')?.split_once("] "));
    stamped
        .map(|(stamp, text)| (stamp.trim().replace('.', "").parse().expect("microseconds"), text.to_owned()))
        .collect()
}

fn basic((us, text): &(u64, String)) -> Vec<u8> {
    format!("[{:5}.{:06}] {text}\n", us / 1_000_000, us % 1_000_000).into_bytes()
}

fn extended(seq: usize, (us, text): &(u64, String)) -> Vec<Vec<u8>> {
    let body: String = text
        .bytes()
        .map(|b| match b {
            b' '..=b'~' if b != b'\\' => char::from(b).to_string(),
            b => format!("\\x{b:02x}"),
        })
        .collect();
    let body = format!("{body}\n");
    // Cut far shorter than the kernel would, so that there is something to put together.
    if body.len() < 20 {
        return vec![format!("6.4.0,4,{seq},{us},-,caller=T1;{body}").into_bytes()];
    }
    let part = |(n, chunk): (usize, &[u8])| {
        let head = format!("6.4.0,4,{seq},{us},-,caller=T1,ncfrag={}/{};", n * 20, body.len());
        [head.as_bytes(), chunk].concat()
    };
    body.as_bytes().chunks(20).enumerate().map(part).collect()
}

#[test]
fn both_formats_give_the_same_event() {
    for fixture in ["oops_code.hit.log", "hung_task.hit.log", "oom.hit.log"] {
        let lines = lines(fixture);
        assert!(lines.len() > 3, "{fixture}");
        let as_text = events(lines.iter().map(basic));
        let as_records = events(lines.iter().enumerate().flat_map(|(n, l)| extended(n, l)));
        let key = |e: &Event| (e.rule.clone(), e.signature.clone(), e.function.clone(), e.pid, e.host.to_string());
        assert!(!as_text.is_empty(), "{fixture}");
        assert_eq!(as_text.iter().map(key).collect::<Vec<_>>(), as_records.iter().map(key).collect::<Vec<_>>());
        assert_eq!(as_records[0].origin.to_string(), "netconsole 192.0.2.1");
        assert!(!as_records[0].text[0].starts_with('['), "{:?}", as_records[0].text);
    }
}

#[test]
fn text_without_a_stamp_has_the_trust_of_a_console_and_programs_have_none() {
    let panic = "Kernel panic - not syncing: Fatal exception";
    assert_eq!(events([format!("0,1,5,-;{panic}\n").into_bytes()]).len(), 1);
    assert_eq!(events([format!("[    1.000000] {panic}\n").into_bytes()]).len(), 1);
    assert_eq!(events([format!("12,1,5,-;{panic}\n").into_bytes()]).len(), 0);
    // A phrase that programs use too: it counts where the kernel is known to have written it.
    let bug = "BUG: something odd";
    assert_eq!(events([format!("3,1,5,-;{bug}\n").into_bytes()]).len(), 1);
    assert_eq!(events([format!("[    1.000000] {bug}\n").into_bytes()]).len(), 1);
    assert_eq!(events([format!("{bug}\n").into_bytes()]).len(), 0);
}
