//! What several commands need first: the config that holds for this call.

use crate::cli::Global;
use crate::config::{self, Config};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// The config named by `--config`, else the default one, with `--store` as its only store.
pub fn config_of(global: &Global) -> Result<Config> {
    let (mut config, _) = config_and_file(global)?;
    if let Some(dir) = &global.store {
        // Roles run in another directory.
        config.store.dirs = vec![std::path::absolute(dir).context("read the current directory")?];
    }
    Ok(config)
}

/// The config as in its file, and that file; `None`: there is none and the defaults hold.
pub(crate) fn config_and_file(global: &Global) -> Result<(Config, Option<PathBuf>), config::Error> {
    match &global.config {
        Some(path) => Ok((config::load(path)?, Some(path.clone()))),
        None => config::load_default(),
    }
}
