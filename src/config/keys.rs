//! The one table of keys. Validation, defaults, suggestions, the example file and the comments of
//! `config show` come from here.

use crate::config::form::Form;

/// A table of the file, `[name]`, or with `many` a list of tables, `[[name]]`.
#[derive(Debug)]
pub struct Section {
    pub name: &'static str,
    /// `None`: one table. Otherwise at most so many.
    pub many: Option<usize>,
    pub doc: &'static str,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
    pub form: Form,
    /// As TOML; `None`: without it, nothing is set.
    pub default: Option<&'static str>,
    /// The section makes no sense without it.
    pub required: bool,
    /// As TOML, for the example file, where there is no default.
    pub sample: &'static str,
    pub doc: &'static str,
}

impl Key {
    const fn new(section: &'static str, name: &'static str, form: Form, doc: &'static str) -> Key {
        Key { section, name, form, default: None, required: false, sample: "", doc }
    }

    const fn default(self, default: &'static str) -> Key {
        Key { default: Some(default), ..self }
    }

    const fn sample(self, sample: &'static str) -> Key {
        Key { sample, ..self }
    }

    const fn required(self, sample: &'static str) -> Key {
        Key { required: true, sample, ..self }
    }
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Most probes: each is a thread of the probe process, and all of them travel to a worker in one packet.
pub const PROBES_MAX: usize = 128;

const fn one(name: &'static str, doc: &'static str) -> Section {
    Section { name, many: None, doc }
}

const fn many(name: &'static str, max: usize, doc: &'static str) -> Section {
    Section { name, many: Some(max), doc }
}

/// In the order of the example file.
pub const SECTIONS: &[Section] = &[
    one("general", "This host and its control socket."),
    one("store", "Where snapshots are kept, and how many."),
    one("kmsg", "The kernel log of this host."),
    many("console", 256, "A console log, of this host or of another, such as a serial console server writes it."),
    one(
        "netconsole",
        "Kernel messages that other hosts send by UDP with the netconsole module. Anybody who reaches the port can send some: let a firewall say who does.",
    ),
    many("netconsole.host", 256, "The name of a host that sends; without, its address is its name."),
    many("probe", PROBES_MAX, "A service to look at; when it goes down, a snapshot is taken."),
    one("incident", "Which failures belong together, and how often one is worth a snapshot."),
    one("capture", "What goes into a snapshot."),
    many("command", 32, "A command whose output goes into each snapshot: run last, without a shell."),
    many("url", 32, "A URL fetched into each snapshot, such as a status page."),
    one("rules", "What the detector makes of kernel messages; `lastgasp rules` lists the rules."),
    many("rules.regrade", 256, "Another severity, or another answer to \"is it an alarm\", for a rule."),
    many("rules.add", 256, "A rule of your own."),
];

const TIMEOUT: Form = Form::Duration { min_ms: 10, max_ms: 10 * MINUTE };
const CAP: Form = Form::Size { min: 1, max: 256 << 20 };

pub const KEYS: &[Key] = &[
    Key::new("general", "host", Form::Word, "Name of this host in snapshots; without, the kernel's host name.")
        .sample("\"db1\""),
    Key::new("general", "control", Form::Path, "Control socket; without, /run/lastgasp/control.sock, for users below XDG_RUNTIME_DIR.")
        .sample("\"/run/lastgasp/control.sock\""),
    Key::new("store", "dirs", Form::List { of: &Form::Path, min: 0, max: 8 },
        "Directories for snapshots, tried in this order, finally /run/lastgasp/store in memory; an empty list is the default store.")
        .default("[]"),
    Key::new("store", "max_count", Form::Count { min: 1, max: 100_000 }, "Most snapshots kept; pinned ones stay whatever the limits say.")
        .default("100"),
    Key::new("store", "max_bytes", Form::Size { min: 1 << 20, max: 1 << 50 }, "Most space that snapshots take together.")
        .default("\"2GiB\""),
    Key::new("store", "max_age", Form::Duration { min_ms: MINUTE, max_ms: 3650 * DAY }, "Older snapshots go.")
        .default("\"90d\""),
    Key::new("store", "min_free", Form::Size { min: 0, max: 1 << 50 }, "Old snapshots go when the file system has less free than this.")
        .default("\"256MiB\""),
    Key::new("kmsg", "enabled", Form::Bool, "Follow /dev/kmsg.").default("true"),
    Key::new("console", "path", Form::Glob, "A file, or a pattern for files; new ones are found as they appear.")
        .required("\"/var/log/consoles/*.log\""),
    Key::new("console", "host", Form::GroupRegex,
        "Finds the host in the file name: the group `host`, or the first; without, the file name up to its extension is the host.")
        .sample("'^(?<host>[^.]+)\\.'"),
    Key::new("netconsole", "listen", Form::SocketAddress, "Where to listen; without, nowhere. [::] is IPv6 and IPv4.")
        .sample("\"0.0.0.0:6666\""),
    Key::new("netconsole.host", "address", Form::Address, "The address that its datagrams come from.").required("\"192.0.2.7\""),
    Key::new("netconsole.host", "name", Form::Word, "Name of the host; several addresses may have the same.").required("\"db1\""),
    Key::new("probe", "name", Form::Name, "Name in events and in the status; each probe its own.").required("\"web\""),
    Key::new("probe", "target", Form::Target, "What is looked at.").required("\"https://web.example/health\""),
    Key::new("probe", "interval", Form::Duration { min_ms: 100, max_ms: DAY }, "Time from one run to the next.").default("\"5s\""),
    Key::new("probe", "timeout", Form::Duration { min_ms: 10, max_ms: HOUR },
        "Longest run, names and TLS included; shorter than the interval. Left out, it is half the interval where that is shorter.")
        .default("\"2s\""),
    Key::new("probe", "failures", Form::Count { min: 1, max: 1000 }, "So many failures in a row make it down.").default("3"),
    Key::new("probe", "recoveries", Form::Count { min: 1, max: 1000 }, "So many successes in a row make it up again.").default("2"),
    Key::new("probe", "unit", Form::Word, "The systemd unit whose journal and processes belong to this service.")
        .sample("\"nginx.service\""),
    Key::new("probe", "status", Form::List { of: &Form::Count { min: 100, max: 599 }, min: 0, max: 32 },
        "http, https: accepted status codes; an empty list is 200 to 399. Redirects are not followed.").default("[]"),
    Key::new("probe", "body", Form::Regex, "http, https: must match within the first 64 KiB of the body.").sample("\"ok\""),
    Key::new("probe", "verify", Form::Bool, "https: check the certificate.").default("true"),
    Key::new("probe", "min", Form::Count { min: 1, max: 100_000 }, "process: so many must be there.").default("1"),
    Key::new("incident", "coalesce", Form::Duration { min_ms: 0, max_ms: HOUR },
        "Failures of one host within this time of the last one are one incident.").default("\"10s\""),
    Key::new("incident", "cooldown", Form::Duration { min_ms: 0, max_ms: 30 * DAY },
        "The same failure again within this time is counted, not captured.").default("\"10m\""),
    Key::new("incident", "max_per_hour", Form::Count { min: 1, max: 3600 }, "Most snapshots in any hour.").default("12"),
    Key::new("capture", "deadline", Form::Duration { min_ms: 5 * SECOND, max_ms: HOUR },
        "A snapshot is published after this time, finished or not.").default("\"60s\""),
    Key::new("capture", "skip", Form::List { of: &Form::Name, min: 0, max: 256 },
        "Collectors not to run; `lastgasp collectors` lists them.").default("[]"),
    Key::new("capture", "disk_benchmark", Form::Bool, "Time a few direct reads of each disk.").default("true"),
    Key::new("capture", "parallel", Form::Count { min: 1, max: 16 },
        "Collectors at work at the same time: a snapshot takes at most so many CPUs, and one more to compress.").default("3"),
    Key::new("capture", "benchmark_suspects", Form::Bool,
        "Time also a disk that the failure is about, that tasks hang on, or in which requests are stuck; the reads add to its load.")
        .default("false"),
    Key::new("capture", "sysrq", Form::List { of: &Form::Sysrq, min: 0, max: 4 },
        "Dumps asked of the kernel itself by /proc/sysrq-trigger: \"w\" blocked tasks, \"l\" stacks of all CPUs, \"m\" memory, \"t\" all tasks (only where the log ring has 1200 bytes for each). They go through the kernel log and its consoles; none without this list.")
        .default("[]"),
    Key::new("capture", "logs", Form::List { of: &Form::Glob, min: 0, max: 64 }, "More log files whose ends go into a snapshot.")
        .default("[]"),
    Key::new("capture", "resolve", Form::List { of: &Form::Word, min: 0, max: 16 }, "Names whose DNS answer is recorded.")
        .default("[]"),
    Key::new("capture", "journal", Form::Duration { min_ms: SECOND, max_ms: 7 * DAY }, "How far back the journal is read.")
        .default("\"15m\""),
    Key::new("command", "name", Form::Name, "Name of the entry in the snapshot; each command its own.").required("\"queue\""),
    Key::new("command", "argv", Form::List { of: &Form::Text, min: 1, max: 64 }, "Program, by its absolute path, and arguments.")
        .required("[\"/usr/bin/mailq\"]"),
    Key::new("command", "timeout", TIMEOUT, "Killed after this time.").default("\"10s\""),
    Key::new("command", "cap", CAP, "Most bytes of its output.").default("\"1MiB\""),
    Key::new("url", "name", Form::Name, "Name of the entry in the snapshot; each URL its own.").required("\"apache-status\""),
    Key::new("url", "url", Form::Url, "What is fetched.").required("\"http://127.0.0.1/server-status?auto\""),
    Key::new("url", "timeout", TIMEOUT, "Given up after this time.").default("\"5s\""),
    Key::new("url", "cap", CAP, "Most bytes of the answer.").default("\"1MiB\""),
    Key::new("rules", "silence", Form::List { of: &Form::Name, min: 0, max: 256 }, "Ids of rules that raise nothing.").default("[]"),
    Key::new("rules.regrade", "rule", Form::Text, "Id of the rule.").required("\"hung_task\""),
    Key::new("rules.regrade", "severity", Form::Severity, "Its new severity.").sample("\"fatal\""),
    Key::new("rules.regrade", "alarm", Form::Bool, "Whether it takes a snapshot.").sample("true"),
    Key::new("rules.add", "id", Form::Name, "Its own id.").required("\"raid-degraded\""),
    Key::new("rules.add", "phrase", Form::Text, "Text that must be in the line, exactly.").required("\"Operation continuing on\""),
    Key::new("rules.add", "pattern", Form::Regex, "What the line must match besides.").sample("'on \\d+ devices'"),
    Key::new("rules.add", "kind", Form::Kind, "Class of the failure.").default("\"other\""),
    Key::new("rules.add", "severity", Form::Severity, "How bad it is.").default("\"error\""),
    Key::new("rules.add", "alarm", Form::Bool, "Whether it takes a snapshot.").default("true"),
    Key::new("rules.add", "title", Form::Text, "Title of the incident; without, the phrase.").sample("\"RAID array degraded\""),
];

/// The keys of one section, in order.
pub fn of(section: &str) -> impl Iterator<Item = &'static Key> {
    let section = section.to_owned();
    KEYS.iter().filter(move |k| k.section == section)
}

/// A key of a section.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.section == section && k.name == name)
}

/// The sections directly below `parent` (empty: the top), by the name they have there.
pub fn sections_below(parent: &'static str) -> impl Iterator<Item = (&'static str, &'static Section)> {
    SECTIONS.iter().filter_map(move |s| match (parent, s.name.split_once('.')) {
        ("", None) => Some((s.name, s)),
        (p, Some((head, tail))) if head == p => Some((tail, s)),
        _ => None,
    })
}

/// A section as its header is written: `[store]`, `[[probe]]`.
pub fn header(section: &Section) -> String {
    if section.many.is_some() { format!("[[{}]]", section.name) } else { format!("[{}]", section.name) }
}

/// The default of a number, duration (milliseconds) or size (bytes).
pub(crate) fn default_number(section: &str, name: &str) -> u64 {
    match crate::config::raw::default_of(find(section, name).expect("callers name keys of the table")) {
        Some(crate::config::form::Value::Number(n)) => n,
        other => panic!("{section}.{name} has no number as default: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_section_a_sentence_and_a_value_to_show() {
        for (i, k) in KEYS.iter().enumerate() {
            assert!(SECTIONS.iter().any(|s| s.name == k.section), "{}", k.section);
            assert!(k.doc.ends_with('.') && k.default.is_some() == k.sample.is_empty(), "{}.{}", k.section, k.name);
            assert!(!k.required || k.default.is_none());
            assert!(!KEYS[..i].iter().any(|o| (o.section, o.name) == (k.section, k.name)), "{} twice", k.name);
            assert_eq!(find(k.section, k.name).map(|f| f.doc), Some(k.doc));
            // Both panic when the text in the table is not what the form accepts.
            crate::config::raw::default_of(k);
            if !k.sample.is_empty() {
                crate::config::raw::default_of(&Key { default: Some(k.sample), ..*k });
            }
        }
    }
}
