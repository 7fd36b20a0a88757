//! Network interfaces: state, counters and what they are made of.

use crate::host::net::attributes::{Attributes, u32_at};
use crate::host::net::{Names, interface, names};
use serde::Serialize;
use std::fmt::Write;

/// Size of `struct ifinfomsg`.
const HEADER: usize = 16;

/// One interface. `None`: this kernel or driver does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Raw IFF_* bits.
    pub flags: u32,
    pub mtu: Option<u32>,
    pub qdisc: Option<String>,
    /// Index of the bond, bridge or team it belongs to.
    pub controller: Option<u32>,
    /// Index of the interface below (VLAN, veth); of another namespace when `netns` is set.
    pub below: Option<u32>,
    pub netns: Option<u32>,
    pub state: Option<String>,
    /// Whether the line has a signal.
    pub carrier: Option<bool>,
    /// How often the line came or went since the interface exists.
    pub carrier_changes: Option<u32>,
    pub group: Option<u32>,
    pub queue_length: Option<u32>,
    /// `ether`, `loopback`, …
    pub hardware_type: String,
    pub address: Option<String>,
    pub broadcast: Option<String>,
    pub permanent_address: Option<String>,
    pub alias: Option<String>,
    /// `vlan`, `bond`, `veth`, `bridge`, …; `None` for physical interfaces.
    pub kind: Option<String>,
    /// More about it: `protocol 802.1Q id 100`.
    pub detail: Option<String>,
    pub promiscuity: Option<u32>,
    pub allmulti: Option<u32>,
    pub min_mtu: Option<u32>,
    pub max_mtu: Option<u32>,
    pub tx_queues: Option<u32>,
    pub rx_queues: Option<u32>,
    pub gso_max_size: Option<u32>,
    pub gso_max_segs: Option<u32>,
    pub tso_max_size: Option<u32>,
    pub tso_max_segs: Option<u32>,
    pub gro_max_size: Option<u32>,
    pub address_mode: Option<String>,
    pub parent_bus: Option<String>,
    pub parent: Option<String>,
    pub counters: Option<Counters>,
}

/// `struct rtnl_link_stats64` (linux/if_link.h), since the interface exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub multicast: u64,
    pub collisions: u64,
    pub rx_length_errors: u64,
    pub rx_over_errors: u64,
    pub rx_crc_errors: u64,
    pub rx_frame_errors: u64,
    pub rx_fifo_errors: u64,
    pub rx_missed_errors: u64,
    pub tx_aborted_errors: u64,
    pub tx_carrier_errors: u64,
    pub tx_fifo_errors: u64,
    pub tx_heartbeat_errors: u64,
    pub tx_window_errors: u64,
}

impl Counters {
    fn parse(bytes: &[u8]) -> Option<Counters> {
        let n = |i: usize| bytes.get(i * 8..)?.first_chunk::<8>().map(|b| u64::from_ne_bytes(*b));
        Some(Counters {
            rx_packets: n(0)?,
            tx_packets: n(1)?,
            rx_bytes: n(2)?,
            tx_bytes: n(3)?,
            rx_errors: n(4)?,
            tx_errors: n(5)?,
            rx_dropped: n(6)?,
            tx_dropped: n(7)?,
            multicast: n(8)?,
            collisions: n(9)?,
            rx_length_errors: n(10)?,
            rx_over_errors: n(11)?,
            rx_crc_errors: n(12)?,
            rx_frame_errors: n(13)?,
            rx_fifo_errors: n(14)?,
            rx_missed_errors: n(15)?,
            tx_aborted_errors: n(16)?,
            tx_carrier_errors: n(17)?,
            tx_fifo_errors: n(18)?,
            tx_heartbeat_errors: n(19)?,
            tx_window_errors: n(20)?,
        })
    }
}

impl Link {
    /// Reads one RTM_NEWLINK body; `None` when it is shorter than its header or has no name.
    pub fn parse(body: &[u8]) -> Option<Link> {
        let a = Attributes::after(body, HEADER);
        let info = a.nested(18);
        let kind = info.string(1);
        let detail = kind.as_deref().and_then(|k| detail(k, info.nested(2)));
        Some(Link {
            index: u32_at(body, 4)?,
            name: a.string(3)?,
            flags: u32_at(body, 8)?,
            mtu: a.u32(4),
            qdisc: a.string(6),
            controller: a.u32(10),
            below: a.u32(5).filter(|n| *n != 0),
            netns: a.u32(37),
            state: a.u8(16).map(names::operstate),
            carrier: a.u8(33).map(|c| c != 0),
            carrier_changes: a.u32(35),
            group: a.u32(27),
            queue_length: a.u32(13),
            hardware_type: names::hardware_type(u16::from_ne_bytes([*body.get(2)?, *body.get(3)?])),
            address: a.hardware(1),
            broadcast: a.hardware(2),
            permanent_address: a.hardware(54),
            alias: a.string(20),
            kind,
            detail,
            promiscuity: a.u32(30),
            allmulti: a.u32(61),
            min_mtu: a.u32(50),
            max_mtu: a.u32(51),
            tx_queues: a.u32(31),
            rx_queues: a.u32(32),
            gso_max_size: a.u32(41),
            gso_max_segs: a.u32(40),
            tso_max_size: a.u32(59),
            tso_max_segs: a.u32(60),
            gro_max_size: a.u32(58),
            // AF_SPEC > AF_INET6 > IFLA_INET6_ADDR_GEN_MODE.
            address_mode: a.nested(26).nested(u16::from(names::AF_INET6)).u8(8).map(|m| {
                match m {
                    0 => "eui64",
                    1 => "none",
                    2 => "stable_secret",
                    3 => "random",
                    _ => "unknown",
                }
                .to_owned()
            }),
            parent_bus: a.string(57),
            parent: a.string(56),
            counters: a.get(23).and_then(Counters::parse),
        })
    }

    /// The two head lines of `ip -d link` (`as_link`) or `ip -d address`.
    pub fn head(&self, names: &Names, as_link: bool, out: &mut String) {
        let _ = write!(out, "{}: {}", self.index, self.name);
        match (self.below, self.netns) {
            (Some(b), None) => drop(write!(out, "@{}", interface(names, b))),
            (Some(b), Some(_)) => drop(write!(out, "@if{b}")),
            _ => {}
        }
        let mut flags = names::link_flags(self.flags);
        // iproute2's own word: the interface below is not up.
        if self.netns.is_none() && self.below.and_then(|b| names.get(&b)).is_some_and(|k| !k.up) {
            flags.push_str(",M-DOWN");
        }
        let _ = write!(out, ": <{flags}>");
        field(out, "mtu", self.mtu);
        field(out, "qdisc", self.qdisc.as_ref());
        field(out, "master", self.controller.map(|n| interface(names, n)));
        field(out, "state", self.state.as_ref());
        if as_link {
            field(out, "mode", Some("DEFAULT"));
        }
        field(out, "group", self.group.map(|g| if g == 0 { "default".to_owned() } else { g.to_string() }));
        field(out, "qlen", self.queue_length.filter(|n| *n != 0));
        let _ = write!(out, "\n    link/{}", self.hardware_type);
        if let Some(a) = &self.address {
            let _ = write!(out, " {a}");
        }
        field(out, if self.flags & 0x10 == 0 { "brd" } else { "peer" }, self.broadcast.as_ref());
        field(out, "link-netnsid", self.netns);
        field(out, "permaddr", self.permanent_address.as_ref().filter(|p| Some(*p) != self.address.as_ref()));
        field(out, "promiscuity", self.promiscuity);
        field(out, "allmulti", self.allmulti);
        field(out, "minmtu", self.min_mtu);
        field(out, "maxmtu", self.max_mtu);
        if let Some(kind) = &self.kind {
            let _ = write!(out, "\n    {kind}");
            if let Some(d) = &self.detail {
                let _ = write!(out, " {d}");
            }
        }
        if as_link {
            field(out, "addrgenmode", self.address_mode.as_ref());
        }
        field(out, "numtxqueues", self.tx_queues);
        field(out, "numrxqueues", self.rx_queues);
        field(out, "gso_max_size", self.gso_max_size);
        field(out, "gso_max_segs", self.gso_max_segs);
        field(out, "tso_max_size", self.tso_max_size);
        field(out, "tso_max_segs", self.tso_max_segs);
        field(out, "gro_max_size", self.gro_max_size);
        field(out, "parentbus", self.parent_bus.as_ref());
        field(out, "parentdev", self.parent.as_ref());
        out.push_str(" \n");
        if let Some(alias) = &self.alias {
            let _ = writeln!(out, "    alias {alias}");
        }
    }

    /// The counters of `ip -s link`.
    pub fn counter_lines(&self, out: &mut String) {
        let Some(c) = &self.counters else { return };
        let rx = [c.rx_bytes, c.rx_packets, c.rx_errors, c.rx_dropped, c.rx_missed_errors, c.multicast];
        row(out, "RX:", ["bytes", "packets", "errors", "dropped", "missed", "mcast"], rx);
        let tx = [c.tx_bytes, c.tx_packets, c.tx_errors, c.tx_dropped, c.tx_carrier_errors, c.collisions];
        row(out, "TX:", ["bytes", "packets", "errors", "dropped", "carrier", "collsns"], tx);
    }
}

/// ` name value`, for what is known.
fn field(out: &mut String, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(v) = value {
        let _ = write!(out, " {name} {v}");
    }
}

/// A header and a line of figures, right-aligned below their words.
fn row(out: &mut String, side: &str, words: [&str; 6], figures: [u64; 6]) {
    const WIDTHS: [usize; 6] = [7, 7, 6, 7, 7, 7];
    let figures = figures.map(|n| n.to_string());
    let mut head = format!("    {side}");
    let mut line = " ".repeat(4 + side.len());
    for (i, (word, figure)) in words.iter().zip(&figures).enumerate() {
        let width = WIDTHS[i].max(figure.len());
        let gap = if i == 0 { "" } else { " " };
        let _ = write!(head, "{gap}{word:>width$}");
        let _ = write!(line, "{gap}{figure:>width$}");
    }
    let _ = writeln!(out, "{head} \n{line} ");
}

/// What a virtual interface is made of (IFLA_INFO_DATA).
fn detail(kind: &str, data: Attributes<'_>) -> Option<String> {
    match kind {
        "vlan" => {
            let protocol = match data.get(5).and_then(|b| b.first_chunk::<2>()).map(|b| u16::from_be_bytes(*b)) {
                Some(0x8100) => "802.1Q".to_owned(),
                Some(0x88a8) => "802.1ad".to_owned(),
                Some(p) => format!("{p:#06x}"),
                None => return None,
            };
            Some(format!("protocol {protocol} id {}", data.u16(1)?))
        }
        "bond" => {
            const MODES: &[&str] =
                &["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];
            let mut out = format!("mode {}", MODES.get(usize::from(data.u8(1)?)).unwrap_or(&"unknown"));
            if let Some(ms) = data.u32(3) {
                let _ = write!(out, " miimon {ms}");
            }
            Some(out)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn link(kind: &[u8], data: &[u8]) -> Link {
        let info = [attribute(1, kind), attribute(2, data)].concat();
        let body = [vec![0; HEADER], attribute(3, b"x0\0"), attribute(18, &info)].concat();
        Link::parse(&body).expect("a link with a name")
    }

    #[test]
    fn vlans_and_bonds_say_what_they_are() {
        let data = [attribute(1, &100_u16.to_ne_bytes()), attribute(5, &0x8100_u16.to_be_bytes())].concat();
        assert_eq!(link(b"vlan\0", &data).detail.as_deref(), Some("protocol 802.1Q id 100"));
        let data = [attribute(1, &[1]), attribute(3, &100_u32.to_ne_bytes())].concat();
        assert_eq!(link(b"bond\0", &data).detail.as_deref(), Some("mode active-backup miimon 100"));
        assert_eq!(link(b"veth\0", &[]).detail, None);
        assert_eq!(Link::parse(&[0; HEADER]), None);
    }
}
