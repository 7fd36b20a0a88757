//! What operators and programs see: `list`, `show`, `verify`, `extract`, `pin`, `prune` as they are
//! run, with their exit codes, and no byte of a log that commands a terminal.

use crate::keeping::{self, T, write_entries};
use assert_cmd::Command;
use lastgasp::archive::{Reader, Writer};
use lastgasp::model::Wall;
use lastgasp::report::{self, Page};
use lastgasp::store::Store;
use std::path::{Path, PathBuf};

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
    /// Newest last.
    paths: Vec<PathBuf>,
}

/// Two snapshots: `old00000` and, a minute later, `new00000`.
fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(dir.path().join("store")).expect("open");
    let paths = [("old00000", 0), ("new00000", 60)].map(|(id, s)| publish(&store, id, Wall(T.0 + s * 1_000_000)));
    Fixture { dir, store, paths: paths.to_vec() }
}

fn publish(store: &Store, id: &str, at: Wall) -> PathBuf {
    let mut incident = keeping::incident(id, at);
    let pending = store.begin(&incident).expect("begin");
    let mut w = Writer::create(pending.file(), pending.top_dir()).expect("writer");
    write_entries(&mut w, &incident).expect("write");
    incident.losses.add("kmsg_overrun_records", 5);
    incident.events = vec![keeping::event()];
    incident.events_left_out = 3;
    w.finish(keeping::head(incident)).expect("finish");
    pending.publish().expect("publish")
}

impl Fixture {
    fn run(&self, args: &[&str], code: i32) -> String {
        let mut c = Command::cargo_bin("lastgasp").expect("the binary is built");
        c.current_dir(self.dir.path()).env("TZ", "UTC").arg("--store").arg(self.store.dir()).args(args);
        let out = c.output().expect("it starts");
        let text = String::from_utf8(out.stdout).expect("utf-8");
        let error = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}\n{text}{error}");
        assert!(!text.contains('\x1b') || args.contains(&"raw"), "{text:?}");
        text + &error
    }

    fn json(&self, args: &[&str], code: i32) -> serde_json::Value {
        let mut all = vec!["--format", "json"];
        all.extend(args);
        serde_json::from_str(&self.run(&all, code)).expect("JSON and nothing else")
    }
}

fn damage(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let f = std::fs::File::options().read(true).write(true).open(path).expect("open");
    let mut b = [0u8];
    f.read_exact_at(&mut b, at).expect("read");
    f.write_all_at(&[b[0] ^ 0x40], at).expect("write");
}

#[test]
fn the_list_shows_newest_first_with_titles_and_damage() {
    let f = fixture();
    let text = f.run(&["list"], 0);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("ID") && lines[1].starts_with("new00000") && lines[2].starts_with("old00000"),
        "{text}"
    );
    assert!(lines[1].contains("2026-11-23 00:56:00") && lines[1].ends_with("hung task in nfs_wait_bit_killable"));
    let json = f.json(&["list"], 0);
    assert_eq!(
        (&json[0]["id"], &json[0]["state"], &json[0]["kind"]),
        (&"new00000".into(), &"whole".into(), &"hung_task".into())
    );
    assert_eq!(json[0]["opened_at"], "2026-11-23T00:56:00.000Z");
    damage(&f.paths[1], 30);
    std::fs::write(f.store.dir().join("web-01-20261123T005700Z-oops-zero0000.tar.zst"), "").expect("write");
    let text = f.run(&["list"], 0);
    assert!(text.lines().nth(1).expect("line").contains("(damaged) ") && text.contains("an empty file"), "{text}");
    // Its head is lost, the manifest still knows the title.
    assert!(text.lines().nth(2).expect("line").contains("hung task"), "{text}");
}

#[test]
fn an_empty_store_is_a_clean_no() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(dir.path().join("store")).expect("open");
    let f = Fixture { dir, store, paths: Vec::new() };
    for command in ["list", "show", "verify", "extract"] {
        assert!(f.run(&[command], 1).contains("no snapshots in"), "{command}");
    }
    assert!(f.run(&["show", "abc"], 2).contains("no snapshot \"abc\""));
    std::fs::remove_dir_all(f.store.dir()).expect("remove");
    assert!(f.run(&["list"], 2).contains("open store "));
}

#[test]
fn the_page_tells_what_when_where_how_long_and_what_is_missing() {
    let f = fixture();
    let text = f.run(&["show"], 0);
    for part in [
        "hung task in nfs_wait_bit_killable\n",
        "hung_task, error",
        "2026-11-23 00:56:00 +00:00 (00:56:00 UTC)",
        "6.1.0-13-amd64",
        "backup, pid 4711",
        "state=D",
        "nfs_wait_bit_killable < schedule",
        "/dev/kmsg record 17, stamped 1234.567890",
        "2 earlier times",
        "T0 on disk after 212 ms, T1 never on disk, all after 2.5 s",
        "| INFO: task backup:4711 blocked for more than 120 seconds.",
        "Call Trace:\\x1b[2J",
        "3 events more",
        "timed_out: stuck in rpc_wait_bit_killable",
        "tasks: /proc/12/stack: permission denied",
        "kmsg_overrun_records: 5",
        "lastgasp extract new00000",
        "tar --zstd -xf /",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let json = f.json(&["show", "new"], 0);
    assert_eq!(json["incident"]["id"], "new00000");
    assert_eq!(json["manifest"]["collectors"][1]["outcome"], "timed_out");
    assert_eq!(json["manifest"]["tiers"][1]["durable_ms"], serde_json::Value::Null);
    assert_eq!(json["pinned"], false);
}

#[test]
fn entries_are_listed_and_printed_as_they_are() {
    let f = fixture();
    let text = f.run(&["show", "old", "--entries"], 0);
    assert!(text.contains("proc/meminfo") && text.lines().nth(1).expect("line").contains("incident.json"), "{text}");
    assert_eq!(f.json(&["show", "old", "--entries"], 0).as_array().expect("a list").len(), 9);
    let text = f.run(&["show", "old", "proc/meminfo"], 0);
    assert_eq!(text.as_bytes(), keeping::text(1, 700));
    assert!(f.run(&["show", "old", "proc/none"], 2).contains("no entry \"proc/none\""));
}

#[test]
fn verify_tells_whole_from_damaged() {
    let f = fixture();
    assert!(f.run(&["verify"], 0).contains("new00000.tar.zst: ok: 10 entries"));
    assert_eq!(f.run(&["verify", "--all"], 0).lines().count(), 2);
    let ends = f.paths[0].metadata().expect("metadata").len();
    damage(&f.paths[0], ends / 2);
    let text = f.run(&["verify", "--all"], 3);
    assert!(text.contains("DAMAGED") && text.contains(": ok: "), "{text}");
    let json = f.json(&["verify", "old"], 3);
    assert_eq!(json[0]["report"]["ok"], false);
    assert!(!json[0]["report"]["problems"].as_array().expect("problems").is_empty());
    let path = f.paths[0].to_str().expect("utf-8");
    assert!(f.run(&["verify", path], 3).contains("of 10 entries are whole"));
    assert!(f.run(&["verify", "/nonexistent.tar.zst"], 2).contains("No such file"));
    let foreign = f.dir.path().join("x.gz");
    std::fs::write(&foreign, [0x1f, 0x8b, 8, 0]).expect("write");
    assert!(f.run(&["verify", foreign.to_str().expect("utf-8")], 3).contains("gzip"));
}

#[test]
fn extract_unpacks_all_or_some_and_never_over_something() {
    let f = fixture();
    let text = f.run(&["extract", "old", "-C", "all"], 0);
    assert!(text.starts_with("10 files, "), "{text}");
    let top = "web-01-20261123T005500Z-hung_task-old00000";
    assert_eq!(
        std::fs::read(f.dir.path().join("all").join(top).join("proc/meminfo")).expect("read"),
        keeping::text(1, 700)
    );
    assert!(f.run(&["extract", "old", "-C", "all"], 0).contains("not unpacked"), "nothing is overwritten");
    assert!(f.run(&["extract", "old", "proc/", "incident.json", "-C", "some"], 0).starts_with("7 files"));
    assert!(f.run(&["extract", "old", &format!("{top}/proc/meminfo"), "-C", "one"], 0).starts_with("1 files"));
    assert!(f.run(&["extract", "old", "proc/none", "-C", "none"], 2).contains("no entry proc/none"));
    damage(&f.paths[0], f.paths[0].metadata().expect("metadata").len() / 2);
    assert!(f.run(&["extract", "old", "-C", "damaged"], 3).contains("DAMAGED"));
}

#[test]
fn pins_keep_and_prune_removes() {
    let f = fixture();
    assert!(f.run(&["pin", "old"], 0).contains("kept whatever"));
    assert!(f.run(&["list"], 0).lines().nth(2).expect("line").contains("pinned"));
    assert!(f.run(&["show", "old"], 0).contains("pinned"));
    assert!(f.run(&["pin", "old", "--off"], 0).contains("no longer pinned"));
    assert!(f.run(&["prune", "--dry-run"], 0).contains("would remove 0 snapshots"));
    // Older than the 90 days of the default limits, and seen without a gap that an unsteered clock may have made.
    publish(&f.store, "between0", Wall(T.0 - 80 * 86_400_000_000));
    publish(&f.store, "ancient0", Wall(T.0 - 160 * 86_400_000_000));
    assert!(f.run(&["prune", "-n"], 0).contains("older than max_age"));
    assert_eq!(f.json(&["prune"], 0).as_array().expect("a list").len(), 1);
    assert_eq!(f.store.list().expect("list").len(), 3);
    let outside = f.dir.path().join("copy.tar.zst");
    std::fs::copy(&f.paths[0], &outside).expect("copy");
    assert!(f.run(&["pin", outside.to_str().expect("utf-8")], 2).contains("lies in no store"));
    assert!(f.run(&["show", outside.to_str().expect("utf-8")], 0).contains("hung task"));
}

#[test]
fn a_closed_pipe_is_success() {
    let f = fixture();
    let bin = assert_cmd::cargo::cargo_bin("lastgasp");
    let script = format!(
        "set -o pipefail; {} --store {} show old --entries | true; echo rc $?",
        bin.display(),
        f.store.dir().display()
    );
    let out = std::process::Command::new("bash").args(["-c", &script]).output();
    let Ok(out) = out else {
        eprintln!("skipped: bash is not installed");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&out.stdout), "rc 0\n", "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn a_salvaged_snapshot_says_so_on_its_page() {
    let f = fixture();
    let incident = keeping::incident("half0000", Wall(T.0 + 120_000_000));
    let pending = f.store.begin(&incident).expect("begin");
    let mut w = Writer::create(pending.file(), pending.top_dir()).expect("writer");
    write_entries(&mut w, &incident).expect("write");
    drop(w);
    assert!(f.run(&["list"], 0).contains("(being written, or interrupted) hung task"));
    assert!(f.run(&["show"], 0).contains("new00000"), "the newest whole one");
    drop(pending);
    assert_eq!(keeping::salvaged(&f.store, 1).len(), 1);
    let text = f.run(&["show", "half0000"], 0);
    assert!(text.contains("SALVAGED   the capture was interrupted"), "{text}");
    assert!(f.run(&["verify", "half0000"], 0).contains("salvaged: "));
}

#[test]
fn hostile_text_is_made_visible_everywhere_on_the_page() {
    let mut f = fixture();
    let mut incident = keeping::incident("evil0000", Wall(T.0 + 1));
    incident.title = "\x1b]0;owned\x07 title".into();
    incident.host = "../../\x1b[31mhost".into();
    incident.kernel = Some("6.1\r\n\x1b[2K".into());
    incident.limits = vec!["limit \u{202e}".into()];
    let pending = f.store.begin(&incident).expect("begin");
    assert!(pending.path().starts_with(f.store.dir()));
    let mut w = Writer::create(pending.file(), pending.top_dir()).expect("writer");
    w.append_incident(&incident).expect("append");
    let mut head = keeping::head(incident);
    head.notes = vec!["note \x1b[1m".into()];
    head.collectors[1].name = "\x1b[7m".into();
    head.losses.add("\x1b[8m", 1);
    w.finish(head).expect("finish");
    f.paths.push(pending.publish().expect("publish"));
    let page = Page::of(&Reader::open(&f.paths[2]).expect("open"), Some(false));
    let mut text = Vec::new();
    report::show(&mut text, &page, false).expect("a vector takes all");
    let text = String::from_utf8(text).expect("utf-8");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(text.contains("\\x1b]0;owned\\x07 title") && text.contains("\\u{202e}"));
    f.run(&["list"], 0);
    f.run(&["verify", "--all"], 0);
}
