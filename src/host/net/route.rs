//! Routes of all tables.

use crate::host::net::attributes::{Attributes, ip, u32_at};
use crate::host::net::{Names, interface, names};
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;

/// Size of `struct rtmsg`.
const HEADER: usize = 12;
/// Most next hops that are listed of one route.
const HOPS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    pub family: u8,
    pub kind: String,
    /// `None`: the default route.
    pub to: Option<IpAddr>,
    pub prefix: u8,
    pub via: Option<IpAddr>,
    /// Index of the interface.
    pub interface: Option<u32>,
    pub table: u32,
    pub protocol: u8,
    pub scope: u8,
    pub source: Option<IpAddr>,
    pub metric: Option<u32>,
    /// Nexthop object.
    pub nexthop_id: Option<u32>,
    pub hops: Vec<Hop>,
    /// `linkdown`, `dead`, `onlink`, …
    pub flags: Vec<&'static str>,
    /// IPv6 router preference.
    pub preference: Option<u8>,
    /// Seconds until it goes; IPv6.
    pub expires_s: Option<u32>,
}

/// One of several ways of a multipath route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    pub via: Option<IpAddr>,
    pub interface: u32,
    pub weight: u32,
    pub flags: Vec<&'static str>,
}

impl Route {
    /// Reads one RTM_NEWROUTE body; `None` when it is no IP route, or one of the route cache.
    pub fn parse(body: &[u8]) -> Option<Route> {
        let a = Attributes::after(body, HEADER);
        let family = *body.first()?;
        let bits = u32_at(body, 8)?;
        // RTM_F_CLONED: a cached per-destination copy.
        if !matches!(family, names::AF_INET | names::AF_INET6) || bits & 0x200 != 0 {
            return None;
        }
        Some(Route {
            family,
            kind: names::route_type(*body.get(7)?),
            to: a.ip(1),
            prefix: *body.get(1)?,
            // RTA_VIA: a gateway of the other family, behind a two-byte family.
            via: a.ip(5).or_else(|| a.get(18).and_then(|v| v.get(2..)).and_then(ip)),
            interface: a.u32(4),
            table: a.u32(15).or_else(|| body.get(4).map(|t| u32::from(*t)))?,
            protocol: *body.get(5)?,
            scope: *body.get(6)?,
            source: a.ip(7),
            metric: a.u32(6),
            nexthop_id: a.u32(30),
            hops: a.get(9).map(hops).unwrap_or_default(),
            flags: flags(bits),
            preference: a.u8(20),
            // rta_cacheinfo: clntref, lastuse, expires (clock ticks of 1/100 s, signed).
            expires_s: a
                .get(12)
                .and_then(|c| u32_at(c, 8))
                .map(|t| t as i32)
                .filter(|t| *t > 0)
                .map(|t| t as u32 / 100),
        })
    }

    /// Its line in `ip route show table all`.
    pub fn line(&self, names: &Names, out: &mut String) {
        if self.kind != "unicast" {
            let _ = write!(out, "{} ", self.kind);
        }
        let full = if self.family == names::AF_INET { 32 } else { 128 };
        match self.to {
            None if self.prefix == 0 => out.push_str("default"),
            None => drop(write!(out, "0/{}", self.prefix)),
            Some(to) if self.prefix == full => drop(write!(out, "{to}")),
            Some(to) => drop(write!(out, "{to}/{}", self.prefix)),
        }
        if let Some(id) = self.nexthop_id {
            let _ = write!(out, " nhid {id}");
        }
        if let Some(via) = self.via {
            let other = via.is_ipv4() != (self.family == names::AF_INET);
            let _ = write!(
                out,
                " via {}{via}",
                if !other {
                    ""
                } else if via.is_ipv4() {
                    "inet "
                } else {
                    "inet6 "
                }
            );
        }
        if let Some(i) = self.interface {
            let _ = write!(out, " dev {}", interface(names, i));
        }
        if self.table != 254 {
            let _ = write!(out, " table {}", names::table(self.table));
        }
        // As `ip` does: what somebody set by hand at boot time goes without saying.
        if self.protocol != 3 {
            let _ = write!(out, " proto {}", names::protocol(self.protocol));
        }
        if self.scope != 0 {
            let _ = write!(out, " scope {}", names::scope(self.scope));
        }
        if let Some(s) = self.source {
            let _ = write!(out, " src {s}");
        }
        if let Some(m) = self.metric {
            let _ = write!(out, " metric {m}");
        }
        for f in &self.flags {
            let _ = write!(out, " {f}");
        }
        for hop in &self.hops {
            out.push_str("\n\tnexthop");
            if let Some(via) = hop.via {
                let _ = write!(out, " via {via}");
            }
            let _ = write!(out, " dev {} weight {}", interface(names, hop.interface), hop.weight);
            for f in &hop.flags {
                let _ = write!(out, " {f}");
            }
        }
        if let Some(s) = self.expires_s {
            let _ = write!(out, " expires {s}sec");
        }
        if let Some(p) = self.preference {
            let word = match p {
                0 => "medium",
                1 => "high",
                3 => "low",
                _ => "reserved",
            };
            let _ = write!(out, " pref {word}");
        }
        out.push('\n');
    }
}

/// `struct rtnexthop`: length u16, flags u8, hops u8 (weight less one), interface u32, attributes.
fn hops(mut rest: &[u8]) -> Vec<Hop> {
    const HOP: usize = 8;
    let mut out = Vec::new();
    while rest.len() >= HOP && out.len() < HOPS_MAX {
        let len = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let Some(one) = rest.get(..len).filter(|o| o.len() >= HOP) else { break };
        let a = Attributes::after(one, HOP);
        out.push(Hop {
            via: a.ip(5).or_else(|| a.get(18).and_then(|v| v.get(2..)).and_then(ip)),
            interface: u32_at(one, 4).unwrap_or(0),
            weight: u32::from(one[3]) + 1,
            flags: flags(u32::from(one[2])),
        });
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    out
}

/// RTNH_F_* in the low bits (linux/rtnetlink.h).
fn flags(bits: u32) -> Vec<&'static str> {
    [(1, "dead"), (2, "pervasive"), (4, "onlink"), (8, "offload"), (16, "linkdown"), (32, "unresolved")]
        .into_iter()
        .filter(|(b, _)| bits & b != 0)
        .map(|(_, n)| n)
        .collect()
}
