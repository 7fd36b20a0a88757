//! The store: published whole or salvaged, never half-named; its modes, its limits, its reserve.

use crate::keeping::{self, T, contents, write_entries};
use lastgasp::archive::{Reader, Writer};
use lastgasp::config::StoreConfig;
use lastgasp::model::Wall;
use lastgasp::store::{self, Error, Limits, PartialFate, Pending, Store};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const CAP: u64 = 1 << 30;

fn temp() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(dir.path().join("deep/store")).expect("open");
    (dir, store)
}

/// Writes a snapshot up to, or through, its end.
fn write(store: &Store, id: &str, at: Wall, finish: bool) -> Pending {
    let incident = keeping::incident(id, at);
    let pending = store.begin(&incident).expect("begin");
    let mut w = Writer::create(pending.file(), pending.top_dir()).expect("writer");
    write_entries(&mut w, &incident).expect("write");
    if finish {
        w.finish(keeping::head(incident)).expect("finish");
    }
    pending
}

fn publish(store: &Store, id: &str, at: Wall) -> PathBuf {
    write(store, id, at, true).publish().expect("publish")
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("metadata").permissions().mode() & 0o7777
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("list")
        .map(|e| e.expect("entry").file_name().into_string().expect("utf-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_is_seen_whole_or_not_at_all_and_by_its_owner_only() {
    let (_dir, store) = temp();
    let pending = write(&store, "ab12cd34", T, true);
    assert_eq!(mode(store.dir()), 0o700);
    assert_eq!(mode(pending.path()), 0o600);
    assert!(pending.path().to_str().expect("utf-8").ends_with("-ab12cd34.tar.zst.partial"));
    assert!(store.list().expect("list")[0].partial);
    assert!(matches!(store.find(None), Err(Error::Empty { .. })));
    let path = pending.publish().expect("publish");
    assert_eq!(path, store.dir().join("web-01-20261123T005500Z-hung_task-ab12cd34.tar.zst"));
    assert_eq!(mode(&path), 0o600);
    assert!(Reader::open(&path).expect("open").verify(CAP).ok);
    let list = store.list().expect("list");
    assert_eq!((list.len(), list[0].id.0.as_str(), list[0].at, list[0].partial), (1, "ab12cd34", T, false));
    assert_eq!(list[0].bytes, path.metadata().expect("metadata").len());
    assert_eq!(mode(&store.dir().join("reserve")), 0o600);
    let leftover: Vec<String> = names(store.dir()).into_iter().filter(|n| n != "reserve").collect();
    assert_eq!(leftover, [path.file_name().expect("name").to_str().expect("utf-8")]);
}

#[test]
fn a_name_that_is_taken_is_not_overwritten() {
    let (_dir, store) = temp();
    let first = write(&store, "ab12cd34", T, true);
    assert!(store.begin(&keeping::incident("ab12cd34", T)).is_err(), "it is being written");
    let path = first.publish().expect("publish");
    let before = std::fs::read(&path).expect("read");
    assert!(store.begin(&keeping::incident("ab12cd34", T)).expect_err("taken").to_string().contains("File exists"));
    assert_eq!(std::fs::read(&path).expect("read"), before);
}

#[test]
fn a_snapshot_is_found_by_what_an_operator_types() {
    let (_dir, store) = temp();
    let one = publish(&store, "ab12cd34", T);
    let two = publish(&store, "ab99cd34", Wall(T.0 + 60_000_000));
    let found = |wanted: &str| store.find(Some(wanted)).map(|s| s.path);
    assert_eq!(store.find(None).expect("newest").path, two);
    for wanted in
        ["ab12cd34", "ab1", one.to_str().expect("utf-8"), one.file_name().expect("n").to_str().expect("utf-8")]
    {
        assert_eq!(found(wanted).expect(wanted), one);
    }
    assert_eq!(found("web-01-20261123T005500Z-hung_task-ab12cd34").expect("stem"), one);
    let error = found("ab").expect_err("two").to_string();
    assert!(error.contains("ab12cd34") && error.contains("ab99cd34"), "{error}");
    assert!(found("zz").expect_err("none").to_string().contains("lastgasp list"));
    assert!(found("/elsewhere/ab12cd34").is_err());
    assert!(found("").is_err());
    for foreign in ["notes.txt", "x.tar.zst", "web-01-20261123T005500Z-nokind-ab.tar.zst"] {
        std::fs::write(store.dir().join(foreign), "x").expect("write");
    }
    std::fs::create_dir(store.dir().join("web-01-20261123T005500Z-oops-dddddddd.tar.zst")).expect("mkdir");
    std::os::unix::fs::symlink(&one, store.dir().join("web-01-20261123T005500Z-oops-eeeeeeee.tar.zst")).expect("link");
    assert_eq!(store.list().expect("list").len(), 2);
}

#[test]
fn an_interrupted_capture_is_salvaged_once_its_writer_is_gone() {
    let (_dir, store) = temp();
    let half = write(&store, "half0000", T, false);
    assert!(store.salvage_partials(&keeping::now()).expect("salvage").is_empty(), "it is locked by its writer");
    let partial = half.path().to_owned();
    drop(half);
    let results = keeping::salvaged(&store, 1);
    assert_eq!(results.len(), 1);
    let PartialFate::Salvaged { path, what } = &results[0].fate else { panic!("{results:?}") };
    assert!(!partial.exists());
    assert_eq!(mode(path), 0o600);
    let r = Reader::open(path).expect("open");
    let report = r.verify(CAP);
    assert!(report.ok, "{:?}", report.problems);
    assert!(report.salvaged.expect("says so").contains("interrupted"));
    assert_eq!(what.entries as usize, contents().len() + 1);
    assert_eq!(r.incident().expect("incident"), keeping::incident("half0000", T));
    assert!(store.salvage_partials(&keeping::now()).expect("salvage").is_empty());
    assert_eq!(names(store.dir()).len(), 2, "the snapshot and the reserve");
}

#[test]
fn a_finished_partial_is_published_as_it_is() {
    let (_dir, store) = temp();
    let done = write(&store, "done0000", T, true);
    let bytes = std::fs::read(done.path()).expect("read");
    drop(done);
    let results = keeping::salvaged(&store, 1);
    let PartialFate::Published(path) = &results[0].fate else { panic!("{results:?}") };
    assert_eq!(std::fs::read(path).expect("read"), bytes);
}

#[test]
fn a_partial_with_nothing_whole_is_kept_under_a_name_that_says_so() {
    let (_dir, store) = temp();
    for (id, cut) in [("empty000", 0usize), ("short000", 30)] {
        let half = write(&store, id, T, false);
        let file = std::fs::File::options().write(true).open(half.path()).expect("open");
        file.set_len(cut as u64).expect("cut");
    }
    let results = keeping::salvaged(&store, 2);
    assert_eq!(results.len(), 2);
    for r in &results {
        let PartialFate::Unreadable { path, why } = &r.fate else { panic!("{r:?}") };
        assert!(path.to_str().expect("utf-8").ends_with(".unreadable") && path.exists() && !why.is_empty());
        assert!(!r.partial.exists());
    }
    let list = store.list().expect("list");
    assert!(list.len() == 2 && list.iter().all(|s| s.unreadable && !s.is_snapshot()));
    let harsh = Limits { max_count: 0, max_bytes: 0, max_age_s: 0, min_free_bytes: u64::MAX };
    assert!(store.clone().with_limits(harsh).prune(Wall(i64::MAX), false).expect("prune").is_empty());
}

#[test]
fn a_dead_partial_gives_its_name_to_the_next_attempt_and_is_salvaged_beside_it() {
    let (_dir, store) = temp();
    drop(write(&store, "ab12cd34", T, false));
    drop(write(&store, "ab12cd34", T, false));
    let path = write(&store, "ab12cd34", T, true).publish().expect("publish");
    assert!(Reader::open(&path).expect("open").verify(CAP).ok);
    let results = keeping::salvaged(&store, 2);
    assert!(results.iter().all(|r| matches!(r.fate, PartialFate::Salvaged { .. })), "{results:?}");
    let mut ids: Vec<String> = store.list().expect("list").into_iter().map(|s| s.id.0).collect();
    ids.sort();
    assert_eq!(ids, ["ab12cd34", "ab12cd34a", "ab12cd34b"]);
    assert_eq!(store.find(Some("ab12cd34")).expect("find").path, path);
}

#[test]
fn a_salvage_that_was_itself_interrupted_is_taken_up_again() {
    let (_dir, store) = temp();
    let half = write(&store, "half0000", T, false);
    let partial = half.path().to_owned();
    drop(half);
    // Before the rename: a work file lies about.
    std::fs::write(partial.with_extension("partial.salvage"), "half a salvage").expect("write");
    let copy = std::fs::read(&partial).expect("read");
    let results = keeping::salvaged(&store, 1);
    let PartialFate::Salvaged { path, .. } = &results[0].fate else { panic!("{results:?}") };
    // After the rename, before the partial was removed.
    std::fs::write(&partial, copy).expect("write");
    let before = std::fs::read(path).expect("read");
    let results = keeping::salvaged(&store, 1);
    assert!(matches!(&results[0].fate, PartialFate::Published(p) if p == path), "{results:?}");
    assert_eq!(std::fs::read(path).expect("read"), before);
    assert!(!partial.exists());
}

#[test]
fn prune_removes_the_oldest_but_neither_the_newest_nor_a_pinned_one() {
    let (_dir, store) = temp();
    let store = store.with_limits(Limits { max_count: 2, min_free_bytes: 0, ..Limits::default() });
    let paths: Vec<PathBuf> =
        (0..4).map(|n| publish(&store, &format!("id00000{n}"), Wall(T.0 + n * 1_000_000))).collect();
    store.pin(&store.find(Some("id000000")).expect("find"), true).expect("pin");
    assert!(store.find(Some("id000000")).expect("find").pinned);
    let now = Wall(T.0 + 60_000_000);
    assert_eq!(store.prune(now, true).expect("plan").len(), 2);
    assert_eq!(store.list().expect("list").len(), 4, "a dry run removes nothing");
    let gone: Vec<PathBuf> = store.prune(now, false).expect("prune").into_iter().map(|r| r.path).collect();
    assert_eq!(gone, &paths[1..3]);
    assert!(paths[0].exists() && paths[3].exists() && !paths[1].exists() && !paths[2].exists());
    store.pin(&store.find(Some("id000000")).expect("find"), false).expect("unpin");
    // Without a gap longer than the age, which an unsteered clock may have made.
    let day = 86_400 * 1_000_000;
    let last = publish(&store, "id000009", Wall(T.0 + 60 * day));
    assert_eq!(store.prune(Wall(T.0 + 91 * day), false).expect("prune").len(), 2);
    assert_eq!(store.find(None).expect("the newest stays").path, last);
}

#[test]
fn a_store_that_others_can_write_to_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (bits, word) in [(0o777, "everyone"), (0o1777, "everyone"), (0o770, "its group")] {
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(bits)).expect("chmod");
        let error = Store::open(dir.path()).expect_err("unsafe").to_string();
        assert!(error.contains(word) && error.contains("chmod 0700"), "{error}");
        assert!(Store::view(dir.path()).is_ok(), "reading is no risk");
    }
    if nix::unistd::geteuid().is_root() {
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).expect("chmod");
        std::os::unix::fs::chown(dir.path(), Some(12345), None).expect("chown");
        let error = Store::open(dir.path()).expect_err("not ours").to_string();
        assert!(error.contains("12345"), "{error}");
    } else {
        eprintln!("skipped: a directory of another user can be made by root only");
    }
}

#[test]
fn a_place_that_cannot_be_written_to_is_passed_over_with_its_reason() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("write");
    let good = dir.path().join("good");
    let config = StoreConfig { dirs: vec![file.join("below"), file.clone(), good.clone()], ..StoreConfig::default() };
    let (store, notices) = store::open_first(&config, None).expect("the third");
    assert_eq!(store.dir(), good);
    assert!(notices[0].contains("file/below") && notices[1].contains("snapshots go to"), "{notices:?}");
    let error = store::open_first(&config, Some(&file)).expect_err("a file").to_string();
    assert!(error.contains("no store to write to") && error.contains("Not a directory"), "{error}");
    // sysfs takes no files from anybody, root included.
    let error = Store::open("/sys/kernel").expect_err("sysfs");
    assert!(error.to_string().contains("/sys/kernel"), "{error}");
    let (_, notices) = store::open_first(&config, Some(&good)).expect("open");
    assert!(notices.iter().all(|n| n.contains("in memory") || n.contains("reserve")), "{notices:?}");
}

#[test]
fn a_read_only_directory_is_refused_for_writing_and_good_for_reading() {
    if nix::unistd::geteuid().is_root() {
        eprintln!("skipped: root may write to a directory of mode 0500; see a_disk_that_went_read_only…");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o500)).expect("chmod");
    let error = store::open_first(&StoreConfig::default(), Some(dir.path())).expect_err("read-only").to_string();
    assert!(error.contains("run as root") || error.contains("--store"), "{error}");
    assert!(Store::view(dir.path()).expect("view").list().expect("list").is_empty());
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).expect("chmod");
}

#[test]
fn a_store_in_memory_says_so() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: there is no /dev/shm");
        return;
    };
    let store = Store::open(dir.path()).expect("open");
    if !store.is_memory_backed() {
        eprintln!("skipped: /dev/shm is no tmpfs here");
        return;
    }
    assert!(store.notices()[0].contains("lost at a reboot"), "{:?}", store.notices());
    assert!(!dir.path().join("reserve").exists(), "a reserve in memory would only take memory");
}

#[test]
fn the_writer_of_a_partial_may_die_at_any_moment_of_a_capture() {
    // The lock is a flock of the open file: it goes with the process, however that ends. A second
    // open file description stands for the dead process's absence.
    let (_dir, store) = temp();
    let pending = write(&store, "ab12cd34", T, false);
    let file = pending.file();
    drop(pending);
    assert!(
        store.salvage_partials(&keeping::now()).expect("salvage").is_empty(),
        "the writer's copy still holds the lock"
    );
    drop(file);
    assert_eq!(keeping::salvaged(&store, 1).len(), 1);
}

/// The process that `a_killed_capture_is_salvaged_by_the_next_start` kills: writes half a snapshot and waits.
#[test]
#[ignore = "a part of a_killed_capture_is_salvaged_by_the_next_start"]
fn half_a_capture() {
    let Some(dir) = std::env::var_os("LASTGASP_TEST_STORE") else { return };
    let pending = write(&Store::open(dir).expect("open"), "kill0000", T, false);
    println!("ready {}", pending.path().display());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("read");
}

#[test]
fn a_killed_capture_is_salvaged_by_the_next_start() {
    use std::io::BufRead;
    use std::process::{Command, Stdio};
    let (_dir, store) = temp();
    let mut child = Command::new(std::env::current_exe().expect("our own path"))
        .args(["--ignored", "--exact", "store::half_a_capture", "--nocapture"])
        .env("LASTGASP_TEST_STORE", store.dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let out = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let said = out.lines().map(|l| l.expect("utf-8")).find(|l| l.contains("ready "));
    assert!(said.is_some(), "it ended early");
    assert!(store.salvage_partials(&keeping::now()).expect("salvage").is_empty(), "it is being written");
    child.kill().expect("SIGKILL");
    child.wait().expect("reaped");
    let results = keeping::salvaged(&store, 1);
    let [PartialFate::Salvaged { path, what }] = &results.iter().map(|r| r.fate.clone()).collect::<Vec<_>>()[..] else {
        panic!("{results:?}")
    };
    assert!(Reader::open(path).expect("open").verify(CAP).ok);
    // What was synced or flushed is there: the entries after the last flush were not out yet.
    assert!(what.entries as usize >= 1 + contents().len() - 1, "{what:?}");
}

/// Runs `test` with a tmpfs of `bytes` at `dir`, in a mount namespace of its thread alone.
fn on_small_disk(bytes: usize, test: impl FnOnce(&Path) + Send) {
    use nix::mount::{MsFlags, mount};
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can mount a small disk");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::thread::scope(|s| {
        s.spawn(|| {
            if let Err(e) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS) {
                eprintln!("skipped: no mount namespace here: {e}");
                return;
            }
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
            let size = format!("size={bytes},mode=0700");
            mount(Some("small"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).expect("mount");
            test(dir.path());
        });
    });
}

/// Fills the disk to the last page.
fn fill(dir: &Path, name: &str) {
    use std::io::Write;
    let mut f = std::fs::File::create(dir.join(name)).expect("create");
    while f.write(&[1u8; 4096]).is_ok_and(|n| n > 0) {}
}

#[test]
fn a_full_disk_costs_the_reserve_and_not_the_snapshot() {
    on_small_disk(4 << 20, |dir| {
        let store = Store::open(dir).expect("open");
        // In memory there is no reserve of its own making: one by hand.
        std::fs::write(dir.join("reserve"), vec![1u8; 1 << 20]).expect("write");
        fill(dir, "junk");
        let incident = keeping::incident("full0000", T);
        let pending = store.begin(&incident).expect("begin");
        let mut w = Writer::create(pending.file(), pending.top_dir()).expect("writer");
        write_entries(&mut w, &incident).expect("the reserve makes room");
        w.finish(keeping::head(incident.clone())).expect("finish");
        let path = pending.publish().expect("publish");
        assert!(Reader::open(&path).expect("open").verify(CAP).ok);
        assert!(!dir.join("reserve").exists());
        // Once more, with nothing left to give up: an error, and what was written is salvaged later.
        fill(dir, "more");
        let e = Store::open(dir).expect_err("full").to_string();
        assert!(e.contains("No space left"), "{e}");
        let incident = keeping::incident("full0001", T);
        let pending = store.begin(&incident).expect("a name costs no page");
        let mut w = Writer::create(pending.file(), pending.top_dir()).expect("writer");
        assert!(write_entries(&mut w, &incident).expect_err("full").is_no_space());
        drop((w, pending));
        assert!(matches!(
            store.salvage_partials(&keeping::now()).expect("salvage")[0].fate,
            PartialFate::Unreadable { .. }
        ));
        // A full store with a reserve can be opened, and keeps the reserve for the snapshot.
        std::fs::remove_file(dir.join("more")).expect("remove");
        std::fs::write(dir.join("reserve"), vec![1u8; 1 << 17]).expect("write");
        fill(dir, "more");
        let store = Store::open(dir).expect("open");
        assert!(
            store.notices().iter().any(|n| n.contains("its reserve is kept for the next snapshot")),
            "{:?}",
            store.notices()
        );
    });
}

#[test]
fn a_disk_that_went_read_only_is_passed_over_and_still_read() {
    use nix::mount::{MsFlags, mount};
    on_small_disk(4 << 20, |dir| {
        let store = Store::open(dir).expect("open");
        let path = publish(&store, "ab12cd34", T);
        let none = None::<&str>;
        mount(none, dir, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).expect("remount");
        let error = store::open_first(&StoreConfig::default(), Some(dir)).expect_err("read-only").to_string();
        assert!(error.contains("Read-only file system") && error.contains("remount it writable"), "{error}");
        assert!(store.begin(&keeping::incident("ef56gh78", T)).is_err());
        assert_eq!(Store::view(dir).expect("view").find(None).expect("find").path, path);
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        let dirs = vec![dir.to_owned(), elsewhere.path().to_owned()];
        let (store, notices) = store::open_first(&StoreConfig { dirs, ..StoreConfig::default() }, None).expect("next");
        assert_eq!(store.dir(), elsewhere.path());
        assert!(notices[0].contains("Read-only file system"), "{notices:?}");
    });
}

#[test]
fn litter_of_dead_processes_is_swept_but_only_when_it_is_old() {
    let (_dir, store) = temp();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let newborn = "web-01-20261123T005500Z-oops-aaaaaaaa.tar.zst.partial.new";
    for (name, is_old) in [(newborn, true), (".write-test-1", true), (".write-test-2", false), ("notes.new", true)] {
        let f = std::fs::File::create(store.dir().join(name)).expect("create");
        if is_old {
            f.set_modified(old).expect("touch");
        }
    }
    assert!(store.salvage_partials(&keeping::now()).expect("salvage").is_empty());
    assert_eq!(names(store.dir()), [".write-test-2", "notes.new", "reserve"]);
}
