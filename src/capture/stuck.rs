//! Where a thread of ours hangs in the kernel: the hang itself is evidence.

use crate::host::Root;

/// Most bytes of the stack that are kept.
const STACK_CAP: usize = 4096;

/// `wchan`, the system call and (with CAP_SYS_ADMIN) the kernel stack of thread `tid` of this
/// process, in one line. None of the three files takes a lock that the hung call may hold
/// (fs/proc/base.c: proc_pid_wchan, proc_pid_syscall, proc_pid_stack).
pub fn where_is(tid: i32) -> String {
    let root = Root::real();
    let read = |file: &str| {
        let path = format!("/proc/self/task/{tid}/{file}");
        root.read(path, STACK_CAP).ok().map(|c| c.text().trim().to_owned()).filter(|t| !t.is_empty() && t != "0")
    };
    let mut parts = Vec::new();
    if let Some(w) = read("wchan") {
        parts.push(format!("wchan {w}"));
    }
    if let Some(s) = read("syscall") {
        parts.push(format!("syscall {}", s.split(' ').next().unwrap_or("?")));
    }
    if let Some(stack) = read("stack") {
        let frames: Vec<&str> = stack.lines().map(|l| l.split("] ").last().unwrap_or(l).trim()).collect();
        parts.push(format!("stack {}", frames.join(" < ")));
    }
    if parts.is_empty() { "running, or not to be seen".into() } else { parts.join(", ") }
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
        let text = where_is(tid);
        assert!(text.contains("pipe") || text.contains("syscall 0"), "{text}");
    }
}
