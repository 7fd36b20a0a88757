//! Machine checks, memory controllers and firmware's own reports: which part of the machine fails, and how.

use crate::detect::facts::{between, hex_after, leading_number, mca, number_after, set, set_number};
use crate::model::Event;

pub(super) fn read(event: &mut Event, body: &str) {
    bank(event, body);
    amd_bank(event, body);
    firmware(event, body);
    edac(event, body);
    if let Some((_, rest)) = body.split_once("[Hardware Error]: ") {
        set(event, "hardware_error", rest);
        registers(event, rest);
    }
    // mm/memory-failure.c: the number is that of a page.
    if let Some(pfn) = hex_after(body, "Memory failure: 0x").filter(|_| body.starts_with("Memory failure: 0x")) {
        set(event, "address", &format!("{:#x}", pfn.saturating_mul(4096)));
    }
}

/// `CPU 2: Machine Check Exception: 5 Bank 4: be00000000800400`, `CPU 2: Machine Check: 0 Bank 5: …`
/// (arch/x86/kernel/cpu/mce/core.c `__print_mce`): global status, bank, status.
fn bank(event: &mut Event, body: &str) {
    let Some((before, rest)) = body.split_once("Machine Check") else { return };
    event.cpu = event.cpu.or(number_after(before, "CPU ").and_then(|n| u32::try_from(n).ok()));
    let rest = rest.strip_prefix(" Exception").unwrap_or(rest);
    if let Some(global) = hex_after(rest, ": ") {
        set(event, "mcg_status", &mca::mcg_words(global));
    }
    if let Some((_, tail)) = rest.split_once(" Bank ") {
        set_number(event, "bank", leading_number(tail));
        decoded(event, hex_after(tail, ": "));
    }
}

/// `CPU:2 (17:71:0) MC5_STATUS[Over|CE|MiscV|…]: 0x9c20…` (drivers/edac/mce_amd.c).
fn amd_bank(event: &mut Event, body: &str) {
    let Some((before, rest)) = body.split_once("_STATUS[") else { return };
    let Some((cpu, number)) = before.rsplit_once(" MC") else { return };
    event.cpu = event.cpu.or(number_after(cpu, "CPU:").and_then(|n| u32::try_from(n).ok()));
    set_number(event, "bank", leading_number(number));
    decoded(event, hex_after(rest, "]: "));
}

fn decoded(event: &mut Event, status: Option<u64>) {
    let Some(status) = status else { return };
    set(event, "status", &format!("{status:016x}"));
    set(event, "status_words", &mca::status_words(status));
    set(event, "mca_error", &mca::error_words(status));
}

/// `TSC 0 ADDR 1234 MISC 8c PPIN 12`, `PROCESSOR 0:50654 TIME 1736109934 SOCKET 0 APIC 0 microcode 2007006`.
fn registers(event: &mut Event, rest: &str) {
    if rest.starts_with("TSC ") {
        for (key, name) in [(" ADDR ", "address"), (" MISC ", "misc")] {
            if let Some(n) = hex_after(rest, key) {
                set(event, name, &format!("{n:#x}"));
            }
        }
    }
    if let Some(cpu) = rest.strip_prefix("PROCESSOR ") {
        let (vendor, id) = cpu.split_once(':').unwrap_or((cpu, ""));
        // arch/x86/include/asm/processor.h X86_VENDOR_*
        let vendor = match vendor {
            "0" => "Intel",
            "2" => "AMD",
            "5" => "Centaur",
            "9" => "Hygon",
            "10" => "Zhaoxin",
            other => other,
        };
        set(event, "processor", &format!("{vendor} {}", id.split(' ').next().unwrap_or(id)));
        set_number(event, "time_s", number_after(cpu, " TIME ").filter(|t| *t > 0));
        set_number(event, "socket", number_after(cpu, " SOCKET "));
    }
}

/// Sections of a CPER record (drivers/firmware/efi/cper.c, cper-x86.c): `physical_address: 0x…`, `node:0 card:1 module:0 rank:1`.
fn firmware(event: &mut Event, body: &str) {
    if let Some(n) = hex_after(body, "physical_address: ") {
        set(event, "address", &format!("{n:#x}"));
    }
    if let Some(at) = body.find("node:").filter(|_| body.contains("[Hardware Error]")) {
        set(event, "location", &body[at..]);
    }
    if let Some((_, dimm)) = body.split_once("DIMM location: ") {
        set(event, "location", dimm);
    }
}

/// `EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x12345 offset:0x0 …)`
/// (drivers/edac/edac_mc.c edac_ce_error, edac_ue_error).
fn edac(event: &mut Event, body: &str) {
    let Some(rest) = body.strip_prefix("EDAC ") else { return };
    let Some((controller, rest)) = rest.split_once(": ") else { return };
    set(event, "controller", controller);
    set_number(event, "errors", leading_number(rest));
    if let Some((_, label)) = rest.split_once(" on ") {
        set(event, "location", label.split(" (").next().unwrap_or(label));
    }
    if let Some(page) = between(rest, "page:", " ").and_then(|p| hex_after(p, "0x")) {
        let offset = hex_after(rest, "offset:").unwrap_or(0);
        set(event, "address", &format!("{:#x}", page.saturating_mul(4096).saturating_add(offset)));
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::facts::tests::{details_of, event_of};
    use crate::model::Kind;

    #[test]
    fn a_machine_check_is_decoded() {
        let text = "mce: [Hardware Error]: CPU 2: Machine Check Exception: 5 Bank 4: be00000000800400\n\
             mce: [Hardware Error]: TSC 51f1d2b0 ADDR 1ffff81a MISC 8c\n\
             mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1736109934 SOCKET 1 APIC 4 microcode 2007006";
        assert_eq!(event_of(Kind::MachineCheck, text).cpu, Some(2));
        assert_eq!(
            details_of(Kind::MachineCheck, text),
            [
                "address=0x1ffff81a",
                "bank=4",
                "hardware_error=CPU 2: Machine Check Exception: 5 Bank 4: be00000000800400",
                "mca_error=internal timer error",
                "mcg_status=can be restarted, in progress",
                "misc=0x8c",
                "processor=Intel 50654",
                "socket=1",
                "status=be00000000800400",
                "status_words=valid, uncorrected, reporting enabled, MISC valid, ADDR valid, processor context corrupt",
                "time_s=1736109934",
            ]
        );
    }

    #[test]
    fn the_other_vendor_and_the_memory_controllers() {
        let amd = "[Hardware Error]: CPU:3 (17:71:0) MC5_STATUS[Over|CE|MiscV|-|-|-|-|-]: 0xdc2040000000011b";
        let e = event_of(Kind::MachineCheck, amd);
        assert_eq!((e.cpu, e.details["bank"].as_str()), (Some(3), "5"));
        assert_eq!(e.details["mca_error"], "cache error: read");
        let got = details_of(
            Kind::MachineCheck,
            "EDAC MC0: 2 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x12345 offset:0x10 grain:32 syndrome:0x0)",
        );
        assert_eq!(
            got,
            ["address=0x12345010", "controller=MC0", "errors=2", "location=CPU_SrcID#0_Ha#0_Chan#1_DIMM#0"]
        );
        let got = details_of(
            Kind::MachineCheck,
            "{1}[Hardware Error]: event severity: fatal\n{1}[Hardware Error]:   physical_address: 0x0000000123456000\n\
             {1}[Hardware Error]:   node:0 card:1 module:0 rank:1",
        );
        assert_eq!(
            got,
            ["address=0x123456000", "hardware_error=event severity: fatal", "location=node:0 card:1 module:0 rank:1"]
        );
    }
}
