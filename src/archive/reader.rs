//! Reads a snapshot, whole, cut, damaged or made by somebody else, as far as it can be read.

use crate::archive::frames::{Chain, Layout, layout};
use crate::archive::manifest::Manifest;
use crate::archive::sniff;
use crate::archive::tarwalk::{Head, TarWalk, WalkError, What};
use crate::archive::writer::hex;
use crate::archive::{Error, INCIDENT_ENTRY, MANIFEST_ENTRY, Result};
use crate::model::{Incident, Wall};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Largest `incident.json` and `manifest.json` that are read.
const INCIDENT_MAX: u64 = 32 << 20;
const MANIFEST_MAX: u64 = 128 << 20;
/// Most bytes unpacked while looking for one entry.
const SEARCH_MAX: u64 = 64 << 30;
/// Most problems that are listed one by one.
const PROBLEMS_MAX: usize = 100;

/// Something wrong with a snapshot, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// An entry, a frame with its byte offset, or the file.
    pub place: String,
    pub why: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// What is known of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Relative to the top directory; of a foreign archive, as it is there. Hostile text.
    pub path: String,
    /// `file`, `directory`, `symbolic link`, …
    pub what: &'static str,
    pub size: u64,
    pub at: Option<Wall>,
    pub truncated: Option<bool>,
    pub collector: Option<String>,
    pub sha256: Option<String>,
}

/// An open archive.
#[derive(Debug)]
pub struct Reader {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) len: u64,
    pub(crate) layout: Layout,
    /// The top directory of a snapshot of ours; `None` for a foreign archive.
    top: Option<String>,
    manifest: OnceLock<std::result::Result<Option<Manifest>, String>>,
}

/// An entry as a walk over the archive comes by.
pub(crate) struct Found {
    pub head: Head,
    /// Relative to the top directory of a snapshot.
    pub path: String,
    pub frame: usize,
    /// Where its content starts within the unpacked frame.
    pub offset: u64,
}

impl Reader {
    /// Opens any `.tar.zst`. Errors: [`Error::Foreign`] for anything else, with what it is instead.
    /// Damage and cuts are no error here as long as one frame begins.
    pub fn open(path: impl AsRef<Path>) -> Result<Reader> {
        let path = path.as_ref();
        // Not to hang on a FIFO.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|cause| Error::Io { operation: "open", path: path.into(), cause })?;
        Reader::of(file, path)
    }

    pub(crate) fn of(file: File, path: &Path) -> Result<Reader> {
        let io_error = |operation| move |cause| Error::Io { operation, path: path.into(), cause };
        let foreign = |what: String| Error::Foreign { path: path.into(), what };
        let meta = file.metadata().map_err(io_error("read"))?;
        if !meta.is_file() {
            return Err(foreign(if meta.is_dir() { "a directory" } else { "no regular file" }.into()));
        }
        let len = meta.len();
        if let Some(what) = sniff::foreign(&file, len).map_err(io_error("read"))? {
            return Err(foreign(what));
        }
        let layout = layout(&file, len).map_err(io_error("read"))?;
        if layout.frames.is_empty() {
            return Err(foreign("a zstd file without any data".into()));
        }
        let mut reader = Reader { file, path: path.into(), len, layout, top: None, manifest: OnceLock::new() };
        reader.top = reader.find_top()?;
        Ok(reader)
    }

    /// The top directory, by the first entry that can be read.
    fn find_top(&self) -> Result<Option<String>> {
        let mut walk = TarWalk::new(self.chain(self.all_frames(), MANIFEST_MAX));
        // Damage at the start: a later frame tells as well.
        for _ in 0..self.layout.frames.len().min(64) {
            match walk.next() {
                Ok(Some(head)) => {
                    let Some((top, rest)) = head.path.split_once('/') else { return Ok(None) };
                    let ours = rest == INCIDENT_ENTRY || self.has_manifest(top);
                    return Ok(ours.then(|| top.to_owned()));
                }
                Ok(None) => return Ok(None),
                Err(WalkError::Header(_)) if walk.from.place().0 == Some(0) && self.layout.frames[0].whole => {
                    let what = "a zstd file that holds no tar archive".into();
                    return Err(Error::Foreign { path: self.path.clone(), what });
                }
                Err(_) => {
                    walk.reset();
                    if !walk.from.advance().unwrap_or(false) {
                        break;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether the last frame begins with the manifest of a snapshot whose top directory is `top`.
    fn has_manifest(&self, top: &str) -> bool {
        let last = self.layout.frames.len() - 1;
        let mut walk = TarWalk::new(self.chain(vec![last], MANIFEST_MAX));
        matches!(walk.next(), Ok(Some(head)) if head.path == format!("{top}/{MANIFEST_ENTRY}"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the file in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The directory that all entries of a snapshot lie in; `None`: not one of ours.
    pub fn top_dir(&self) -> Option<&str> {
        self.top.as_deref()
    }

    /// What keeps this from being a whole archive, as far as that shows without unpacking: where it is cut.
    pub fn cut(&self) -> Option<Problem> {
        if let Some((at, why)) = &self.layout.cut {
            return Some(Problem { place: format!("byte {at} of {}", self.len), why: why.clone() });
        }
        if !self.layout.table && self.top.is_some() {
            let why = "there is no valid seek table at its end: the capture was interrupted, or the end was damaged";
            return Some(Problem { place: "file".into(), why: why.into() });
        }
        None
    }

    /// `incident.json`; if that cannot be read, the incident that the manifest repeats.
    pub fn incident(&self) -> Result<Incident> {
        if self.top.is_none() {
            let what = "a .tar.zst archive without incident.json".into();
            return Err(Error::Foreign { path: self.path.clone(), what });
        }
        let why = match self.first_entry() {
            Ok(incident) => return Ok(incident),
            Err(why) => why,
        };
        match self.index() {
            Ok(Some(m)) => Ok(m.incident.clone()),
            _ => Err(self.damaged(format!("read {INCIDENT_ENTRY}"), why)),
        }
    }

    /// `incident.json` as it stands in the archive, whatever the manifest knows; why it cannot be had.
    pub(crate) fn first_entry(&self) -> std::result::Result<Incident, String> {
        let mut json = None;
        let problems = self.visit(vec![0], INCIDENT_MAX, &mut |found, body| {
            if found.path == INCIDENT_ENTRY && found.head.size <= INCIDENT_MAX {
                let mut bytes = Vec::new();
                json = body.read_to_end(&mut bytes).ok().map(|_| bytes);
            }
            ControlFlow::Break(())
        });
        match json.map(|j| serde_json::from_slice::<Incident>(&j)) {
            Some(parsed) => parsed.map_err(|e| e.to_string()),
            None => Err(problems.first().map_or_else(|| "it is not the first entry".into(), ToString::to_string)),
        }
    }

    /// `manifest.json`. `Ok(None)`: the archive ends before it, or is not ours.
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        match self.index() {
            Ok(m) => Ok(m.cloned()),
            Err(why) => Err(self.damaged(format!("read {MANIFEST_ENTRY}"), why.to_owned())),
        }
    }

    /// The manifest, read once.
    pub(crate) fn index(&self) -> std::result::Result<Option<&Manifest>, &str> {
        let read = || {
            if self.top.is_none() || self.layout.cut.is_some() {
                return Ok(None);
            }
            let mut json = Ok(None);
            let last = self.layout.frames.len() - 1;
            let problems = self.visit(vec![last], MANIFEST_MAX, &mut |found, body| {
                if found.path == MANIFEST_ENTRY && found.head.size <= MANIFEST_MAX {
                    let mut bytes = Vec::new();
                    json = body.read_to_end(&mut bytes).map(|_| Some(bytes)).map_err(|e| e.to_string());
                }
                // To the end, so that the frame's checksum is compared.
                ControlFlow::Continue(())
            });
            match json? {
                Some(_) if !problems.is_empty() => Err(problems[0].to_string()),
                Some(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| e.to_string()),
                None => problems.first().map_or(Ok(None), |p| Err(p.to_string())),
            }
        };
        self.manifest.get_or_init(read).as_ref().map(Option::as_ref).map_err(String::as_str)
    }

    /// Every entry that can be read, in the order of the archive: from the manifest, else by walking.
    pub fn entries(&self) -> Vec<Entry> {
        if let Ok(Some(manifest)) = self.index() {
            return manifest
                .entries
                .iter()
                .map(|e| Entry {
                    path: e.path.clone(),
                    what: What::File.name(),
                    size: e.size,
                    at: Some(e.at),
                    truncated: e.truncated,
                    collector: e.collector.clone(),
                    sha256: Some(e.sha256.clone()),
                })
                .collect();
        }
        let mut out = Vec::new();
        self.visit(self.all_frames(), SEARCH_MAX, &mut |found, _| {
            out.push(Entry {
                path: found.path.clone(),
                what: found.head.what.name(),
                size: found.head.size,
                at: i64::try_from(found.head.mtime).ok().and_then(|s| s.checked_mul(1_000_000)).map(Wall),
                truncated: None,
                collector: None,
                sha256: None,
            });
            if out.len() < crate::archive::ENTRIES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        out
    }

    /// The content of one entry, by its path below the top directory. Unpacks only the frame that
    /// holds it. Errors: not there, larger than `cap`, damaged.
    pub fn read(&self, entry: &str, cap: u64) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.copy(entry, cap, &mut out)?;
        Ok(out)
    }

    /// As [`Reader::read`], into `to`. On damage what came before it has been written.
    pub fn copy(&self, entry: &str, cap: u64, to: &mut dyn Write) -> Result<u64> {
        let meta = self.index().ok().flatten().and_then(|m| m.entries.iter().find(|e| e.path == entry));
        let frames = match meta {
            Some(m) if (m.frame as usize) < self.layout.frames.len() => vec![m.frame as usize],
            _ if entry == MANIFEST_ENTRY && self.top.is_some() => vec![self.layout.frames.len() - 1],
            _ => self.all_frames(),
        };
        let mut result = None;
        let problems = self.visit(frames, SEARCH_MAX, &mut |found, body| {
            if found.path != entry || found.head.what != What::File {
                return ControlFlow::Continue(());
            }
            let size = found.head.size;
            result = Some(if size > cap {
                Err(Error::TooLarge { path: self.path.clone(), entry: entry.into(), size, cap })
            } else {
                self.copy_body(entry, body, to).and_then(|(n, sha)| match meta {
                    Some(m) if m.sha256 != sha => {
                        Err(self.damaged(format!("read {entry:?}"), "its content does not match its checksum".into()))
                    }
                    _ => Ok(n),
                })
            });
            ControlFlow::Break(())
        });
        match (result, problems.first()) {
            (Some(r), _) => r,
            (None, Some(p)) if meta.is_some() => Err(self.damaged(format!("read {entry:?}"), p.to_string())),
            (None, Some(p)) => Err(self.damaged(format!("find {entry:?}"), format!("not in what is readable; {p}"))),
            (None, None) => Err(Error::NoEntry { path: self.path.clone(), entry: entry.into() }),
        }
    }

    /// Copies and hashes; tells a failing source from a failing target.
    fn copy_body(&self, entry: &str, body: &mut dyn Read, to: &mut dyn Write) -> Result<(u64, String)> {
        let mut sha = Sha256::new();
        let mut chunk = [0u8; 16 * 1024];
        let mut total = 0;
        loop {
            let n = body.read(&mut chunk).map_err(|e| self.damaged(format!("read {entry:?}"), e.to_string()))?;
            if n == 0 {
                return Ok((total, hex(&sha.finalize())));
            }
            sha.update(&chunk[..n]);
            to.write_all(&chunk[..n])
                .map_err(|cause| Error::Write { operation: "write the entry's content", cause })?;
            total += n as u64;
        }
    }

    pub(crate) fn all_frames(&self) -> Vec<usize> {
        (0..self.layout.frames.len()).collect()
    }

    pub(crate) fn chain(&self, which: Vec<usize>, limit: u64) -> Chain<'_> {
        Chain::new(&self.file, &self.layout.frames, which, limit)
    }

    pub(crate) fn damaged(&self, operation: String, why: String) -> Error {
        Error::Damaged { operation, path: self.path.clone(), why: printable(&why) }
    }

    /// Shows every entry of the frames `which` to `see`. A bad frame is reported and the walk goes on
    /// behind it: in a snapshot each frame begins with an entry. At most `limit` bytes are unpacked.
    pub(crate) fn visit(
        &self,
        which: Vec<usize>,
        limit: u64,
        see: &mut dyn FnMut(&Found, &mut dyn Read) -> ControlFlow<()>,
    ) -> Vec<Problem> {
        let mut problems = Problems::default();
        let mut walk = TarWalk::new(self.chain(which, limit));
        loop {
            match walk.next() {
                Ok(None) => {
                    if walk.ended {
                        self.drain(&mut walk.from, &mut problems);
                    }
                    break;
                }
                Ok(Some(head)) => {
                    let (frame, offset) = walk.from.place();
                    let path = match self.top.as_deref().and_then(|t| head.path.strip_prefix(t)?.strip_prefix('/')) {
                        Some(rest) => rest.to_owned(),
                        None => head.path.clone(),
                    };
                    // A header was just read, so a frame is open.
                    let found = Found { head, path, frame: frame.unwrap_or(0), offset };
                    if see(&found, &mut walk).is_break() {
                        break;
                    }
                }
                Err(e) => {
                    let place = match walk.from.place().0 {
                        Some(i) => format!("frame {i} at byte {}", self.layout.frames[i].at),
                        None => "file".into(),
                    };
                    problems.add(place, e.to_string());
                    walk.reset();
                    if walk.from.exhausted() || !walk.from.advance().unwrap_or(false) {
                        break;
                    }
                }
            }
        }
        problems.finish()
    }

    /// Reads what is behind the end of the tar archive: zeros, and at last the frame's checksum.
    fn drain(&self, chain: &mut Chain<'_>, problems: &mut Problems) {
        let mut chunk = [0u8; 8192];
        loop {
            match chain.read(&mut chunk) {
                Ok(0) => return,
                Ok(n) if chunk[..n].iter().all(|b| *b == 0) => {}
                Ok(_) => return problems.add("file", "there is data behind the end of the tar archive"),
                Err(e) => return problems.add("the end of the tar archive", e.to_string()),
            }
        }
    }
}

/// A bounded list of problems.
#[derive(Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    more: usize,
}

impl Problems {
    pub fn add(&mut self, place: impl Into<String>, why: impl Into<String>) {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(Problem { place: place.into(), why: why.into() });
        } else {
            self.more += 1;
        }
    }

    pub fn extend(&mut self, more: Vec<Problem>) {
        for p in more {
            self.add(p.place, p.why);
        }
    }

    pub fn finish(mut self) -> Vec<Problem> {
        if self.more > 0 {
            self.list.push(Problem { place: "file".into(), why: format!("and {} problems more", self.more) });
        }
        self.list
    }
}

/// What a parser says of hostile text may quote it: no control character gets into a message.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Reads a body to its end for its size and checksum.
pub(crate) fn digest(body: &mut dyn Read) -> io::Result<(u64, String)> {
    let mut sha = Sha256::new();
    let mut chunk = [0u8; 16 * 1024];
    let mut total = 0;
    loop {
        let n = body.read(&mut chunk)?;
        if n == 0 {
            return Ok((total, hex(&sha.finalize())));
        }
        sha.update(&chunk[..n]);
        total += n as u64;
    }
}
