//! The title of an event: what happened and where, the same for every occurrence.

use crate::detect::rules::Title;

/// Longest title, in characters.
const CHARS_MAX: usize = 120;

/// The title of a report: the rule's phrase or the normalised header, then the function.
pub(crate) fn title(rule: Title, fixed: Option<&str>, header: &str, function: Option<&str>) -> String {
    let mut out = match (fixed, rule) {
        (Some(t), _) | (None, Title::Fixed(t)) => t.to_owned(),
        (None, Title::UpTo(stop)) => {
            let cut = header.find(stop).unwrap_or(header.len());
            normalise(&header[..cut])
        }
    };
    if let Some(f) = function {
        out.push_str(" in ");
        out.push_str(f);
    }
    clean(&out)
}

/// A title with the place it happened at.
pub(crate) fn located(title: &str, place: &str) -> String {
    clean(&format!("{title} in {place}"))
}

fn clean(title: &str) -> String {
    title.chars().map(|c| if c.is_control() { '?' } else { c }).take(CHARS_MAX).collect()
}

/// Text without what differs from one occurrence to the next: `f+0x1/0x2` → `f`, `file.c:12` → `file.c:LINE`, addresses →
/// `ADDR`, other numbers → `NUM`, and everything behind a task's name goes.
pub(crate) fn normalise(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_ascii_whitespace().take(24) {
        words.push(normal_word(word));
    }
    // `…, address: ADDR`, `… at virtual address ADDR`: that there was an address is no news.
    const TAIL: &[&str] = &["ADDR", "address", "virtual", "for", "at"];
    while words.last().is_some_and(|w| TAIL.contains(&w.trim_matches([':', ','].as_slice()))) {
        words.pop();
    }
    let joined = words.join(" ");
    joined.trim_end_matches([':', ',', '.', '-', ' ', '!', '[', ']']).to_owned()
}

fn normal_word(word: &str) -> String {
    if let Some(plus) = word.find("+0x") {
        return word[..plus].to_owned();
    }
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let hex = core.strip_prefix("0x").unwrap_or(core);
    let all_hex = !hex.is_empty() && hex.bytes().all(|c| c.is_ascii_hexdigit());
    let digits = core.bytes().filter(u8::is_ascii_digit).count();
    if all_hex && (hex.len() >= 8 || core.len() > hex.len()) && digits > 0 {
        return word.replacen(core, "ADDR", 1);
    }
    if digits > 0 && digits == core.len() {
        return word.replacen(core, "NUM", 1);
    }
    if let Some((file, line)) = core.rsplit_once(':')
        && file.contains('.')
        && !line.is_empty()
        && line.bytes().all(|c| c.is_ascii_digit())
    {
        return word.replacen(core, &format!("{file}:LINE"), 1);
    }
    // A run of digits inside a word: `CPU#1`, `22s!`, `sda1`.
    let mut out = String::with_capacity(word.len());
    let mut in_number = false;
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '0' && !in_number && chars.peek() == Some(&'x') {
            chars.next();
            while chars.next_if(char::is_ascii_hexdigit).is_some() {}
            out.push_str("NUM");
            continue;
        }
        if c.is_ascii_digit() && (in_number || !out.ends_with(|p: char| p.is_ascii_alphabetic() || p == '_')) {
            if !in_number {
                out.push_str("NUM");
            }
            in_number = true;
        } else {
            in_number = false;
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_hold_nothing_that_varies() {
        let t = |h: &str, f| title(Title::UpTo(" at "), None, h, f);
        assert_eq!(
            t("BUG: unable to handle page fault at ffffe8ffffe00000", Some("foo")),
            "BUG: unable to handle page fault in foo"
        );
        assert_eq!(
            normalise("Kernel panic - not syncing: stack at ffffffff81234567 CPU#12 after 22s!"),
            "Kernel panic - not syncing: stack at ADDR CPU#NUM after NUMs"
        );
        assert_eq!(normalise("Attempted to kill init! exitcode=0x0000000b"), "Attempted to kill init! exitcode=NUM");
        assert_eq!(
            normalise("BUG: kernel NULL pointer dereference, address: 0000000000000010"),
            "BUG: kernel NULL pointer dereference"
        );
        assert_eq!(normalise("foo+0x12/0x40 in net/core/dev.c:123"), "foo in net/core/dev.c:LINE");
    }
}
