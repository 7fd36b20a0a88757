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

/// Of the network two thirds are those of single interfaces, of packet filters and of protocols that nobody tunes: the text
/// has them. Each file would cost its header, its line in the manifest and its hash, ten times what is in it.
fn wanted_as_file(path: &str) -> bool {
    let Some(net) = path.strip_prefix("/proc/sys/net/") else { return true };
    let wanted = [
        "core/",
        "ipv4/tcp_",
        "ipv4/udp_",
        "ipv4/ip_local_",
        "ipv4/ip_forward",
        "ipv4/icmp_echo_ignore_",
        "netfilter/nf_conntrack_max",
        "netfilter/nf_conntrack_count",
    ];
    wanted.iter().any(|w| net.starts_with(w)) || net.ends_with("conf/all/disable_ipv6")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_network_are_chosen() {
        for (path, want) in [
            ("/proc/sys/kernel/panic", true),
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
