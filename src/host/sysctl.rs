//! The tree of kernel parameters under /proc/sys: which files to read, and their names as sysctl has them.

use crate::host::Root;

/// Most parameters that one walk returns.
pub const FILES_MAX: usize = 8_000;
/// Most interfaces for which `conf/` and `neigh/` are read, besides `all` and `default`: with a thousand
/// interfaces these alone are 100,000 files.
const INTERFACES_MAX: usize = 16;
/// Most names read of one directory.
const NAMES_MAX: usize = 4_096;
/// Deepest level below the start (`net/ipv4/conf/eth0/forwarding` is the fifth).
const DEPTH_MAX: usize = 8;

/// What a walk found.
#[derive(Debug, Default)]
pub struct Tree {
    /// Absolute paths, in the order of the directories.
    pub files: Vec<String>,
    /// Directories that could not be read, or were cut, and why.
    pub missing: Vec<(String, String)>,
}

/// Whether reading `path` does harm or shows a secret.
///
/// Sources: `vm/stat_refresh` runs work on every CPU and waits for it (mm/vmstat.c `vmstat_refresh`), which
/// never ends on a locked-up CPU; `binfmt_misc` is an automount; `random/uuid` draws entropy for nothing;
/// `route/flush` and `compact_memory` are for writing; `tcp_fastopen_key` and `stable_secret` are keys.
pub fn is_left_out(path: &str) -> bool {
    const TAILS: &[&str] = &[
        "/vm/stat_refresh",
        "/vm/compact_memory",
        "/vm/drop_caches",
        "/fs/binfmt_misc",
        "/kernel/random/uuid",
        "/route/flush",
        "/net/ipv4/tcp_fastopen_key",
        "/stable_secret",
    ];
    TAILS.iter().any(|t| path.ends_with(t))
}

/// Lists the parameters below `top` (absolute, such as `/proc/sys/kernel`). Symlinks are not followed and
/// the work is bounded by [`FILES_MAX`].
pub fn walk(root: &Root, top: &str, tree: &mut Tree) {
    // An own stack, not recursion: the depth is the kernel's to choose.
    let mut todo = vec![(top.to_owned(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        if depth > DEPTH_MAX {
            tree.missing.push((dir, format!("deeper than {DEPTH_MAX} levels")));
            continue;
        }
        let (names, more) = match root.list(&dir, NAMES_MAX) {
            Ok(got) => got,
            Err(e) => {
                if e.kind() != std::io::ErrorKind::NotFound {
                    tree.missing.push((dir, e.to_string()));
                }
                continue;
            }
        };
        if more {
            tree.missing.push((dir.clone(), format!("only the first {NAMES_MAX} names")));
        }
        let per_interface = dir.ends_with("/conf") || dir.ends_with("/neigh");
        let mut interfaces = 0;
        let mut below = Vec::new();
        for name in names.iter().filter_map(|n| n.to_str()) {
            let path = format!("{dir}/{name}");
            if is_left_out(&path) {
                continue;
            }
            let Ok(kind) = root.metadata(&path) else { continue };
            if kind.is_dir() {
                if per_interface && name != "all" && name != "default" {
                    interfaces += 1;
                    if interfaces > INTERFACES_MAX {
                        continue;
                    }
                }
                below.push((path, depth + 1));
            } else if kind.is_file() && std::os::unix::fs::PermissionsExt::mode(&kind.permissions()) & 0o444 != 0 {
                if tree.files.len() == FILES_MAX {
                    tree.missing.push((top.to_owned(), format!("only the first {FILES_MAX} parameters")));
                    return;
                }
                tree.files.push(path);
            }
        }
        if interfaces > INTERFACES_MAX {
            let left = interfaces - INTERFACES_MAX;
            tree.missing.push((dir, format!("only {INTERFACES_MAX} interfaces, {left} left out")));
        }
        todo.extend(below.into_iter().rev());
    }
}

/// The name that sysctl prints: separators become dots, and a dot within a name becomes a slash
/// (`net.ipv4.conf.eth0/100.forwarding` for the VLAN interface eth0.100).
pub fn name(path: &str) -> String {
    path.trim_start_matches("/proc/sys/")
        .chars()
        .map(|c| match c {
            '/' => '.',
            '.' => '/',
            c => c,
        })
        .collect()
}

/// `sysctl -a` lines of one parameter: one per line of its value, as sysctl prints them.
pub fn lines(path: &str, value: &[u8], out: &mut Vec<u8>) {
    let name = name(path);
    for line in value.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b" = ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_sysctl() {
        assert_eq!(name("/proc/sys/kernel/sem"), "kernel.sem");
        assert_eq!(name("/proc/sys/net/ipv4/conf/eth0.100/forwarding"), "net.ipv4.conf.eth0/100.forwarding");
        let mut out = Vec::new();
        lines("/proc/sys/kernel/sem", b"32000\t1024000000\t500\t32000\n", &mut out);
        assert_eq!(out, b"kernel.sem = 32000\t1024000000\t500\t32000\n");
    }

    #[test]
    fn what_harms_is_left_out_and_interfaces_are_bounded() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sys = dir.path().join("proc/sys");
        for i in 0..40 {
            std::fs::create_dir_all(sys.join(format!("net/ipv4/conf/veth{i}"))).expect("mkdir");
            std::fs::write(sys.join(format!("net/ipv4/conf/veth{i}/forwarding")), "0\n").expect("write");
        }
        std::fs::create_dir_all(sys.join("vm")).expect("mkdir");
        std::fs::write(sys.join("vm/stat_refresh"), "").expect("write");
        std::fs::write(sys.join("vm/swappiness"), "60\n").expect("write");
        let root = Root::at(dir.path());
        let mut tree = Tree::default();
        walk(&root, "/proc/sys/vm", &mut tree);
        assert_eq!(tree.files, ["/proc/sys/vm/swappiness"]);
        walk(&root, "/proc/sys/net", &mut tree);
        assert_eq!(tree.files.len(), 1 + INTERFACES_MAX);
        assert_eq!(tree.missing.len(), 1, "{:?}", tree.missing);
    }
}
