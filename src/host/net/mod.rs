//! The kernel's network tables: parsed from netlink messages (`&[u8]`) and printed in the shape of `ip`.

pub mod address;
pub mod attributes;
pub mod hardware;
pub mod link;
pub mod names;
pub mod neighbour;
pub mod route;
pub mod rule;

pub use address::Address;
pub use hardware::Hardware;
pub use link::Link;
pub use neighbour::Neighbour;
pub use route::Route;
pub use rule::Rule;

use std::collections::BTreeMap;

/// Interfaces by index, for tables that refer to them by number.
pub type Names = BTreeMap<u32, Known>;

/// What other tables need to know of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub name: String,
    /// Somebody set it up (IFF_UP); whether it runs is another question.
    pub up: bool,
}

/// The lookup table of some links.
pub fn names_of(links: &[Link]) -> Names {
    links.iter().map(|l| (l.index, Known { name: l.name.clone(), up: l.flags & 0x1 != 0 })).collect()
}

/// The name of an interface, or `if7` when it is gone or of another namespace.
pub fn interface(names: &Names, index: u32) -> String {
    names.get(&index).map_or_else(|| format!("if{index}"), |k| k.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/host-net/netns");

    fn bodies(name: &str) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(format!("{DIR}/{name}.bin")).expect("a fixture");
        let mut rest = bytes.as_slice();
        let mut out = Vec::new();
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let (body, next) = after.split_at(u32::from_le_bytes(*len) as usize);
            out.push(body.to_vec());
            rest = next;
        }
        out
    }

    fn all<T>(name: &str, parse: fn(&[u8]) -> Option<T>) -> Vec<T> {
        bodies(name).iter().filter_map(|b| parse(b)).collect()
    }

    /// Words of each line. Lines with details of bridges, which are not decoded, are cut at the first that is.
    fn words(text: &str) -> Vec<Vec<String>> {
        text.lines()
            .map(|l| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .filter(|w| !matches!(w.first().map(String::as_str), Some("bridge" | "bridge_slave")))
            .collect()
    }

    fn same(ours: &str, entry: &str) {
        let theirs = std::fs::read_to_string(format!("{DIR}/{entry}.txt")).expect("a fixture");
        for (a, b) in words(ours).iter().zip(&words(&theirs)) {
            // Where a bridge's details follow, the rest of the line is on the line that was left out.
            assert!(a == b || (a.first() == b.first() && a.len() >= b.len() && b.len() == 1), "{entry}\n{a:?}\n{b:?}");
        }
        assert_eq!(words(ours).len(), words(&theirs).len(), "{entry}");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn real_dumps_print_as_ip_printed_them() {
        let links = all("links", Link::parse);
        let names = names_of(&links);
        let addresses = all("addresses", Address::parse);
        let mut text = String::new();
        for l in &links {
            l.head(&names, false, &mut text);
            addresses.iter().filter(|a| a.interface == l.index).for_each(|a| a.lines(&mut text));
        }
        same(&text, "ip_-d_address");
        let mut text = String::new();
        for l in &links {
            l.head(&names, true, &mut text);
            l.counter_lines(&mut text);
        }
        same(&text, "ip_-s_-d_link");
        let mut text = String::new();
        all("routes", Route::parse).iter().for_each(|r| r.line(&names, &mut text));
        same(&text, "ip_route_show_table_all");
        for (family, entry) in [(names::AF_INET, "ip_-4_rule_list"), (names::AF_INET6, "ip_-6_rule_list")] {
            let mut text = String::new();
            all("rules", Rule::parse).iter().filter(|r| r.family == family).for_each(|r| r.line(&mut text));
            same(&text, entry);
        }
        let mut text = String::new();
        all("neighbours", Neighbour::parse).iter().for_each(|n| n.line(&names, &mut text));
        same(&text, "ip_neigh_show");
    }

    #[test]
    fn any_cut_of_a_message_is_survived() {
        for name in ["links", "addresses", "routes", "rules", "neighbours"] {
            for body in bodies(name) {
                for len in 0..body.len() {
                    let cut = &body[..len];
                    let _ = (Link::parse(cut), Address::parse(cut), Route::parse(cut));
                    let _ = (Rule::parse(cut), Neighbour::parse(cut));
                }
            }
        }
    }
}
