//! Packet filter rules with their counters: what drops the packets of a port that seems down.

use crate::capture::guard::Guard;
use crate::capture::helper::{self, Helper};
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::sys::capability::Capability;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "firewall",
    doc: "Rules of nftables and iptables with packet counters.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 8 << 20,
    limit_ms: 8_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[Capability::NetAdmin],
};

const LIMIT: Duration = Duration::from_secs(2);
const CAP: usize = 4 << 20;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    if !ctx.root.is_real() {
        return Err(CollectError::Skipped("rules are those of this machine, not of another root".into()));
    }
    let mut guard = Guard::new(2);
    let mut any = false;
    if helper::need("nft", &mut guard).is_ok() {
        any = true;
        call(&["nft", "list", "ruleset"], "sos_commands/firewall_tables/nft_list_ruleset", ctx, &mut guard, sink)?;
    }
    // Asking iptables loads its modules where they are not loaded yet (a change to the host): only asked
    // where the kernel already has such tables.
    for (program, tables, save, list) in [
        ("iptables", "/proc/net/ip_tables_names", "iptables-save", "iptables_-vnxL"),
        ("ip6tables", "/proc/net/ip6_tables_names", "ip6tables-save", "ip6tables_-vnxL"),
    ] {
        let loaded = ctx.root.read(tables, 4_096).is_ok_and(|t| !t.bytes.is_empty());
        if !loaded || helper::need(save, &mut guard).is_err() {
            continue;
        }
        any = true;
        let entry = format!("sos_commands/networking/{save}_-c");
        call(&[save, "-c"], &entry, ctx, &mut guard, sink)?;
        let entry = format!("sos_commands/networking/{list}");
        call(&[program, "-vnxL"], &entry, ctx, &mut guard, sink)?;
    }
    if any { Ok(()) } else { Err(CollectError::Skipped("no nft, and no iptables table in use".into())) }
}

fn call(argv: &[&str], entry: &str, ctx: &Context, guard: &mut Guard, sink: &mut Sink) -> Result<(), CollectError> {
    helper::run(&Helper { argv, entry, limit: LIMIT, cap_bytes: CAP, process_tree: false }, ctx, guard, sink).map(drop)
}
