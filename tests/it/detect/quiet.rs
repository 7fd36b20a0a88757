//! What sounds like trouble and is none: lines in the kernel's format strings, and what firmware and boot loaders print.

use super::{events, fixture};
use lastgasp::detect::catalogue;
use lastgasp::model::Event;

/// Kernel messages with a phrase of some rule in them, or close to one, by who prints them.
const KERNEL: &[&str] = &[
    // arch/x86/kernel/nmi.c, kernel/events/core.c
    "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.234 msecs",
    "perf: interrupt took too long (2503 > 2500), lowering kernel.perf_event_max_sample_rate to 79000",
    "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.",
    // kernel/locking/lockdep.c
    "INFO: lockdep is turned off.",
    "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
    // kernel/rcu/tree_stall.h
    "rcu: INFO: Stall ended before state dump start",
    "rcu: \tRCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=4.",
    // kernel/printk/printk.c
    "BUG: recent printk recursion!",
    "** 12 printk messages dropped **",
    "** replaying previous printk message **",
    // lib/debugobjects.c, mm/kmemleak.c, mm/kasan, lib/ubsan.c
    "ODEBUG: Out of memory. ODEBUG disabled",
    "kmemleak: Kernel memory leak detector initialized (mem pool available: 15680)",
    "kasan: KernelAddressSanitizer initialized (generic)",
    "kcsan: enabled early",
    // arch/x86/kernel/cpu/bugs.c
    "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible via Spectre v2 BHB attacks!",
    "Speculative Return Stack Overflow: WARNING: See https://kernel.org/doc/html/latest/admin-guide/hw-vuln/srso.html for mitigation options.",
    "Speculative Return Stack Overflow: WARNING: kernel not compiled with MITIGATION_SRSO.",
    "MDS CPU bug present and SMT on, data leak possible.",
    // fs/namespace.c
    "WARNING: the mand mount option has been deprecated and",
    // kernel/capability.c, net/wireless/wext-core.c
    "warning: `ping' uses 32-bit capabilities (legacy support in use)",
    "warning: `app' uses deprecated v2 capabilities in a way that may be insecure",
    "warning: `wpa_supplicant' uses wireless extensions which will stop working for Wi-Fi 7 hardware; use nl80211",
    // drivers/video/fbdev/core/fbcon.c, drivers/base/power/sysfs.c, drivers/acpi
    "fbcon: Driver 'x' missed to adjust virtual screen size (0x0 vs. 32x32)",
    "WARNING! power/level is deprecated; use power/control instead",
    "ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0.XHC.RHUB], AE_NOT_FOUND (20230628/psargs-330)",
    "ACPI Error: Aborting method \\_SB.PCI0._OSC due to previous error (AE_NOT_FOUND) (20230628/psparse-529)",
    "[Firmware Bug]: TSC ADJUST differs within socket(s), fixing all errors",
    "[Firmware Warn]: HEST: Duplicated hardware error source ID: 0.",
    // fs/ext4/super.c, fs/xfs, fs/btrfs
    "EXT4-fs (sda1): INFO: recovery required on readonly filesystem",
    "EXT4-fs (sda1): Warning: mounting with data=journal disables delayed allocation, dioread_nolock, O_DIRECT and fast_commit support!",
    "EXT4-fs (sda1): warning: maximal mount count reached, running e2fsck is recommended",
    "EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: errors=remount-ro",
    "XFS (sda1): WARNING: Reset corrupted AGFL on AG 0. 4 blocks leaked. Please unmount and run xfs_repair.",
    "XFS (dm-0): Starting recovery (logdev: internal)",
    "BTRFS error (device sda1): unrecognized mount option 'x'",
    // arch/x86/kernel/cpu/mce, drivers/edac, drivers/pci/pcie
    "mce: CPU0: Thermal monitoring enabled (TM1)",
    "EDAC MC0: Giving out device to module skx_edac controller Skylake Socket#0 IMC#0: DEV 0000:64:0a.0 (INTERRUPT)",
    "EDAC MC: Ver: 3.0.0",
    "pcieport 0000:00:1c.0: AER: enabled with IRQ 24",
    "pcieport 0000:00:1c.0: DPC: error containment capabilities: Int Msg #0, RPExt- PoisonedTLP- SwTrigger- RP PIO Log 0, DL_ActiveErr-",
    // block, drivers/ata, drivers/scsi, drivers/nvme
    "ata1: SATA link down (SStatus 0 SControl 300)",
    "ata1: link is slow to respond, please be patient (ready=0)",
    "sd 0:0:0:0: [sda] Assuming drive cache: write through",
    "blk_update_request: I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0",
    "Buffer I/O error on dev mmcblk0rpmb, logical block 0, async page read",
    "nvme nvme0: Shutdown timeout set to 10 seconds",
    // net
    "TCP: lo: Driver has suspect GRO implementation, TCP performance may be compromised.",
    "TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:443. Sending cookies.",
    "e1000e 0000:00:19.0 eth0: NIC Link is Down",
    // init/main.c, kernel/sysctl.c, drivers/tty/sysrq.c, kernel/module
    "Kernel command line: oops=panic panic=10 softlockup_panic=1 hung_task_panic=1",
    "Unknown kernel command line parameters \"BUG: KASAN: Kernel panic - not syncing\", will be passed to user space.",
    "sysrq: Show Blocked State",
    "sysrq: Show backtrace of all active CPUs",
    "pool: module verification failed: signature and/or required key missing - tainting kernel",
    "x86/split lock detection: #AC: app/77 took a split_lock trap at address: 0x401134",
    "clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because the skew is too large:",
    "sched: RT throttling activated",
    // fs/fs_parser.c, kernel/audit.c: a program chose the words
    "xfs: Unknown parameter '   Kernel panic - not syncing: x'",
    "audit: type=1400 audit(1736109934.100:1): avc:  denied  { read } for  pid=1 comm=\"BUG: KASAN: x\" name=\"y\"",
];

/// Firmware, boot loaders and programs on a serial console.
const CONSOLE: &[&str] = &[
    "WARNING: RO_VPD is uninitialized or empty.",
    "[DEBUG]  BS: BS_DEV_INIT run times (exec / console): 12 / 0 ms",
    "[INFO ]  CBFS: Found 'fallback/payload' @0x1c340 size 0x10c00",
    "[WARN ]  PCI: 00:1f.5: BUG: read_resources called and device is not enabled",
    "NOTICE:  BL31: v2.5(release)",
    "WARNING: BL31: cortex_a53: CPU workaround for 835769 was missing!",
    "INFO:    PLAT configuration",
    "ERROR:   Error initializing runtime service opteed_fast",
    "*** Warning - bad CRC, using default environment",
    "Warning: ethernet@fe300000 (eth0) using random MAC address",
    "BUG: report problems to the vendor",
    "Oops, something went wrong with your session",
    "INFO: task finished in 12 s",
    "db7 login: kernel BUG at my desk",
];

fn alarms(line: &str) -> Vec<Event> {
    events(line).into_iter().filter(|e| e.alarm).collect()
}

#[test]
fn what_the_kernel_says_in_passing_raises_no_alarm() {
    for text in KERNEL {
        for prefix in ["[   12.345678] ", "Nov  9 10:19:35 db7 kernel: ", ""] {
            let found = alarms(&format!("{prefix}{text}"));
            assert!(found.is_empty(), "{prefix}{text}: {found:#?}");
        }
    }
}

#[test]
fn a_program_with_the_name_of_a_bug_raises_no_alarm() {
    for line in ["kernel BUG at : applet not found", "kernel BUG at : cannot open", "[    1.000000] kernel BUG at home"]
    {
        assert!(alarms(line).is_empty(), "{line}");
    }
    for line in [
        "[    1.000000] kernel BUG at mm/slub.c:435!",
        "kernel BUG at ",
        "Kernel BUG at f+0x1/0x2 [verbose debug info unavailable]",
    ] {
        assert!(!alarms(line).is_empty(), "{line}");
    }
}

#[test]
fn what_firmware_says_raises_no_alarm() {
    for text in CONSOLE {
        assert!(alarms(text).is_empty(), "{text}: {:#?}", alarms(text));
    }
}

/// The near misses of all rules one after the other, as one log: no state may build up.
#[test]
fn a_whole_log_of_near_misses_stays_quiet() {
    let mut text = String::new();
    for rule in catalogue() {
        text.push_str(&fixture(&format!("{}.miss", rule.id)));
    }
    for (n, line) in KERNEL.iter().enumerate() {
        text.push_str(&format!("[  101.{n:06}] {line}\n"));
    }
    let found: Vec<Event> =
        events(&text).into_iter().filter(|e| e.alarm && e.kind != lastgasp::model::Kind::UserFault).collect();
    assert!(found.is_empty(), "{found:#?}");
}
