//! Makes a valid snapshot of what an interrupted capture left: whole frames byte for byte, the whole
//! entries of the frame that was being written, and a manifest that says what is lost.

use crate::archive::manifest::{Completed, EntryMeta, FORMAT, ManifestHead, TierEnd, TierMark, tier_entry};
use crate::archive::reader::{Reader, digest};
use crate::archive::seektable::Sizes;
use crate::archive::tarwalk::{TarWalk, What};
use crate::archive::writer::{FRAME_BYTES, SyncData, Writer};
use crate::archive::{Error, INCIDENT_ENTRY, MANIFEST_ENTRY, Result};
use crate::model::{BootId, Incident, Losses, Wall};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Largest entry of a broken frame that is kept: it has to be held in memory.
const LOOSE_ENTRY_MAX: u64 = 256 << 20;
/// Most bytes unpacked of one frame.
const FRAME_MAX: u64 = 4 << 30;

/// Tiers that a capture may have; each ends in an entry that says how its collectors ended.
const TIERS: &[&str] = &["T0", "T1", "T2"];
/// Largest such entry.
const TIER_END_MAX: u64 = 16 << 20;

/// What is known at the time of a salvage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    pub at: Wall,
    /// Of this host, where the partial was found; `None`: it is from elsewhere, or not known.
    pub boot_id: Option<BootId>,
    pub kernel: Option<String>,
    pub booted_at: Option<Wall>,
}

/// Why there is something to salvage.
#[derive(Clone, Copy, Debug)]
pub enum Why<'a> {
    /// In these words.
    Said(&'a str),
    /// To be told from the boot of the capture and the one of now.
    Found(&'a Now),
}

impl<'a> From<&'a str> for Why<'a> {
    fn from(text: &'a str) -> Why<'a> {
        Why::Said(text)
    }
}

impl<'a> From<&'a Now> for Why<'a> {
    fn from(now: &'a Now) -> Why<'a> {
        Why::Found(now)
    }
}

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Salvaged {
    /// Entries kept, not counting the new manifest.
    pub entries: u64,
    /// Bytes of the interrupted file that hold them.
    pub bytes_good: u64,
    /// Bytes of the interrupted file that could not be used.
    pub bytes_lost: u64,
    /// The tiers of which everything is kept.
    pub tiers: Vec<String>,
    /// As the new manifest says it.
    pub note: String,
}

/// Reads `partial` and writes a complete snapshot to `out`, an empty file; `why` there is something to salvage is kept
/// in the manifest. `partial` is not changed.
///
/// Errors: [`Error::NothingWhole`] or [`Error::Foreign`] when not even `incident.json` is whole.
pub fn salvage<'a>(partial: &Path, out: &mut File, why: impl Into<Why<'a>>) -> Result<Salvaged> {
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
    let ends = tier_ends(&reader, &writer);
    let (note, completed) = told(why.into(), &incident, &ends);
    let mut lost = reader.len.saturating_sub(good);
    let mut text = note;
    if !lost_frames.is_empty() {
        text.push_str(&format!("; not readable to its end: {}", lost_frames.join(", ")));
    }
    match &reader.layout.cut {
        // The file was the store's reserve, and longer than what was written.
        Some((at, _)) if only_zeros(&reader.file, *at, reader.len) => {
            lost -= (reader.len - at).min(lost);
            text.push_str(&format!("; nothing was written behind byte {at}"));
        }
        Some((at, why)) => text.push_str(&format!("; cut at byte {at} of {}: {why}", reader.len)),
        None => {}
    }
    let entries = writer.entries_written();
    let mut tiers: Vec<String> = ends.iter().map(|e| e.tier.clone()).collect();
    let head = match old {
        Some(m) => {
            tiers = m.tiers.iter().filter(|t| t.durable_ms.is_some()).map(|t| t.tier.clone()).collect();
            ManifestHead { salvaged: Some(text.clone()), completed, ..restore(&mut writer, m) }
        }
        None => ManifestHead { completed, ..fresh_head(incident, last_at, &text, ends) },
    };
    writer.finish(head)?;
    Ok(Salvaged { entries, bytes_good: good, bytes_lost: lost, tiers, note: text })
}

/// The ends of the tiers that are among the entries kept, in order.
fn tier_ends<F: Write + SyncData>(reader: &Reader, writer: &Writer<F>) -> Vec<TierEnd> {
    let kept = TIERS.iter().map(|t| tier_entry(t)).filter(|path| writer.has_entry(path));
    kept.filter_map(|path| serde_json::from_slice(&reader.read(&path, TIER_END_MAX).ok()?).ok()).collect()
}

/// Why the capture was interrupted, as far as that can be known, in words and in figures.
fn told(why: Why<'_>, incident: &Incident, ends: &[TierEnd]) -> (String, Option<Completed>) {
    let now = match why {
        Why::Said(text) => return (text.to_owned(), None),
        Why::Found(now) => now,
    };
    // An incident of another host has that host's boot.
    let own = incident.boot_id.as_ref().filter(|_| incident.local);
    let then = ends.iter().find_map(|e| e.boot_id.as_ref()).or(own);
    let machine_went_down = then.zip(now.boot_id.as_ref()).map(|(then, now)| then != now);
    let interrupted = "the capture was interrupted before it was finished";
    let text = match (machine_went_down, then, &now.boot_id) {
        (Some(true), Some(then), Some(boot)) => {
            let since = now.booted_at.map(|t| format!(", which began at {t}")).unwrap_or_default();
            format!("{interrupted}: the machine went down (it was in boot {then}; completed in boot {boot}{since})")
        }
        (Some(false), _, Some(boot)) => format!("{interrupted}: lastgasp ended, the machine went on (boot {boot})"),
        _ => format!("{interrupted} (lastgasp was killed, or the machine went down)"),
    };
    let completed = Completed {
        at: now.at,
        version: env!("CARGO_PKG_VERSION").into(),
        boot_id: now.boot_id.clone(),
        kernel: now.kernel.clone(),
        booted_at: now.booted_at,
        machine_went_down,
    };
    (text, Some(completed))
}

/// Whether nothing but zeros lies from byte `at` to the end.
fn only_zeros(file: &File, at: u64, len: u64) -> bool {
    let mut block = vec![0u8; 64 * 1024];
    let mut at = at;
    while at < len {
        match file.read_at(&mut block, at) {
            Ok(n) if n > 0 && block[..n].iter().all(|b| *b == 0) => at += n as u64,
            _ => return false,
        }
    }
    true
}

/// What the old manifest knew, with its knowledge of each entry given back.
fn restore<F: Write + SyncData>(writer: &mut Writer<F>, old: crate::archive::Manifest) -> ManifestHead {
    writer.recall(&old.entries);
    old.into_head()
}

fn fresh_head(incident: Incident, last_at: Wall, note: &str, ends: Vec<TierEnd>) -> ManifestHead {
    let started_at = incident.opened_at;
    let known = match &ends[..] {
        [] => "how each collector ended was not recorded before the interruption".to_owned(),
        ends => {
            let whole: Vec<&str> = ends.iter().map(|e| e.tier.as_str()).collect();
            format!("everything of {} is kept; how later collectors ended was not recorded", whole.join(", "))
        }
    };
    ManifestHead {
        format: FORMAT,
        started_at,
        finished_at: last_at,
        total_ms: u64::try_from(last_at.since(started_at).as_millis()).unwrap_or(u64::MAX),
        // When the disk had them was not recorded; that it has them is seen.
        tiers: ends.iter().map(|e| TierMark { tier: e.tier.clone(), durable_ms: None }).collect(),
        collectors: ends.into_iter().flat_map(|e| e.collectors).collect(),
        notes: vec![known],
        salvaged: Some(note.to_owned()),
        stores: Vec::new(),
        completed: None,
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
