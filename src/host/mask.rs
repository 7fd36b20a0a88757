//! Secrets on command lines, masked where they are collected: `mysqld -psecret` is kept as
//! `mysqld -p***`.
//!
//! Works on the tokens of the whole command line (arguments, cut at blanks, so that `sh -c "mysql
//! -psecret"` and titles set by setproctitle are covered too). Rules, first match wins:
//! - the value of a key that names a secret: `PASSWORD=x`, `--token=x`, `--password x`, `-Ddb.pwd=x`;
//! - the short options that take one, by program: `mysql -px`, `redis-cli -a x`, `curl -u user:x`;
//! - `scheme://user:x@host`, `Authorization: …`, `Bearer x`;
//! - tokens known by their shape: AWS access keys, JSON web tokens, GitHub, GitLab, Slack, Stripe keys.
//!
//! In doubt it masks. What it cannot know is a secret without name or shape (`prog s3cr3t`).

/// What stands for a secret.
pub const MASK: &[u8] = b"***";

/// Parts of key names, lower case, `-` and `.` as `_`.
const SECRET_PARTS: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"token",
    b"api_key",
    b"apikey",
    b"access_key",
    b"accesskey",
    b"private_key",
    b"credential",
    b"account_key",
    b"master_key",
    b"encryption_key",
    b"auth_key",
    b"authkey",
];
/// Whole key names, or their last part after a `_`.
const SECRET_NAMES: &[&[u8]] = &[
    b"pass",
    b"pwd",
    b"pw",
    b"auth",
    b"authorization",
    b"pat",
    b"psk",
    b"requirepass",
    b"masterauth",
    b"userpwd",
    b"passin",
    b"passout",
];
/// Keys with these endings name a place, not the secret itself.
const PLACE_ENDS: &[&[u8]] =
    &[b"_file", b"_path", b"_dir", b"_prompt", b"_stdin", b"_url", b"_fd", b"_policy", b"_ttl", b"_length"];

/// A program's short options that carry a secret.
struct Short {
    /// The base name starts with this.
    program: &'static [u8],
    /// Letters whose value is the secret, glued or as the next token.
    value: &'static [u8],
    /// Letters of which only the glued form has a value (mysql: `-p` alone asks).
    glued: &'static [u8],
    /// Letters whose value is `user:secret`.
    user: &'static [u8],
}

const SHORTS: &[Short] = &[
    Short { program: b"mysql", value: b"", glued: b"p", user: b"" },
    Short { program: b"mariadb", value: b"", glued: b"p", user: b"" },
    Short { program: b"mongo", value: b"p", glued: b"", user: b"" },
    Short { program: b"sshpass", value: b"p", glued: b"", user: b"" },
    Short { program: b"redis-cli", value: b"a", glued: b"", user: b"" },
    Short { program: b"curl", value: b"", glued: b"", user: b"uU" },
    Short { program: b"ldap", value: b"w", glued: b"", user: b"" },
    Short { program: b"ipmitool", value: b"P", glued: b"", user: b"" },
    Short { program: b"snmp", value: b"cAX", glued: b"", user: b"" },
    Short { program: b"smbclient", value: b"", glued: b"", user: b"U" },
    // `docker login -p x`; `docker run -p 80:80` is a port.
    Short { program: b"login", value: b"p", glued: b"", user: b"" },
    Short { program: b"sqlcmd", value: b"P", glued: b"", user: b"" },
    Short { program: b"7z", value: b"", glued: b"p", user: b"" },
    Short { program: b"zip", value: b"P", glued: b"", user: b"" },
];

/// Beginnings of tokens that are secrets by their shape, with the least length of the whole.
const SHAPES: &[(&[u8], usize)] = &[
    (b"AKIA", 20),
    (b"ASIA", 20),
    (b"eyJ", 40),
    (b"ghp_", 20),
    (b"gho_", 20),
    (b"ghs_", 20),
    (b"github_pat_", 30),
    (b"glpat-", 20),
    (b"xoxb-", 20),
    (b"xoxp-", 20),
    (b"xoxa-", 20),
    (b"sk_live_", 20),
    (b"rk_live_", 20),
    (b"hvs.", 20),
    (b"AGE-SECRET-KEY-", 20),
];

/// Headers whose value is a secret, lower case.
const SECRET_HEADERS: &[&[u8]] =
    &[b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"x-auth-token", b"private-token"];

/// What the next token is.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Plain,
    /// The secret itself, unless it looks like another option.
    Secret,
    /// `user:secret`.
    User,
    /// The rest of an Authorization header: scheme and credentials.
    Header,
    /// Inside a quoted secret, up to the token that ends with this quote.
    Quoted(u8),
}

/// Appends a command line (`argv` joined by zeros, as /proc/PID/cmdline has it) with blanks between
/// its arguments and its secrets masked. Bytes are otherwise kept: escape them when printing.
pub fn mask_cmdline(cmdline: &[u8], out: &mut Vec<u8>) {
    let cmdline = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
    let mut state = Masker { next: Next::Plain, shorts: None };
    for (i, argument) in cmdline.split(|b| *b == 0).enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        // A value that follows its option as an argument of its own is masked whole, blanks and all.
        if state.next == Next::Secret && !argument.starts_with(b"-") && !argument.is_empty() {
            out.extend_from_slice(MASK);
            state.next = Next::Plain;
            continue;
        }
        for (j, token) in argument.split(|b| *b == b' ').enumerate() {
            if j > 0 {
                out.push(b' ');
            }
            state.token(token, out);
        }
        // Headers and quotes end with their argument.
        if matches!(state.next, Next::Header | Next::Quoted(_)) {
            state.next = Next::Plain;
        }
    }
}

/// Where in `"key":"value"` a quoted text is.
#[derive(Clone, Copy)]
enum Json {
    None,
    Key,
    Value,
}

struct Masker {
    next: Next,
    /// Short options of the program that was named last.
    shorts: Option<&'static Short>,
}

impl Masker {
    fn token(&mut self, token: &[u8], out: &mut Vec<u8>) {
        if token.is_empty() {
            return;
        }
        match std::mem::replace(&mut self.next, Next::Plain) {
            Next::Secret if !token.starts_with(b"-") => {
                if let Some((quote @ (b'"' | b'\''), rest)) = token.split_first() {
                    self.open_quote(*quote, rest);
                }
                return out.extend_from_slice(MASK);
            }
            Next::Quoted(quote) => {
                self.open_quote(quote, token);
                return out.extend_from_slice(MASK);
            }
            Next::User if !token.starts_with(b"-") => return user(token, out),
            Next::Header => {
                self.next = Next::Header;
                return out.extend_from_slice(MASK);
            }
            _ => {}
        }
        let bare = token.trim_ascii_start().strip_prefix(b"'").or(token.strip_prefix(b"\"")).unwrap_or(token);
        if let Some(dashed) = bare.strip_prefix(b"-") {
            if self.option(token, bare, dashed, out) {
                return;
            }
        } else {
            let name = bare.rsplit(|b| *b == b'/').next().unwrap_or(bare);
            if let Some(s) = SHORTS.iter().find(|s| name.starts_with(s.program)) {
                self.shorts = Some(s);
            }
        }
        self.text(token, out);
    }

    /// Stays inside the quote unless `rest` closes it.
    fn open_quote(&mut self, quote: u8, rest: &[u8]) {
        if !rest.contains(&quote) {
            self.next = Next::Quoted(quote);
        }
    }

    /// An option. True when it was written, masked or not.
    fn option(&mut self, token: &[u8], bare: &[u8], dashed: &[u8], out: &mut Vec<u8>) -> bool {
        if !dashed.starts_with(b"-") && self.short(token, bare, dashed, out) {
            return true;
        }
        let long = dashed.strip_prefix(b"-").unwrap_or(dashed);
        if !dashed.contains(&b'=') && !dashed.contains(&b':') && is_secret_key(long) {
            self.next = Next::Secret;
            out.extend_from_slice(token);
            return true;
        }
        if matches!(long, b"user" | b"proxy-user") {
            self.next = Next::User;
            out.extend_from_slice(token);
            return true;
        }
        if let Some(value) = long.strip_prefix(b"user=").filter(|v| v.contains(&b':')) {
            out.extend_from_slice(&token[..token.len() - value.len()]);
            user(value, out);
            return true;
        }
        false
    }

    /// An option of one dash, for the program that was named last. Asked before the key names, or
    /// `-psecret` would pass for a key that wants a value.
    fn short(&mut self, token: &[u8], bare: &[u8], dashed: &[u8], out: &mut Vec<u8>) -> bool {
        let (Some(shorts), Some((letter, value))) = (self.shorts, dashed.split_first()) else { return false };
        let lead = token.len() - bare.len() + 2;
        if shorts.value.contains(letter) || shorts.glued.contains(letter) {
            out.extend_from_slice(&token[..lead]);
            if !value.is_empty() {
                out.extend_from_slice(MASK);
            } else if shorts.value.contains(letter) {
                self.next = Next::Secret;
            }
            return true;
        }
        if shorts.user.contains(letter) {
            out.extend_from_slice(&token[..lead]);
            if value.is_empty() {
                self.next = Next::User;
            } else {
                user(value, out);
            }
            return true;
        }
        false
    }

    /// Any other token: pieces between `&`, `;`, `,` and quotes that are `key=value` or `key: value`,
    /// URLs and known shapes.
    fn text(&mut self, token: &[u8], out: &mut Vec<u8>) {
        let lower = token.to_ascii_lowercase();
        let stripped = lower.strip_prefix(b"-h").unwrap_or(&lower);
        let word = stripped.trim_ascii().strip_prefix(b"'").or(stripped.strip_prefix(b"\"")).unwrap_or(stripped);
        if let Some(colon) = memchr::memchr(b':', word) {
            // `--header=X-Api-Key:` names the header behind its own sign.
            let key = word[..colon].rsplit(|b| *b == b'=').next().unwrap_or_default();
            if SECRET_HEADERS.contains(&key) {
                let end = token.len() - (word.len() - colon) + 1;
                out.extend_from_slice(&token[..end]);
                if end < token.len() {
                    out.extend_from_slice(MASK);
                }
                self.next = Next::Header;
                return;
            }
            // `password: x`
            if colon + 1 == word.len() && is_secret_key(key) {
                self.next = Next::Secret;
                return out.extend_from_slice(token);
            }
        }
        if matches!(word, b"bearer" | b"basic") {
            self.next = Next::Secret;
            return out.extend_from_slice(token);
        }
        let token = url(token);
        let mut done = 0;
        let mut json = Json::None;
        for piece in token.split_inclusive(|b| matches!(b, b'&' | b';' | b',' | b'"' | b'\'' | b'{' | b'}')) {
            done += piece.len();
            let (body, end) = match piece.split_last() {
                Some((last, body)) if matches!(last, b'&' | b';' | b',' | b'"' | b'\'' | b'{' | b'}') => {
                    (body, Some(*last))
                }
                _ => (piece, None),
            };
            // JSON: `"password":"x"`, cut at its quotes.
            let quoted = matches!(end, Some(b'"' | b'\''));
            json = match json {
                Json::Key if body.trim_ascii() == b":" && quoted => Json::Value,
                Json::Value if !body.is_empty() => {
                    out.extend_from_slice(MASK);
                    out.extend(end);
                    json = Json::None;
                    continue;
                }
                _ if quoted && is_secret_key(body) => Json::Key,
                _ => Json::None,
            };
            // The first sign whose key is a secret's. A path behind a colon is a place (`secrets:/run`). A key
            // goes back to the sign before it at most, so this is linear however many signs there are.
            let cut = (0..body.len()).find(|&i| {
                let sign = body[i] == b'=' || body[i] == b':' && body.get(i + 1).is_some_and(|b| *b != b'/');
                if !sign {
                    return false;
                }
                let key = body[..i].rsplit(|b| matches!(b, b'?' | b'/' | b'=' | b':')).next().unwrap_or_default();
                is_secret_key(key)
            });
            match cut {
                Some(i) if i + 1 < body.len() => {
                    out.extend_from_slice(&body[..=i]);
                    out.extend_from_slice(MASK);
                }
                // `password="two words"`: the quote is the separator and the value comes next.
                Some(_) if end.is_some_and(|e| matches!(e, b'"' | b'\'')) => {
                    out.extend_from_slice(body);
                    out.extend_from_slice(MASK);
                    let rest = &token[done..];
                    self.open_quote(end.unwrap_or(b'"'), rest);
                    return;
                }
                _ if has_shape(body) => out.extend_from_slice(MASK),
                _ => out.extend_from_slice(body),
            }
            out.extend(end);
        }
    }
}

/// `user:secret`, `user%secret`.
fn user(value: &[u8], out: &mut Vec<u8>) {
    match value.iter().position(|b| matches!(b, b':' | b'%')) {
        Some(i) if i + 1 < value.len() => {
            out.extend_from_slice(&value[..=i]);
            out.extend_from_slice(MASK);
        }
        _ => out.extend_from_slice(value),
    }
}

/// `scheme://user:secret@rest`, each one in the token, and `scheme://secret@rest` where the secret has a
/// known shape.
fn url(token: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let mut masked = Vec::new();
    let mut rest = token;
    while let Some(start) = memchr::memmem::find(rest, b"://").map(|i| i + 3) {
        let after = &rest[start..];
        let authority = after.split(|b| matches!(b, b'/' | b'?' | b'#')).next().unwrap_or_default();
        // A password may itself hold an @ (the last one counts) or a / (then the @ is beyond it).
        let at = memchr::memrchr(b'@', authority)
            .or_else(|| memchr::memchr(b'@', after).filter(|at| memchr::memchr(b':', &after[..*at]).is_some()));
        let Some(at) = at else { break };
        let info = &after[..at];
        let keep = match memchr::memchr(b':', info) {
            Some(colon) => Some(start + colon + 1),
            None => has_shape(info).then_some(start),
        };
        match keep {
            Some(keep) => {
                masked.extend_from_slice(&rest[..keep]);
                masked.extend_from_slice(MASK);
            }
            None => masked.extend_from_slice(&rest[..start + at]),
        }
        rest = &after[at..];
    }
    if masked.is_empty() {
        return token.into();
    }
    masked.extend_from_slice(rest);
    masked.into()
}

fn has_shape(token: &[u8]) -> bool {
    SHAPES.iter().any(|(start, least)| token.len() >= *least && token.starts_with(start))
}

/// Whether a key (without its dashes) names a secret.
pub fn is_secret_key(key: &[u8]) -> bool {
    if key.is_empty() || key.len() > 128 {
        return false;
    }
    let trimmed = &key[key.iter().position(|b| *b != b'-').unwrap_or(0)..];
    let name: Vec<u8> =
        trimmed.iter().map(|b| if matches!(b, b'-' | b'.' | b':') { b'_' } else { b.to_ascii_lowercase() }).collect();
    if PLACE_ENDS.iter().any(|e| name.ends_with(e)) {
        return false;
    }
    let last = name.rsplit(|b| *b == b'_').next().unwrap_or(&name);
    SECRET_PARTS.iter().any(|p| memchr::memmem::find(&name, p).is_some())
        || SECRET_NAMES.iter().any(|n| name == *n || last == *n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(line: &str) -> String {
        let mut out = Vec::new();
        mask_cmdline(line.replace('|', "\0").as_bytes(), &mut out);
        String::from_utf8(out).expect("text")
    }

    /// Arguments are separated by `|`.
    #[test]
    fn table() {
        for (line, want) in [
            ("mysql|-uroot|-psecret|-h|db", "mysql -uroot -p*** -h db"),
            ("/usr/bin/mysqldump|-p|db", "/usr/bin/mysqldump -p db"),
            ("mysql|--password=x y|db", "mysql --password=*** y db"),
            ("prog|--password|two words|next", "prog --password *** next"),
            ("mysql|--password|-h|db", "mysql --password -h db"),
            ("env|DB_PASSWORD=hunter2|FOO=bar|prog", "env DB_PASSWORD=*** FOO=bar prog"),
            ("prog|--api-key=abc|--token|abc", "prog --api-key=*** --token ***"),
            (
                "prog|--password-file=/etc/pw|--password-file|/etc/pw",
                "prog --password-file=/etc/pw --password-file /etc/pw",
            ),
            ("java|-Dspring.datasource.password=x|-jar|a.jar", "java -Dspring.datasource.password=*** -jar a.jar"),
            ("curl|-u|bob:pw|https://x/", "curl -u bob:*** https://x/"),
            ("curl|-ubob:pw|x", "curl -ubob:*** x"),
            ("curl|--user|bob:pw", "curl --user bob:***"),
            ("curl|-H|Authorization: Bearer abc.def|x", "curl -H Authorization: *** *** x"),
            ("curl|-HAuthorization:Basic|x", "curl -HAuthorization:*** x"),
            ("curl|-d|user=a&password=b&c=d", "curl -d user=a&password=***&c=d"),
            ("curl|https://h/p?access_token=abc&x=1", "curl https://h/p?access_token=***&x=1"),
            ("git|clone|https://bob:pw@host/repo", "git clone https://bob:***@host/repo"),
            ("psql|postgres://u:p@ss@h:5432/db", "psql postgres://u:***@h:5432/db"),
            ("psql|postgres://u:p/w@h/db", "psql postgres://u:***@h/db"),
            ("prog|amqp://u:p@h1,amqp://v:q@h2/x", "prog amqp://u:***@h1,amqp://v:***@h2/x"),
            ("prog|http://u@h/,http://v:q@h2", "prog http://u@h/,http://v:***@h2"),
            ("ssh|user@host", "ssh user@host"),
            ("prog|AKIAIOSFODNN7EXAMPLE|x", "prog *** x"),
            ("curl|--header=X-Api-Key:abc|x", "curl --header=X-Api-Key:*** x"),
            ("curl|-H|X-Api-Key: abc def|x", "curl -H X-Api-Key: *** *** x"),
            (
                "curl|-d|{\"user\":\"a\",\"password\":\"x\",\"b\":\"c\"}",
                "curl -d {\"user\":\"a\",\"password\":\"***\",\"b\":\"c\"}",
            ),
            ("prog|-e|password: x|token:abc", "prog -e password: *** token:***"),
            ("docker|run|-v|/etc/secret:/run/secret", "docker run -v /etc/secret:/run/secret"),
            ("redis-cli|-a|pw|ping", "redis-cli -a *** ping"),
            ("redis-server|--requirepass|pw", "redis-server --requirepass ***"),
            ("sh|-c|mysql -psecret db", "sh -c mysql -p*** db"),
            ("sh|-c|PASSWORD='a' prog", "sh -c PASSWORD=*** prog"),
            (
                "sh|-c|PASSWORD='a b c' prog --password \"x y\" z",
                "sh -c PASSWORD=*** *** *** prog --password *** *** z",
            ),
            ("sshpass|-p|pw|ssh|h", "sshpass -p *** ssh h"),
            ("docker|run|-p|80:80|nginx", "docker run -p 80:80 nginx"),
            ("docker|login|-u|bob|-p|pw", "docker login -u bob -p ***"),
            ("openssl|enc|-passin|pass:x", "openssl enc -passin ***"),
            ("nginx: worker process", "nginx: worker process"),
            ("tar|-p|-x|-f|a.tar", "tar -p -x -f a.tar"),
            ("ps|-p|1", "ps -p 1"),
            ("", ""),
        ] {
            assert_eq!(masked(line), want, "{line}");
        }
    }

    #[test]
    fn any_bytes_pass() {
        let mut out = Vec::new();
        mask_cmdline(b"\0\0\xff\xfe=\0-\0--\0=\0://@\0://:@\0", &mut out);
        assert!(!out.is_empty());
    }
}
