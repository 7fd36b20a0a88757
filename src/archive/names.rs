//! Entry names: relative, printable, unique, and none both a file and a directory.

use std::collections::{HashMap, HashSet};

/// Longest component, in bytes (NAME_MAX), with room for a suffix.
const COMPONENT_MAX: usize = 240;
/// Longest whole path, in bytes; well below PATH_MAX when unpacked somewhere.
const PATH_MAX: usize = 1024;

/// A path that cannot leave the directory it is unpacked in and cannot speak to a terminal: leading
/// slashes, empty and `.` components dropped, `..` and control characters replaced, lengths capped.
pub fn safe_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        let part: String = if part == ".." {
            "__".into()
        } else {
            cut(part, COMPONENT_MAX).chars().map(|c| if c.is_control() { '_' } else { c }).collect()
        };
        if out.len() + part.len() + 1 > PATH_MAX {
            break;
        }
        if !out.is_empty() {
            out.push('/');
        }
        out.push_str(&part);
    }
    if out.is_empty() { "unnamed".into() } else { out }
}

/// The longest start of `s` of at most `max` bytes that ends between characters.
fn cut(s: &str, max: usize) -> &str {
    let mut end = s.len().min(max);
    while !s.is_char_boundary(end) {
        end -= 1;
    }
    &s[..end]
}

/// The names given out in one archive.
#[derive(Debug, Default)]
pub(crate) struct Names {
    files: HashSet<String>,
    dirs: HashSet<String>,
    /// Next suffix to try, so that many duplicates stay linear.
    next: HashMap<String, u32>,
}

impl Names {
    /// A safe and new name for `path`: itself, or with `.1`, `.2`, …
    pub fn take(&mut self, path: &str) -> String {
        let mut path = safe_path(path);
        // `a` is a file and `a/b` comes: `a.d/b`.
        let mut from = 0;
        while let Some(slash) = path[from..].find('/').map(|i| from + i) {
            if self.files.contains(&path[..slash]) {
                path.insert_str(slash, ".d");
                // The lengthened name may be a file as well: look again.
                continue;
            }
            from = slash + 1;
        }
        if self.known(&path) {
            let n = self.next.entry(path.clone()).or_insert(1);
            let mut name = format!("{path}.{n}");
            while self.files.contains(&name) || self.dirs.contains(&name) {
                *n += 1;
                name = format!("{path}.{n}");
            }
            *n += 1;
            path = name;
        }
        let mut from = 0;
        while let Some(slash) = path[from..].find('/').map(|i| from + i) {
            if !self.dirs.contains(&path[..slash]) {
                self.dirs.insert(path[..slash].to_owned());
            }
            from = slash + 1;
        }
        self.files.insert(path.clone());
        path
    }

    /// Whether every one of `paths` could be had unchanged.
    pub fn are_free<'a>(&self, paths: impl Iterator<Item = &'a str>) -> bool {
        let mut among = HashSet::new();
        let mut free = |path: &'a str| {
            let below_a_file = path.match_indices('/').any(|(at, _)| self.files.contains(&path[..at]));
            safe_path(path) == path && !below_a_file && !self.known(path) && among.insert(path)
        };
        paths.into_iter().all(&mut free)
    }

    fn known(&self, path: &str) -> bool {
        self.files.contains(path) || self.dirs.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_stay_inside_and_are_unique() {
        let mut n = Names::default();
        assert_eq!(n.take("/proc/meminfo"), "proc/meminfo");
        assert_eq!(n.take("proc//./meminfo"), "proc/meminfo.1");
        assert_eq!(n.take("proc/meminfo"), "proc/meminfo.2");
        assert_eq!(n.take("../../etc/passwd"), "__/__/etc/passwd");
        assert_eq!(n.take("a\x1b[2Jb\n"), "a_[2Jb_");
        assert_eq!(n.take(""), "unnamed");
        assert_eq!(n.take("proc"), "proc.1");
        assert_eq!(n.take("proc/meminfo/x"), "proc/meminfo.d/x");
    }

    proptest! {
        #[test]
        fn any_names_unpack_side_by_side(paths in prop::collection::vec("[a./\\x00-\\x20é]{0,12}", 0..40)) {
            let mut n = Names::default();
            let got: Vec<String> = paths.iter().map(|p| n.take(p)).collect();
            for (i, a) in got.iter().enumerate() {
                prop_assert!(!a.starts_with('/') && !a.chars().any(char::is_control));
                prop_assert!(a.split('/').all(|c| !c.is_empty() && c != "." && c != ".."));
                for b in &got[i + 1..] {
                    prop_assert_ne!(a, b);
                    let (a_dir, b_dir) = (format!("{a}/"), format!("{b}/"));
                    prop_assert!(!b.starts_with(&a_dir) && !a.starts_with(&b_dir));
                }
            }
        }
    }
}
