//! Where a console file went: its renamed self, or the copy that logrotate's copytruncate made, among its
//! neighbours in the directory.

use crate::source::console::follow::open;
use crate::source::console::pattern::{ENTRIES_MAX, is_compressed_name, is_rotated_name};
use crate::source::console::state::{HEAD_MAX, Head};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

/// Most neighbours opened in one search.
const CANDIDATES_MAX: usize = 64;

/// The file next to `path` that has this inode and start. Errors of single files are as if not there.
pub fn renamed(path: &Path, ino: u64, head: &Head, offset: u64) -> Option<File> {
    search(
        path,
        |entry_ino, _| entry_ino == ino,
        |file, meta| meta.ino() == ino && meta.size() >= offset && (head.len == 0 || head.fits(&start(file))),
    )
}

/// A file next to `path`, named like it, that is not `not_ino`, starts as `head` says, is at least
/// `offset` long and has `tail` right before that.
pub fn copied(path: &Path, not_ino: u64, head: &Head, offset: u64, tail: &[u8]) -> Option<File> {
    let stem = path.file_stem()?.as_bytes().to_vec();
    search(
        path,
        |entry_ino, name| {
            entry_ino != not_ino && name.as_bytes().starts_with(&stem) && !is_compressed_name(name.as_bytes())
        },
        |file, meta| meta.size() >= offset && head.fits(&start(file)) && ends_with(file, offset, tail),
    )
}

/// Generations of `path` that came and went since `since`: files with a rotated name, written to and made (or
/// made anew, which `renewed` knows) since then, oldest first.
pub fn missed(path: &Path, since: SystemTime, renewed: impl Fn(&File, &Metadata) -> bool) -> Vec<File> {
    let (Some(dir), Some(base)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let rotated = entries.take(ENTRIES_MAX).flatten().filter(|e| {
        is_rotated_name(e.file_name().as_bytes(), base.as_bytes()) && !is_compressed_name(e.file_name().as_bytes())
    });
    let mut found: Vec<(SystemTime, File)> = rotated
        .take(CANDIDATES_MAX)
        .filter_map(|e| {
            let file = open(&e.path()).ok()?;
            let meta = file.metadata().ok()?;
            let written = meta.modified().ok()?;
            let new = written >= since && (meta.created().is_ok_and(|made| made >= since) || renewed(&file, &meta));
            new.then_some((written, file))
        })
        .collect();
    found.sort_by_key(|(written, _)| *written);
    found.into_iter().map(|(_, file)| file).collect()
}

fn search(path: &Path, wanted: impl Fn(u64, &OsStr) -> bool, right: impl Fn(&File, &Metadata) -> bool) -> Option<File> {
    let dir = path.parent()?;
    std::fs::read_dir(dir)
        .ok()?
        .take(ENTRIES_MAX)
        .flatten()
        .filter(|e| wanted(e.ino(), &e.file_name()))
        .take(CANDIDATES_MAX)
        .find_map(|e| {
            let file = open(&e.path()).ok()?;
            let meta = file.metadata().ok()?;
            right(&file, &meta).then_some(file)
        })
}

/// The first [`HEAD_MAX`] bytes; fewer where there are not more, or on an error.
pub fn start(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_MAX];
    let n = read_at(file, &mut bytes, 0).unwrap_or(0);
    bytes.truncate(n);
    bytes
}

fn ends_with(file: &File, offset: u64, tail: &[u8]) -> bool {
    let mut bytes = vec![0; tail.len()];
    let Some(at) = offset.checked_sub(tail.len() as u64) else { return false };
    read_at(file, &mut bytes, at).is_ok_and(|n| n == tail.len()) && bytes == tail
}

/// pread(2), taken up again after a signal.
pub fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, offset) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
