//! Path patterns of the config: `*`, `?` and `[…]` within one component. Checking and matching are
//! pure; walking the directories is up to whoever follows the files.

/// Whether the text is a pattern rather than a plain path.
pub fn is_pattern(s: &str) -> bool {
    s.contains(['*', '?', '['])
}

/// Checks a path or pattern. The error says what is not accepted.
pub fn check(pattern: &str) -> Result<(), String> {
    if pattern.contains("**") {
        return Err(format!("is {pattern:?}; \"**\" is not accepted, only * within one component"));
    }
    if pattern.len() > 1 && pattern.ends_with('/') {
        return Err(format!("is {pattern:?}, a directory; name the files, as {pattern}*.log"));
    }
    for component in pattern.split('/') {
        let mut rest = component.as_bytes();
        while let Some(open) = rest.iter().position(|b| *b == b'[') {
            match class(&rest[open..]) {
                Some(length) => rest = &rest[open + length..],
                None => return Err(format!("is {pattern:?}; a [ is not closed")),
            }
        }
    }
    Ok(())
}

/// Whether a file name matches the pattern of one component. A leading dot must be matched by a dot.
/// Takes at most `pattern.len() * name.len()` steps.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where the last star is, and how much of the name it has swallowed so far.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, n));
            p += 1;
            continue;
        }
        if n == name.len() {
            return p == pattern.len();
        }
        match step(&pattern[p..], name[n]) {
            Some(length) => (p, n) = (p + length, n + 1),
            None => match star {
                Some((after, swallowed)) => {
                    star = Some((after, swallowed + 1));
                    (p, n) = (after, swallowed + 1);
                }
                None => return false,
            },
        }
    }
}

/// The length of the pattern's first element if it accepts `byte`.
fn step(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => {
            let length = class(pattern)?;
            let mut inner = &pattern[1..length - 1];
            let negated = matches!(inner.first(), Some(b'!' | b'^'));
            if negated {
                inner = &inner[1..];
            }
            let mut found = false;
            while let Some((&low, rest)) = inner.split_first() {
                match rest {
                    [b'-', high, more @ ..] => {
                        found |= (low..=*high).contains(&byte);
                        inner = more;
                    }
                    _ => {
                        found |= low == byte;
                        inner = rest;
                    }
                }
            }
            (found != negated).then_some(length)
        }
        literal => (literal == byte).then_some(1),
    }
}

/// The length of the `[…]` at the start; a `]` directly after `[`, `[!` or `[^` is a member.
fn class(pattern: &[u8]) -> Option<usize> {
    let first = if matches!(pattern.get(1), Some(b'!' | b'^')) { 2 } else { 1 };
    let close = pattern.iter().skip(first + 1).position(|b| *b == b']')?;
    Some(first + 1 + close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        let table: &[(&str, &str, bool)] = &[
            ("*.log", "a.log", true),
            ("*.log", "a.log.1", false),
            ("*.log", ".log", false),
            (".*", ".log", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("node[0-9]", "node7", true),
            ("node[!0-9]", "node7", false),
            ("node[]x]", "node]", true),
            ("n?de", "node", true),
            ("n?de", "nde", false),
            ("", "", true),
            ("*", "", true),
            ("plain", "plain", true),
        ];
        for (pattern, name, want) in table {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), *want, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let name = vec![b'a'; 4000];
        assert!(!matches(
            "a*".repeat(500).as_bytes().iter().chain(b"b").copied().collect::<Vec<_>>().as_slice(),
            &name
        ));
    }

    #[test]
    fn bad_patterns_are_named() {
        assert!(check("/var/log/*.log").is_ok() && check("/a/[!x]b/[]]").is_ok());
        for bad in ["/a/[b", "/a/[b/c]", "/a/**/b", "/a/"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
