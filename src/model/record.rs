//! One line of text from somewhere, with what its carrier says about it.

use crate::model::{KernelTime, Wall};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Which carrier brought a record. Decides how much its text is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `/dev/kmsg` of this host: structured, facility known.
    Kmsg,
    /// syslog(2), the fallback where `/dev/kmsg` is denied: the ring as text, no facility beyond `<N>`.
    Klog,
    /// A console log file (path): any bytes at all, of this or another host.
    Console(Arc<str>),
    /// UDP datagrams of another host's netconsole (its address): console text, or records with facility and
    /// level. Anybody who reaches the port can send them.
    Netconsole(Arc<str>),
    /// A file given to `scan` (path, or `-`).
    Replay(Arc<str>),
    /// A service probe: events only, no records.
    Probe,
}

impl Origin {
    /// Text of consoles, netconsole and files carries firmware and user-space lines beside the kernel's.
    pub fn is_console(&self) -> bool {
        matches!(self, Origin::Console(_) | Origin::Netconsole(_) | Origin::Replay(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Kmsg => f.write_str("/dev/kmsg"),
            Origin::Klog => f.write_str("syslog(2)"),
            Origin::Probe => f.write_str("probe"),
            Origin::Console(p) | Origin::Replay(p) => f.write_str(p),
            Origin::Netconsole(address) => write!(f, "netconsole {address}"),
        }
    }
}

/// One line, without its line end. The text is whatever was logged: any bytes, hostile by default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub origin: Origin,
    /// The host that logged it: our own for Kmsg/Klog, by the file's name for consoles,
    /// by the sender's address for netconsole.
    pub host: Arc<str>,
    /// Sequence number of `/dev/kmsg`, also in extended netconsole frames.
    pub seq: Option<u64>,
    /// Line number in the file, from 1, for Replay (and Console since it was opened).
    pub line: Option<u64>,
    /// syslog level 0 (emergency) to 7 (debug), where the carrier tells.
    pub level: Option<u8>,
    /// syslog facility; 0 is the kernel. From Kmsg and Klog, and extended netconsole frames.
    pub facility: Option<u32>,
    /// printk stamp, from Kmsg and extended netconsole frames (elsewhere it is part of the text).
    pub stamp: Option<KernelTime>,
    /// `T123` (task) or `C0` (CPU): who printed it, where the stamp comes from and CONFIG_PRINTK_CALLER is set.
    pub caller: Option<String>,
    /// When it was read; for Replay `None`.
    pub read_at: Option<Wall>,
    /// Logged before this start of lastgasp: reported, but not as something that happens now.
    pub old: bool,
    /// The line was longer than the source's cap; the rest was dropped.
    pub truncated: bool,
    #[serde(with = "bytes_as_text")]
    pub text: Vec<u8>,
}

impl Record {
    /// The carrier told stamp, caller and facility apart from the text, so the text has none of them before it.
    pub fn is_bare(&self) -> bool {
        match self.origin {
            Origin::Kmsg => true,
            Origin::Netconsole(_) => self.facility.is_some(),
            _ => false,
        }
    }

    /// A record with nothing but its text: what a line of a file is.
    pub fn plain(origin: Origin, host: Arc<str>, text: impl Into<Vec<u8>>) -> Record {
        Record {
            origin,
            host,
            seq: None,
            line: None,
            level: None,
            facility: None,
            stamp: None,
            caller: None,
            read_at: None,
            old: false,
            truncated: false,
            text: text.into(),
        }
    }
}

/// Bytes as a JSON string: UTF-8 as it is, any other byte as U+FFFD (records cross a socket pair as
/// JSON; the detector never needs the exact bad byte).
mod bytes_as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&String::from_utf8_lossy(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        Ok(String::deserialize(d)?.into_bytes())
    }
}
