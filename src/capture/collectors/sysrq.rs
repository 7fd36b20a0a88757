//! `sysrq`: dumps that the kernel writes about itself when it is asked to (`capture.sysrq`, off by default).
//!
//! In a tier of its own, the last: what is asked for goes through the log ring, and everything that was in the
//! ring is in the archive and on the disk by then (`kernel_log`, `kernel_log_late`). A dump that the ring could not
//! hold is not asked for. The watch reads these lines like any other of the kernel; none of them is the header of
//! a failure (tests/it/detect/quiet.rs, and the recorded dumps in fixtures/kernel).

use crate::capture::collectors::{kernel_log, tasks};
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::config::Sysrq;
use crate::host::bytes::{number, words};
use crate::sys::capability::Capability;
use crate::sys::kmsg::{Kmsg, KmsgRead};
use crate::sys::{clock, klog, sysrq};
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "sysrq",
    doc: "The kernel's own dumps of blocked tasks, CPUs, memory or all tasks; only where capture.sysrq asks for them.",
    tier: Tier::T3,
    source: Source::Run(run),
    cap_bytes: 32 << 20,
    limit_ms: 20_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[Capability::Syslog],
};

/// Most bytes of one dump; a ring is 16 MiB at most in practice.
const DUMP_CAP: usize = 16 << 20;
/// A dump is over when nothing came for so long. Only `l` goes on after the write returned: the other CPUs answer an NMI
/// or, where there is none, a job in a queue (drivers/tty/sysrq.c sysrq_handle_showallcpus).
const QUIET: Duration = Duration::from_millis(100);
const QUIET_CPUS: Duration = Duration::from_millis(500);
/// Longest wait for the end of one dump: a log that never falls silent is somebody else's.
const LONGEST: Duration = Duration::from_secs(4);

/// Bytes of the ring that one task takes in a dump, with its stack: 0.9 KB measured (6.1), and room for deeper ones.
const TASK_BYTES: u64 = 1_200;
/// The same for one CPU: 1 KB measured of idle ones; busy ones have registers and two stacks.
const CPU_BYTES: u64 = 4_096;
const MEMORY_BYTES: u64 = 16_384;
/// The level of the lines of a dump; a higher kernel.printk lets them through to the consoles. An oops leaves 15
/// there (kernel/printk/printk.c console_verbose), so that it says nothing about how the machine was set up.
const INFO: u64 = 6;
/// Most bytes of a dump that are let through to a serial line: 10 s at 115,200 baud, in which printk stands still.
const SERIAL_BYTES_MAX: u64 = 115_200;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let wanted = &ctx.config.capture.sysrq;
    if wanted.is_empty() {
        return Err(CollectError::Skipped("not asked for in the config (capture.sysrq)".into()));
    }
    if !ctx.root.is_real() {
        return Err(CollectError::Skipped("only the machine itself can be asked".into()));
    }
    if !ctx.incident.local {
        return Err(CollectError::Skipped("it happened on another host".into()));
    }
    if !std::path::Path::new(sysrq::PATH).exists() {
        return Err(CollectError::Skipped(format!("there is no {} here", sysrq::PATH)));
    }
    let ring_bytes = klog::size().map_err(CollectError::failed("ask for the size of the log ring"))? as u64;
    let table = tasks::scan(ctx, sink)?;
    let count = Counts {
        tasks: table.processes.iter().map(|p| p.stat.threads.max(1)).sum(),
        blocked: table
            .processes
            .iter()
            .map(|p| {
                let threads = p.threads.iter().filter(|t| t.stat.state == b'D').count();
                threads as u64 + u64::from(p.stat.state == b'D')
            })
            .sum(),
        cpus: online_cpus(ctx),
        console_level: console_level(ctx),
        serial: serial_console(ctx),
    };
    let mut kmsg = Kmsg::open().map_err(CollectError::failed("open /dev/kmsg"))?;
    for dump in wanted {
        let what = format!("sysrq {}", dump.letter());
        if ctx.expired() {
            sink.missing(what, "no time left");
            continue;
        }
        if let Err(why) = fits(*dump, &count, ring_bytes) {
            sink.missing(what, why);
            continue;
        }
        let (text, cut) = match ask(&mut kmsg, *dump, ctx) {
            Ok(answer) => answer,
            Err(e) => {
                sink.missing(what, e.to_string());
                continue;
            }
        };
        if text.is_empty() {
            sink.missing(what, "the kernel logged nothing");
            continue;
        }
        sink.put_cut(format!("lastgasp/sysrq_{}.txt", dump.letter()), kernel_log::dmesg(&text), cut)?;
    }
    Ok(())
}

/// What decides how long a dump will be.
struct Counts {
    tasks: u64,
    blocked: u64,
    cpus: u64,
    /// Messages below this level go to the consoles.
    console_level: u64,
    /// A console that may be slow.
    serial: Option<String>,
}

/// Whether the ring takes this dump whole and still has its other half; the reason when not.
fn fits(dump: Sysrq, count: &Counts, ring_bytes: u64) -> Result<(), String> {
    let (bytes, of) = match dump {
        Sysrq::Tasks => (count.tasks * TASK_BYTES, format!("{} tasks", count.tasks)),
        Sysrq::Blocked => (count.blocked * TASK_BYTES, format!("{} blocked tasks", count.blocked)),
        Sysrq::Cpus => (count.cpus * CPU_BYTES, format!("{} CPUs", count.cpus)),
        Sysrq::Memory => (MEMORY_BYTES, "the memory".into()),
    };
    // Half of the ring belongs to what was logged before, unless everything is asked for.
    let needs = if dump == Sysrq::Tasks { bytes } else { 2 * bytes };
    if needs > ring_bytes {
        return Err(format!(
            "not asked for: {of} want {needs} bytes of a log ring that has {ring_bytes} (boot with log_buf_len=)"
        ));
    }
    if let Some(console) = count.serial.as_ref().filter(|_| count.console_level > INFO && bytes > SERIAL_BYTES_MAX) {
        let (seconds, level) = (bytes / (SERIAL_BYTES_MAX / 10), count.console_level);
        return Err(format!(
            "not asked for: {of} would take {seconds} s on console {console} (kernel.printk is {level}; 6 keeps it off)"
        ));
    }
    Ok(())
}

/// The records of facility kern that came from just before the letter was written until the log fell silent.
fn ask(kmsg: &mut Kmsg, dump: Sysrq, ctx: &Context) -> std::io::Result<(Vec<u8>, bool)> {
    kmsg.seek_end()?;
    sysrq::dump(dump.letter())?;
    let quiet = if dump == Sysrq::Cpus { QUIET_CPUS } else { QUIET };
    let until = clock::mono().plus(LONGEST.min(ctx.left()));
    let (mut text, mut record, mut cut) = (Vec::new(), Vec::new(), false);
    loop {
        match kmsg.read(&mut record)? {
            // The write of a flood of other messages may overtake us; what is left is still worth having.
            KmsgRead::Overrun => cut = true,
            KmsgRead::Record if text.len() + record.len() > DUMP_CAP => return Ok((text, true)),
            KmsgRead::Record if is_of_kernel(&record) => text.extend_from_slice(&record),
            KmsgRead::Record => {}
            KmsgRead::Empty if !kmsg.wait(quiet)? => return Ok((text, cut)),
            KmsgRead::Empty => {}
        }
        if clock::mono() >= until {
            return Ok((text, true));
        }
    }
}

/// `6,1234,…`: level plus eight times the facility, which is 0 for the kernel's own.
fn is_of_kernel(record: &[u8]) -> bool {
    record.split(|b| *b == b',').next().and_then(number).is_some_and(|n| n < 8)
}

/// From `0-3,8`; where that cannot be read, more than there are.
fn online_cpus(ctx: &Context) -> u64 {
    let read = ctx.root.read("/sys/devices/system/cpu/online", 4096).ok();
    read.and_then(|c| cpus(c.bytes.trim_ascii())).unwrap_or(8192)
}

fn cpus(list: &[u8]) -> Option<u64> {
    list.split(|b| *b == b',').try_fold(0u64, |sum, range| {
        let mut ends = range.split(|b| *b == b'-').map(number);
        let first = ends.next()??;
        let last = ends.next().unwrap_or(Some(first))?;
        Some(sum + last.checked_sub(first)? + 1)
    })
}

/// The first number of kernel.printk. Unknown counts as: everything goes to the consoles.
fn console_level(ctx: &Context) -> u64 {
    let read = ctx.root.read("/proc/sys/kernel/printk", 256).ok();
    read.and_then(|c| words(&c.bytes).next().and_then(number)).unwrap_or(u64::MAX)
}

/// A console that is neither a virtual terminal nor a network or a memory: `ttyS0                -W- (EC p a)    4:64`.
fn serial_console(ctx: &Context) -> Option<String> {
    let Ok(read) = ctx.root.read("/proc/consoles", 4096) else { return Some("?".into()) };
    serial_in(&read.text())
}

fn serial_in(consoles: &str) -> Option<String> {
    let is_fast = |name: &str| {
        let terminal = name.strip_prefix("tty").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        terminal || ["netcon", "pstore", "ramoops"].iter().any(|p| name.starts_with(p))
    };
    consoles.lines().filter_map(|l| l.split_whitespace().next()).find(|n| !is_fast(n)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_that_the_ring_cannot_take_is_not_asked_for() {
        let count = |tasks, blocked, cpus, console_level| Counts {
            tasks,
            blocked,
            cpus,
            console_level,
            serial: Some("ttyS0".into()),
        };
        let ring = 128 << 10;
        assert_eq!(fits(Sysrq::Tasks, &count(100, 0, 2, 4), ring), Ok(()));
        let why = fits(Sysrq::Tasks, &count(150, 0, 2, 4), ring).expect_err("150 tasks wrap 128 KiB");
        assert!(why.contains("150 tasks want 180000 bytes of a log ring that has 131072"), "{why}");
        let why = fits(Sysrq::Tasks, &count(2_000, 0, 2, 15), 4 << 20).expect_err("minutes of a serial line");
        assert!(why.contains("2000 tasks would take 208 s on console ttyS0"), "{why}");
        assert!(fits(Sysrq::Tasks, &count(2_000, 0, 2, 6), 4 << 20).is_ok());
        assert!(fits(Sysrq::Tasks, &Counts { serial: None, ..count(2_000, 0, 2, 15) }, 4 << 20).is_ok());
        assert_eq!(serial_in("tty0 -WU (EC p) 4:7\nnetcon0 -W- (E p)\n"), None);
        assert_eq!(serial_in("tty0 -WU (EC p) 4:7\nttyS1 -W- (E p a) 4:65\n").as_deref(), Some("ttyS1"));
        assert!(fits(Sysrq::Blocked, &count(9_000, 10, 2, 7), ring).is_ok());
        assert!(fits(Sysrq::Blocked, &count(9_000, 100, 2, 7), ring).is_err());
        assert!(
            fits(Sysrq::Cpus, &count(1, 0, 16, 7), ring).is_ok()
                && fits(Sysrq::Cpus, &count(1, 0, 64, 7), ring).is_err()
        );
        assert!(fits(Sysrq::Memory, &count(1, 0, 1, 7), ring).is_ok());
    }

    #[test]
    fn lists_of_cpus_and_facilities() {
        assert_eq!((cpus(b"0-3,8"), cpus(b"0"), cpus(b""), cpus(b"3-1")), (Some(5), Some(1), None, None));
        assert!(is_of_kernel(b"6,1,2,-;text") && !is_of_kernel(b"14,1,2,-;text") && !is_of_kernel(b"x"));
    }
}
