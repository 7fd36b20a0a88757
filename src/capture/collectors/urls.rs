//! Pages that the config names (`capture.urls`), such as a status page of Apache: one plain HTTP request
//! each.

use crate::capture::guard::Guard;
use crate::capture::mangle::{plain, unique};
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::model::Deadline;
use crate::sys::clock;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "urls",
    doc: "Pages that the config names, fetched over http.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 32 << 20,
    limit_ms: 30_000,
    sensitivity: Sensitivity::Content,
    capabilities: &[],
};

/// Most bytes of an answer's head.
const HEAD_CAP: usize = 32 << 10;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let urls = &ctx.config.capture.urls;
    if urls.is_empty() {
        return Err(CollectError::Skipped("the config names no pages (capture.urls)".into()));
    }
    let mut guard = Guard::new(3);
    let mut used = BTreeSet::new();
    for u in urls {
        if ctx.expired() {
            sink.missing(&u.name, "not fetched: no time left");
            continue;
        }
        let target = match Target::parse(&u.url) {
            Ok(t) => t,
            Err(why) => {
                sink.missing(format!("{} ({})", u.name, u.url), why);
                continue;
            }
        };
        let limit = Duration::from_millis(u.timeout_ms).min(ctx.left());
        let cap = usize::try_from(u.cap_bytes).unwrap_or(usize::MAX);
        let deadline = Deadline::after(clock::mono(), limit);
        // Resolving a name has no limit of its own: that is what the guard is for.
        let answer = guard.call(limit + Duration::from_millis(200), move || fetch(&target, deadline, cap));
        let what = format!("{} ({})", u.name, u.url);
        match answer {
            Ok(Ok(page)) => {
                if !(200..300).contains(&page.status) {
                    sink.missing(what, format!("answered with status {}", page.status));
                }
                let entry = format!("lastgasp/urls/{}", unique(&plain(&u.name), &mut used));
                sink.put_cut(entry, page.body, page.cut)?;
            }
            Ok(Err(e)) => sink.missing(what, e.to_string()),
            Err(unanswered) => sink.missing(what, unanswered.to_string()),
        }
    }
    Ok(())
}

/// Where to ask, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    /// Path and query.
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Target, String> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err("https is not spoken here; use a command (capture.commands)".into()),
            _ => return Err("no http:// address".into()),
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(i) => rest.split_at(i),
            None => (rest, "/"),
        };
        if authority.contains('@') {
            return Err("credentials in an address are not supported".into());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or("the address in brackets has no end")?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((h, p)) => (h, Some(p)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Ok(80), |p| p.parse().map_err(|_| format!("bad port {p:?}")))?;
        let path = path.split('#').next().unwrap_or("/");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        // A line end here would let the config write headers of its own.
        if host.is_empty() || format!("{host}{path}").chars().any(|c| c.is_control() || c == ' ') {
            return Err("bad host or path".into());
        }
        Ok(Target { host: host.into(), port, path })
    }
}

#[derive(Debug)]
struct Page {
    status: u16,
    body: Vec<u8>,
    cut: bool,
}

/// One request of HTTP/1.0, so that the answer comes in one piece and ends with the connection.
fn fetch(target: &Target, deadline: Deadline, cap: usize) -> io::Result<Page> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let left = || Some(deadline.left(clock::mono())).filter(|d| !d.is_zero()).ok_or_else(late);
    let mut stream = None;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left()?) {
            Ok(s) => {
                stream = Some(s);
                break;
            }
            Err(e) => last = e,
        }
    }
    let Some(mut stream) = stream else { return Err(last) };
    stream.set_write_timeout(Some(left()?))?;
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {host}:{}\r\nUser-Agent: lastgasp/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        target.path,
        target.port,
        env!("CARGO_PKG_VERSION")
    );
    // In one piece: a server that answers after the first line would meet the rest with a reset.
    stream.write_all(request.as_bytes())?;
    let mut got = Vec::new();
    let mut head_end = None;
    let mut chunk = vec![0_u8; 16 << 10];
    let mut cut = false;
    loop {
        stream.set_read_timeout(Some(left()?))?;
        let n = match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(late()),
            Err(e) => return Err(e),
        };
        let seen = got.len().saturating_sub(3);
        got.extend_from_slice(&chunk[..n]);
        if head_end.is_none() {
            head_end = memchr::memmem::find(&got[seen..], b"\r\n\r\n").map(|i| seen + i + 4);
            if head_end.is_none() && got.len() > HEAD_CAP {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of the answer does not end"));
            }
        }
        if head_end.is_some_and(|h| got.len() - h > cap) {
            cut = true;
            break;
        }
    }
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let head_end = head_end.ok_or_else(bad)?;
    let line = got.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| bad())?;
    let status = line.strip_prefix("HTTP/").and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok());
    let mut body = got.split_off(head_end);
    body.truncate(cap);
    Ok(Page { status: status.ok_or_else(bad)?, body, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_tricks_refused() {
        let t = |u: &str| Target::parse(u);
        let want = |host: &str, port, path: &str| Ok(Target { host: host.into(), port, path: path.into() });
        assert_eq!(t("http://localhost/server-status?auto"), want("localhost", 80, "/server-status?auto"));
        assert_eq!(t("http://[::1]:8080"), want("::1", 8080, "/"));
        assert_eq!(t("http://h?x#frag"), want("h", 80, "/?x"));
        for bad in ["https://h/", "ftp://h", "h", "http://", "http://u:p@h/", "http://h:99999/", "http://h/a\r\nX: y"] {
            assert!(t(bad).is_err(), "{bad:?}");
        }
    }
}
