//! Other people's programs, run as helpers: absolute path, clean environment, own process group, no
//! shell, output capped, killed at the deadline, abandoned when even that does not end them.

use crate::model::Deadline;
use crate::sys::clock;
use crate::sys::ipc::wait_readable;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where helpers are looked for; the caller's PATH plays no part.
pub const SEARCH: &[&str] = &["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// How a helper ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
    /// Killed by us at the deadline.
    TimedOut,
    /// Did not even die of SIGKILL within [`KILL_GRACE`]: stuck in the kernel, left alone.
    Abandoned {
        pid: i32,
    },
}

/// What a helper said, at most `cap` bytes of each stream.
#[derive(Debug, Clone)]
pub struct Output {
    pub ended: Ended,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// It said more than the cap; the rest was read and dropped.
    pub truncated: bool,
}

/// How long a killed helper may take to vanish before it is abandoned.
pub const KILL_GRACE: Duration = Duration::from_millis(200);
/// Most bytes kept of a helper's standard error.
const STDERR_CAP: usize = 4096;

/// The absolute path of `program`, which may be a bare name; `None` when it is not installed.
pub fn find(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Path::new(program).is_file().then(|| PathBuf::from(program));
    }
    SEARCH.iter().map(|d| Path::new(d).join(program)).find(|p| p.is_file())
}

/// Runs `argv` (first element: absolute path) until it ends or `deadline` passes.
///
/// Errors: it could not be started, or a pipe failed. A non-zero exit is no error here.
pub fn run(program: &Path, args: &[&str], deadline: Deadline, cap: usize) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", SEARCH.join(":"))
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_PAGER", "")
        .env("SYSTEMD_COLORS", "0")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mut stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let mut stderr = child.stderr.take().expect("stderr was asked to be a pipe");
    for fd in [stdout.as_fd(), stderr.as_fd()] {
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let mut out = Output { ended: Ended::TimedOut, stdout: Vec::new(), stderr: Vec::new(), truncated: false };
    let (mut out_open, mut err_open) = (true, true);
    let mut chunk = vec![0u8; 64 * 1024];
    loop {
        if out_open {
            out_open = drain(&mut stdout, &mut out.stdout, cap, &mut out.truncated, &mut chunk)?;
        }
        if err_open {
            let mut cut = false;
            err_open = drain(&mut stderr, &mut out.stderr, STDERR_CAP, &mut cut, &mut chunk)?;
        }
        if let Some(status) = child.try_wait()? {
            // Read what it left in the pipes; a grandchild that keeps them open is not waited for.
            if out_open {
                drain(&mut stdout, &mut out.stdout, cap, &mut out.truncated, &mut chunk)?;
            }
            if err_open {
                let mut cut = false;
                drain(&mut stderr, &mut out.stderr, STDERR_CAP, &mut cut, &mut chunk)?;
            }
            out.ended = match status.code() {
                Some(code) => Ended::Exited(code),
                None => Ended::Killed(status.signal().unwrap_or(0)),
            };
            return Ok(out);
        }
        let now = clock::mono();
        if deadline.passed(now) {
            out.ended = end(&mut child);
            return Ok(out);
        }
        // Both ends closed but still running: only its exit is left to wait for.
        let step = deadline.left(now).min(Duration::from_millis(if out_open || err_open { 20 } else { 5 }));
        if out_open {
            wait_readable(stdout.as_fd(), Some(step))?;
        } else if err_open {
            wait_readable(stderr.as_fd(), Some(step))?;
        } else {
            std::thread::park_timeout(step);
        }
    }
}

/// Reads what is there without waiting. False once the stream has ended.
fn drain(from: &mut impl Read, into: &mut Vec<u8>, cap: usize, cut: &mut bool, chunk: &mut [u8]) -> io::Result<bool> {
    loop {
        match from.read(chunk) {
            Ok(0) => return Ok(false),
            Ok(n) => {
                let room = cap.saturating_sub(into.len());
                into.extend_from_slice(&chunk[..n.min(room)]);
                *cut |= n > room;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn end(child: &mut std::process::Child) -> Ended {
    let pid = child.id() as i32;
    let group = nix::unistd::Pid::from_raw(pid);
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    let grace = Deadline::after(clock::mono(), KILL_GRACE);
    while !grace.passed(clock::mono()) {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return Ended::TimedOut;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Ended::Abandoned { pid }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(ms: u64) -> Deadline {
        Deadline::after(clock::mono(), Duration::from_millis(ms))
    }

    #[test]
    fn output_is_capped_and_the_exit_code_kept() {
        let out = run(Path::new("/bin/sh"), &["-c", "echo 0123456789; echo oops >&2; exit 3"], within(10_000), 4)
            .expect("sh starts");
        assert_eq!(out.ended, Ended::Exited(3));
        assert_eq!(out.stdout, b"0123");
        assert_eq!(out.stderr, b"oops\n");
        assert!(out.truncated);
    }

    #[test]
    fn a_helper_that_never_ends_is_killed_with_its_children() {
        let before = clock::mono();
        let out = run(Path::new("/bin/sh"), &["-c", "tail -f /dev/null & wait"], within(100), 100).expect("sh starts");
        assert_eq!(out.ended, Ended::TimedOut);
        assert!(clock::mono().since(before) < Duration::from_secs(5));
    }
}
