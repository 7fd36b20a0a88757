//! Command lines of processes, read while they were healthy: a process that hangs with its memory lock held, or inside
//! execve, cannot be asked any more.
//!
//! The idle spare worker fills the cache ([`Keeper`]); it lies in a file in memory that the core made and hands to each
//! worker ([`Shelf`]), so that it outlives the exchange of the spare after each snapshot. The core itself never
//! reads it. Only masked text is kept.

mod keeper;
mod shelf;

pub use keeper::Keeper;
pub use shelf::Shelf;

use std::collections::BTreeMap;

/// Most processes remembered.
pub const PROCESSES_MAX: usize = 8_192;
/// Most bytes of one command line; the rest is cut.
pub const LINE_MAX: usize = 1_024;
/// Most bytes of all of them.
pub const BYTES_MAX: usize = 1 << 20;

/// One process as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its start, in ticks after boot: with the pid, what makes it this process and no later one.
    pub start: u64,
    pub comm: Box<[u8]>,
    /// Masked and safe to print.
    pub text: Box<[u8]>,
    /// Longer in truth.
    pub cut: bool,
    /// When it was read, in seconds of CLOCK_MONOTONIC.
    pub read_s: u32,
}

/// All that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLines {
    by_pid: BTreeMap<i32, Line>,
    bytes: usize,
}

impl CommandLines {
    /// The command line of this process, and of no other that had its pid.
    pub fn of(&self, pid: i32, start: u64) -> Option<&Line> {
        self.by_pid.get(&pid).filter(|l| l.start == start)
    }

    /// For a process whose start cannot be read (inside execve): by its pid and its name.
    pub fn of_named(&self, pid: i32, comm: &[u8]) -> Option<&Line> {
        self.by_pid.get(&pid).filter(|l| *l.comm == *comm)
    }

    pub fn get(&self, pid: i32) -> Option<&Line> {
        self.by_pid.get(&pid)
    }

    pub fn len(&self) -> usize {
        self.by_pid.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    /// At most `max` pids above `after`, in ascending order.
    pub fn pids_after(&self, after: i32, max: usize) -> Vec<i32> {
        self.by_pid.range(after.saturating_add(1)..).take(max).map(|(pid, _)| *pid).collect()
    }

    /// Remembers a line, cut to [`LINE_MAX`]; true when that changed more than the time. Full: not remembered.
    pub fn put(&mut self, pid: i32, mut line: Line) -> bool {
        if line.text.len() > LINE_MAX {
            line.text = line.text[..LINE_MAX].into();
            line.cut = true;
        }
        if let Some(known) = self.by_pid.get_mut(&pid)
            && (known.start, &known.comm, &known.text) == (line.start, &line.comm, &line.text)
        {
            known.read_s = line.read_s;
            return false;
        }
        let had = self.remove(pid);
        let room = self.by_pid.len() < PROCESSES_MAX && self.bytes + weight(&line) <= BYTES_MAX;
        if room {
            self.bytes += weight(&line);
            self.by_pid.insert(pid, line);
        }
        room || had
    }

    /// Forgets a process; false when it was not known.
    pub fn remove(&mut self, pid: i32) -> bool {
        let Some(line) = self.by_pid.remove(&pid) else { return false };
        self.bytes -= weight(&line);
        true
    }

    /// Forgets all but these pids, which are in ascending order; true when one went.
    pub fn retain(&mut self, alive: &[i32]) -> bool {
        let gone: Vec<i32> = self.by_pid.keys().copied().filter(|pid| alive.binary_search(pid).is_err()).collect();
        gone.iter().fold(false, |any, pid| self.remove(*pid) | any)
    }

    /// One after another: pid u32, start u64, read_s u32, flags u8 (1: cut), length of comm u8, length of text u16,
    /// comm, text; little-endian.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes);
        for (pid, l) in &self.by_pid {
            let (comm, text) = (&l.comm[..l.comm.len().min(255)], &l.text[..l.text.len().min(LINE_MAX)]);
            out.extend_from_slice(&pid.to_le_bytes());
            out.extend_from_slice(&l.start.to_le_bytes());
            out.extend_from_slice(&l.read_s.to_le_bytes());
            out.extend_from_slice(&[u8::from(l.cut), comm.len() as u8]);
            out.extend_from_slice(&(text.len() as u16).to_le_bytes());
            out.extend_from_slice(comm);
            out.extend_from_slice(text);
        }
        out
    }

    /// What [`CommandLines::encode`] wrote; anything odd ends it.
    fn decode(mut bytes: &[u8]) -> CommandLines {
        let mut lines = CommandLines::default();
        while let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() {
            let (comm_len, text_len) = (usize::from(head[17]), usize::from(u16::from_le_bytes([head[18], head[19]])));
            let (Some(comm), Some(text)) = (rest.get(..comm_len), rest.get(comm_len..comm_len + text_len)) else {
                break;
            };
            let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let line = Line {
                start: u64::from(word(4)) | u64::from(word(8)) << 32,
                comm: comm.into(),
                text: text.into(),
                cut: head[16] != 0,
                read_s: word(12),
            };
            lines.put(word(0) as i32, line);
            bytes = &rest[comm_len + text_len..];
        }
        lines
    }
}

/// Bytes of the fixed part of an encoded line.
const HEAD: usize = 20;

fn weight(line: &Line) -> usize {
    HEAD + line.comm.len() + line.text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn line(start: u64, text: &str) -> Line {
        Line { start, comm: b"x".as_slice().into(), text: text.as_bytes().into(), cut: false, read_s: 5 }
    }

    #[test]
    fn a_later_process_with_the_same_pid_is_another_one() {
        let mut lines = CommandLines::default();
        assert!(lines.put(7, line(100, "nginx: master")));
        assert!(!lines.put(7, Line { read_s: 9, ..line(100, "nginx: master") }));
        assert_eq!(lines.of(7, 100).map(|l| l.read_s), Some(9));
        assert_eq!((lines.of(7, 101), lines.of(8, 100)), (None, None));
        assert!(lines.of_named(7, b"x").is_some() && lines.of_named(7, b"y").is_none());
        assert!(lines.put(7, line(200, "sh")));
        assert_eq!(lines.of(7, 100), None);
        assert!(lines.retain(&[6, 8]) && lines.is_empty());
        assert_eq!(lines.bytes, 0);
    }

    #[test]
    fn it_comes_back_as_it_was_and_broken_bytes_end_it() {
        let mut lines = CommandLines::default();
        lines.put(1, line(u64::MAX - 3, "/sbin/init"));
        lines.put(i32::MAX, line(0, &"y".repeat(5000)));
        let bytes = lines.encode();
        assert_eq!(CommandLines::decode(&bytes), lines);
        assert!(lines.get(i32::MAX).is_some_and(|l| l.cut && l.text.len() == LINE_MAX));
        for cut in 0..bytes.len() {
            assert!(CommandLines::decode(&bytes[..cut]).len() <= 1, "{cut}");
        }
        CommandLines::decode(&[0xff; 999]);
    }

    #[test]
    fn it_is_bounded() {
        let mut lines = CommandLines::default();
        for pid in 0..2 * PROCESSES_MAX as i32 {
            lines.put(pid, line(1, &"z".repeat(pid as usize % 300)));
        }
        assert!(lines.len() <= PROCESSES_MAX && lines.encode().len() <= BYTES_MAX);
        assert!(!lines.put(i32::MAX, line(1, &"z".repeat(LINE_MAX))) || lines.bytes <= BYTES_MAX);
    }
}
