//! `lastgasp rules`: what the detector recognises, and which kernel source prints it.

use crate::cli::{Exit, Format, Global};
use crate::detect;
use anyhow::Result;
use serde::Serialize;
use std::io::{self, BufWriter, Write};

#[derive(clap::Args, Debug)]
pub struct Args {}

/// One rule as a line of JSON.
#[derive(Serialize)]
struct Row {
    rule: &'static str,
    kind: &'static str,
    severity: &'static str,
    alarm: bool,
    phrases: &'static [&'static str],
    doc: &'static str,
    source: &'static str,
}

pub fn run(global: &Global, _args: &Args) -> Result<Exit> {
    let mut out = BufWriter::new(io::stdout().lock());
    match global.format {
        Format::Json => {
            for r in detect::catalogue() {
                let row = Row {
                    rule: r.id,
                    kind: r.kind.name(),
                    severity: r.severity.name(),
                    alarm: r.alarm,
                    phrases: r.phrases,
                    doc: r.doc,
                    source: r.source,
                };
                serde_json::to_writer(&mut out, &row)?;
                writeln!(out)?;
            }
        }
        Format::Text => {
            let mut table = comfy_table::Table::new();
            table.load_style(comfy_table::presets::NOTHING);
            table.set_header(["RULE", "KIND", "SEVERITY", "ALARM", "MEANING", "PRINTED BY"]);
            for r in detect::catalogue() {
                let alarm = if r.alarm { "yes" } else { "no" };
                table.add_row([r.id, r.kind.name(), r.severity.name(), alarm, r.doc, r.source]);
            }
            writeln!(out, "{table}")?;
        }
    }
    out.flush()?;
    Ok(Exit::Success)
}
