//! Writes a snapshot, frame by frame, so that everything before a `sync` survives what comes after.
//!
//! One compression context for the whole archive: no allocation of that size while the machine fails.

use crate::archive::manifest::{EntryMeta, Manifest, ManifestHead};
use crate::archive::names::{Names, safe_path};
use crate::archive::seektable::{self, FRAMES_MAX, Sizes};
use crate::archive::{Error, INCIDENT_ENTRY, MANIFEST_ENTRY, Result};
use crate::model::{Incident, Wall};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

/// A frame is closed after the entry with which it reaches this size, unpacked.
pub const FRAME_BYTES: u64 = 1 << 20;
/// The base of both kinds of effort; everything that matters is set below.
const LEVEL: i32 = 1;
/// 128 KiB. What repeats itself in these texts does so within lines: 4 MiB save one part in a hundred, and are memory that is
/// locked.
const WINDOW_LOG: u32 = 17;

/// How, and how hard, to look for repetitions.
///
/// Measured on the 12 MB of tables of a machine with 2,000 processes and 10,000 sockets, one core: quick 480 kB in 15 ms (level 3
/// of zstd: 541 kB in 17 ms), thorough 372 kB in 50 ms, by rows 342 kB in 50 ms, level 19 316 kB in 7.7 s. Nearly all of the
/// difference is in the tables of sockets; many small files become no smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// For everything that does not ask for more.
    #[default]
    Quick,
    /// For texts whose lines repeat one another from afar: one JSON object a process, the manifest.
    Thorough,
    /// For large tables in which a row is like the one or two before it, but for some numbers. Such a match is the cheapest to
    /// write down, and a small memory of the last rows finds no other.
    Rows,
}

impl Effort {
    /// Tables of 32 Ki places: larger ones find nothing more, and do not stay in the cache. For rows of 1 Ki: about two of them.
    fn parameters(self) -> [CParameter; 6] {
        use zstd::zstd_safe::Strategy::{ZSTD_fast, ZSTD_lazy2};
        let (strategy, min_match, target, places, search) = match self {
            Effort::Quick => (ZSTD_fast, 7, 0, 15, 1),
            Effort::Thorough => (ZSTD_lazy2, 5, 8, 15, 3),
            Effort::Rows => (ZSTD_lazy2, 6, 8, 10, 3),
        };
        [
            CParameter::Strategy(strategy),
            CParameter::MinMatch(min_match),
            CParameter::TargetLength(target),
            CParameter::HashLog(places),
            CParameter::ChainLog(places),
            CParameter::SearchLog(search),
        ]
    }
}
/// Largest single entry: the seek table has 32 bits for a frame.
const ENTRY_MAX: u64 = 2 << 30;
/// Most entries of one archive.
pub const ENTRIES_MAX: usize = 200_000;
const OUT_BYTES: usize = 128 * 1024;

/// A file, or what stands for one in a test, whose content can be forced to the disk.
pub trait SyncData {
    /// fdatasync.
    fn sync_data(&self) -> io::Result<()>;
    /// fsync.
    fn sync_all(&self) -> io::Result<()>;
}

impl SyncData for File {
    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }
}

/// What the caller says about an entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryHead<'a> {
    /// Made safe and unique on the way in: see [`safe_path`].
    pub path: &'a str,
    /// When the content was read; the entry's mtime.
    pub at: Wall,
    pub collector: &'a str,
    pub truncated: bool,
}

/// What a finished archive came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Size of the file.
    pub bytes: u64,
    /// Entries, the manifest included.
    pub entries: u64,
}

/// The content of an entry, in one piece or in several.
pub trait Body {
    /// Bytes in all.
    fn size(&self) -> u64;
    /// Hands out all of them, in order. Errors: those of `to`, or a piece that cannot be had.
    fn each(&self, to: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>;
    /// What its compression is worth.
    fn effort(&self) -> Effort {
        Effort::Quick
    }
}

impl Body for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }
    fn each(&self, to: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        to(self)
    }
}

pub struct Writer<F: Write + SyncData> {
    file: F,
    top: String,
    encoder: Encoder<'static>,
    /// What the encoder is set to.
    effort: Effort,
    /// Packed bytes on their way to the file.
    out: Vec<u8>,
    /// Of the file so far.
    bytes: u64,
    frames: Vec<Sizes>,
    /// Packed size of the open frame at the last write, and its unpacked size.
    frame_packed: u64,
    frame_unpacked: u64,
    entries: Vec<EntryMeta>,
    names: Names,
    broken: bool,
}

impl<F: Write + SyncData> Writer<F> {
    /// A writer at the start of an empty `file`. `top_dir`: the one directory that all entries lie in.
    pub fn create(file: F, top_dir: &str) -> Result<Writer<F>> {
        let mut encoder = Encoder::new(LEVEL).map_err(write_error("start the compressor"))?;
        for parameter in [CParameter::ChecksumFlag(true), CParameter::WindowLog(WINDOW_LOG)] {
            encoder.set_parameter(parameter).map_err(write_error("start the compressor"))?;
        }
        for parameter in Effort::Quick.parameters() {
            encoder.set_parameter(parameter).map_err(write_error("start the compressor"))?;
        }
        let mut names = Names::default();
        // The manifest's name is taken from the start: a collector's entry of that name moves aside.
        names.take(MANIFEST_ENTRY);
        Ok(Writer {
            file,
            top: safe_path(top_dir).replace('/', "_"),
            encoder,
            effort: Effort::Quick,
            out: Vec::with_capacity(OUT_BYTES),
            bytes: 0,
            frames: Vec::new(),
            frame_packed: 0,
            frame_unpacked: 0,
            entries: Vec::new(),
            names,
            broken: false,
        })
    }

    /// Writes `incident.json`, which must be the first entry, in a frame of its own.
    pub fn append_incident(&mut self, incident: &Incident) -> Result<()> {
        let json = json_line(incident, INCIDENT_ENTRY)?;
        let head = EntryHead { path: INCIDENT_ENTRY, at: incident.opened_at, collector: "lastgasp", truncated: false };
        self.append(&head, &json)?;
        self.flush_frame()
    }

    /// Adds one entry. It is durable after the next [`Writer::sync`].
    pub fn append(&mut self, head: &EntryHead<'_>, bytes: &[u8]) -> Result<()> {
        self.append_body(head, &bytes)
    }

    /// As [`Writer::append`], for content that comes in pieces.
    pub fn append_body(&mut self, head: &EntryHead<'_>, body: &dyn Body) -> Result<()> {
        self.usable()?;
        let size = body.size();
        if self.entries.len() >= ENTRIES_MAX {
            let why = format!("the archive has {ENTRIES_MAX} entries, the most it may have");
            return Err(Error::Refused { entry: head.path.into(), why });
        }
        if size > ENTRY_MAX {
            let why = format!("{size} bytes exceed the {ENTRY_MAX} of one entry");
            return Err(Error::Refused { entry: head.path.into(), why });
        }
        if self.frame_unpacked > 0 && self.frame_unpacked + size > ENTRY_MAX {
            self.flush_frame()?;
        }
        self.set_effort(body.effort())?;
        let path = self.names.take(head.path);
        let meta = self.put(path, head.at, body, Some(head.collector), Some(head.truncated))?;
        self.entries.push(meta);
        if self.frame_unpacked >= FRAME_BYTES { self.flush_frame() } else { Ok(()) }
    }

    /// Ends the open frame, if it has anything in it: a reader of the file can now decode up to here.
    pub fn flush_frame(&mut self) -> Result<()> {
        self.usable()?;
        if self.frame_unpacked == 0 {
            return Ok(());
        }
        let done = self.end_frame();
        self.note(done, "write snapshot")
    }

    /// [`Writer::flush_frame`], then fdatasync: everything so far survives a power cut.
    pub fn sync(&mut self) -> Result<()> {
        self.flush_frame()?;
        self.file.sync_data().map_err(write_error("flush snapshot to the disk"))
    }

    /// Adds the manifest, the end of the tar archive and the seek table, then fsync.
    pub fn finish(mut self, head: ManifestHead) -> Result<Finished> {
        self.flush_frame()?;
        let at = head.finished_at;
        let entries = std::mem::take(&mut self.entries);
        let count = entries.len() as u64 + 1;
        let json = json_line(&Manifest::new(head, entries), MANIFEST_ENTRY)?;
        self.set_effort(Effort::Thorough)?;
        self.put(MANIFEST_ENTRY.into(), at, &&json[..], None, None)?;
        let end = self.compress(&[0u8; 1024]).and_then(|()| self.end_frame());
        self.note(end, "write snapshot")?;
        let table = seektable::encode(&self.frames);
        let written = self.file.write_all(&table).and_then(|()| self.file.flush());
        self.note(written, "write snapshot")?;
        self.bytes += table.len() as u64;
        self.file.sync_all().map_err(write_error("flush snapshot to the disk"))?;
        Ok(Finished { bytes: self.bytes, entries: count })
    }

    /// Bytes in the file so far. What the open frame holds back is not counted.
    pub fn bytes_written(&self) -> u64 {
        self.bytes
    }

    /// Entries so far.
    pub fn entries_written(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether there is an entry of this path.
    pub(crate) fn has_entry(&self, path: &str) -> bool {
        self.entries.iter().any(|e| e.path == path)
    }

    /// Whether the entries of a frame can keep the names that they have there, as [`Writer::adopt_frame`] leaves them.
    pub(crate) fn can_adopt(&self, top: &str, entries: &[EntryMeta]) -> bool {
        top == self.top && self.names.are_free(entries.iter().map(|e| e.path.as_str()))
    }

    /// Takes over a frame that another writer made, byte for byte. `entries`: what it holds, with
    /// their offsets; `frame` is set here.
    pub(crate) fn adopt_frame(&mut self, packed: impl Read, sizes: Sizes, entries: Vec<EntryMeta>) -> Result<()> {
        self.flush_frame()?;
        let copied = io::copy(&mut packed.take(u64::from(sizes.packed)), &mut self.file).and_then(|n| {
            if n == u64::from(sizes.packed) { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
        });
        self.note(copied, "copy a frame of the snapshot")?;
        self.bytes += u64::from(sizes.packed);
        let frame = self.frames.len() as u32;
        self.frames.push(sizes);
        for mut meta in entries {
            // Only to know it: what is in the frame keeps the name that it has there.
            self.names.take(&meta.path);
            meta.frame = frame;
            self.entries.push(meta);
        }
        Ok(())
    }

    /// Adds an entry of which nobody knows any more who brought it.
    pub(crate) fn append_loose(&mut self, path: &str, at: Wall, bytes: &[u8]) -> Result<()> {
        self.usable()?;
        let path = self.names.take(path);
        let meta = self.put(path, at, &bytes, None, None)?;
        self.entries.push(meta);
        Ok(())
    }

    /// Gives entries with the same content back what an earlier manifest knew of them.
    pub(crate) fn recall(&mut self, old: &[EntryMeta]) {
        let known: std::collections::HashMap<&str, &EntryMeta> = old.iter().map(|e| (e.path.as_str(), e)).collect();
        for e in &mut self.entries {
            if let Some(k) = known.get(e.path.as_str()).filter(|k| k.sha256 == e.sha256) {
                (e.at, e.truncated, e.collector) = (k.at, k.truncated, k.collector.clone());
            }
        }
    }

    /// Another effort begins another frame.
    fn set_effort(&mut self, effort: Effort) -> Result<()> {
        if effort == self.effort {
            return Ok(());
        }
        self.flush_frame()?;
        for parameter in effort.parameters() {
            self.encoder.set_parameter(parameter).map_err(write_error("set the compressor"))?;
        }
        self.effort = effort;
        Ok(())
    }

    fn usable(&self) -> Result<()> {
        if self.broken { Err(Error::Broken) } else { Ok(()) }
    }

    /// Marks the writer broken when the file now ends in the middle of something.
    fn note<T>(&mut self, result: io::Result<T>, operation: &'static str) -> Result<T> {
        self.broken |= result.is_err();
        result.map_err(write_error(operation))
    }

    fn put(
        &mut self,
        path: String,
        at: Wall,
        body: &dyn Body,
        collector: Option<&str>,
        truncated: Option<bool>,
    ) -> Result<EntryMeta> {
        let size = body.size();
        let head = headers(&format!("{}/{path}", self.top), size, at);
        let offset = self.frame_unpacked + head.len() as u64;
        let padding = (512 - size as usize % 512) % 512;
        let mut sha = Sha256::new();
        let mut sent = 0;
        let done = self
            .compress(&head)
            .and_then(|()| {
                body.each(&mut |piece| {
                    sent += piece.len() as u64;
                    sha.update(piece);
                    self.compress(piece)
                })
            })
            .and_then(|()| if sent == size { Ok(()) } else { Err(io::Error::other("an entry of another size")) })
            .and_then(|()| self.compress(&[0u8; 512][..padding]));
        self.note(done, "write snapshot")?;
        Ok(EntryMeta {
            path,
            size,
            sha256: hex(&sha.finalize()),
            at,
            truncated,
            collector: collector.map(str::to_owned),
            frame: self.frames.len() as u32,
            offset,
        })
    }

    fn compress(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            self.encoder.run(&mut input, &mut OutBuffer::around_pos(&mut self.out, 0))?;
            self.write_out()?;
        }
        self.frame_unpacked += bytes.len() as u64;
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        loop {
            let left = self.encoder.finish(&mut OutBuffer::around_pos(&mut self.out, 0), true)?;
            self.write_out()?;
            if left == 0 {
                break;
            }
        }
        self.encoder.reinit()?;
        let too_large = |_| io::Error::other("a frame of the snapshot exceeds 4 GiB");
        let sizes = Sizes {
            packed: u32::try_from(self.frame_packed).map_err(too_large)?,
            unpacked: u32::try_from(self.frame_unpacked).map_err(too_large)?,
        };
        if self.frames.len() >= FRAMES_MAX {
            return Err(io::Error::other("the snapshot has too many frames"));
        }
        self.frames.push(sizes);
        (self.frame_packed, self.frame_unpacked) = (0, 0);
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all(&self.out)?;
        self.bytes += self.out.len() as u64;
        self.frame_packed += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }
}

/// Writes a small snapshot to nowhere, so that code and allocator pages of the writer are in memory
/// before the process locks them: on a machine out of memory they could not be read in any more.
pub fn warm_up() {
    struct Nowhere;
    impl Write for Nowhere {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl SyncData for Nowhere {
        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }
        fn sync_all(&self) -> io::Result<()> {
            Ok(())
        }
    }
    let head = EntryHead { path: "warm/up", at: Wall(0), collector: "", truncated: false };
    // Nothing here can fail but the allocator, and then the capture itself will say so.
    if let Ok(mut w) = Writer::create(Nowhere, "warm-up") {
        let text: Vec<u8> = (0..2 * FRAME_BYTES).map(|i| (i / 7 % 251) as u8).collect();
        let _ = w
            .append(&head, &text)
            .and_then(|()| w.set_effort(Effort::Thorough))
            .and_then(|()| w.put("warm/table".into(), Wall(0), &&text[..], None, None).map(drop))
            .and_then(|()| w.append(&head, b"end"))
            .and_then(|()| w.sync());
    }
}

/// The tar header of a regular file, preceded by a GNU long-name entry where 100 bytes are not enough.
fn headers(path: &str, size: u64, at: Wall) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut short = path.as_bytes();
    if short.len() > 100 {
        let mut long = tar::Header::new_gnu();
        long.as_gnu_mut().expect("made as GNU").name[..13].copy_from_slice(b"././@LongLink");
        fill(&mut long, path.len() as u64 + 1, Wall(0));
        long.set_entry_type(tar::EntryType::GNULongName);
        long.set_cksum();
        out.extend_from_slice(long.as_bytes());
        out.extend_from_slice(path.as_bytes());
        // The NUL that ends the name, and the padding.
        out.resize(out.len() + 512 - path.len() % 512, 0);
        short = &short[..100];
    }
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().expect("made as GNU").name[..short.len()].copy_from_slice(short);
    fill(&mut header, size, at);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out
}

fn fill(header: &mut tar::Header, size: u64, at: Wall) {
    header.set_size(size);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(at.0.div_euclid(1_000_000)).unwrap_or(0));
    header.set_username("root").expect("four bytes fit");
    header.set_groupname("root").expect("four bytes fit");
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

fn json_line<T: serde::Serialize>(value: &T, entry: &str) -> Result<Vec<u8>> {
    let refused = |e: serde_json::Error| Error::Refused { entry: entry.into(), why: e.to_string() };
    let json = serde_json::to_string_pretty(value).map_err(refused)?;
    // It is read with `tar -xO` as well.
    let mut json = crate::model::text::safe_json(&json).into_owned();
    json.push('\n');
    Ok(json.into_bytes())
}

fn write_error(operation: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |cause| Error::Write { operation, cause }
}
