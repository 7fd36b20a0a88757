//! The state file: how far the kernel log and each console were read. JSON, mode 0600, replaced whole.

use crate::source::kernel::Cursor;
use crate::source::{ConsoleState, Notice};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The state of 1024 files is about 300 KiB.
const STATE_MAX: u64 = 4 << 20;

/// What is kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub cursor: Option<Cursor>,
    pub consoles: ConsoleState,
}

/// Errors are the notice to give.
pub fn load(path: &Path) -> Result<State, Notice> {
    let file = match File::open(path) {
        Ok(file) => file,
        // The first start.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
        Err(e) => return Err(lost(path, &e.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(STATE_MAX + 1).read_to_end(&mut bytes).map_err(|e| lost(path, &e.to_string()))?;
    if bytes.len() as u64 > STATE_MAX {
        return Err(lost(path, "too large"));
    }
    serde_json::from_slice(&bytes).map_err(|e| lost(path, &e.to_string()))
}

fn lost(path: &Path, why: &str) -> Notice {
    format!("read {}: {why}; starting afresh: consoles are followed from their end", path.display())
}

/// Replaces the file so that a crash leaves the old or the new one, never half of it.
pub fn store(path: &Path, state: &State) -> io::Result<()> {
    let bytes = serde_json::to_vec(state).map_err(io::Error::other)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    // One left by a crash, with whatever mode, must not be written through.
    match std::fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)?;
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_survives_and_a_bad_one_is_said() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("state");
        assert_eq!(load(&path), Ok(State::default()));
        let state = State {
            cursor: Some(Cursor { boot_id: crate::model::BootId("b".into()), seq: Some(7), stamp: None }),
            consoles: ConsoleState { at_us: 5, ..ConsoleState::default() },
        };
        store(&path, &state).expect("writable");
        store(&path, &state).expect("writable again");
        assert_eq!(load(&path), Ok(state));
        std::fs::write(&path, "{\"cursor\":").expect("write");
        assert!(load(&path).expect_err("cut short").contains("starting afresh"));
    }
}
