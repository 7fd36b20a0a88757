//! Names of archive entries made from command lines, as sosreport makes them.

/// Most bytes of one path component (NAME_MAX of Linux file systems).
const NAME_MAX: usize = 255;

/// The entry name of a command: `/usr/sbin/ip -s link` becomes `ip_-s_link`.
///
/// The rule of sosreport: leading `/bin/`, `/usr/bin/`, `/sbin/`, `/usr/sbin/` go, each run of characters
/// outside `A-Za-z0-9_.-/` becomes one `_`, `/` becomes `.`, and ` ._-` go at both ends.
pub fn mangle(command: &str) -> String {
    let mut rest = command;
    for prefix in ["/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"] {
        if let Some(r) = rest.strip_prefix(prefix) {
            rest = r;
            break;
        }
    }
    let mut out = String::new();
    for c in rest.chars() {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '.' | '-' => out.push(c),
            '/' => out.push('.'),
            _ if out.ends_with('_') => {}
            _ => out.push('_'),
        }
    }
    let trimmed = out.trim_matches(|c| matches!(c, ' ' | '.' | '_' | '-'));
    // Only ASCII is left, so any byte is a character boundary.
    trimmed[..trimmed.len().min(NAME_MAX)].to_owned()
}

/// The name for something that an operator named freely; never empty.
pub fn plain(name: &str) -> String {
    let m = mangle(name);
    if m.is_empty() { "unnamed".into() } else { m }
}

/// `name`, or `name.1`, `name.2`, … when it is taken, as sosreport does.
pub fn unique(name: &str, used: &mut std::collections::BTreeSet<String>) -> String {
    let free = std::iter::once(name.to_owned())
        .chain((1..).map(|i| format!("{name}.{i}")))
        .find(|n| !used.contains(n))
        .expect("the numbers do not end, and only finitely many names are used");
    used.insert(free.clone());
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_layout_that_readers_know() {
        assert_eq!(mangle("/usr/sbin/ip -s -d link"), "ip_-s_-d_link");
        assert_eq!(mangle("ls -la /boot"), "ls_-la_.boot");
        assert_eq!(mangle("journalctl --no-pager"), "journalctl_--no-pager");
        assert_eq!(mangle("a; rm -rf ../x"), "a_rm_-rf_...x");
        assert_eq!(plain("../.."), "unnamed");
        assert!(mangle(&"x".repeat(1000)).len() <= 255);
    }
}
