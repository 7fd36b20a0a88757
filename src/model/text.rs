//! Which characters of somebody else's text may be shown as they are.

/// Whether a terminal may be given this character: no control characters (line ends are some), and none of those that
/// reorder or hide what stands beside them (Unicode's bidirectional, invisible and tag characters).
pub fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}
