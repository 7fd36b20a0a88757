//! The ends of log files: the system's, the configured ones, the consoles', and those of the failing service.

use crate::capture::files::{self, ReadError};
use crate::capture::guard::{Guard, Unanswered};
use crate::capture::{CollectError, Context, FileSpec, Sensitivity, Sink, Source, Spec, Tier, subject};
use crate::host::mounts;
use crate::sys::capability::Capability;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

pub const SPEC: Spec = Spec {
    name: "logs",
    doc: "The last megabyte of system logs, configured logs, console logs and the failing service's log.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 32 << 20,
    limit_ms: 6_000,
    sensitivity: Sensitivity::Content,
    capabilities: &[Capability::DacReadSearch],
};

/// Bytes kept of one log, at its end.
const TAIL: usize = 1 << 20;

/// Not auth.log and secure: who logged in is not what a crash is about.
const SYSTEM: &[&str] = &[
    "/var/log/messages",
    "/var/log/syslog",
    "/var/log/kern.log",
    "/var/log/dmesg",
    "/var/log/daemon.log",
    "/var/log/boot.log",
    "/var/log/mcelog",
];

/// Logs of well-known services, by a word in the name of the unit, probe or process that failed.
const SERVICES: &[(&str, &[&str])] = &[
    ("nginx", &["/var/log/nginx/error.log"]),
    ("apache", &["/var/log/apache2/error.log", "/var/log/httpd/error_log"]),
    ("httpd", &["/var/log/httpd/error_log", "/var/log/apache2/error.log"]),
    ("php", &["/var/log/php*-fpm.log", "/var/log/php-fpm/error.log"]),
    ("haproxy", &["/var/log/haproxy.log"]),
    ("mysql", &["/var/log/mysql/error.log", "/var/log/mysqld.log"]),
    ("mariadb", &["/var/log/mariadb/mariadb.log", "/var/log/mysql/error.log"]),
    ("postgres", &["/var/log/postgresql/*.log"]),
    ("redis", &["/var/log/redis/*.log"]),
    ("squid", &["/var/log/squid/cache.log"]),
    ("tomcat", &["/var/log/tomcat*/catalina.out"]),
    ("libvirt", &["/var/log/libvirt/libvirtd.log"]),
];

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let mut guard = Guard::new(files::MAX_ABANDONED);
    let mut seen = Seen::default();
    let words = subject::words(ctx);
    let service = SERVICES.iter().filter(|(w, _)| words.iter().any(|x| x.contains(w))).flat_map(|(_, l)| *l);
    // What the incident is about first, in case that room or time runs out.
    for path in service {
        tails(path, true, ctx, &mut guard, &mut seen, sink)?;
    }
    for path in &ctx.config.capture.logs {
        tails(path, false, ctx, &mut guard, &mut seen, sink)?;
    }
    for console in &ctx.config.consoles {
        tails(&console.path, false, ctx, &mut guard, &mut seen, sink)?;
    }
    for path in SYSTEM {
        tails(path, true, ctx, &mut guard, &mut seen, sink)?;
    }
    Ok(())
}

/// What was dealt with.
#[derive(Default)]
struct Seen {
    paths: BTreeSet<String>,
    /// File systems (or directories) that did not answer: their other logs would only cost further threads, and then
    /// the logs elsewhere their turn.
    silent: Vec<PathBuf>,
}

/// The mount that a path is on; on the root file system its directory. Asks the mount table alone.
fn place_of(ctx: &Context, path: &Path) -> PathBuf {
    let table = ctx.root.read("/proc/self/mountinfo", 4 << 20).map(|t| mounts::parse(&t.bytes).0).unwrap_or_default();
    let above = table.into_iter().map(|m| m.path).filter(|p| path.starts_with(p) && *p != Path::new("/"));
    let directory = || path.parent().unwrap_or(path).to_owned();
    above.max_by_key(|p| p.components().count()).unwrap_or_else(directory)
}

/// Puts the end of every file that `pattern` names and that was not put before.
fn tails(
    pattern: &str,
    optional: bool,
    ctx: &Context,
    guard: &mut Guard,
    seen: &mut Seen,
    sink: &mut Sink,
) -> Result<(), CollectError> {
    if !pattern.starts_with('/') || pattern.split('/').any(|c| c == "..") {
        sink.missing(pattern, "not an absolute path without `..`");
        return Ok(());
    }
    // What an operator asked for is missed when it is not there.
    let spec = FileSpec { optional, ..FileSpec::new("/").tail() };
    let paths = files::expand(pattern, &spec, ctx, guard, sink);
    if paths.is_empty() && !optional {
        sink.missing(pattern, "matches no file");
    }
    for path in paths {
        if ctx.expired() {
            sink.missing(path, "no time left");
            return Err(crate::capture::Stop::Cancelled.into());
        }
        if !seen.paths.insert(path.clone()) {
            continue;
        }
        if let Some(place) = seen.silent.iter().find(|place| Path::new(&path).starts_with(place)) {
            sink.missing(&path, format!("not tried: {} does not answer", place.display()));
            continue;
        }
        match files::read(&path, TAIL, true, ctx, guard) {
            Ok(got) => sink.put_cut(path.trim_start_matches('/'), got.bytes, got.truncated)?,
            Err(ReadError::Io(e)) if e.kind() == io::ErrorKind::NotFound && optional => {}
            Err(ReadError::Io(e)) if e.kind() == io::ErrorKind::PermissionDenied => {
                sink.missing(path, format!("{e}; run as root, or with CAP_DAC_READ_SEARCH, to have it"));
            }
            Err(why) => {
                if matches!(why, ReadError::Unanswered(Unanswered::Stuck(_))) {
                    seen.silent.push(place_of(ctx, Path::new(&path)));
                }
                sink.missing(path, why.to_string());
            }
        }
    }
    Ok(())
}
