//! One netconsole datagram → one [`Frame`]. Pure; looks at each byte a bounded number of times.
//!
//! ```text
//! [   12.345678] e1000e: eth0 NIC Link is Down                basic: console text, a line or several, or
//!                                                             1000 bytes of a longer one
//! 6,444,501151268,-;netconsole: network logging started       extended
//! 6.4.0,6,444,501151268,-,caller=T123;netconsole: …           with the kernel's release before it
//! 6,416,1758426,-,ncfrag=0/31;the first chunk,                a fragment: offset/length of the body
//! 12,607,22085407756,-;This is a message\n foo=bar            lines behind the text: dictionary, user data
//! ```
//!
//! Extended is what begins like a record of `/dev/kmsg`; its text is escaped like one
//! ([`crate::source::kmsg`]), so a line end in the body always ends the text. Everything else is basic.
//! Source: Documentation/networking/netconsole.rst; `send_msg_fragmented` in drivers/net/netconsole.c, whose
//! `ncfrag` is the last field of its header and counts the bytes of the body as sent, escapes included.

use crate::source::kmsg;
use memchr::memchr;

/// Longest header that is looked at. The kernel's own is below 100 bytes, a release name has 64 at most.
const HEADER_MAX: usize = 256;

/// What one datagram is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Console text.
    Basic(&'a [u8]),
    /// A whole record, escaped, without the release that may have stood before it.
    Record(&'a [u8]),
    /// A part of one.
    Fragment(Fragment<'a>),
}

/// A part of a record that was longer than a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The header without release and `ncfrag`, and without the semicolon: the same in each part.
    pub head: &'a [u8],
    pub seq: u64,
    pub stamp_us: u64,
    /// Place of these bytes in the body.
    pub offset: usize,
    /// Length of the whole body.
    pub total: usize,
    pub bytes: &'a [u8],
}

/// Tells what a datagram is. What is not wholly like an extended frame is basic: no text is thrown away.
pub fn parse(datagram: &[u8]) -> Frame<'_> {
    extended(datagram).unwrap_or(Frame::Basic(datagram))
}

fn extended(datagram: &[u8]) -> Option<Frame<'_>> {
    let semicolon = memchr(b';', &datagram[..datagram.len().min(HEADER_MAX)])?;
    let start = after_release(&datagram[..semicolon]);
    let record = &datagram[start..];
    let header = kmsg::header(&record[..semicolon - start])?;
    let Some(value) = header.ncfrag else { return Some(Frame::Record(record)) };
    let (offset, total) = value.split_once('/')?;
    // Only as the last field, where the kernel puts it.
    let head = record[..semicolon - start].strip_suffix(value.as_bytes())?.strip_suffix(b",ncfrag=")?;
    Some(Frame::Fragment(Fragment {
        head,
        seq: header.seq,
        stamp_us: header.stamp_us,
        offset: offset.parse().ok()?,
        total: total.parse().ok()?,
        bytes: &datagram[semicolon + 1..],
    }))
}

/// Where the record begins behind `6.4.0,`: a release has a dot, a priority is digits alone.
fn after_release(header: &[u8]) -> usize {
    match memchr(b',', header) {
        Some(comma) if header[..comma].contains(&b'.') => comma + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_with_and_without_release() {
        let plain = b"6,444,501151268,-;netconsole: network logging started\n";
        assert_eq!(parse(plain), Frame::Record(plain));
        assert_eq!(parse(b"6.4.0-rc1+,6,444,501151268,-,caller=T1;x"), Frame::Record(b"6,444,501151268,-,caller=T1;x"));
        let dict = b"12,607,22085407756,-;This is a message\n foo=bar\n";
        assert_eq!(parse(dict), Frame::Record(dict));
    }

    #[test]
    fn the_fragments_of_the_kernels_documentation() {
        let Frame::Fragment(first) = parse(b"6,416,1758426,-,ncfrag=0/31;the first chunk,") else { panic!() };
        assert_eq!((first.head, first.seq, first.stamp_us), (&b"6,416,1758426,-"[..], 416, 1_758_426));
        assert_eq!((first.offset, first.total, first.bytes), (0, 31, &b"the first chunk,"[..]));
        let Frame::Fragment(second) = parse(b"6.4.0,6,416,1758426,-,caller=C0,ncfrag=16/31; the 2nd chunk.") else {
            panic!()
        };
        assert_eq!((second.head, second.offset), (&b"6,416,1758426,-,caller=C0"[..], 16));
    }

    #[test]
    fn anything_else_is_console_text() {
        for text in [
            &b""[..],
            b"[   12.345678] eth0: link down; giving up",
            b"<6>[   12.345678] x",
            b"6,444;x",
            b"6.4.0;x",
            b"a,1,2,-;x",
            b"6,1,2,-,ncfrag=0;x",
            b"6,1,2,-,ncfrag=-1/9;x",
            b"6,1,2,-,ncfrag=0/9,more=1;x",
            b"6,1,2,-,ncfrag=0/99999999999999999999;x",
            b"6,1,2,- no semicolon",
        ] {
            assert_eq!(parse(text), Frame::Basic(text), "{}", text.escape_ascii());
        }
        let far = [b"6,1,2,-,".to_vec(), vec![b'x'; HEADER_MAX], b";x".to_vec()].concat();
        assert_eq!(parse(&far), Frame::Basic(&far));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
            parse(&[b"6,1,2,-,ncfrag=".to_vec(), bytes].concat());
        }
    }
}
