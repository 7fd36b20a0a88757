//! Kernel parameters: each file of /proc/sys, and all in one text as `sysctl -a` prints them.

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
                    // Half of all parameters are those of single interfaces: the text has them, and nobody
                    // looks for them as files.
                    if path.contains("/conf/") || path.contains("/neigh/") {
                        continue;
                    }
                    sink.put_cut(path.trim_start_matches('/'), got.bytes, got.truncated)?;
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
