//! Which characters of somebody else's text may be shown as they are.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal may be given this character: no control characters (line ends are some), and none of those that
/// reorder or hide what stands beside them (Unicode's bidirectional, invisible and tag characters).
pub fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// JSON with every character escaped that a terminal must not be given. The format itself asks for that below U+0020
/// only, and a terminal that is shown U+009B takes it for an escape sequence. Outside of strings JSON has none of them.
pub fn safe_json(json: &str) -> Cow<'_, str> {
    if json.chars().all(|c| is_harmless(c) || c == '\n') {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_harmless(c) || c == '\n' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(out)
}
