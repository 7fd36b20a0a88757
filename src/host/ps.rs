//! Processes in the shape of `ps aux`, which support tools read.
//!
//! ```text
//! USER       PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND
//! root         1  0.0  0.0 168140 11536 ?        Ss   07:12   0:04 /sbin/init
//! ```
//!
//! Start times are UTC: the machine that failed may have any zone, and reading it is a file more.

use crate::host::bytes::{pad_right, push_number, push_right, push_word};
use crate::host::stat::{Stat, Status};
use crate::host::tasks::{Machine, Process};
use crate::host::users::Users;
use chrono::Datelike;

pub const HEADER: &[u8] = b"USER       PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n";

/// What is the same for every line.
pub struct Shape<'a> {
    pub machine: &'a Machine,
    pub users: &'a Users,
}

impl Shape<'_> {
    /// One process's line, up to and without the command. `threads_follow`: as `ps m` has it, with a dash
    /// for the state, because each thread has its own.
    pub fn process(&self, out: &mut Vec<u8>, p: &Process, threads_follow: bool) {
        self.user(out, &p.status);
        out.push(b' ');
        push_right(out, p.stat.pid.unsigned_abs().into(), 5);
        self.cpu(out, &p.stat);
        let rss_kib = p.stat.rss_pages.saturating_mul(self.machine.page_bytes) / 1024;
        match self.machine.mem_total_kib {
            Some(total) if total > 0 => tenths(out, rss_kib.saturating_mul(1000) / total),
            _ => out.extend_from_slice(b"    -"),
        }
        out.push(b' ');
        push_right(out, p.stat.vsize / 1024, 6);
        out.push(b' ');
        push_right(out, rss_kib, 5);
        out.push(b' ');
        let start = out.len();
        tty(out, p.stat.tty);
        pad_right(out, start, 8);
        out.push(b' ');
        self.state_and_times(out, &p.stat, Some(p), threads_follow);
    }

    /// One thread's line as `ps m` has it, whole: only its own figures, the rest are dashes.
    pub fn thread(&self, out: &mut Vec<u8>, p: &Process, thread: &Stat) {
        self.user(out, &p.status);
        out.extend_from_slice(b"     -");
        self.cpu(out, thread);
        out.extend_from_slice(b"    -      -     - -        ");
        self.state_and_times(out, thread, None, false);
        out.extend_from_slice(b"-\n");
    }

    fn user(&self, out: &mut Vec<u8>, status: &Status) {
        let start = out.len();
        match status.euid {
            Some(uid) => match self.users.name(uid) {
                Some(name) if name.len() > 8 => {
                    push_word(out, &name[..7]);
                    out.push(b'+');
                }
                Some(name) => push_word(out, name),
                None => push_number(out, uid.into()),
            },
            None => out.push(b'?'),
        }
        pad_right(out, start, 8);
    }

    /// CPU share over its life, like ps.
    fn cpu(&self, out: &mut Vec<u8>, s: &Stat) {
        let hz = self.machine.hz.max(1);
        match self.machine.uptime_s {
            Some(up) => {
                let lived = ((up * hz as f64) as u64).saturating_sub(s.start);
                let share = s.utime.saturating_add(s.stime).saturating_mul(1000).checked_div(lived).unwrap_or(0);
                tenths(out, share);
            }
            None => out.extend_from_slice(b"    -"),
        }
    }

    fn state_and_times(&self, out: &mut Vec<u8>, s: &Stat, p: Option<&Process>, no_state: bool) {
        let start = out.len();
        out.push(if no_state { b'-' } else { s.state });
        if s.nice < 0 && !no_state {
            out.push(b'<');
        } else if s.nice > 0 && !no_state {
            out.push(b'N');
        }
        if let Some(p) = p.filter(|_| !no_state) {
            if p.status.vm_lck_kib.is_some_and(|k| k > 0) {
                out.push(b'L');
            }
            if s.session == s.pid {
                out.push(b's');
            }
            if s.threads > 1 {
                out.push(b'l');
            }
            if s.tpgid == s.pgrp {
                out.push(b'+');
            }
        }
        pad_right(out, start, 4);
        out.push(b' ');
        let hz = self.machine.hz.max(1);
        let began = self.machine.boot_s.and_then(|b| i64::try_from(b.saturating_add(s.start / hz)).ok());
        let age_s = self.machine.uptime_s.map_or(0.0, |up| up - (s.start / hz) as f64);
        match began {
            Some(t) => clock_or_day(out, t, age_s < 86_400.0),
            None => out.extend_from_slice(b"    -"),
        }
        let cpu_s = s.utime.saturating_add(s.stime) / hz;
        let minutes = cpu_s / 60;
        out.push(b' ');
        push_right(out, minutes, 3);
        out.push(b':');
        out.push(b'0' + (cpu_s % 60 / 10) as u8);
        out.push(b'0' + (cpu_s % 10) as u8);
        out.push(b' ');
    }
}

/// `07:12` of today's, `Nov25` of older times; five columns. By hand: three times a process in a snapshot.
fn clock_or_day(out: &mut Vec<u8>, seconds: i64, today: bool) {
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let two = |n: i64| [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
    if today {
        let minutes = seconds.rem_euclid(86_400) / 60;
        out.extend_from_slice(&two(minutes / 60));
        out.push(b':');
        out.extend_from_slice(&two(minutes % 60));
        return;
    }
    match chrono::DateTime::from_timestamp(seconds, 0) {
        Some(t) => {
            out.extend_from_slice(MONTHS[t.month0() as usize]);
            out.extend_from_slice(&two(t.day().into()));
        }
        None => out.extend_from_slice(b"    -"),
    }
}

/// ` 12.3`, five columns.
fn tenths(out: &mut Vec<u8>, n: u64) {
    out.push(b' ');
    push_right(out, n / 10, 2);
    out.push(b'.');
    push_number(out, n % 10);
}

/// The controlling terminal from its device number (Documentation/admin-guide/devices.txt).
fn tty(out: &mut Vec<u8>, device: u32) {
    let major = device >> 8 & 0xfff;
    let minor = u64::from(device & 0xff | device >> 12 & 0xf_ff00);
    match major {
        136..=143 => {
            out.extend_from_slice(b"pts/");
            push_number(out, u64::from(major - 136) * 256 + minor);
        }
        4 if minor < 64 => {
            out.extend_from_slice(b"tty");
            push_number(out, minor);
        }
        4 => {
            out.extend_from_slice(b"ttyS");
            push_number(out, minor - 64);
        }
        5 if minor == 1 => out.extend_from_slice(b"console"),
        _ => out.push(b'?'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tasks::Wait;
    use crate::model::Mono;

    #[test]
    fn lines_have_the_columns_of_ps() {
        let machine = Machine {
            hz: 100,
            page_bytes: 4096,
            boot_s: Some(1_795_400_000),
            uptime_s: Some(1000.0),
            mem_total_kib: Some(1_000_000),
        };
        let users = Users::parse(b"root:x:0:\nlong-user-name:x:7:\n");
        let stat = Stat {
            pid: 42,
            state: b'S',
            session: 42,
            threads: 3,
            utime: 4000,
            stime: 2500,
            start: 10_000,
            vsize: 10 << 20,
            rss_pages: 2500,
            tty: 136 << 8 | 5,
            tpgid: -1,
            ..Stat::default()
        };
        let status = Status { euid: Some(7), vm_lck_kib: Some(4), ..Status::default() };
        let thread = stat.clone();
        let p = Process {
            at: Mono(0),
            stat,
            status,
            wait: Wait::default(),
            in_execve: false,
            oom_score_adj: None,
            cgroup: None,
            threads: Vec::new(),
            threads_left_out: 0,
        };
        let shape = Shape { machine: &machine, users: &users };
        let mut out = Vec::new();
        shape.process(&mut out, &p, false);
        assert_eq!(String::from_utf8_lossy(&out), "long-us+    42  7.2  1.0  10240 10000 pts/5    SLsl 02:15   1:05 ");
        for (t, today, want) in [(1_795_400_000, true, "02:13"), (1_795_400_000, false, "Nov23"), (0, false, "Jan01")] {
            let mut out = Vec::new();
            clock_or_day(&mut out, t, today);
            assert_eq!(out, want.as_bytes());
        }
        out.clear();
        shape.thread(&mut out, &p, &thread);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "long-us+     -  7.2    -      -     - -        S    02:15   1:05 -\n"
        );
    }
}
