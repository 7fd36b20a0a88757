//! What several commands need first: the config that holds for this call.

use crate::cli::Global;
use crate::config::{self, Config};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// The config named by `--config`, else the default one, with `--store` as its only store.
pub fn config_of(global: &Global) -> Result<Config> {
    Ok(config_and_file(global)?.0)
}

/// As [`config_of`], and the file; `None`: there is none and the defaults hold. A bad config is a
/// [`config::Error`] within the error.
pub(crate) fn config_and_file(global: &Global) -> Result<(Config, Option<PathBuf>)> {
    let (mut config, file) = match &global.config {
        Some(path) => (config::load(path)?, Some(path.clone())),
        None => config::load_default()?,
    };
    if let Some(dir) = &global.store {
        // Roles run in another directory.
        config.store.dirs = vec![std::path::absolute(dir).context("read the current directory")?];
    }
    Ok((config, file))
}
