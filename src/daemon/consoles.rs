//! Which console files are read aside: those on file systems whose answer depends on a server or on a process.
//!
//! Told by the mount table alone, so that nothing is touched: a symbolic link from a local directory to such a file system is
//! not seen, nor is one that is mounted after the tail role was started.

use crate::config::ConsoleConfig;
use crate::host::Root;
use crate::host::mounts::{Mount, Reach, parse};
use crate::source::role::{Aside, TailOrder};
use std::path::{Path, PathBuf};

/// Most bytes read of the mount table.
const TABLE_MAX: usize = 16 << 20;

/// The order with which a tail role begins to follow `consoles`.
pub(in crate::daemon) fn start_order(consoles: &[ConsoleConfig], state_file: PathBuf) -> TailOrder {
    let table = Root::real().read("/proc/self/mountinfo", TABLE_MAX).map(|c| c.bytes).unwrap_or_default();
    let (consoles, aside) = split(consoles, &parse(&table).0);
    TailOrder::Start { consoles, aside, state_file }
}

/// The local ones, and the others by what they lie on.
fn split(consoles: &[ConsoleConfig], mounts: &[Mount]) -> (Vec<ConsoleConfig>, Vec<Aside>) {
    let may_hang = |m: &&Mount| !matches!(m.reach, Reach::Memory | Reach::Local);
    let mut roots: Vec<PathBuf> = Vec::new();
    for fixed in consoles.iter().map(|c| fixed_part(&c.path)) {
        let on =
            mounts.iter().filter(|m| !m.covered && fixed.starts_with(&m.path)).max_by_key(|m| m.path.as_os_str().len());
        // A glob may lead into mounts below the part of it that is fixed.
        let below = mounts.iter().filter(|m| !m.covered && m.path.starts_with(&fixed)).find(may_hang);
        match (on.filter(may_hang), below) {
            (Some(mount), _) => roots.push(mount.path.clone()),
            (None, Some(_)) => roots.push(fixed),
            (None, None) => {}
        }
    }
    // One root below another is a part of it: a file is to have one reader.
    roots.sort();
    roots.dedup_by(|inner, outer| inner.starts_with(&*outer));
    let mut local = Vec::new();
    let mut asides: Vec<Aside> = roots.into_iter().map(|root| Aside { root, consoles: Vec::new() }).collect();
    for console in consoles {
        let fixed = fixed_part(&console.path);
        match asides.iter_mut().find(|a| fixed.starts_with(&a.root)) {
            Some(aside) => aside.consoles.push(console.clone()),
            None => local.push(console.clone()),
        }
    }
    (local, asides)
}

/// The path of a file; of a glob the directories before its first special character.
fn fixed_part(path: &str) -> PathBuf {
    match path.find(['*', '?', '[']) {
        Some(at) => path[..at].rfind('/').map_or_else(PathBuf::new, |end| Path::new(&path[..end.max(1)]).to_owned()),
        None => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_on_what_may_hang_are_read_aside() {
        let table = b"20 1 254:0 / / rw - ext4 /dev/vda rw\n\
            21 20 0:30 / /mnt/nfs rw - nfs4 server:/x rw\n\
            22 20 0:31 / /mnt/local rw - xfs /dev/vdb rw\n\
            23 20 0:32 / /srv/a/fuse rw - fuse.sshfs host:/ rw\n\
            24 21 0:33 / /mnt/nfs/deep rw - nfs4 server:/y rw\n\
            25 20 0:34 / /over rw - nfs4 server:/z rw\n\
            26 25 254:0 / /over rw - ext4 /dev/vdc rw\n";
        let console = |path: &str| ConsoleConfig { path: path.into(), host: None };
        let paths = [
            "/var/log/c",
            "/mnt/nfs/x.log",
            "/mnt/local/*.log",
            "/srv/*/fuse/c",
            "/mnt/nfs/deep/y",
            "/srv/b",
            "/over/c",
            "/*.log",
        ];
        let all: Vec<ConsoleConfig> = paths[..7].iter().map(|p| console(p)).collect();
        let names = |all: &[ConsoleConfig]| all.iter().map(|c| c.path.clone()).collect::<Vec<_>>();
        let (local, asides) = split(&all, &parse(table).0);
        assert_eq!(names(&local), ["/var/log/c", "/mnt/local/*.log", "/over/c"]);
        let got: Vec<(&str, Vec<String>)> =
            asides.iter().map(|a| (a.root.to_str().expect("text"), names(&a.consoles))).collect();
        let texts = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        // What lies below the root of another group is read with it.
        let want = [
            ("/mnt/nfs", texts(&["/mnt/nfs/x.log", "/mnt/nfs/deep/y"])),
            ("/srv", texts(&["/srv/*/fuse/c", "/srv/b"])),
        ];
        assert_eq!(got, want);
        // A glob over the root directory takes all with it.
        let (local, asides) = split(&[console(paths[0]), console(paths[7])], &parse(table).0);
        assert_eq!((local.len(), asides.len(), asides[0].consoles.len()), (0, 1, 2));
        assert_eq!(split(&all, &[]).0.len(), 7, "without a mount table all are local");
    }
}
