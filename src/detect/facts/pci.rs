//! Errors of PCIe devices and links (drivers/pci/pcie/aer.c aer_print_error, dpc.c).

use crate::detect::facts::{between, set};
use crate::model::Event;

/// `pcieport 0000:00:1c.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer, (Requester ID)`,
/// `pcieport 0000:00:1c.0:    [20] UnsupReq               (First)`.
pub(super) fn read(event: &mut Event, body: &str) {
    if let Some(name) = address(body) {
        set(event, "device", name);
    }
    if let Some(severity) = between(body, "PCIe Bus Error: severity=", ", type=") {
        set(event, "pcie_severity", severity);
    }
    if let Some(layer) = between(body, "PCIe Bus Error: ", "\n").and_then(|b| between(b, "type=", ",")) {
        set(event, "pcie_layer", layer);
    }
    if let Some(name) = bit(body) {
        let known = event.details.get("pcie_error").cloned().unwrap_or_default();
        if known.is_empty() {
            set(event, "pcie_error", name);
        } else if known.len() < 100 && !known.split(", ").any(|k| k == name) {
            event.details.insert("pcie_error".into(), format!("{known}, {name}"));
        }
    }
}

/// `domain:bus:device.function` of the first device that a line names.
pub(crate) fn address(body: &str) -> Option<&str> {
    body.split([' ', ',']).take(12).map(|w| w.trim_end_matches(':')).find(|w| {
        let b = w.as_bytes();
        let hex = |r: std::ops::Range<usize>| b[r].iter().all(u8::is_ascii_hexdigit);
        b.len() >= 12
            && w.is_ascii()
            && b[b.len() - 2] == b'.'
            && b[b.len() - 5] == b':'
            && b[b.len() - 8] == b':'
            && b.len() <= 16
            && hex(0..b.len() - 8)
            && hex(b.len() - 7..b.len() - 5)
            && hex(b.len() - 4..b.len() - 2)
            && b[b.len() - 1].is_ascii_digit()
    })
}

/// The name of an error bit: `[20] UnsupReq               (First)`.
fn bit(body: &str) -> Option<&str> {
    address(body)?;
    let (_, rest) = body.split_once(" [")?;
    let (number, name) = rest.split_once(']')?;
    let number = number.trim_start();
    let digits = !number.is_empty() && number.len() <= 2 && number.bytes().all(|c| c.is_ascii_digit());
    let name = name.split_ascii_whitespace().next()?;
    (digits && name.len() <= 32 && name.bytes().all(|c| c.is_ascii_alphanumeric())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::facts::tests::details_of;
    use crate::model::Kind;

    #[test]
    fn a_pcie_error_names_its_device_and_bits() {
        let got = details_of(
            Kind::MachineCheck,
            "pcieport 0000:00:1c.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer, (Requester ID)\n\
             pcieport 0000:00:1c.0:   device [8086:a110] error status/mask=00104000/00010000\n\
             pcieport 0000:00:1c.0:    [14] CmpltTO\n\
             pcieport 0000:00:1c.0:    [20] UnsupReq               (First)",
        );
        assert_eq!(
            got,
            [
                "device=0000:00:1c.0",
                "pcie_error=CmpltTO, UnsupReq",
                "pcie_layer=Transaction Layer",
                "pcie_severity=Uncorrectable (Fatal)",
            ]
        );
        assert_eq!(address("e1000e 0000:00:19.0 eth0: x"), Some("0000:00:19.0"));
        assert_eq!(address("10000:e1:00.0: x"), Some("10000:e1:00.0"));
        assert_eq!(address("sd 0:0:0:0: [sda] at 12:34:56.7"), None);
    }
}
