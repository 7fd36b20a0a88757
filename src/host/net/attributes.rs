//! The attributes behind a netlink message's fixed header: type, length, value (linux/netlink.h `nlattr`).
//!
//! Decoded one by one and on demand: an attribute that is unknown, or has grown with a newer kernel, costs
//! itself and never its whole message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The upper two bits of a type are flags (nested, network byte order).
const TYPE_MASK: u16 = 0x3fff;

/// The attributes of one message, in order.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// What follows a fixed header of `header` bytes; empty when the message is shorter.
    pub fn after(body: &'a [u8], header: usize) -> Attributes<'a> {
        Attributes(body.get(header..).unwrap_or(&[]))
    }

    /// All pairs of type and value. Ends at the first length that does not fit.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let len = usize::from(u16::from_ne_bytes(*rest.first_chunk::<2>()?));
            let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]) & TYPE_MASK;
            let value = rest.get(4..len)?;
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
            Some((kind, value))
        })
    }

    /// The value of the first attribute of this type.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(k, _)| *k == kind).map(|(_, v)| v)
    }

    /// Attributes inside an attribute.
    pub fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or(&[]))
    }

    pub fn u8(self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }

    pub fn u16(self, kind: u16) -> Option<u16> {
        self.get(kind)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
    }

    pub fn u32(self, kind: u16) -> Option<u32> {
        self.get(kind)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
    }

    /// A string up to its NUL; bad UTF-8 becomes U+FFFD, control characters `?`.
    pub fn string(self, kind: u16) -> Option<String> {
        let bytes = self.get(kind)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        let text = String::from_utf8_lossy(&bytes[..end]);
        Some(text.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
    }

    /// An IPv4 or IPv6 address, by its length.
    pub fn ip(self, kind: u16) -> Option<IpAddr> {
        ip(self.get(kind)?)
    }

    /// A link-layer address.
    pub fn hardware(self, kind: u16) -> Option<String> {
        self.get(kind).filter(|b| !b.is_empty()).map(hardware)
    }
}

/// An address by its length: 4 bytes IPv4, 16 bytes IPv6.
pub fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|b| IpAddr::V4(Ipv4Addr::from(*b))),
        16 => bytes.first_chunk::<16>().map(|b| IpAddr::V6(Ipv6Addr::from(*b))),
        _ => None,
    }
}

/// `02:fc:00:00:00:01`; at most 32 bytes (MAX_ADDR_LEN).
pub fn hardware(bytes: &[u8]) -> String {
    bytes.iter().take(32).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

/// A native-endian u32 at `at` of a fixed header.
pub fn u32_at(body: &[u8], at: usize) -> Option<u32> {
    body.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn values_are_found_padded_and_nested() {
        let inner = attribute(1, b"vlan\0");
        let mut body = vec![9_u8; 16];
        body.extend(attribute(3, b"eth0\0"));
        body.extend(attribute(0x8000 | 18, &inner));
        body.extend(attribute(4, &1500_u32.to_ne_bytes()));
        let all = Attributes::after(&body, 16);
        assert_eq!(all.string(3).as_deref(), Some("eth0"));
        assert_eq!(all.u32(4), Some(1500));
        assert_eq!(all.nested(18).string(1).as_deref(), Some("vlan"));
        assert_eq!((all.u32(99), all.ip(3)), (None, None));
    }

    #[test]
    fn lies_about_length_end_the_walk() {
        for bytes in [&[0_u8, 0, 1, 0][..], &[3, 0, 1, 0], &[200, 0, 1, 0, 5], &[4], &[]] {
            assert!(Attributes(bytes).iter().count() <= 1, "{bytes:?}");
        }
        assert_eq!(Attributes::after(b"short", 16).iter().count(), 0);
    }
}
