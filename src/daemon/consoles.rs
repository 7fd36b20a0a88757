//! Which console files are read aside: those on file systems whose answer depends on a server or on a process.
//!
//! Told by the mount table and by the symbolic links on the way, which are read as long as they lie on file systems of this
//! machine: what may hang is never touched. Links below the first `*` of a path are not looked for.

use crate::config::ConsoleConfig;
use crate::host::Root;
use crate::host::mounts::{Mount, Reach, parse};
use crate::source::Aside;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Most bytes read of the mount table.
const TABLE_MAX: usize = 16 << 20;
/// Most symbolic links followed in one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// The consoles that are read by the tail role itself, and the others by what they lie on. Asked by that role: a local disk
/// that does not answer hangs nobody else.
pub fn sort(consoles: &[ConsoleConfig]) -> (Vec<ConsoleConfig>, Vec<Aside>) {
    let table = Root::real().read("/proc/self/mountinfo", TABLE_MAX).map(|c| c.bytes).unwrap_or_default();
    split(consoles, &Mounts(parse(&table).0), &|path| std::fs::read_link(path).ok())
}

struct Mounts(Vec<Mount>);

impl Mounts {
    fn visible(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(|m| !m.covered)
    }

    fn may_hang(mount: &Mount) -> bool {
        !matches!(mount.reach, Reach::Memory | Reach::Local)
    }

    /// What `path` lies on, if that may stop answering. By its name alone.
    fn hanging(&self, path: &Path) -> Option<&Mount> {
        let on = self.visible().filter(|m| path.starts_with(&m.path)).max_by_key(|m| m.path.as_os_str().len());
        on.filter(|m| Mounts::may_hang(m))
    }

    /// Whether something below `path` may stop answering.
    fn hanging_below(&self, path: &Path) -> bool {
        self.visible().any(|m| m.path.starts_with(path) && Mounts::may_hang(m))
    }
}

/// Where `path` leads, up to where it may hang.
fn resolve(path: &Path, mounts: &Mounts, read_link: &dyn Fn(&Path) -> Option<PathBuf>) -> PathBuf {
    let parts = |path: &Path| path.components().map(|c| c.as_os_str().to_owned()).collect::<Vec<OsString>>();
    let mut todo: VecDeque<OsString> = parts(path).into();
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = todo.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                at.pop();
                continue;
            }
            Some(Component::Normal(_)) => at.push(&part),
            Some(Component::RootDir) => at = PathBuf::from("/"),
            _ => continue,
        }
        if mounts.hanging(&at).is_some() {
            break;
        }
        if let Some(target) = read_link(&at).filter(|_| links < LINKS_MAX) {
            links += 1;
            at.pop();
            for part in parts(&target).into_iter().rev() {
                todo.push_front(part);
            }
        }
    }
    at.extend(todo);
    at
}

/// The local ones, and the others by what they lie on.
fn split(
    consoles: &[ConsoleConfig],
    mounts: &Mounts,
    read_link: &dyn Fn(&Path) -> Option<PathBuf>,
) -> (Vec<ConsoleConfig>, Vec<Aside>) {
    let mut roots: Vec<PathBuf> = Vec::new();
    for fixed in consoles.iter().map(|c| fixed_part(&c.path)) {
        let real = resolve(&fixed, mounts, read_link);
        match mounts.hanging(&real) {
            Some(mount) if fixed.starts_with(&mount.path) => roots.push(mount.path.clone()),
            // By a link; or a glob that may lead into mounts below the part of it that is fixed.
            Some(_) => roots.push(fixed),
            None if mounts.hanging_below(&real) => roots.push(fixed),
            None => {}
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
        let mounts = Mounts(parse(table).0);
        let no_links = |_: &Path| None;
        let (local, asides) = split(&all, &mounts, &no_links);
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
        let (local, asides) = split(&[console(paths[0]), console(paths[7])], &mounts, &no_links);
        assert_eq!((local.len(), asides.len(), asides[0].consoles.len()), (0, 1, 2));
        assert_eq!(split(&all, &Mounts(Vec::new()), &no_links).0.len(), 7, "without a mount table all are local");
    }
    #[test]
    fn links_are_followed_up_to_what_may_hang() {
        let table = b"20 1 254:0 / / rw - ext4 /dev/vda rw\n21 20 0:30 / /mnt/nfs rw - nfs4 server:/x rw\n";
        let mounts = Mounts(parse(table).0);
        let asked = std::cell::RefCell::new(Vec::new());
        let read_link = |path: &Path| {
            asked.borrow_mut().push(path.to_owned());
            let target = match path.to_str()? {
                "/var/log/remote" => "../../srv/./logs",
                "/srv/logs" => "/mnt/nfs/logs",
                "/var/loop" => "loop",
                _ => return None,
            };
            Some(target.into())
        };
        assert_eq!(resolve(Path::new("/var/log/remote/a"), &mounts, &read_link), Path::new("/mnt/nfs/logs/a"));
        assert!(asked.borrow().iter().all(|path| !path.starts_with("/mnt/nfs")), "{asked:?}");
        assert_eq!(resolve(Path::new("/var/log/local"), &mounts, &read_link), Path::new("/var/log/local"));
        assert_eq!(resolve(Path::new("/var/loop/x"), &mounts, &read_link), Path::new("/var/loop/x"), "it ends");
        let console = |path: &str| ConsoleConfig { path: path.into(), host: None };
        let all = ["/var/log/remote/*.log", "/var/log/local", "/mnt/nfs/direct"].map(console);
        let (local, asides) = split(&all, &mounts, &read_link);
        assert_eq!((local.len(), local[0].path.as_str()), (1, "/var/log/local"));
        let roots: Vec<&Path> = asides.iter().map(|a| a.root.as_path()).collect();
        assert_eq!(roots, [Path::new("/mnt/nfs"), Path::new("/var/log/remote")]);
    }
}
