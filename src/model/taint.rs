//! What the taint letters of a kernel message mean.
//!
//! Letters and order: `taint_flags` in kernel/panic.c (v6.17); words after Documentation/admin-guide/tainted-kernels.rst.
//! `G`, printed where no proprietary module was loaded, is no taint. Distributions use some letters of their own.

/// One letter and what it says, in the order of the kernel's table.
const FLAGS: &[(char, &str)] = &[
    ('P', "proprietary module"),
    ('F', "module was force loaded"),
    ('S', "CPU out of specification"),
    ('R', "module was force unloaded"),
    ('M', "machine check happened"),
    ('B', "bad page was found"),
    ('U', "user space asked for it"),
    ('D', "kernel died before (oops or BUG)"),
    ('A', "ACPI table overridden"),
    ('W', "warning happened before"),
    ('C', "staging driver"),
    ('I', "workaround for a firmware bug"),
    ('O', "out-of-tree module"),
    ('E', "unsigned module"),
    ('L', "soft lockup happened before"),
    ('K', "live patched"),
    ('X', "flag of the distribution"),
    ('T', "structure layout randomized"),
    ('N', "in-kernel test was run"),
    ('J', "fwctl debug interface changed the device"),
];

/// The letters of `text` in words: of `G        W  OE`, and of the long form of 6.12 and later,
/// `[W]=WARN, [O]=OOT_MODULE`. `Not tainted` has none. A letter that no kernel of ours has is given as such.
pub fn words(text: &str) -> Vec<String> {
    if text.starts_with("Not tainted") {
        return Vec::new();
    }
    let letters: Vec<char> = if text.contains("]=") {
        let flag = |p: &str| p.chars().next().filter(|_| p[1..].starts_with("]="));
        text.split('[').skip(1).filter(|p| p.is_char_boundary(1)).filter_map(flag).take(FLAGS.len()).collect()
    } else {
        text.chars().take_while(|c| c.is_ascii_uppercase() || *c == ' ').filter(|c| *c != ' ').take(32).collect()
    };
    let word = |c: char| match FLAGS.iter().find(|f| f.0 == c) {
        Some((_, word)) => (*word).to_owned(),
        None => format!("unknown flag {c}"),
    };
    let mut out: Vec<String> = letters.into_iter().filter(|c| c.is_ascii_uppercase() && *c != 'G').map(word).collect();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_in_both_forms() {
        assert_eq!(words("G        W  OE"), ["warning happened before", "out-of-tree module", "unsigned module"]);
        assert_eq!(words("[W]=WARN, [O]=OOT_MODULE"), ["warning happened before", "out-of-tree module"]);
        assert_eq!(words("[N]=TEST"), ["in-kernel test was run"]);
        assert_eq!(words("P  Z"), ["proprietary module", "unknown flag Z"]);
        assert!(words("Not tainted").is_empty() && words("G").is_empty() && words("").is_empty());
    }

    #[test]
    fn every_letter_of_the_kernel_is_there_once() {
        let letters: String = FLAGS.iter().map(|f| f.0).collect();
        assert_eq!(letters, "PFSRMBUDAWCIOELKXTNJ");
    }
}
