//! The socket before the [`Intake`]: datagrams are read when there are some, never waited for.

use crate::config::NetconsoleConfig;
use crate::model::{Losses, Mono, Record, Wall};
use crate::source::Batch;
use crate::source::netconsole::Intake;
use crate::sys::udp::UdpListener;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// Longest datagram that is read whole. netconsole's own have 1000 bytes and a header; what relays them may join some.
const DATAGRAM_MAX: usize = 8 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Netconsole {
    socket: UdpListener,
    address: SocketAddr,
    intake: Intake,
    buffer: Vec<u8>,
    overflow: u64,
    cut: u64,
}

impl Netconsole {
    /// Listens at `address`.
    ///
    /// Errors: as [`UdpListener::bind`].
    pub fn open(address: SocketAddr, config: &NetconsoleConfig) -> io::Result<Netconsole> {
        let names = config.hosts.iter().map(|h| (h.address, h.name.as_str().into())).collect();
        Ok(Netconsole {
            socket: UdpListener::bind(address)?,
            address,
            intake: Intake::new(names),
            buffer: vec![0; DATAGRAM_MAX],
            overflow: 0,
            cut: 0,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Readable when there is a datagram.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads at most `max_datagrams` and appends what they say.
    ///
    /// Errors: the socket failed; nothing read so far is taken back.
    pub fn read_batch(
        &mut self,
        max_datagrams: usize,
        now: Mono,
        read_at: Wall,
        out: &mut Vec<Record>,
    ) -> io::Result<Batch> {
        for _ in 0..max_datagrams {
            let Some(got) = self.socket.receive(&mut self.buffer)? else { return Ok(Batch { more: false }) };
            self.overflow += u64::from(got.dropped);
            self.cut += u64::from(got.truncated);
            self.intake.datagram(got.from, &self.buffer[..got.len], now, read_at, out);
        }
        Ok(Batch { more: true })
    }

    /// See [`Intake::tick`].
    pub fn tick(&mut self, now: Mono, read_at: Wall, out: &mut Vec<Record>) {
        self.intake.tick(now, read_at, out);
    }

    /// See [`Intake::next_due`].
    pub fn next_due(&self) -> Option<Mono> {
        self.intake.next_due()
    }

    /// What was lost since the last call: as [`Intake::losses`], `netconsole_overflow_datagrams` (the core was too slow)
    /// and `netconsole_cut_datagrams`.
    pub fn losses(&mut self) -> Losses {
        let mut losses = self.intake.losses();
        losses.add("netconsole_overflow_datagrams", std::mem::take(&mut self.overflow));
        losses.add("netconsole_cut_datagrams", std::mem::take(&mut self.cut));
        losses
    }

    /// How many senders are remembered.
    pub fn senders(&self) -> usize {
        self.intake.senders()
    }
}
