//! Opening a store: where it is, whether it may be trusted, whether it can be written to.

use crate::config::StoreConfig;
use crate::store::{Error, Limits, Result, Store, reserve};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::sys::statvfs::statvfs;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// linux/magic.h; nix knows the one of tmpfs only.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
/// Followed by a process id.
pub(crate) const WRITE_TEST: &str = ".write-test-";
/// A store must be able to take at least this much, once its reserve is given up.
const PROBE_BYTES: usize = 64 * 1024;

/// Where snapshots go without a config: /var/lib/lastgasp as root, else under the user's state directory.
pub fn default_dir() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some("/var/lib/lastgasp".into());
    }
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("lastgasp"))
}

/// The memory-backed place of last resort.
pub fn fallback_dir() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some("/run/lastgasp/store".into());
    }
    Some(absolute("XDG_RUNTIME_DIR")?.join("lastgasp/store"))
}

fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute())
}

/// The directories of `config` in order, then the fallback; or `only` that one.
pub fn candidates(config: &StoreConfig, only: Option<&Path>) -> Vec<PathBuf> {
    if let Some(dir) = only {
        return vec![dir.into()];
    }
    let mut dirs = config.dirs.clone();
    if dirs.is_empty() {
        dirs.extend(default_dir());
    }
    dirs.extend(fallback_dir().filter(|d| !config.dirs.contains(d)));
    dirs
}

/// The first store that can be written to, and what the operator should know: the directories that
/// were passed over and why, a store that does not survive a reboot.
///
/// Errors: [`Error::NoStore`] with every directory tried, its reason and its remedy.
pub fn open_first(config: &StoreConfig, only: Option<&Path>) -> Result<(Store, Vec<String>)> {
    open_any(config, candidates(config, only))
}

fn open_any(config: &StoreConfig, dirs: Vec<PathBuf>) -> Result<(Store, Vec<String>)> {
    let mut tried: Vec<String> = Vec::new();
    for dir in dirs {
        match Store::open(&dir) {
            Ok(store) => {
                let store = store.with_limits(Limits::from(config));
                let mut notices = tried;
                if let (false, Some(last)) = (notices.is_empty(), notices.last_mut()) {
                    last.push_str(&format!("; snapshots go to {}", dir.display()));
                }
                notices.extend(store.notices().iter().cloned());
                return Ok((store, notices));
            }
            Err(e) => tried.push(with_remedy(&dir, &e)),
        }
    }
    if tried.is_empty() && candidates(config, None).is_empty() {
        tried.push("neither XDG_STATE_HOME, HOME nor XDG_RUNTIME_DIR is set; give --store DIR".into());
    }
    Err(Error::NoStore { tried })
}

/// The stores to look for snapshots in, which need not be writable: those of the candidates that
/// exist, best first. Errors: `only` (or every one there is) cannot be read.
pub fn view_first(config: &StoreConfig, only: Option<&Path>) -> Result<Vec<Store>> {
    let mut stores = Vec::new();
    let mut first_error = None;
    for dir in candidates(config, only) {
        match Store::view(&dir) {
            Ok(store) => stores.push(store.with_limits(Limits::from(config))),
            Err(e) if e.is_not_found() && only.is_none() => {}
            Err(e) => {
                first_error.get_or_insert(e);
            }
        }
    }
    match first_error {
        Some(e) if stores.is_empty() => Err(e),
        _ => Ok(stores),
    }
}

pub(super) fn with_remedy(dir: &Path, e: &Error) -> String {
    let remedy = match e {
        Error::Io { cause, .. } => match cause.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => "; free some space, or name another directory in [store] dirs",
            Some(libc::EROFS) => "; remount it writable, or name another directory in [store] dirs",
            Some(libc::EACCES | libc::EPERM) => "; run as root, or give --store DIR",
            Some(libc::EIO) => "; the disk fails: name a directory on another one in [store] dirs",
            _ => "",
        },
        _ => "",
    };
    match e {
        // These name the directory themselves.
        Error::Io { .. } | Error::Unsafe { .. } => format!("{e}{remedy}"),
        _ => format!("{}: {e}{remedy}", dir.display()),
    }
}

impl Store {
    /// Opens a store to write to: makes the directory (0700) where it is missing, checks that nobody
    /// else can put files there, writes and removes a test file, and sees to the reserve.
    pub fn open(dir: impl AsRef<Path>) -> Result<Store> {
        let dir = dir.as_ref();
        let io_error = |operation| move |cause| Error::Io { operation, path: dir.into(), cause };
        match std::fs::metadata(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("create store"))?;
            }
            Err(e) => return Err(io_error("open store")(e)),
            Ok(_) => {}
        }
        let mut store = Store::view(dir)?;
        store.check_owner()?;
        // A reserve that stands in the way of the test is what a reserve is for. It is left in place: what
        // filled the disk would take its room before the next snapshot could.
        if let Err(cause) = write_test(dir) {
            let full = matches!(cause.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT));
            if !(full && reserve::held(dir)) {
                return Err(io_error("write to store")(cause));
            }
            let what = "is full; its reserve is kept for the next snapshot, free some space";
            store.notices.push(format!("{} {what}", dir.display()));
        } else if !store.mend() {
            let what = "has no reserve: its file system has no space to spare, or cannot preallocate";
            store.notices.push(format!("{} {what}", dir.display()));
        }
        Ok(store)
    }

    /// Makes the reserve if there is none and room for it; whether there is one now, or need not be.
    pub(crate) fn mend(&self) -> bool {
        self.memory_backed || reserve::ensure(&self.dir, free_bytes(&self.dir)).is_ok()
    }

    /// Whether the reserve that the next snapshot may need is there, or need not be.
    pub(crate) fn has_reserve(&self) -> bool {
        self.memory_backed || reserve::held(&self.dir)
    }

    /// Opens a store to read only; nothing is made, written or checked for safety.
    pub fn view(dir: impl AsRef<Path>) -> Result<Store> {
        let dir = dir.as_ref();
        let io_error = |operation| move |cause| Error::Io { operation, path: dir.into(), cause };
        let meta = std::fs::metadata(dir).map_err(io_error("open store"))?;
        if !meta.is_dir() {
            return Err(io_error("open store")(io::Error::from_raw_os_error(libc::ENOTDIR)));
        }
        let memory_backed = statfs(dir).is_ok_and(|s| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&s.filesystem_type()));
        let mut notices = Vec::new();
        if memory_backed {
            notices.push(format!("{} is in memory (tmpfs): its snapshots are lost at a reboot", dir.display()));
        }
        Ok(Store { dir: dir.into(), limits: Limits::default(), notices, memory_backed })
    }

    /// Free bytes of the file system, as this user may use them; `None` when it does not say.
    pub fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.dir)
    }

    /// Nobody but us and root may put files into the store: what lies there is believed and removed.
    fn check_owner(&self) -> Result<()> {
        let dir = &self.dir;
        let meta =
            std::fs::metadata(dir).map_err(|cause| Error::Io { operation: "open store", path: dir.clone(), cause })?;
        let me = nix::unistd::geteuid().as_raw();
        let refuse = |why: String, remedy: String| Err(Error::Unsafe { dir: dir.clone(), why, remedy });
        if meta.uid() != me && meta.uid() != 0 {
            let why = format!("it belongs to user {}, who could plant or remove snapshots", meta.uid());
            return refuse(why, format!("use a directory of your own, or: chown {me} {}", dir.display()));
        }
        if meta.mode() & 0o022 != 0 {
            let who = if meta.mode() & 0o002 != 0 { "everyone" } else { "its group" };
            let why = format!("it can be written to by {who} (mode {:04o})", meta.mode() & 0o7777);
            return refuse(why, format!("use a directory of your own, or: chmod 0700 {}", dir.display()));
        }
        Ok(())
    }
}

fn free_bytes(dir: &Path) -> Option<u64> {
    let s = statvfs(dir).ok()?;
    Some((s.blocks_available() as u64).saturating_mul(s.fragment_size() as u64))
}

/// Writes some blocks for real: a quota, a read-only remount and a failing disk show only then.
fn write_test(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!("{WRITE_TEST}{}", std::process::id()));
    // Left by a process of the same id that died in between.
    let _ = std::fs::remove_file(&path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let done = options.open(&path).and_then(|mut f: File| {
        f.write_all(&vec![0u8; PROBE_BYTES])?;
        f.sync_data()
    });
    let _ = std::fs::remove_file(&path);
    done
}
