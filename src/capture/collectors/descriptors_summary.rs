//! Who has how many descriptors and of what kind, and who is near its limit; removed files that still take their space.

use crate::capture::Context;
use crate::capture::collectors::descriptors::Index;
use crate::host::bytes::{push_safe, push_word};
use crate::host::descriptors::{Open, Target, is_device};
use crate::host::limits::parse_limits;
use crate::host::sockets::Proto;
use crate::host::tasks::Table;
use std::io::Write;

/// Processes listed.
const TOP: usize = 100;

/// Descriptors of one process by what they are.
#[derive(Default)]
struct Kinds {
    tcp: u64,
    udp: u64,
    unix: u64,
    other_sockets: u64,
    files: u64,
    deleted: u64,
    pipes: u64,
    devices: u64,
    anonymous: u64,
}

fn kinds(o: &Open, index: &Index) -> Kinds {
    let mut k = Kinds::default();
    for fd in &o.fds {
        let counter = match &fd.target {
            Target::Socket(inode) => match index.inet(*inode) {
                Some(s) if s.proto == Proto::Tcp => &mut k.tcp,
                Some(_) => &mut k.udp,
                None if index.unix(*inode).is_some() => &mut k.unix,
                None => &mut k.other_sockets,
            },
            Target::Pipe(_) => &mut k.pipes,
            Target::Anonymous(_) | Target::Other(_) => &mut k.anonymous,
            Target::Path(p) if is_device(p) => &mut k.devices,
            Target::Path(_) if fd.target.is_deleted() => &mut k.deleted,
            Target::Path(_) => &mut k.files,
        };
        *counter += 1;
    }
    k
}

/// The processes with the most descriptors, against their limit, and deleted files that still take space.
pub(super) fn text(ctx: &Context, table: &Table, opened: &[Open], index: &Index) -> Vec<u8> {
    let mut out = Vec::with_capacity(16_384);
    let total: usize = opened.iter().map(|o| o.fds.len()).sum();
    let _ = writeln!(out, "{total} descriptors in {} processes", opened.len());
    // allocated, free (always 0 since Linux 2.6), most
    if let Ok(c) = ctx.root.read("/proc/sys/fs/file-nr", 256) {
        let text = c.text();
        let mut w = text.split_whitespace();
        if let (Some(used), Some(_), Some(most)) = (w.next(), w.next(), w.next()) {
            let _ = writeln!(out, "open files of the machine: {used} of {most} (fs.file-max)");
        }
    }
    let mut order: Vec<&Open> = opened.iter().collect();
    order.sort_by_key(|o| (std::cmp::Reverse(o.fds.len()), o.pid));
    out.extend_from_slice(
        b"\nprocesses by number of descriptors, with their limit (RLIMIT_NOFILE, soft):\n\
          \x20    PID    FDS      LIMIT    %    TCP    UDP   UNIX  SOCK?  FILES DELETED  PIPES    DEV   ANON COMM\n",
    );
    for o in order.iter().take(TOP) {
        let limits = ctx.root.read(format!("/proc/{}/limits", o.pid), 4096).map(|c| parse_limits(&c.bytes));
        let soft = limits.ok().and_then(|l| l.open_files).map(|l| l.soft);
        let (shown, share) = match soft {
            Some(Some(n)) => (n.to_string(), (o.fds.len() as u64 * 100 / n.max(1)).to_string()),
            Some(None) => ("unlimited".into(), "0".into()),
            None => ("?".into(), "?".into()),
        };
        let k = kinds(o, index);
        let _ = write!(out, "{:>8} {:>6}{} {shown:>9} {share:>4}", o.pid, o.fds.len(), if o.more { "+" } else { " " });
        let _ = write!(out, " {:>6} {:>6} {:>6} {:>6} {:>6}", k.tcp, k.udp, k.unix, k.other_sockets, k.files);
        let _ = write!(out, " {:>7} {:>6} {:>6} {:>6} ", k.deleted, k.pipes, k.devices, k.anonymous);
        push_word(&mut out, table.comm(o.pid));
        out.push(b'\n');
    }
    deleted(&mut out, table, opened);
    out
}

fn deleted(out: &mut Vec<u8>, table: &Table, opened: &[Open]) {
    out.extend_from_slice(b"\nremoved files that are still open (their space is not free):\n");
    let all = opened.iter().flat_map(|o| o.fds.iter().filter(|f| f.target.is_deleted()).map(move |f| (o.pid, f)));
    for (pid, fd) in all.take(TOP) {
        let Target::Path(path) = &fd.target else { continue };
        let _ = write!(out, "{pid:>8} {:>5} ", fd.number);
        push_word(out, table.get(pid).map_or(b"?", |p| &p.stat.comm));
        out.push(b' ');
        push_safe(out, path);
        out.push(b'\n');
    }
}
