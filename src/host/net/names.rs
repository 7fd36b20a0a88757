//! Words for the numbers of linux/rtnetlink.h, linux/if.h and linux/neighbour.h, as iproute2 spells them.

/// IPv4 and IPv6 in a message's family byte.
pub const AF_INET: u8 = 2;
pub const AF_INET6: u8 = 10;

fn word(table: &[(u32, &'static str)], n: u32) -> String {
    table.iter().find(|(k, _)| *k == n).map_or_else(|| n.to_string(), |(_, w)| (*w).to_owned())
}

/// RFC 2863 state of a link (IF_OPER_*).
pub fn operstate(n: u8) -> String {
    word(
        &[
            (0, "UNKNOWN"),
            (1, "NOTPRESENT"),
            (2, "DOWN"),
            (3, "LOWERLAYERDOWN"),
            (4, "TESTING"),
            (5, "DORMANT"),
            (6, "UP"),
        ],
        n.into(),
    )
}

/// Link-layer type (ARPHRD_*), the common ones.
pub fn hardware_type(n: u16) -> String {
    word(
        &[
            (0, "netrom"),
            (1, "ether"),
            (24, "ieee1394"),
            (32, "infiniband"),
            (280, "can"),
            (512, "ppp"),
            (768, "ipip"),
            (769, "tunnel6"),
            (772, "loopback"),
            (776, "sit"),
            (778, "gre"),
            (801, "ieee802.11"),
            (823, "gre6"),
            (824, "netlink"),
            (826, "vsockmon"),
            (0xfffe, "none"),
        ],
        n.into(),
    )
}

/// Flags of a link in iproute2's order; NO-CARRIER stands for up without running.
pub fn link_flags(flags: u32) -> String {
    const NAMES: &[(u32, &str)] = &[
        (0x8, "LOOPBACK"),
        (0x2, "BROADCAST"),
        (0x10, "POINTOPOINT"),
        (0x1000, "MULTICAST"),
        (0x80, "NOARP"),
        (0x200, "ALLMULTI"),
        (0x100, "PROMISC"),
        (0x400, "MASTER"),
        (0x800, "SLAVE"),
        (0x4, "DEBUG"),
        (0x8000, "DYNAMIC"),
        (0x4000, "AUTOMEDIA"),
        (0x2000, "PORTSEL"),
        (0x20, "NOTRAILERS"),
        (0x1, "UP"),
        (0x10000, "LOWER_UP"),
        (0x20000, "DORMANT"),
        (0x40000, "ECHO"),
    ];
    let mut out = Vec::new();
    if flags & 0x1 != 0 && flags & 0x40 == 0 {
        out.push("NO-CARRIER");
    }
    out.extend(NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, n)| *n));
    out.join(",")
}

pub fn scope(n: u8) -> String {
    word(&[(0, "global"), (200, "site"), (253, "link"), (254, "host"), (255, "nowhere")], n.into())
}

pub fn table(n: u32) -> String {
    word(&[(253, "default"), (254, "main"), (255, "local")], n)
}

/// Who installed a route (RTPROT_*).
pub fn protocol(n: u8) -> String {
    word(
        &[
            (0, "unspec"),
            (1, "redirect"),
            (2, "kernel"),
            (3, "boot"),
            (4, "static"),
            (8, "gated"),
            (9, "ra"),
            (11, "zebra"),
            (12, "bird"),
            (16, "dhcp"),
            (18, "keepalived"),
            (42, "babel"),
            (186, "bgp"),
            (187, "isis"),
            (188, "ospf"),
            (189, "rip"),
            (192, "eigrp"),
        ],
        n.into(),
    )
}

pub fn route_type(n: u8) -> String {
    word(
        &[
            (0, "none"),
            (1, "unicast"),
            (2, "local"),
            (3, "broadcast"),
            (4, "anycast"),
            (5, "multicast"),
            (6, "blackhole"),
            (7, "unreachable"),
            (8, "prohibit"),
            (9, "throw"),
            (10, "nat"),
        ],
        n.into(),
    )
}

/// Reachability of a neighbour (NUD_*), bits joined by `,`.
pub fn neighbour_state(bits: u16) -> String {
    const NAMES: &[(u16, &str)] = &[
        (0x01, "INCOMPLETE"),
        (0x02, "REACHABLE"),
        (0x04, "STALE"),
        (0x08, "DELAY"),
        (0x10, "PROBE"),
        (0x20, "FAILED"),
        (0x40, "NOARP"),
        (0x80, "PERMANENT"),
    ];
    if bits == 0 {
        return "NONE".into();
    }
    NAMES.iter().filter(|(b, _)| bits & b != 0).map(|(_, n)| *n).collect::<Vec<_>>().join(",")
}
