//! What a report says besides its function: one file per family of facts.
//!
//! Each reader takes one body and the event. What is already known stays: the first mention counts. Values are cut
//! ([`VALUE_MAX`]) and hold no control characters; names of details are listed in [`DETAILS`].

mod hang;
mod mca;
mod mce;
mod oom;
mod pci;
mod storage;
mod task;

pub(crate) use pci::address as pci_address;
pub(crate) use storage::{device, subject};
pub(crate) use task::modules;

use crate::model::{Event, Kind};

/// Longest value that is kept; names in the text may be as long as their author liked.
const VALUE_MAX: usize = 200;

/// Every detail that the detector fills in, and what it is. Units are part of the name.
pub const DETAILS: &[(&str, &str)] = &[
    ("address", "physical address of a hardware error"),
    ("ata_error", "error bits that the drive gave, in words"),
    ("ata_status", "status bits of the drive, in words"),
    ("anon_rss_kb", "anonymous memory of the victim"),
    ("bank", "bank of a machine check"),
    ("block", "block number of the file system or device"),
    ("blocked_on", "kind of lock that a hung task waits for"),
    ("command", "command that failed, as printed"),
    ("constraint", "what limited the memory: none, cpuset, memory policy, cgroup"),
    ("controller", "memory controller"),
    ("device", "device, interface of a bus, or port"),
    ("errors", "how many errors one line reports"),
    ("fault", "what kind of access faulted"),
    ("file_rss_kb", "file memory of the victim"),
    ("free_kb", "free memory of the zone that was looked at first"),
    ("hardware", "name of the machine and its firmware"),
    ("hardware_error", "first line of a hardware error report"),
    ("interface", "network interface"),
    ("location", "where in the machine the failing memory is"),
    ("mca_error", "machine check error code, in words"),
    ("mcg_status", "state of the CPU at the machine check, in words"),
    ("memcg", "cgroup whose limit was hit"),
    ("memcg_limit_kb", "limit of that cgroup"),
    ("memcg_usage_kb", "its use"),
    ("min_kb", "the zone's lowest watermark"),
    ("misc", "MISC register of a machine check"),
    ("object", "program or library in which a program crashed"),
    ("oom_score_adj", "adjustment of the victim's score"),
    ("operation", "read, write, flush, …"),
    ("order", "2^order pages were asked for"),
    ("owner", "task that likely holds the lock"),
    ("owner_pid", "its pid"),
    ("panic", "reason of the panic that followed"),
    ("pcie_error", "error bits of a PCIe device, in words"),
    ("pcie_layer", "layer of PCIe that saw the error"),
    ("pcie_severity", "how bad the PCIe device says it is"),
    ("pgtables_kb", "page tables of the victim"),
    ("processor", "vendor and identity of the CPU of a machine check"),
    ("repeats", "lines of the same failure after the first"),
    ("scope", "`cgroup` where the machine as a whole had memory left"),
    ("sector", "sector of 512 bytes"),
    ("sense", "additional sense of a SCSI device, as printed"),
    ("sense_key", "sense key of a SCSI device, as printed"),
    ("server", "file server"),
    ("shmem_rss_kb", "shared memory of the victim"),
    ("socket", "CPU socket of a machine check"),
    ("status", "status register of a machine check"),
    ("status_words", "its bits, in words"),
    ("swap_free_kb", "free swap"),
    ("swap_total_kb", "swap of the machine"),
    ("task_memcg", "cgroup of the victim"),
    ("time_s", "when the hardware says it was, seconds since 1970"),
    ("total_vm_kb", "address space of the victim"),
    ("uid", "owner of the victim"),
    ("victim", "process that was killed for memory"),
    ("victim_pid", "its pid"),
    ("wait_s", "for how long a task or CPU has been stuck"),
    ("workqueue", "work queue and function that ran"),
];

/// Reads one body of a report into the event.
pub(crate) fn read(event: &mut Event, body: &str) {
    task::read(event, body);
    match event.kind {
        Kind::Oom => oom::read(event, body),
        Kind::HungTask => hang::task(event, body),
        Kind::SoftLockup | Kind::HardLockup => hang::lockup(event, body),
        Kind::IoError | Kind::FsError => storage::read(event, body),
        Kind::NetError => interface(event, body),
        Kind::MachineCheck => {
            mce::read(event, body);
            pci::read(event, body);
        }
        Kind::UserFault => user_fault(event, body),
        Kind::Resource => {
            if let Some(order) = number_after(body, "order:") {
                set(event, "order", &order.to_string());
            }
        }
        Kind::Oops => {
            // arch/x86/mm/fault.c show_fault_oops
            if let Some(access) = body.trim_start().strip_prefix("#PF: ") {
                set(event, "fault", access);
            }
        }
        _ => {}
    }
}

/// `e1000e 0000:00:19.0 eth0: NIC Link is Down`, `NETDEV WATCHDOG: eth0 (e1000e): …`.
fn interface(event: &mut Event, body: &str) {
    let name = match body.split_once("NETDEV WATCHDOG: ") {
        // Since 6.4, and in the stable series: `DRIVER BUS eth0: NETDEV WATCHDOG: CPU: 1: transmit queue …`.
        Some((before, rest)) if rest.starts_with("CPU: ") => before.trim_end_matches([':', ' ']).rsplit(' ').next(),
        Some((_, rest)) => rest.split([' ', ':']).next(),
        None => body.split(": ").next().and_then(|lead| lead.rsplit(' ').next()),
    };
    if let Some(name) = name.filter(|n| !n.is_empty() && n.len() <= 16 && n.is_ascii()) {
        set(event, "interface", name.trim_end_matches(':'));
    }
}

/// `name[pid]: segfault at …`, `traps: name[pid] …`.
fn user_fault(event: &mut Event, body: &str) {
    let t = body.trim_start();
    let t = t.strip_prefix("traps: ").unwrap_or(t);
    if let Some((name, rest)) = t.split_once('[')
        && let Some(pid) = leading_number(rest)
    {
        event.comm.get_or_insert_with(|| cut(name));
        event.pid = event.pid.or(i32::try_from(pid).ok());
    }
    // `… error 4 in libc.so.6[7f0000000000+1000]`: the name of a mapping ends at its address range.
    if let Some((_, object)) = t.rsplit_once(" in ")
        && let Some((name, range)) = object.split_once('[')
        && range.contains('+')
    {
        set(event, "object", name);
    }
}

fn set(event: &mut Event, key: &str, value: &str) {
    let value = value.trim();
    if !value.is_empty() && !event.details.contains_key(key) {
        event.details.insert(key.to_owned(), cut(value));
    }
}

fn set_number(event: &mut Event, key: &str, value: Option<u64>) {
    if let Some(n) = value {
        set(event, key, &n.to_string());
    }
}

fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(VALUE_MAX).collect()
}

fn leading_number(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[..digits].parse().ok()
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let (_, rest) = text.split_once(key)?;
    leading_number(rest.trim_start())
}

/// The hexadecimal number behind a key, with or without `0x`.
fn hex_after(text: &str, key: &str) -> Option<u64> {
    let (_, rest) = text.split_once(key)?;
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("0x").unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
    u64::from_str_radix(&rest[..digits], 16).ok()
}

fn between<'a>(text: &'a str, key: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    Some(rest.split(end).next().unwrap_or(rest))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::Origin;

    /// An event of a kind that has read these bodies.
    pub(super) fn event_of(kind: Kind, text: &str) -> Event {
        let mut event = Event::blank(1, kind, "h".into(), Origin::Kmsg);
        for body in text.lines() {
            read(&mut event, body);
        }
        for name in event.details.keys() {
            assert!(DETAILS.iter().any(|d| d.0 == name), "{name} is not in the list of details");
        }
        event
    }

    /// The details, as `name=value` in the order of names.
    pub(super) fn details_of(kind: Kind, text: &str) -> Vec<String> {
        event_of(kind, text).details.iter().map(|(k, v)| format!("{k}={v}")).collect()
    }

    #[test]
    fn the_crash_of_a_program_names_its_object() {
        let e = event_of(
            Kind::UserFault,
            "app[4242]: segfault at 10 ip 000055d0c0a81234 sp 00007ffc12345678 error 4 in libfoo.so.2[55d0c0a80000+2000]",
        );
        assert_eq!((e.comm.as_deref(), e.pid, e.details["object"].as_str()), (Some("app"), Some(4242), "libfoo.so.2"));
        let e = event_of(Kind::UserFault, "traps: app[7] general protection fault ip:55 sp:7f error:0");
        assert_eq!((e.comm.as_deref(), e.pid, e.details.get("object")), (Some("app"), Some(7), None));
    }

    #[test]
    fn what_a_page_fault_did_is_kept() {
        let got = details_of(
            Kind::Oops,
            "#PF: supervisor read access in kernel mode\n#PF: error_code(0x0000) - not-present page",
        );
        assert_eq!(got, ["fault=supervisor read access in kernel mode"]);
    }

    #[test]
    fn names_of_details_are_sorted_enough_to_be_unique() {
        let mut names: Vec<&str> = DETAILS.iter().map(|d| d.0).collect();
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n);
    }
}
