//! Mounted file systems: /proc/self/mountinfo parsed, sorted by what asking them may cost, and printed in
//! the shapes of `mount -l` and `df -al`.
//!
//! The table itself is read without touching any file system; how full one is must be asked (`sys::statfs`),
//! and that may never be answered.

use crate::sys::statfs::Space;
use serde::Serialize;
use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Most mounts that are read. A host with thousands of containers has tens of thousands.
pub const MOUNTS_MAX: usize = 20_000;

/// Who has to answer a question about a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The kernel alone: proc, sysfs, tmpfs, cgroup, …
    Memory,
    /// A disk of this machine, or layers over one.
    Local,
    /// Unknown type: taken for one that may block.
    Unknown,
    /// A process of user space.
    Fuse,
    /// Another machine.
    Remote,
    /// Asking would mount it: never asked.
    Autofs,
}

impl Reach {
    /// By the name of the type in the mount table.
    pub fn of(fs_type: &str, source: &str) -> Reach {
        const MEMORY: &[&str] = &[
            "proc",
            "sysfs",
            "tmpfs",
            "ramfs",
            "rootfs",
            "devtmpfs",
            "devpts",
            "cgroup",
            "cgroup2",
            "cpuset",
            "mqueue",
            "hugetlbfs",
            "debugfs",
            "tracefs",
            "securityfs",
            "selinuxfs",
            "smackfs",
            "configfs",
            "pstore",
            "efivarfs",
            "bpf",
            "binfmt_misc",
            "nsfs",
            "fusectl",
            "rpc_pipefs",
            "nfsd",
            "pipefs",
            "sockfs",
            "resctrl",
        ];
        const LOCAL: &[&str] = &[
            "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "reiserfs", "nilfs2", "vfat",
            "msdos", "exfat", "ntfs", "ntfs3", "hfs", "hfsplus", "iso9660", "udf", "squashfs", "erofs", "cramfs",
            "minix", "ubifs", "jffs2", "overlay", "ecryptfs",
        ];
        const REMOTE: &[&str] = &[
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "ceph",
            "9p",
            "afs",
            "ncpfs",
            "coda",
            "lustre",
            "gfs2",
            "ocfs2",
            "gpfs",
            "beegfs",
            "virtiofs",
            "orangefs",
            "pvfs2",
            "glusterfs",
            "davfs",
        ];
        if fs_type == "autofs" {
            Reach::Autofs
        } else if fs_type.starts_with("fuse") && fs_type != "fusectl" {
            // sshfs, gluster, s3fs: user space here and a server beyond.
            if source.contains(':') || source.starts_with("//") { Reach::Remote } else { Reach::Fuse }
        } else if REMOTE.contains(&fs_type) {
            Reach::Remote
        } else if LOCAL.contains(&fs_type) {
            Reach::Local
        } else if MEMORY.contains(&fs_type) {
            Reach::Memory
        } else {
            Reach::Unknown
        }
    }
}

/// One line of mountinfo. Text with bad UTF-8 is shown with U+FFFD; the path keeps its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    pub id: u32,
    pub parent: u32,
    /// `254:0`; of the file system, not of the partition table.
    pub device: String,
    /// The part of the file system that is mounted.
    pub root: String,
    #[serde(skip)]
    pub path: PathBuf,
    /// The path as text.
    pub at: String,
    pub options: String,
    pub fs_type: String,
    pub source: String,
    pub super_options: String,
    pub reach: Reach,
    /// Another file system is mounted over it at the same path: the path no longer leads here.
    pub covered: bool,
}

/// Parses mountinfo (proc_pid_mountinfo(5)), skipping lines that are no mounts. The flag tells that there
/// were more than [`MOUNTS_MAX`].
pub fn parse(text: &[u8]) -> (Vec<Mount>, bool) {
    let mut all: Vec<Mount> = Vec::new();
    let mut more = false;
    for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        if all.len() == MOUNTS_MAX {
            more = true;
            break;
        }
        all.extend(parse_line(line));
    }
    // A later mount on the same path covers the earlier ones.
    let mut seen = std::collections::HashSet::new();
    for i in (0..all.len()).rev() {
        all[i].covered = !seen.insert(all[i].path.clone());
    }
    (all, more)
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let text = |b: &[u8]| String::from_utf8_lossy(&unescape(b)).into_owned();
    let number = |b: &[u8]| std::str::from_utf8(b).ok()?.parse::<u32>().ok();
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = text(fields.next()?);
    let root = text(fields.next()?);
    let path = PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.next()?)));
    let options = text(fields.next()?);
    // Optional fields (`shared:1 master:2`) end in a lone dash.
    fields.by_ref().find(|f| *f == b"-")?;
    let fs_type = text(fields.next()?);
    let source = text(fields.next()?);
    let super_options = fields.next().map(text).unwrap_or_default();
    let reach = Reach::of(&fs_type, &source);
    let at = path.to_string_lossy().into_owned();
    Some(Mount { id, parent, device, root, path, at, options, fs_type, source, super_options, reach, covered: false })
}

/// Undoes `\040` and the like: the kernel writes blank, tab, newline and backslash in octal.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut i = 0;
    while i < field.len() {
        let octal = (field[i] == b'\\')
            .then(|| field.get(i + 1..i + 4))
            .flatten()
            .filter(|d| d.iter().all(|b| (b'0'..=b'7').contains(b)) && d[0] <= b'3');
        match octal {
            Some(d) => {
                out.push((d[0] - b'0') << 6 | (d[1] - b'0') << 3 | (d[2] - b'0'));
                i += 4;
            }
            None => {
                out.push(field[i]);
                i += 1;
            }
        }
    }
    out
}

/// One cell of a table: line ends and other control characters of a path become `?`, blanks stay.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `mount -l`, without the labels, which would have to be read from the disks.
pub fn mount_text(mounts: &[Mount]) -> String {
    let mut out = String::new();
    for m in mounts {
        // The kernel's /proc/mounts joins both lists the same way: read-only if either side is.
        let read_only = m.options.split(',').chain(m.super_options.split(',')).any(|o| o == "ro");
        let rest = |list: &str| {
            list.split(',').filter(|o| !o.is_empty() && *o != "rw" && *o != "ro").map(str::to_owned).collect::<Vec<_>>()
        };
        let mut options = vec![if read_only { "ro" } else { "rw" }.to_owned()];
        options.extend(rest(&m.options));
        for o in rest(&m.super_options) {
            if !options.contains(&o) {
                options.push(o);
            }
        }
        let source = printable(&m.source);
        let _ = writeln!(out, "{source} on {} type {} ({})", printable(&m.at), m.fs_type, options.join(","));
    }
    out
}

/// A row of `df`: a file system and what it answered, if it did.
pub struct Row<'a> {
    pub mount: &'a Mount,
    pub space: Option<Space>,
}

/// `df -al -x autofs`: in blocks of 1 KiB. Where nothing is known the cells hold `-`.
pub fn df_blocks(rows: &[Row<'_>]) -> String {
    let kib = |b: u64| b.div_ceil(1024);
    df(rows, ["1K-blocks", "Used", "Available", "Use%"], |s| {
        let used = s.total_bytes.saturating_sub(s.free_bytes);
        (kib(s.total_bytes), kib(used), kib(s.available_bytes), percent(used, s.available_bytes))
    })
}

/// `df -ali`: inodes.
pub fn df_inodes(rows: &[Row<'_>]) -> String {
    df(rows, ["Inodes", "IUsed", "IFree", "IUse%"], |s| {
        let used = s.inodes.saturating_sub(s.inodes_free);
        (s.inodes, used, s.inodes_free, percent(used, s.inodes_free))
    })
}

/// Share in use of what users can have, rounded up; `-` where there is nothing to have.
fn percent(used: u64, available: u64) -> String {
    let all = u128::from(used) + u128::from(available);
    if all == 0 { "-".into() } else { format!("{}%", (u128::from(used) * 100).div_ceil(all)) }
}

fn df(rows: &[Row<'_>], head: [&str; 4], figures: impl Fn(&Space) -> (u64, u64, u64, String)) -> String {
    let mut table: Vec<[String; 6]> = Vec::with_capacity(rows.len() + 1);
    let [a, b, c, d] = head.map(str::to_owned);
    table.push(["Filesystem".into(), a, b, c, d, "Mounted on".into()]);
    for row in rows {
        let cells = match &row.space {
            Some(s) => {
                let (total, used, free, share) = figures(s);
                [total.to_string(), used.to_string(), free.to_string(), share]
            }
            None => ["-", "-", "-", "-"].map(str::to_owned),
        };
        let [a, b, c, d] = cells;
        table.push([printable(&row.mount.source), a, b, c, d, printable(&row.mount.at)]);
    }
    let width = |i: usize| table.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut out = String::new();
    for r in &table {
        let _ = writeln!(
            out,
            "{:<w0$} {:>w1$} {:>w2$} {:>w3$} {:>w4$} {}",
            r[0],
            r[1],
            r[2],
            r[3],
            r[4],
            r[5],
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2],
            w3 = widths[3],
            w4 = widths[4],
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
        30 27 0:50 / /srv/with\\040blank rw,relatime shared:9 master:2 - nfs4 server:/export rw,vers=4.2\n\
        31 27 0:51 / /home/u/remote rw,nosuid - fuse.sshfs u@host:/x rw,user_id=0\n\
        32 27 0:52 / /data ro,relatime - xfs /dev/sdb1 rw,noquota\n\
        33 27 0:53 / /data rw - ext4 /dev/sdc1 rw\n\
        34 27 0:54 / /net rw - autofs /etc/auto.net rw,fd=5\n\
        garbage\n\
        35 x - a b c\n";

    #[test]
    fn lines_are_parsed_and_sorted_by_reach() {
        let (m, more) = parse(TABLE);
        assert!(!more);
        assert_eq!(m.len(), 7);
        assert_eq!(m[2].at, "/srv/with blank");
        let reach: Vec<Reach> = m.iter().map(|m| m.reach).collect();
        use Reach::*;
        assert_eq!(reach, [Memory, Local, Remote, Remote, Local, Local, Autofs]);
        assert_eq!(m.iter().map(|m| m.covered).collect::<Vec<_>>(), [false, false, false, false, true, false, false]);
        assert_eq!(Reach::of("fuse.mergerfs", "a"), Fuse);
        assert_eq!(Reach::of("somefs", "a"), Unknown);
    }

    #[test]
    fn mount_text_joins_both_option_lists() {
        let text = mount_text(&parse(TABLE).0);
        assert!(text.contains("/dev/vda on / type ext4 (rw,relatime,discard)\n"), "{text}");
        assert!(text.contains("/dev/sdb1 on /data type xfs (ro,relatime,noquota)\n"), "{text}");
    }

    #[test]
    fn df_rounds_as_df_does() {
        let (m, _) = parse(TABLE);
        let space = Space {
            total_bytes: 264_212_084 << 10,
            free_bytes: 246_281_248 << 10,
            available_bytes: 77_355_052 << 10,
            inodes: 0,
            inodes_free: 0,
        };
        let rows = [Row { mount: &m[1], space: Some(space) }, Row { mount: &m[4], space: None }];
        let text = df_blocks(&rows);
        let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines[0][1], "1K-blocks");
        assert_eq!(lines[1], ["/dev/vda", "264212084", "17930836", "77355052", "19%", "/"]);
        assert_eq!(lines[2], ["/dev/sdb1", "-", "-", "-", "-", "/data"]);
        assert!(df_inodes(&rows).lines().nth(1).expect("a row").contains(" - "));
    }

    #[test]
    fn escapes_are_octal_or_nothing() {
        assert_eq!(unescape(b"a\\040b\\011\\134\\0"), b"a b\t\\\\0");
        assert_eq!(unescape(b"\\999"), b"\\999");
        assert_eq!(unescape(b"\\400"), b"\\400");
    }
}
