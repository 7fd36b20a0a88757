//! /proc/PID/limits and /proc/PID/io.

use crate::host::bytes::{lines, number, words};

/// A limit: soft and hard. `None`: unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// The limits that services run into. `None`: the line is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub open_files: Option<Limit>,
    pub processes: Option<Limit>,
    pub core_bytes: Option<Limit>,
    pub locked_bytes: Option<Limit>,
    pub address_bytes: Option<Limit>,
}

impl From<crate::sys::rlimit::Rlimits> for Limits {
    fn from(l: crate::sys::rlimit::Rlimits) -> Limits {
        let limit = |(soft, hard)| Some(Limit { soft, hard });
        Limits {
            open_files: limit(l.open_files),
            processes: limit(l.processes),
            core_bytes: limit(l.core_bytes),
            locked_bytes: limit(l.locked_bytes),
            address_bytes: limit(l.address_bytes),
        }
    }
}

/// `Max open files            1024                 4096                 files`.
pub fn parse_limits(text: &[u8]) -> Limits {
    let mut l = Limits::default();
    for line in lines(text) {
        let slot = match line {
            l2 if l2.starts_with(b"Max open files ") => (&mut l.open_files, 15),
            l2 if l2.starts_with(b"Max processes ") => (&mut l.processes, 14),
            l2 if l2.starts_with(b"Max core file size ") => (&mut l.core_bytes, 19),
            l2 if l2.starts_with(b"Max locked memory ") => (&mut l.locked_bytes, 18),
            l2 if l2.starts_with(b"Max address space ") => (&mut l.address_bytes, 18),
            _ => continue,
        };
        let mut w = words(&line[slot.1..]).map(|w| if w == b"unlimited" { Some(None) } else { number(w).map(Some) });
        if let (Some(Some(soft)), Some(Some(hard))) = (w.next(), w.next()) {
            *slot.0 = Some(Limit { soft, hard });
        }
    }
    l
}

/// Bytes since the process started; `chars` went through system calls, `bytes` to and from storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    pub read_chars: Option<u64>,
    pub write_chars: Option<u64>,
    pub read_bytes: Option<u64>,
    pub write_bytes: Option<u64>,
}

/// `rchar: 323934931`, one figure a line.
pub fn parse_io(text: &[u8]) -> Io {
    let mut io = Io::default();
    for line in lines(text) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let n = number(line[colon + 1..].trim_ascii());
        match &line[..colon] {
            b"rchar" => io.read_chars = n,
            b"wchar" => io.write_chars = n,
            b"read_bytes" => io.read_bytes = n,
            b"write_bytes" => io.write_bytes = n,
            _ => {}
        }
    }
    io
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_call_and_the_file_agree() {
        let pid = crate::model::Pid(std::process::id() as i32);
        let asked = Limits::from(crate::sys::rlimit::of(pid).expect("our own"));
        assert_eq!(asked, parse_limits(&std::fs::read("/proc/self/limits").expect("limits")));
    }

    #[test]
    fn limits_and_io() {
        let l = parse_limits(
            b"Limit                     Soft Limit           Hard Limit           Units     \n\
              Max core file size        0                    unlimited            bytes     \n\
              Max open files            1024                 524288               files     \n\
              Max processes             x                    1                    processes \n",
        );
        assert_eq!(l.open_files, Some(Limit { soft: Some(1024), hard: Some(524_288) }));
        assert_eq!(l.core_bytes, Some(Limit { soft: Some(0), hard: None }));
        assert_eq!((l.processes, l.locked_bytes), (None, None));
        let io = parse_io(b"rchar: 5\nwchar: 6\nsyscr: 1\nread_bytes: 7\nbad\ncancelled_write_bytes: 3\n");
        assert_eq!((io.read_chars, io.write_chars, io.read_bytes, io.write_bytes), (Some(5), Some(6), Some(7), None));
    }
}
