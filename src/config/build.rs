//! From the config as written to the config as meant, with the checks that take more than one value.

use crate::config::form::{Value, duration_text};
use crate::config::problem::Problem;
use crate::config::raw::{Raw, Table};
use crate::config::target::Scheme;
use crate::config::{
    AddedRule, CaptureConfig, CommandConfig, Config, ConsoleConfig, GeneralConfig, IncidentConfig, KmsgConfig,
    NetconsoleConfig, NetconsoleHost, ProbeConfig, ProbeTarget, Regrade, RulesConfig, StoreConfig, Sysrq, UrlConfig,
};
use crate::model::{Kind, Severity};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What the file means, and what else is wrong with it. The config is of use only without problems.
pub(crate) fn build(raw: Raw) -> (Config, Vec<Problem>) {
    let Raw { tables, mut problems } = raw;
    let mut config = defaults();
    for t in &tables {
        match t.section.name {
            "general" => config.general = general(t),
            "store" => config.store = store(t),
            "kmsg" => config.kmsg = kmsg(t),
            "incident" => config.incident = incident(t),
            "capture" => {
                let CaptureConfig { commands, urls, .. } = std::mem::take(&mut config.capture);
                config.capture = CaptureConfig { commands, urls, ..capture(t) };
            }
            "rules" => config.rules.silence = t.texts("silence"),
            "console" if !t.unusable => config.consoles.push(console(t)),
            "netconsole" => config.netconsole.listen = listen(t),
            "netconsole.host" if !t.unusable => config.netconsole.hosts.extend(netconsole_host(t)),
            "probe" => probe(t, &mut config.probes, &mut problems),
            "command" if !t.unusable => command(t, &mut config.capture.commands, &mut problems),
            "url" if !t.unusable => config.capture.urls.push(url(t)),
            "rules.regrade" if !t.unusable => regrade(t, &mut config.rules.regrade, &mut problems),
            "rules.add" if !t.unusable => config.rules.add.push(added(t)),
            _ => {}
        }
    }
    for (section, key) in [
        ("console", "path"),
        ("netconsole.host", "address"),
        ("probe", "name"),
        ("command", "name"),
        ("url", "name"),
        ("rules.regrade", "rule"),
        ("rules.add", "id"),
    ] {
        unique(&tables, section, key, &mut problems);
    }
    (config, problems)
}

/// The config of an empty file.
pub(crate) fn defaults() -> Config {
    let absent = Table::absent;
    Config {
        general: general(&absent("general")),
        store: store(&absent("store")),
        kmsg: kmsg(&absent("kmsg")),
        consoles: Vec::new(),
        netconsole: NetconsoleConfig { listen: listen(&absent("netconsole")), hosts: Vec::new() },
        probes: Vec::new(),
        incident: incident(&absent("incident")),
        capture: capture(&absent("capture")),
        rules: RulesConfig { silence: absent("rules").texts("silence"), ..RulesConfig::default() },
    }
}

fn general(t: &Table) -> GeneralConfig {
    GeneralConfig { host: t.text("host"), control: t.text("control").map(PathBuf::from) }
}

fn store(t: &Table) -> StoreConfig {
    StoreConfig {
        dirs: t.texts("dirs").into_iter().map(PathBuf::from).collect(),
        max_count: t.count("max_count"),
        max_bytes: t.number("max_bytes"),
        max_age_s: t.number("max_age") / 1000,
        min_free_bytes: t.number("min_free"),
    }
}

fn kmsg(t: &Table) -> KmsgConfig {
    KmsgConfig { enabled: t.bool("enabled").unwrap_or(true) }
}

fn incident(t: &Table) -> IncidentConfig {
    IncidentConfig {
        coalesce_ms: t.number("coalesce"),
        cooldown_s: t.number("cooldown") / 1000,
        max_per_hour: t.count("max_per_hour"),
    }
}

fn capture(t: &Table) -> CaptureConfig {
    CaptureConfig {
        deadline_ms: t.number("deadline"),
        skip: t.texts("skip"),
        disk_benchmark: t.bool("disk_benchmark").unwrap_or(true),
        parallel: t.count("parallel"),
        benchmark_suspects: t.bool("benchmark_suspects").unwrap_or(false),
        sysrq: t.texts("sysrq").iter().filter_map(|s| Sysrq::of(s)).collect(),
        logs: t.texts("logs"),
        resolve: t.texts("resolve"),
        journal_s: t.number("journal") / 1000,
        commands: Vec::new(),
        urls: Vec::new(),
    }
}

fn console(t: &Table) -> ConsoleConfig {
    ConsoleConfig { path: t.text("path").unwrap_or_default(), host: t.text("host") }
}

/// The form accepts only what is an address.
fn listen(t: &Table) -> Option<SocketAddr> {
    t.text("listen").and_then(|s| s.parse().ok())
}

fn netconsole_host(t: &Table) -> Option<NetconsoleHost> {
    let address = t.text("address")?.parse().ok()?;
    Some(NetconsoleHost { address, name: t.text("name")? })
}

fn probe(t: &Table, probes: &mut Vec<ProbeConfig>, problems: &mut Vec<Problem>) {
    let (interval_ms, mut timeout_ms) = (t.number("interval"), t.number("timeout"));
    match t.place("timeout") {
        None => timeout_ms = timeout_ms.min(interval_ms / 2),
        Some(span) if timeout_ms >= interval_ms && !t.is_bad("interval") => {
            let message = format!("is {}, not below the interval", duration_text(timeout_ms));
            let help = format!("the interval is {}; write a shorter timeout", duration_text(interval_ms));
            problems.push(Problem::new(span, "probe.timeout", message, Some(help)));
        }
        Some(_) => {}
    }
    let Some(Value::Target(scheme)) = t.value("target") else { return };
    let http = matches!(&scheme, Scheme::Http { .. });
    let https =
        matches!(&scheme, Scheme::Http { url } if url.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("https:")));
    let process = matches!(&scheme, Scheme::Process { .. });
    for (key, fits, what) in [
        ("status", http, "http and https"),
        ("body", http, "http and https"),
        ("verify", https, "https"),
        ("min", process, "process"),
    ] {
        if let (Some(span), false) = (t.place(key), fits) {
            let message = format!("is for {what} targets only");
            problems.push(Problem::new(span, format!("probe.{key}"), message, Some("take it out".into())));
        }
    }
    let Some(name) = t.text("name") else { return };
    let target = match scheme.target() {
        ProbeTarget::Http { url, .. } => ProbeTarget::Http {
            url,
            status: t
                .list("status")
                .iter()
                .filter_map(|v| if let Value::Number(n) = v { Some(*n as u16) } else { None })
                .collect(),
            body: t.text("body"),
            verify: t.bool("verify").unwrap_or(true),
        },
        ProbeTarget::Process { name, .. } => ProbeTarget::Process { name, min: t.count("min") },
        other => other,
    };
    probes.push(ProbeConfig {
        name,
        target,
        interval_ms,
        timeout_ms,
        failures: t.count("failures"),
        recoveries: t.count("recoveries"),
        unit: t.text("unit"),
    });
}

fn command(t: &Table, commands: &mut Vec<CommandConfig>, problems: &mut Vec<Problem>) {
    let argv = t.texts("argv");
    if !argv.first().is_some_and(|program| program.starts_with('/')) {
        let help = Some("write the program with its absolute path; there is no shell and no PATH".to_owned());
        let span = t.place("argv").unwrap_or(t.span.clone());
        problems.push(Problem::new(span, "command.argv", "begins with no absolute path", help));
    }
    commands.push(CommandConfig {
        name: t.text("name").unwrap_or_default(),
        argv,
        timeout_ms: t.number("timeout"),
        cap_bytes: t.number("cap"),
    });
}

fn url(t: &Table) -> UrlConfig {
    UrlConfig {
        name: t.text("name").unwrap_or_default(),
        url: t.text("url").unwrap_or_default(),
        timeout_ms: t.number("timeout"),
        cap_bytes: t.number("cap"),
    }
}

fn severity(t: &Table) -> Option<Severity> {
    if let Some(Value::Severity(s)) = t.value("severity") { Some(s) } else { None }
}

fn regrade(t: &Table, list: &mut Vec<Regrade>, problems: &mut Vec<Problem>) {
    let regrade = Regrade { rule: t.text("rule").unwrap_or_default(), severity: severity(t), alarm: t.bool("alarm") };
    let refused = t.is_bad("severity") || t.is_bad("alarm");
    if regrade.severity.is_none() && regrade.alarm.is_none() && !refused {
        let help = Some("write severity = \"…\", alarm = …, or both".to_owned());
        problems.push(Problem::new(t.span.clone(), "rules.regrade", "changes nothing", help));
    }
    list.push(regrade);
}

fn added(t: &Table) -> AddedRule {
    AddedRule {
        id: t.text("id").unwrap_or_default(),
        phrase: t.text("phrase").unwrap_or_default(),
        pattern: t.text("pattern"),
        kind: if let Some(Value::Kind(k)) = t.value("kind") { k } else { Kind::Other },
        severity: severity(t).unwrap_or(Severity::Error),
        alarm: t.bool("alarm").unwrap_or(true),
        title: t.text("title"),
    }
}

/// Names what comes a second time.
fn unique(tables: &[Table], section: &str, key: &str, problems: &mut Vec<Problem>) {
    let mut seen = HashSet::new();
    for t in tables.iter().filter(|t| t.section.name == section) {
        if let (Some(text), Some(span)) = (t.text(key), t.place(key))
            && !seen.insert(text.clone())
        {
            let message = format!("is {text:?} a second time");
            let help = Some(format!("each [[{section}]] has a {key} of its own"));
            problems.push(Problem::new(span, format!("{section}.{key}"), message, help));
        }
    }
}
