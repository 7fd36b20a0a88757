//! Checks a snapshot against itself: frame checksums, the seek table against the frames, every entry
//! against size and sha256 in the manifest, nothing missing, nothing extra.

use crate::archive::frames;
use crate::archive::reader::{Problem, Problems, Reader, digest};
use crate::archive::tarwalk::What;
use crate::archive::{INCIDENT_ENTRY, MANIFEST_ENTRY};
use crate::model::Incident;
use serde::Serialize;
use std::collections::HashMap;
use std::io::Read;
use std::ops::ControlFlow;

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// Every byte is accounted for.
    pub ok: bool,
    pub problems: Vec<Problem>,
    /// Entries that are whole, the manifest included.
    pub readable: u64,
    /// Entries that the manifest knows of, itself included; `None` without a manifest.
    pub expected: Option<u64>,
    /// Unpacked bytes of the readable entries.
    pub bytes: u64,
    /// The archive is the rest of an interrupted capture: why. No damage.
    pub salvaged: Option<String>,
}

impl Reader {
    /// Unpacks everything (to nowhere) and compares. At most `limit` bytes are unpacked.
    pub fn verify(&self, limit: u64) -> VerifyReport {
        let mut problems = Problems::default();
        if let Some(p) = self.cut() {
            problems.add(p.place, p.why);
        }
        if self.layout.table {
            self.compare_table(&mut problems);
        }
        let manifest = match self.index() {
            Ok(m) => m,
            Err(why) => {
                problems.add(MANIFEST_ENTRY, why);
                None
            }
        };
        if manifest.is_none() && self.top_dir().is_none() {
            problems.add("file", "neither incident.json nor manifest.json: this archive was not made by lastgasp");
        } else if manifest.is_none() && self.cut().is_none() {
            problems.add("file", "there is no manifest.json");
        }
        let mut wanted: HashMap<&str, _> =
            manifest.iter().flat_map(|m| &m.entries).map(|e| (e.path.as_str(), e)).collect();
        let (mut readable, mut bytes, mut seen_manifest) = (0, 0, false);
        let mut content = Problems::default();
        let mut first = true;
        let walk = self.visit(self.all_frames(), limit, &mut |found, body| {
            let is_incident = std::mem::take(&mut first) && found.path == INCIDENT_ENTRY;
            let got = if is_incident { check_incident(body) } else { digest(body).map_err(|e| e.to_string()) };
            match got {
                Err(why) => content.add(format!("entry {}", found.path), why),
                Ok((size, sha)) => {
                    let why = match wanted.remove(found.path.as_str()) {
                        _ if found.head.what != What::File && self.top_dir().is_some() => {
                            Some(format!("it is a {}, which lastgasp never writes", found.head.what.name()))
                        }
                        Some(meta) if meta.size != size => {
                            Some(format!("it has {size} bytes, the manifest says {}", meta.size))
                        }
                        Some(meta) if meta.sha256 != sha => Some("its content does not match its checksum".into()),
                        Some(meta) if (meta.frame as usize, meta.offset) != (found.frame, found.offset) => {
                            Some("it is not where the manifest says".into())
                        }
                        Some(_) => None,
                        None if found.path == MANIFEST_ENTRY && !seen_manifest => {
                            seen_manifest = true;
                            None
                        }
                        None if manifest.is_some() => Some("the manifest does not know it".into()),
                        None => None,
                    };
                    match why {
                        Some(why) => content.add(format!("entry {}", found.path), why),
                        None => {
                            readable += 1;
                            bytes += size;
                        }
                    }
                }
            }
            ControlFlow::Continue(())
        });
        problems.extend(walk);
        problems.extend(content.finish());
        let mut missing: Vec<&str> = wanted.into_keys().collect();
        missing.sort_unstable();
        for path in missing {
            problems.add(format!("entry {path}"), "it is in the manifest but cannot be read");
        }
        let problems = problems.finish();
        VerifyReport {
            ok: problems.is_empty(),
            problems,
            readable,
            expected: manifest.map(|m| m.entries.len() as u64 + 1),
            bytes,
            salvaged: manifest.and_then(|m| m.salvaged.clone()),
        }
    }

    /// The seek table against the frames as they are, and their unpacked sizes.
    fn compare_table(&self, problems: &mut Problems) {
        let walked = match frames::walk(&self.file, self.len) {
            Ok(w) => w,
            Err(e) => return problems.add("file", e.to_string()),
        };
        if let Some((at, why)) = walked.cut {
            problems.add(format!("byte {at} of {}", self.len), why);
        }
        let places = |l: &[frames::Frame]| l.iter().map(|f| (f.at, f.packed)).collect::<Vec<_>>();
        if places(&walked.frames) != places(&self.layout.frames) {
            problems.add("seek table", "it does not agree with the frames in the file");
        }
        for (i, frame) in self.layout.frames.iter().enumerate() {
            let Some(told) = frame.unpacked else { continue };
            // One byte more is asked for, to see whether there is more than told.
            let mut body = self.chain(vec![i], told + 2).take(told + 1);
            match std::io::copy(&mut body, &mut std::io::sink()) {
                Ok(n) if n == told => {}
                Ok(_) => {
                    problems.add(format!("frame {i} at byte {}", frame.at), "its size is not what the seek table says")
                }
                // The walk over the entries reports it.
                Err(_) => {}
            }
        }
    }
}

/// `incident.json` must also be readable as what it is.
fn check_incident(body: &mut dyn Read) -> Result<(u64, String), String> {
    let mut bytes = Vec::new();
    body.take(32 << 20).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    serde_json::from_slice::<Incident>(&bytes).map_err(|e| e.to_string())?;
    digest(&mut &bytes[..]).map_err(|e| e.to_string())
}
