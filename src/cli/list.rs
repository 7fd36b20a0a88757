//! `lastgasp list`: the snapshots in the store, newest first.

use crate::cli::target::{say_none, stores_of};
use crate::cli::{Exit, Format, Global};
use crate::report;
use crate::sys::clock;
use anyhow::Result;
use std::io::{BufWriter, Write};

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(global: &Global, _args: &Args) -> Result<Exit> {
    let mut all = Vec::new();
    for store in stores_of(global)? {
        let list = store.list()?;
        if !list.is_empty() {
            store.notices().iter().for_each(|n| eprintln!("lastgasp: {}", report::safe(n)));
        }
        all.extend(list);
    }
    all.sort_by(|a, b| (b.at, &b.path).cmp(&(a.at, &a.path)));
    let as_json = global.format == Format::Json;
    let mut out = BufWriter::new(std::io::stdout().lock());
    report::list(&mut out, &report::rows(&all), clock::wall(), as_json)?;
    out.flush()?;
    if all.is_empty() { say_none(global) } else { Ok(Exit::Success) }
}
