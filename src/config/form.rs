//! What a value may look like: one `Form` per key, which converts a TOML value, says what is wrong
//! with it, and says in words what is accepted.

use crate::config::{Sysrq, glob, target, url};
use crate::model::{Kind, Severity};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// Largest compiled size of a regex of the config, in bytes: a counted repetition of a counted
/// repetition otherwise takes all memory. `regex` matches in linear time whatever it is.
pub const REGEX_SIZE_MAX: usize = 1 << 20;
/// Longest text value, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// The accepted values of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Bool,
    /// Any text but the empty one, on one line.
    Text,
    /// Names end up in file names and titles.
    Name,
    /// A unit, process or host name: no blanks, no slashes, no leading dash.
    Word,
    /// An absolute path.
    Path,
    /// An absolute path, `*`, `?` and `[…]` allowed.
    Glob,
    Regex,
    /// A regex with a group.
    GroupRegex,
    Url,
    /// An IP address.
    Address,
    /// An IP address and a port.
    SocketAddress,
    Target,
    Kind,
    Severity,
    /// The letter of a dump that changes nothing.
    Sysrq,
    Count {
        min: u64,
        max: u64,
    },
    /// In milliseconds.
    Duration {
        min_ms: u64,
        max_ms: u64,
    },
    /// In bytes.
    Size {
        min: u64,
        max: u64,
    },
    List {
        of: &'static Form,
        min: usize,
        max: usize,
    },
}

/// A converted value. Durations are milliseconds, sizes bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Text(String),
    Number(u64),
    Target(target::Scheme),
    Kind(Kind),
    Severity(Severity),
    List(Vec<Value>),
}

/// What is wrong, and where in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

impl Form {
    /// What is accepted, in words: `a duration from 100ms to 1d, as "5s"`.
    pub fn accepts(&self) -> String {
        match self {
            Form::Bool => "true or false".into(),
            Form::Text => "text on one line".into(),
            Form::Name => "a name of letters, digits, '.', '_' and '-', at most 64".into(),
            Form::Word => "a name without blanks and slashes".into(),
            Form::Path => "an absolute path".into(),
            Form::Glob => "an absolute path; *, ? and [abc] stand for characters within a component".into(),
            Form::Regex => "a regular expression".into(),
            Form::GroupRegex => "a regular expression with a group".into(),
            Form::Url => "an http:// or https:// URL".into(),
            Form::Address => "an IP address".into(),
            Form::SocketAddress => "an IP address and a port, as \"0.0.0.0:6666\" or \"[::]:6666\"".into(),
            Form::Target => format!("one of {}", target::SCHEMES.join(", ")),
            Form::Kind => format!("a kind: {}", names(Kind::ALL.iter().map(|k| k.name()))),
            Form::Severity => format!("a severity: {}", names(SEVERITIES.iter().map(|s| s.name()))),
            Form::Sysrq => format!("one of {}", names(Sysrq::ALL.iter().map(|s| s.letter()))),
            Form::Count { min, max } => format!("a whole number from {min} to {max}"),
            Form::Duration { min_ms, max_ms } => {
                format!(
                    "a duration from {} to {}, as \"5s\" or \"10m\"",
                    duration_text(*min_ms),
                    duration_text(*max_ms)
                )
            }
            Form::Size { min, max } => {
                format!("a size from {} to {}, as \"256MiB\"", size_text(*min), size_text(*max))
            }
            Form::List { of, min, max } => match min {
                0 => format!("a list of at most {max}: {}", of.accepts()),
                _ => format!("a list of {min} to {max}: {}", of.accepts()),
            },
        }
    }

    /// Converts a value; otherwise says everything that is wrong with it.
    pub fn convert(&self, value: &Spanned<DeValue<'_>>) -> Result<Value, Vec<Fault>> {
        let one = |message: String| vec![Fault { span: value.span(), message, help: None }];
        let wrong = || one(format!("is {}, not {}", described(value.get_ref()), self.noun()));
        match self {
            Form::Bool => value.get_ref().as_bool().map(Value::Bool).ok_or_else(wrong),
            Form::Count { min, max } => {
                let text = value.get_ref().as_integer().ok_or_else(wrong)?;
                match i128::from_str_radix(text.as_str(), text.radix()) {
                    Ok(n) if n >= i128::from(*min) && n <= i128::from(*max) => Ok(Value::Number(n as u64)),
                    _ => Err(one(format!("is {text}, outside {min} to {max}"))),
                }
            }
            Form::Size { min, max } => {
                let bytes = match value.get_ref() {
                    DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix()).map_err(|_| wrong())?,
                    DeValue::String(s) => size(s).map_err(one)?,
                    _ => return Err(wrong()),
                };
                within(bytes, *min, *max, size_text).map_err(one)
            }
            Form::Duration { min_ms, max_ms } => match value.get_ref() {
                DeValue::Integer(n) => Err(one(format!("is {n} without a unit; write \"{n}s\" or \"{n}ms\""))),
                DeValue::String(s) => within(duration(s).map_err(one)?, *min_ms, *max_ms, duration_text).map_err(one),
                _ => Err(wrong()),
            },
            Form::List { of, min, max } => {
                let list = value.get_ref().as_array().ok_or_else(|| {
                    let mut faults = wrong();
                    if of.convert(value).is_ok() {
                        faults[0].help = Some("put it into brackets: [ … ]".into());
                    }
                    faults
                })?;
                if list.len() < *min || list.len() > *max {
                    return Err(one(format!("has {} elements; {min} to {max} are accepted", list.len())));
                }
                let (mut good, mut faults) = (Vec::new(), Vec::new());
                for element in list.iter() {
                    match of.convert(element) {
                        Ok(v) => good.push(v),
                        Err(f) => faults.extend(f),
                    }
                }
                if faults.is_empty() { Ok(Value::List(good)) } else { Err(faults) }
            }
            _ => {
                let text = value.get_ref().as_str().ok_or_else(wrong)?;
                self.text(text).map_err(|(message, help)| vec![Fault { span: value.span(), message, help }])
            }
        }
    }

    /// The forms that are TOML strings. The error is the message and a remedy.
    fn text(&self, s: &str) -> Result<Value, (String, Option<String>)> {
        let plain = |message: String| (message, None);
        if s.is_empty() {
            return Err(plain("is empty".into()));
        }
        if s.len() > TEXT_BYTES_MAX {
            return Err(plain(format!("is longer than {TEXT_BYTES_MAX} bytes")));
        }
        // A tab: kernel messages have them.
        if s.chars().any(|c| c.is_control() && c != '\t') {
            return Err(plain("holds a control character".into()));
        }
        match self {
            Form::Name if !is_name(s) => return Err(plain(format!("is {s:?}, not {}", self.accepts()))),
            Form::Word if s.starts_with('-') || s.contains(|c: char| c.is_whitespace() || c == '/') => {
                return Err(plain(format!("is {s:?}, not {}", self.accepts())));
            }
            Form::Path => absolute(s).map_err(plain)?,
            Form::Glob => {
                absolute(s).map_err(plain)?;
                glob::check(s).map_err(plain)?;
            }
            Form::Regex | Form::GroupRegex => {
                let regex = regex(s).map_err(plain)?;
                if *self == Form::GroupRegex && regex.captures_len() < 2 {
                    let help = "put the part that is the host into (?<host>…)".to_owned();
                    return Err(("is a regular expression without a group".into(), Some(help)));
                }
            }
            Form::Url => {
                url::HttpUrl::parse(s).map_err(plain)?;
            }
            Form::Address if s.parse::<IpAddr>().is_err() => {
                return Err(plain(format!("is {s:?}, not {}", self.accepts())));
            }
            Form::SocketAddress if s.parse::<SocketAddr>().map_or(0, |a| a.port()) == 0 => {
                return Err(plain(format!("is {s:?}, not {}", self.accepts())));
            }
            Form::Sysrq if Sysrq::of(s).is_none() => {
                let help = "every other letter would change the machine, or is of no use in a snapshot".to_owned();
                return Err((format!("is {s:?}, not {}", self.accepts()), Some(help)));
            }
            Form::Target => return target::Scheme::parse(s).map(Value::Target).map_err(plain),
            Form::Kind => return s.parse().map(Value::Kind).map_err(|_| self.no_such("kind", s)),
            Form::Severity => return severity(s).map(Value::Severity).ok_or_else(|| self.no_such("severity", s)),
            _ => {}
        }
        Ok(Value::Text(s.to_owned()))
    }

    fn no_such(&self, what: &str, s: &str) -> (String, Option<String>) {
        let known: Vec<&str> = match self {
            Form::Kind => Kind::ALL.iter().map(|k| k.name()).collect(),
            _ => SEVERITIES.iter().map(|s| s.name()).collect(),
        };
        (format!("is {s:?}, which is no {what}"), nearest(s, known).map(|n| format!("did you mean {n:?}?")))
    }

    fn noun(&self) -> &'static str {
        match self {
            Form::Bool => "true or false",
            Form::Count { .. } => "a whole number",
            Form::Duration { .. } => "a duration in quotes",
            Form::Size { .. } => "a size in quotes",
            Form::List { .. } => "a list",
            _ => "text in quotes",
        }
    }
}

const SEVERITIES: [Severity; 4] = [Severity::Info, Severity::Warning, Severity::Error, Severity::Fatal];

fn severity(s: &str) -> Option<Severity> {
    SEVERITIES.into_iter().find(|k| k.name() == s)
}

fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.collect::<Vec<_>>().join(", ")
}

fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Array(_) => "a list".into(),
        DeValue::Integer(_) => "a number".into(),
        DeValue::Boolean(b) => b.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

fn within(n: u64, min: u64, max: u64, text: fn(u64) -> String) -> Result<Value, String> {
    if (min..=max).contains(&n) {
        Ok(Value::Number(n))
    } else {
        Err(format!("is {}, outside {} to {}", text(n), text(min), text(max)))
    }
}

fn absolute(s: &str) -> Result<(), String> {
    if !s.starts_with('/') {
        return Err(format!("is {s:?}, not an absolute path"));
    }
    if s.split('/').any(|c| c == "..") {
        return Err(format!("is {s:?}; \"..\" is not accepted"));
    }
    Ok(())
}

/// Whether `s` may name a probe, a command, a URL or a rule.
pub fn is_name(s: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&s.len()) && s.chars().all(fits) && s.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Compiles a regex of the config, over bytes.
pub fn regex(s: &str) -> Result<regex::bytes::Regex, String> {
    regex::bytes::RegexBuilder::new(s).size_limit(REGEX_SIZE_MAX).build().map_err(|e| match e {
        regex::Error::CompiledTooBig(_) => "is a regular expression that is too large when compiled".into(),
        // The crate's message is a drawing over several lines; its last line is the reason.
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            format!("is no regular expression: {reason}")
        }
    })
}

fn duration(s: &str) -> Result<u64, String> {
    let d: Duration = humantime::parse_duration(s).map_err(|e| format!("is no duration: {e}"))?;
    if !d.subsec_nanos().is_multiple_of(1_000_000) {
        return Err("is finer than a millisecond".into());
    }
    u64::try_from(d.as_millis()).map_err(|_| "is too long".into())
}

fn size(s: &str) -> Result<u64, String> {
    s.parse::<bytesize::ByteSize>().map(|b| b.0).map_err(|_| format!("is {s:?}, not a size such as \"256MiB\""))
}

/// A duration in the largest unit that divides it: `90d`, `1500ms`. Reads back exactly.
pub fn duration_text(ms: u64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms.is_multiple_of(length) {
            return format!("{}{unit}", ms / length);
        }
    }
    format!("{ms}ms")
}

/// A size in the largest unit that divides it: `2GiB`, `1000B`. Reads back exactly.
pub fn size_text(bytes: u64) -> String {
    if bytes > 0 {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if bytes.trailing_zeros() >= shift {
                return format!("{}{unit}", bytes >> shift);
            }
        }
    }
    format!("{bytes}B")
}

/// The nearest of `known`, if it is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A hostile file may hold a key of a megabyte; the distance is quadratic.
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(word, k), k))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn durations_and_sizes_read_back(n in 0u64..1 << 50) {
            let ms = n % (3650 * 86_400_000);
            prop_assert_eq!(duration(&duration_text(ms)), Ok(ms));
            prop_assert_eq!(size(&size_text(n)), Ok(n));
        }

        #[test]
        fn no_text_makes_a_form_panic(s in ".{0,80}") {
            for form in [Form::Name, Form::Word, Form::Path, Form::Glob, Form::Regex, Form::Url, Form::Target, Form::Kind] {
                let _ = form.text(&s);
            }
            let _ = (duration(&s), size(&s));
        }
    }

    #[test]
    fn the_largest_exact_unit_is_used() {
        assert_eq!([5000, 600_000, 1500, 0].map(duration_text), ["5s", "10m", "1500ms", "0s"]);
        assert_eq!([2 << 30, 1 << 20, 1000, 0].map(size_text), ["2GiB", "1MiB", "1000B", "0B"]);
    }

    #[test]
    fn a_regex_that_explodes_is_refused() {
        assert!(regex("((a{1000}){1000}){1000}").is_err());
        assert_eq!(regex("a(b").expect_err("unclosed"), "is no regular expression: unclosed group");
    }
}
