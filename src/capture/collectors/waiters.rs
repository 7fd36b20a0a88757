//! Which tasks hang on a file system that does not answer: told from what /proc has without asking that file system.
//!
//! A task counts when it is blocked (or waits for a FUSE server) and its directory, root or one of its descriptors is on
//! the file system, or when its kernel stack is in functions of that type of file system. Links of /proc/PID are
//! only read, never followed.

use crate::host::Root;
use crate::host::bytes::{lines, push_safe, push_word};
use crate::host::mounts::Mount;
use crate::host::stat::Stat;
use crate::host::tasks::{Table, Wait};
use crate::model::Deadline;
use crate::sys::clock;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 256;
/// Tasks named for one file system.
const NAMED_MAX: usize = 200;

/// A blocked task.
pub(crate) struct Waiter<'a> {
    pid: i32,
    stat: &'a Stat,
    wait: &'a Wait,
    /// What of its process is open: `cwd`, `root`, `fd 3`, with the path.
    open: Vec<(String, PathBuf)>,
}

/// All tasks that wait for something; links of a process are read until `deadline`.
pub(crate) fn waiters<'a>(root: &Root, table: &'a Table, deadline: Deadline) -> Vec<Waiter<'a>> {
    let mut out = Vec::new();
    // Our own readers, which asked and hang, are no news.
    let theirs = |pid: i32| pid.unsigned_abs() != std::process::id();
    let of_users = |p: &&crate::host::tasks::Process| !p.in_execve && !p.stat.is_kernel_thread() && theirs(p.stat.pid);
    for p in table.processes.iter().filter(of_users) {
        let own = std::iter::once((&p.stat, &p.wait));
        let tasks: Vec<_> = own
            .chain(p.threads.iter().map(|t| (&t.stat, &t.wait)))
            .filter(|(stat, wait)| stat.state == b'D' || wait.stack.is_some())
            .collect();
        if tasks.is_empty() || deadline.passed(clock::mono()) {
            continue;
        }
        let open = open_of(root, p.stat.pid);
        out.extend(tasks.into_iter().map(|(stat, wait)| Waiter { pid: p.stat.pid, stat, wait, open: open.clone() }));
    }
    out
}

fn open_of(root: &Root, pid: i32) -> Vec<(String, PathBuf)> {
    let mut open = Vec::new();
    for name in ["cwd", "root"] {
        open.extend(root.read_link(format!("/proc/{pid}/{name}")).ok().map(|path| (name.to_owned(), path)));
    }
    let (fds, _) = root.list(format!("/proc/{pid}/fd"), DESCRIPTORS_MAX).unwrap_or_default();
    for fd in fds.iter().filter_map(|f| f.to_str()) {
        open.extend(root.read_link(format!("/proc/{pid}/fd/{fd}")).ok().map(|path| (format!("fd {fd}"), path)));
    }
    open
}

/// The mount that a path is on: the longest mount point above it.
fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|m| !m.covered && path.starts_with(&m.path));
    above.max_by_key(|m| m.path.as_os_str().as_bytes().len())
}

/// The text about one file system: what did not answer, and who waits for it. And how many that are.
pub(crate) fn text(mount: &Mount, mounts: &[Mount], why: &str, waiters: &[Waiter<'_>]) -> (Vec<u8>, usize) {
    let mut tasks = Vec::new();
    let mut count = 0;
    for w in waiters {
        let open: Vec<_> =
            w.open.iter().filter(|(_, p)| mount_of(mounts, p).is_some_and(|m| m.device == mount.device)).collect();
        let inside = in_functions_of(&mount.fs_type, w.wait);
        if open.is_empty() && !inside {
            continue;
        }
        count += 1;
        if count > NAMED_MAX {
            continue;
        }
        tasks.extend_from_slice(b"  task ");
        push_word(&mut tasks, &w.stat.comm);
        let _ = write!(tasks, " tid {} of pid {} state {}", w.stat.pid, w.pid, char::from(w.stat.state));
        if let Some(wchan) = &w.wait.wchan {
            tasks.extend_from_slice(b" wchan=");
            push_word(&mut tasks, wchan);
        }
        let mut how: Vec<String> = open.iter().take(3).map(|(what, p)| format!("{what} {}", p.display())).collect();
        if inside {
            how.push(format!("its stack is in functions of {}", mount.fs_type));
        }
        tasks.extend_from_slice(b": ");
        push_safe(&mut tasks, how.join(", ").as_bytes());
        tasks.push(b'\n');
    }
    let mut out = Vec::new();
    push_safe(&mut out, format!("{} type {} from {}: {why}", mount.at, mount.fs_type, mount.source).as_bytes());
    let _ = writeln!(out, "\n  {count} tasks wait there");
    out.append(&mut tasks);
    if count > NAMED_MAX {
        let _ = writeln!(out, "  and {} more", count - NAMED_MAX);
    }
    (out, count)
}

/// `fuse_readahead` for fuse.sshfs, `nfs4_…` or the RPC's functions for nfs4, and so on.
fn in_functions_of(fs_type: &str, wait: &Wait) -> bool {
    let family = match fs_type {
        t if t.starts_with("fuse") => "fuse",
        t if t.starts_with("nfs") => "nfs",
        "smb3" | "smbfs" | "cifs" => "cifs",
        t => t,
    };
    let is = |name: &[u8]| {
        let name = name.trim_ascii_start();
        name.starts_with(family.as_bytes()) || name.starts_with(format!("__{family}").as_bytes())
    };
    let rpc = |name: &[u8]| family == "nfs" && (name.starts_with(b"rpc_") || name.starts_with(b"__rpc_"));
    let frames = wait.stack.iter().flat_map(|s| lines(s));
    let names = frames.map(|f| f.strip_prefix(b"[<0>] ").unwrap_or(f)).chain(wait.wchan.as_deref());
    names.into_iter().any(|n| is(n) || rpc(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_tells_the_file_system() {
        let wait = |stack: &str| Wait { stack: Some(stack.as_bytes().into()), ..Wait::default() };
        let fuse =
            wait("[<0>] request_wait_answer+0x1/0x2\n[<0>] __fuse_simple_request+0x1/0x2\n[<0>] vfs_read+0x1/0x2");
        assert!(in_functions_of("fuse.sshfs", &fuse) && !in_functions_of("ext4", &fuse));
        let nfs = wait("[<0>] rpc_wait_bit_killable+0x1/0x2\n[<0>] nfs4_proc_getattr+0x1/0x2");
        assert!(in_functions_of("nfs4", &nfs) && !in_functions_of("fuse", &nfs));
        assert!(in_functions_of("ext4", &wait("[<0>] ext4_page_mkwrite+0x1/0x2")));
        assert!(!in_functions_of("nfs", &Wait::default()));
    }

    #[test]
    fn a_path_belongs_to_the_innermost_mount() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:40 / /mnt/a rw - nfs4 server:/x rw\n";
        let (mounts, _) = crate::host::mounts::parse(text);
        let at = |p: &str| mount_of(&mounts, Path::new(p)).map(|m| m.at.clone());
        assert_eq!(at("/mnt/a/b"), Some("/mnt/a".into()));
        assert_eq!(at("/mnt/ab"), Some("/".into()));
        assert_eq!(at("pipe:[1]"), None);
    }
}
