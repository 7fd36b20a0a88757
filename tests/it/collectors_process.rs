//! The collectors of processes and sockets: on a fake root, and for real on this machine.

use crate::host::fixture;
use lastgasp::capture::collectors::{
    cgroups, descriptors, kernel_log, memory, processes, queue_rates, sockets, task_rates, tasks,
};
use lastgasp::capture::sink::{Delivery, Item};
use lastgasp::capture::{CollectError, Context, Sink, Source, Spec};
use lastgasp::host::Root;
use lastgasp::model::{Deadline, Event, Incident, IncidentId, Kind, Losses, Missing, Origin, Trigger, Wall};
use lastgasp::sys::clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn context(root: Root, limit: Duration) -> Context {
    Context {
        root,
        config: Arc::default(),
        incident: Arc::new(Incident {
            format: 1,
            id: IncidentId("abcdefgh".into()),
            kind: Kind::Other,
            title: "asked for".into(),
            host: "host".into(),
            captured_on: "host".into(),
            local: true,
            opened_at: Wall(0),
            drill: false,
            boot_id: None,
            kernel: None,
            version: "0".into(),
            trigger: Trigger::Manual { reason: "a test".into() },
            events: Vec::new(),
            follows: None,
            events_left_out: 0,
            recurrences: 0,
            losses: Losses::default(),
            limits: Vec::new(),
        }),
        deadline: Deadline::after(clock::mono(), limit),
        cancelled: Arc::new(AtomicBool::new(false)),
        shared: Arc::default(),
    }
}

/// What one collector delivered.
struct Delivered {
    items: BTreeMap<String, Item>,
    missing: Vec<Missing>,
    ended: Result<(), CollectError>,
}

impl Delivered {
    fn text(&self, path: &str) -> String {
        let item = self.items.get(path).unwrap_or_else(|| panic!("no {path} in {:?}", self.items.keys()));
        String::from_utf8(item.content.to_vec()).unwrap_or_else(|e| panic!("{path} is not UTF-8: {e}"))
    }
}

fn drive(spec: &Spec, ctx: &Context) -> Delivered {
    let Source::Run(run) = spec.source else { panic!("{} copies files", spec.name) };
    let (tx, rx) = std::sync::mpsc::sync_channel(4);
    let drain = std::thread::spawn(move || {
        let (mut items, mut missing) = (BTreeMap::new(), Vec::new());
        for delivery in rx {
            match delivery {
                Delivery::Item { item, .. } => {
                    assert!(items.insert(item.path.clone(), item).is_none(), "one path twice")
                }
                Delivery::Missing { missing: m, .. } => missing.push(m),
                Delivery::Done { .. } => {}
            }
        }
        (items, missing)
    });
    let mut sink = Sink::new(0, spec.cap_bytes, tx);
    let ended = run(ctx, &mut sink);
    drop(sink);
    let (items, missing) = drain.join().expect("the drain does not panic");
    Delivered { items, missing, ended }
}

fn good(spec: &Spec, ctx: &Context) -> Delivered {
    let d = drive(spec, ctx);
    if let Err(e) = &d.ended {
        panic!("{}: {e}", spec.name);
    }
    d
}

/// No entry may carry what drives a terminal.
fn assert_clean(d: &Delivered) {
    for path in d.items.keys() {
        let text = d.text(path);
        assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')), "{path}\n{text}");
    }
}

#[test]
fn a_machine_in_trouble_is_told_apart() {
    let (_dir, root) = fixture();
    let ctx = context(root, Duration::from_secs(20));
    let d = good(&tasks::SPEC, &ctx);
    assert_clean(&d);
    let text = d.text("lastgasp/tasks.txt");
    for want in [
        "4 processes, 6 tasks in all; by state: D=2 S=3 Z=1",
        "     1 rq_qos_wait: worker(8)",
        "task worker tid 8 of pid 7 wchan=rq_qos_wait syscall=1\n    rq_qos_wait+0xbb/0x130\n    wbt_wait",
        "task jbd2/vda1-8 tid 20 of pid 20 wchan=io_schedule",
        "a)\\x20R\\x201\\x0a(b\\x1b[2J\n",
    ] {
        assert!(text.contains(want), "{want} not in\n{text}");
    }
    // The blocked ones come first in the table: one by its thread 8.
    let table = text.split("COMM\n").nth(1).expect("the table");
    let pids: Vec<&str> = table.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(pids, ["7", "20", "1", "30"], "{table}");
    let objects: Vec<serde_json::Value> =
        d.text("lastgasp/tasks.jsonl").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(objects.len(), 4);
    let web = &objects[0];
    assert_eq!(web["comm"], "a) R 1\n(b\u{1b}[2J");
    assert_eq!(
        (web["uid"].as_u64(), web["start_ticks"].as_u64(), web["nice"].as_i64()),
        (Some(33), Some(1000), Some(5))
    );
    assert_eq!(web["sleeping_threads"]["futex_wait_queue"], 1);
    assert_eq!(
        (&web["other_threads"][0]["tid"], &web["other_threads"][0]["stack"][1]),
        (&8.into(), &"wbt_wait+0x9c/0x100".into())
    );
    assert_eq!(objects[1]["kernel_thread"], true);
    assert_eq!(*ctx.shared.suspect_disks.lock().expect("the list"), ["vda"]);
    assert!(d.missing.iter().any(|m| m.what.contains("2 processes of other users")), "{:?}", d.missing);
}

#[test]
fn what_failed_comes_right_behind_what_is_blocked() {
    let (_dir, root) = fixture();
    let mut ctx = context(root, Duration::from_secs(20));
    let mut event = Event::blank(1, Kind::ServiceDown, "host".into(), Origin::Probe);
    event.comm = Some("gone".into());
    let about = Incident { trigger: Trigger::Event(Box::new(event)), ..(*ctx.incident).clone() };
    ctx.incident = Arc::new(about);
    let d = good(&tasks::SPEC, &ctx);
    let text = d.text("lastgasp/tasks.txt");
    assert!(text.contains("processes of what failed (1): gone(30)\n"), "{text}");
    let pids: Vec<u64> = d
        .text("lastgasp/tasks.jsonl")
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).expect("JSON")["pid"].as_u64())
        .collect();
    assert_eq!(pids, [7, 20, 30, 1]);
    // On another host it would say nothing about the tasks of this one.
    ctx.incident = Arc::new(Incident { local: false, ..(*ctx.incident).clone() });
    ctx.shared = Arc::default();
    assert!(!good(&tasks::SPEC, &ctx).text("lastgasp/tasks.txt").contains("what failed"));
}

#[test]
fn an_entry_that_is_cut_ends_with_a_whole_line() {
    let (tx, rx) = std::sync::mpsc::sync_channel(4);
    let mut sink = Sink::new(0, 10, tx);
    assert!(sink.put("a", "{\"a\":1}\n{\"b\":2}\n").is_err());
    assert!(sink.put("b", "more").is_err());
    drop(sink);
    let got: Vec<Vec<u8>> = rx
        .iter()
        .filter_map(|d| if let Delivery::Item { item, .. } = d { Some(item.content.to_vec()) } else { None })
        .collect();
    assert_eq!(got, [b"{\"a\":1}\n".to_vec(), Vec::new()]);
}

#[test]
fn a_second_look_tells_busy_from_asleep_on_this_machine() {
    let stop = Arc::new(AtomicBool::new(false));
    let spin = Arc::clone(&stop);
    let busy = std::thread::Builder::new()
        .name("busy-in-a-test".into())
        .spawn(move || {
            while !spin.load(std::sync::atomic::Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        })
        .expect("a thread");
    let mut ctx = context(Root::real(), Duration::from_secs(20));
    let mut event = Event::blank(1, Kind::ServiceDown, "host".into(), Origin::Probe);
    event.pid = Some(std::process::id() as i32);
    ctx.incident = Arc::new(Incident { trigger: Trigger::Event(Box::new(event)), ..(*ctx.incident).clone() });
    let d = good(&task_rates::SPEC, &ctx);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    busy.join().expect("it only spins");
    let motion = d.text("lastgasp/task_motion.txt");
    let line = motion.lines().find(|l| l.starts_with("task busy-in-a-test ")).unwrap_or_else(|| panic!("{motion}"));
    assert!(line.contains(": busy: "), "{line}");
    assert!(motion.lines().any(|l| l.contains(": asleep in ") || l.contains(": waits in ")), "{motion}");
    let me = u64::from(std::process::id());
    let rates: Vec<serde_json::Value> =
        d.text("lastgasp/task_rates.jsonl").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let own = rates.iter().find(|r| r["pid"] == me).expect("of what failed");
    assert_eq!(own["of_service"], true);
    assert!(own["user_percent"].as_f64() > Some(1.0) && own["seconds"].as_f64() >= Some(0.9), "{own}");
    assert!(d.text("lastgasp/task_rates.txt").contains("what failed (1):"));
    let queues = good(&queue_rates::SPEC, &ctx).text("lastgasp/queue_rates.txt");
    assert!(queues.contains("tasks run or wait for a CPU") && queues.contains("context switches\n"), "{queues}");
}

#[test]
fn command_lines_are_masked_and_environments_have_no_values() {
    let (_dir, root) = fixture();
    let ctx = context(root, Duration::from_secs(20));
    let d = good(&processes::SPEC, &ctx);
    assert_clean(&d);
    for path in d.items.keys() {
        assert!(!d.text(path).contains("hunter2"), "{path}");
    }
    let ps = d.text("sos_commands/process/ps_auxww");
    assert!(ps.starts_with("USER       PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n"));
    assert!(ps.contains("/usr/bin/mysql -uroot -p*** --host db\\x1b[2J\\x0a\n"), "{ps}");
    assert!(ps.contains("www-data") && ps.contains("[gone] <defunct>") && ps.contains("[jbd2/vda1-8]"), "{ps}");
    assert!(
        ps.contains("root         1  0.1  0.1  10240  1024 ?        SLs  02:13   0:01 /sbin/init splash\n"),
        "{ps}"
    );
    let threads = d.text("sos_commands/process/ps_auxwwwm");
    assert_eq!(threads.lines().filter(|l| l.ends_with(" -")).count(), 6, "{threads}");
    let names = d.text("lastgasp/environ_names.txt");
    assert_eq!(names, "pids 1: HOME TERM\npids 7: DB_PASSWORD PATH\n");
    let figures = d.text("lastgasp/processes.tsv");
    assert!(
        figures.contains("\t/var/www\t/system.slice/web app.service\t4096\t8192\t1000\t2000\t4\t524288\t63000\t0\t"),
        "{figures}"
    );
}

#[test]
fn descriptors_of_a_fake_root() {
    let (_dir, root) = fixture();
    let ctx = context(root, Duration::from_secs(20));
    let d = good(&descriptors::SPEC, &ctx);
    assert_clean(&d);
    let lsof = d.text("sos_commands/process/lsof_-b_M_-n_-l");
    for want in [
        "127.0.0.1:32768->127.0.0.2:3306 (ESTABLISHED)\n",
        "127.0.0.1:80 (LISTEN)\n",
        "/var/log/web\\x01.log (deleted)\n",
        "    1w      REG              254,0    0t4096       123 /var/log/web",
        "[eventpoll]\n",
    ] {
        assert!(lsof.contains(want), "{want} not in\n{lsof}");
    }
    let ss = d.text("sos_commands/networking/ss_-peaonmi");
    assert!(ss.contains("users:((\"init\",pid=1,fd=3))"), "{ss}");
    let netstat = d.text("sos_commands/networking/netstat_-W_-neopa");
    assert!(netstat.contains(" 5000       1/init               off (0.00/0/0)\n"), "{netstat}");
    assert!(netstat.contains("on (0.20/2/0)"), "{netstat}");
    let summary = d.text("lastgasp/descriptors_summary.txt");
    // Four descriptors of four: at the limit.
    assert!(summary.lines().any(|l| l.split_whitespace().take(4).eq(["7", "4", "4", "100"])), "{summary}");
    let groups = good(&cgroups::SPEC, &ctx).text("lastgasp/cgroups.txt");
    assert!(
        groups.contains("/system.slice/web\\x20app.service: memory within 5% of its limit, 1 processes killed"),
        "{groups}"
    );
    let sockets = good(&sockets::SPEC, &ctx);
    assert!(sockets.text("lastgasp/sockets_summary.txt").contains("     3 / ?      127.0.0.1:80  waiting"));
    assert!(matches!(drive(&kernel_log::SPEC, &ctx).ended, Err(CollectError::Skipped(_))));
}

/// Everything of one capture on this machine, with a listener and connections of our own to be found.
#[test]
fn a_process_with_more_descriptors_than_the_cap_is_cut_and_that_is_said() {
    let (dir, root) = fixture();
    let fd = dir.path().join("proc/1/fd");
    for n in 100..70_000 {
        std::os::unix::fs::symlink("socket:[77]", fd.join(n.to_string())).expect("symlink");
    }
    let d = good(&descriptors::SPEC, &context(root, Duration::from_secs(60)));
    let most = lastgasp::host::descriptors::PER_PROCESS_MAX;
    let summary = d.text("lastgasp/descriptors_summary.txt");
    let line = summary.lines().find(|l| l.ends_with(" init")).unwrap_or_else(|| panic!("{summary}"));
    assert_eq!(line.split_whitespace().take(2).collect::<Vec<_>>(), ["1", &format!("{most}+")], "{line}");
    let said =
        d.missing.iter().any(|m| m.what.contains("descriptors of 1 processes") && m.why.contains("beyond 65536"));
    assert!(said, "{:?}", d.missing);
    // Process 7 has a blocked thread: what it has open stands before the crowd of the other.
    let lsof = d.text("sos_commands/process/lsof_-b_M_-n_-l");
    assert!(lsof.lines().count() > most);
    let pid = |l: &str| l.split_whitespace().nth(1).map(str::to_owned);
    assert_eq!(lsof.lines().nth(1).and_then(pid).as_deref(), Some("7"));
}

#[test]
fn our_own_connections_are_found_with_their_owner() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    let waiting = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("our.sock");
    let unix = std::os::unix::net::UnixListener::bind(&path).expect("bind");
    let ctx = context(Root::real(), Duration::from_secs(60));
    let me = std::process::id();

    let d = good(&tasks::SPEC, &ctx);
    assert_clean(&d);
    let ours = d.text("lastgasp/tasks.jsonl");
    let ours = ours.lines().find(|l| l.starts_with(&format!("{{\"pid\":{me},"))).expect("ourselves");
    let ours: serde_json::Value = serde_json::from_str(ours).expect("JSON");
    assert!(ours["rss_kib"].as_u64().is_some_and(|n| n > 100));

    let d = good(&sockets::SPEC, &ctx);
    assert_clean(&d);
    let summary = d.text("lastgasp/sockets_summary.txt");
    let line = summary.lines().find(|l| l.contains(&format!("127.0.0.1:{port}"))).expect("our listener");
    assert!(line.trim_start().starts_with("1 / ") && line.ends_with("waiting"), "{line}");

    let d = good(&descriptors::SPEC, &ctx);
    assert_clean(&d);
    let comm = std::fs::read_to_string("/proc/self/comm").expect("comm");
    let comm = comm.trim();
    let lsof = d.text("sos_commands/process/lsof_-b_M_-n_-l");
    let client_port = client.local_addr().expect("an address").port();
    for name in [
        format!("127.0.0.1:{port} (LISTEN)"),
        format!("127.0.0.1:{client_port}->127.0.0.1:{port} (ESTABLISHED)"),
        format!("127.0.0.1:{port}->127.0.0.1:{client_port} (ESTABLISHED)"),
        format!("{} type=STREAM (LISTEN)", path.display()),
    ] {
        let line = lsof.lines().find(|l| l.ends_with(&name)).unwrap_or_else(|| panic!("no {name}"));
        assert!(line.split_whitespace().any(|w| w == me.to_string()), "{line}");
    }
    let ss = d.text("sos_commands/networking/ss_-peaonmi");
    let line =
        ss.lines().find(|l| l.contains("LISTEN") && l.contains(&format!("127.0.0.1:{port} "))).expect("our listener");
    assert!(line.contains(&format!("users:((\"{comm}\",pid={me},fd=")), "{line}");
    let netstat = d.text("sos_commands/networking/netstat_-W_-neopa");
    // With both ports: others may have connections from the same one.
    let ends = [format!(" 127.0.0.1:{client_port} "), format!(" 127.0.0.1:{port} "), " ESTABLISHED ".into()];
    let line = netstat.lines().find(|l| l.starts_with("tcp ") && ends.iter().all(|e| l.contains(e.as_str())));
    assert!(line.is_some_and(|l| l.contains(&format!(" {me}/{comm} "))), "{line:?}");

    let d = good(&processes::SPEC, &ctx);
    assert_clean(&d);
    let ps = d.text("sos_commands/process/ps_auxww");
    let line = ps.lines().find(|l| l.split_whitespace().nth(1) == Some(&me.to_string())).expect("ourselves");
    let program = std::env::args().next().expect("a name");
    assert!(line.contains(program.rsplit('/').next().expect("a base name")), "{line}");
    drop((server, waiting, unix));
}

#[test]
fn the_log_ring_reads_as_another_library_reads_it() {
    let ctx = context(Root::real(), Duration::from_secs(20));
    let d = drive(&kernel_log::SPEC, &ctx);
    if let Err(e) = &d.ended {
        println!("skipped: {e}");
        let text = e.to_string();
        assert!(!text.contains("denied") || text.contains("CAP_SYSLOG"), "{text}");
        return;
    }
    let text = d.text("sos_commands/kernel/dmesg");
    assert!(text.lines().all(|l| l.starts_with('[') && l.contains("] ")), "{text}");
    match rmesg::logs_raw(rmesg::Backend::Default, false) {
        // The ring grows meanwhile: theirs was read later and holds at least our last lines.
        Ok(theirs) => {
            let last = text.lines().last().and_then(|l| l.split_once("] ")).expect("a line").1;
            assert!(last.is_empty() || theirs.contains(last.trim_end()), "{last}");
        }
        Err(e) => println!("skipped the comparison: {e:?}"),
    }
}

#[test]
fn a_deadline_that_has_passed_ends_the_scan_at_once() {
    let ctx = context(Root::real(), Duration::ZERO);
    let d = drive(&tasks::SPEC, &ctx);
    assert!(d.ended.is_ok());
    assert!(d.missing.iter().any(|m| m.why.contains("out of time")), "{:?}", d.missing);
}

#[test]
fn the_counters_of_memory_are_there() {
    let Source::Files(files) = memory::SPEC.source else { panic!("it copies files") };
    for file in files.iter().filter(|f| !f.optional) {
        let got = Root::real().read(file.path, file.cap_bytes).unwrap_or_else(|e| panic!("{}: {e}", file.path));
        assert!(!got.bytes.is_empty() && !got.truncated, "{}", file.path);
    }
}

/// Not a test: prints what one capture costs, and leaves its entries in `$FIGURES_DIR` where that is set.
/// `cargo test --release --test it -- --ignored --nocapture figures`
#[test]
#[ignore = "a measurement, to be run by hand in a release build"]
fn figures() {
    let cpu = || {
        let t = nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock");
        Duration::new(t.tv_sec() as u64, t.tv_nsec() as u32)
    };
    for round in 0..5 {
        let ctx = context(Root::real(), Duration::from_secs(60));
        let (mut wall_all, mut cpu_all, mut bytes_all) = (Duration::ZERO, Duration::ZERO, 0);
        for spec in
            [&kernel_log::SPEC, &tasks::SPEC, &sockets::SPEC, &processes::SPEC, &descriptors::SPEC, &cgroups::SPEC]
        {
            let (wall_from, cpu_from) = (clock::mono(), cpu());
            let d = drive(spec, &ctx);
            let (wall, used) = (clock::mono().since(wall_from), cpu() - cpu_from);
            if let Err(e) = &d.ended {
                println!("{round} {:12} {e}", spec.name);
            }
            for m in d.missing.iter().filter(|_| round == 0) {
                println!("  missing {}: {}", m.what, m.why);
            }
            if let Some(dir) = std::env::var_os("FIGURES_DIR").filter(|_| round == 0) {
                for item in d.items.values() {
                    let path = std::path::Path::new(&dir).join(&item.path);
                    std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
                    std::fs::write(path, item.content.to_vec()).expect("write");
                }
            }
            let bytes: usize = d.items.values().map(|i| i.content.size() as usize).sum();
            println!(
                "{round} {:12} wall {wall:>10.2?} cpu {used:>10.2?} {bytes:>9} bytes {} missing",
                spec.name,
                d.missing.len()
            );
            wall_all += wall;
            cpu_all += used;
            bytes_all += bytes;
        }
        println!("{round} all          wall {wall_all:>10.2?} cpu {cpu_all:>10.2?} {bytes_all:>9} bytes");
    }
}
