//! One configured console path or glob: which files it names, which directories to watch for more, and
//! whose console a file is.
//!
//! `*`, `?` and `[a-z]`, `[!a-z]` match within one component, a leading dot only literally; there is no `**`.

use crate::config::ConsoleConfig;
use crate::source::Notice;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Most directories watched for one set of patterns.
pub const DIRS_MAX: usize = 256;
/// Most entries of one directory looked at.
pub const ENTRIES_MAX: usize = 65_536;

/// What the patterns name at this moment.
#[derive(Debug, Default)]
pub struct Found {
    /// Existing files, and the pattern (by number) that named each first.
    pub files: BTreeMap<PathBuf, usize>,
    /// Directories in which a new name could mean a new file.
    pub dirs: BTreeSet<PathBuf>,
    /// What leads to them: when one of these moves, all below is elsewhere.
    pub ancestors: BTreeSet<PathBuf>,
    /// A cap was met, or a directory could not be read: by object, what happened.
    pub trouble: Vec<(PathBuf, Notice)>,
}

/// See the module.
#[derive(Debug)]
pub struct Pattern {
    /// As configured.
    pub text: String,
    components: Vec<Vec<u8>>,
    host: Option<Regex>,
}

impl Pattern {
    /// Errors: a relative path. A bad regex costs only the host name, with a notice.
    pub fn new(config: &ConsoleConfig, notices: &mut Vec<Notice>) -> Option<Pattern> {
        let path = Path::new(&config.path);
        if !path.is_absolute() || config.path.ends_with('/') {
            notices
                .push(format!("console {:?} is not followed: give an absolute path of a file or a glob", config.path));
            return None;
        }
        let host = config.host.as_ref().and_then(|text| {
            Regex::new(text)
                .map_err(|e| {
                    let path = &config.path;
                    notices.push(format!("console {path:?}: bad host pattern, using file names as hosts: {e}"));
                })
                .ok()
        });
        Some(Pattern { text: config.path.clone(), components: components(path), host })
    }

    /// The host whose console `path` is.
    pub fn host_of(&self, path: &Path) -> Arc<str> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(regex) = &self.host
            && let Some(found) = regex.captures(&name)
            && let Some(host) = found.name("host").or_else(|| found.get(1))
            && !host.as_str().is_empty()
        {
            return host.as_str().into();
        }
        // A last part of digits is no extension but the end of an address.
        match name.rsplit_once('.') {
            Some((stem, ext)) if !stem.is_empty() && !ext.bytes().all(|b| b.is_ascii_digit()) => stem.into(),
            _ => name.as_ref().into(),
        }
    }

    /// Whether `path` is one that this names.
    pub fn names(&self, path: &Path) -> bool {
        let parts = components(path);
        parts.len() == self.components.len()
            && self.components.iter().zip(&parts).all(|(pattern, part)| matches(pattern, part))
    }

    /// Whether a directory entry of this name can have to do with it at all.
    pub fn concerns(&self, name: &OsStr) -> bool {
        self.components.iter().any(|c| matches(c, name.as_bytes()))
    }

    /// Adds what exists now.
    pub fn expand(&self, number: usize, found: &mut Found) {
        let mut bases = vec![PathBuf::from("/")];
        for (depth, component) in self.components.iter().enumerate() {
            let last = depth + 1 == self.components.len();
            let mut next = Vec::new();
            for base in &bases {
                let globbed = is_glob(component);
                if (last || globbed) && !watch(base, found) {
                    continue;
                }
                if !globbed {
                    next.push(base.join(OsStr::from_bytes(component)));
                    continue;
                }
                list(base, component, &mut next, found);
            }
            bases = next;
        }
        for file in bases {
            // A directory is reported where it is opened; what does not exist yet is what the watch is for.
            if std::fs::symlink_metadata(&file).is_ok() {
                found.files.entry(file).or_insert(number);
            }
        }
    }
}

/// Notes that `dir`, or if it does not exist its nearest ancestor, is to be watched; true if it exists.
fn watch(dir: &Path, found: &mut Found) -> bool {
    let exists = dir.is_dir();
    let nearest = dir.ancestors().find(|d| d.is_dir()).unwrap_or(Path::new("/"));
    if found.dirs.len() < DIRS_MAX || found.dirs.contains(nearest) {
        found.dirs.insert(nearest.to_owned());
        let above = nearest.ancestors().skip(1).filter(|d| d.parent().is_some());
        let room = DIRS_MAX.saturating_sub(found.ancestors.len());
        found.ancestors.extend(above.take(room).map(Path::to_owned));
    } else {
        let text = format!("watch {}: more than {DIRS_MAX} directories; looked at every 10 s only", dir.display());
        found.trouble.push((dir.to_owned(), text));
    }
    exists
}

fn list(dir: &Path, component: &[u8], next: &mut Vec<PathBuf>, found: &mut Found) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            found.trouble.push((dir.to_owned(), format!("list {}: {e}; retried every 10 s", dir.display())));
            return;
        }
    };
    let mut names = Vec::new();
    for (n, entry) in entries.enumerate() {
        if n == ENTRIES_MAX {
            let text = format!("list {}: only the first {ENTRIES_MAX} entries are looked at", dir.display());
            found.trouble.push((dir.to_owned(), text));
            break;
        }
        match entry {
            Ok(e) if matches(component, e.file_name().as_bytes()) => names.push(e.path()),
            _ => {}
        }
    }
    names.sort();
    next.append(&mut names);
}

fn components(path: &Path) -> Vec<Vec<u8>> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.as_bytes().to_vec()),
            Component::ParentDir => Some(b"..".to_vec()),
            _ => None,
        })
        .collect()
}

fn is_glob(component: &[u8]) -> bool {
    component.iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

/// Glob match of one component. Only the last `*` is ever taken back, so the time is at most the product
/// of the lengths; names have at most 255 bytes.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(p + 1),
            Some(b'[') => match class(&pattern[p..], name[n]) {
                Some((true, len)) => Some(p + len),
                Some((false, _)) => None,
                None => (name[n] == b'[').then_some(p + 1),
            },
            Some(b) => (*b == name[n]).then_some(p + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((after, taken))) => {
                star = Some((after, taken + 1));
                p = after;
                n = taken + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// `[…]` at the start of `pattern`: whether it holds `b`, and its length. `None`: not closed, a plain `[`.
fn class(pattern: &[u8], b: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    // A `]` that comes first is a member.
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|c| *c == b']')?;
    let mut members = &pattern[start..end];
    let mut held = false;
    while let [first, rest @ ..] = members {
        if let [b'-', last, after @ ..] = rest {
            held |= (*first..=*last).contains(&b);
            members = after;
        } else {
            held |= *first == b;
            members = rest;
        }
    }
    Some((held != negated, end + 1))
}

/// Whether `name` is what rotation makes of `base`: `base.1`, `base-20261123`, `base.old`, `base~`.
pub fn is_rotated_name(name: &[u8], base: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(base) else { return false };
    let digits = |s: &[u8]| s.iter().filter(|b| b.is_ascii_digit()).count();
    match rest {
        b".old" | b"~" => true,
        [b'.', n @ ..] if !n.is_empty() && digits(n) == n.len() => true,
        [b'-' | b'.', n @ ..] => digits(n) >= 8 && n.iter().all(|b| b.is_ascii_digit() || b"-_.T:".contains(b)),
        _ => false,
    }
}

/// Whether `name` says that the file is compressed: an old log, never one that is written to.
pub fn is_compressed_name(name: &[u8]) -> bool {
    [&b".gz"[..], b".xz", b".zst", b".bz2", b".lz4", b".Z"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_within_one_component() {
        for (pattern, name, want) in [
            ("*.log", "a.log", true),
            ("*.log", ".a.log", false),
            ("*.log", "a.log.1", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("h?st", "host", true),
            ("n[0-9][!a-c]", "n5d", true),
            ("n[0-9][!a-c]", "n5b", false),
            ("[]x]", "]", true),
            ("a[b", "a[b", true),
            ("*", "anything", true),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
        }
    }

    #[test]
    fn hosts_come_from_file_names() {
        let host = |regex: Option<&str>, path: &str| {
            let config = ConsoleConfig { path: "/c/*".into(), host: regex.map(str::to_owned) };
            Pattern::new(&config, &mut Vec::new()).expect("absolute").host_of(Path::new(path)).to_string()
        };
        assert_eq!(host(None, "/c/web1.log"), "web1");
        assert_eq!(host(None, "/c/10.0.0.7"), "10.0.0.7");
        assert_eq!(host(None, "/c/plain"), "plain");
        assert_eq!(host(Some("^console-(?P<host>[^.]+)"), "/c/console-db2.log"), "db2");
        assert_eq!(host(Some("^(x)?console"), "/c/console.log"), "console");
        assert_eq!(host(Some("("), "/c/web1.log"), "web1");
    }

    #[test]
    fn rotated_names_are_known() {
        for (name, want) in [
            ("c.1", true),
            ("c-20261123", true),
            ("c.2026-11-23", true),
            ("c.old", true),
            ("c-2", false),
            ("c", false),
            ("cd", false),
        ] {
            assert_eq!(is_rotated_name(name.as_bytes(), b"c"), want, "{name}");
        }
    }

    #[test]
    fn expansion_names_files_and_the_directories_to_watch() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("h1")).expect("mkdir");
        std::fs::write(dir.path().join("h1/console"), "").expect("write");
        let expand = |tail: &str| {
            let config = ConsoleConfig { path: format!("{}/{tail}", dir.path().display()), host: None };
            let mut found = Found::default();
            Pattern::new(&config, &mut Vec::new()).expect("absolute").expand(0, &mut found);
            found
        };
        let found = expand("h*/console");
        assert_eq!(found.files.keys().collect::<Vec<_>>(), [&dir.path().join("h1/console")]);
        assert!(found.dirs.contains(dir.path()) && found.dirs.contains(&dir.path().join("h1")));
        let missing = expand("not/there/*.log");
        assert!(missing.files.is_empty());
        assert_eq!(missing.dirs.iter().collect::<Vec<_>>(), [dir.path()]);
    }
}
