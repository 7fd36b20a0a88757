//! What stands behind an interface: driver, speed and duplex from sysfs, printed in the shape of ethtool.
//!
//! Reading speed takes the kernel's RTNL mutex and, where that is held, starts over until it is free: only
//! read after a link dump has shown that it is.

use crate::host::Root;
use serde::Serialize;
use std::fmt::Write;

const CAP: usize = 256;

/// One interface with a device. `None`: the driver does not say, or the link is down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hardware {
    pub name: String,
    pub driver: Option<String>,
    /// `0000:03:00.0`, `virtio2`.
    pub bus: Option<String>,
    pub speed_mbit_s: Option<u32>,
    pub duplex: Option<String>,
    pub carrier: Option<bool>,
    pub carrier_ups: Option<u64>,
    pub carrier_downs: Option<u64>,
}

/// Reads one interface; `None` for those without a device (virtual ones).
pub fn read(root: &Root, name: &str) -> Option<Hardware> {
    let dir = format!("/sys/class/net/{name}");
    let text = |file: &str| {
        let got = root.read(format!("{dir}/{file}"), CAP).ok()?;
        let text: String = got.text().trim().chars().filter(|c| !c.is_control()).collect();
        (!text.is_empty()).then_some(text)
    };
    let last = |link: &str| {
        let target = root.read_link(format!("{dir}/{link}")).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    };
    let bus = last("device")?;
    Some(Hardware {
        name: name.to_owned(),
        driver: last("device/driver"),
        bus: Some(bus),
        // -1 stands for unknown.
        speed_mbit_s: text("speed").and_then(|s| s.parse().ok()),
        duplex: text("duplex").filter(|d| d != "unknown"),
        carrier: text("carrier").map(|c| c == "1"),
        carrier_ups: text("carrier_up_count").and_then(|n| n.parse().ok()),
        carrier_downs: text("carrier_down_count").and_then(|n| n.parse().ok()),
    })
}

impl Hardware {
    /// The lines of `ethtool NAME` that are known here.
    pub fn ethtool(&self) -> String {
        let mut out = format!("Settings for {}:\n", self.name);
        let speed = self.speed_mbit_s.map_or_else(|| "Unknown!".into(), |s| format!("{s}Mb/s"));
        let _ = writeln!(out, "\tSpeed: {speed}");
        let duplex = match self.duplex.as_deref() {
            Some("full") => "Full",
            Some("half") => "Half",
            _ => "Unknown! (255)",
        };
        let _ = writeln!(out, "\tDuplex: {duplex}");
        if let Some(c) = self.carrier {
            let _ = writeln!(out, "\tLink detected: {}", if c { "yes" } else { "no" });
        }
        out
    }

    /// The lines of `ethtool -i NAME` that are known here.
    pub fn ethtool_i(&self) -> String {
        let mut out = String::new();
        if let Some(d) = &self.driver {
            let _ = writeln!(out, "driver: {d}");
        }
        if let Some(b) = &self.bus {
            let _ = writeln!(out, "bus-info: {b}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_described_and_a_virtual_interface_is_not() {
        let root = Root::at(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/host-net/server"));
        let h = read(&root, "eth0").expect("eth0 has a device");
        assert_eq!((h.speed_mbit_s, h.driver.as_deref()), (Some(100), Some("igb")));
        assert_eq!(h.ethtool(), "Settings for eth0:\n\tSpeed: 100Mb/s\n\tDuplex: Half\n\tLink detected: yes\n");
        assert_eq!(h.ethtool_i(), "driver: igb\nbus-info: 0000:03:00.0\n");
        assert_eq!(read(&root, "br0"), None);
        let down = Hardware { name: "x".into(), ..Hardware::default() };
        assert_eq!(down.ethtool(), "Settings for x:\n\tSpeed: Unknown!\n\tDuplex: Unknown! (255)\n");
    }
}
