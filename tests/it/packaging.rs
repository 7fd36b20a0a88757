//! The shipped unit and package metadata against the program: what one says must hold in the other.

use lastgasp::capture::registry;
use lastgasp::sys::capability::Capability;
use std::collections::BTreeSet;

const UNIT: &str = include_str!("../../packaging/lastgasp.service");

/// What the daemon needs besides its collectors; the unit's comment says why.
const DAEMON: &[Capability] = &[Capability::IpcLock, Capability::DacReadSearch, Capability::DacOverride];

/// All values of a directive of the unit, in order.
fn values(directive: &str) -> Vec<&'static str> {
    let of = |line: &'static str| line.split_once('=').filter(|(k, _)| *k == directive).map(|(_, v)| v);
    UNIT.lines().filter(|l| !l.starts_with('#')).filter_map(of).collect()
}

fn value(directive: &str) -> &'static str {
    match values(directive)[..] {
        [one] => one,
        ref other => panic!("{directive}: {other:?}"),
    }
}

#[test]
fn the_unit_holds_exactly_the_capabilities_that_are_declared() {
    let needed: BTreeSet<&str> =
        registry::ALL.iter().flat_map(|s| s.capabilities).chain(DAEMON).map(|c| c.name()).collect();
    let held: BTreeSet<&str> = value("CapabilityBoundingSet").split(' ').collect();
    let line = needed.iter().copied().collect::<Vec<_>>().join(" ");
    assert_eq!(held, needed, "the unit should say CapabilityBoundingSet={line}");
}

#[test]
fn the_unit_speaks_the_daemons_protocol() {
    assert_eq!(value("Type"), "notify");
    // Half of it is the pace of WATCHDOG=1; the core's longest sleep is far below.
    assert!(value("WatchdogSec").parse::<u64>().is_ok_and(|s| s >= 10));
    assert_eq!(value("Restart"), "always");
    // The core alone is told to end; it asks for the time of captures at work itself. The limit is how long a child that
    // cannot be killed holds up a restart; the end of an idle core takes 2 s at most.
    assert_eq!(value("KillMode"), "mixed");
    assert!(value("TimeoutStopSec").parse::<u64>().is_ok_and(|s| (3..=10).contains(&s)));
    assert_eq!(value("LimitMEMLOCK"), "infinity");
    // It outranks what it watches, and no more: a real-time class could keep a machine from recovering.
    let number = |directive| value(directive).parse::<i64>().expect("a number");
    assert!((-999..0).contains(&number("OOMScoreAdjust")) && (-10..0).contains(&number("Nice")));
    assert!((101..=1000).contains(&number("CPUWeight")) && (101..=1000).contains(&number("IOWeight")));
    assert_eq!((value("IOSchedulingClass"), value("RestrictRealtime")), ("best-effort", "yes"));
    assert!(number("IOSchedulingPriority") < 4, "the default is 4");
    assert!(values("CPUSchedulingPolicy").is_empty());
    // Probes have a thread each.
    assert!(number("TasksMax") as usize >= 2 * lastgasp::config::keys::PROBES_MAX + 64);
    for directory in ["RuntimeDirectory", "StateDirectory"] {
        assert_eq!(value(directory), "lastgasp");
        assert_eq!(value(&format!("{directory}Mode")), "0700");
    }
}

#[test]
fn the_unit_has_nothing_that_blinds_the_daemon() {
    // Each is argued in the unit's last comment.
    for absent in [
        "ProtectSystem",
        "ProtectHome",
        "PrivateTmp",
        "ProtectKernelLogs",
        "ProtectKernelTunables",
        "ProtectKernelModules",
        "ProtectControlGroups",
        "ProtectClock",
        "ProtectHostname",
        "ProtectProc",
        "ProcSubset",
        "PrivateDevices",
        "PrivateNetwork",
        "PrivateUsers",
        "ReadWritePaths",
        "InaccessiblePaths",
    ] {
        assert!(values(absent).is_empty(), "{absent}");
        assert!(UNIT.contains(absent), "{absent} is not explained");
    }
    assert!(values("DeviceAllow").contains(&"/dev/kmsg r"));
    let filter = values("SystemCallFilter").join(" ");
    for call in ["@system-service", "adjtimex", "clock_adjtime", "syslog"] {
        assert!(filter.split(' ').any(|f| f == call), "{call}");
    }
}

#[test]
fn the_changelog_of_the_package_is_about_this_version() {
    let changelog = include_str!("../../packaging/debian/changelog");
    let first = changelog.lines().next().unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    assert!(first.starts_with(&format!("lastgasp ({version}-")), "{first} should be about {version}");
}
