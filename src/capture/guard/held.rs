//! Where a thread of ours hangs in the kernel: the hang itself is evidence.

use crate::host::Root;
use std::fmt;

/// Most bytes of the stack that are kept.
const STACK_CAP: usize = 4096;

/// The place, as far as the kernel tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Kernel function it sleeps in.
    pub wchan: Option<String>,
    /// Number of the system call (its arguments are addresses and tell nothing).
    pub syscall: Option<String>,
    /// Kernel stack, innermost first; needs CAP_SYS_ADMIN.
    pub stack: Vec<String>,
}

/// Reads where thread `tid` of this process is. None of the three files takes a lock that the hung
/// call may hold (fs/proc/base.c: proc_pid_wchan, proc_pid_syscall, proc_pid_stack).
pub fn where_held(tid: i32) -> Held {
    let root = Root::real();
    let read = |file: &str| {
        let path = format!("/proc/self/task/{tid}/{file}");
        root.read(path, STACK_CAP).ok().map(|c| c.text().trim().to_owned()).filter(|t| !t.is_empty() && t != "0")
    };
    Held {
        wchan: read("wchan"),
        syscall: read("syscall").and_then(|s| s.split(' ').next().map(str::to_owned)),
        stack: read("stack").map_or_else(Vec::new, |s| s.lines().map(frame).collect()),
    }
}

/// `[<0>] pipe_read+0x1/0x2` without its address.
fn frame(line: &str) -> String {
    line.split("] ").last().unwrap_or(line).trim().to_owned()
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.wchan.as_ref().map(|w| format!("wchan={w}")));
        parts.extend(self.syscall.as_ref().map(|s| format!("syscall={s}")));
        if !self.stack.is_empty() {
            parts.push(format!("stack={}", self.stack.join(" < ")));
        }
        if parts.is_empty() { f.write_str("the kernel does not say where") } else { f.write_str(&parts.join(" ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_blocked_in_a_pipe_read_is_located() {
        let (reader, _writer) = std::io::pipe().expect("pipe");
        let (tx, rx) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            tx.send(nix::unistd::gettid().as_raw()).expect("the test waits");
            let _ = std::io::Read::read(&mut &reader, &mut [0u8; 1]);
        });
        let tid = rx.recv().expect("tid");
        // The thread needs a moment to enter the read; its state says when.
        let stat = format!("/proc/self/task/{tid}/stat");
        while !std::fs::read_to_string(&stat).expect("stat").contains(") S ") {
            std::thread::yield_now();
        }
        let held = where_held(tid);
        assert!(held.wchan.as_deref().is_some_and(|w| w.contains("pipe")) || held.syscall.as_deref() == Some("0"));
        assert!(held.to_string().contains('='), "{held}");
    }
}
