//! One failure has one signature on every host, boot and build; two failures have two.

use super::events;
use lastgasp::model::Event;

/// An oops with a trace; the parts that differ between occurrences are parameters.
struct Oops {
    stamp: &'static str,
    address: &'static str,
    comm: &'static str,
    pid: u32,
    release: &'static str,
    counter: &'static str,
    frames: &'static [&'static str],
}

const BASE: Oops = Oops {
    stamp: "[  100.000000] ",
    address: "0000000000000010",
    comm: "worker",
    pid: 42,
    release: "6.6.30",
    counter: "session_read+0x1a/0x40",
    frames: &[
        "session_poll+0x1a/0x40",
        "session_wait+0x2a/0x80",
        "net_loop+0x3a/0x90",
        "vfs_read+0x1a/0x40",
        "ksys_read+0x5f/0xe0",
        "do_syscall_64+0x38/0x90",
        "entry_SYSCALL_64_after_hwframe+0x6e/0xd8",
    ],
};

impl Oops {
    fn event(&self) -> Event {
        let p = self.stamp;
        let mut text = format!(
            "{p}BUG: kernel NULL pointer dereference, address: {}\n{p}#PF: supervisor read access in kernel mode\n\
             {p}Oops: 0000 [#1] PREEMPT SMP\n{p}CPU: 1 PID: {} Comm: {} Not tainted {} #1\n{p}RIP: 0010:{}\n{p}Call Trace:\n{p} <TASK>\n",
            self.address, self.pid, self.comm, self.release, self.counter
        );
        for f in self.frames {
            text.push_str(&format!("{p} {f}\n"));
        }
        text.push_str(&format!("{p} </TASK>\n{p}---[ end trace 0000000000000000 ]---\n"));
        let mut found = events(&text);
        assert_eq!(found.len(), 1, "{text}");
        found.remove(0)
    }
}

#[test]
fn one_bug_has_one_signature_wherever_it_happens() {
    let base = BASE.event();
    let same: &[(&str, Oops)] = &[
        ("another boot", Oops { stamp: "[99999.123456] ", address: "ffff888012345678", pid: 7, comm: "a b", ..BASE }),
        ("another carrier", Oops { stamp: "Nov  9 10:19:35 db8 kernel: ", ..BASE }),
        ("another build: offsets", Oops { counter: "session_read+0x77/0x140", ..BASE }),
        (
            "another compiler: suffixes",
            Oops {
                counter: "session_read.isra.0+0x1a/0x40",
                frames: &[
                    "session_poll.constprop.0+0x1a/0x40",
                    "session_wait.part.0+0x2a/0x80",
                    "net_loop.cold+0x3a/0x90",
                    "vfs_read+0x1a/0x40",
                ],
                ..BASE
            },
        ),
        (
            "another kernel: layers of the entry",
            Oops {
                release: "4.14.0",
                frames: &[
                    "session_poll+0x1a/0x40",
                    "session_wait+0x2a/0x80",
                    "net_loop+0x3a/0x90",
                    "new_sync_read+0x1a/0x40",
                    "__vfs_read+0x1a/0x40",
                    "vfs_read+0x1a/0x40",
                    "SyS_read+0x5f/0xe0",
                    "entry_SYSCALL_64_fastpath+0x24/0xab",
                ],
                ..BASE
            },
        ),
        (
            "unreliable frames",
            Oops {
                frames: &[
                    "? kfree+0x1a/0x40",
                    "session_poll+0x1a/0x40",
                    "? old_leftover+0x1/0x2",
                    "session_wait+0x2a/0x80",
                    "net_loop+0x3a/0x90",
                    "vfs_read+0x1a/0x40",
                ],
                ..BASE
            },
        ),
        (
            "a lock and an allocator between",
            Oops {
                frames: &[
                    "_raw_spin_lock+0x1a/0x40",
                    "session_poll+0x1a/0x40",
                    "kmem_cache_alloc_noprof+0x1a/0x40",
                    "session_wait+0x2a/0x80",
                    "net_loop+0x3a/0x90",
                    "vfs_read+0x1a/0x40",
                ],
                ..BASE
            },
        ),
        (
            "inlined frames of a symbolizer",
            Oops {
                frames: &[
                    "session_step net/session.c:12 [inline]",
                    "session_poll+0x1a/0x40 net/session.c:40",
                    "session_wait+0x2a/0x80 net/session.c:99",
                    "net_loop+0x3a/0x90 net/loop.c:7",
                    "vfs_read+0x1a/0x40 fs/read_write.c:468",
                ],
                ..BASE
            },
        ),
        (
            "modules",
            Oops {
                counter: "session_read+0x1a/0x40 [session]",
                frames: &[
                    "session_poll+0x1a/0x40 [session]",
                    "session_wait+0x2a/0x80 [session]",
                    "net_loop+0x3a/0x90 [session]",
                    "vfs_read+0x1a/0x40",
                ],
                ..BASE
            },
        ),
    ];
    for (why, other) in same {
        let e = other.event();
        assert_eq!(e.title, base.title, "{why}");
        assert_eq!(e.signature, base.signature, "{why}: {:?}", e.frames);
    }
}

#[test]
fn two_bugs_have_two_signatures() {
    let mut all = vec![BASE.event()];
    for other in [
        Oops { counter: "session_write+0x1a/0x40", ..BASE },
        Oops { frames: &["session_close+0x1a/0x40", "session_wait+0x2a/0x80", "net_loop+0x3a/0x90"], ..BASE },
        Oops { frames: &["session_poll+0x1a/0x40", "session_wait+0x2a/0x80", "timer_loop+0x3a/0x90"], ..BASE },
    ] {
        all.push(other.event());
    }
    for text in [
        "[1.000000] WARNING: CPU: 1 PID: 2 at net/session.c:12 session_read+0x1/0x2\n",
        "[1.000000] BUG: KASAN: use-after-free in session_read+0x1/0x2\n",
        "[1.000000] INFO: task x:1 blocked for more than 120 seconds.\n[1.000000] Call Trace:\n[1.000000]  schedule+0x1/0x2\n[1.000000]  session_read+0x1/0x2\n",
        "[1.000000] Kernel panic - not syncing: Fatal exception\n",
        "[1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
        "[1.000000] a[1]: segfault at 0 ip 0000 sp 0000 error 4 in liba.so.1[1000+1000]\n",
        "[1.000000] a[1]: segfault at 0 ip 0000 sp 0000 error 4 in libb.so.1[1000+1000]\n",
    ] {
        all.extend(events(text));
    }
    let mut signatures: Vec<&str> = all.iter().map(|e| e.signature.0.as_str()).collect();
    let n = signatures.len();
    signatures.sort_unstable();
    signatures.dedup();
    assert_eq!(signatures.len(), n, "{:#?}", all.iter().map(|e| (&e.title, &e.signature)).collect::<Vec<_>>());
}

#[test]
fn nothing_that_varies_is_in_a_title() {
    for (text, title) in [
        ("BUG: unable to handle page fault for address: ffffe8ffffe00000", "BUG: unable to handle page fault"),
        (
            "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b",
            "Kernel panic - not syncing: Attempted to kill init! exitcode=NUM",
        ),
        ("watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:55]", "soft lockup"),
        ("INFO: task backup job:4711 blocked for more than 122 seconds.", "task hung"),
        ("BUG: scheduling while atomic: worker/0/42/0x00000002", "scheduling while atomic"),
    ] {
        let found = events(&format!("[    1.000000] {text}"));
        assert_eq!(found[0].title, title, "{text}");
    }
}
