//! `host` on a fake root and against an independent reading of our own process.

use lastgasp::host::sockets::{LISTEN, Proto, Sockets};
use lastgasp::host::tasks::Table;
use lastgasp::host::{Root, cgroup};
use lastgasp::model::Deadline;
use lastgasp::sys::clock;
use std::path::Path;
use std::time::Duration;

/// The fake root, laid out in a directory that lasts as long as the first of the pair: its symlinks (`/proc/PID/fd` points to `socket:[5000]`) are listed in a
/// file, because a package may not have links that lead nowhere.
pub fn fixture() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/host/root1");
    copy(&from, dir.path());
    for line in std::fs::read_to_string(from.join("LINKS")).expect("the list of links").lines() {
        let (link, target) = line.split_once(" -> ").expect("`link -> target`");
        let link = dir.path().join(link);
        std::fs::create_dir_all(link.parent().expect("a parent")).expect("mkdir");
        std::os::unix::fs::symlink(target, link).expect("symlink");
    }
    let root = Root::at(dir.path());
    (dir, root)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("mkdir");
    for entry in std::fs::read_dir(from).expect("the fixture") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copy");
        }
    }
}

#[test]
fn a_hostile_process_table_is_read_as_it_is() {
    let (_dir, root) = fixture();
    let table = Table::read(&root).expect("the fixture");
    let pids: Vec<i32> = table.processes.iter().map(|p| p.stat.pid).collect();
    assert_eq!(pids, [1, 7, 20, 30]);
    assert_eq!(table.hidden, 2);
    assert_eq!((table.machine.boot_s, table.machine.mem_total_kib), (Some(1_795_400_000), Some(1_000_000)));
    let web = table.get(7).expect("pid 7");
    assert_eq!((&web.stat.comm[..], web.stat.state), (&b"a) R 1\n(b\x1b[2J"[..], b'S'));
    assert_eq!((web.status.uid, web.oom_score_adj), (Some(33), Some(0)));
    assert_eq!(web.cgroup.as_deref(), Some(&b"/system.slice/web app.service"[..]));
    let tids: Vec<(i32, u8)> = web.threads.iter().map(|t| (t.stat.pid, t.stat.state)).collect();
    assert!(tids.contains(&(8, b'D')) && tids.contains(&(9, b'S')) && tids.len() == 2, "{tids:?}");
    let stuck = web.threads.iter().find(|t| t.stat.pid == 8).expect("tid 8");
    assert_eq!(stuck.wait.wchan.as_deref(), Some(&b"rq_qos_wait"[..]));
    assert!(stuck.wait.stack.as_deref().is_some_and(|s| s.starts_with(b"[<0>] rq_qos_wait")));
    assert!(table.get(20).is_some_and(|p| p.stat.is_kernel_thread() && p.oom_score_adj.is_none()));
}

#[test]
fn our_own_process_reads_as_another_library_reads_it() {
    let table = Table::read(&Root::real()).expect("/proc");
    let me = table.get(std::process::id() as i32).expect("ourselves");
    let oracle = procfs::process::Process::myself().expect("procfs");
    let stat = oracle.stat().expect("stat");
    assert_eq!(&me.stat.comm[..], stat.comm.as_bytes());
    assert_eq!((me.stat.ppid, me.stat.pgrp, me.stat.session), (stat.ppid, stat.pgrp, stat.session));
    assert_eq!((me.stat.start, me.stat.nice, me.stat.priority), (stat.starttime, stat.nice, stat.priority));
    assert_eq!(me.stat.policy, u64::from(stat.policy.expect("Linux 2.6")));
    assert!(me.stat.rss_pages > 0 && stat.utime >= me.stat.utime);
    let status = oracle.status().expect("status");
    assert_eq!(
        (me.status.uid, me.status.euid, me.status.gid),
        (Some(status.ruid), Some(status.euid), Some(status.rgid))
    );
    assert_eq!(me.status.tgid, Some(status.tgid));
    assert!(me.status.voluntary <= status.voluntary_ctxt_switches);
    assert_eq!(me.oom_score_adj, Some(oracle.oom_score_adj().expect("oom_score_adj").into()));
    let limits = oracle.limits().expect("limits").max_open_files;
    let text = std::fs::read("/proc/self/limits").expect("limits");
    let ours = lastgasp::host::limits::parse_limits(&text).open_files.expect("the line");
    let value = |l| match l {
        procfs::process::LimitValue::Value(n) => Some(n),
        procfs::process::LimitValue::Unlimited => None,
    };
    assert_eq!((ours.soft, ours.hard), (value(limits.soft_limit), value(limits.hard_limit)));
    // Every pid that another reading finds twice around ours, ours has too.
    let all = |()| procfs::process::all_processes().expect("procfs").flatten().map(|p| p.pid).collect::<Vec<_>>();
    let before = all(());
    let table = Table::read(&Root::real()).expect("/proc");
    let after = all(());
    let missed: Vec<_> = before.iter().filter(|p| after.contains(p) && table.get(**p).is_none()).collect();
    assert!(missed.len() <= table.hidden, "{missed:?}");
}

#[test]
fn sockets_of_a_fake_root_come_from_its_files() {
    let (_dir, root) = fixture();
    let s = Sockets::read(&root, Deadline::after(clock::mono(), Duration::from_secs(5)));
    assert_eq!((s.inet.len(), s.unix.len()), (2, 1));
    let listener = s.inet.iter().find(|i| i.state == LISTEN).expect("the listener");
    assert_eq!((listener.local_port, listener.rqueue, listener.wqueue), (80, 3, None));
    assert_eq!(s.unix[0].name.as_deref(), Some(&b"/run/with blank.sock"[..]));
}

#[test]
fn sock_diag_and_proc_net_tell_the_same_of_our_listener() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    // Not accepted: they wait in the queue.
    let clients: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect")).collect();
    let deadline = Deadline::after(clock::mono(), Duration::from_secs(20));
    let tables = [Sockets::read(&Root::real(), deadline), Sockets::read_proc(&Root::real())];
    for s in &tables {
        let l = s
            .inet
            .iter()
            .find(|i| i.proto == Proto::Tcp && i.state == LISTEN && i.local_port == port)
            .expect("our listener");
        assert_eq!(l.rqueue, 3);
        assert!(!l.accept_queue_full());
        let ours = s.inet.iter().filter(|i| i.remote_port == port).collect::<Vec<_>>();
        assert_eq!(ours.len(), clients.len());
        for c in &clients {
            let local = c.local_addr().expect("an address").port();
            assert!(ours.iter().any(|i| i.local_port == local && i.inode != 0), "{local}");
        }
    }
    let diag = tables[0].inet.iter().find(|i| i.remote_port == port).expect("a client");
    // Where the kernel answers sock_diag, it gives the TCP figures.
    if tables[0].from == lastgasp::host::sockets::From::SockDiag {
        assert!(diag.info.as_ref().is_some_and(|i| i.cwnd > 0 && i.pmtu > 0), "{diag:?}");
        assert!(diag.skmem.is_some_and(|m| m[1] > 0));
    } else {
        println!("skipped: sock_diag is refused here, only /proc/net was compared");
    }
}

#[test]
fn control_groups_of_a_fake_root() {
    let (_dir, root) = fixture();
    let version = cgroup::version(&root).expect("version 2");
    assert_eq!(version, cgroup::Version::V2);
    let (paths, cut) = cgroup::paths(&root, version);
    assert_eq!(paths, ["", "/system.slice", "/system.slice/web app.service"]);
    assert!(!cut);
    let g = cgroup::read(&root, version, &paths[2]);
    assert_eq!((g.memory, g.oom_kill, g.anon), (Some(104_857_600), Some(1), Some(94_371_840)));
    assert_eq!((g.pressure_memory, g.written_bytes, g.swap), (Some(5510), Some(4096), None));
}
