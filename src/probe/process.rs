//! Processes by name and by pidfile, from /proc under a root.

use crate::host::Root;
use crate::host::stat::parse_status;
use crate::host::suspicion::is_memory_wait;
use crate::model::{Deadline, ProbeCause};
use crate::probe::Fail;
use crate::sys::clock;
use std::path::Path;

/// Most processes looked at.
const PIDS_MAX: usize = 200_000;
/// `TASK_COMM_LEN` less its NUL (include/linux/sched.h): longer names are cut in /proc/PID/status.
const COMM_MAX: usize = 15;
/// Bytes of a command line that are read: the name of the program is at its start.
const CMDLINE_MAX: usize = 8192;

/// At least `min` processes of this name run.
///
/// By /proc/PID/status first, which takes no lock; only when that is too few by command lines, whose
/// reading waits for the process's memory lock and so can hang on a process that hangs.
pub(crate) fn by_name(root: &Root, name: &str, min: u32, deadline: Deadline) -> Result<(), Fail> {
    let pids = pids(root)?;
    let mut found = 0u32;
    let mut others = Vec::new();
    for pid in pids {
        alive(deadline)?;
        // It may have ended since the directory was read.
        let Some((comm, state)) = stat(root, pid) else { continue };
        if is_gone(state) {
            continue;
        }
        if comm == name.as_bytes() {
            found += 1;
        } else {
            others.push((pid, comm, state));
        }
        if found >= min {
            return Ok(());
        }
    }
    for (pid, comm, state) in others {
        alive(deadline)?;
        // Whose memory lock is taken for good would hold up everybody who asks for its command line; its name must do.
        if state == b'D' && waits_for_memory(root, pid) {
            found += u32::from(name.as_bytes().starts_with(&comm) && comm.len() == COMM_MAX);
            continue;
        }
        let Ok(line) = root.read(format!("/proc/{pid}/cmdline"), CMDLINE_MAX) else { continue };
        if is_called(name.as_bytes(), &comm, &line.bytes) {
            found += 1;
            if found >= min {
                return Ok(());
            }
        }
    }
    Err(Fail::new(ProbeCause::TooFew, format!("{found} processes named {name}, want {min}")))
}

/// Whether its first thread waits for the memory lock. Inside execve nobody may ask where it waits.
fn waits_for_memory(root: &Root, pid: i32) -> bool {
    let read = |file: &str| root.read(format!("/proc/{pid}/{file}"), 4096).ok();
    read("status").is_some_and(|s| !parse_status(&s.bytes).in_execve())
        && read("wchan").is_some_and(|w| is_memory_wait(w.bytes.trim_ascii()))
}

/// By the base name of `argv[0]`; where the kernel cut the name, of the script in `argv[1]` too.
fn is_called(name: &[u8], comm: &[u8], cmdline: &[u8]) -> bool {
    let cut = name.len() > COMM_MAX && comm == &name[..COMM_MAX];
    let mut args = cmdline.split(|b| *b == 0).map(|a| a.rsplit(|b| *b == b'/').next().unwrap_or_default());
    args.next().is_some_and(|a| a == name) || cut && args.next().is_some_and(|a| a == name)
}

/// The process that the pidfile names is there.
pub(crate) fn by_pidfile(root: &Root, path: &Path) -> Result<(), Fail> {
    let shown = path.display();
    let read = root.read(path, 64).map_err(|e| {
        let cause = match e.kind() {
            std::io::ErrorKind::NotFound => ProbeCause::NotFound,
            _ => ProbeCause::CannotProbe,
        };
        Fail::new(cause, format!("read {shown}: {e}"))
    })?;
    let text = read.text();
    let pid = text.split_whitespace().next().and_then(|w| w.parse::<i32>().ok()).filter(|pid| *pid > 0);
    let Some(pid) = pid else {
        let start: String = text.chars().take(20).collect();
        return Err(Fail::new(ProbeCause::BadAnswer, format!("{shown} holds {start:?}, not a process id")));
    };
    match stat(root, pid) {
        Some((_, state)) if is_gone(state) => {
            Err(Fail::new(ProbeCause::NotFound, format!("process {pid} of {shown} has ended (zombie)")))
        }
        Some(_) => Ok(()),
        None => Err(Fail::new(ProbeCause::NotFound, format!("there is no process {pid}, which {shown} names"))),
    }
}

fn alive(deadline: Deadline) -> Result<(), Fail> {
    if deadline.passed(clock::mono()) {
        return Err(Fail::new(ProbeCause::TimedOut, "looking through /proc took too long"));
    }
    Ok(())
}

fn pids(root: &Root) -> Result<Vec<i32>, Fail> {
    let (names, _) =
        root.list("/proc", PIDS_MAX).map_err(|e| Fail::new(ProbeCause::CannotProbe, format!("list /proc: {e}")))?;
    Ok(names.iter().filter_map(|n| n.to_str()?.parse().ok()).collect())
}

/// Name and state letter from /proc/PID/status, which never waits for the process (`stat` does while it is inside
/// execve). The name may hold anything; line ends and backslashes are escaped there.
fn stat(root: &Root, pid: i32) -> Option<(Vec<u8>, u8)> {
    let read = root.read(format!("/proc/{pid}/status"), 4096).ok()?;
    let value = |key: &str| {
        let line = read.bytes.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(key.as_bytes()))?;
        Some(line.trim_ascii_start())
    };
    let (name, state) = (value("Name:")?, *value("State:")?.first()?);
    Some((unescaped(name), state))
}

/// `\n` and `\\` of /proc/PID/status as the bytes they stand for.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(b) = bytes.next() {
        match (b, bytes.as_slice().first()) {
            (b'\\', Some(next @ (b'n' | b'\\'))) => {
                out.push(if *next == b'n' { b'\n' } else { b'\\' });
                bytes.next();
            }
            _ => out.push(*b),
        }
    }
    out
}

/// Zombie or dead: an entry without a process.
fn is_gone(state: u8) -> bool {
    matches!(state, b'Z' | b'X' | b'x')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn host(processes: &[(i32, &str, char, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (pid, comm, state, cmdline) in processes {
            let at = dir.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&at).expect("mkdir");
            let comm = comm.replace('\\', "\\\\").replace('\n', "\\n");
            std::fs::write(at.join("status"), format!("Name:\t{comm}\nUmask:\t0022\nState:\t{state} (x)\n"))
                .expect("write");
            std::fs::write(at.join("cmdline"), cmdline.replace(' ', "\0")).expect("write");
        }
        std::fs::create_dir_all(dir.path().join("proc/sys")).expect("mkdir");
        let root = Root::at(dir.path());
        (dir, root)
    }

    fn soon() -> Deadline {
        Deadline::after(clock::mono(), Duration::from_secs(10))
    }

    #[test]
    fn processes_are_found_by_comm_and_by_argv() {
        let (_dir, root) = host(&[
            (1, "systemd", 'S', "/sbin/init"),
            (20, "nginx", 'S', "nginx: master"),
            (21, "nginx", 'D', "nginx: worker"),
            (22, "nginx", 'Z', ""),
            (30, "a) (b", 'R', "x"),
            (40, "main-thread", 'S', "/opt/bin/renamed --flag"),
            (50, "a-very-long-nam", 'S', "/usr/bin/python3 /opt/a-very-long-name -x"),
        ]);
        let look = |name: &str, min| by_name(&root, name, min, soon());
        assert_eq!(look("nginx", 2), Ok(()));
        let fail = look("nginx", 3).expect_err("the zombie does not count");
        assert_eq!((fail.cause, fail.detail.as_str()), (ProbeCause::TooFew, "2 processes named nginx, want 3"));
        for name in ["a) (b", "renamed", "init", "a-very-long-name"] {
            assert_eq!(look(name, 1), Ok(()), "{name}");
        }
        for name in ["a-very-long-nape", "python", "ngin", "--flag"] {
            assert!(look(name, 1).is_err(), "{name}");
        }
    }

    #[test]
    fn pidfiles_are_read_with_care() {
        let (dir, root) = host(&[(20, "nginx", 'S', "nginx"), (22, "nginx", 'Z', "")]);
        let look = |content: &[u8]| {
            std::fs::write(dir.path().join("x.pid"), content).expect("write");
            by_pidfile(&root, Path::new("/x.pid")).map_err(|f| f.cause)
        };
        assert_eq!(look(b"20\n"), Ok(()));
        assert_eq!(look(b" 20 nginx"), Ok(()));
        assert_eq!(look(b"22\n"), Err(ProbeCause::NotFound));
        assert_eq!(look(b"99\n"), Err(ProbeCause::NotFound));
        for bad in [&b""[..], b"x", b"-1", b"0", b"99999999999", b"\xff\xfe"] {
            assert_eq!(look(bad), Err(ProbeCause::BadAnswer));
        }
        assert_eq!(by_pidfile(&root, Path::new("/absent")).expect_err("absent").cause, ProbeCause::NotFound);
    }
}
