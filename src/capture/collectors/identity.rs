//! Which machine this is, since when it runs and how loaded it is: the answers that readers of any
//! snapshot look up first, in the shape of uname, hostname, uptime, date and lsmod.

use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::model::Wall;
use crate::sys::clock;

pub const SPEC: Spec = Spec {
    name: "identity",
    doc: "Kernel version, host name, uptime and load, date, loaded modules.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 1 << 20,
    limit_ms: 2_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};

const CAP: usize = 512 << 10;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let line = |path: &str| ctx.root.read(path, CAP).ok().map(|c| c.text().trim_end().to_owned());
    let now = clock::wall();
    let kernel = |name: &str| line(&format!("/proc/sys/kernel/{name}"));
    match (kernel("ostype"), kernel("hostname"), kernel("osrelease"), kernel("version")) {
        (Some(os), Some(host), Some(release), Some(version)) => {
            // kernel.arch came with Linux 6.1; before, a process of ours can only run on its own machine type.
            let machine = kernel("arch").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
            let uname = format!("{os} {host} {release} {version} {machine} {machine} {machine} GNU/{os}\n");
            sink.put("sos_commands/kernel/uname_-a", uname.clone())?;
            sink.put("uname", uname)?;
            sink.put("sos_commands/host/hostname", format!("{host}\n"))?;
            sink.put("hostname", format!("{host}\n"))?;
        }
        _ => sink.missing("uname", "cannot read /proc/sys/kernel/{ostype,hostname,osrelease,version}"),
    }
    match (line("/proc/uptime"), line("/proc/loadavg")) {
        (Some(up), Some(load)) => match uptime_line(now, &up, &load, users(ctx)) {
            Some(text) => {
                sink.put("sos_commands/host/uptime", text.clone())?;
                sink.put("uptime", text)?;
            }
            None => sink.missing("uptime", "cannot parse /proc/uptime or /proc/loadavg"),
        },
        _ => sink.missing("uptime", "cannot read /proc/uptime or /proc/loadavg"),
    }
    if let Some(t) = now.utc() {
        let date = t.format("%a %b %e %H:%M:%S UTC %Y\n").to_string();
        sink.put("sos_commands/date/date", date.clone())?;
        sink.put("date", date)?;
    }
    match ctx.root.read("/proc/modules", CAP) {
        Ok(got) => {
            let text = lsmod(&got.text());
            sink.put_cut("sos_commands/kernel/lsmod", text, got.truncated)?;
        }
        Err(e) => sink.missing("/proc/modules", format!("{e}; this kernel has no loadable modules")),
    }
    Ok(())
}

/// `uptime` as procps prints it, with the clock in UTC.
fn uptime_line(now: Wall, uptime: &str, loadavg: &str, users: usize) -> Option<String> {
    let up_s = uptime.split_whitespace().next()?.split('.').next()?.parse::<u64>().ok()?;
    let mut load = loadavg.split_whitespace();
    let (l1, l5, l15) = (load.next()?, load.next()?, load.next()?);
    let (days, hours, minutes) = (up_s / 86_400, up_s / 3_600 % 24, up_s / 60 % 60);
    let mut out = format!(" {} up ", now.utc()?.format("%H:%M:%S"));
    match days {
        0 => {}
        1 => out.push_str("1 day, "),
        n => out.push_str(&format!("{n} days, ")),
    }
    match hours {
        0 => out.push_str(&format!("{minutes} min, ")),
        h => out.push_str(&format!("{h:2}:{minutes:02}, ")),
    }
    out.push_str(&format!(" {users} user{},  load average: {l1}, {l5}, {l15}\n", if users == 1 { "" } else { "s" }));
    Some(out)
}

/// Logged-in users by /run/utmp. Hosts without that file have no user records at all: procps prints 0
/// there as well, and readers of the line require the field.
fn users(ctx: &Context) -> usize {
    // struct utmp of glibc: 384 bytes on all 64-bit machines, type first; 7 is USER_PROCESS (utmp(5)).
    const RECORD: usize = 384;
    let Ok(got) = ctx.root.read("/run/utmp", CAP) else { return 0 };
    got.bytes.chunks_exact(RECORD).filter(|r| i16::from_ne_bytes([r[0], r[1]]) == 7).count()
}

/// `lsmod` made from /proc/modules: `name size users by,by,`.
fn lsmod(modules: &str) -> String {
    let mut out = String::from("Module                  Size  Used by\n");
    for line in modules.lines() {
        let mut f = line.split_whitespace();
        let (Some(name), Some(size), Some(count)) = (f.next(), f.next(), f.next()) else { continue };
        let by = f.next().filter(|b| *b != "-").unwrap_or("").trim_end_matches(',');
        let row = format!("{name:<19} {size:>8}  {count} {by}");
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_reads_as_procps_prints_it() {
        let now = Wall(1_795_400_100_000_000);
        let at = |s: &str, users| uptime_line(now, s, "0.21 0.23 0.11 1/100 4242", users);
        assert_eq!(at("61.5 1", 1).as_deref(), Some(" 02:15:00 up 1 min,  1 user,  load average: 0.21, 0.23, 0.11\n"));
        assert_eq!(
            at("11880.0 1", 0).as_deref(),
            Some(" 02:15:00 up  3:18,  0 users,  load average: 0.21, 0.23, 0.11\n")
        );
        assert_eq!(
            at("180000.0 1", 2).as_deref(),
            Some(" 02:15:00 up 2 days,  2:00,  2 users,  load average: 0.21, 0.23, 0.11\n")
        );
        assert_eq!(at("", 2), None);
    }

    #[test]
    fn lsmod_has_the_columns_of_kmod() {
        let text = lsmod("ext4 983040 2 - Live 0x0\nmbcache 16384 1 ext4, Live 0x0\nbroken\n");
        assert_eq!(
            text,
            "Module                  Size  Used by\next4                  983040  2\nmbcache                16384  1 ext4\n"
        );
    }
}
