//! Any file as a snapshot: opened, listed, read, verified, unpacked, salvaged.
//!
//! Three bytes say what is made of the rest, because the checksums of zstd and tar would stop almost every mutation at
//! the door: how (low two bits: as it is; as a tar stream to be packed; as entries of a tar), 0x40: with a seek table,
//! 0x80: unpack it too; where frames begin; how much is cut off its end. Entries are divided by 0xff: a type,
//! a name, a line end, the content.

#![no_main]

use lastgasp::archive::{Reader, salvage};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Most bytes unpacked by one call: what bounds a file that claims to be terabytes.
const LIMIT: u64 = 16 << 20;
const PROBLEMS_MAX: usize = 101;

thread_local! {
    // Making one takes longer than all the rest.
    static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new({
        let mut c = zstd::bulk::Compressor::new(1).expect("level 1 exists");
        c.include_checksum(true).expect("it can");
        c
    });
}

fuzz_target!(|data: &[u8]| {
    let [how, splits, cut, rest @ ..] = data else { return };
    let mut bytes = match how & 3 {
        0 => rest.to_vec(),
        1 => packed(rest.chunks(512), *splits, how & 0x40 != 0),
        _ => packed(
            rest.split(|b| *b == 0xff).map(entry).collect::<Vec<_>>().iter().map(Vec::as_slice),
            *splits,
            how & 0x40 != 0,
        ),
    };
    bytes.truncate(bytes.len() - bytes.len() * usize::from(*cut) / 256);
    let (_file, path) = memory_file(&bytes);
    read(&path);
    if how & 0x80 != 0 {
        unpack(&path);
    }
    let (mut out, out_path) = memory_file(b"");
    if let Ok(saved) = salvage(&path, &mut out, "fuzzed") {
        assert_eq!(saved.bytes_good + saved.bytes_lost, bytes.len() as u64);
        let report = Reader::open(&out_path).expect("what was salvaged is a snapshot").verify(u64::MAX);
        assert!(report.ok, "what was salvaged is not sound: {:?}", report.problems);
    }
});

fn read(path: &Path) {
    let Ok(reader) = Reader::open(path) else { return };
    let _ = (reader.top_dir(), reader.cut(), reader.incident(), reader.manifest());
    for entry in reader.entries().iter().take(8) {
        if let Ok(content) = reader.read(&entry.path, LIMIT) {
            assert!(content.len() as u64 <= LIMIT);
        }
    }
    let report = reader.verify(LIMIT);
    assert!(report.problems.len() <= PROBLEMS_MAX && report.ok == report.problems.is_empty(), "{report:?}");
}

/// Into a directory of its own; nothing may appear beside it.
fn unpack(path: &Path) {
    let Ok(reader) = Reader::open(path) else { return };
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let base = dir.join(format!("lastgasp-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&base).expect("a directory");
    if let Ok(done) = reader.extract(&base.join("into"), &|_| true, LIMIT) {
        assert!(done.dir.starts_with(base.join("into")), "{:?}", done.dir);
        assert!(done.bytes <= LIMIT);
    }
    let beside: Vec<_> = std::fs::read_dir(&base).expect("it was made").flatten().map(|e| e.file_name()).collect();
    assert!(beside == ["into"] || beside.is_empty(), "{beside:?}");
    std::fs::remove_dir_all(&base).expect("ours");
}

/// Parts in frames; bit n of `splits`: a frame ends behind every part n modulo 8.
fn packed<'a>(parts: impl Iterator<Item = &'a [u8]>, splits: u8, table: bool) -> Vec<u8> {
    let (mut out, mut frame, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    let mut finish = |frame: &mut Vec<u8>, out: &mut Vec<u8>| {
        let bytes = COMPRESSOR.with_borrow_mut(|c| c.compress(frame)).expect("memory takes it");
        sizes.push((bytes.len() as u32, frame.len() as u32));
        out.extend_from_slice(&bytes);
        frame.clear();
    };
    for (n, part) in parts.enumerate() {
        frame.extend_from_slice(part);
        if splits >> (n % 8) & 1 == 1 {
            finish(&mut frame, &mut out);
        }
    }
    frame.extend_from_slice(&[0; 1024]);
    finish(&mut frame, &mut out);
    if table {
        out.extend_from_slice(&0x184D_2A5Eu32.to_le_bytes());
        out.extend_from_slice(&(sizes.len() as u32 * 8 + 9).to_le_bytes());
        for (packed, unpacked) in &sizes {
            out.extend_from_slice(&packed.to_le_bytes());
            out.extend_from_slice(&unpacked.to_le_bytes());
        }
        out.extend_from_slice(&(sizes.len() as u32).to_le_bytes());
        out.push(0);
        out.extend_from_slice(&0x8F92_EAB1u32.to_le_bytes());
    }
    out
}

/// `TYPE NAME \n CONTENT` → a header with a good checksum, and its content padded.
fn entry(part: &[u8]) -> Vec<u8> {
    let (kind, rest) = part.split_first().unwrap_or((&b'0', b""));
    let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    let (name, content) = (&rest[..end], rest.get(end + 1..).unwrap_or(b""));
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::new(*kind));
    // Written past the crate's checks: what it refuses is what is of interest.
    let field = &mut header.as_old_mut().name;
    let n = name.len().min(field.len());
    field[..n].copy_from_slice(&name[..n]);
    let link = &mut header.as_old_mut().linkname;
    let n = content.len().min(link.len());
    link[..n].copy_from_slice(&content[..n]);
    header.set_size(content.len() as u64);
    header.set_mtime(1_795_395_300);
    header.set_cksum();
    let mut out = [header.as_bytes().as_slice(), content].concat();
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn memory_file(bytes: &[u8]) -> (File, PathBuf) {
    let mut file = lastgasp_fuzz::memory_file();
    file.write_all(bytes).expect("memory takes it");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    (file, path)
}
