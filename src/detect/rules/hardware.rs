//! The hardware reports an error: machine checks, memory controllers, PCIe, NMIs, accelerators.

use super::{Recipe, Role, Rule, rule};
use crate::model::{Kind, Severity};

pub(super) const RULES: &[Rule] = &[
    rule(
        "mce_fatal",
        Kind::MachineCheck,
        Severity::Fatal,
        &[
            "Machine Check Exception: ",
            "Fatal machine check",
            "Fatal local machine check",
            "Uncorrected hardware memory error in user-access at",
            "mce: Uncorrected hardware memory error",
        ],
        "fatal machine check",
        "arch/x86/kernel/cpu/mce/core.c print_mce, mce_panic, kill_me_maybe",
        "The processor reported an error that it could not correct.",
    )
    .within(64)
    .recipe(Recipe::None)
    .then(&["panic", "mce", "hardware_error"]),
    rule(
        "mce_logged",
        Kind::MachineCheck,
        Severity::Error,
        &["Machine check events logged"],
        "machine check",
        "arch/x86/kernel/cpu/mce/core.c mce_early_notifier, mce_notify_irq",
        "A machine check was logged; an alarm, unless the lines behind it say that it was corrected.",
    )
    .within(48)
    .quiet_until(|e| {
        e.details.get("status").is_none_or(|s| u64::from_str_radix(s, 16).is_ok_and(|s| s & UNCORRECTED != 0))
    })
    .then(&["mce", "mce_corrected", "hardware_error"])
    .single(),
    rule(
        "mce_corrected",
        Kind::MachineCheck,
        Severity::Info,
        &["mce: [Hardware Error]: CPU "],
        "corrected machine check",
        "arch/x86/kernel/cpu/mce/core.c __print_mce; include/asm/mce.h MCI_STATUS_UC",
        "The processor corrected an error by itself: the status of the bank has no UC bit.",
    )
    .within(4)
    .check(|b, _| bank_status(b).is_some_and(|status| status & UNCORRECTED == 0))
    .quiet()
    .then(&["hardware_error"])
    .single(),
    rule(
        "mce",
        Kind::MachineCheck,
        Severity::Error,
        &["[Hardware Error]: Machine check", "mce: [Hardware Error]: CPU "],
        "machine check",
        "arch/x86/kernel/cpu/mce/core.c __print_mce, mce_panic",
        "The processor reported an error that was not corrected.",
    )
    .within(48)
    .then(&["hardware_error"])
    .single(),
    rule(
        "ghes_fatal",
        Kind::MachineCheck,
        Severity::Fatal,
        &["event severity: fatal", "event severity: recoverable", "memory failure: ", "Memory failure: 0x"],
        "uncorrected hardware error",
        "drivers/firmware/efi/cper.c cper_estatus_print; mm/memory-failure.c",
        "Firmware reported a hardware error that was not corrected.",
    )
    .within(40)
    .check(|b, at| b[..at].windows(16).any(|w| w == b"[Hardware Error]") || b[at..].starts_with(b"Memory failure: 0x"))
    .then(&["hardware_error"])
    .single(),
    rule(
        "hw_corrected",
        Kind::MachineCheck,
        Severity::Info,
        &[
            "event severity: corrected",
            "event severity: info",
            "It has been corrected by h/w",
            " CE memory read error",
            " CE memory scrubbing error",
            "EDAC MC",
            "Corrected error, no action required",
        ],
        "corrected hardware error",
        "drivers/firmware/efi/cper.c; drivers/edac/edac_mc.c edac_ce_error",
        "The hardware corrected an error by itself.",
    )
    .within(96)
    .check(|b, at| !b[at..].starts_with(b"EDAC MC") || memchr::memmem::find(&b[at..], b" CE ").is_some())
    .quiet()
    .then(&["hardware_error"])
    .single(),
    rule(
        "edac_ue",
        Kind::MachineCheck,
        Severity::Fatal,
        &["EDAC MC", "EDAC PCI", "EDAC DEVICE"],
        "uncorrected memory error",
        "drivers/edac/edac_mc.c edac_ue_error",
        "A memory controller reports an error that it could not correct.",
    )
    .within(4)
    .check(|b, at| [&b" UE "[..], b": UE", b"Uncorrected"].iter().any(|w| memchr::memmem::find(&b[at..], w).is_some()))
    .single(),
    rule(
        "aer_corrected",
        Kind::MachineCheck,
        Severity::Info,
        &[
            "PCIe Bus Error: severity=Corrected",
            "AER: Corrected error",
            "AER: Correctable error",
            "AER: Multiple Corrected error",
            "AER: Multiple Correctable error",
        ],
        "corrected PCIe error",
        "drivers/pci/pcie/aer.c aer_print_error",
        "A PCIe link corrected an error by itself.",
    )
    .within(64)
    .quiet()
    .single(),
    rule(
        "aer",
        Kind::MachineCheck,
        Severity::Error,
        &[
            "PCIe Bus Error: severity=Uncorrect",
            "AER: Uncorrect",
            "AER: Multiple Uncorrect",
            "AER: device recovery failed",
            "DPC: containment event",
            "Uncorrected (Fatal)",
            "Uncorrectable (Fatal)",
        ],
        "uncorrected PCIe error",
        "drivers/pci/pcie/aer.c aer_print_error; dpc.c dpc_process_error; err.c",
        "A PCIe device or link failed.",
    )
    .within(96)
    .single(),
    rule(
        "nmi_hardware",
        Kind::MachineCheck,
        Severity::Fatal,
        &[
            "NMI: PCI system error (SERR)",
            "NMI: IOCK error",
            "NMI: Not continuing",
            "Uhhuh. NMI received",
            "NMI: Multi-bit",
            "Dazed and confused, but trying to continue",
        ],
        "NMI from hardware",
        "arch/x86/kernel/nmi.c pci_serr_error, io_check_error, unknown_nmi_error",
        "The chipset raised a non-maskable interrupt for a hardware error.",
    )
    .within(8)
    .role(Role::Follow)
    .single(),
    rule(
        "thermal",
        Kind::MachineCheck,
        Severity::Fatal,
        &["critical temperature reached", "thermal thermal_zone", "temperature above threshold, cpu clock"],
        "too hot",
        "drivers/thermal/thermal_core.c thermal_zone_device_critical; drivers/thermal/intel/therm_throt.c",
        "A temperature is past its critical limit.",
    )
    .within(64)
    .check(|b, at| {
        memchr::memmem::find(&b[at..], b"critical temperature reached").is_some() || b[at..].starts_with(b"temp")
    })
    .quiet()
    .single(),
    rule(
        "hardware_error",
        Kind::MachineCheck,
        Severity::Warning,
        &["[Hardware Error]: "],
        "hardware error",
        "include/linux/printk.h HW_ERR",
        "A further line of a hardware error report.",
    )
    .within(24)
    .role(Role::Follow)
    .quiet()
    .single(),
    rule(
        "gpu",
        Kind::Other,
        Severity::Error,
        &[
            "NVRM: Xid (",
            "amdgpu: GPU reset begin!",
            "*ERROR* ring gfx timeout",
            "GPU HANG: ecode",
            "GPU has fallen off the bus",
        ],
        "GPU error",
        "drivers/gpu/drm/amd/amdgpu amdgpu_job_timedout; drivers/gpu/drm/i915 i915_gpu_error.c; NVIDIA's module",
        "A graphics or compute card hangs or reports an internal error.",
    )
    .within(72)
    .single(),
    rule(
        "iommu_fault",
        Kind::Other,
        Severity::Warning,
        &["Unhandled context fault: fsr=", "DMAR: [DMA ", "AMD-Vi: Event logged [IO_PAGE_FAULT"],
        "IOMMU fault",
        "drivers/iommu/arm/arm-smmu/arm-smmu.c; intel/dmar.c dmar_fault_do_one; amd/iommu.c",
        "A device wrote or read where it may not.",
    )
    .within(64)
    .quiet()
    .single(),
];

/// MCi_STATUS bit 61 (Intel SDM volume 3, "IA32_MCi_STATUS MSRs"; the same for AMD).
const UNCORRECTED: u64 = 1 << 61;

/// The status in `CPU 0: Machine Check: 0 Bank 4: 8c00004000010090`.
fn bank_status(body: &[u8]) -> Option<u64> {
    let rest = &body[memchr::memmem::find(body, b" Bank ")? + 6..];
    let rest = &rest[memchr::memmem::find(&rest[..rest.len().min(8)], b": ")? + 2..];
    let digits = rest.iter().take(16).take_while(|c| c.is_ascii_hexdigit()).count();
    u64::from_str_radix(std::str::from_utf8(&rest[..digits]).ok()?, 16).ok()
}
