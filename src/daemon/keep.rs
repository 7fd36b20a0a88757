//! The `keep` role: puts the stores in order, once, and ends. What an interrupted capture left is
//! completed, limits are applied. It runs at the start and after a worker died at work.

use crate::config::StoreConfig;
use crate::store::{self, Limits, PartialFate, PartialResult, Store};
use crate::sys::clock;
use crate::sys::ipc::{Channel, Received};
use serde::{Deserialize, Serialize};
use std::io;

/// The only order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tidy {
    pub config: StoreConfig,
}

/// What it found, one line each.
#[derive(Debug, Serialize, Deserialize)]
pub struct Found(pub String);

pub fn run(channel: Channel) -> io::Result<()> {
    let mut buf = Vec::new();
    let Received::Message(tidy) = channel.recv::<Tidy>(&mut buf, None)? else { return Ok(()) };
    for dir in store::candidates(&tidy.config, None) {
        // A store that does not exist has nothing to put in order; the worker says why it cannot be had.
        let Ok(opened) = Store::view(&dir) else { continue };
        let opened = opened.with_limits(Limits::from(&tidy.config));
        match opened.salvage_partials() {
            Ok(list) => {
                for s in list {
                    channel.send(&Found(told(&s)))?;
                }
            }
            Err(e) => channel.send(&Found(e.to_string()))?,
        }
        match opened.prune(clock::wall(), false) {
            Ok(removed) => {
                for r in removed {
                    channel.send(&Found(format!("removed {}: {}", r.path.display(), r.why)))?;
                }
            }
            Err(e) => channel.send(&Found(e.to_string()))?,
        }
    }
    Ok(())
}

fn told(result: &PartialResult) -> String {
    let partial = result.partial.display();
    match &result.fate {
        PartialFate::Published(path) => format!("{partial} was whole: it is {} now", path.display()),
        PartialFate::Salvaged { path, what } => {
            format!("{partial} was interrupted; {} entries are kept in {}", what.entries, path.display())
        }
        PartialFate::Unreadable { path, why } => {
            format!("{partial} has nothing that can be read ({why}); it is kept as {}", path.display())
        }
        PartialFate::Failed { why } => format!("{partial} could not be salvaged yet: {why}"),
    }
}
