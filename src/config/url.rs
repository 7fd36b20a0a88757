//! `http://` and `https://` URLs, as far as a probe needs them: host, port, and what to ask for.

/// A checked URL. Nothing in it can break out of a request line or a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl HttpUrl {
    /// The error says what is wrong, to follow the name of a key: `is "…", …`.
    pub fn parse(text: &str) -> Result<HttpUrl, String> {
        let (tls, rest) = match (strip(text, "http://"), strip(text, "https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(format!("is {text:?}, not an http:// or https:// URL")),
        };
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!("is {text:?}; {bad:?} in a URL must be percent-encoded (in a host name: punycode)"));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("holds credentials, which are not accepted in a URL".into());
        }
        let (host, port) = host_port(authority, Some(if tls { 443 } else { 80 }))?;
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(HttpUrl { tls, host, port, path })
    }

    /// The value of the Host header: brackets around IPv6, no default port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

fn strip<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let head = text.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
}

/// `name:80`, `192.0.2.1:80`, `[2001:db8::1]:80`; without a port, `default`.
pub fn host_port(text: &str, default: Option<u16>) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| format!("has {text:?}, where a ] is missing"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(format!("has {host:?} in brackets, not an IPv6 address"));
            }
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(format!("has {after:?} after the address, not a port")),
            }
        }
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(format!("has {text:?}; an IPv6 address goes into brackets, as [::1]:80"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("names no host".into());
    }
    if host.len() > 253 || !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')) {
        return Err(format!("has {host:?}, which is no host name or address"));
    }
    let port = match (port, default) {
        (Some(p), _) => p.parse::<u16>().ok().filter(|p| *p != 0),
        (None, Some(d)) => Some(d),
        (None, None) => return Err(format!("has no port; write {text}:80")),
    };
    match port {
        Some(port) => Ok((host.to_owned(), port)),
        None => Err(format!("has {text:?}, whose port is not a number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = |s: &str| HttpUrl::parse(s).map(|u| (u.tls, u.authority(), u.port, u.path));
        assert_eq!(url("http://a.example"), Ok((false, "a.example".into(), 80, "/".into())));
        assert_eq!(url("HTTPS://a:8443/x?y=1#z"), Ok((true, "a:8443".into(), 8443, "/x?y=1".into())));
        assert_eq!(url("http://[::1]:8080?q"), Ok((false, "[::1]:8080".into(), 8080, "/?q".into())));
        assert_eq!(url("https://[::1]/"), Ok((true, "[::1]".into(), 443, "/".into())));
    }

    #[test]
    fn nothing_breaks_out_of_the_request() {
        for bad in [
            "ftp://a/",
            "http://",
            "http:///x",
            "http://a b/",
            "http://a/\r\nX: y",
            "http://u:p@a/",
            "http://a:0/",
            "http://a:99999/",
            "http://::1/",
            "http://[::1/",
            "http://[a]/",
            "http://[::1]x/",
            "http://ä/",
            "http",
            "",
        ] {
            assert!(HttpUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
