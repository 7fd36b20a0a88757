//! Neighbours: which hardware address answers for an IP address, and whether it still does.

use crate::host::net::attributes::{Attributes, u32_at};
use crate::host::net::{Names, interface, names};
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;

/// Size of `struct ndmsg`.
const HEADER: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    pub address: IpAddr,
    /// Index of the interface.
    pub interface: u32,
    pub hardware: Option<String>,
    /// `REACHABLE`, `STALE`, `FAILED`, …
    pub state: String,
    pub router: bool,
    /// Unanswered requests.
    pub probes: Option<u32>,
}

impl Neighbour {
    /// Reads one RTM_NEWNEIGH body; `None` for entries that are no IP neighbours, and for the addresses
    /// that need no resolution (multicast, loopback), which `ip neigh` hides as well.
    pub fn parse(body: &[u8]) -> Option<Neighbour> {
        let a = Attributes::after(body, HEADER);
        if !matches!(*body.first()?, names::AF_INET | names::AF_INET6) {
            return None;
        }
        let state = u16::from_ne_bytes([*body.get(8)?, *body.get(9)?]);
        if state == 0 || state & 0x40 != 0 {
            return None;
        }
        Some(Neighbour {
            address: a.ip(1)?,
            interface: u32_at(body, 4)?,
            hardware: a.hardware(2),
            state: names::neighbour_state(state),
            router: body.get(10)? & 0x80 != 0,
            probes: a.u32(4),
        })
    }

    /// Its line in `ip neigh`.
    pub fn line(&self, names: &Names, out: &mut String) {
        let _ = write!(out, "{} dev {}", self.address, interface(names, self.interface));
        if let Some(h) = &self.hardware {
            let _ = write!(out, " lladdr {h}");
        }
        let _ = writeln!(out, "{} {} ", if self.router { " router" } else { "" }, self.state);
    }
}
