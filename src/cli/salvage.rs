//! `lastgasp salvage`: complete what an interrupted capture left, by hand.

use crate::archive::{Now, Reader};
use crate::cli::common::config_of;
use crate::cli::{Exit, Format, Global};
use crate::daemon;
use crate::report::{self, Saved};
use crate::store;
use anyhow::{Context, Result, bail};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Ends the name of what an interrupted capture left.
const PARTIAL: &str = ".partial";

#[derive(clap::Args, Debug)]
pub struct Args {
    /// What interrupted captures left (….tar.zst.partial), anywhere; they are not changed
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where to write the snapshot, which must not be there; without, FILE without .partial
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    if args.output.is_some() && args.files.len() > 1 {
        bail!("--output names one file, but there are {} to salvage", args.files.len());
    }
    // A config that cannot be read is no reason to leave a file as it is.
    let host = daemon::hostname(&config_of(global).unwrap_or_default());
    let here = daemon::now();
    let mut saved = Vec::new();
    for file in &args.files {
        let to = match &args.output {
            Some(to) => to.clone(),
            None => without_partial(file)?,
        };
        let fate = store::salvage_file(file, &to, &knowledge(file, &host, &here))?;
        saved.push(Saved::new(file.clone(), fate));
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    report::saved(&mut out, &saved, global.format == Format::Json)?;
    out.flush()?;
    Ok(if saved.iter().all(|s| s.output.is_some()) { Exit::Success } else { Exit::Damaged })
}

fn without_partial(file: &Path) -> Result<PathBuf> {
    let name = file.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(PARTIAL));
    let name = name.filter(|n| !n.is_empty());
    let name = name.with_context(|| format!("{} does not end in {PARTIAL}; give --output FILE", file.display()))?;
    Ok(file.with_file_name(name))
}

/// This boot says something about the capture only when it ran on this host.
fn knowledge(file: &Path, host: &str, here: &Now) -> Now {
    let ours = Reader::open(file).and_then(|r| r.incident()).is_ok_and(|i| i.captured_on == host);
    if ours { here.clone() } else { Now { boot_id: None, booted_at: None, ..here.clone() } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::PartialFate;

    #[test]
    fn the_name_loses_its_end_and_only_that() {
        let name = |s: &str| without_partial(Path::new(s)).map_err(|e| e.to_string());
        assert_eq!(name("/x/a.tar.zst.partial"), Ok(PathBuf::from("/x/a.tar.zst")));
        assert_eq!(name("a.partial.partial"), Ok(PathBuf::from("a.partial")));
        for bad in ["a.tar.zst", ".partial", "/", "x.partial.salvage"] {
            assert!(name(bad).expect_err(bad).contains("--output"), "{bad}");
        }
    }

    #[test]
    fn a_fate_says_whether_there_is_a_snapshot() {
        let unreadable = PartialFate::Unreadable { path: "p".into(), why: "w".into() };
        assert_eq!(Saved::new("p".into(), unreadable).output, None);
        let whole = PartialFate::Published("o".into());
        assert_eq!(Saved::new("p".into(), whole).output, Some("o".into()));
    }
}
