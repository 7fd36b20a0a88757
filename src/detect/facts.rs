//! What a report says besides its function: task, CPU, kernel, taint, and by kind the device, the victim, the time.

use crate::model::{Event, Kind};

/// Longest value that is kept; names in the text may be as long as their author liked.
const VALUE_MAX: usize = 200;

/// Reads one body of a report into the event. What is already known stays: the first mention counts.
pub(crate) fn read(event: &mut Event, body: &str) {
    cpu_line(event, body);
    match event.kind {
        Kind::Oom => oom(event, body),
        Kind::HungTask => hung(event, body),
        Kind::SoftLockup | Kind::HardLockup => lockup(event, body),
        Kind::IoError | Kind::FsError => storage(event, body),
        Kind::NetError => interface(event, body),
        Kind::MachineCheck => hardware(event, body),
        Kind::UserFault => user_fault(event, body),
        Kind::Resource => {
            if let Some(order) = number_after(body, "order:") {
                set(event, "order", &order.to_string());
            }
        }
        _ => {}
    }
}

/// `CPU: 1 PID: 12 Comm: x Not tainted 6.1.0 #1`, `Pid: 12, comm: x Not tainted 2.6.32 #1`, `Hardware name: …`.
fn cpu_line(event: &mut Event, body: &str) {
    let t = body.trim_start();
    if let Some(name) = t.strip_prefix("Hardware name:") {
        set(event, "hardware", name.trim());
        return;
    }
    if let Some(queue) = t.strip_prefix("Workqueue: ") {
        set(event, "workqueue", queue.trim());
        return;
    }
    if let Some(reason) = t.split_once("Kernel panic - not syncing").map(|p| p.1) {
        set(event, "panic", reason.trim_start_matches(':').trim());
    }
    let comm = t.split_once("Comm: ").or_else(|| t.split_once("comm: ").filter(|p| p.0.starts_with("Pid: ")));
    let Some((before, after)) = comm else {
        // The newest WARN grammar: `…, CPU#1: comm/123`.
        if let Some((_, tail)) = t.split_once(", CPU#")
            && let Some((cpu, task)) = tail.split_once(": ")
        {
            event.cpu = event.cpu.or(cpu.parse().ok());
            if let Some((name, pid)) = task.trim().rsplit_once('/') {
                event.pid = event.pid.or(pid.parse().ok());
                event.comm.get_or_insert_with(|| cut(name));
            }
        }
        return;
    };
    if event.tainted.is_some() {
        return;
    }
    event.cpu = event.cpu.or(number_after(before, "CPU: ").and_then(|n| u32::try_from(n).ok()));
    let pid = number_after(before, "PID: ").or_else(|| number_after(before, "Pid: "));
    event.pid = event.pid.or(pid.and_then(|n| i32::try_from(n).ok()));
    // The name ends where the taint begins; it may hold spaces itself.
    let Some((name, tail)) = ["Not tainted", "Tainted: ", "Kdump: loaded"]
        .iter()
        .find_map(|w| after.find(w).map(|n| (after[..n].trim(), &after[n..])))
    else {
        event.comm.get_or_insert_with(|| cut(after.split(' ').next().unwrap_or(after)));
        return;
    };
    event.comm.get_or_insert_with(|| cut(name));
    let tail = tail.strip_prefix("Kdump: loaded").unwrap_or(tail).trim_start();
    if let Some(rest) = tail.strip_prefix("Not tainted") {
        event.tainted = Some("Not tainted".into());
        event.kernel = event.kernel.take().or(release(rest));
    } else if let Some(rest) = tail.strip_prefix("Tainted: ") {
        let flags = rest.bytes().take_while(|c| c.is_ascii_uppercase() || *c == b' ').count();
        event.tainted = Some(cut(rest[..flags].trim_end()));
        event.kernel = event.kernel.take().or(release(&rest[flags..]));
    }
}

/// The first word, if it looks like a kernel release.
fn release(rest: &str) -> Option<String> {
    let word = rest.split_ascii_whitespace().next()?;
    word.bytes().next().is_some_and(|c| c.is_ascii_digit()).then(|| cut(word.trim_start_matches('(')))
}

fn oom(event: &mut Event, body: &str) {
    if let Some((name, rest)) = body.split_once(" invoked oom-killer:") {
        event.comm.get_or_insert_with(|| cut(name.trim()));
        if let Some(order) = number_after(rest, "order=") {
            set(event, "order", &order.to_string());
        }
    }
    for (key, name) in [("oom_memcg=", "memcg"), ("task_memcg=", "task_memcg"), ("constraint=", "constraint")] {
        if let Some(value) = between(body, key, ",") {
            set(event, name, value);
        }
    }
    if let Some((_, limit)) = body.split_once("as a result of limit of ") {
        set(event, "memcg", limit.trim());
    }
    if let Some((_, rest)) = body.split_once(",task=")
        && let Some((name, tail)) = rest.rsplit_once(",pid=")
    {
        set(event, "victim", name);
        if let Some(pid) = leading_number(tail) {
            set(event, "victim_pid", &pid.to_string());
        }
    }
    for lead in ["Killed process ", "Kill process "] {
        let Some((_, rest)) = body.split_once(lead) else { continue };
        if let Some(pid) = leading_number(rest) {
            set(event, "victim_pid", &pid.to_string());
        }
        // The name stands in parentheses and may hold some.
        if let (Some(open), Some(close)) = (rest.find('('), rest.rfind(") ").or_else(|| rest.rfind(')')))
            && open < close
        {
            set(event, "victim", &rest[open + 1..close]);
        }
        for (key, name) in [
            ("total-vm:", "total_vm_kb"),
            ("anon-rss:", "anon_rss_kb"),
            ("file-rss:", "file_rss_kb"),
            ("shmem-rss:", "shmem_rss_kb"),
            ("oom_score_adj:", "oom_score_adj"),
        ] {
            if let Some(n) = number_after(rest, key) {
                set(event, name, &n.to_string());
            }
        }
    }
    if event.details.contains_key("memcg") || body.starts_with("Memory cgroup out of memory") {
        set(event, "scope", "cgroup");
    }
}

/// `INFO: task NAME:PID blocked for more than N seconds.`
fn hung(event: &mut Event, body: &str) {
    let Some((_, rest)) = body.split_once("task ") else { return };
    for phrase in [" blocked for more than ", " blocked in I/O wait for more than ", " can't die for more than "] {
        let Some((task, tail)) = rest.split_once(phrase) else { continue };
        if let Some((name, pid)) = task.rsplit_once(':') {
            event.comm.get_or_insert_with(|| cut(name));
            event.pid = event.pid.or(leading_number(pid).and_then(|n| i32::try_from(n).ok()));
        }
        if let Some(n) = leading_number(tail) {
            set(event, "wait_s", &n.to_string());
        }
    }
}

/// `BUG: soft lockup - CPU#1 stuck for 22s! [name:123]`, `Watchdog detected hard LOCKUP on cpu 3`.
fn lockup(event: &mut Event, body: &str) {
    if let Some((_, rest)) = body.split_once("soft lockup - CPU#") {
        event.cpu = event.cpu.or(leading_number(rest).and_then(|n| u32::try_from(n).ok()));
        if let Some(n) = number_after(rest, "stuck for ") {
            set(event, "wait_s", &n.to_string());
        }
        if let Some((_, task)) = rest.split_once('[')
            && let Some((name, pid)) = task.trim_end().trim_end_matches(']').rsplit_once(':')
        {
            event.comm.get_or_insert_with(|| cut(name));
            event.pid = event.pid.or(pid.parse().ok());
        }
    }
    if let Some(n) = number_after(body, "LOCKUP on cpu ") {
        event.cpu = event.cpu.or(u32::try_from(n).ok());
    }
}

fn storage(event: &mut Event, body: &str) {
    if let Some(name) = device(body) {
        set(event, "device", &name);
    }
    for key in ["sector ", "logical block ", "block "] {
        if let Some(n) = number_after(body, key) {
            set(event, if key == "sector " { "sector" } else { "block" }, &n.to_string());
            break;
        }
    }
    if let Some(name) = between(body, "server ", " not responding") {
        set(event, "server", name);
    }
    if let Some(op) = between(body, " op 0x", " ").and_then(|w| w.split_once(":(").map(|p| p.1)) {
        set(event, "operation", op.trim_end_matches(')'));
    }
}

/// The device that a storage line speaks of: `dev sda1`, `(sda1)`, `(device sda1)`, `[sda]`, `nvme0`, `ata1.00`, `md0`.
pub(crate) fn device(body: &str) -> Option<String> {
    let word = |rest: &str| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.!".contains(c))).unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches('.');
        (!name.is_empty() && name.len() <= 32).then(|| name.to_owned())
    };
    for lead in ["Disk failure on ", "(device ", " dev ", " device ", "Buffer I/O error on "] {
        if let Some((_, rest)) = body.split_once(lead)
            && let Some(name) = word(rest)
            && name != "of"
        {
            return Some(name);
        }
    }
    for lead in ["-fs (", "XFS (", "-fs error (", "BTRFS error (", "BTRFS critical ("] {
        if let Some((_, rest)) = body.split_once(lead) {
            return word(rest);
        }
    }
    let t = body.trim_start();
    if t.starts_with("sd ") || t.starts_with("sr ") {
        let (_, rest) = t.split_once('[')?;
        return word(rest);
    }
    for lead in ["block ", "nvme "] {
        if let Some(rest) = t.strip_prefix(lead) {
            return word(rest);
        }
    }
    if t.starts_with("ata") || t.starts_with("nvme") || t.starts_with("md") {
        return word(t.strip_prefix("md/").and_then(|r| r.split_once(':')).map_or(t, |p| p.1));
    }
    None
}

/// A device and its partitions are one subject: `sda1` → `sda`, `nvme0n1p2` → `nvme0`, `ata1.00` → `ata1`.
pub(crate) fn subject(device: &str) -> &str {
    if let Some(rest) = device.strip_prefix("nvme") {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        return &device[..4 + digits];
    }
    if device.starts_with("ata") {
        return device.split('.').next().unwrap_or(device);
    }
    if ["sd", "hd", "vd", "xvd"].iter().any(|p| device.starts_with(p)) {
        return device.trim_end_matches(|c: char| c.is_ascii_digit());
    }
    device
}

/// `e1000e 0000:00:19.0 eth0: NIC Link is Down`, `NETDEV WATCHDOG: eth0 (e1000e): …`.
fn interface(event: &mut Event, body: &str) {
    let name = match body.split_once("NETDEV WATCHDOG: ") {
        Some((_, rest)) => rest.split([' ', ':']).next(),
        None => body.split(": ").next().and_then(|lead| lead.rsplit(' ').next()),
    };
    if let Some(name) = name.filter(|n| !n.is_empty() && n.len() <= 16 && n.is_ascii()) {
        set(event, "interface", name.trim_end_matches(':'));
    }
}

fn hardware(event: &mut Event, body: &str) {
    if let Some((_, rest)) = body.split_once("[Hardware Error]: ") {
        set(event, "hardware_error", rest.trim());
    }
    if let Some(rest) = body.trim_start().strip_prefix("pcieport ").or_else(|| body.trim_start().strip_prefix("pci ")) {
        set(event, "device", rest.split(": ").next().unwrap_or(rest));
    }
    if let Some(n) = number_after(body, "CPU ").or_else(|| number_after(body, "CPU: ")) {
        event.cpu = event.cpu.or(u32::try_from(n).ok());
    }
    if let Some(bank) = number_after(body, "Bank ") {
        set(event, "bank", &bank.to_string());
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
    if let Some((_, object)) = t.rsplit_once(" in ") {
        set(event, "object", object.split('[').next().unwrap_or(object));
    }
}

fn set(event: &mut Event, key: &str, value: &str) {
    if !value.is_empty() && !event.details.contains_key(key) {
        event.details.insert(key.to_owned(), cut(value));
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

fn between<'a>(text: &'a str, key: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    Some(rest.split(end).next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_found_and_grouped() {
        for (body, want) in [
            ("I/O error, dev sda1, sector 12 op 0x0:(READ) flags 0x0", "sda1"),
            ("Buffer I/O error on dev nvme0n1p1, logical block 7", "nvme0n1p1"),
            ("EXT4-fs (dm-0): Remounting filesystem read-only", "dm-0"),
            ("EXT4-fs error (device sda1): ext4_lookup:1", "sda1"),
            ("sd 0:0:0:0: [sdb] tag#1 Sense Key : Medium Error [current]", "sdb"),
            ("nvme nvme1: I/O 12 QID 3 timeout, aborting", "nvme1"),
            ("ata1.00: failed command: READ DMA", "ata1.00"),
            ("md/raid1:md1: Disk failure on sdc1, disabling device.", "sdc1"),
        ] {
            assert_eq!(device(body).as_deref(), Some(want), "{body}");
        }
        assert_eq!(
            (subject("sda1"), subject("nvme0n1p2"), subject("ata1.00"), subject("dm-0")),
            ("sda", "nvme0", "ata1", "dm-0")
        );
    }
}
