//! Collectors of files, network, disks, logs and helpers: on made-up roots, and for real on this machine.

use lastgasp::capture::context::Shared;
use lastgasp::capture::sink::{Delivery, Item};
use lastgasp::capture::{CollectError, Context, Sink, Source, Spec, files, registry};
use lastgasp::config::Config;
use lastgasp::host::Root;
use lastgasp::model::{Deadline, Event, Incident, IncidentId, Kind, Losses, Missing, Origin, Trigger, Wall};
use lastgasp::sys::clock;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What one collector brought.
struct Run {
    result: Result<(), CollectError>,
    items: Vec<Item>,
    missing: Vec<Missing>,
}

impl Run {
    fn text(&self, path: &str) -> String {
        let item = self.items.iter().find(|i| i.path == path).unwrap_or_else(|| {
            panic!(
                "no entry {path} in {:?}; missing {:?}",
                self.items.iter().map(|i| &i.path).collect::<Vec<_>>(),
                self.missing
            )
        });
        String::from_utf8_lossy(&item.content.to_vec()).into_owned()
    }

    fn has(&self, path: &str) -> bool {
        self.items.iter().any(|i| i.path == path)
    }
}

fn spec(name: &str) -> &'static Spec {
    registry::ALL.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no collector {name}"))
}

fn incident() -> Incident {
    Incident {
        format: 1,
        id: IncidentId("test0001".into()),
        kind: Kind::Other,
        title: "test".into(),
        host: "here".into(),
        captured_on: "here".into(),
        local: true,
        opened_at: Wall(0),
        drill: false,
        boot_id: None,
        kernel: None,
        version: "0".into(),
        trigger: Trigger::Manual { reason: "test".into() },
        events: Vec::new(),
        follows: None,
        events_left_out: 0,
        recurrences: 0,
        losses: Losses::default(),
        limits: Vec::new(),
    }
}

fn run_with(spec: &Spec, root: Root, config: Config) -> Run {
    run_about(spec, root, config, incident(), Arc::default())
}

fn run_about(spec: &Spec, root: Root, config: Config, about: Incident, shared: Arc<Shared>) -> Run {
    let ctx = Context {
        root,
        config: Arc::new(config),
        incident: Arc::new(about),
        deadline: Deadline::after(clock::mono(), Duration::from_secs(60)),
        cancelled: Arc::default(),
        shared,
    };
    let (to, from) = std::sync::mpsc::sync_channel(16);
    // The archive writer's place: takes deliveries while the collector runs.
    let reader = std::thread::spawn(move || {
        let (mut items, mut missing) = (Vec::new(), Vec::new());
        for d in from {
            match d {
                Delivery::Item { item, .. } => items.push(item),
                Delivery::Missing { missing: m, .. } => missing.push(m),
                Delivery::Done { .. } => {}
            }
        }
        (items, missing)
    });
    let mut sink = Sink::new(0, spec.cap_bytes, to);
    let result = match spec.source {
        Source::Files(list) => files::collect(list, &ctx, &mut sink),
        Source::Run(f) => f(&ctx, &mut sink),
    };
    drop(sink);
    let (items, missing) = reader.join().expect("the reader does not panic");
    Run { result, items, missing }
}

fn run(name: &str) -> Run {
    run_with(spec(name), Root::real(), Config::default())
}

/// Output of a tool that may not be installed; says so when it is not.
fn tool(argv: &[&str]) -> Option<String> {
    let Some(program) = lastgasp::sys::exec::find(argv[0]) else {
        eprintln!("SKIPPED: {} is not installed, its output was not compared", argv[0]);
        return None;
    };
    let deadline = Deadline::after(clock::mono(), Duration::from_secs(20));
    let out = lastgasp::sys::exec::run(&program, &argv[1..], deadline, 1 << 20).expect("the tool starts");
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn identity_and_proc_bring_what_readers_look_up_first() {
    let got = run("identity");
    assert!(got.result.is_ok(), "{:?}", got.result);
    assert!(got.text("sos_commands/kernel/uname_-a").starts_with("Linux "));
    assert!(got.text("sos_commands/host/uptime").contains("load average: "));
    assert_eq!(got.text("date").lines().count(), 1);
    let got = run("proc_system");
    assert!(got.result.is_ok(), "{:?}", got.result);
    for path in ["proc/cmdline", "proc/cpuinfo", "proc/net/dev", "proc/self/mountinfo"] {
        assert!(got.has(path), "{path}: {:?}", got.missing);
    }
}

#[test]
fn sysctl_agrees_with_the_files_it_copies() {
    let got = run("sysctl");
    assert!(got.result.is_ok(), "{:?}", got.result);
    let all = got.text("sos_commands/kernel/sysctl_-a");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    assert!(all.contains(&format!("kernel.osrelease = {release}")), "{}", &all[..200]);
    assert_eq!(got.text("proc/sys/kernel/osrelease"), release);
    assert!(!all.contains("stat_refresh") && !all.contains("fastopen_key"));
    assert!(got.items.len() > 100, "{}", got.items.len());
}

#[test]
fn files_are_expanded_capped_and_their_absence_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let put = |path: &str, text: &str| {
        let p = dir.path().join(path);
        std::fs::create_dir_all(p.parent().expect("a parent")).expect("mkdir");
        std::fs::write(p, text).expect("write");
    };
    put("etc/sysctl.d/10-a.conf", "a=1\n");
    put("etc/sysctl.d/20-b.conf", "b=2\n");
    put("etc/sysctl.d/.hidden", "no\n");
    put("usr/lib/os-release", "ID=test\n");
    put("etc/chrony/chrony.conf", "server ntp.example iburst\n");
    put("etc/chrony/chrony.keys", "1 SHA1 HEX:00\n");
    put("etc/machine-id", "0123456789abcdef\n");
    std::fs::create_dir_all(dir.path().join("etc/sysctl.d/dir")).expect("mkdir");
    let got = run_with(spec("etc"), Root::at(dir.path()), Config::default());
    assert!(got.result.is_ok(), "{:?}", got.result);
    let mut names: Vec<&str> = got.items.iter().map(|i| i.path.as_str()).collect();
    names.sort_unstable();
    let want = ["etc/chrony/chrony.conf", "etc/sysctl.d/10-a.conf", "etc/sysctl.d/20-b.conf", "usr/lib/os-release"];
    assert_eq!(names, want);
    assert!(got.missing.is_empty(), "{:?}", got.missing);

    let got = run_with(spec("proc_system"), Root::at(dir.path()), Config::default());
    assert!(got.items.is_empty());
    assert!(got.missing.iter().any(|m| m.what == "/proc/cpuinfo"), "{:?}", got.missing);
    assert!(!got.missing.iter().any(|m| m.what == "/proc/modules"), "optional: {:?}", got.missing);
}

#[test]
fn links_and_addresses_agree_with_ip() {
    let got = run("network");
    assert!(got.result.is_ok(), "{:?}", got.result);
    let ours: serde_json::Value = serde_json::from_str(&got.text("lastgasp/network.json")).expect("JSON");
    let Some(theirs) = tool(&["ip", "-j", "-d", "-s", "address"]) else { return };
    let theirs: serde_json::Value = serde_json::from_str(&theirs).expect("ip -j prints JSON");
    let links = ours["links"].as_array().expect("links");
    let all = theirs.as_array().expect("a list");
    assert_eq!(links.len(), all.len());
    for (a, b) in links.iter().zip(all) {
        let name = &b["ifname"];
        assert_eq!(&a["name"], name);
        for (ours, theirs) in [
            ("index", "ifindex"),
            ("mtu", "mtu"),
            ("qdisc", "qdisc"),
            ("state", "operstate"),
            ("address", "address"),
            ("broadcast", "broadcast"),
            ("hardware_type", "link_type"),
            ("promiscuity", "promiscuity"),
            ("min_mtu", "min_mtu"),
            ("max_mtu", "max_mtu"),
            ("tx_queues", "num_tx_queues"),
            ("gso_max_size", "gso_max_size"),
            ("gso_max_segs", "gso_max_segs"),
        ] {
            assert_eq!(a[ours], b[theirs], "{name} {ours}");
        }
        let addresses: Vec<_> =
            ours["addresses"].as_array().expect("addresses").iter().filter(|x| x["interface"] == a["index"]).collect();
        let theirs = b["addr_info"].as_array().expect("addr_info");
        assert_eq!(addresses.len(), theirs.len(), "{name}");
        for (x, y) in addresses.iter().zip(theirs) {
            assert_eq!((&x["address"], &x["prefix"], &x["scope"]), (&y["local"], &y["prefixlen"], &y["scope"]));
        }
    }
}

/// Text as words, line by line; what counters may change meanwhile is left out by the caller.
fn words(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|l| l.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn network_texts_read_like_those_of_ip() {
    let got = run("network");
    for (entry, argv) in [
        ("ip_-d_address", &["ip", "-d", "address"][..]),
        ("ip_route_show_table_all", &["ip", "route", "show", "table", "all"]),
        ("ip_-4_rule_list", &["ip", "-4", "rule", "list"]),
    ] {
        let Some(theirs) = tool(argv) else { return };
        let ours = got.text(&format!("sos_commands/networking/{entry}"));
        // Newer releases of ip print more attributes on the lines of a link; the lines above are stable.
        let kept = |t: &str| -> Vec<Vec<String>> {
            words(t).into_iter().filter(|w| !w.iter().any(|w| w == "numtxqueues")).collect()
        };
        assert_eq!(kept(&ours), kept(&theirs), "{entry}");
    }
}

#[test]
fn no_two_entries_share_a_path() {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for spec in registry::ALL {
        if spec.name == "disk_benchmark" {
            continue; // Runs in its own test.
        }
        for item in run_with(spec, Root::real(), Config::default()).items {
            assert!(!item.path.starts_with('/') && !item.path.split('/').any(|c| c == ".."), "{}", item.path);
            if let Some(other) = seen.insert(item.path.clone(), spec.name) {
                panic!("{} from {other} and {}", item.path, spec.name);
            }
        }
    }
    assert!(Path::new("/proc/self/stat").exists() && !seen.is_empty());
}

#[test]
fn df_and_mount_agree_with_the_tools() {
    let got = run("mounts_df");
    assert!(got.result.is_ok(), "{:?}", got.result);
    let ours = words(&got.text("sos_commands/filesys/df_-al_-x_autofs"));
    let root = ours.iter().find(|w| w.last().is_some_and(|l| l == "/")).expect("a row for /");
    let Some(theirs) = tool(&["df", "-al", "-x", "autofs"]) else { return };
    let theirs = words(&theirs);
    let df = theirs.iter().rfind(|w| w.last().is_some_and(|l| l == "/")).expect("df has a row for /");
    assert_eq!((&root[0], &root[1]), (&df[0], &df[1]), "{root:?} {df:?}");
    // Other programs write meanwhile: a hundredth of the disk is allowed for.
    let n = |w: &str| w.parse::<f64>().expect("a number");
    for i in [2, 3] {
        assert!((n(&root[i]) - n(&df[i])).abs() < n(&df[1]) / 100.0, "{root:?} {df:?}");
    }
    // Same file systems, in the same order.
    let points = |t: &[Vec<String>]| t.iter().filter_map(|w| w.last().cloned()).collect::<Vec<_>>();
    assert_eq!(points(&ours), points(&theirs));
    let json: serde_json::Value = serde_json::from_str(&got.text("lastgasp/mounts.json")).expect("JSON");
    assert!(json.as_array().is_some_and(|a| a.iter().any(|m| m["at"] == "/" && m["reach"] == "local")));
}

#[test]
fn block_devices_agree_with_lsblk() {
    let got = run("block_devices");
    if matches!(got.result, Err(CollectError::Failed { .. })) {
        eprintln!("SKIPPED: no /sys/block here: {:?}", got.result);
        return;
    }
    assert!(got.result.is_ok(), "{:?}", got.result);
    let Some(theirs) = tool(&["lsblk"]) else { return };
    // Name, number, size, read-only and type; lsblk lists devices in the order of their numbers.
    let rows = |t: &str| {
        let mut r: Vec<Vec<String>> = words(t).into_iter().skip(1).map(|w| w.into_iter().take(6).collect()).collect();
        r.retain(|w| w.get(3).is_some_and(|size| size != "0B"));
        r.sort();
        r
    };
    let ascii = theirs.replace("├─", "|-").replace("└─", "`-");
    assert_eq!(rows(&got.text("sos_commands/block/lsblk")), rows(&ascii));
}

fn server() -> Root {
    Root::at(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/host-net/server"))
}

#[test]
fn a_server_with_raid_and_a_sick_disk_is_described() {
    let got = run_with(spec("block_devices"), server(), Config::default());
    assert!(got.result.is_ok(), "{:?}", got.result);
    let tree = got.text("sos_commands/block/lsblk");
    let rows = words(&tree);
    let row = |name: &str| rows.iter().find(|r| r[0] == name).unwrap_or_else(|| panic!("no {name} in\n{tree}"));
    assert_eq!(row("sda")[1..6], ["8:0", "0", "3.6T", "0", "disk"]);
    assert_eq!(row("`-md0")[5..], ["raid1", "/srv"]);
    assert_eq!(row("`-vg-root")[5..], ["dm", "/"]);
    assert_eq!(row("`-sdb1")[5..], ["part", "/data", "one"]);
    assert!(!tree.contains("loop0"), "{tree}");
    let disks: serde_json::Value = serde_json::from_str(&got.text("lastgasp/disks.json")).expect("JSON");
    let sdb = disks.as_array().expect("disks").iter().find(|d| d["name"] == "sdb").expect("sdb");
    assert_eq!((&sdb["errors"], &sdb["timeouts"], &sdb["in_flight"]), (&7.into(), &2.into(), &[0, 3].into()));
    assert_eq!((&sdb["model"], &sdb["scheduler"]), (&"Example Disk".into(), &"mq-deadline".into()));
    assert!(sdb["physical"] == true && sdb["write_cache"].is_null());
    assert_eq!(got.text("sys/block/sdb/device/ioerr_cnt"), "0x7\n");
}

#[test]
fn mounts_of_another_root_are_listed_and_never_asked() {
    let got = run_with(spec("mounts_df"), server(), Config::default());
    assert!(got.result.is_ok(), "{:?}", got.result);
    let text = got.text("sos_commands/filesys/mount_-l");
    assert!(text.contains("/dev/sdb1 on /data one type ext4 (ro,noatime)\n"), "{text}");
    let df = got.text("sos_commands/filesys/df_-al_-x_autofs");
    assert!(!df.contains("filer:") && !df.contains("/net\n"), "{df}");
    assert!(got.missing.iter().any(|m| m.what == "/mnt/nfs" && m.why.contains("nfs4")), "{:?}", got.missing);
    let json = got.text("lastgasp/mounts.json");
    assert!(json.contains("asking would mount it"), "{json}");
}

#[test]
fn stuck_requests_are_told_and_the_disk_becomes_a_suspect() {
    let got = run_with(spec("disk_rates"), server(), Config::default());
    assert!(got.result.is_ok(), "{:?}", got.result);
    let text = got.text("lastgasp/disk_rates.txt");
    let line = |d: &str| text.lines().find(|l| l.starts_with(d)).unwrap_or_else(|| panic!("no {d} in\n{text}"));
    assert!(line("sdb").contains("STUCK") && !line("sda").contains("STUCK"), "{text}");
}

#[test]
fn the_benchmark_measures_or_says_why_not() {
    let got = run("disk_benchmark");
    match &got.result {
        Err(CollectError::Skipped(why)) => eprintln!("SKIPPED: {why}"),
        Err(CollectError::Failed { .. }) => {
            assert!(!got.missing.is_empty());
            let text = got.text("lastgasp/disk_benchmark.txt");
            eprintln!("SKIPPED: no disk can be read here: {text}");
            assert!(text.contains("; reading a disk needs root") || text.contains("not measured"), "{text}");
        }
        Ok(()) => assert!(got.text("lastgasp/disk_benchmark.txt").contains("MB/s sequential")),
        Err(other) => panic!("{other:?}"),
    }
    let shared = Shared::default();
    let all = lastgasp::host::disks::names(&Root::real()).unwrap_or_default();
    shared.suspect_disks.lock().expect("nobody panicked").extend(all);
    let got = run_about(spec("disk_benchmark"), Root::real(), Config::default(), incident(), Arc::new(shared));
    match &got.result {
        Err(CollectError::Skipped(why)) => eprintln!("SKIPPED: {why}"),
        other => {
            assert!(matches!(other, Err(CollectError::Failed { .. })), "{other:?}");
            let text = got.text("lastgasp/disk_benchmark.txt");
            assert!(text.lines().all(|l| l.contains("the incident is about this disk")), "{text}");
        }
    }
    // The trigger names a disk: it alone is left out, unless the config asks for it.
    let Some(disk) = std::fs::read_dir("/sys/block").ok().and_then(|d| {
        let mut names = d.filter_map(|e| e.ok()?.file_name().into_string().ok());
        names.find(|n| Path::new(&format!("/sys/block/{n}/device")).exists())
    }) else {
        return;
    };
    let mut event = Event::blank(1, Kind::IoError, "host".into(), Origin::Kmsg);
    event.details.insert("device".into(), disk.clone());
    let about = || Incident { trigger: Trigger::Event(Box::new(event.clone())), ..incident() };
    let got = run_about(spec("disk_benchmark"), Root::real(), Config::default(), about(), Arc::default());
    let text = got.text("lastgasp/disk_benchmark.txt");
    assert!(text.contains(&format!("{disk}: not measured: the incident is about this disk")), "{text}");
    let mut asked = Config::default();
    asked.capture.benchmark_suspects = true;
    let got = run_about(spec("disk_benchmark"), Root::real(), asked, about(), Arc::default());
    assert!(!got.text("lastgasp/disk_benchmark.txt").contains("not measured"));
    let mut off = Config::default();
    off.capture.disk_benchmark = false;
    let got = run_with(spec("disk_benchmark"), Root::real(), off);
    assert!(matches!(&got.result, Err(CollectError::Skipped(w)) if w.contains("capture.disk_benchmark")));
}

#[test]
fn logs_are_tailed_once_each_whoever_named_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = dir.path().join("var/log/nginx");
    std::fs::create_dir_all(&log).expect("mkdir");
    let long: String = (0..200_000).map(|i| format!("line {i}\n")).collect();
    std::fs::write(log.join("error.log"), &long).expect("write");
    std::fs::write(dir.path().join("var/log/app-1.log"), "one\n").expect("write");
    std::fs::write(dir.path().join("var/log/auth.log"), "secret\n").expect("write");
    std::fs::create_dir_all(dir.path().join("srv/console")).expect("mkdir");
    std::fs::write(dir.path().join("srv/console/db1.log"), "console\n").expect("write");
    let mut config = Config::default();
    config.capture.logs =
        ["/var/log/app-[0-9].log", "/var/log/app*", "/nowhere/*.log", "../etc/passwd"].map(str::to_owned).to_vec();
    config.consoles = vec![lastgasp::config::ConsoleConfig { path: "/srv/console/*.log".into(), host: None }];
    let mut about = incident();
    let trigger = lastgasp::model::Event {
        severity: lastgasp::model::Severity::Fatal,
        rule: "web".into(),
        title: "web is down".into(),
        signature: lastgasp::model::Signature("0".into()),
        details: [("unit".to_owned(), "nginx.service".to_owned())].into(),
        ..lastgasp::model::Event::blank(1, Kind::ServiceDown, "here".into(), lastgasp::model::Origin::Kmsg)
    };
    about.trigger = Trigger::Event(Box::new(trigger));
    let got = run_about(spec("logs"), Root::at(dir.path()), config, about, Arc::default());
    assert!(got.result.is_ok(), "{:?}", got.result);
    let mut names: Vec<&str> = got.items.iter().map(|i| i.path.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["srv/console/db1.log", "var/log/app-1.log", "var/log/nginx/error.log"]);
    let tail = got.text("var/log/nginx/error.log");
    assert!(tail.len() <= 1 << 20 && tail.starts_with("line ") && tail.ends_with("line 199999\n"));
    for what in ["/nowhere/*.log", "../etc/passwd"] {
        assert!(got.missing.iter().any(|m| m.what == what), "{what}: {:?}", got.missing);
    }
}

#[test]
fn commands_keep_their_output_and_tell_their_failure() {
    let command = |name: &str, argv: &[&str], timeout_ms| lastgasp::config::CommandConfig {
        name: name.into(),
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        timeout_ms,
        cap_bytes: 8,
    };
    let mut config = Config::default();
    config.capture.commands = vec![
        command("fails", &["/bin/sh", "-c", "echo 0123456789; echo no such thing >&2; exit 3"], 20_000),
        command("twice", &["/bin/echo", "a"], 20_000),
        command("twice", &["echo", "a"], 20_000),
        command("absent", &["no-such-program-anywhere"], 20_000),
        command("hangs", &["/bin/sh", "-c", "tail -f /dev/null"], 100),
    ];
    let got = run_with(spec("commands"), Root::real(), config);
    assert!(got.result.is_ok(), "{:?}", got.result);
    let cut = got.items.iter().find(|i| i.truncated).expect("one is cut");
    assert_eq!(cut.content.to_vec(), b"01234567");
    assert_eq!(got.text("sos_commands/lastgasp_commands/echo_a"), "a\n");
    assert_eq!(got.text("sos_commands/lastgasp_commands/echo_a.1"), "a\n");
    let why: Vec<&str> = got.missing.iter().map(|m| m.why.as_str()).collect();
    assert_eq!(why.len(), 3, "{why:?}");
    assert!(why[0] == "exit code 3: no such thing" && why[1].contains("not installed"), "{why:?}");
    assert!(why[2].starts_with("killed after "), "{why:?}");
}

#[test]
fn pages_are_fetched_capped_and_a_silent_server_is_left() {
    use std::io::{BufRead, Write};
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
    let port = server.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in server.incoming() {
            let mut stream = stream.expect("a connection");
            // The whole head: what stays unread when the connection is closed becomes a reset.
            let head: Vec<String> =
                std::io::BufReader::new(&stream).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
            let line = head.first().cloned().unwrap_or_default();
            if line.starts_with("GET /ok ") {
                // The head arrives in two pieces, its end across both.
                stream.write_all(b"HTTP/1.1 200 OK\r\nA: b\r\n\r").expect("write");
                stream.write_all(b"\nBusyWorkers: 7\n").expect("write");
            } else if line.starts_with("GET /sick ") {
                stream.write_all(b"HTTP/1.1 503 Sick\r\n\r\nsorry").expect("write");
            } else if line.starts_with("GET /odd ") {
                stream.write_all(b"hello").expect("write");
            } else {
                held.push(stream);
            }
        }
    });
    let url = |name: &str, path: &str, timeout_ms| lastgasp::config::UrlConfig {
        name: name.into(),
        url: if path.contains("://") { path.into() } else { format!("http://127.0.0.1:{port}{path}") },
        timeout_ms,
        cap_bytes: 11,
    };
    let mut config = Config::default();
    config.capture.urls = vec![
        url("status", "/ok", 20_000),
        url("sick", "/sick", 20_000),
        url("odd", "/odd", 20_000),
        url("silent", "/silent", 100),
        url("tls", "https://localhost/", 20_000),
    ];
    let got = run_with(spec("urls"), Root::real(), config);
    assert!(got.result.is_ok(), "{:?}", got.result);
    assert_eq!(got.text("lastgasp/urls/status"), "BusyWorkers");
    assert_eq!(got.text("lastgasp/urls/sick"), "sorry");
    let why: Vec<&str> = got.missing.iter().map(|m| m.why.as_str()).collect();
    assert_eq!(why.len(), 4, "{why:?}");
    assert_eq!(why[0], "answered with status 503");
    assert!(why[1].contains("not HTTP") && why[2].contains("timed out") && why[3].contains("https"), "{why:?}");
}

#[test]
fn names_resolve_and_failures_have_words() {
    let mut config = Config::default();
    // RFC 6761: `invalid` never resolves, whatever server is asked; without a network it fails as well.
    config.capture.resolve = vec!["localhost".into(), "does-not-exist.invalid".into()];
    let got = run_with(spec("dns"), Root::real(), config);
    assert!(got.result.is_ok(), "{:?}", got.result);
    let json: serde_json::Value = serde_json::from_str(&got.text("lastgasp/dns.json")).expect("JSON");
    assert!(json[0]["addresses"].as_array().is_some_and(|a| !a.is_empty()), "{json}");
    assert!(json[1]["error"].is_string(), "{json}");
}

#[test]
fn the_state_of_the_clock_is_told() {
    let got = run("time_sync");
    assert!(got.result.is_ok(), "{:?}", got.result);
    let json: serde_json::Value = serde_json::from_str(&got.text("lastgasp/time.json")).expect("JSON");
    assert!(json["synchronised"].is_boolean() && json["max_error_us"].is_number(), "{json}");
}

#[test]
fn helpers_that_are_not_there_are_skipped_with_a_reason() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    for name in ["systemd", "journal", "firewall", "network", "time_sync", "dns", "urls", "commands"] {
        let got = run_with(spec(name), Root::at(empty.path()), Config::default());
        assert!(matches!(&got.result, Err(CollectError::Skipped(why)) if !why.is_empty()), "{name}: {:?}", got.result);
        assert!(got.items.is_empty() && got.missing.is_empty(), "{name}");
    }
}

/// Why a test that needs root and its tools does not run; printed, because silence would read as success.
fn lacks(device: &str, tools: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".into());
    }
    if let Err(e) = std::fs::OpenOptions::new().read(true).write(true).open(device) {
        return Some(format!("{device}: {e}"));
    }
    tools.iter().find(|t| lastgasp::sys::exec::find(t).is_none()).map(|t| format!("{t} is not installed"))
}

/// A FUSE file system whose server never answers: the real hang, in a mount namespace of its own.
#[test]
fn a_file_system_that_hangs_is_named_and_the_rest_is_asked() {
    const INNER: &str = "LASTGASP_TEST_IN_NAMESPACE";
    if std::env::var_os(INNER).is_none() {
        if let Some(why) = lacks("/dev/fuse", &["unshare"]) {
            eprintln!("SKIPPED: a hanging file system was not tried: {why}");
            return;
        }
        let me = std::env::current_exe().expect("the test itself");
        let out = std::process::Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(me)
            .args([
                "--exact",
                "collectors_host::a_file_system_that_hangs_is_named_and_the_rest_is_asked",
                "--nocapture",
            ])
            .env(INNER, "1")
            .output()
            .expect("unshare starts");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{}{said}", String::from_utf8_lossy(&out.stdout));
        eprint!("{}", said.lines().filter(|l| l.starts_with("hung: ")).map(|l| format!("{l}\n")).collect::<String>());
        return;
    }
    use nix::mount::{MsFlags, mount};
    use std::os::fd::AsRawFd;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("/dev/fuse");
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    mount(Some("deaf"), dir.path(), Some("fuse"), MsFlags::empty(), Some(options.as_str())).expect("mount");
    let began = clock::mono();
    let got = run("mounts_df");
    let took = clock::mono().since(began);
    a_disk_that_hangs_is_given_up(dir.path());
    // Closing the server's end fails the request: the thread left behind returns, and the directory can go.
    drop(server);
    let _ = nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH);
    assert!(got.result.is_ok(), "{:?}", got.result);
    let at = dir.path().to_string_lossy();
    let hung = got.missing.iter().find(|m| m.what == at).unwrap_or_else(|| panic!("{:?}", got.missing));
    eprintln!("hung: {hung:?} after {took:?}");
    assert!(hung.why.contains("no answer in 30") && hung.why.contains("fuse"), "{hung:?}");
    let df = words(&got.text("sos_commands/filesys/df_-al_-x_autofs"));
    let row = |m: &str| df.iter().find(|w| w.last().is_some_and(|l| l == m)).expect("a row").clone();
    assert_eq!(row(&at)[1..4], ["-", "-", "-"]);
    assert!(row("/")[1].parse::<u64>().is_ok(), "the others were asked: {df:?}");
    assert!(got.text("lastgasp/mounts.json").contains("not_answering"));
}

/// A made-up disk whose node lies on the file system that never answers.
fn a_disk_that_hangs_is_given_up(deaf: &Path) {
    use nix::mount::{MsFlags, mount};
    for over in ["/sys/block", "/dev"] {
        mount(Some("tmpfs"), over, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a tmpfs in the namespace");
    }
    std::fs::create_dir_all("/sys/block/hung0").expect("mkdir");
    std::os::unix::fs::symlink("../nowhere", "/sys/block/hung0/device").expect("symlink");
    std::os::unix::fs::symlink(deaf.join("disk"), "/dev/hung0").expect("symlink");
    let began = clock::mono();
    let got = run("disk_benchmark");
    let took = clock::mono().since(began);
    assert!(matches!(got.result, Err(CollectError::Failed { .. })), "{:?}", got.result);
    let text = got.text("lastgasp/disk_benchmark.txt");
    assert!(text.starts_with("hung0: gave up, a read did not return: no answer in 20"), "{text}");
    assert!(text.contains("wchan="), "{text}");
    eprintln!("hung: {} after {took:?}", text.trim());
}

/// The benchmark on a real block device, beside `hdparm -t` where that is installed.
#[test]
fn a_loop_device_is_measured() {
    use lastgasp::host::disk_bench::{Plan, Tally, measure};
    if let Some(why) = lacks("/dev/loop-control", &["losetup"]) {
        eprintln!("SKIPPED: no block device was measured: {why}");
        return;
    }
    struct Loop(String);
    impl Drop for Loop {
        fn drop(&mut self) {
            tool(&["losetup", "-d", &self.0]);
        }
    }
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    std::fs::write(file.path(), vec![5; 64 << 20]).expect("write");
    let path = file.path().to_str().expect("UTF-8").to_owned();
    let device = tool(&["losetup", "--find", "--show", "--direct-io=on", "--read-only", &path]).unwrap_or_default();
    if !device.starts_with("/dev/loop") {
        eprintln!("SKIPPED: losetup attached nothing");
        return;
    }
    let device = Loop(device.trim().to_owned());
    let mut tally = Tally::default();
    measure(Path::new(&device.0), &Plan::default(), &mut |s| {
        tally.add(s);
        true
    });
    assert_eq!(tally.failed, None);
    let f = tally.figures();
    assert_eq!(tally.size_bytes, Some(64 << 20));
    assert!(f.sequential_bytes_per_s.is_some_and(|r| r > 0.0) && f.random.is_some_and(|r| r.reads > 0), "{f:?}");
    eprintln!("{}: {}", device.0, f.text());
    if let Some(theirs) = tool(&["hdparm", "-t", "--direct", &device.0]) {
        eprintln!("hdparm: {}", theirs.trim());
    }
}

mod any_bytes {
    use lastgasp::capture::{files, mangle};
    use lastgasp::host::{diskstats, mounts, sysctl};
    use proptest::prelude::*;

    proptest! {
        /// Whatever a table holds, reading it ends and does not panic.
        #[test]
        fn tables_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let (mounts, _) = mounts::parse(&bytes);
            let rows: Vec<_> = mounts.iter().map(|mount| mounts::Row { mount, space: None }).collect();
            let _ = (mounts::mount_text(&mounts), mounts::df_blocks(&rows), mounts::df_inodes(&rows));
            let _ = diskstats::parse(&bytes);
            let mut out = Vec::new();
            sysctl::lines("/proc/sys/kernel/x", &bytes, &mut out);
        }

        /// The same with the separators that the parsers look for.
        #[test]
        fn tables_with_their_own_separators_are_survived(text in "[0-9:/ \\\\a,.\n-]{0,400}") {
            let _ = mounts::parse(text.as_bytes());
            let _ = diskstats::parse(text.as_bytes());
        }

        #[test]
        fn patterns_end(pattern in "[a*?\\[\\]!-]{0,24}", name in "[ab.\\[-]{0,24}") {
            let _ = files::matches(pattern.as_bytes(), name.as_bytes());
            prop_assert!(files::matches(b"*", name.as_bytes()) || name.starts_with('.'));
        }

        /// An entry name is one component and leads nowhere else.
        #[test]
        fn names_stay_where_they_are(text in any::<String>()) {
            let name = mangle::plain(&text);
            prop_assert!(!name.is_empty() && !name.contains('/') && name != ".." && name != "." && name.len() <= 255);
        }
    }
}
