//! The `keep` role: puts the stores in order, once, and ends. Snapshots that had to go elsewhere are moved home, what an
//! interrupted capture left is completed, limits are applied. It runs at the start, after a worker died at work, and
//! when the first store is well again.

use crate::archive::Now;
use crate::config::StoreConfig;
use crate::host::Root;
use crate::model::{BootId, IncidentId, Kind, Wall};
use crate::store::{self, Limits, Moved, MovedFate, PartialFate, PartialResult, Store, Stored};
use crate::sys::clock;
use crate::sys::ipc::{Channel, Received};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// The only order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tidy {
    pub config: StoreConfig,
}

/// What it found.
#[derive(Debug, Serialize, Deserialize)]
pub enum Found {
    /// One line.
    Told(String),
    /// A snapshot is in its own store now.
    Moved { id: IncidentId, host: String, kind: Kind, path: PathBuf, text: String },
    /// So many snapshots should be moved and could not be.
    Away(u64),
}

pub fn run(channel: Channel) -> io::Result<()> {
    let mut buf = Vec::new();
    let Received::Message(tidy) = channel.recv::<Tidy>(&mut buf, None)? else { return Ok(()) };
    bring_home(&tidy.config, &channel)?;
    let now = now();
    for dir in store::candidates(&tidy.config, None) {
        // A store that does not exist has nothing to put in order; the worker says why it cannot be had.
        let Ok(opened) = Store::view(&dir) else { continue };
        let opened = opened.with_limits(Limits::from(&tidy.config));
        match opened.salvage_partials(&now) {
            Ok(list) => {
                for s in list {
                    channel.send(&Found::Told(told(&s)))?;
                }
            }
            Err(e) => channel.send(&Found::Told(e.to_string()))?,
        }
        match opened.prune(clock::wall(), false) {
            Ok(removed) => {
                for r in removed {
                    channel.send(&Found::Told(format!("removed {}: {}", r.path.display(), r.why)))?;
                }
            }
            Err(e) => channel.send(&Found::Told(e.to_string()))?,
        }
    }
    Ok(())
}

/// Moves what other stores took for the first one into it, if that can be written to.
fn bring_home(config: &StoreConfig, channel: &Channel) -> io::Result<()> {
    let dirs = store::candidates(config, None);
    let Some((home, others)) = dirs.split_first() else { return Ok(()) };
    let others: Vec<Store> = others.iter().filter_map(|d| Store::view(d).ok()).collect();
    if others.is_empty() {
        return Ok(());
    }
    let home = match Store::open(home) {
        Ok(home) if !home.is_memory_backed() => home,
        // The worker says what is wrong with it, and asks again when it is well.
        _ => return Ok(()),
    };
    let mut away = 0;
    for other in others {
        for moved in other_home(&home, &other, channel)? {
            let Moved { snapshot, home, fate } = moved;
            let text = match fate {
                MovedFate::Moved => format!("{} is moved home: {}", snapshot.path.display(), home.display()),
                MovedFate::Already => {
                    format!("{} was late and is whole: the copy {} is removed", home.display(), snapshot.path.display())
                }
                MovedFate::Stays(why) => {
                    away += 1;
                    let text = format!("{} could not be moved to {}: {why}", snapshot.path.display(), home.display());
                    channel.send(&Found::Told(text))?;
                    continue;
                }
            };
            let Stored { id, host, kind, .. } = snapshot;
            channel.send(&Found::Moved { id, host, kind, path: home, text })?;
        }
    }
    channel.send(&Found::Away(away))
}

fn other_home(home: &Store, other: &Store, channel: &Channel) -> io::Result<Vec<Moved>> {
    match home.bring_home(other) {
        Ok(moved) => Ok(moved),
        Err(e) => channel.send(&Found::Told(e.to_string())).map(|()| Vec::new()),
    }
}

/// What is known of this boot, for what is salvaged in it.
pub fn now() -> Now {
    let root = Root::real();
    let read = |path: &str| root.read(path, 256).ok().map(|c| c.text().trim().to_owned()).filter(|t| !t.is_empty());
    // The line `btime` of /proc/stat: seconds since 1970 at which the kernel started (proc(5)).
    let stat = root.read("/proc/stat", 1 << 20).ok();
    let btime = stat.and_then(|c| c.text().lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse::<i64>().ok()));
    Now {
        at: clock::wall(),
        boot_id: read("/proc/sys/kernel/random/boot_id").map(BootId),
        kernel: read("/proc/sys/kernel/osrelease"),
        booted_at: btime.and_then(|s| s.checked_mul(1_000_000)).map(Wall),
    }
}

fn told(result: &PartialResult) -> String {
    let partial = result.partial.display();
    match &result.fate {
        PartialFate::Published(path) => format!("{partial} was whole: it is {} now", path.display()),
        PartialFate::Salvaged { path, what } => {
            let tiers = if what.tiers.is_empty() { "no tier".into() } else { what.tiers.join(", ") };
            let path = path.display();
            format!(
                "{partial} was interrupted; {} entries are kept in {path}, {tiers} whole: {}",
                what.entries, what.note
            )
        }
        PartialFate::Unreadable { path, why } => {
            format!("{partial} has nothing that can be read ({why}); it is kept as {}", path.display())
        }
        PartialFate::Failed { why } => format!("{partial} could not be salvaged yet: {why}"),
    }
}
