//! IP addresses of interfaces.

use crate::host::net::attributes::{Attributes, u32_at};
use crate::host::net::names;
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;

/// Size of `struct ifaddrmsg`.
const HEADER: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Address {
    /// Index of the interface.
    pub interface: u32,
    pub address: IpAddr,
    pub prefix: u8,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    pub broadcast: Option<IpAddr>,
    pub scope: String,
    /// `tentative`, `dadfailed`, `deprecated`, `dynamic`, …
    pub flags: Vec<&'static str>,
    pub label: Option<String>,
    /// Seconds; `None`: for ever.
    pub valid_s: Option<u32>,
    pub preferred_s: Option<u32>,
}

impl Address {
    /// Reads one RTM_NEWADDR body; `None` when it is no IP address.
    pub fn parse(body: &[u8]) -> Option<Address> {
        let a = Attributes::after(body, HEADER);
        let family = *body.first()?;
        let bits = a.u32(8).or_else(|| body.get(2).map(|b| u32::from(*b)))?;
        // IFA_LOCAL is the own address where both are given; IFA_ADDRESS is then the peer.
        let (local, given) = (a.ip(2), a.ip(1));
        let address = local.or(given)?;
        let cache = a.get(6);
        let lifetime = |i: usize| cache.and_then(|c| u32_at(c, i * 4)).filter(|s| *s != u32::MAX);
        Some(Address {
            interface: u32_at(body, 4)?,
            address,
            prefix: *body.get(1)?,
            peer: given.filter(|g| local.is_some() && *g != address),
            broadcast: a.ip(4),
            scope: names::scope(*body.get(3)?),
            flags: flags(bits, family),
            label: a.string(3),
            preferred_s: lifetime(0),
            valid_s: lifetime(1),
        })
    }

    /// Its two lines in `ip address`.
    pub fn lines(&self, out: &mut String) {
        let _ = write!(out, "    {} {}", if self.address.is_ipv4() { "inet" } else { "inet6" }, self.address);
        if let Some(peer) = self.peer {
            let _ = write!(out, " peer {peer}");
        }
        let _ = write!(out, "/{}", self.prefix);
        if let Some(b) = self.broadcast {
            let _ = write!(out, " brd {b}");
        }
        let _ = write!(out, " scope {}", self.scope);
        for f in &self.flags {
            let _ = write!(out, " {f}");
        }
        let _ = writeln!(out, " {}", self.label.as_deref().unwrap_or(""));
        let time = |s: Option<u32>| s.map_or_else(|| "forever".into(), |s| format!("{s}sec"));
        let _ = writeln!(out, "       valid_lft {} preferred_lft {}", time(self.valid_s), time(self.preferred_s));
    }
}

/// IFA_F_* (linux/if_addr.h). An address that is not permanent is `dynamic`.
fn flags(bits: u32, family: u8) -> Vec<&'static str> {
    let mut out = Vec::new();
    let mut on = |bit: u32, name: &'static str| {
        if bits & bit != 0 {
            out.push(name);
        }
    };
    on(0x1, if family == names::AF_INET6 { "temporary" } else { "secondary" });
    on(0x2, "nodad");
    on(0x4, "optimistic");
    on(0x8, "dadfailed");
    on(0x10, "home");
    on(0x20, "deprecated");
    on(0x40, "tentative");
    if bits & 0x80 == 0 {
        out.push("dynamic");
    }
    let mut on = |bit: u32, name: &'static str| {
        if bits & bit != 0 {
            out.push(name);
        }
    };
    on(0x100, "mngtmpaddr");
    on(0x200, "noprefixroute");
    on(0x400, "autojoin");
    on(0x800, "stable-privacy");
    out
}
