//! Several stores: the snapshot goes to the first that takes it, tells so, and comes home. What hangs is staged in tests/sick.

use crate::keeping::{self, T, contents, write_entries};
use lastgasp::archive::{EntryHead, ManifestHead, Reader, StoreTry, TierEnd, Writer, tier_entry};
use lastgasp::config::StoreConfig;
use lastgasp::model::{BootId, Wall};
use lastgasp::store::{MovedFate, PATIENCE, PartialFate, Relay, Store, Stores, salvage_file};
use std::path::{Path, PathBuf};
use std::time::Duration;

const CAP: u64 = 1 << 30;

fn config(dirs: &[&Path]) -> StoreConfig {
    StoreConfig { dirs: dirs.iter().map(|d| d.to_path_buf()).collect(), ..StoreConfig::default() }
}

/// Writes a snapshot through a relay; `midway` happens after its first half.
fn write(stores: &mut Stores, id: &str, midway: impl FnOnce()) -> std::io::Result<PathBuf> {
    let at = stores.settle().expect("a store");
    let incident = keeping::incident(id, T);
    let relay = Relay::begin(stores, at, &incident);
    let mut w = Writer::create(relay.file(), &relay.top_dir()).expect("writer");
    w.append_incident(&incident).expect("head");
    relay.order_sync();
    let half = contents().len() / 2;
    let mut midway = Some(midway);
    for (n, (path, bytes)) in contents().iter().enumerate() {
        w.append(&EntryHead { path, at: T, collector: "tasks", truncated: false }, bytes).expect("append");
        if n == half {
            w.sync().expect("synced");
            w.flush_frame().expect("written");
            relay.order_sync();
            midway.take().expect("once")();
        }
    }
    w.sync().map_err(std::io::Error::other)?;
    let head = ManifestHead { stores: relay.tries(), ..keeping::head(incident) };
    w.finish(head).expect("finish");
    relay.publish().map(|(path, _)| path)
}

fn tries(snapshot: &Path) -> Vec<StoreTry> {
    let r = Reader::open(snapshot).expect("open");
    assert!(r.verify(CAP).ok, "{snapshot:?}: {:?}", r.verify(CAP).problems);
    r.manifest().expect("readable").expect("there").stores
}

#[test]
fn a_store_that_is_well_needs_no_words() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let mut stores = Stores::start(&config(&[&a, &b]), &[]).expect("threads");
    let path = write(&mut stores, "well0000", || ()).expect("published");
    assert_eq!(path.parent(), Some(a.as_path()));
    assert!(tries(&path).is_empty());
    assert!(!b.exists(), "the next store is not touched before it is needed");
    assert!(stores.finish(Duration::from_secs(10)) && stores.hung(Duration::from_millis(1)).is_empty());
    assert!(!stores.ailing(0));
}

#[test]
fn a_store_that_cannot_be_opened_is_passed_over_and_named_and_tried_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (a, b) = (dir.path().join("file"), dir.path().join("b"));
    std::fs::write(&a, "").expect("a file in the way");
    let mut stores = Stores::start(&config(&[&a, &b]), &[]).expect("threads");
    let at = stores.settle().expect("the second");
    assert_eq!(stores.dir(at), b);
    assert!(stores.ailing(at));
    let notices = stores.notices(at);
    assert!(notices[0].contains("Not a directory") && notices[0].contains("snapshots go to"), "{notices:?}");
    let path = write(&mut stores, "next0000", || ()).expect("published");
    assert_eq!(path.parent(), Some(b.as_path()));
    let told = tries(&path);
    assert_eq!(
        told.iter().map(|t| (t.dir.as_path(), t.error.is_some())).collect::<Vec<_>>(),
        [(&*a, true), (&*b, false)]
    );
    std::fs::remove_file(&a).expect("out of the way");
    assert_eq!(stores.revisit().map(|at| stores.dir(at).to_owned()), Some(a.clone()));
    let shunned = std::slice::from_ref(&a);
    let mut stores = Stores::start(&config(&[&a, &b]), shunned).expect("threads");
    assert_eq!(stores.settle().map(|at| stores.dir(at).to_owned()), Some(b));
    stores.admit(&a);
    assert_eq!(stores.revisit().map(|at| stores.dir(at).to_owned()), Some(a));
}

#[test]
fn a_store_that_fails_in_the_middle_gives_the_whole_snapshot_to_the_next_and_gets_it_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (a, b, gone) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("gone"));
    let mut stores = Stores::start(&config(&[&a, &b]), &[]).expect("threads");
    // The directory goes, with the partial in it: the rename at the end cannot succeed.
    let path = write(&mut stores, "fail0000", || std::fs::rename(&a, &gone).expect("rename")).expect("published");
    assert_eq!(path.parent(), Some(b.as_path()));
    let r = Reader::open(&path).expect("open");
    assert!(r.verify(CAP).ok && r.entries().len() > contents().len(), "from its first byte");
    // Home again, by way of what was written there.
    std::fs::rename(&gone, &a).expect("rename");
    let (home, other) = (Store::open(&a).expect("open"), Store::open(&b).expect("open"));
    // The failure came after the manifest, which therefore does not know; only what memory would lose is moved then.
    assert_eq!(home.bring_home(&other).expect("list").len(), usize::from(other.is_memory_backed()));
}

#[test]
fn a_capture_that_takes_longer_than_the_patience_is_no_silence_of_the_store() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let mut stores = Stores::start(&config(&[&a, &b]), &[]).expect("threads");
    let slow_collectors = || std::thread::sleep(PATIENCE + Duration::from_millis(200));
    let path = write(&mut stores, "busy0000", slow_collectors).expect("published");
    assert_eq!(path.parent(), Some(a.as_path()));
    assert!(tries(&path).is_empty() && !b.exists());
}

/// A snapshot in `store` that says that `home` was tried first.
fn diverted(store: &Path, home: &Path, id: &str) -> PathBuf {
    let store = Store::open(store).expect("open");
    let incident = keeping::incident(id, T);
    let pending = store.begin(&incident).expect("begin");
    let mut w = Writer::create(pending.file(), pending.top_dir()).expect("writer");
    write_entries(&mut w, &incident).expect("write");
    let tried = StoreTry { dir: home.into(), error: Some("Read-only file system".into()), took_ms: 3 };
    w.finish(ManifestHead { stores: vec![tried], ..keeping::head(incident) }).expect("finish");
    pending.publish().expect("publish")
}

#[test]
fn a_diverted_snapshot_moves_home_and_no_other_does() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let (home, other) = (Store::open(&a).expect("open"), Store::open(&b).expect("open"));
    if other.is_memory_backed() {
        eprintln!("skipped: temporary files are in memory here, from where everything is moved");
        return;
    }
    let path = diverted(&b, &a, "away0000");
    let bytes = std::fs::read(&path).expect("read");
    other.pin(&other.find(Some("away0000")).expect("find"), true).expect("pin");
    let stays = diverted(&b, &dir.path().join("another"), "here0000");
    let moved = home.bring_home(&other).expect("list");
    assert_eq!(moved.iter().map(|m| m.fate.clone()).collect::<Vec<_>>(), [MovedFate::Moved]);
    assert!(!path.exists() && stays.exists());
    assert_eq!(std::fs::read(&moved[0].home).expect("read"), bytes);
    assert!(home.find(Some("away0000")).expect("find").pinned);
    assert!(home.bring_home(&other).expect("list").is_empty());
}

#[test]
fn a_move_goes_on_where_an_earlier_one_or_a_slow_store_stopped() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let (home, other) = (Store::open(&a).expect("open"), Store::open(&b).expect("open"));
    let partial = |path: &Path| a.join(format!("{}.partial", path.file_name().expect("name").to_str().expect("utf-8")));
    for (id, cut, same) in [("move0000", 500, true), ("move0001", 300, false)] {
        let path = diverted(&b, &a, id);
        let mut start = std::fs::read(&path).expect("read");
        start.truncate(cut);
        if !same {
            start[100] ^= 1;
        }
        std::fs::write(partial(&path), start).expect("write");
    }
    let moved = home.bring_home(&other).expect("list");
    assert!(moved.len() == 2 && moved.iter().all(|m| m.fate == MovedFate::Moved), "{moved:?}");
    assert!(moved.iter().all(|m| Reader::open(&m.home).expect("open").verify(CAP).ok));
    let left: Vec<_> = home.list().expect("list").into_iter().filter(|s| s.partial).map(|s| s.id.0).collect();
    assert_eq!(left, ["move0001a"], "what was not a part of it is set aside");

    // Published late by a slow store: the same bytes are in both.
    let path = diverted(&b, &a, "late0000");
    std::fs::copy(&path, a.join(path.file_name().expect("name"))).expect("copy");
    assert_eq!(home.bring_home(&other).expect("list")[0].fate, MovedFate::Already);
    assert!(!path.exists());

    // Salvaged meanwhile from the part that was there: less than the whole one.
    let path = diverted(&b, &a, "less0000");
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(partial(&path), &bytes[..bytes.len() - 300]).expect("write");
    assert!(keeping::salvaged(&home, 1).iter().any(|r| matches!(r.fate, PartialFate::Salvaged { .. })));
    assert_eq!(home.bring_home(&other).expect("list")[0].fate, MovedFate::Moved);
    assert_eq!(std::fs::read(a.join(path.file_name().expect("name"))).expect("read"), bytes);

    // Another snapshot of that name is nobody's to replace.
    let path = diverted(&b, &a, "other000");
    std::fs::write(a.join(path.file_name().expect("name")), "something else").expect("write");
    assert!(matches!(&home.bring_home(&other).expect("list")[0].fate, MovedFate::Stays(_)));
    assert!(path.exists());
}

/// The partial of a capture that ended after its first tier, in a boot named `boot`.
fn interrupted(store: &Store, id: &str, boot: &str) -> PathBuf {
    let incident = keeping::incident(id, T);
    let pending = store.begin(&incident).expect("begin");
    let mut w = Writer::create(pending.file(), pending.top_dir()).expect("writer");
    write_entries(&mut w, &incident).expect("write");
    let collectors = keeping::head(incident).collectors.into_iter().filter(|c| c.tier == "T0").collect();
    let end = TierEnd { tier: "T0".into(), collected_ms: 80, boot_id: Some(BootId(boot.into())), collectors };
    let json = serde_json::to_vec(&end).expect("json");
    let head = EntryHead { path: &tier_entry("T0"), at: T, collector: "lastgasp", truncated: false };
    w.append(&head, &json).expect("append");
    w.sync().expect("sync");
    pending.path().to_owned()
}

#[test]
fn what_is_salvaged_says_what_the_next_start_knew_and_keeps_the_tiers_that_ended() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(dir.path().join("s")).expect("open");
    let now = keeping::now();
    let boot = now.boot_id.clone().expect("known").0;
    interrupted(&store, "down0000", "another-boot");
    interrupted(&store, "same0000", &boot);
    let results = keeping::salvaged(&store, 2);
    assert_eq!(results.len(), 2);
    for r in results {
        let PartialFate::Salvaged { path, what } = r.fate else { panic!("{r:?}") };
        assert_eq!(what.tiers, ["T0"]);
        let m = Reader::open(&path).expect("open").manifest().expect("readable").expect("there");
        let down = path.to_string_lossy().contains("down0000");
        let completed = m.completed.expect("said");
        assert_eq!(completed.machine_went_down, Some(down));
        assert_eq!((completed.boot_id, completed.booted_at), (now.boot_id.clone(), now.booted_at));
        let why = m.salvaged.expect("said");
        assert!(why.contains(if down { "the machine went down" } else { "the machine went on" }), "{why}");
        assert!(m.collectors.iter().any(|c| c.name == "tasks"), "how the collectors of T0 ended is known");
        assert_eq!(m.tiers.len(), 1);
    }
}

#[test]
fn a_file_is_salvaged_by_hand_beside_itself_and_never_over_another() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(dir.path().join("s")).expect("open");
    let partial = interrupted(&store, "hand0000", "another-boot");
    let copy = dir.path().join("copy.tar.zst.partial");
    std::fs::copy(&partial, &copy).expect("copy");
    // Behind it what a reserve leaves: zeros.
    let f = std::fs::File::options().write(true).open(&copy).expect("open");
    let bytes = f.metadata().expect("metadata").len();
    f.set_len(bytes + (1 << 20)).expect("grow");
    let run = |args: &[&str], code: i32| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_lastgasp")).args(args).output().expect("it runs");
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let copy = copy.to_str().expect("utf-8");
    let (said, _) = run(&["salvage", copy], 0);
    assert!(said.contains("T0 whole") && said.contains("0 B lost"), "{said}");
    let made = copy.strip_suffix(".partial").expect("as made above");
    assert!(Reader::open(made).expect("open").verify(CAP).ok);
    assert!(Path::new(copy).exists(), "what it was made of stays");
    assert!(run(&["salvage", copy], 2).1.contains("File exists"));
    let to = format!("{made}.again");
    let (said, _) = run(&["--format", "json", "salvage", copy, "-o", &to], 0);
    let json: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(json[0]["salvaged"]["tiers"][0], "T0");
    assert_eq!(json[0]["output"], to.as_str());
    // The whole one under its wrong name is copied as it is.
    let whole = dir.path().join("whole.tar.zst.partial");
    std::fs::copy(made, &whole).expect("copy");
    assert!(run(&["salvage", whole.to_str().expect("utf-8")], 0).0.contains("it was whole"));
    assert_eq!(std::fs::read(dir.path().join("whole.tar.zst")).expect("read"), std::fs::read(made).expect("read"));
    let junk = dir.path().join("junk.tar.zst.partial");
    std::fs::write(&junk, "nothing").expect("write");
    assert!(run(&["salvage", junk.to_str().expect("utf-8")], 3).0.contains("nothing can be saved"));
    assert!(!dir.path().join("junk.tar.zst").exists());
    assert!(run(&["salvage", "/nonexistent.partial"], 2).1.contains("No such file"));
    assert!(run(&["salvage", made], 2).1.contains("--output"));
    let now = keeping::now();
    let locked = store.begin(&keeping::incident("lock0000", Wall(T.0 + 1_000_000))).expect("begin");
    let e = salvage_file(locked.path(), &dir.path().join("x"), &now).expect_err("it is being written");
    assert!(e.to_string().contains("being written"), "{e}");
}
