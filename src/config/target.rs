//! What a probe looks at, as one word: `tcp:127.0.0.1:80`, `unit:nginx.service`.

use crate::config::form::{Form, is_name};
use crate::config::keys;
use crate::config::url::{HttpUrl, host_port};
use crate::config::{ProbeConfig, ProbeTarget};
use std::fmt;
use std::path::PathBuf;

/// The accepted schemes, each with an example of its address.
pub const SCHEMES: &[&str] = &[
    "tcp:HOST:PORT",
    "http://HOST[:PORT]/PATH",
    "https://HOST[:PORT]/PATH",
    "unix:/PATH",
    "unit:NAME.service",
    "process:NAME",
    "pidfile:/PATH",
];

/// Longest path of a unix socket, in bytes: `sun_path` of unix(7), less its final NUL.
const UNIX_PATH_MAX: usize = 107;

/// The target word as written; the other keys of the probe complete it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    Tcp { host: String, port: u16 },
    Http { url: String },
    Unix { path: PathBuf },
    Unit { unit: String },
    Process { name: String },
    Pidfile { path: PathBuf },
}

impl Scheme {
    /// The error follows the name of a key: `is "…", …`.
    pub fn parse(text: &str) -> Result<Scheme, String> {
        let unknown = || format!("is {text:?}, whose scheme is unknown; write one of {}", SCHEMES.join(", "));
        let (scheme, rest) = text.split_once(':').ok_or_else(unknown)?;
        match scheme {
            "tcp" => {
                let (host, port) = host_port(rest, None)?;
                Ok(Scheme::Tcp { host, port })
            }
            "http" | "https" => HttpUrl::parse(text).map(|_| Scheme::Http { url: text.to_owned() }),
            "unix" => {
                if rest.len() > UNIX_PATH_MAX {
                    return Err(format!("has a path of {} bytes; unix sockets end at {UNIX_PATH_MAX}", rest.len()));
                }
                match rest.strip_prefix('@') {
                    Some(name) if !name.is_empty() => Ok(Scheme::Unix { path: PathBuf::from(rest) }),
                    _ => path(rest).map(|path| Scheme::Unix { path }),
                }
            }
            "unit" => {
                let unit = word(rest, "unit")?;
                if !unit.contains('.') {
                    return Err(format!("has the unit {unit:?} without its type; write unit:{unit}.service"));
                }
                Ok(Scheme::Unit { unit })
            }
            "process" => word(rest, "process").map(|name| Scheme::Process { name }),
            "pidfile" => path(rest).map(|path| Scheme::Pidfile { path }),
            _ => Err(unknown()),
        }
    }

    /// With the defaults of the other keys.
    pub fn target(self) -> ProbeTarget {
        match self {
            Scheme::Tcp { host, port } => ProbeTarget::Tcp { host, port },
            Scheme::Http { url } => ProbeTarget::Http { url, status: Vec::new(), body: None, verify: true },
            Scheme::Unix { path } => ProbeTarget::Unix { path },
            Scheme::Unit { unit } => ProbeTarget::Unit { unit },
            Scheme::Process { name } => ProbeTarget::Process { name, min: 1 },
            Scheme::Pidfile { path } => ProbeTarget::Pidfile { path },
        }
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') {
        Ok(PathBuf::from(text))
    } else {
        Err(format!("has the path {text:?}, which is not absolute"))
    }
}

fn word(text: &str, what: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('-') || text.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(format!("has the {what} {text:?}, which is not {}", Form::Word.accepts()));
    }
    Ok(text.to_owned())
}

/// Reads a target, as in `target = "…"` of a probe. The error is a clause: `is "…", whose scheme …`.
pub fn parse_target(text: &str) -> Result<ProbeTarget, String> {
    Scheme::parse(text).map(Scheme::target)
}

/// Reads `tcp:127.0.0.1:80` or `web=tcp:127.0.0.1:80`, with the defaults of a `[[probe]]`. Without a
/// name, the target is the name.
pub fn probe_from_arg(arg: &str) -> Result<ProbeConfig, String> {
    let (name, text) = match arg.split_once('=') {
        Some((name, text)) if is_name(name) => (name.to_owned(), text),
        // An `=` later on belongs to a URL.
        Some((name, _)) if !name.contains(':') => {
            return Err(format!("probe {arg:?}: {name:?} is not {}", Form::Name.accepts()));
        }
        _ => (String::new(), arg),
    };
    if text.chars().any(char::is_control) {
        return Err(format!("probe {arg:?}: holds a control character"));
    }
    let target = parse_target(text).map_err(|e| format!("probe {arg:?}: target {e}"))?;
    let name = if name.is_empty() { name_of(text) } else { name };
    Ok(ProbeConfig {
        name,
        target,
        interval_ms: keys::default_number("probe", "interval"),
        timeout_ms: keys::default_number("probe", "timeout"),
        failures: keys::default_number("probe", "failures") as u32,
        recoveries: keys::default_number("probe", "recoveries") as u32,
        unit: None,
    })
}

/// A name made of a target: what a name may not hold becomes a dash.
fn name_of(target: &str) -> String {
    let mut name = String::new();
    for c in target.chars().take(200) {
        let c = if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
        if (c != '-' || !name.ends_with('-')) && name.len() < 64 {
            name.push(c);
        }
    }
    name.trim_matches('-').to_owned()
}

/// As it is written in the config.
impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeTarget::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            ProbeTarget::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            ProbeTarget::Http { url, .. } => f.write_str(url),
            ProbeTarget::Unix { path } => write!(f, "unix:{}", path.display()),
            ProbeTarget::Unit { unit } => write!(f, "unit:{unit}"),
            ProbeTarget::Process { name, .. } => write!(f, "process:{name}"),
            ProbeTarget::Pidfile { path } => write!(f, "pidfile:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back_what_they_print() {
        for text in [
            "tcp:127.0.0.1:80",
            "tcp:[::1]:80",
            "tcp:db.example:5432",
            "http://127.0.0.1:8080/health?x=1",
            "https://a.example/",
            "unix:/run/x.sock",
            "unix:@abstract",
            "unit:nginx.service",
            "unit:getty@tty1.service",
            "process:nginx",
            "pidfile:/run/x.pid",
        ] {
            assert_eq!(parse_target(text).expect(text).to_string(), text);
            let probe = probe_from_arg(text).expect(text);
            assert!(is_name(&probe.name), "{}", probe.name);
            assert_eq!(probe_from_arg(&format!("web={text}")).expect(text).name, "web");
        }
    }

    #[test]
    fn every_scheme_in_the_list_is_one() {
        for scheme in SCHEMES {
            let text = scheme.replace("[:PORT]", "").replace("HOST", "a").replace("PORT", "1").replace("PATH", "p");
            parse_target(&text.replace("NAME", "n")).expect(scheme);
        }
    }

    #[test]
    fn bad_targets_say_why() {
        for (text, part) in [
            ("udp:1.2.3.4:5", "scheme is unknown; write one of tcp:HOST:PORT"),
            ("80", "scheme is unknown"),
            ("tcp:localhost", "has no port"),
            ("tcp:::1:80", "goes into brackets"),
            ("tcp:a:0", "port is not a number"),
            ("unix:run/x", "not absolute"),
            ("unix:@", "not absolute"),
            ("unit:nginx", "write unit:nginx.service"),
            ("unit:-x.service", "unit"),
            ("process:", "process"),
            ("pidfile:x", "not absolute"),
            ("http://", "names no host"),
        ] {
            let error = parse_target(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(probe_from_arg("bad name=tcp:a:1").expect_err("name").contains("bad name"));
    }
}
