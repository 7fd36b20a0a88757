//! `descriptors`: what every process has open, and which process holds which socket.
//!
//! One scan gives four entries: open files in the shape of lsof, sockets with their owners in the shapes of
//! ss and netstat, and a summary of who is near its limit. Mapped files are not listed: `maps` takes the
//! target's memory lock.

use crate::archive::Effort;
use crate::capture::collectors::socket_text::{self, Owner, Owners};
use crate::capture::collectors::{descriptors_summary, sockets, tasks};
use crate::capture::content::Pieces;
use crate::capture::guard::PER_PROCESS;
use crate::capture::subject::Service;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::bytes::{pad_right, push_blanks, push_ip, push_number, push_right, push_safe, push_word};
use crate::host::descriptors::{self, Fd, Open, Scanner, Scratch, Seen, Target, is_device, parse_mounts};
use crate::host::sockets::{CLOSE, Inet, LISTEN, Proto, Sockets, Unix, netstat_state};
use crate::host::tasks::Table;
use crate::host::worth;
use crate::sys::capability::Capability;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

pub const SPEC: Spec = Spec {
    name: "descriptors",
    doc: "Open files and sockets of every process, and who is near its limit: leaks, deleted files, the owner of each connection.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 96 << 20,
    limit_ms: 6_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[Capability::SysPtrace],
};

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let table = tasks::scan(ctx, sink)?;
    let service = Service::of(ctx);
    let mut opened = scan(ctx, sink, &table, &service)?;
    let sockets = sockets::read(ctx, sink);
    listeners_first(ctx, &service, &sockets, &mut opened);
    let held = opened.iter().flat_map(|o| {
        o.fds.iter().filter_map(|f| match f.target {
            Target::Socket(inode) => Some(Owner { inode, pid: o.pid, fd: f.number }),
            _ => None,
        })
    });
    let owners = Owners::new(held.collect(), &table);
    let index = Index::new(&sockets);
    sink.put("lastgasp/descriptors_summary.txt", descriptors_summary::text(ctx, &table, &opened, &index))?;
    sink.put_pieces("sos_commands/networking/ss_-peaonmi", socket_text::ss(&sockets, &owners))?;
    sink.put_pieces("sos_commands/networking/netstat_-W_-neopa", socket_text::netstat(&sockets, &owners))?;
    let mounts = ctx.root.read("/proc/self/mountinfo", 4 << 20).map(|c| parse_mounts(&c.bytes)).unwrap_or_default();
    let lsof = Lsof { table: &table, index: &index, owners: &owners, mounts };
    sink.put_pieces("sos_commands/process/lsof_-b_M_-n_-l", lsof.text(&opened))?;
    Ok(())
}

/// Whoever listens on a port that does not answer is of the failing service: its descriptors come first, and
/// later tiers are told.
fn listeners_first(ctx: &Context, service: &Service, sockets: &Sockets, opened: &mut [Open]) {
    let ports = service.ports();
    if ports.is_empty() {
        return;
    }
    let listening = sockets.inet.iter().filter(|s| s.state == LISTEN && ports.contains(&s.local_port));
    let inodes: HashSet<u32> = listening.map(|s| s.inode).collect();
    let holds = |o: &Open| o.fds.iter().any(|f| matches!(f.target, Target::Socket(i) if inodes.contains(&i)));
    let owners: Vec<i32> = opened.iter().filter(|o| holds(o)).map(|o| o.pid).collect();
    opened.sort_by_key(|o| !owners.contains(&o.pid));
    let _ = ctx.shared.port_owners.set(owners);
}

/// In the order of the processes' worth, so that what the caps cut is the crowd.
fn scan(ctx: &Context, sink: &mut Sink, table: &Table, service: &Service) -> Result<Vec<Open>, CollectError> {
    let scanner = Scanner::new(&ctx.root, Arc::clone(&ctx.shared.links)).map_err(CollectError::failed("open /proc"))?;
    let ordered = worth::order(table, |p| service.has(p)).into_iter().map(|i| &table.processes[i]);
    // The list of descriptors of a process inside execve waits with it (and is being closed).
    let user_space = ordered.filter(|p| !p.stat.is_kernel_thread() && !p.in_execve);
    let pids: Arc<Vec<i32>> = Arc::new(user_space.map(|p| p.stat.pid).collect());
    let swept = PER_PROCESS.sweep(Arc::clone(&pids), ctx.deadline, Scratch::default, move |s, pid, beat| {
        scanner.look(s, *pid, &|| beat.tick())
    });
    let (mut opened, mut denied) = (Vec::new(), 0);
    for seen in swept.results.into_iter().flatten() {
        match seen {
            Seen::Open(o) => opened.push(*o),
            Seen::Denied => denied += 1,
            Seen::Gone => {}
        }
    }
    for s in swept.stuck {
        sink.missing(
            format!("/proc/{}/fd", pids[s.index]),
            format!("did not answer in 200 ms; the reader hangs at {}", s.place),
        );
    }
    let inside = table.in_execve().len();
    if inside > 0 {
        sink.missing(format!("descriptors of {inside} processes"), "not tried: they hang inside execve");
    }
    if denied > 0 {
        sink.missing(format!("descriptors of {denied} processes of other users"), "needs CAP_SYS_PTRACE");
    }
    if swept.skipped > 0 {
        sink.missing(format!("descriptors of {} processes", swept.skipped), "out of time, or too many readers hang");
    }
    let cut = opened.iter().filter(|o| o.more).count();
    if cut > 0 {
        let most = descriptors::PER_PROCESS_MAX;
        sink.missing(
            format!("some descriptors of {cut} processes"),
            format!("beyond {most} of one process or {} in all", descriptors::DESCRIPTORS_MAX),
        );
    }
    let files = || opened.iter().flat_map(|o| &o.fds).filter(|f| f.is_file());
    let asked = files().filter(|f| f.place.is_some()).count();
    if asked >= descriptors::FDINFO_MAX {
        sink.missing(
            format!("position, mount and inode of {} files", files().count() - asked),
            format!("asked of {asked}, those of what matters most: three system calls each"),
        );
    }
    Ok(opened)
}

/// Sockets by inode: two lists in the order of inodes.
pub(super) struct Index<'a> {
    inet: Vec<&'a Inet>,
    unix: Vec<&'a Unix>,
}

impl<'a> Index<'a> {
    fn new(s: &'a Sockets) -> Index<'a> {
        let mut inet: Vec<&Inet> = s.inet.iter().filter(|i| i.inode != 0).collect();
        let mut unix: Vec<&Unix> = s.unix.iter().collect();
        // Nearly in order already.
        inet.sort_by_key(|i| i.inode);
        unix.sort_by_key(|u| u.inode);
        Index { inet, unix }
    }

    pub(super) fn inet(&self, inode: u32) -> Option<&'a Inet> {
        self.inet.binary_search_by_key(&inode, |i| i.inode).ok().map(|at| self.inet[at])
    }

    pub(super) fn unix(&self, inode: u32) -> Option<&'a Unix> {
        self.unix.binary_search_by_key(&inode, |u| u.inode).ok().map(|at| self.unix[at])
    }
}

/// The lines of lsof, columns right-aligned under their titles so that parsers which cut at the titles'
/// ends find the values.
struct Lsof<'a> {
    table: &'a Table,
    index: &'a Index<'a>,
    owners: &'a Owners<'a>,
    mounts: HashMap<u64, (u32, u32)>,
}

/// Columns of a line while it is made: kept, so that a line costs no allocation.
#[derive(Default)]
struct Work {
    device: Vec<u8>,
    size: Vec<u8>,
    node: Vec<u8>,
}

/// What follows the descriptor in one line.
#[derive(Default)]
struct Columns<'a> {
    kind: &'a str,
    device: &'a [u8],
    size: &'a [u8],
    node: &'a [u8],
}

impl Lsof<'_> {
    fn text(&self, opened: &[Open]) -> Pieces {
        let mut text = Pieces::new(Effort::Rows);
        text.open().extend_from_slice(
            b"COMMAND       PID     USER   FD      TYPE             DEVICE  SIZE/OFF      NODE NAME\n",
        );
        let mut head = Vec::new();
        let mut work = Work::default();
        for o in opened {
            head.clear();
            let process = self.table.get(o.pid);
            let comm = process.map_or(&b"?"[..], |p| &p.stat.comm);
            push_word(&mut head, &comm[..comm.len().min(9)]);
            head.truncate(9);
            pad_right(&mut head, 0, 9);
            head.push(b' ');
            push_right(&mut head, o.pid.unsigned_abs().into(), 7);
            head.push(b' ');
            match process.and_then(|p| p.status.uid) {
                Some(uid) => push_right(&mut head, uid.into(), 8),
                None => head.extend_from_slice(b"        "),
            }
            text.pack();
            let out = text.open();
            for (fd, link, kind) in [("cwd", &o.cwd, "DIR"), ("rtd", &o.root, "DIR"), ("txt", &o.exe, "REG")] {
                if let Some(link) = link {
                    out.extend_from_slice(&head);
                    out.extend_from_slice(b"  ");
                    out.extend_from_slice(fd.as_bytes());
                    out.extend_from_slice(b"  ");
                    columns(out, &Columns { kind, ..Columns::default() });
                    push_safe(out, link);
                    out.push(b'\n');
                }
            }
            for fd in &o.fds {
                text.pack();
                let out = text.open();
                out.extend_from_slice(&head);
                out.push(b' ');
                push_right(out, fd.number.into(), 4);
                out.extend_from_slice(&[fd.mode, b' ']);
                self.line(out, fd, &mut work);
                out.push(b'\n');
            }
        }
        text
    }

    fn line(&self, out: &mut Vec<u8>, fd: &Fd, work: &mut Work) {
        let Work { device: a, size: b, node: c } = work;
        for column in [&mut *a, &mut *b, &mut *c] {
            column.clear();
        }
        match &fd.target {
            Target::Socket(inode) => {
                push_number(c, u64::from(*inode));
                self.socket(out, *inode, c);
            }
            Target::Pipe(inode) => {
                push_number(c, *inode);
                columns(out, &Columns { kind: "FIFO", size: b"0t0", node: c, ..Columns::default() });
                out.extend_from_slice(b"pipe");
            }
            Target::Anonymous(name) => {
                columns(out, &Columns { kind: "a_inode", size: b"0", ..Columns::default() });
                push_safe(out, name);
            }
            Target::Other(name) => {
                columns(out, &Columns { kind: "unknown", ..Columns::default() });
                push_safe(out, name);
            }
            Target::Path(path) => {
                let place = fd.place.as_deref();
                if let Some((major, minor)) = place.and_then(|p| p.mount).and_then(|m| self.mounts.get(&m)) {
                    push_number(a, u64::from(*major));
                    a.push(b',');
                    push_number(a, u64::from(*minor));
                }
                if let Some(n) = place.and_then(|p| p.position) {
                    b.extend_from_slice(b"0t");
                    push_number(b, n);
                }
                if let Some(n) = place.and_then(|p| p.inode) {
                    push_number(c, n);
                }
                let kind = match is_device(path) {
                    true if is_block_device(path) => "BLK",
                    true => "CHR",
                    false if place.is_some_and(|p| p.directory) => "DIR",
                    false => "REG",
                };
                columns(out, &Columns { kind, device: a, size: b, node: c });
                push_safe(out, path);
            }
        }
    }

    /// `number`: the inode as text.
    fn socket(&self, out: &mut Vec<u8>, inode: u32, number: &[u8]) {
        if let Some(s) = self.index.inet(inode) {
            let kind = if s.local.is_ipv4() { "IPv4" } else { "IPv6" };
            let node: &[u8] = if s.proto == Proto::Tcp { b"TCP" } else { b"UDP" };
            columns(out, &Columns { kind, device: number, size: b"0t0", node });
            end(out, s.local, s.local_port);
            if s.remote_port != 0 {
                out.extend_from_slice(b"->");
                end(out, s.remote, s.remote_port);
            }
            if s.proto == Proto::Tcp {
                out.extend_from_slice(b" (");
                out.extend_from_slice(netstat_state(s.state).as_bytes());
                out.push(b')');
            }
        } else if let Some(u) = self.index.unix(inode) {
            columns(out, &Columns { kind: "unix", size: b"0t0", node: number, ..Columns::default() });
            if let Some(name) = &u.name {
                push_safe(out, name);
                out.push(b' ');
            }
            let kind = match u.kind {
                1 => "STREAM",
                2 => "DGRAM",
                _ => "SEQPACKET",
            };
            out.extend_from_slice(b"type=");
            out.extend_from_slice(kind.as_bytes());
            if let Some(peer) = u.peer {
                out.extend_from_slice(b" ->INO=");
                push_number(out, peer.into());
                if let Some(o) = self.owners.of(peer).first() {
                    out.push(b' ');
                    push_number(out, o.pid.unsigned_abs().into());
                    out.push(b',');
                    push_word(out, self.owners.comm(o));
                    out.push(b',');
                    push_number(out, o.fd.into());
                    out.push(b'u');
                }
            }
            out.extend_from_slice(match u.state {
                LISTEN => b" (LISTEN)",
                CLOSE => b" (UNCONNECTED)",
                _ => b" (CONNECTED)",
            });
        } else {
            // Another family (netlink, packet, raw), another network namespace, or younger than the dump.
            columns(out, &Columns { kind: "sock", size: b"0t0", node: number, ..Columns::default() });
            out.extend_from_slice(b"socket of another family or network namespace");
        }
    }
}

/// ` TYPE DEVICE SIZE/OFF NODE `, right-aligned.
fn columns(out: &mut Vec<u8>, c: &Columns) {
    for (text, width) in [(c.kind.as_bytes(), 7), (c.device, 18), (c.size, 9), (c.node, 9)] {
        push_blanks(out, 1 + width - text.len().min(width));
        out.extend_from_slice(text);
    }
    out.push(b' ');
}

/// `*:80`, `127.0.0.1:80`, `[::1]:80`.
fn end(out: &mut Vec<u8>, address: IpAddr, port: u16) {
    if address.is_unspecified() {
        out.push(b'*');
    } else if address.is_ipv6() {
        out.push(b'[');
        push_ip(out, address);
        out.push(b']');
    } else {
        push_ip(out, address);
    }
    out.push(b':');
    push_number(out, port.into());
}

/// By name, because only a `stat` would know for sure.
fn is_block_device(path: &[u8]) -> bool {
    let name = path.strip_prefix(b"/dev/").unwrap_or(path);
    let starts = |p: &[u8]| name.strip_prefix(p).is_some_and(|rest| !rest.is_empty());
    starts(b"sd")
        || starts(b"vd")
        || starts(b"xvd")
        || starts(b"dm-")
        || starts(b"md")
        || starts(b"mapper/") && name != b"mapper/control"
        || starts(b"loop") && name != b"loop-control"
        || starts(b"nvme") && name.contains(&b'n') && name[4..].contains(&b'n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsof_lines_end_under_their_titles() {
        let table = Table::default();
        let sockets = Sockets::default();
        let index = Index::new(&sockets);
        let owners = Owners::new(Vec::new(), &table);
        let lsof = Lsof { table: &table, index: &index, owners: &owners, mounts: HashMap::from([(3, (254, 0))]) };
        let place = descriptors::Place { position: Some(17), inode: Some(99), mount: Some(3), directory: false };
        let target = Target::Path(b"/var/log/a\nb (deleted)"[..].into());
        let open = Open {
            pid: 12345,
            fds: vec![Fd { number: 7, target, mode: b'w', place: Some(Box::new(place)) }],
            ..Open::default()
        };
        let text = String::from_utf8(lsof.text(&[open]).finish().to_vec()).expect("text");
        let (head, line) = text.split_once('\n').expect("two lines");
        for (title, value) in
            [("PID", "12345"), ("TYPE", "REG"), ("DEVICE", "254,0"), ("SIZE/OFF", "0t17"), ("NODE", "99")]
        {
            let end = head.find(title).expect("a title") + title.len();
            assert!(line[..end].ends_with(value), "{title}\n{text}");
        }
        let fd = head.find(" FD ").expect("a title") + 3;
        assert!(line[..fd + 1].ends_with(" 7w"), "{text}");
        assert_eq!(&line[head.find("NAME").expect("a title")..], "/var/log/a\\x0ab (deleted)\n");
    }

    #[test]
    fn block_devices_by_name() {
        for (path, want) in [
            ("/dev/sda", true),
            ("/dev/nvme0n1p1", true),
            ("/dev/nvme0", false),
            ("/dev/null", false),
            ("/dev/loop-control", false),
            ("/dev/mapper/vg-root", true),
        ] {
            assert_eq!(is_block_device(path.as_bytes()), want, "{path}");
        }
    }
}
