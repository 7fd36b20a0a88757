//! The config: what is accepted, what is refused and in which words, and the texts made from it.

use lastgasp::config::{self, Config, Error, ProbeTarget, Problem};
use lastgasp::model::{Kind, Severity};
use std::path::{Path, PathBuf};

fn problems(text: &str) -> Vec<Problem> {
    match config::parse(text, "test.toml") {
        Ok(c) => panic!("accepted: {text}\n{c:?}"),
        Err(Error::Invalid(p)) => p.list,
        Err(e) => panic!("{e}"),
    }
}

/// `text` has exactly one mistake: in this line and column, of this key, and its message and help
/// hold these words.
fn refuses(text: &str, (line, column): (usize, usize), key: &str, words: &[&str]) {
    let list = problems(text);
    assert_eq!(list.len(), 1, "{text}\n{list:#?}");
    let p = &list[0];
    assert_eq!((p.line, p.column, p.key.as_str()), (line, column, key), "{text}\n{p:?}");
    let said = format!("{} {}", p.message, p.help.as_deref().unwrap_or(""));
    for word in words {
        assert!(said.contains(word), "{text}\n{said}\nlacks {word:?}");
    }
}

const PROBE: &str = "[[probe]]\nname = \"web\"\ntarget = \"tcp:127.0.0.1:80\"\n";

/// A config in which nothing is left at its default.
const FULL: &str = r#"
[general]
host = "db1"
control = "/run/x/control.sock"
[store]
dirs = ["/srv/a", "/srv/b"]
max_count = 7
max_bytes = "1000MB"
max_age = "36h"
min_free = 0
[kmsg]
enabled = false
[[console]]
path = "/var/log/consoles/*.log"
host = '^(?<host>[^.]+)\.'
[netconsole]
listen = "[::]:6666"
[[netconsole.host]]
address = "192.0.2.7"
name = "db1"
[[netconsole.host]]
address = "2001:db8::7"
name = "db1"
[[probe]]
name = "web"
target = "https://[::1]:8443/health?x=1"
interval = "1m 30s"
timeout = "1500ms"
failures = 1
recoveries = 5
unit = "nginx.service"
status = [200, 204]
body = 'ok\s"'
verify = false
[[probe]]
name = "workers"
target = "process:worker"
min = 3
[[probe]]
name = "bus"
target = "unix:/run/bus.sock"
[incident]
coalesce = "0s"
cooldown = "1d"
max_per_hour = 1
[capture]
deadline = "5s"
skip = ["disk"]
disk_benchmark = false
logs = ["/var/log/x.log"]
resolve = ["db.example"]
journal = "1h"
[[command]]
name = "queue"
argv = ["/usr/bin/mailq", "-v"]
timeout = "1s"
cap = "10KiB"
[[url]]
name = "status"
url = "http://127.0.0.1/server-status"
timeout = "3s"
cap = 0x100
[rules]
silence = ["warning"]
[[rules.regrade]]
rule = "hung_task"
severity = "fatal"
alarm = false
[[rules.add]]
id = "mine"
phrase = "Boom"
pattern = 'Boom \d+'
kind = "io_error"
severity = "warning"
alarm = false
title = "it went boom"
"#;

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(config::parse("", "x").expect("empty"), Config::default());
}

#[test]
fn a_full_config_is_read_and_written_back() {
    let c = config::parse(FULL, "full").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(c.general.host.as_deref(), Some("db1"));
    assert_eq!(c.store.dirs, [PathBuf::from("/srv/a"), PathBuf::from("/srv/b")]);
    assert_eq!((c.store.max_count, c.store.max_bytes, c.store.max_age_s), (7, 1_000_000_000, 36 * 3600));
    assert_eq!((c.store.min_free_bytes, c.kmsg.enabled), (0, false));
    assert_eq!(c.netconsole.listen.map(|a| a.to_string()).as_deref(), Some("[::]:6666"));
    let names: Vec<_> = c.netconsole.hosts.iter().map(|h| (h.address.to_string(), h.name.as_str())).collect();
    assert_eq!(names, [("192.0.2.7".to_owned(), "db1"), ("2001:db8::7".to_owned(), "db1")]);
    let web = &c.probes[0];
    assert_eq!((web.interval_ms, web.timeout_ms, web.failures, web.recoveries), (90_000, 1500, 1, 5));
    let ProbeTarget::Http { status, body, verify, .. } = &web.target else { panic!("{web:?}") };
    assert_eq!((status.as_slice(), body.as_deref(), *verify), (&[200, 204][..], Some("ok\\s\""), false));
    assert_eq!(c.probes[1].target, ProbeTarget::Process { name: "worker".into(), min: 3 });
    assert_eq!(c.probes[2].name, "bus");
    assert_eq!((c.incident.coalesce_ms, c.incident.cooldown_s), (0, 86_400));
    assert_eq!((c.capture.deadline_ms, c.capture.journal_s), (5000, 3600));
    assert_eq!((c.capture.commands[0].cap_bytes, c.capture.urls[0].cap_bytes), (10 << 10, 256));
    assert_eq!((c.rules.regrade[0].severity, c.rules.regrade[0].alarm), (Some(Severity::Fatal), Some(false)));
    assert_eq!(c.rules.add[0].kind, Kind::IoError);

    let text = config::render(&c);
    assert_eq!(config::parse(&text, "rendered").unwrap_or_else(|e| panic!("{e}\n{text}")), c);
    // Every key of the table is written out, so none was forgotten.
    for key in config::keys::KEYS {
        assert!(text.lines().any(|l| l.starts_with(&format!("{} = ", key.name))), "{} is not rendered", key.name);
    }
    let text = config::render(&Config::default());
    assert_eq!(config::parse(&text, "rendered").unwrap_or_else(|e| panic!("{e}\n{text}")), Config::default());
}

#[test]
fn the_shipped_example_is_the_generated_one_and_means_the_defaults() {
    let example = config::example();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/lastgasp.toml");
    let on_disk = std::fs::read_to_string(&shipped).expect("packaging/lastgasp.toml");
    assert!(on_disk == example, "packaging/lastgasp.toml differs: `lastgasp config example > packaging/lastgasp.toml`");
    assert_eq!(config::parse(&example, "example").unwrap_or_else(|e| panic!("{e}")), Config::default());
    assert_eq!(config::load(&shipped).unwrap_or_else(|e| panic!("{e}")), Config::default());
}

#[test]
fn the_example_is_good_with_every_line_in_force() {
    // `min` is for process targets; the example's probe is an http one.
    let is_setting =
        |l: &str| l.starts_with('#') && l.chars().nth(1).is_some_and(|c| c != ' ') && !l.starts_with("#min =");
    let text: String =
        config::example().lines().map(|l| format!("{}\n", if is_setting(l) { &l[1..] } else { l })).collect();
    let c = config::parse(&text, "uncommented").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((c.probes.len(), c.consoles.len(), c.capture.urls.len(), c.rules.add.len()), (1, 1, 1, 1));
    assert_eq!((c.store, c.incident), (Config::default().store, Config::default().incident));
}

#[test]
fn unknown_keys_get_the_nearest_or_the_right_place() {
    refuses("[store]\nmax_cuont = 5\n", (2, 1), "store.max_cuont", &["not known", "did you mean \"max_count\"?"]);
    refuses("[stroe]\n", (1, 2), "stroe", &["did you mean [store]?"]);
    refuses("[probes]\n", (1, 2), "probes", &["did you mean [[probe]]?"]);
    refuses("interval = \"5s\"\n", (1, 1), "interval", &["belongs below [[probe]]"]);
    refuses("[kmsg]\nmax_bytes = \"1GiB\"\n", (2, 1), "kmsg.max_bytes", &["belongs below [store]"]);
    refuses("[kmsg]\nqqq = 1\n", (2, 1), "kmsg.qqq", &["[kmsg] has enabled"]);
    refuses("[zzz]\n", (1, 2), "zzz", &["there are [general], [store]"]);
    refuses("[[rules.ad]]\n", (1, 9), "rules.ad", &["did you mean \"add\"?"]);
}

#[test]
fn wrong_types_and_values_say_what_is_accepted() {
    refuses(
        "[store]\nmax_count = \"5\"\n",
        (2, 13),
        "store.max_count",
        &["is a string, not a whole number", "from 1 to"],
    );
    refuses("[store]\nmax_count = 0\n", (2, 13), "store.max_count", &["is 0, outside 1 to 100000"]);
    refuses("[store]\nmax_count = 99999999999999999999\n", (2, 13), "store.max_count", &["outside"]);
    refuses("[store]\nmax_bytes = \"2 GiBB\"\n", (2, 13), "store.max_bytes", &["not a size", "\"256MiB\""]);
    refuses("[store]\nmax_age = 90\n", (2, 11), "store.max_age", &["without a unit; write \"90s\""]);
    refuses("[store]\nmax_age = \"90 dayz\"\n", (2, 11), "store.max_age", &["no duration", "dayz"]);
    refuses("[store]\ndirs = \"/srv\"\n", (2, 8), "store.dirs", &["not a list", "brackets"]);
    refuses("[store]\ndirs = [\"/a\", \"b\"]\n", (2, 15), "store.dirs", &["not an absolute path"]);
    refuses("[store]\ndirs = [\"/a/../b\"]\n", (2, 9), "store.dirs", &["\"..\""]);
    refuses("[kmsg]\nenabled = \"yes\"\n", (2, 11), "kmsg.enabled", &["not true or false"]);
    refuses("store = 5\n", (1, 1), "store", &["write [store]"]);
    refuses("[probe]\nname = \"x\"\n", (1, 2), "probe", &["write [[probe]]"]);
    refuses("[[store]]\n", (1, 3), "store", &["write [store]"]);
    refuses("probe = [1]\n", (1, 10), "probe", &["write [[probe]]"]);
    refuses("[[console]]\npath = \"/a/[b\"\n", (2, 8), "console.path", &["[ is not closed"]);
    refuses("[[console]]\npath = \"log/x\"\n", (2, 8), "console.path", &["not an absolute path"]);
    refuses("[[console]]\npath = \"/a\"\nhost = \"x\"\n", (3, 8), "console.host", &["without a group"]);
    refuses("[netconsole]\nlisten = \"6666\"\n", (2, 10), "netconsole.listen", &["an IP address and a port"]);
    refuses("[netconsole]\nlisten = \"0.0.0.0:0\"\n", (2, 10), "netconsole.listen", &["an IP address and a port"]);
    let host = "[[netconsole.host]]\naddress = \"192.0.2.7\"\nname = \"a\"\n";
    refuses(&host.replace("192.0.2.7", "db1"), (2, 11), "netconsole.host.address", &["an IP address"]);
    refuses(&host.repeat(2), (5, 11), "netconsole.host.address", &["a second time"]);
    refuses("[general]\nhost = \"a b\"\n", (2, 8), "general.host", &["without blanks"]);
    refuses("[general]\nhost = \"\"\n", (2, 8), "general.host", &["is empty"]);
    refuses("[[url]]\nname = \"a\"\nurl = \"ftp://a\"\n", (3, 7), "url.url", &["http:// or https://"]);
    refuses("[[command]]\nname = \"a\"\nargv = [\"mailq\"]\n", (3, 8), "command.argv", &["no absolute path"]);
    refuses("[[command]]\nname = \"a\"\nargv = []\n", (3, 8), "command.argv", &["0 elements"]);
    refuses("[[command]]\nname = \"a\"\nargv = [\"/b\"]\ncap = \"0B\"\n", (4, 7), "command.cap", &["outside 1B"]);
    refuses("[[command]]\nname = \"../x\"\nargv = [\"/b\"]\n", (2, 8), "command.name", &["letters, digits"]);
    refuses("[[rules.regrade]]\nrule = \"x\"\n", (1, 1), "rules.regrade", &["changes nothing"]);
    refuses(
        "[[rules.regrade]]\nrule = \"x\"\nseverity = \"fatl\"\n",
        (3, 12),
        "rules.regrade.severity",
        &["\"fatal\""],
    );
    refuses("[[rules.add]]\nid = \"x\"\nphrase = \"y\"\nkind = \"ooops\"\n", (4, 8), "rules.add.kind", &["\"oops\""]);
    refuses("[[rules.add]]\nid = \"x\"\n", (1, 1), "rules.add.phrase", &["is missing", "write phrase = "]);
}

#[test]
fn probes_are_checked_as_a_whole() {
    let with = |more: &str| format!("{PROBE}{more}\n");
    refuses(&with("failures = 0"), (4, 12), "probe.failures", &["outside 1 to"]);
    refuses(&with("timeout = \"5s\""), (4, 11), "probe.timeout", &["not below the interval", "interval is 5s"]);
    refuses(&with("status = [200]"), (4, 10), "probe.status", &["http and https targets only"]);
    refuses(&with("min = 2"), (4, 7), "probe.min", &["process targets only"]);
    refuses(&with(PROBE), (5, 8), "probe.name", &["\"web\" a second time"]);
    refuses(
        "[[probe]]\nname = \"w\"\ntarget = \"udp:a:1\"\n",
        (3, 10),
        "probe.target",
        &["scheme is unknown", "tcp:HOST:PORT", "pidfile:/PATH"],
    );
    refuses("[[probe]]\nname = \"w\"\n", (1, 1), "probe.target", &["is missing"]);
    let http = "[[probe]]\nname = \"w\"\ntarget = \"http://a/\"\n";
    refuses(&format!("{http}body = \"a(\"\n"), (4, 8), "probe.body", &["no regular expression: unclosed group"]);
    refuses(&format!("{http}status = [99, 200]\n"), (4, 11), "probe.status", &["is 99, outside 100 to 599"]);
    refuses(&format!("{http}verify = false\n"), (4, 10), "probe.verify", &["https targets only"]);
    let many = (0..129).map(|i| format!("[[probe]]\nname = \"p{i}\"\ntarget = \"tcp:a:1\"\n")).collect::<String>();
    assert!(problems(&many).iter().any(|p| p.message.contains("at most 128")));
    // Without a timeout of its own, a fast probe gets half its interval.
    let fast = config::parse(&with("interval = \"1s\""), "x").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(fast.probes[0].timeout_ms, 500);
}

#[test]
fn all_mistakes_are_shown_at_once_with_their_lines() {
    let text = "[store]\nmax_cuont = 5\nmax_age = 7\n\n[[probe]]\nname = \"é\"\ntarget = \"x\"\n";
    let drawn = match config::parse(text, "/etc/lastgasp/lastgasp.toml") {
        Err(e) => e.to_string(),
        Ok(c) => panic!("{c:?}"),
    };
    println!("{drawn}");
    for part in [
        "/etc/lastgasp/lastgasp.toml:2:1",
        "2 | max_cuont = 5",
        "  | ^^^^^^^^^",
        "/etc/lastgasp/lastgasp.toml:3:11",
        "/etc/lastgasp/lastgasp.toml:6:8",
        "/etc/lastgasp/lastgasp.toml:7:10",
        "4 mistakes in /etc/lastgasp/lastgasp.toml",
    ] {
        assert!(drawn.contains(part), "lacks {part}");
    }
    assert!(!drawn.contains('\u{1b}'), "no terminal colours");
}

#[test]
fn what_is_not_toml_is_refused_with_its_place() {
    for text in [
        "[store\n",
        "a = \n",
        "[store]\nmax_count = 1\nmax_count = 2\n",
        "\u{0}",
        "a = \"\\q\"",
        "[[probe]]\n[probe]\n",
    ] {
        let list = problems(text);
        assert!(list[0].line >= 1 && !list[0].message.is_empty(), "{text}: {list:?}");
    }
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(!problems(&deep).is_empty(), "nesting has an end");
}

#[test]
fn many_mistakes_take_little_time_and_space() {
    let text = (0..60_000).map(|i| format!("k{i} = 1\n")).collect::<String>();
    match config::parse(&text, "x") {
        Err(Error::Invalid(p)) => {
            assert_eq!((p.list.len(), p.list[59_999].line), (60_000, 60_000));
            assert!(p.to_string().len() < 50_000 && p.to_string().contains("the first 50 shown"));
        }
        other => panic!("{other:?}"),
    }
    let long = format!("[store]\nx = \"{}\"\n", "y".repeat(500_000));
    assert!(config::parse(&long, "x").expect_err("unknown").to_string().len() < 2000);
}

#[test]
fn files_that_cannot_be_a_config_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name);
    let load = |name: &str| config::load(&at(name)).expect_err(name);
    assert!(matches!(load("absent"), Error::Unreadable { .. }));
    assert!(load("absent").to_string().contains("absent: No such file"), "{}", load("absent"));
    std::fs::write(at("latin1"), b"[store]\n# caf\xe9\n").expect("write");
    assert!(matches!(load("latin1"), Error::NotUtf8 { line: 2, .. }));
    std::fs::write(at("big"), vec![b'#'; (1 << 20) + 1]).expect("write");
    assert!(matches!(load("big"), Error::TooLarge { .. }));
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    assert!(load("fifo").to_string().contains("not a regular file"));
    assert!(load("").to_string().contains("not a regular file"));
    std::fs::write(at("good"), PROBE).expect("write");
    assert_eq!(config::load(&at("good")).unwrap_or_else(|e| panic!("{e}")).probes.len(), 1);
}

#[test]
fn windows_editors_do_no_harm() {
    let text = format!("\u{feff}{}", PROBE.replace('\n', "\r\n"));
    assert_eq!(config::parse(&text, "x").unwrap_or_else(|e| panic!("{e}")).probes.len(), 1);
    refuses("[store]\r\nmax_count = 0\r\n", (2, 13), "store.max_count", &["outside"]);
}

fn lastgasp(args: &[&str]) -> (Option<i32>, String, String) {
    let out = assert_cmd::Command::cargo_bin("lastgasp").expect("the program").args(args).output().expect("it runs");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn the_command_checks_shows_and_exemplifies() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).to_str().expect("a UTF-8 path").to_owned();
    std::fs::write(at("a.log"), "").expect("write");
    std::fs::write(at("b.log"), "").expect("write");
    let text = format!(
        "{PROBE}[[probe]]\nname = \"db\"\ntarget = \"tcp:db.example:5432\"\n\
         [[console]]\npath = \"{}\"\n[[console]]\npath = \"{}\"\n",
        at("*.log"),
        at("*.txt"),
    );
    std::fs::write(at("good.toml"), &text).expect("write");
    std::fs::write(at("bad.toml"), "[store]\nmax_cuont = 5\nmax_age = 7\n").expect("write");

    let (code, out, err) = lastgasp(&["config", "check", &at("good.toml")]);
    assert_eq!(code, Some(0), "{err}");
    for part in [
        "good.toml: good",
        "kernel log  /dev/kmsg",
        "*.log (2 files now)",
        "web: tcp:127.0.0.1:80 every 5s, timeout 2s, down after 3 failures, up after 2",
        "the default store",
        "at most 100 snapshots, 2GiB, 90d; 256MiB stay free",
        "*.txt: no such file now",
        "probe db: db.example is a name",
    ] {
        assert!(out.contains(part), "{out}\nlacks {part:?}");
    }
    assert!(!out.contains("probe web: "), "no warning about an address: {out}");

    let (code, out, err) = lastgasp(&["config", "check", &at("bad.toml")]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    for part in ["bad.toml:2:1", "did you mean \"max_count\"?", "bad.toml:3:11", "2 mistakes in"] {
        assert!(err.contains(part), "{err}\nlacks {part:?}");
    }
    // Every command refuses it in the same words.
    assert_eq!(lastgasp(&["-c", &at("bad.toml"), "config", "show"]), (Some(2), String::new(), err));

    let (code, out, _) = lastgasp(&["--format", "json", "config", "check", &at("bad.toml")]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &json["good"]), (Some(2), &serde_json::json!(false)));
    assert_eq!(json["problems"][1]["key"], "store.max_age");

    let (code, out, _) = lastgasp(&["-c", &at("good.toml"), "--store", &at("s"), "config", "show"]);
    let shown = config::parse(&out, "shown").unwrap_or_else(|e| panic!("{e}\n{out}"));
    assert_eq!((code, shown.store.dirs, shown.probes.len()), (Some(0), vec![PathBuf::from(at("s"))], 2));
    let (_, out, _) = lastgasp(&["-c", &at("good.toml"), "--format", "json", "config", "show"]);
    let shown: Config = serde_json::from_str(&out).expect("JSON");
    assert_eq!(shown, config::load(Path::new(&at("good.toml"))).unwrap_or_else(|e| panic!("{e}")));

    assert_eq!(lastgasp(&["config", "example"]), (Some(0), config::example(), String::new()));
    let (code, _, err) = lastgasp(&["-c", &at("absent"), "config", "check"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("absent: No such file"), "{err}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "([\\[\\]a-z_.=\" \n0-9']|probe|store|name|target|rules){0,120}") {
        let _ = config::parse(&text, "x").map_err(|e| e.to_string());
    }

    #[test]
    fn what_is_rendered_reads_back(
        texts in proptest::collection::vec("[^\\p{Cc}]{1,30}", 4),
        n in proptest::collection::vec(1u64..1 << 28, 6),
        on: bool,
        name in "[a-z][a-z0-9._-]{0,20}",
    ) {
        let mut c = Config::default();
        c.store.max_bytes = n[0] + (1 << 20);
        c.store.max_age_s = n[1] + 60;
        c.store.min_free_bytes = n[2];
        c.kmsg.enabled = on;
        c.capture.deadline_ms = n[3] % 3_595_001 + 5000;
        c.capture.commands.push(config::CommandConfig {
            name: name.clone(),
            argv: vec!["/bin/x".into(), texts[0].clone(), texts[1].clone()],
            timeout_ms: n[4] % 599_991 + 10,
            cap_bytes: n[5],
        });
        c.rules.add.push(config::AddedRule {
            id: name.clone(),
            phrase: texts[2].clone(),
            pattern: None,
            kind: Kind::Other,
            severity: Severity::Info,
            alarm: on,
            title: Some(texts[3].clone()),
        });
        let mut p = config::probe_from_arg(&format!("{name}=process:x")).expect("a probe");
        p.interval_ms = n[0] % 86_300_000 + 100;
        p.timeout_ms = (p.interval_ms - 1).min(3_600_000);
        p.target = ProbeTarget::Process { name: "x".into(), min: n[1] as u32 % 1000 + 1 };
        c.probes.push(p);
        let text = config::render(&c);
        match config::parse(&text, "rendered") {
            Ok(read) => proptest::prop_assert_eq!(read, c),
            Err(e) => panic!("{e}\n{text}"),
        }
    }
}
