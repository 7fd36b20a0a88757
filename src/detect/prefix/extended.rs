//! Records in the extended form: raw `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg) and netconsole's
//! (Documentation/networking/netconsole.rst) as a plain UDP receiver writes them down:
//!
//! ```text
//! 6,1234,567890123,-;body
//! 6,1234,567890123,-,caller=T123;body
//! 6.12.0,6,1234,567890123,-,ncfrag=0/1135;body
//! ```

use crate::detect::prefix::{Line, number};

/// Longest header: a release of 64 bytes, three numbers, a caller, a fragment.
const HEADER_BYTES_MAX: usize = 160;

/// Takes the header off, if there is one.
pub(super) fn header(line: &mut Line<'_>) {
    let b = line.body;
    let Some(end) = b[..b.len().min(HEADER_BYTES_MAX)].iter().position(|c| *c == b';') else { return };
    let mut fields = b[..end].split(|c| *c == b',');
    let mut first = fields.next().unwrap_or(b"");
    if first.contains(&b'.') {
        // netconsole's release option.
        first = fields.next().unwrap_or(b"");
    }
    let (Some(level), Some(seq), Some(us), Some(flags)) = (Some(first), fields.next(), fields.next(), fields.next())
    else {
        return;
    };
    let (Some(n), Some(_), Some(time)) = (number(level).filter(|n| *n < 1024), number(seq), number(us)) else { return };
    if flags.len() != 1 {
        return;
    }
    for field in fields.take(8) {
        if let Some(id) = field.strip_prefix(b"caller=") {
            line.caller = Some(id);
        } else if let Some(part) = field.strip_prefix(b"ncfrag=") {
            // The later pieces of a long message begin anywhere: nothing in them is a header.
            line.user |= !part.starts_with(b"0/");
        }
    }
    line.facility = u32::try_from(n >> 3).ok();
    line.kernel = n >> 3 == 0;
    line.stamp = line.stamp.or(Some(us));
    line.printk_us = Some(time);
    line.body = &b[end + 1..];
}
