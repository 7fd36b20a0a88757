//! Kernel parameters: all in one text as `sysctl -a` prints them, and as files those that readers of an archive open as
//! files (xsos and what is like it).

use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Stop, Tier};
use crate::host::sysctl::{Tree, lines, walk};

pub const SPEC: Spec = Spec {
    name: "sysctl",
    doc: "Kernel parameters (kernel, vm, fs, net): how hangs, panics, memory and sockets are tuned here.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 6 << 20,
    limit_ms: 3_000,
    sensitivity: Sensitivity::Plain,
    capabilities: &[],
};

/// Not `dev`: reading dev/cdrom/info takes a mutex that a broken drive may hold.
const TOPS: &[&str] = &["/proc/sys/fs", "/proc/sys/kernel", "/proc/sys/net", "/proc/sys/vm"];
/// Most bytes of one parameter. The longest useful ones are lists of ports and CPUs.
const CAP: usize = 16 << 10;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let mut all = Vec::new();
    let mut cut = false;
    for top in TOPS {
        let mut tree = Tree::default();
        walk(&ctx.root, top, &mut tree);
        for (what, why) in tree.missing {
            sink.missing(what, why);
        }
        let mut denied = 0_u32;
        for path in tree.files {
            if ctx.expired() {
                cut = true;
                break;
            }
            match ctx.root.read(&path, CAP) {
                Ok(got) => {
                    lines(&path, &got.bytes, &mut all);
                    if wanted_as_file(&path) {
                        sink.put_cut(path.trim_start_matches('/'), got.bytes, got.truncated)?;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => denied += 1,
                // Parameters that were never set, or whose feature is off, answer EIO, EINVAL or ENXIO;
                // sysctl has nothing to print for them either.
                Err(_) => {}
            }
        }
        if denied > 0 {
            sink.missing(*top, format!("{denied} parameters denied; run as root to have them"));
        }
    }
    if all.is_empty() {
        return Err(CollectError::Skipped("no parameters under /proc/sys".into()));
    }
    sink.put_cut("sos_commands/kernel/sysctl_-a", all, cut)?;
    if cut { Err(Stop::Cancelled.into()) } else { Ok(()) }
}

/// Parameters that are files as well, below /proc/sys; a `*` at the end stands for any rest. They are those that xsos opens,
/// those that say how the kernel answers a failure, and the limits that services run into. The text has all of them: a file
/// more costs its header, its line in the manifest and its hash, some twenty times what is in it.
const FILES: &[&str] = &[
    "fs/aio-*",
    "fs/file-*",
    "fs/inode-nr",
    "fs/nr_open",
    "kernel/core_pattern",
    "kernel/hardlockup_panic",
    "kernel/hostname",
    "kernel/hung_task_*",
    "kernel/msgm*",
    "kernel/nmi_watchdog",
    "kernel/oops_limit",
    "kernel/osrelease",
    "kernel/panic*",
    "kernel/pid_max",
    "kernel/printk",
    "kernel/random/boot_id",
    "kernel/random/entropy_avail",
    "kernel/sched_latency_ns",
    "kernel/sched_min_granularity_ns",
    "kernel/sched_rt_*",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmm*",
    "kernel/softlockup_*",
    "kernel/soft_watchdog",
    "kernel/sysrq",
    "kernel/tainted",
    "kernel/threads-max",
    "kernel/unknown_nmi_panic",
    "kernel/warn_limit",
    "kernel/watchdog*",
    "net/core/busy_*",
    "net/core/netdev_*",
    "net/core/rmem_*",
    "net/core/somaxconn",
    "net/core/wmem_*",
    "net/ipv4/icmp_echo_ignore_all",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_local_*",
    "net/ipv4/tcp_fastopen",
    "net/ipv4/tcp_fin_timeout",
    "net/ipv4/tcp_keepalive_*",
    "net/ipv4/tcp_max_orphans",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_max_tw_buckets",
    "net/ipv4/tcp_mem",
    "net/ipv4/tcp_retries2",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_sack",
    "net/ipv4/tcp_syncookies",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_window_scaling",
    "net/ipv4/tcp_wmem",
    "net/ipv4/udp_*",
    "net/ipv6/conf/all/disable_ipv6",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "vm/dirty_*",
    "vm/max_map_count",
    "vm/min_free_kbytes",
    "vm/nr_hugepages",
    "vm/nr_overcommit_hugepages",
    "vm/oom_*",
    "vm/overcommit_*",
    "vm/panic_on_oom",
    "vm/swappiness",
    "vm/vfs_cache_pressure",
    "vm/zone_reclaim_mode",
];

fn wanted_as_file(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/proc/sys/") else { return false };
    FILES.iter().any(|wanted| match wanted.strip_suffix('*') {
        // Within its directory.
        Some(start) => name.strip_prefix(start).is_some_and(|rest| !rest.contains('/')),
        None => name == *wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_chosen() {
        for (path, want) in [
            ("/proc/sys/kernel/panic", true),
            ("/proc/sys/kernel/panic_on_oops", true),
            ("/proc/sys/kernel/printk_delay", false),
            ("/proc/sys/kernel/keys/maxkeys", false),
            ("/proc/sys/fs/file-nr", true),
            ("/proc/sys/vm/overcommit_memory", true),
            ("/proc/sys/net/core/netdev_rss/key", false),
            ("/proc/sys/net/core/somaxconn", true),
            ("/proc/sys/net/ipv4/tcp_mem", true),
            ("/proc/sys/net/ipv6/conf/all/disable_ipv6", true),
            ("/proc/sys/net/ipv4/conf/eth0/rp_filter", false),
            ("/proc/sys/net/netfilter/nf_conntrack_max", true),
            ("/proc/sys/net/netfilter/nf_log/0", false),
        ] {
            assert_eq!(wanted_as_file(path), want, "{path}");
        }
    }
}
