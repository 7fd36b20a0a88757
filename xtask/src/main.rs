//! What is generated from the program's own tables for a package: `man DIR` and `completions DIR`.
//!
//! A crate of its own, so that the generators are no part of the program.

mod man;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

const USAGE: &str = "usage: cargo run -p xtask -- man DIR | completions DIR";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["man", dir] => man_page(Path::new(dir)),
        ["completions", dir] => completions(Path::new(dir)),
        _ => bail!("{USAGE}"),
    }
}

fn man_page(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let path = dir.join(man::FILE);
    std::fs::write(&path, man::page()?).with_context(|| format!("write {}", path.display()))
}

fn completions(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let mut command = lastgasp::cli::Cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "lastgasp", dir)
            .with_context(|| format!("write the completions for {shell} into {}", dir.display()))?;
    }
    Ok(())
}
