//! The snapshot format: what is written reads back, with our reader and with tar; what is damaged,
//! cut, foreign or hostile is called by its name and read as far as it goes.

use crate::keeping::{self, T, contents, write_entries};
use lastgasp::archive::{self, EntryHead, Error, Reader, SyncData, Writer};
use lastgasp::model::Wall;
use proptest::prelude::*;
use std::fs::File;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
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

/// Written by the first version of the format; it must be readable for ever.
#[test]
fn a_snapshot_of_format_1_is_read() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/archive");
    let r = Reader::open(dir.join(format!("{TOP}.tar.zst"))).expect("open");
    assert!(r.verify(CAP).ok, "{:?}", r.verify(CAP).problems);
    let m = r.manifest().expect("manifest").expect("is there");
    assert_eq!((m.format, m.incident.id.0.as_str(), m.collectors.len(), m.entries.len()), (1, "ab12cd34", 2, 9));
    assert_eq!(r.incident().expect("incident").title, "hung task in nfs_wait_bit_killable");
    assert_eq!(r.read("proc/meminfo", CAP).expect("read").len(), 700);
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

/// A scratch file without a disk behind it, where there is /dev/shm: some tests write thousands.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory")
}

/// Where each frame ends, by an own reading of the seek table.
fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let u32_at = |i: usize| u32::from_le_bytes(bytes[i..i + 4].try_into().expect("four bytes")) as usize;
    let n = u32_at(bytes.len() - 9);
    let table = bytes.len() - 9 - n * 8;
    let ends = (0..n).scan(0, |at, i| {
        *at += u32_at(table + i * 8);
        Some(*at)
    });
    ends.collect()
}

#[test]
fn a_cut_anywhere_costs_only_the_frame_it_hits() {
    let (_dir, path) = snapshot();
    let bytes = std::fs::read(&path).expect("read");
    let ends = frame_ends(&bytes);
    let all = Reader::open(&path).expect("open").manifest().expect("manifest").expect("is there").entries;
    let dir = scratch();
    let (part, saved) = (dir.path().join("part"), dir.path().join("saved.tar.zst"));
    let mut nothing = 0;
    for cut in 0..bytes.len() {
        std::fs::write(&part, &bytes[..cut]).expect("write");
        let mut out = File::options().read(true).write(true).create(true).truncate(true).open(&saved).expect("open");
        let whole = ends.iter().filter(|e| **e <= cut).count();
        match archive::salvage(&part, &mut out, "cut by a test") {
            Err(Error::NothingWhole { .. } | Error::Foreign { .. }) if whole == 0 => nothing += 1,
            Err(e) => panic!("cut at {cut}: {e}"),
            Ok(salvaged) => {
                let r = Reader::open(&saved).expect("open");
                let report = r.verify(CAP);
                assert!(report.ok, "cut at {cut}: {:?}", report.problems);
                assert!(report.salvaged.is_some_and(|s| s.contains("cut by a test")));
                let got: Vec<String> = r.entries().into_iter().map(|e| e.path).collect();
                assert_eq!(got.len() as u64, salvaged.entries);
                let want: Vec<&str> =
                    all.iter().filter(|e| (e.frame as usize) < whole).map(|e| e.path.as_str()).collect();
                assert!(got.len() >= want.len() && want.iter().zip(&got).all(|(a, b)| a == b), "cut at {cut}: {got:?}");
                // The costly half of the judgement at every frame's edge and now and then between.
                if cut % 32 != 0 && ends.iter().all(|e| e.abs_diff(cut) > 1) {
                    continue;
                }
                for (path, content) in contents() {
                    if got.contains(&path) {
                        assert_eq!(r.read(&path, CAP).expect("read"), content);
                    }
                }
                // The cut file itself is also read as far as it goes, and said to be cut.
                let r = Reader::open(&part).expect("open");
                let report = r.verify(CAP);
                assert!(!report.ok && report.readable >= want.len() as u64, "cut at {cut}: {:?}", report.problems);
                assert!(r.entries().len() >= want.len());
            }
        }
    }
    // Without the frame's checksum, its last four bytes, incident.json is whole but unchecked: it is kept.
    assert_eq!(nothing, ends[0] - 4);
}

#[test]
fn what_a_cut_manifest_knew_is_not_forgotten_when_only_the_seek_table_is_lost() {
    let (dir, path) = snapshot();
    let bytes = std::fs::read(&path).expect("read");
    let end = *frame_ends(&bytes).last().expect("frames");
    let part = dir.path().join("part");
    std::fs::write(&part, &bytes[..end]).expect("write");
    let saved = dir.path().join("saved.tar.zst");
    let mut out = File::options().read(true).write(true).create_new(true).open(&saved).expect("open");
    archive::salvage(&part, &mut out, "why").expect("salvage");
    let m = Reader::open(&saved).expect("open").manifest().expect("manifest").expect("is there");
    assert_eq!(m.collectors, keeping::head(keeping::incident("ab12cd34", T)).collectors);
    assert_eq!(m.entries[1].collector.as_deref(), Some("tasks"));
    assert!(m.salvaged.is_some());
}

#[test]
fn tar_lists_what_was_salvaged_in_the_middle_of_an_entry() {
    if !tools(&["tar", "zstd"]) {
        return;
    }
    // Noise, so that the entry being written fills several zstd blocks; never finished.
    let dir = scratch();
    let part = dir.path().join("part");
    let incident = keeping::incident("ab12cd34", T);
    let mut w = Writer::create(File::create(&part).expect("create"), TOP).expect("writer");
    write_entries(&mut w, &incident).expect("write");
    for n in 0..3 {
        let head = EntryHead { path: "var/log/kern.log", at: T, collector: "logs", truncated: false };
        w.append(&head, &noise(n, 300_000)).expect("append");
    }
    drop(w);
    let saved = dir.path().join("saved.tar.zst");
    let mut out = File::options().read(true).write(true).create_new(true).open(&saved).expect("open");
    let done = archive::salvage(&part, &mut out, "killed").expect("salvage");
    let r = Reader::open(&saved).expect("open");
    assert!(r.verify(CAP).ok);
    // Of three logs of 300,000 bytes the blocks of the first two were out already.
    assert_eq!(done.entries as usize, contents().len() + 3, "{}", done.note);
    assert_eq!(r.read("var/log/kern.log.1", CAP).expect("read"), noise(1, 300_000));
    let out = Command::new("tar").arg("--zstd").arg("-tf").arg(&saved).output().expect("tar");
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count() as u64, done.entries + 1);
}

#[test]
fn what_is_salvaged_has_each_name_once() {
    let (dir, path) = snapshot();
    let bytes = std::fs::read(&path).expect("read");
    let ends = frame_ends(&bytes);
    let part = dir.path().join("part");
    // No writer of ours makes one frame twice; whoever damages a file may.
    let twice = [&bytes[..ends[1]], &bytes[ends[0]..ends[1]], &bytes[ends[1]..]].concat();
    std::fs::write(&part, twice).expect("write");
    let saved = dir.path().join("saved.tar.zst");
    let mut out = File::options().read(true).write(true).create_new(true).open(&saved).expect("open");
    archive::salvage(&part, &mut out, "why").expect("salvage");
    let r = Reader::open(&saved).expect("open");
    let report = r.verify(CAP);
    assert!(report.ok, "{:?}", report.problems);
    let paths: Vec<String> = r.entries().into_iter().map(|e| e.path).collect();
    let first = &contents()[0].0;
    assert!(paths.contains(first) && paths.contains(&format!("{first}.1")), "{paths:?}");
}

#[test]
fn a_directory_of_a_name_that_is_not_ours_is_renamed_and_nothing_lost() {
    let (dir, path) = snapshot();
    let bytes = std::fs::read(&path).expect("read");
    let ends = frame_ends(&bytes);
    let mut tar = zstd::decode_all(&bytes[..ends[0]]).expect("the frame of incident.json");
    // A bell in the name of the directory, and the header's checksum anew (POSIX ustar: the sum of its bytes with blanks
    // in the field of the checksum).
    tar[3] = 7;
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|b| u32::from(*b)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let part = dir.path().join("part");
    std::fs::write(&part, zstd::encode_all(&tar[..], 1).expect("zstd")).expect("write");
    let saved = dir.path().join("saved.tar.zst");
    let mut out = File::options().read(true).write(true).create_new(true).open(&saved).expect("open");
    let done = archive::salvage(&part, &mut out, "why").expect("salvage");
    let r = Reader::open(&saved).expect("open");
    let report = r.verify(CAP);
    assert!(report.ok && done.entries == 1, "{:?}", report.problems);
    assert_eq!(r.top_dir(), Some(TOP.replacen('-', "_", 1).as_str()));
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut x = seed + 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Opens and checks a damaged copy: no panic, and whatever is said to be right is right.
fn judge(path: &Path) {
    let Ok(r) = Reader::open(path) else { return };
    let report = r.verify(CAP);
    let _ = (r.incident(), r.manifest(), r.cut());
    for (path, content) in contents() {
        if let Ok(got) = r.read(&path, CAP) {
            // Without a manifest there is only the frame's checksum, which read may not reach.
            assert!(got == content || (!report.ok && r.manifest().ok().flatten().is_none()), "{path}");
        }
    }
    if report.ok {
        assert_eq!(report.readable as usize, contents().len() + 2);
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (_dir, path) = snapshot();
    let bytes = std::fs::read(&path).expect("read");
    let dir = scratch();
    let damaged = dir.path().join("damaged");
    let plain = zstd::decode_all(&bytes[..]).expect("decompress");
    let mut harmless = 0;
    for i in 0..bytes.len() {
        let mut copy = bytes.clone();
        copy[i] ^= 1 << (i % 8);
        std::fs::write(&damaged, &copy).expect("write");
        if i % 16 == 0 {
            judge(&damaged);
        }
        if Reader::open(&damaged).is_ok_and(|r| r.verify(CAP).ok) {
            // Some bits of zstd's headers and entropy tables have no meaning; content never differs.
            assert_eq!(zstd::decode_all(&copy[..]).ok().as_ref(), Some(&plain), "byte {i} of {}", bytes.len());
            harmless += 1;
        }
    }
    assert!(harmless < bytes.len() / 20, "{harmless} of {} flips were not seen", bytes.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_makes_a_reader_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        junk in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (_dir, path) = snapshot();
        let mut bytes = std::fs::read(&path).expect("read");
        for (at, with) in flips {
            let i = at.index(bytes.len());
            bytes[i] = with;
        }
        bytes.truncate(cut.index(2 * bytes.len()).max(1));
        bytes.extend(junk);
        let dir = scratch();
        let damaged = dir.path().join("damaged");
        std::fs::write(&damaged, &bytes).expect("write");
        judge(&damaged);
        let saved = dir.path().join("saved");
        let mut out = File::create(&saved).expect("create");
        if archive::salvage(&damaged, &mut out, "why").is_ok() {
            let report = Reader::open(&saved).expect("open").verify(CAP);
            prop_assert!(report.ok, "{:?}", report.problems);
        }
        if let Ok(r) = Reader::open(&damaged) {
            let _ = r.extract(&dir.path().join("x"), &|_| true, CAP);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), zstd: bool) {
        if zstd {
            bytes.splice(0..0, [0x28, 0xB5, 0x2F, 0xFD]);
        }
        let dir = scratch();
        let path = dir.path().join("f");
        std::fs::write(&path, &bytes).expect("write");
        judge(&path);
    }
}

#[test]
fn what_is_no_snapshot_is_called_by_its_name() {
    let dir = scratch();
    let say = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        match Reader::open(&path) {
            Err(e) => e.to_string(),
            Ok(r) => r.incident().expect_err("no incident").to_string(),
        }
    };
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    tar.append_data(&mut header, "a/b", &b"hi"[..]).expect("append");
    let tar = tar.into_inner().expect("finish");
    let zst = |b: &[u8]| zstd::encode_all(b, 3).expect("compress");
    assert!(say("empty", b"").contains("an empty file"));
    assert!(say("gz", &[0x1f, 0x8b, 8, 0]).contains("gzip"));
    assert!(say("tar", &tar).contains("uncompressed tar"));
    assert!(say("text", b"hello world").contains("unknown type"));
    assert!(say("zeros", &[0; 4096]).contains("power cut"));
    assert!(say("text.zst", &zst(&[b'x'; 4000])).contains("holds no tar archive"));
    assert!(say("other.tar.zst", &zst(&tar)).contains("without incident.json"));
    assert!(Reader::open(dir.path()).expect_err("a directory").to_string().contains("a directory"));
    assert!(Reader::open(dir.path().join("none")).expect_err("nothing").to_string().contains("No such file"));
}

#[test]
fn a_foreign_archive_is_shown_and_unpacked_as_far_as_it_goes() {
    let dir = scratch();
    let path = dir.path().join("sosreport-h.tar.zst");
    let mut builder = tar::Builder::new(Vec::new());
    for n in 0..20 {
        let mut header = tar::Header::new_gnu();
        header.set_size(5000);
        builder.append_data(&mut header, format!("sosreport-h/proc/{n}"), &noise(n, 5000)[..]).expect("append");
    }
    let bytes = zstd::encode_all(&builder.into_inner().expect("finish")[..], 3).expect("compress");
    std::fs::write(&path, &bytes).expect("write");
    let r = Reader::open(&path).expect("open");
    assert_eq!((r.top_dir(), r.entries().len()), (None, 20));
    assert_eq!(r.read("sosreport-h/proc/7", CAP).expect("read"), noise(7, 5000));
    let report = r.verify(CAP);
    assert!(!report.ok && report.readable == 20 && report.problems[0].why.contains("not made by lastgasp"));
    let done = r.extract(&dir.path().join("out"), &|_| true, CAP).expect("extract");
    assert_eq!((done.files, done.refused.len(), done.damaged.len()), (20, 0, 0));
    // In two zstd frames that do not care for entries, and cut.
    let half = bytes.len() / 2;
    let plain = zstd::decode_all(&bytes[..]).expect("decompress");
    let mut two = zstd::encode_all(&plain[..50_700], 3).expect("compress");
    two.extend(zstd::encode_all(&plain[50_700..], 3).expect("compress"));
    std::fs::write(&path, &two).expect("write");
    assert_eq!(Reader::open(&path).expect("open").entries().len(), 20);
    std::fs::write(&path, &bytes[..half]).expect("write");
    // Noise is stored in blocks of 128 KiB: the first of it is not whole, so nothing may be readable.
    let r = Reader::open(&path).expect("open");
    assert!(!r.verify(CAP).ok);
}

/// One raw entry, with a name that no decent tar would write.
fn hostile(out: &mut Vec<u8>, name: &str, kind: tar::EntryType, link: &str, body: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().expect("gnu").name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().expect("gnu").linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o4777);
    header.set_size(body.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(512), 0);
}

#[test]
fn nothing_leaves_the_directory_it_is_unpacked_in() {
    use tar::EntryType as E;
    let dir = scratch();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).expect("mkdir");
    std::fs::write(dir.path().join("victim"), "before").expect("write");
    let target = dir.path().join("out");
    std::fs::create_dir(&target).expect("mkdir");
    // What somebody may have prepared in the target.
    std::os::unix::fs::symlink(&outside, target.join("there")).expect("symlink");
    std::os::unix::fs::symlink(dir.path().join("victim"), target.join("file")).expect("symlink");
    std::fs::write(target.join("old"), "before").expect("write");
    let mut tar = Vec::new();
    hostile(&mut tar, "./", E::Directory, "", b"");
    hostile(&mut tar, "../evil", E::Regular, "", b"x");
    hostile(&mut tar, "a/../../evil", E::Regular, "", b"x");
    hostile(&mut tar, outside.join("evil").to_str().expect("utf-8"), E::Regular, "", b"x");
    hostile(&mut tar, "link", E::Symlink, outside.to_str().expect("utf-8"), b"");
    hostile(&mut tar, "link/evil", E::Regular, "", b"x");
    hostile(&mut tar, "hard", E::Link, "../victim", b"");
    hostile(&mut tar, "dev", E::Char, "", b"");
    hostile(&mut tar, "pipe", E::Fifo, "", b"");
    hostile(&mut tar, "there/evil", E::Regular, "", b"x");
    hostile(&mut tar, "file", E::Regular, "", b"x");
    hostile(&mut tar, "old", E::Regular, "", b"x");
    hostile(&mut tar, "good/file", E::Regular, "", b"good");
    hostile(&mut tar, "good/file", E::Regular, "", b"again");
    hostile(&mut tar, "good/file/below", E::Regular, "", b"x");
    tar.extend([0; 1024]);
    let path = dir.path().join("evil.tar.zst");
    std::fs::write(&path, zstd::encode_all(&tar[..], 3).expect("compress")).expect("write");
    let r = Reader::open(&path).expect("open");
    let done = r.extract(&target, &|_| true, CAP).expect("extract");
    let refused: Vec<String> = done.refused.iter().map(|p| p.to_string()).collect();
    assert_eq!((done.files, refused.len(), done.damaged.len()), (2, 12, 0), "{refused:#?}");
    assert_eq!(std::fs::read(target.join("good/file")).expect("read"), b"good");
    // `link` was not made as a link, so a directory of that name is harmless.
    assert!(target.join("link").symlink_metadata().expect("metadata").is_dir());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(target.join("good/file").metadata().expect("metadata").permissions().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::read_dir(&outside).expect("list").count(), 0);
    assert!(!dir.path().join("evil").exists());
    assert_eq!(std::fs::read(dir.path().join("victim")).expect("read"), b"before");
    assert_eq!(std::fs::read(target.join("old")).expect("read"), b"before");
}

#[test]
fn bombs_are_not_let_off() {
    let dir = scratch();
    let path = dir.path().join("bomb.tar.zst");
    let mut tar = Vec::new();
    hostile(&mut tar, "small", tar::EntryType::Regular, "", b"x");
    // Says 512 MiB, is zeros.
    let mut header = tar::Header::new_gnu();
    header.set_path("big").expect("short");
    header.set_size(512 << 20);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    let mut z = zstd::Encoder::new(File::create(&path).expect("create"), 3).expect("encoder");
    z.write_all(&tar).expect("write");
    for _ in 0..64 {
        z.write_all(&vec![0u8; 1 << 20]).expect("write");
    }
    z.finish().expect("finish");
    assert!(path.metadata().expect("metadata").len() < 100_000);
    let r = Reader::open(&path).expect("open");
    let done = r.extract(&dir.path().join("out"), &|_| true, 4 << 20).expect("extract");
    assert!(done.bytes <= 4 << 20 && done.damaged.iter().any(|p| p.why.contains("limit")), "{:?}", done.damaged);
    assert_eq!(done.files, 2, "the small one, and the start of the big one");
    assert!(matches!(r.read("big", 1 << 20), Err(Error::TooLarge { .. })));
    assert!(!r.verify(4 << 20).ok);
}

/// A disk with room for so many bytes.
struct Small {
    room: usize,
    kept: Vec<u8>,
}

impl Write for Small {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::Error::from_raw_os_error(28));
        }
        let n = buf.len().min(self.room);
        self.room -= n;
        self.kept.extend_from_slice(&buf[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SyncData for &mut Small {
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_at_any_byte_ends_in_an_error_and_a_salvageable_file() {
    let incident = keeping::incident("ab12cd34", T);
    let dir = scratch();
    let part = dir.path().join("part");
    let mut room = 0;
    loop {
        let mut disk = Small { room, kept: Vec::new() };
        let mut w = Writer::create(&mut disk, TOP).expect("writer");
        let written = write_entries(&mut w, &incident);
        if let Err(e) = &written {
            assert!(e.is_no_space(), "{e}");
            assert!(matches!(w.sync(), Err(Error::Broken)));
        }
        let done = w.finish(keeping::head(incident.clone()));
        std::fs::write(&part, &disk.kept).expect("write");
        if done.is_ok() {
            assert!(Reader::open(&part).expect("open").verify(CAP).ok);
            break;
        }
        if let Ok(r) = Reader::open(&part) {
            assert!(!r.verify(CAP).ok);
        }
        room += 17;
    }
}

#[test]
fn names_and_caps_are_kept_in_bounds() {
    let dir = scratch();
    let path = dir.path().join("x.tar.zst");
    let mut w = Writer::create(File::create(&path).expect("create"), TOP).expect("writer");
    let incident = keeping::incident("ab12cd34", Wall(-5_000_000));
    w.append_incident(&incident).expect("append");
    for name in ["manifest.json", "../../etc/shadow", "/proc/1/stat", "proc/1/stat", "a\nb", "incident.json", ""] {
        let head = EntryHead { path: name, at: Wall(i64::MAX), collector: "c", truncated: false };
        w.append(&head, name.as_bytes()).expect("append");
    }
    w.finish(keeping::head(incident)).expect("finish");
    let r = Reader::open(&path).expect("open");
    assert!(r.verify(CAP).ok, "{:?}", r.verify(CAP).problems);
    let names: Vec<String> = r.entries().into_iter().map(|e| e.path).collect();
    let want = [
        "incident.json",
        "manifest.json.1",
        "__/__/etc/shadow",
        "proc/1/stat",
        "proc/1/stat.1",
        "a_b",
        "incident.json.1",
        "unnamed",
    ];
    assert_eq!(names, want);
    let done = r.extract(&dir.path().join("out"), &|p| p.starts_with("proc/"), CAP).expect("extract");
    assert_eq!((done.files, done.bytes), (2, 23));
    assert_eq!(done.dir, dir.path().join("out").join(TOP));
}
