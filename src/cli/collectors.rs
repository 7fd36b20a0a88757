//! `lastgasp collectors`: the registry, for people and programs.

use crate::capture::{Source, Spec, registry};
use crate::cli::{Exit, Format, Global};
use anyhow::Result;
use std::io::Write;

#[derive(clap::Args, Debug)]
pub struct Args {}

pub fn run(global: &Global, _args: &Args) -> Result<Exit> {
    let mut out = std::io::stdout().lock();
    for spec in registry::ALL {
        match global.format {
            Format::Json => writeln!(out, "{}", json(spec))?,
            Format::Text => text(spec, &mut out)?,
        }
    }
    Ok(Exit::Success)
}

fn json(spec: &Spec) -> serde_json::Value {
    serde_json::json!({
        "name": spec.name,
        "tier": spec.tier.name(),
        "doc": spec.doc,
        "cap_bytes": spec.cap_bytes,
        "limit_ms": spec.limit_ms,
        "sensitivity": spec.sensitivity.name(),
        "capabilities": spec.capabilities.iter().map(|c| c.name()).collect::<Vec<_>>(),
        "files": files(spec),
    })
}

fn files(spec: &Spec) -> Vec<&'static str> {
    match spec.source {
        Source::Files(list) => list.iter().map(|f| f.path).collect(),
        Source::Run(_) => Vec::new(),
    }
}

fn text(spec: &Spec, out: &mut impl Write) -> std::io::Result<()> {
    let capabilities = match spec.capabilities {
        [] => "none".to_owned(),
        list => list.iter().map(|c| c.name()).collect::<Vec<_>>().join(" "),
    };
    let (tier, name) = (spec.tier.name(), spec.name);
    writeln!(out, "{tier} {name}\n   {}", spec.doc)?;
    writeln!(
        out,
        "   at most {} in {} ms; {}; capabilities: {capabilities}",
        bytesize::ByteSize::b(spec.cap_bytes),
        spec.limit_ms,
        spec.sensitivity.name()
    )
}
