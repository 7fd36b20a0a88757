//! The runner for collectors that are a list of files: expand, read, put, and say what could not be had.
//!
//! Files of /proc that take no lock are read on the calling thread. All others stand on a disk or ask a
//! driver, which may never answer: each of those reads is guarded.

use crate::capture::guard::{Guard, Unanswered};
use crate::capture::{CollectError, Context, FileSpec, Sink, Stop};
use crate::host::{Capped, Root};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Longest wait for one guarded file.
pub const FILE_LIMIT: Duration = Duration::from_millis(500);
/// Stuck reads left behind before the rest is given up.
pub const MAX_ABANDONED: usize = 3;
/// Most files that one pattern stands for.
const EXPANSION_MAX: usize = 512;

/// Puts every file that `specs` name under its own path. Files that cannot be read become `Missing`
/// lines; absent ones only when they are required.
pub fn collect(specs: &[FileSpec], ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let mut guard = Guard::new(MAX_ABANDONED);
    for spec in specs {
        copy(spec.path, spec, ctx, &mut guard, sink)?;
    }
    Ok(())
}

/// As [`collect`], for one pattern that is known at run time only.
pub fn copy(
    pattern: &str,
    spec: &FileSpec,
    ctx: &Context,
    guard: &mut Guard,
    sink: &mut Sink,
) -> Result<usize, CollectError> {
    let mut found = 0;
    for path in expand(pattern, spec, ctx, guard, sink) {
        if ctx.expired() {
            sink.missing(path, "no time left");
            return Err(Stop::Cancelled.into());
        }
        let entry = path.trim_start_matches('/').to_owned();
        match read(&path, spec.cap_bytes, spec.tail, ctx, guard) {
            Ok(got) => {
                found += 1;
                sink.put_cut(entry, got.bytes, got.truncated)?;
            }
            Err(why) => {
                if let Some(why) = worth_a_line(&why, spec) {
                    sink.missing(path, why);
                }
            }
        }
    }
    Ok(found)
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Reads the start (or the end) of one file, guarded where it may block.
pub fn read(path: &str, cap: usize, tail: bool, ctx: &Context, guard: &mut Guard) -> Result<Capped, ReadError> {
    let root = ctx.root.clone();
    let name = path.to_owned();
    let job = move || if tail { root.read_tail(&name, cap) } else { root.read(&name, cap) };
    if is_lock_free(path) {
        return Ok(job()?);
    }
    Ok(guard.call(FILE_LIMIT.min(ctx.left()), job)??)
}

/// Everything of /proc but what takes a lock that a dead device may hold.
fn is_lock_free(path: &str) -> bool {
    // md_seq_show takes the array's reconfig mutex; binfmt_misc is an automount.
    path.starts_with("/proc/") && path != "/proc/mdstat" && !path.starts_with("/proc/sys/fs/binfmt_misc")
}

/// The line for the manifest; `None` for what is merely not there.
fn worth_a_line(why: &ReadError, spec: &FileSpec) -> Option<String> {
    match why {
        ReadError::Io(e) => match e.kind() {
            io::ErrorKind::NotFound if spec.optional => None,
            // A dangling or looping name in a pattern, or a directory where files were meant.
            io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory if spec.path.contains('*') => None,
            io::ErrorKind::PermissionDenied => Some(format!("{e}; run as root to have it")),
            _ => Some(e.to_string()),
        },
        ReadError::Unanswered(u) => Some(u.to_string()),
    }
}

/// The paths that `pattern` stands for, sorted within each directory. A pattern without `*` is itself.
pub fn expand(pattern: &str, spec: &FileSpec, ctx: &Context, guard: &mut Guard, sink: &mut Sink) -> Vec<String> {
    let mut paths = vec![String::new()];
    for part in pattern.split('/').filter(|p| !p.is_empty()) {
        if !part.contains(['*', '?', '[']) {
            for p in &mut paths {
                p.push('/');
                p.push_str(part);
            }
            continue;
        }
        let mut next = Vec::new();
        for dir in &paths {
            match list(dir, ctx, guard) {
                Ok((names, more)) => {
                    if more {
                        sink.missing(dir.clone(), format!("only the first {EXPANSION_MAX} names"));
                    }
                    // A name that is not UTF-8 cannot name an entry of the archive.
                    next.extend(
                        names
                            .iter()
                            .filter(|n| matches(part.as_bytes(), n.as_bytes()))
                            .filter_map(|n| n.to_str())
                            .map(|n| format!("{dir}/{n}")),
                    );
                }
                Err(why) => {
                    let absent = matches!(&why, ReadError::Io(e)
                        if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory));
                    if !(absent && spec.optional) {
                        sink.missing(dir.clone(), why.to_string());
                    }
                }
            }
            if next.len() >= EXPANSION_MAX {
                sink.missing(pattern, format!("only the first {EXPANSION_MAX} files"));
                next.truncate(EXPANSION_MAX);
                break;
            }
        }
        paths = next;
    }
    paths
}

fn list(dir: &str, ctx: &Context, guard: &mut Guard) -> Result<(Vec<std::ffi::OsString>, bool), ReadError> {
    let root: Root = ctx.root.clone();
    let name = if dir.is_empty() { "/".to_owned() } else { dir.to_owned() };
    let job = move || root.list(&name, EXPANSION_MAX);
    if is_lock_free(dir) {
        return Ok(job()?);
    }
    Ok(guard.call(FILE_LIMIT.min(ctx.left()), job)??)
}

/// Whether `name` matches `pattern`: `*` is any run of characters, `?` any one, `[a-z]` one of a class. A
/// leading dot must be written. On a mismatch only the last `*` is extended, so the time is at most the
/// product of both lengths.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, n));
                p += 1;
            }
            _ => match (one(&pattern[p..], name[n]), last_star) {
                (Some(used), _) => {
                    p += used;
                    n += 1;
                }
                (None, Some((star, at))) => {
                    p = star + 1;
                    n = at + 1;
                    last_star = Some((star, n));
                }
                (None, None) => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// How many bytes of `pattern` stand for the one byte `c`: `?`, a class `[a-z]` or `[!a-z]`, or itself.
fn one(pattern: &[u8], c: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => {
            let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
            let from = if negated { 2 } else { 1 };
            // A `]` directly after the opening is a member, not the end.
            let Some(end) = pattern.iter().skip(from + 1).position(|b| *b == b']').map(|i| i + from + 1) else {
                return (c == b'[').then_some(1);
            };
            let class = &pattern[from..end];
            let mut hit = false;
            let mut i = 0;
            while i < class.len() {
                if class.get(i + 1) == Some(&b'-') && i + 2 < class.len() {
                    hit |= (class[i]..=class[i + 2]).contains(&c);
                    i += 3;
                } else {
                    hit |= class[i] == c;
                    i += 1;
                }
            }
            (hit != negated).then_some(end + 1)
        }
        same if *same == c => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_within_a_name_and_hidden_files_stay_hidden() {
        for (p, n, want) in [
            ("*", "a", true),
            ("*", ".a", false),
            ("*.conf", "x.conf", true),
            ("*.conf", "x.conf.bak", false),
            ("*release", "os-release", true),
            ("ttyS?.log", "ttyS0.log", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("tty[A-S]?", "ttyS0", true),
            ("tty[!S]*", "ttyS0", false),
            ("a[", "a[", true),
            ("a[]]", "a]", true),
            ("*[0-9]", "x12", true),
        ] {
            assert_eq!(matches(p.as_bytes(), n.as_bytes()), want, "{p} {n}");
        }
    }

    #[test]
    fn a_long_hostile_name_is_matched_in_reasonable_time() {
        let name = "a".repeat(255);
        assert!(!matches(b"*a*a*a*a*a*a*a*a*a*ab", name.as_bytes()));
    }
}
