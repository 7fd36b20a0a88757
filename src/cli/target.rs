//! Which stores and which snapshot a command means.

use crate::cli::Global;
use crate::cli::common::config_of;
use crate::store::{self, Store, Stored};
use anyhow::{Result, anyhow};
use std::path::{Path, PathBuf};

/// The stores to read from, which need not be writable: `--store`, else those configured that exist,
/// the memory-backed one last.
pub(crate) fn stores_of(global: &Global) -> Result<Vec<Store>> {
    Ok(store::view_first(&config_of(global)?.store, global.store.as_deref())?)
}

/// Where the stores would be, for the message that there is nothing.
pub(crate) fn where_looked(global: &Global, stores: &[Store]) -> String {
    let dirs: Vec<String> = match (&global.store, stores) {
        (Some(dir), _) => vec![dir.display().to_string()],
        (None, []) => store::default_dir().iter().map(|d| d.display().to_string()).collect(),
        (None, stores) => stores.iter().map(|s| s.dir().display().to_string()).collect(),
    };
    dirs.join(" or ")
}

/// One snapshot, in a store or anywhere.
#[derive(Debug)]
pub(crate) struct Target {
    pub path: PathBuf,
    /// `None`: a file outside the stores.
    pub stored: Option<(Store, Stored)>,
}

impl Target {
    pub fn pinned(&self) -> Option<bool> {
        self.stored.as_ref().map(|(_, s)| s.pinned)
    }
}

/// The snapshot that `wanted` names: an id, the unique start of one, a file; `None` is the newest.
/// `Ok(None)`: the newest was wanted and there is none.
pub(crate) fn target(global: &Global, wanted: Option<&str>) -> Result<Option<Target>> {
    let Some(wanted) = wanted else {
        let mut newest: Option<(Store, Stored)> = None;
        for store in stores_of(global)? {
            match store.find(None) {
                Ok(s) if newest.as_ref().is_none_or(|(_, n)| s.at > n.at) => newest = Some((store, s)),
                Ok(_) => {}
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e.into()),
            }
        }
        return Ok(newest.map(|(store, s)| Target { path: s.path.clone(), stored: Some((store, s)) }));
    };
    let file = Path::new(wanted);
    let is_path = wanted.contains('/') || (wanted.contains(".tar") && file.is_file());
    let mut not_found = None;
    // A file given by its path must be readable even where no store is.
    let stores = stores_of(global).or_else(|e| if is_path { Ok(Vec::new()) } else { Err(e) })?;
    for store in stores {
        match store.find(Some(wanted)) {
            Ok(s) => return Ok(Some(Target { path: s.path.clone(), stored: Some((store, s)) })),
            Err(e) if e.is_not_found() => not_found = not_found.or(Some(e)),
            Err(e) => return Err(e.into()),
        }
    }
    if is_path {
        return Ok(Some(Target { path: file.into(), stored: None }));
    }
    Err(match not_found {
        Some(e) => e.into(),
        None => anyhow!("no snapshot {wanted:?}: there is no store at {}", where_looked(global, &[])),
    })
}

/// Says on standard error that there is no snapshot.
pub(crate) fn say_none(global: &Global) -> Result<crate::cli::Exit> {
    let stores = stores_of(global)?;
    eprintln!("lastgasp: no snapshots in {}", crate::report::safe(&where_looked(global, &stores)));
    Ok(crate::cli::Exit::Nothing)
}
