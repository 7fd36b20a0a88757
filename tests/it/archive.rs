//! The snapshot format: what is written reads back, with our reader and with tar; what is damaged,
//! cut, foreign or hostile is called by its name and read as far as it goes.

use crate::keeping::{self, T, contents, write_entries};
use lastgasp::archive::{Error, Reader, Writer};
use std::fs::File;

use std::path::PathBuf;
use std::process::Command;

const CAP: u64 = 1 << 30;
const TOP: &str = "web-01-20261123T005500Z-hung_task-ab12cd34";

/// A finished snapshot in a new directory.
fn snapshot() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(format!("{TOP}.tar.zst"));
    let incident = keeping::incident("ab12cd34", T);
    let mut w = Writer::create(File::create(&path).expect("create"), TOP).expect("writer");
    write_entries(&mut w, &incident).expect("write");
    let done = w.finish(keeping::head(incident)).expect("finish");
    assert_eq!(done.bytes, std::fs::metadata(&path).expect("metadata").len());
    assert_eq!(done.entries as usize, contents().len() + 2);
    (dir, path)
}

fn tools(names: &[&str]) -> bool {
    let all = names.iter().all(|n| Command::new(n).arg("--version").output().is_ok());
    if !all {
        eprintln!("skipped: {names:?} are not all installed");
    }
    all
}

#[test]
fn what_is_written_reads_back() {
    let (_dir, path) = snapshot();
    let r = Reader::open(&path).expect("open");
    assert_eq!(r.top_dir(), Some(TOP));
    assert_eq!(r.incident().expect("incident"), keeping::incident("ab12cd34", T));
    let m = r.manifest().expect("manifest").expect("is there");
    assert_eq!(m.clone().into_head(), keeping::head(keeping::incident("ab12cd34", T)));
    assert_eq!(m.entries[0].path, "incident.json");
    for ((path, bytes), meta) in contents().iter().zip(&m.entries[1..]) {
        assert_eq!(&meta.path, path);
        assert_eq!(meta.collector.as_deref(), Some("tasks"));
        assert_eq!(&r.read(path, CAP).expect("read"), bytes);
    }
    assert!(matches!(r.read("proc/none", CAP), Err(Error::NoEntry { .. })));
    assert!(matches!(r.read("proc/meminfo", 10), Err(Error::TooLarge { size: 700, cap: 10, .. })));
    assert!(r.read("manifest.json", CAP).is_ok());
    let report = r.verify(CAP);
    assert!(report.ok, "{:?}", report.problems);
    assert_eq!((report.readable, report.expected), (10, Some(10)));
}

#[test]
fn gnu_tar_unpacks_it() {
    if !tools(&["tar", "zstd"]) {
        return;
    }
    let (dir, path) = snapshot();
    let out = Command::new("tar").arg("--zstd").arg("-xvf").arg(&path).arg("-C").arg(dir.path()).output().expect("tar");
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    for (path, bytes) in contents() {
        let at = dir.path().join(TOP).join(path);
        assert_eq!(std::fs::read(&at).expect("unpacked"), bytes);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(at.metadata().expect("metadata").permissions().mode() & 0o7777, 0o600);
    }
    assert!(Command::new("zstd").arg("-tq").arg(&path).status().expect("zstd").success());
}
