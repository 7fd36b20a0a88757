//! The network as the kernel has it now: links, addresses, routes, rules and neighbours, over netlink.

use crate::capture::guard::Guard;
use crate::capture::mangle::mangle;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::net::{self, Address, Hardware, Link, Neighbour, Route, Rule, hardware, names};
use crate::model::Deadline;
use crate::sys::clock;
use crate::sys::rtnetlink::{self, Table};
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "network",
    doc: "Links with state and counters, addresses, routes of all tables, rules, neighbours.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 12 << 20,
    limit_ms: 5_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};

/// Longest wait for one table. A link dump takes the kernel's RTNL mutex; one held for longer is a fault.
const TABLE_LIMIT: Duration = Duration::from_millis(1_500);
/// Most entries kept of one table: a router with a full BGP table has a million routes.
const ENTRIES_MAX: usize = 20_000;

/// Longest wait for one card, and the most cards.
const CARD_LIMIT: Duration = Duration::from_millis(300);
const CARDS_MAX: usize = 64;

/// All tables, for programs.
#[derive(Debug, Default, Serialize)]
struct Network {
    links: Option<Vec<Link>>,
    addresses: Option<Vec<Address>>,
    routes: Option<Vec<Route>>,
    rules: Option<Vec<Rule>>,
    neighbours: Option<Vec<Neighbour>>,
    hardware: Vec<Hardware>,
}

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    if !ctx.root.is_real() {
        return Err(CollectError::Skipped("netlink speaks of this machine only, not of another root".into()));
    }
    // Two stuck dumps prove the point; the files of /proc/net need no RTNL and are copied elsewhere.
    let mut guard = Guard::new(2);
    let links = table(Table::Links, Link::parse, ctx, &mut guard, sink);
    let all = Network {
        addresses: table(Table::Addresses, Address::parse, ctx, &mut guard, sink),
        routes: table(Table::Routes, Route::parse, ctx, &mut guard, sink),
        rules: table(Table::Rules, Rule::parse, ctx, &mut guard, sink),
        neighbours: table(Table::Neighbours, Neighbour::parse, ctx, &mut guard, sink),
        // Only behind a link dump that came back: see there.
        hardware: links.as_deref().map(|l| cards(l, ctx, &mut guard, sink)).unwrap_or_default(),
        links,
    };
    put(&all, sink)
}

/// One table, or nothing and a line that says why.
fn table<T: Send + 'static>(
    which: Table,
    parse: fn(&[u8]) -> Option<T>,
    ctx: &Context,
    guard: &mut Guard,
    sink: &mut Sink,
) -> Option<Vec<T>> {
    let limit = TABLE_LIMIT.min(ctx.left());
    let deadline = Deadline::after(clock::mono(), limit);
    // The dump has its own deadline; the guard's is for the call that never comes back to look at it.
    let answer = guard.call(limit + Duration::from_millis(100), move || {
        let mut all = Vec::new();
        let done = rtnetlink::dump(which, 0, deadline, |body| {
            all.extend(parse(body));
            if all.len() < ENTRIES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        done.map(|d| (all, d))
    });
    let what = format!("network {}", which.name());
    match answer {
        Ok(Ok((all, done))) => {
            if done.cut {
                sink.missing(what, format!("only the first {ENTRIES_MAX}"));
            } else if done.changed {
                sink.missing(what, "the table changed while it was read: entries may be double or missing");
            }
            Some(all)
        }
        Ok(Err(e)) => {
            sink.missing(what, format!("netlink dump: {e}"));
            None
        }
        Err(unanswered) => {
            sink.missing(what, format!("netlink dump: {unanswered}"));
            None
        }
    }
}

/// The interfaces that have a device, at most [`CARDS_MAX`].
fn cards(links: &[Link], ctx: &Context, guard: &mut Guard, sink: &mut Sink) -> Vec<Hardware> {
    let mut out = Vec::new();
    // Those of a kind (bridge, VLAN, veth) are made of software.
    for link in links.iter().filter(|l| l.kind.is_none() && !l.name.contains('/')).take(CARDS_MAX) {
        let (root, name) = (ctx.root.clone(), link.name.clone());
        match guard.call(CARD_LIMIT.min(ctx.left()), move || hardware::read(&root, &name)) {
            Ok(card) => out.extend(card),
            Err(why) => sink.missing(format!("/sys/class/net/{}", link.name), why.to_string()),
        }
    }
    out
}

fn put(all: &Network, sink: &mut Sink) -> Result<(), CollectError> {
    let links = all.links.as_deref().unwrap_or_default();
    let by_index = net::names_of(links);
    if all.links.is_some() {
        let mut link_text = String::new();
        for l in links {
            l.head(&by_index, true, &mut link_text);
            l.counter_lines(&mut link_text);
        }
        sink.put("sos_commands/networking/ip_-s_-d_link", link_text)?;
    }
    if let Some(addresses) = &all.addresses {
        let mut text = String::new();
        for l in links {
            l.head(&by_index, false, &mut text);
            addresses.iter().filter(|a| a.interface == l.index).for_each(|a| a.lines(&mut text));
        }
        // Addresses are worth having even when the links could not be listed.
        addresses.iter().filter(|a| !by_index.contains_key(&a.interface)).for_each(|a| a.lines(&mut text));
        sink.put("sos_commands/networking/ip_-d_address", text)?;
    }
    if let Some(routes) = &all.routes {
        let mut text = String::new();
        routes.iter().for_each(|r| r.line(&by_index, &mut text));
        sink.put("sos_commands/networking/ip_route_show_table_all", text)?;
    }
    if let Some(rules) = &all.rules {
        for (family, entry) in [(names::AF_INET, "ip_-4_rule_list"), (names::AF_INET6, "ip_-6_rule_list")] {
            let mut text = String::new();
            rules.iter().filter(|r| r.family == family).for_each(|r| r.line(&mut text));
            if !text.is_empty() {
                sink.put(format!("sos_commands/networking/{entry}"), text)?;
            }
        }
    }
    if let Some(neighbours) = &all.neighbours {
        let mut text = String::new();
        neighbours.iter().for_each(|n| n.line(&by_index, &mut text));
        sink.put("sos_commands/networking/ip_neigh_show", text)?;
    }
    for card in &all.hardware {
        let name = mangle(&card.name);
        sink.put(format!("sos_commands/networking/ethtool_{name}"), card.ethtool())?;
        sink.put(format!("sos_commands/networking/ethtool_-i_{name}"), card.ethtool_i())?;
    }
    let json = serde_json::to_vec(all).map_err(|e| CollectError::failed("encode lastgasp/network.json")(e.into()))?;
    sink.put("lastgasp/network.json", json)?;
    Ok(())
}
