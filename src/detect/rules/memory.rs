//! Memory runs out, or is not what it should be.

use super::{Recipe, Role, Rule, Shape, rule};
use crate::model::{Kind, Severity};

pub(super) const RULES: &[Rule] = &[
    rule(
        "oom",
        Kind::Oom,
        Severity::Error,
        &[
            "invoked oom-killer:",
            "oom-kill:constraint=",
            "Out of memory: Kill",
            "Out of memory (oom_kill_allocating_task)",
            "Memory cgroup out of memory: Kill",
            "Killed process ",
            "killed as a result of limit of ",
        ],
        "out of memory",
        "mm/oom_kill.c dump_header, dump_oom_victim, __oom_kill_process",
        "The kernel killed a process to get memory back, for the whole machine or for one cgroup.",
    )
    .anywhere()
    .check(oom_line)
    .shape(Shape::Until("Killed process "))
    .recipe(Recipe::None),
    rule(
        "oom_no_victim",
        Kind::Oom,
        Severity::Fatal,
        &["Out of memory and no killable processes", "System is deadlocked on memory"],
        "out of memory, nothing to kill",
        "mm/oom_kill.c out_of_memory",
        "Memory is gone and no process may be killed.",
    )
    .within(24)
    .role(Role::Follow)
    .recipe(Recipe::None),
    rule(
        "page_allocation",
        Kind::Resource,
        Severity::Warning,
        &["page allocation failure", "page allocation stalls for"],
        "page allocation failure",
        "mm/page_alloc.c warn_alloc",
        "The kernel found no free pages of the wanted order for a request that may fail.",
    )
    .within(48)
    .check(|b, at| at == 0 || b[at - 1] == b' ')
    .recipe(Recipe::Trace),
    // Any size can be asked for through a system call, and whoever asked is told: seen, not an alarm.
    rule(
        "vmalloc_failure",
        Kind::Resource,
        Severity::Warning,
        &["vmalloc error: size", "vmalloc: allocation failure"],
        "vmalloc failure",
        "mm/vmalloc.c __vmalloc_node_range, by mm/page_alloc.c warn_alloc",
        "A large piece of kernel memory that was asked for cannot be had.",
    )
    .within(48)
    .check(|b, at| at == 0 || b[at - 1] == b' ')
    .quiet()
    .recipe(Recipe::Trace),
    rule(
        "bad_page",
        Kind::PageState,
        Severity::Error,
        &[
            "BUG: Bad page ",
            "BUG: Bad rss-counter",
            "BUG: non-zero nr_ptes",
            "BUG: non-zero pgtables_bytes",
            "BUG: Bad swap file entry",
            "swap_info_get: Bad swap",
            "swap_free: Bad swap",
            "swap_dup: Bad swap",
        ],
        "bad page",
        "mm/page_alloc.c bad_page; mm/memory.c print_bad_pte; kernel/fork.c check_mm; mm/swapfile.c",
        "A page, a page table or a counter of pages is in an impossible state.",
    )
    .recipe(Recipe::Trace)
    .up_to(" in process"),
    rule(
        "slub",
        Kind::Bug,
        Severity::Error,
        &[
            ": Poison overwritten",
            ": Redzone overwritten",
            ": Right Redzone overwritten",
            ": Left Redzone overwritten",
            ": Right redzone overwritten",
            ": Left redzone overwritten",
            ": Object already free",
            ": Object corrupt",
            ": Slab has ",
            ": Bulk free expected ",
            ": Attempt to free object",
            ": Objects remaining ",
            ": Object padding overwritten",
            ": Alignment padding overwritten",
            ": Padding overwritten",
            ": Freechain corrupt",
            ": Freepointer corrupt",
            ": Wrong object count",
            ": Wrong number of objects",
            ": Invalid object pointer",
            ": Freelist Pointer",
            ": Not a valid slab page",
            ": Page ",
            "slab error in ",
        ],
        "slab corruption",
        "mm/slub.c slab_bug, object_err; mm/slab.c slab_error",
        "An object of a slab cache was overwritten or freed twice.",
    )
    .within(160)
    .check(slub_line)
    .then(&["warn", "slub", "slub_info"])
    .recipe(Recipe::Trace),
    rule(
        "slub_info",
        Kind::Bug,
        Severity::Error,
        &["INFO: Allocated in ", "INFO: Freed in ", "INFO: Slab 0x", "INFO: Object 0x"],
        "slab corruption",
        "mm/slub.c print_track, print_slab_info, print_trailer",
        "A line of a slab report; alone when its first line was lost.",
    )
    .within(80)
    .check(|b, at| at < 2 || memchr::memmem::find(&b[at..b.len().min(at + 160)], b" age=").is_some())
    .role(Role::Follow)
    .recipe(Recipe::Header),
    rule(
        "kmemleak",
        Kind::MemoryLeak,
        Severity::Warning,
        &["kmemleak: ", "BUG: memory leak", "unreferenced object 0x"],
        "memory leak",
        "mm/kmemleak.c kmemleak_scan, print_unreferenced",
        "The leak detector found objects that nothing points to.",
    )
    .within(8)
    .check(kmemleak_line)
    .then(&["kmemleak"])
    .recipe(Recipe::Leak),
    rule(
        "tcp_memory",
        Kind::Resource,
        Severity::Warning,
        &["TCP: out of memory -- consider tuning tcp_mem", "TCP: too many orphaned sockets"],
        "TCP out of memory",
        "net/ipv4/tcp.c tcp_check_oom",
        "Sockets may take no more memory; connections are dropped.",
    )
    .within(4)
    .single(),
    rule(
        "fork_rejected",
        Kind::Resource,
        Severity::Warning,
        &["cgroup: fork rejected by pids controller in "],
        "fork rejected",
        "kernel/cgroup/pids.c pids_can_fork",
        "A cgroup has reached its limit of processes.",
    )
    .within(2)
    .single(),
    rule(
        "file_max",
        Kind::Resource,
        Severity::Error,
        &["VFS: file-max limit "],
        "no more open files",
        "fs/file_table.c alloc_empty_file",
        "The machine has reached fs.file-max.",
    )
    .within(2)
    .single(),
];

/// The phrase must stand where the kernel prints it: process names may hold any of these words.
fn oom_line(body: &[u8], at: usize) -> bool {
    let rest = &body[at..];
    if rest.starts_with(b"invoked oom-killer:") {
        // `NAME invoked oom-killer: gfp_mask=…`; a name has at most 15 bytes.
        return at <= 40 && memchr::memmem::find(&rest[..rest.len().min(80)], b"gfp_mask=").is_some();
    }
    if rest.starts_with(b"killed as a result of limit of ") {
        return body.starts_with(b"Task in ");
    }
    if rest.starts_with(b"Killed process ") {
        return (at == 0 || memchr::memmem::find(&body[..at], b"emory").is_some() && at < 64)
            && rest.get(15).is_some_and(u8::is_ascii_digit);
    }
    at <= 16
}

/// `BUG kmalloc-64 (Not tainted): Poison overwritten`.
fn slub_line(body: &[u8], at: usize) -> bool {
    if body[at..].starts_with(b"slab error in ") {
        return at < 2;
    }
    body.starts_with(b"BUG ") && at > 4
}

fn kmemleak_line(body: &[u8], at: usize) -> bool {
    let rest = &body[at..];
    match rest.strip_prefix(b"kmemleak: ") {
        Some(tail) => {
            tail.first().is_some_and(u8::is_ascii_digit)
                && memchr::memmem::find(tail, b"suspected memory leaks").is_some()
        }
        None => true,
    }
}
