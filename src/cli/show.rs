//! `lastgasp show`: what a snapshot says; or one of its entries.

use crate::archive::{self, Reader};
use crate::cli::target::{say_none, target};
use crate::cli::{Exit, Format, Global};
use crate::report::{self, Page, SafeWriter};
use anyhow::Result;
use std::io::{BufWriter, IsTerminal, Write};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Id, the unique start of one, or a file; without, the newest
    pub id: Option<String>,
    /// Print this entry: as it is into a pipe or file, with control characters made visible to a terminal
    pub entry: Option<String>,
    /// List the entries
    #[arg(long, conflicts_with = "entry")]
    pub entries: bool,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let Some(target) = target(global, args.id.as_deref())? else { return say_none(global) };
    let reader = Reader::open(&target.path)?;
    let as_json = global.format == Format::Json;
    if let Some(entry) = &args.entry {
        return print_entry(&reader, entry);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    if args.entries {
        report::entries(&mut out, &reader.entries(), as_json)?;
        out.flush()?;
        let cut = reader.cut();
        cut.iter().for_each(|p| eprintln!("lastgasp: damaged: {}", report::safe(&p.to_string())));
        return Ok(if cut.is_some() { Exit::Damaged } else { Exit::Success });
    }
    let mut page = Page::of(&reader, target.pinned());
    if let (Some((store, _)), Some(incident)) = (&target.stored, &page.incident) {
        // The snapshot is complete without it; a store may have no history, or one that cannot be read.
        let lines = crate::source::history::last(store.dir(), usize::MAX).unwrap_or_default();
        page.history = lines.into_iter().filter(|l| l.incident.as_ref() == Some(&incident.id)).collect();
    }
    report::show(&mut out, &page, as_json)?;
    out.flush()?;
    Ok(if page.problems.is_empty() { Exit::Success } else { Exit::Damaged })
}

fn print_entry(reader: &Reader, entry: &str) -> Result<Exit> {
    let stdout = std::io::stdout();
    let done = if stdout.is_terminal() {
        let mut out = SafeWriter::new(BufWriter::new(stdout.lock()));
        reader.copy(entry, u64::MAX, &mut out).map(|_| out.finish())
    } else {
        let mut out = BufWriter::new(stdout.lock());
        reader.copy(entry, u64::MAX, &mut out).map(|_| out.flush())
    };
    match done {
        Ok(flushed) => {
            flushed?;
            Ok(Exit::Success)
        }
        Err(e @ archive::Error::Damaged { .. }) => {
            eprintln!("lastgasp: {}", report::safe(&e.to_string()));
            Ok(Exit::Damaged)
        }
        // As it is, so that a closed pipe is known for what it is.
        Err(archive::Error::Write { cause, .. }) => Err(cause.into()),
        Err(e) => Err(e.into()),
    }
}
