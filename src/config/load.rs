//! From a file to a config, or to all that is wrong with it.

use crate::config::problem::{Error, Problems};
use crate::config::{Config, build, raw};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the config is when none is named.
pub const DEFAULT_PATH: &str = "/etc/lastgasp/lastgasp.toml";
/// Largest config file.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Config, Error> {
    let text = read(path)?;
    parse(&text, &path.display().to_string())
}

/// Reads [`DEFAULT_PATH`] if it is there, and says so; otherwise the defaults.
pub fn load_default() -> Result<(Config, Option<PathBuf>), Error> {
    let path = Path::new(DEFAULT_PATH);
    match load(path) {
        Ok(config) => Ok((config, Some(path.to_owned()))),
        Err(Error::Unreadable { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            Ok((build::defaults(), None))
        }
        Err(e) => Err(e),
    }
}

/// Checks a text. `file_name` is what messages call it.
pub fn parse(text: &str, file_name: &str) -> Result<Config, Error> {
    let (config, problems) = build::build(raw::read(text));
    if problems.is_empty() { Ok(config) } else { Err(Error::Invalid(Problems::new(file_name, text, problems))) }
}

fn read(path: &Path) -> Result<String, Error> {
    let unreadable = |cause| Error::Unreadable { path: path.to_owned(), cause };
    // Non-blocking: a FIFO must not hold us.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = file.map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned(), limit: FILE_BYTES_MAX });
    }
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        Error::NotUtf8 { path: path.to_owned(), line }
    })
}
