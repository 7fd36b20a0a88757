//! Network devices that hang or lose their link, tables that are full.

use super::{Recipe, Rule, rule};
use crate::model::{Kind, Severity};

pub(super) const RULES: &[Rule] = &[
    rule(
        "tx_timeout",
        Kind::NetError,
        Severity::Error,
        &[
            "NETDEV WATCHDOG: ",
            ": transmit queue ",
            "Detected Hardware Unit Hang",
            "Detected Tx Unit Hang",
            "tx hang ",
            "TX timeout on queue",
        ],
        "network transmit queue hangs",
        "net/sched/sch_generic.c dev_watchdog; drivers/net/ethernet/intel",
        "A network card does not send what it was given.",
    )
    .within(64)
    .check(|b, at| !b[at..].starts_with(b": transmit queue ") || memchr::memmem::find(&b[at..], b"timed out").is_some())
    .then(&["warn"])
    .recipe(Recipe::None),
    rule(
        "link_down",
        Kind::NetError,
        Severity::Info,
        // Not `link down` alone: a SATA port without a disk says that at every boot.
        &[
            "Link is Down",
            "Link is down",
            "link is down",
            "NIC Link is Down",
            "Lost carrier",
            ": link down",
            ": Link down",
        ],
        "link down",
        "drivers/net/phy/phy.c phy_print_status; net drivers",
        "A network interface lost its link.",
    )
    .within(72)
    .check(|b, at| !b[..at].starts_with(b"ata") && !b[..at].starts_with(b"pcie"))
    .quiet()
    .single(),
    rule(
        "table_full",
        Kind::Resource,
        Severity::Error,
        &[
            "table full, dropping packet",
            "neighbor table overflow!",
            "neighbour table overflow",
            "Neighbour table overflow",
            "Route cache is full: consider increasing",
        ],
        "network table full",
        "net/netfilter/nf_conntrack_core.c; net/core/neighbour.c neigh_alloc; net/ipv6/route.c",
        "The connection or neighbour table is full; packets are dropped.",
    )
    .within(48)
    .single(),
    rule(
        "syn_flood",
        Kind::Resource,
        Severity::Warning,
        &["ossible SYN flooding on port"],
        "SYN flooding",
        "net/ipv4/tcp_input.c tcp_syn_flood_action",
        "A listening socket gets more connections than it accepts: an attack, or a service that hangs.",
    )
    .within(48)
    .quiet()
    .single(),
    rule(
        "bond_down",
        Kind::NetError,
        Severity::Error,
        &["now running without any active interface"],
        "bond without any link",
        "drivers/net/bonding/bond_main.c bond_select_active_slave",
        "Every member of a bond lost its link.",
    )
    .within(64)
    .single(),
];
