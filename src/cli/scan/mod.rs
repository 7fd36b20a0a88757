//! `lastgasp scan`: the daemon's detector over old logs, without the daemon.
//!
//! [`stream`] takes one file through the detector, [`mod@print`] shows what it found.

mod print;
mod stream;

use crate::cli::{Exit, Global};
use crate::detect::Detector;
use anyhow::{Context, Result, bail};
use regex::Regex;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use stream::{PrintError, Scan};

#[derive(clap::Args, Debug)]
#[command(after_long_help = keys_help())]
pub struct Args {
    /// Log files; `-` is standard input; `.zst` files are unpacked on the way
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Regex on the file name whose group `host`, or first group, is the host's name; without, the file's name is
    #[arg(long, value_name = "REGEX")]
    host_pattern: Option<String>,
}

pub fn run(global: &Global, args: &Args) -> Result<Exit> {
    let pattern = match &args.host_pattern {
        Some(p) => Some(Regex::new(p).with_context(|| format!("--host-pattern {p:?} is no regular expression"))?),
        None => None,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = false;
    let mut failed = false;
    let mut detector = Detector::new(&crate::cli::common::config_of(global)?.rules)?;
    for file in &args.files {
        let mut scan = Scan::new(file, &host_of(file, pattern.as_ref()), global.format, &mut detector);
        let result = open(file).and_then(|mut input| scan.read(&mut *input, &mut out));
        // What was found before a read error is printed all the same.
        scan.finish(&mut out)?;
        found |= scan.found;
        if let Err(error) = result {
            if error.downcast_ref::<PrintError>().is_some() {
                return Err(error);
            }
            out.flush()?;
            let why = format!("cannot scan {file}: {error:#}");
            eprintln!("lastgasp: {}", crate::report::safe_lines(&why));
            failed = true;
        }
    }
    out.flush()?;
    Ok(match (failed, found) {
        (true, _) => Exit::Error,
        (false, true) => Exit::Success,
        (false, false) => Exit::Nothing,
    })
}

fn open(file: &str) -> Result<Box<dyn Read>> {
    if file == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let input = File::open(file).context("open failed")?;
    if input.metadata().context("stat failed")?.is_dir() {
        bail!("it is a directory; name the files in it");
    }
    if file.ends_with(".zst") {
        return Ok(Box::new(zstd::stream::read::Decoder::new(input).context("no zstd stream")?));
    }
    Ok(Box::new(input))
}

fn host_of(file: &str, pattern: Option<&Regex>) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    if let Some(found) = pattern.and_then(|p| p.captures(name))
        && let Some(host) = found.name("host").or_else(|| found.get(1))
    {
        return host.as_str().to_owned();
    }
    name.split_once('.').map_or(name, |p| if p.0.is_empty() { name } else { p.0 }).to_owned()
}

/// What the keys of a line of JSON mean, for the long help.
fn keys_help() -> String {
    let mut help = String::from(
        "With --format json each event is one object a line. taint_words says the letters of tainted in words, frames are the \
         functions of the trace, innermost first, modules those whose code is in it; line and last_line count from 1. \
         details holds what else the text says, by name, as text:\n",
    );
    for (name, doc) in crate::detect::DETAILS {
        help.push_str(&format!("\n  {name}: {doc}"));
    }
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_from_the_name() {
        let p = Regex::new(r"^console-(?P<host>[a-z0-9]+)").expect("a regex");
        assert_eq!(host_of("/var/log/console-db7.log", Some(&p)), "db7");
        assert_eq!(host_of("/var/log/db7.log", None), "db7");
        assert_eq!(host_of("-", None), "-");
    }
}
