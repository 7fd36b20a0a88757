//! Configs as text: the example with every key, and a config written out so that it reads back the
//! same. Both take comments and order from the table of keys.

use crate::config::form::{duration_text, size_text};
use crate::config::keys::{self, Section};
use crate::config::{Config, ProbeConfig, ProbeTarget};
use std::collections::BTreeMap;
use std::path::Path;
use toml::Value;

const HEAD: &str = "\
# lastgasp: config, with every key.
#
# Lines that begin with a # directly before a word are settings: take the # away to change one.
# What is shown is the default, or an example where the comment says so. `lastgasp config check`
# names every mistake; `lastgasp config show` prints what holds.
";

/// A commented file of all keys with their defaults. It means the same as no file at all.
pub fn example() -> String {
    let mut out = HEAD.to_owned();
    for section in keys::SECTIONS {
        out.push('\n');
        comment(&mut out, section.doc);
        let hash = if section.many.is_some() { "#" } else { "" };
        out.push_str(&format!("{hash}{}\n", keys::header(section)));
        for key in keys::of(section.name) {
            let note = match (key.required, key.default) {
                (true, _) => " Required.",
                (false, None) => " Not set; an example:",
                _ => "",
            };
            comment(&mut out, &format!("{} Accepted: {}.{note}", key.doc, key.form.accepts()));
            out.push_str(&format!("#{} = {}\n", key.name, key.default.unwrap_or(key.sample)));
        }
    }
    out
}

/// A comment, wrapped at 100 columns.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > 100 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

/// The config as TOML that parses to the same config. Comments only on what is written out once.
pub fn render(config: &Config) -> String {
    let mut out = String::new();
    for section in keys::SECTIONS {
        for table in tables(config, section) {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&format!("{}\n", keys::header(section)));
            for key in keys::of(section.name) {
                if let Some(value) = table.get(key.name) {
                    if section.many.is_none() {
                        comment(&mut out, key.doc);
                    }
                    out.push_str(&format!("{} = {value}\n", key.name));
                }
            }
        }
    }
    out
}

type Written = BTreeMap<&'static str, Value>;

/// The tables of one section, each value as it would be written.
fn tables(config: &Config, section: &Section) -> Vec<Written> {
    let (capture, rules, store) = (&config.capture, &config.rules, &config.store);
    let mut all: Vec<Written> = Vec::new();
    let mut add = |pairs: Vec<(&'static str, Option<Value>)>| {
        all.push(pairs.into_iter().filter_map(|(k, v)| v.map(|v| (k, v))).collect());
    };
    match section.name {
        "general" => add(vec![
            ("host", config.general.host.as_deref().map(text)),
            ("control", config.general.control.as_deref().map(path)),
        ]),
        "store" => add(vec![
            ("dirs", Some(list(&store.dirs, |d| path(d)))),
            ("max_count", Some(number(store.max_count))),
            ("max_bytes", Some(size(store.max_bytes))),
            ("max_age", Some(seconds(store.max_age_s))),
            ("min_free", Some(size(store.min_free_bytes))),
        ]),
        "kmsg" => add(vec![("enabled", Some(Value::Boolean(config.kmsg.enabled)))]),
        "console" => {
            for c in &config.consoles {
                add(vec![("path", Some(text(&c.path))), ("host", c.host.as_deref().map(text))]);
            }
        }
        "netconsole" => add(vec![("listen", config.netconsole.listen.map(|a| text(&a.to_string())))]),
        "netconsole.host" => {
            for h in &config.netconsole.hosts {
                add(vec![("address", Some(text(&h.address.to_string()))), ("name", Some(text(&h.name)))]);
            }
        }
        "probe" => config.probes.iter().for_each(|p| add(probe(p))),
        "incident" => add(vec![
            ("coalesce", Some(millis(config.incident.coalesce_ms))),
            ("cooldown", Some(seconds(config.incident.cooldown_s))),
            ("max_per_hour", Some(number(config.incident.max_per_hour))),
        ]),
        "capture" => add(vec![
            ("deadline", Some(millis(capture.deadline_ms))),
            ("skip", Some(list(&capture.skip, |s| text(s)))),
            ("disk_benchmark", Some(Value::Boolean(capture.disk_benchmark))),
            ("parallel", Some(number(capture.parallel))),
            ("benchmark_suspects", Some(Value::Boolean(capture.benchmark_suspects))),
            ("sysrq", Some(list(&capture.sysrq, |s| text(s.letter())))),
            ("logs", Some(list(&capture.logs, |s| text(s)))),
            ("resolve", Some(list(&capture.resolve, |s| text(s)))),
            ("journal", Some(seconds(capture.journal_s))),
        ]),
        "command" => {
            for c in &capture.commands {
                add(vec![
                    ("name", Some(text(&c.name))),
                    ("argv", Some(list(&c.argv, |s| text(s)))),
                    ("timeout", Some(millis(c.timeout_ms))),
                    ("cap", Some(size(c.cap_bytes))),
                ]);
            }
        }
        "url" => {
            for u in &capture.urls {
                add(vec![
                    ("name", Some(text(&u.name))),
                    ("url", Some(text(&u.url))),
                    ("timeout", Some(millis(u.timeout_ms))),
                    ("cap", Some(size(u.cap_bytes))),
                ]);
            }
        }
        "rules" => add(vec![("silence", Some(list(&rules.silence, |s| text(s))))]),
        "rules.regrade" => {
            for r in &rules.regrade {
                add(vec![
                    ("rule", Some(text(&r.rule))),
                    ("severity", r.severity.map(|s| text(s.name()))),
                    ("alarm", r.alarm.map(Value::Boolean)),
                ]);
            }
        }
        "rules.add" => {
            for r in &rules.add {
                add(vec![
                    ("id", Some(text(&r.id))),
                    ("phrase", Some(text(&r.phrase))),
                    ("pattern", r.pattern.as_deref().map(text)),
                    ("kind", Some(text(r.kind.name()))),
                    ("severity", Some(text(r.severity.name()))),
                    ("alarm", Some(Value::Boolean(r.alarm))),
                    ("title", r.title.as_deref().map(text)),
                ]);
            }
        }
        // A test over all sections rules this out.
        _ => {}
    }
    all
}

fn probe(p: &ProbeConfig) -> Vec<(&'static str, Option<Value>)> {
    let mut pairs = vec![
        ("name", Some(text(&p.name))),
        ("target", Some(text(&p.target.to_string()))),
        ("interval", Some(millis(p.interval_ms))),
        ("timeout", Some(millis(p.timeout_ms))),
        ("failures", Some(number(p.failures))),
        ("recoveries", Some(number(p.recoveries))),
        ("unit", p.unit.as_deref().map(text)),
    ];
    match &p.target {
        ProbeTarget::Http { url, status, body, verify } => {
            pairs.push(("status", Some(list(status, |s| number(*s)))));
            pairs.push(("body", body.as_deref().map(text)));
            if url.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("https:")) {
                pairs.push(("verify", Some(Value::Boolean(*verify))));
            }
        }
        ProbeTarget::Process { min, .. } => pairs.push(("min", Some(number(*min)))),
        _ => {}
    }
    pairs
}

fn text(s: &str) -> Value {
    Value::String(s.to_owned())
}

/// Paths of a config come from UTF-8 text; one that was set otherwise is shown as well as it can be.
fn path(p: &Path) -> Value {
    Value::String(p.to_string_lossy().into_owned())
}

fn number(n: impl Into<i64>) -> Value {
    Value::Integer(n.into())
}

fn millis(ms: u64) -> Value {
    Value::String(duration_text(ms))
}

fn seconds(s: u64) -> Value {
    Value::String(duration_text(s.saturating_mul(1000)))
}

fn size(bytes: u64) -> Value {
    Value::String(size_text(bytes))
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(one).collect())
}
