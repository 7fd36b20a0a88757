//! /proc/PID/stat and /proc/PID/status, parsed from bytes (fs/proc/array.c).
//!
//! `stat` is `PID (comm) S ppid pgrp …`: the comm is the task's own choice and may hold blanks,
//! parentheses and line ends; what follows the *last* closing parenthesis never does.

use crate::host::bytes::{lines, number, signed, words};

/// `flags` of a kernel thread (PF_KTHREAD, include/linux/sched.h).
pub const PF_KTHREAD: u64 = 0x0020_0000;

/// One task's `stat`. Times in clock ticks, memory in bytes (vsize) and pages (rss).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    /// As the kernel prints it: any bytes; workers of the kernel have up to 64 of them.
    pub comm: Box<[u8]>,
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I`, `P`.
    pub state: u8,
    pub ppid: i32,
    pub pgrp: i32,
    pub session: i32,
    pub tty: u32,
    pub tpgid: i32,
    pub flags: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub utime: u64,
    pub stime: u64,
    pub priority: i64,
    pub nice: i64,
    pub threads: u64,
    /// Ticks after boot.
    pub start: u64,
    pub vsize: u64,
    pub rss_pages: u64,
    pub processor: Option<u32>,
    pub rt_priority: u64,
    /// SCHED_OTHER 0, FIFO 1, RR 2, BATCH 3, IDLE 5, DEADLINE 6, EXT 7.
    pub policy: u64,
    /// Ticks spent waiting for block I/O (0 without delay accounting).
    pub blkio_ticks: Option<u64>,
}

impl Stat {
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}

/// `None` for text that is no `stat`: cut short, or without its fixed fields.
pub fn parse_stat(text: &[u8]) -> Option<Stat> {
    let open = memchr::memchr(b'(', text)?;
    let close = memchr::memrchr(b')', text)?;
    let pid = signed(text.get(..open)?.trim_ascii())?;
    let comm = text.get(open + 1..close)?;
    let mut f = words(text.get(close + 1..)?);
    let state = *f.next()?.first()?;
    let mut int = || f.next().and_then(signed);
    let (ppid, pgrp, session, tty, tpgid) = (int()?, int()?, int()?, int()?, int()?);
    let mut n = || f.next().and_then(number);
    let (flags, minor_faults, _cminor, major_faults, _cmajor) = (n()?, n()?, n()?, n()?, n()?);
    let (utime, stime) = (n()?, n()?);
    let mut int = || f.next().and_then(signed);
    let (_cutime, _cstime, priority, nice) = (int()?, int()?, int()?, int()?);
    let mut n = || f.next().and_then(number);
    let (threads, _itrealvalue, start, vsize) = (n()?, n()?, n()?, n()?);
    let rss_pages = f.next().and_then(signed)?.max(0) as u64;
    // rsslim, code, stack and signal fields: 25 to 37, and the exit signal, 38.
    let mut rest = f.skip(14);
    let processor = rest.next().and_then(number).and_then(|n| u32::try_from(n).ok());
    let rt_priority = rest.next().and_then(number).unwrap_or(0);
    let policy = rest.next().and_then(number).unwrap_or(0);
    let blkio_ticks = rest.next().and_then(number);
    Some(Stat {
        pid: i32::try_from(pid).ok()?,
        comm: comm.into(),
        state,
        ppid: i32::try_from(ppid).ok()?,
        pgrp: i32::try_from(pgrp).ok()?,
        session: i32::try_from(session).ok()?,
        tty: tty as u32,
        tpgid: i32::try_from(tpgid).ok()?,
        flags,
        minor_faults,
        major_faults,
        utime,
        stime,
        priority,
        nice,
        threads,
        start,
        vsize,
        rss_pages,
        processor,
        rt_priority,
        policy,
        blkio_ticks,
    })
}

/// What `status` says beside `stat`. Memory in KiB. `None`: the line is not there (kernel threads
/// have no memory; a kernel without the feature has no line).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Real and effective user.
    pub uid: Option<u32>,
    pub euid: Option<u32>,
    pub gid: Option<u32>,
    pub tgid: Option<i32>,
    pub vm_peak_kib: Option<u64>,
    pub vm_hwm_kib: Option<u64>,
    pub vm_lck_kib: Option<u64>,
    pub vm_swap_kib: Option<u64>,
    /// Code of the program's own file.
    pub vm_exe_kib: Option<u64>,
    pub fd_size: Option<u64>,
    pub voluntary: Option<u64>,
    pub nonvoluntary: Option<u64>,
    /// Pending signals of the process, as a mask: SIGKILL that does not get through is bit 8.
    pub pending: Option<u64>,
    /// Pid in the innermost pid namespace, where it differs.
    pub inner_pid: Option<i32>,
}

impl Status {
    /// Whether it is inside execve, between the point of no return and the load of the new program: its memory is
    /// new and has no code yet (fs/exec.c: begin_new_exec). All that time its exec_update_lock is taken, and whoever
    /// asks for `stat`, `wchan`, `syscall`, `stack`, `io`, `environ`, `maps`, a link or the descriptors waits
    /// for it (measured on 6.18; fewer of them on old kernels). It is there for microseconds, unless the close of
    /// a descriptor hangs.
    pub fn in_execve(&self) -> bool {
        self.vm_exe_kib == Some(0)
    }
}

/// As much of a `stat` as `status` has: for a task whose `stat` cannot be read. The rest is zero.
pub fn stat_of_status(pid: i32, text: &[u8]) -> Option<Stat> {
    let value = |key: &[u8]| {
        let line = lines(text).find(|l| l.strip_prefix(key).is_some_and(|r| r.starts_with(b":")))?;
        Some(line[key.len() + 1..].trim_ascii())
    };
    let figure = |key: &[u8]| value(key).and_then(|v| words(v).next()).and_then(number);
    let kib = |key: &[u8]| figure(key).unwrap_or(0).saturating_mul(1024);
    Some(Stat {
        pid,
        comm: value(b"Name")?.into(),
        state: *value(b"State")?.first()?,
        ppid: figure(b"PPid").and_then(|n| i32::try_from(n).ok()).unwrap_or(0),
        threads: figure(b"Threads").unwrap_or(1),
        vsize: kib(b"VmSize"),
        rss_pages: kib(b"VmRSS") / 4096,
        ..Stat::default()
    })
}

/// Lines that are missing or odd leave their field `None`.
pub fn parse_status(text: &[u8]) -> Status {
    let mut s = Status::default();
    for line in lines(text) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (key, value) = (&line[..colon], &line[colon + 1..]);
        let first = || words(value).next().and_then(number);
        match key {
            b"Tgid" => s.tgid = first().and_then(|n| i32::try_from(n).ok()),
            b"Uid" => {
                let mut w = words(value).map(|w| number(w).and_then(|n| u32::try_from(n).ok()));
                s.uid = w.next().flatten();
                s.euid = w.next().flatten();
            }
            b"Gid" => s.gid = first().and_then(|n| u32::try_from(n).ok()),
            b"NSpid" => {
                // Outermost first; one number alone means: no inner namespace.
                s.inner_pid = words(value).skip(1).last().and_then(number).and_then(|n| i32::try_from(n).ok());
            }
            b"FDSize" => s.fd_size = first(),
            b"VmPeak" => s.vm_peak_kib = first(),
            b"VmHWM" => s.vm_hwm_kib = first(),
            b"VmLck" => s.vm_lck_kib = first(),
            b"VmExe" => s.vm_exe_kib = first(),
            b"VmSwap" => s.vm_swap_kib = first(),
            b"ShdPnd" => s.pending = words(value).next().and_then(crate::host::bytes::hex),
            b"voluntary_ctxt_switches" => s.voluntary = first(),
            b"nonvoluntary_ctxt_switches" => s.nonvoluntary = first(),
            _ => {}
        }
    }
    s
}

/// The last part of a cgroup path list (/proc/PID/cgroup): the v2 path, else that of the first v1
/// hierarchy that is not the root.
pub fn parse_cgroup(text: &[u8]) -> Option<&[u8]> {
    let mut v1 = None;
    for line in lines(text) {
        let mut parts = line.splitn(3, |b| *b == b':');
        let (id, _controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        if id == b"0" && path != b"/" {
            return Some(path);
        }
        if v1.is_none_or(|p: &[u8]| p == b"/") {
            v1 = Some(path);
        }
    }
    v1
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "S 1 2 3 34816 5 4194304 10 20 30 40 50 60 -7 8 20 0 9 0 100 2000000 300 18446744073709551615 \
        1 2 3 4 5 0 0 0 0 0 0 0 17 1 0 0 6 0 0";

    #[test]
    fn a_comm_cannot_forge_the_fields_behind_it() {
        for comm in ["sh", "a b", ") R 1 1 1 (x", "tmux: server", "\n(\n)", ""] {
            let text = format!("77 ({comm}) {FIELDS}\n");
            let s = parse_stat(text.as_bytes()).expect("parses");
            assert_eq!((s.pid, &s.comm[..], s.state), (77, comm.as_bytes(), b'S'), "{comm:?}");
            assert_eq!((s.ppid, s.pgrp, s.session, s.tty, s.tpgid), (1, 2, 3, 34816, 5));
            assert_eq!((s.minor_faults, s.major_faults, s.utime, s.stime), (10, 30, 50, 60));
            assert_eq!((s.priority, s.nice, s.threads, s.start), (20, 0, 9, 100));
            assert_eq!(
                (s.vsize, s.rss_pages, s.processor, s.policy, s.blkio_ticks),
                (2_000_000, 300, Some(1), 0, Some(6))
            );
        }
    }

    #[test]
    fn what_is_no_stat_is_none() {
        let whole = format!("77 (sh) {FIELDS}\n");
        for cut in 0..whole.find("18446744073709551615").expect("the rss limit") - 5 {
            assert_eq!(parse_stat(&whole.as_bytes()[..cut]), None, "{cut}");
        }
        assert_eq!(parse_stat(b")("), None);
        assert_eq!(parse_stat(b"\xff\xff"), None);
    }

    #[test]
    fn status_lines_that_are_missing_stay_none() {
        let s = parse_status(
            b"Name:\tx\\ny\nUmask:\t0022\nTgid:\t9\nNSpid:\t9\t4\t1\nUid:\t10\t20\t0\t0\nGid:\t5\t5\t5\t5\nVmHWM:\t  123 kB\nFDSize:\t64\n\
              ShdPnd:\t0000000000000100\nvoluntary_ctxt_switches:\t7\nbroken\n",
        );
        assert_eq!((s.uid, s.euid, s.tgid, s.inner_pid), (Some(10), Some(20), Some(9), Some(1)));
        assert_eq!((s.vm_hwm_kib, s.vm_swap_kib, s.pending), (Some(123), None, Some(0x100)));
        assert_eq!((s.voluntary, s.nonvoluntary), (Some(7), None));
        assert_eq!(parse_status(b"NSpid:\t9\n").inner_pid, None);
    }

    #[test]
    fn a_task_inside_execve_is_known_by_its_status() {
        let text = b"Name:\tsh: x\nState:\tD (disk sleep)\nPPid:\t7\nVmSize:\t     132 kB\nVmRSS:\t       8 kB\nVmExe:\t       0 kB\nThreads:\t1\n";
        assert!(parse_status(text).in_execve());
        let stat = stat_of_status(9, text).expect("has a name and a state");
        assert_eq!((stat.pid, &stat.comm[..], stat.state, stat.ppid), (9, &b"sh: x"[..], b'D', 7));
        assert_eq!((stat.vsize, stat.rss_pages, stat.threads), (132 * 1024, 2, 1));
        // Kernel threads have no memory at all, all others have code.
        assert!(!parse_status(b"Name:\tkthreadd\n").in_execve());
        assert!(!parse_status(b"VmExe:\t       4 kB\n").in_execve());
        assert_eq!(stat_of_status(9, b"Name:\tx\n"), None);
    }

    #[test]
    fn cgroup_paths() {
        assert_eq!(parse_cgroup(b"0::/system.slice/nginx.service\n"), Some(&b"/system.slice/nginx.service"[..]));
        assert_eq!(parse_cgroup(b"4:memory:/\n2:cpu:/a\n0::/\n"), Some(&b"/a"[..]));
        assert_eq!(parse_cgroup(b""), None);
    }
}
