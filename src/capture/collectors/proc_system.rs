//! The kernel's own description of the machine: command line, CPUs, modules, partitions, network counters.

use crate::capture::{FileSpec, Sensitivity, Source, Spec, Tier};

/// Nothing here takes a lock that a dead device may hold (mountstats asks NFS and is left out; so is
/// kallsyms, which is large and the same for every host of a kernel). mdstat may block: read last. What
/// changes by the second (stat, loadavg, diskstats, …) was copied earlier, by `memory`.
const FILES: &[FileSpec] = &[
    FileSpec::new("/proc/cmdline").required(),
    FileSpec::new("/proc/version").required(),
    FileSpec::new("/proc/cpuinfo").required(),
    FileSpec::new("/proc/modules"),
    FileSpec::new("/proc/filesystems"),
    FileSpec::new("/proc/partitions"),
    FileSpec::new("/proc/devices"),
    FileSpec::new("/proc/misc"),
    FileSpec::new("/proc/iomem"),
    FileSpec::new("/proc/ioports"),
    FileSpec::new("/proc/crypto"),
    FileSpec::new("/proc/cgroups"),
    FileSpec::new("/proc/key-users"),
    FileSpec::new("/proc/consoles"),
    FileSpec::new("/proc/dma"),
    FileSpec::new("/proc/fb"),
    FileSpec::new("/proc/mounts"),
    FileSpec::new("/proc/self/mountinfo"),
    FileSpec::new("/proc/net/dev"),
    FileSpec::new("/proc/net/netstat"),
    FileSpec::new("/proc/net/snmp"),
    FileSpec::new("/proc/net/snmp6"),
    FileSpec::new("/proc/net/sockstat"),
    FileSpec::new("/proc/net/sockstat6"),
    FileSpec::new("/proc/net/softnet_stat"),
    FileSpec::new("/proc/net/route"),
    FileSpec::new("/proc/net/ipv6_route").cap(256 << 10),
    FileSpec::new("/proc/net/if_inet6"),
    FileSpec::new("/proc/net/arp"),
    FileSpec::new("/proc/net/protocols"),
    FileSpec::new("/proc/net/ptype"),
    FileSpec::new("/proc/net/dev_mcast"),
    FileSpec::new("/proc/net/wireless"),
    FileSpec::new("/proc/net/stat/nf_conntrack"),
    FileSpec::new("/proc/net/bonding/*"),
    FileSpec::new("/proc/net/vlan/*"),
    FileSpec::new("/proc/fs/nfsfs/servers"),
    FileSpec::new("/proc/fs/nfsfs/volumes"),
    FileSpec::new("/proc/mdstat"),
    // Not among the perishable: it looks at every free block, 28 ms of CPU for 24 GiB, where buddyinfo takes none.
    FileSpec::new("/proc/pagetypeinfo"),
];

pub const SPEC: Spec = Spec {
    name: "proc_system",
    doc: "What the kernel says about the machine: boot line, CPUs, modules, partitions, network counters.",
    tier: Tier::T1,
    source: Source::Files(FILES),
    cap_bytes: 8 << 20,
    limit_ms: 3_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};
