//! Our own processes: children of the same binary that can be abandoned.

use crate::sys::ipc::Channel;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid as NixPid;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::model::Pid;
use crate::sys::clock;

/// A child running one role. Dropping it does not wait: a child stuck in the kernel (state D) would
/// hold its parent for ever.
#[derive(Debug)]
pub struct Child {
    pub pid: Pid,
    pub channel: Channel,
}

/// How a child is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Running,
    Exited(i32),
    Killed(i32),
}

/// Starts `/proc/self/exe` with `args`, one end of a channel as its standard input, standard output
/// closed and standard error shared, in its own process group. It is killed when this process dies.
pub fn spawn_self(args: &[OsString]) -> io::Result<Child> {
    spawn_self_with(args, None)
}

/// As [`spawn_self`]; `keep` stays open in the child, under its number.
pub fn spawn_self_with(args: &[OsString], keep: Option<BorrowedFd<'_>>) -> io::Result<Child> {
    let (ours, theirs) = crate::sys::ipc::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("lastgasp")
        .args(args)
        .env_clear()
        .stdin(Stdio::from(theirs.into_fd()))
        .stdout(Stdio::null())
        .process_group(0);
    // Where an ordinary user's stores are, and what makes reports readable; nothing else is passed on.
    for keep in ["PATH", "HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TZ", "RUST_BACKTRACE"] {
        if let Some(v) = std::env::var_os(keep) {
            command.env(keep, v);
        }
    }
    let parent = std::process::id();
    let keep = keep.map(|fd| fd.as_raw_fd());
    // SAFETY: the closure runs between fork and exec and calls only prctl, getppid and fcntl, which are
    // async-signal-safe; it touches no memory but copied integers. Clearing the flag of a descriptor that the child has
    // from us concerns only the child's table.
    unsafe {
        command.pre_exec(move || {
            die_with_parent()?;
            // The parent may have died before prctl took effect.
            if nix::unistd::getppid().as_raw() as u32 != parent {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
            if let Some(fd) = keep
                && libc::fcntl(fd, libc::F_SETFD, 0) == -1
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Child { pid: Pid(pid), channel: ours })
}

/// Asks the kernel to send SIGKILL to this process when the thread that started it ends.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory of ours.
    let rc = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Names this process in `ps` and in /proc/PID/comm (cut to 15 bytes by the kernel).
pub fn set_name(name: &std::ffi::CStr) {
    // SAFETY: PR_SET_NAME reads the NUL-terminated string that `name` is, up to 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

impl Child {
    /// Whether it has ended; reaps it then. Never waits.
    pub fn life(&self) -> io::Result<Life> {
        match waitpid(NixPid::from_raw(self.pid.0), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Ok(Life::Exited(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Life::Killed(signal as i32)),
            Ok(_) => Ok(Life::Running),
            Err(nix::Error::ECHILD) => Ok(Life::Exited(0)),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends SIGKILL to it and its process group; does not wait.
    pub fn kill(&self) {
        let pid = NixPid::from_raw(self.pid.0);
        // Either may be gone already, which is what was wanted.
        let _ = nix::sys::signal::killpg(pid, Signal::SIGKILL);
        let _ = kill(pid, Signal::SIGKILL);
    }

    /// Sends SIGTERM to the child alone.
    pub fn terminate(&self) {
        let _ = kill(NixPid::from_raw(self.pid.0), Signal::SIGTERM);
    }
}

/// Takes standard input as the channel to the parent; for the child's side of [`spawn_self`].
pub fn parent_channel() -> io::Result<Channel> {
    use std::os::fd::AsFd;
    let fd: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    Ok(Channel::from_fd(fd))
}

/// A second instance of this binary with a life of its own, for a drill.
#[derive(Debug)]
pub struct Foreground(std::process::Child);

/// Starts this binary with `args`, to notify `notify_socket` when ready and log to `log`. It is
/// killed when this process dies.
pub fn spawn_foreground(args: &[OsString], notify_socket: &Path, log: &Path) -> io::Result<Foreground> {
    let log = std::fs::File::create(log)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("lastgasp").args(args).env("NOTIFY_SOCKET", notify_socket).env_remove("WATCHDOG_USEC");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(log)).process_group(0);
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
    unsafe { command.pre_exec(die_with_parent) };
    Ok(Foreground(command.spawn()?))
}

impl Foreground {
    /// Asks it to end, and kills it when it has not after `wait`.
    pub fn end(&mut self, wait: Duration) {
        let pid = NixPid::from_raw(self.0.id() as i32);
        let _ = kill(pid, Signal::SIGTERM);
        let until = clock::mono().plus(wait);
        while matches!(self.0.try_wait(), Ok(None)) {
            if clock::mono() >= until {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// Makes a directory that only we can enter. Errors: it exists already, or cannot be made.
pub fn private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}
