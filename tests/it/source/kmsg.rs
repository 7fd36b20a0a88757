//! `/dev/kmsg` and syslog(2) for real. Needs root; without it each test says that it was skipped.
//!
//! The ring is the machine's own: other writers may be at work meanwhile, so counts are compared with bounds
//! taken before and after, and text is recognised by a token of its own.

use lastgasp::model::{BootId, Record, Wall};
use lastgasp::source::kmsg::parse;
use lastgasp::source::{Cursor, KernelLog, KlogSource, KmsgSource};
use lastgasp::sys::clock;
use lastgasp::sys::ipc::wait_readable;
use lastgasp::sys::kmsg::{Kmsg, KmsgRead};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

static RING: Mutex<()> = Mutex::new(());

/// One test at a time: a flood is no fun for the others. `None`, said aloud, where the ring is not ours to use.
fn ring(test: &str) -> Option<MutexGuard<'static, ()>> {
    let guard = RING.lock().unwrap_or_else(|broken| broken.into_inner());
    let setting = std::fs::read_to_string("/proc/sys/kernel/printk_devkmsg").unwrap_or_default();
    let why = match (Kmsg::open(), OpenOptions::new().write(true).open("/dev/kmsg")) {
        _ if setting.trim() == "off" => "kernel.printk_devkmsg=off".to_owned(),
        (Err(e), _) => format!("read /dev/kmsg: {e}"),
        (_, Err(e)) => format!("write /dev/kmsg: {e}"),
        _ => return Some(guard),
    };
    eprintln!("SKIPPED {test}: {why}");
    None
}

/// Writes records as user space. The rate limit (10 records in 5 s) is kept for each open file, so
/// each ten get a file of their own.
fn write_records(texts: &[String]) {
    for ten in texts.chunks(10) {
        let mut file = OpenOptions::new().write(true).open("/dev/kmsg").expect("opened before");
        for text in ten {
            file.write_all(text.as_bytes()).expect("a record of less than 1 KiB");
        }
    }
}

fn drain(source: &mut KmsgSource) -> Vec<Record> {
    let mut out = Vec::new();
    while source.read_batch(100, Wall(1), &mut out).expect("reads").more {}
    out
}

/// All records in the ring: sequence to (level, facility, stamp, text).
fn whole_ring() -> BTreeMap<u64, (u8, u32, u64, Vec<u8>)> {
    let mut kmsg = Kmsg::open().expect("opened before");
    let mut buffer = Vec::new();
    let mut all = BTreeMap::new();
    loop {
        match kmsg.read(&mut buffer).expect("reads") {
            KmsgRead::Record => {
                let r = parse(&buffer).expect("the kernel writes records");
                all.insert(r.seq, (r.level, r.facility, r.stamp_us, r.text.into_owned()));
            }
            KmsgRead::Overrun => {}
            KmsgRead::Empty => return all,
        }
    }
}

#[test]
#[ignore = "crashes when told to; started by the tests beside it"]
#[allow(unsafe_code)] // A real fault is the only way to make the kernel itself log something harmless.
fn crash_child() {
    if std::env::var_os("LASTGASP_TEST_CRASH").is_some() {
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0).expect("lowers a limit");
        // SAFETY: not safe at all. Page 0 is not mapped; the process dies here, which is the purpose.
        unsafe { (8 as *mut u8).write_volatile(1) };
    }
}

/// Makes the kernel log a `segfault at 8` line; its thread's pid is not known, its time is.
/// False, said aloud, where the kernel does not log such.
fn provoke_kernel_line(test: &str) -> bool {
    let setting = std::fs::read_to_string("/proc/sys/debug/exception-trace").unwrap_or_default();
    if setting.trim() != "1" {
        eprintln!("SKIPPED part of {test}: debug.exception-trace is not 1");
        return false;
    }
    let mut behind = Kmsg::open().expect("opened before");
    behind.seek_end().expect("seeks");
    let mut buffer = Vec::new();
    let begin = clock::mono();
    while clock::mono().since(begin) < Duration::from_secs(20) {
        let status = Command::new(std::env::current_exe().expect("we run"))
            .args(["--exact", "source::kmsg::crash_child", "--ignored"])
            .env("LASTGASP_TEST_CRASH", "1")
            .output()
            .expect("starts")
            .status;
        assert_eq!(status.signal(), Some(libc::SIGSEGV));
        while behind.read(&mut buffer).expect("reads") != KmsgRead::Empty {
            if String::from_utf8_lossy(&buffer).contains(SEGFAULT) {
                return true;
            }
        }
        // The kernel logs ten in 5 s at most (printk_ratelimit), and nothing tells when the next is free.
        std::thread::park_timeout(Duration::from_millis(500));
    }
    panic!("the kernel logged no fault in 20 s");
}

const SEGFAULT: &str = ": segfault at 8 ip ";

fn is_segfault(r: &Record) -> bool {
    String::from_utf8_lossy(&r.text).contains(SEGFAULT)
}

#[test]
fn what_is_in_the_ring_is_old_and_what_comes_is_not() {
    const TEST: &str = "what_is_in_the_ring_is_old_and_what_comes_is_not";
    let Some(_ring) = ring(TEST) else { return };
    let some = provoke_kernel_line(TEST);
    let mut source = KmsgSource::open("me".into(), None).expect("opens");
    // Logged after opening but before the first read: not old, though it is in the ring by then.
    let provoked = provoke_kernel_line(TEST);
    let first = drain(&mut source);
    assert!(first.iter().all(|r| r.facility == Some(0) && r.seq.is_some() && r.stamp.is_some() && &*r.host == "me"));
    assert!(first.iter().any(|r| r.old) || !some);
    if provoked {
        let new: Vec<&Record> = first.iter().filter(|r| !r.old).collect();
        assert!(new.iter().any(|r| is_segfault(r)), "{new:?}");
        let boundary = new[0].seq;
        assert!(first.iter().all(|r| r.old == (r.seq < boundary)));
        provoke_kernel_line(TEST);
        assert!(wait_readable(source.as_fd(), Some(Duration::from_secs(5))).expect("polls"), "readiness is told");
        let mut second = drain(&mut source);
        let begin = clock::mono();
        while !second.iter().any(is_segfault) && clock::mono().since(begin) < Duration::from_secs(5) {
            wait_readable(source.as_fd(), Some(Duration::from_millis(100))).expect("polls");
            second.extend(drain(&mut source));
        }
        assert!(second.iter().any(is_segfault) && second.iter().all(|r| !r.old), "{second:?}");
    }
}

#[test]
fn user_space_records_are_dropped_and_counted() {
    let Some(_ring) = ring("user_space_records_are_dropped_and_counted") else { return };
    let token = format!("lastgasp-test-{}", std::process::id());
    let mut source = KmsgSource::open("me".into(), None).expect("opens");
    drain(&mut source);
    let before = source.foreign();
    // As kernel (0 becomes user), as daemon, as local7, and with what rmesg stumbles over.
    let texts: Vec<String> = ["<0>", "<30>", "<190>", ""]
        .iter()
        .map(|p| format!("{p}{token} Kernel panic - not syncing: not really\n"))
        .collect();
    write_records(&texts);
    let got = drain(&mut source);
    assert!(!got.iter().any(|r| String::from_utf8_lossy(&r.text).contains(&token)));
    assert!(source.foreign() >= before + 4, "{} after {before}", source.foreign());
    let ours: Vec<(u8, u32)> = whole_ring()
        .values()
        .filter(|(.., text)| String::from_utf8_lossy(text).contains(&token))
        .map(|(level, facility, ..)| (*level, *facility))
        .collect();
    assert_eq!(ours.len(), 4);
    assert_eq!(ours[..3], [(0, 1), (6, 3), (6, 23)]);
}

#[test]
fn a_cursor_resumes_where_it_was() {
    const TEST: &str = "a_cursor_resumes_where_it_was";
    let Some(_ring) = ring(TEST) else { return };
    // Two lines each (the second shows the code).
    if !(provoke_kernel_line(TEST) && provoke_kernel_line(TEST)) {
        return;
    }
    let mut source = KmsgSource::open("me".into(), None).expect("opens");
    let all = drain(&mut source);
    let end = source.cursor();
    assert!(all.len() > 2);
    let middle = all[all.len() / 2].seq.expect("numbered");

    let resume = Cursor { seq: Some(middle), ..end.clone() };
    let mut resumed = KmsgSource::open("me".into(), Some(resume.clone())).expect("opens");
    let got = drain(&mut resumed);
    assert!(got.iter().all(|r| r.seq.is_some_and(|s| s > middle)));
    let want: Vec<&Record> = all.iter().filter(|r| r.seq > Some(middle)).collect();
    assert!(got.len() >= want.len() && got.iter().zip(&want).all(|(g, w)| g.text == w.text && g.seq == w.seq && g.old));
    assert!(resumed.losses().counts.is_empty());

    let mut same = KmsgSource::open("me".into(), Some(end.clone())).expect("opens");
    assert!(drain(&mut same).iter().all(|r| r.seq > end.seq), "nothing is reported twice");
    assert!(same.cursor().seq >= end.seq);

    let other = Cursor { boot_id: BootId("another boot".into()), ..resume };
    let mut fresh = KmsgSource::open("me".into(), Some(other)).expect("opens");
    assert!(drain(&mut fresh).len() >= all.len());
    assert_eq!(fresh.cursor().boot_id, end.boot_id);
}

#[test]
fn an_overrun_is_counted_exactly() {
    const TEST: &str = "an_overrun_is_counted_exactly";
    let Some(_ring) = ring(TEST) else { return };
    if std::env::var_os("LASTGASP_TEST_FLOOD").is_none() {
        eprintln!("SKIPPED {TEST}: it overwrites this machine's kernel log; set LASTGASP_TEST_FLOOD=1 to run it");
        return;
    }
    let mut source = KmsgSource::open("me".into(), None).expect("opens");
    drain(&mut source);
    let mut raw = Kmsg::open().expect("opens");
    raw.seek_end().expect("seeks");
    let (at, foreign) = (source.cursor().seq.expect("read"), source.foreign());
    assert!(!source.losses().counts.contains_key("kmsg_overrun_records"));

    let size = lastgasp::sys::klog::size().expect("as root");
    let text = format!("lastgasp-test-flood {}\n", "f".repeat(900));
    write_records(&vec![text; size / 900 + 50]);

    let first_before = *whole_ring().keys().next().expect("not empty");
    let delivered: std::collections::BTreeSet<_> = drain(&mut source).iter().map(|r| r.seq).collect();
    let first_after = *whole_ring().keys().next().expect("not empty");
    let overrun = source.losses().counts.get("kmsg_overrun_records").copied().unwrap_or(0);
    println!("ring of {size} bytes, {overrun} records overwritten before they were read");
    assert!(overrun > 0, "the flood was not large enough");
    assert!((first_before..=first_after).contains(&(at + 1 + overrun)), "{first_before} {at} {overrun} {first_after}");
    let end = source.cursor().seq.expect("read");
    assert_eq!(
        end - at,
        overrun + (source.foreign() - foreign) + delivered.len() as u64,
        "every number is accounted for"
    );
    assert!(source.losses().counts.is_empty(), "told once");

    let mut buffer = Vec::new();
    assert_eq!(raw.read(&mut buffer).expect("EPIPE is no error"), KmsgRead::Overrun);
    assert_eq!(raw.read(&mut buffer).expect("reads on"), KmsgRead::Record);
    // A run that was down for that long is told as well.
    let cursor = Cursor { seq: Some(at), ..source.cursor() };
    let mut resumed = KmsgSource::open("me".into(), Some(cursor)).expect("opens");
    drain(&mut resumed);
    assert!(resumed.losses().counts.get("kmsg_overrun_records").is_some_and(|n| *n >= overrun));
}

#[test]
fn ordinary_records_read_as_rmesg_reads_them() {
    const TEST: &str = "ordinary_records_read_as_rmesg_reads_them";
    let Some(_ring) = ring(TEST) else { return };
    let ours = whole_ring();
    // One record above 1 KiB, of a high facility or with a byte that is not UTF-8 makes it reject everything;
    // then the lines are given to its parser one by one.
    let theirs = match rmesg::log_entries(rmesg::Backend::DevKMsg, false) {
        Ok(entries) => entries,
        Err(e) => {
            eprintln!("{TEST}: rmesg rejects this ring as a whole ({e:?}); comparing record by record");
            let mut kmsg = Kmsg::open().expect("opened before");
            let mut buffer = Vec::new();
            let mut entries = Vec::new();
            while kmsg.read(&mut buffer).expect("reads") == KmsgRead::Record {
                let text = String::from_utf8_lossy(&buffer).into_owned();
                let line = text.lines().next().unwrap_or_default();
                entries.extend(rmesg::kmsgfile::entry_from_line(line));
            }
            entries
        }
    };
    let mut compared = 0;
    for entry in theirs {
        let Some(seq) = entry.sequence_num else { continue };
        let Some((level, facility, stamp, text)) = ours.get(&(seq as u64)) else { continue };
        // It leaves escapes as they are.
        if entry.message.contains('\\') {
            continue;
        }
        assert_eq!(entry.message.as_bytes(), text, "record {seq}");
        assert_eq!(entry.level.map(|l| l as u8), Some(*level));
        assert_eq!(entry.facility.map(|f| f as u32), Some(*facility));
        assert_eq!(entry.timestamp_from_system_start, Some(Duration::from_micros(*stamp)));
        compared += 1;
    }
    println!("{compared} of {} records compared", ours.len());
    assert!(compared * 2 > ours.len(), "{compared} of {}", ours.len());
}

#[test]
fn syslog_gives_the_same_lines_and_each_once() {
    const TEST: &str = "syslog_gives_the_same_lines_and_each_once";
    let Some(_ring) = ring(TEST) else { return };
    let some = provoke_kernel_line(TEST);
    let mut klog = KlogSource::open("me".into(), None).expect("opens");
    let mut out = Vec::new();
    while klog.read_batch(50, Wall(1), &mut out).expect("reads").more {}
    let mut kmsg = KmsgSource::open("me".into(), None).expect("opens");
    let lines = drain(&mut kmsg);
    if std::fs::read_to_string("/sys/module/printk/parameters/time").is_ok_and(|t| t.trim() == "Y") {
        // `dmesg --clear` hides from syslog(2) what /dev/kmsg still has, so the ends are compared.
        let n = out.len().min(lines.len());
        assert!(n > 0 || !some);
        let mut same = 0;
        for (a, b) in out[out.len() - n..].iter().zip(&lines[lines.len() - n..]) {
            let stamp = b.stamp.expect("stamped");
            same += usize::from(a.text == [format!("[{:>12}] ", stamp.to_string()).as_bytes(), &b.text].concat());
            assert!(a.old && a.level.is_some());
        }
        assert!(same * 10 >= n * 9, "{same} of {n}");
    }
    let known = out.len();
    assert!(!klog.read_batch(50, Wall(2), &mut out).expect("reads").more);
    if provoke_kernel_line(TEST) {
        while klog.read_batch(50, Wall(3), &mut out).expect("reads").more {}
        let new = &out[known..];
        assert!(new.iter().any(is_segfault) && new.iter().all(|r| !r.old), "{new:?}");
        let again = out.len();
        while klog.read_batch(50, Wall(4), &mut out).expect("reads").more {}
        assert!(!out[again..].iter().any(is_segfault), "given twice");
        let mut resumed = KlogSource::open("me".into(), Some(klog.cursor())).expect("opens");
        let mut rest = Vec::new();
        while resumed.read_batch(50, Wall(5), &mut rest).expect("reads").more {}
        assert!(!rest.iter().any(is_segfault), "a cursor passes over what was reported");
    }
}

#[test]
#[ignore = "run as another user by the test beside it"]
fn denied_child() {
    match KernelLog::open("me".into(), None) {
        Ok((_, notices)) => println!("OPENED {notices:?}"),
        Err(e) => println!("DENIED {e}"),
    }
}

#[test]
fn a_user_without_privilege_is_told_what_to_do() {
    const TEST: &str = "a_user_without_privilege_is_told_what_to_do";
    let Some(_ring) = ring(TEST) else { return };
    if !std::fs::read_to_string("/proc/sys/kernel/dmesg_restrict").is_ok_and(|t| t.trim() == "1") {
        eprintln!("SKIPPED {TEST}: kernel.dmesg_restrict is not 1");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("it");
    std::fs::copy(std::env::current_exe().expect("we run"), &program).expect("copies");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), everybody).expect("changes the mode");
    let output = Command::new(&program)
        .args(["--exact", "source::kmsg::denied_child", "--ignored", "--nocapture"])
        .uid(65_534)
        .gid(65_534)
        .output()
        .expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("DENIED read the kernel log: open /dev/kmsg: ") && text.contains("CAP_SYSLOG"), "{text}");
}
