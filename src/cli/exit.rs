//! Exit codes: each has a name, a test and a line in the help and the man page.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; `scan` found something.
    Success = 0,
    /// A clean "no": `scan` found nothing, no snapshot is there, no watch is running, the drill failed.
    Nothing = 1,
    /// Wrong usage, bad config, unreadable input, no store to write to.
    Error = 2,
    /// A snapshot is damaged; what is readable was shown or unpacked.
    Damaged = 3,
}

pub const HELP: &str = "Exit codes: 0 done (scan: something found), 1 a clean \"no\" (scan: nothing found; no snapshot; \
no watch running; drill failed), 2 error, 3 a snapshot is damaged.";

impl From<Exit> for ExitCode {
    fn from(e: Exit) -> ExitCode {
        ExitCode::from(e as u8)
    }
}

/// Whether the reader of our output went away, which is no error of ours.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|c| c.downcast_ref::<std::io::Error>()).any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
