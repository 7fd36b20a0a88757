//! Names of environment variables, without their values, which may be secrets; a part of `processes`.

use crate::host::names::Text;
use std::collections::HashMap;
use std::io::Write;

/// Longest name of an environment variable that is believed to be one.
const VARIABLE_MAX: usize = 128;
/// Most processes named on one line of equal environments.
const PIDS_MAX: usize = 200;

/// Sorted names of `NAME=value` entries, a blank before each. What does not look like a name might be a value: left
/// out.
pub(super) fn names(environ: &[u8]) -> Vec<u8> {
    fn name(entry: &[u8]) -> Option<&[u8]> {
        let name = &entry[..memchr::memchr(b'=', entry)?];
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'%' | b'(' | b')');
        (!name.is_empty() && name.len() <= VARIABLE_MAX && name.iter().all(plain)).then_some(name)
    }
    let mut names: Vec<&[u8]> = environ.split(|b| *b == 0).filter_map(name).collect();
    names.sort_unstable();
    names.dedup();
    let mut joined = Vec::with_capacity(names.iter().map(|n| n.len() + 1).sum());
    for name in names {
        joined.push(b' ');
        joined.extend_from_slice(name);
    }
    joined
}

/// Processes with the same names share a line: workers have the environment of their parent.
pub(super) fn text(all: impl Iterator<Item = (i32, Text)>) -> Vec<u8> {
    let mut groups = HashMap::<Text, Vec<i32>>::new();
    for (pid, names) in all.filter(|(_, names)| !names.is_empty()) {
        groups.entry(names).or_default().push(pid);
    }
    let mut order: Vec<_> = groups.into_iter().collect();
    order.sort_by_key(|(_, pids)| pids.first().copied());
    let mut out = Vec::new();
    for (names, pids) in order {
        out.extend_from_slice(b"pids");
        for pid in pids.iter().take(PIDS_MAX) {
            let _ = write!(out, " {pid}");
        }
        if pids.len() > PIDS_MAX {
            let _ = write!(out, " and {} more", pids.len() - PIDS_MAX);
        }
        out.push(b':');
        out.extend_from_slice(&names);
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_variables_are_kept() {
        let got =
            names(b"PATH=/bin\0DB_PASSWORD=s3cret\0s3cret\0=x\0a b=c\0PATH=/usr\0BASH_FUNC_x%%=() {\n s3cret\n}\0");
        assert_eq!(got, b" BASH_FUNC_x%% DB_PASSWORD PATH");
    }
}
