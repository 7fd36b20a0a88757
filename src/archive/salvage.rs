//! Makes a valid snapshot of what an interrupted capture left: whole frames byte for byte, the whole
//! entries of the frame that was being written, and a manifest that says what is lost.

use crate::archive::manifest::{EntryMeta, FORMAT, ManifestHead};
use crate::archive::reader::{Reader, digest};
use crate::archive::seektable::Sizes;
use crate::archive::tarwalk::{TarWalk, What};
use crate::archive::writer::{FRAME_BYTES, SyncData, Writer};
use crate::archive::{Error, INCIDENT_ENTRY, MANIFEST_ENTRY, Result};
use crate::model::{Incident, Losses, Wall};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Largest entry of a broken frame that is kept: it has to be held in memory.
const LOOSE_ENTRY_MAX: u64 = 256 << 20;
/// Most bytes unpacked of one frame.
const FRAME_MAX: u64 = 4 << 30;

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Entries kept, not counting the new manifest.
    pub entries: u64,
    /// Bytes of the interrupted file that hold them.
    pub bytes_good: u64,
    /// Bytes of the interrupted file that could not be used.
    pub bytes_lost: u64,
    /// As the new manifest says it.
    pub note: String,
}

/// Reads `partial` and writes a complete snapshot to `out`, an empty file; `note` says why there is
/// something to salvage and is kept in the manifest. `partial` is not changed.
///
/// Errors: [`Error::NothingWhole`] or [`Error::Foreign`] when not even `incident.json` is whole.
pub fn salvage(partial: &Path, out: &mut File, note: &str) -> Result<Salvaged> {
    let reader = Reader::open(partial)?;
    let nothing = |why: String| Error::NothingWhole { path: partial.into(), why };
    let incident = reader.incident().map_err(|e| nothing(e.to_string()))?;
    let top = reader.top_dir().ok_or_else(|| nothing("it is not one of our snapshots".into()))?.to_owned();
    // A capture that was interrupted after its manifest (before the seek table, or the rename) told us all.
    let old = reader.index().ok().flatten().cloned();
    let mut writer = Writer::create(Out(out), &top)?;
    // Damage that no checksum saw (a flipped checksum flag): the manifest knows better.
    let altered = reader.first_entry().is_err();
    if altered {
        writer.append_incident(&incident)?;
    }
    let (mut good, mut lost_frames, mut last_at) = (0, Vec::new(), incident.opened_at);
    for (i, frame) in reader.layout.frames.iter().enumerate() {
        match whole_frame(&reader, i, &top) {
            // A name that came before, or that no writer of ours gives, is put right by writing the frame anew.
            Some((sizes, entries)) if frame.whole && !(altered && i == 0) && writer.can_adopt(&top, &entries) => {
                last_at = entries.iter().map(|e| e.at).max().unwrap_or(last_at).max(last_at);
                writer.adopt_frame(crate::archive::frames::Slice::of(&reader.file, frame), sizes, entries)?;
                good += frame.packed;
            }
            _ => {
                let kept = loose_entries(&reader, i, (&top, altered), &mut writer, &mut last_at)?;
                if kept == 0 && manifest_only(&reader, i, &top) {
                    continue; // replaced by the new manifest
                }
                lost_frames.push(format!("frame {i} at byte {} ({kept} entries of it kept)", frame.at));
            }
        }
    }
    if writer.entries_written() == 0 {
        return Err(nothing("no entry is whole".into()));
    }
    let lost = reader.len.saturating_sub(good);
    let mut text = note.to_owned();
    if !lost_frames.is_empty() {
        text.push_str(&format!("; not readable to its end: {}", lost_frames.join(", ")));
    }
    if let Some((at, why)) = &reader.layout.cut {
        text.push_str(&format!("; cut at byte {at} of {}: {why}", reader.len));
    }
    let entries = writer.entries_written();
    let head = match old {
        Some(m) => ManifestHead { salvaged: Some(text.clone()), ..restore(&mut writer, m) },
        None => fresh_head(incident, last_at, &text),
    };
    writer.finish(head)?;
    Ok(Salvaged { entries, bytes_good: good, bytes_lost: lost, note: text })
}

/// What the old manifest knew, with its knowledge of each entry given back.
fn restore<F: Write + SyncData>(writer: &mut Writer<F>, old: crate::archive::Manifest) -> ManifestHead {
    writer.recall(&old.entries);
    old.into_head()
}

fn fresh_head(incident: Incident, last_at: Wall, note: &str) -> ManifestHead {
    let started_at = incident.opened_at;
    ManifestHead {
        format: FORMAT,
        started_at,
        finished_at: last_at,
        total_ms: u64::try_from(last_at.since(started_at).as_millis()).unwrap_or(u64::MAX),
        tiers: Vec::new(),
        collectors: Vec::new(),
        notes: vec!["how each collector ended was not recorded before the interruption".into()],
        salvaged: Some(note.to_owned()),
        losses: Losses::default(),
        incident,
    }
}

/// The entries of frame `i` if all of it is readable and it can stay as it is: it ends with an entry
/// (not with the end of the archive) and does not hold a manifest.
fn whole_frame(reader: &Reader, i: usize, top: &str) -> Option<(Sizes, Vec<EntryMeta>)> {
    let mut walk = TarWalk::new(reader.chain(vec![i], FRAME_MAX));
    let mut entries = Vec::new();
    while let Some(head) = walk.next().ok()? {
        let path = head.path.strip_prefix(top)?.strip_prefix('/')?.to_owned();
        if head.what != What::File || path == MANIFEST_ENTRY {
            return None;
        }
        let offset = walk.from.place().1;
        let (size, sha256) = digest(&mut walk).ok()?;
        let at = seconds(head.mtime);
        entries.push(EntryMeta { path, size, sha256, at, truncated: None, collector: None, frame: 0, offset });
    }
    if walk.ended {
        return None;
    }
    // Asks for a byte behind the end, which is where zstd compares the frame's checksum.
    let mut rest = Vec::new();
    walk.from.read_to_end(&mut rest).ok()?;
    let unpacked = u32::try_from(walk.from.total()).ok()?;
    let packed = u32::try_from(reader.layout.frames[i].packed).ok()?;
    Some((Sizes { packed, unpacked }, entries))
}

/// Writes anew what is whole in a frame that is not; leaves incident.json out if it was `altered`.
fn loose_entries<F: Write + SyncData>(
    reader: &Reader,
    i: usize,
    (top, altered): (&str, bool),
    writer: &mut Writer<F>,
    last_at: &mut Wall,
) -> Result<u64> {
    let mut walk = TarWalk::new(reader.chain(vec![i], FRAME_MAX));
    let mut kept = 0;
    while let Ok(Some(head)) = walk.next() {
        let Some(path) = head.path.strip_prefix(top).and_then(|p| p.strip_prefix('/')) else { break };
        let known_better = path == MANIFEST_ENTRY || (altered && path == INCIDENT_ENTRY);
        if head.what != What::File || known_better || head.size > LOOSE_ENTRY_MAX {
            continue;
        }
        let mut bytes = Vec::with_capacity((head.size as usize).min(FRAME_BYTES as usize));
        if walk.read_to_end(&mut bytes).is_err() {
            break;
        }
        let at = seconds(head.mtime);
        writer.append_loose(path, at, &bytes)?;
        *last_at = at.max(*last_at);
        kept += 1;
    }
    writer.flush_frame()?;
    Ok(kept)
}

/// Whether frame `i` holds the manifest and nothing else.
fn manifest_only(reader: &Reader, i: usize, top: &str) -> bool {
    let mut walk = TarWalk::new(reader.chain(vec![i], FRAME_MAX));
    matches!(walk.next(), Ok(Some(head)) if head.path == format!("{top}/{MANIFEST_ENTRY}"))
}

fn seconds(mtime: u64) -> Wall {
    Wall(i64::try_from(mtime).unwrap_or(0).saturating_mul(1_000_000))
}

/// The caller's file, borrowed.
struct Out<'a>(&'a mut File);

impl Write for Out<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl SyncData for Out<'_> {
    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self.0)
    }
    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self.0)
    }
}
