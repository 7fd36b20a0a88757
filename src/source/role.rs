//! The `tail` role: a process of its own that follows the console files, because a file system that hangs
//! takes every process with it that touches it.
//!
//! Files on a file system that may hang are read by threads of their own (`aside`), so that local ones are followed all the same.
//!
//! It is told what to follow, sends [`Record`]s, and owns the state file, which a thread of its own writes (`scribe`). When the parent is behind it waits:
//! the log files themselves are the buffer. Positions are saved only for records that were sent, so a
//! restart after [`TailOrder::Stop`] neither loses nor repeats a line; after a crash at most the lines of
//! the last 2 s come twice.

use crate::config::ConsoleConfig;
use crate::model::{HistoryLine, Losses, Mono, Origin, Record};
use crate::source::aside::{self, Readers};
use crate::source::kernel::Cursor;
use crate::source::scribe::Scribe;
use crate::source::state_file::State;
use crate::source::{ConsoleState, Consoles, Error, Notice};
use crate::sys::ipc::{Channel, PACKET_MAX, Received};
use crate::sys::{clock, memory};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

/// The parent sends its first order at once.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How often the state is saved, and losses are told, at most.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// How long a parent that has ordered a stop is waited for when it does not read.
const STOP_WITHIN: Duration = Duration::from_secs(1);
/// How often the consoles are sorted at most: a host of containers has mounts by the thousand, which come and go.
const SORT_EVERY: Duration = Duration::from_secs(5);
/// The mounts of this process.
const MOUNTS: &str = "/proc/self/mountinfo";
/// Records read before they are sent; some 100 KiB.
pub(super) const STEP_RECORDS: usize = 1024;

/// Console files on a file system that may stop answering.
#[derive(Clone, Debug, PartialEq)]
pub struct Aside {
    /// All of their paths are below it.
    pub root: PathBuf,
    pub consoles: Vec<ConsoleConfig>,
}

/// Tells those that are read here from those that are read aside. Asked at the start, and whenever the mount table has changed.
pub type Sort = dyn Fn(&[ConsoleConfig]) -> (Vec<ConsoleConfig>, Vec<Aside>);

/// What the parent says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum TailOrder {
    /// First, once.
    /// `aside`: those on file systems that may stop answering are read by threads of their own, which begin when they can.
    Start { consoles: Vec<ConsoleConfig>, aside: bool, state_file: PathBuf },
    /// How far the kernel log was read, to be kept with the rest.
    SaveCursor(Cursor),
    /// To be appended to the history.
    History(Box<HistoryLine>),
    /// Save and end.
    Stop,
}

/// What the parent is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum TailMessage {
    /// First: files are open; and the cursor saved by an earlier run.
    Ready {
        cursor: Option<Cursor>,
    },
    Records(Vec<Record>),
    Notice(String),
    /// Since the last time.
    Losses(Losses),
    /// Last: mounts have changed, positions are saved, and another role is to go on. This one may not be able to end: a thread
    /// of it may hang on one of them.
    Remounted,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Go,
    Stop,
    /// The parent is gone.
    Closed,
}

/// Runs until told to stop, until the parent is gone, or until a mount has come or gone that makes `sort` answer otherwise: then
/// it says so ([`TailMessage::Remounted`]) and ends. Trouble with files or the state is a notice.
///
/// Errors: no usable first order, no inotify, the channel failed.
pub fn run(channel: Channel, sort: &Sort) -> Result<(), Error> {
    raise_descriptor_limit();
    let mut packet = Vec::new();
    let (all, aside, state_file) = match channel.recv(&mut packet, Some(START_WITHIN)).map_err(Error::Channel)? {
        Received::Message(TailOrder::Start { consoles, aside, state_file }) => (consoles, aside, state_file),
        Received::Message(_) => return Err(Error::NoStart("something else came")),
        Received::Empty => return Err(Error::NoStart("nothing came for 30 s")),
        Received::Closed => return Ok(()),
    };
    memory::be_frugal();
    // Before it is read, so that no change is missed. Without it, a file system that is mounted later is read like a local one.
    let mounts = File::open(MOUNTS).ok().filter(|_| aside);
    let (configs, asides) = if aside { sort(&all) } else { (all.clone(), Vec::new()) };
    memory::forget_code();
    let mut notices = Vec::new();
    let scribe = Scribe::start(state_file, &mut notices).map_err(Error::Channel)?;
    let now = clock::mono();
    let sorted = (configs.clone(), asides.clone());
    let known = &scribe.written().consoles;
    let local = aside::part(known, |path| !asides.iter().any(|a| path.starts_with(&a.root)));
    let readers = Readers::start(asides, known, &mut notices).map_err(Error::Channel)?;
    let (consoles, more) = Consoles::new(&configs, &local, now)?;
    notices.extend(more);
    let mut role = Role {
        channel,
        packet,
        cursor: scribe.written().cursor.clone(),
        scribe,
        readers,
        unsaved: true,
        save_at: now,
        losses: Losses::default(),
        stop_by: None,
        mounts,
        remounted: false,
        sort_at: now,
    };
    let still = || sort(&all) == sorted;
    role.serve(consoles, notices, &still)
}

struct Role {
    channel: Channel,
    packet: Vec<u8>,
    scribe: Scribe,
    readers: Readers,
    cursor: Option<Cursor>,
    /// Records were sent since the state was given to be written.
    unsaved: bool,
    save_at: Mono,
    losses: Losses,
    /// Stop was ordered; given up by then.
    stop_by: Option<Mono>,
    /// The mount table, which poll(2) reports when it has changed (proc(5)).
    mounts: Option<File>,
    /// It has changed since the consoles were sorted.
    remounted: bool,
    /// When they may be sorted again.
    sort_at: Mono,
}

impl Role {
    /// `still`: whether the consoles are sorted as they would be now.
    fn serve(
        &mut self,
        mut consoles: Consoles,
        mut notices: Vec<Notice>,
        still: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let ready = TailMessage::Ready { cursor: self.cursor.clone() };
        let mut flow = self.send(&ready)?;
        let (mut records, mut again) = (Vec::new(), false);
        while flow == Flow::Go && self.stop_by.is_none() {
            flow = self.take_orders()?;
            if flow != Flow::Go {
                break;
            }
            let now = clock::mono();
            if self.remounted && now >= self.sort_at {
                self.remounted = false;
                self.sort_at = now.plus(SORT_EVERY);
                if !still() {
                    again = true;
                    break;
                }
            }
            let step = consoles.step(STEP_RECORDS, now, clock::wall(), &mut records);
            notices.extend(step.notices);
            self.unsaved |= !records.is_empty();
            flow = self.send_all(&mut records, &mut notices)?;
            if flow == Flow::Go {
                self.readers.check(now, &mut notices);
                flow = self.take_from_readers(&mut notices)?;
            }
            if flow != Flow::Go {
                // Some of it was not sent: the positions stay as they were saved last.
                break;
            }
            merge(&mut self.losses, consoles.losses());
            if now >= self.save_at || self.stop_by.is_some() {
                self.save_at = now.plus(SAVE_EVERY);
                let current = State { cursor: self.cursor.clone(), consoles: self.positions(&consoles) };
                self.save(current, now, &mut notices);
                flow = self.send_all(&mut records, &mut notices)?;
                if flow == Flow::Go && !self.losses.counts.is_empty() {
                    let losses = std::mem::take(&mut self.losses);
                    flow = self.send(&TailMessage::Losses(losses))?;
                }
            }
            if !step.more && flow == Flow::Go && self.stop_by.is_none() {
                self.wait(&consoles)?;
            }
        }
        let consoles = match flow {
            Flow::Closed => return Ok(()),
            // Not all was sent: the positions stay as they were.
            Flow::Stop => self.scribe.written().consoles.clone(),
            Flow::Go => self.positions(&consoles),
        };
        self.scribe.finish(STOP_WITHIN);
        let written = self.scribe.written();
        if self.cursor != written.cursor || consoles.files != written.consoles.files {
            self.scribe.save(State { cursor: self.cursor.clone(), consoles });
        }
        self.scribe.finish(STOP_WITHIN);
        if again {
            if !self.losses.counts.is_empty() {
                let losses = std::mem::take(&mut self.losses);
                self.send(&TailMessage::Losses(losses))?;
            }
            self.send(&TailMessage::Remounted)?;
        }
        Ok(())
    }

    /// Sends what the readers of other file systems have.
    fn take_from_readers(&mut self, notices: &mut Vec<Notice>) -> Result<Flow, Error> {
        for reader in self.readers.begin_turn() {
            let Some(mut taken) = self.readers.take(reader, notices) else { continue };
            let flow = self.send_all(&mut taken.records, notices)?;
            if flow != Flow::Go {
                return Ok(flow);
            }
            merge(&mut self.losses, std::mem::take(&mut taken.losses));
            self.readers.sent(taken);
            self.unsaved = true;
        }
        Ok(Flow::Go)
    }

    /// Where all files stand.
    fn positions(&self, consoles: &Consoles) -> ConsoleState {
        let mut state = consoles.state(clock::wall());
        self.readers.add_to(&mut state);
        state
    }

    /// Waits for an order, a change of a file, or the next time something is due.
    fn wait(&mut self, consoles: &Consoles) -> Result<(), Error> {
        let now = clock::mono();
        let mut due = consoles.next_due();
        if self.unsaved || self.scribe.written().cursor != self.cursor {
            due = due.min(self.save_at);
        }
        if let Some(at) = self.readers.next_due(now) {
            due = due.min(at);
        }
        if self.remounted {
            due = due.min(self.sort_at);
        }
        let mut fds: Vec<PollFd> = [self.channel.as_fd(), consoles.as_fd(), self.readers.as_fd()]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .into();
        // Known already: another change need not wake us.
        let mounts = self.mounts.as_ref().filter(|_| !self.remounted);
        fds.extend(mounts.map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI)));
        poll_for(&mut fds, due.since(now))?;
        self.remounted |= fds.get(3).and_then(PollFd::any) == Some(true);
        Ok(())
    }

    /// Reads all orders that are there.
    fn take_orders(&mut self) -> Result<Flow, Error> {
        loop {
            match self.channel.try_recv(&mut self.packet).map_err(Error::Channel)? {
                Received::Message(TailOrder::SaveCursor(cursor)) => self.cursor = Some(cursor),
                Received::Message(TailOrder::History(line)) => self.scribe.remember(line),
                Received::Message(TailOrder::Stop) => {
                    self.stop_by.get_or_insert(clock::mono().plus(STOP_WITHIN));
                }
                Received::Message(TailOrder::Start { .. }) => return Err(Error::NoStart("a second start came")),
                Received::Empty => return Ok(Flow::Go),
                Received::Closed => return Ok(Flow::Closed),
            }
        }
    }

    fn send_all(&mut self, records: &mut Vec<Record>, notices: &mut Vec<Notice>) -> Result<Flow, Error> {
        for text in notices.drain(..) {
            let flow = self.send(&TailMessage::Notice(text))?;
            if flow != Flow::Go {
                return Ok(flow);
            }
        }
        let mut left = std::mem::take(records);
        while !left.is_empty() {
            let rest = left.split_off(batch_len(&left));
            let flow = self.send(&TailMessage::Records(left))?;
            if flow != Flow::Go {
                return Ok(flow);
            }
            left = rest;
        }
        Ok(Flow::Go)
    }

    /// Sends one message, waiting for room as long as the parent lives; orders are heard meanwhile.
    fn send(&mut self, message: &TailMessage) -> Result<Flow, Error> {
        loop {
            match self.channel.try_send(message) {
                Ok(()) => return Ok(Flow::Go),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(Flow::Closed),
                Err(e) if e.raw_os_error() == Some(libc::ECONNRESET) => return Ok(Flow::Closed),
                Err(e) => return Err(Error::Channel(e)),
            }
            if self.take_orders()? == Flow::Closed {
                return Ok(Flow::Closed);
            }
            let now = clock::mono();
            let wait = match self.stop_by {
                Some(by) if now >= by => return Ok(Flow::Stop),
                Some(by) => by.since(now),
                // Nothing is due but room, or an order.
                None => Duration::from_secs(60),
            };
            let mut fds = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT)];
            poll_for(&mut fds, wait)?;
        }
    }

    /// Has the state written if it has changed, and hears what became of earlier writes.
    fn save(&mut self, state: State, now: Mono, notices: &mut Vec<Notice>) {
        let heard = self.scribe.hear(now, notices);
        self.losses.add("history_lines", heard.lost);
        let written = self.scribe.written();
        let same = state.cursor == written.cursor && state.consoles.files == written.consoles.files;
        // Until it has said what came of it, it is asked again.
        self.unsaved = heard.rewrite || !same && !self.scribe.save(state) || self.scribe.busy();
    }
}

/// How many of the first records fit one packet; at least one.
fn batch_len(records: &[Record]) -> usize {
    // `{"Records":[` and `]}`.
    let mut room = PACKET_MAX - 32;
    for (n, record) in records.iter().enumerate() {
        let size = encoded_size(record);
        if size > room {
            return n.max(1);
        }
        room -= size;
    }
    records.len()
}

/// An upper bound of the JSON of a record, in bytes.
fn encoded_size(record: &Record) -> usize {
    // Field names and punctuation are 152 bytes; numbers at most 20 digits each, booleans 5.
    const FIXED: usize = 320;
    let origin = match &record.origin {
        Origin::Console(p) | Origin::Netconsole(p) | Origin::Replay(p) => text_size(p.as_bytes()),
        Origin::Kmsg | Origin::Klog | Origin::Probe => 0,
    };
    let caller = record.caller.as_deref().map_or(0, |c| text_size(c.as_bytes()));
    FIXED + origin + caller + text_size(record.host.as_bytes()) + text_size(&record.text)
}

fn text_size(text: &[u8]) -> usize {
    // Quote and backslash become 2 bytes, control characters at most 6, a byte that is not UTF-8 becomes
    // U+FFFD, 3 bytes.
    let size = |b: &u8| match b {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        0x80..=0xff => 3,
        _ => 1,
    };
    text.iter().map(size).sum()
}

fn merge(into: &mut Losses, from: Losses) {
    for (cause, n) in from.counts {
        into.add(&cause, n);
    }
}

pub(super) fn poll_for(fds: &mut [PollFd<'_>], wait: Duration) -> Result<(), Error> {
    // Rounded up, so that a short wait never becomes a busy loop.
    let ms = i32::try_from(wait.as_millis() + 1).unwrap_or(i32::MAX);
    match poll(fds, PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(e) => Err(Error::Channel(e.into())),
    }
}

/// Each console holds a descriptor, and the usual soft limit is 1024.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.min(4096);
        if soft < wanted {
            // Where it fails, files beyond the limit are reported one by one.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_size_of_a_record_is_never_underestimated(
            text in proptest::collection::vec(any::<u8>(), 0..200), host in "\\PC{0,9}", n in any::<u64>(), old in any::<bool>(),
        ) {
            let mut record = Record::plain(Origin::Console(host.as_str().into()), host.as_str().into(), text);
            record.seq = Some(n);
            record.line = Some(n);
            record.stamp = Some(crate::model::KernelTime(n));
            record.read_at = Some(crate::model::Wall(i64::MIN));
            record.facility = Some(u32::MAX);
            record.level = Some(255);
            record.old = old;
            let real = serde_json::to_vec(&record).expect("plain data").len() + 1;
            prop_assert!(real <= encoded_size(&record), "{} > {}", real, encoded_size(&record));
        }
    }
}
