//! The `keep` role: puts the stores in order, once, and ends. What an interrupted capture left is
//! completed, limits are applied. It runs at the start and after a worker died at work.

use crate::config::StoreConfig;
use crate::store;
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
    for opened in store::open_all(&tidy.config) {
        match opened.salvage_partials() {
            Ok(list) => {
                for s in list {
                    channel.send(&Found(format!("salvaged {s}")))?;
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
