//! The config as meant: checked, defaulted, in plain units. Crosses to the roles as JSON.

use crate::model::{Kind, Severity};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub general: GeneralConfig,
    pub store: StoreConfig,
    pub kmsg: KmsgConfig,
    pub consoles: Vec<ConsoleConfig>,
    pub netconsole: NetconsoleConfig,
    pub probes: Vec<ProbeConfig>,
    pub incident: IncidentConfig,
    pub capture: CaptureConfig,
    pub rules: RulesConfig,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneralConfig {
    /// Name of this host in archives; `None`: the kernel's.
    pub host: Option<String>,
    /// Control socket; `None`: /run/lastgasp/control.sock as root, else under XDG_RUNTIME_DIR.
    pub control: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreConfig {
    /// Tried in this order, finally the memory-backed /run/lastgasp/store. Empty: the default store.
    pub dirs: Vec<PathBuf>,
    pub max_count: u32,
    pub max_bytes: u64,
    pub max_age_s: u64,
    /// Old snapshots go when the file system has less than this free.
    pub min_free_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            dirs: Vec::new(),
            max_count: 100,
            max_bytes: 2 << 30,
            max_age_s: 90 * 86_400,
            min_free_bytes: 256 << 20,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KmsgConfig {
    pub enabled: bool,
}

impl Default for KmsgConfig {
    fn default() -> KmsgConfig {
        KmsgConfig { enabled: true }
    }
}

/// One console-log file or glob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsoleConfig {
    /// A path or glob; `*`, `?` and `[…]` in the last components.
    pub path: String,
    /// Regex on the file name; its group `host` (or the first group) is the host. `None`: the file name
    /// without its extension.
    pub host: Option<String>,
}

/// Other hosts' kernel messages by UDP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetconsoleConfig {
    /// `None`: nothing is listened to.
    pub listen: Option<SocketAddr>,
    pub hosts: Vec<NetconsoleHost>,
}

/// The name of the host that sends from an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetconsoleHost {
    pub address: IpAddr,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeConfig {
    pub name: String,
    pub target: ProbeTarget,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// Consecutive failures that make it down.
    pub failures: u32,
    /// Consecutive successes that make it up again.
    pub recoveries: u32,
    /// systemd unit whose journal and processes belong to this service.
    pub unit: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeTarget {
    Tcp {
        host: String,
        port: u16,
    },
    Http {
        url: String,
        /// Accepted status codes; empty: 200 to 399.
        status: Vec<u16>,
        /// Regex that the first 64 KiB of the body must match.
        body: Option<String>,
        /// Check the certificate (https).
        verify: bool,
    },
    Unix {
        path: PathBuf,
    },
    /// systemd unit that must be active.
    Unit {
        unit: String,
    },
    /// At least `min` processes of this name (as in /proc/PID/comm or the base name of its first argument).
    Process {
        name: String,
        min: u32,
    },
    /// The process that the pidfile names must exist.
    Pidfile {
        path: PathBuf,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentConfig {
    /// Events of one host within this time of the last one belong to one incident.
    pub coalesce_ms: u64,
    /// A signature that comes again within this time is counted, not captured.
    pub cooldown_s: u64,
    /// Most snapshots in any hour.
    pub max_per_hour: u32,
}

impl Default for IncidentConfig {
    fn default() -> IncidentConfig {
        IncidentConfig { coalesce_ms: 10_000, cooldown_s: 600, max_per_hour: 12 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptureConfig {
    /// The whole capture is published after this time, finished or not.
    pub deadline_ms: u64,
    /// Collectors not to run, by name.
    pub skip: Vec<String>,
    /// Run the disk read benchmark.
    pub disk_benchmark: bool,
    /// Collectors at work at the same time.
    #[serde(default = "parallel")]
    pub parallel: u32,
    /// Run it even on disks that the failure is about, or that hang.
    #[serde(default)]
    pub benchmark_suspects: bool,
    /// Dumps asked of the kernel by /proc/sysrq-trigger, in this order.
    #[serde(default)]
    pub sysrq: Vec<Sysrq>,
    /// More log files whose tails belong into a snapshot (paths or globs).
    pub logs: Vec<String>,
    /// Names whose DNS answer is recorded.
    pub resolve: Vec<String>,
    /// How far back the journal is read.
    pub journal_s: u64,
    /// Commands of the operator: run last, each with a deadline and a cap.
    pub commands: Vec<CommandConfig>,
    /// URLs fetched into the snapshot, such as an Apache status page.
    pub urls: Vec<UrlConfig>,
}

/// Two saturate a small machine; the third uses their waits.
fn parallel() -> u32 {
    3
}

impl Default for CaptureConfig {
    fn default() -> CaptureConfig {
        CaptureConfig {
            deadline_ms: 60_000,
            skip: Vec::new(),
            disk_benchmark: true,
            parallel: parallel(),
            benchmark_suspects: false,
            sysrq: Vec::new(),
            logs: Vec::new(),
            resolve: Vec::new(),
            journal_s: 900,
            commands: Vec::new(),
            urls: Vec::new(),
        }
    }
}

/// A dump that the kernel writes into its own log (Documentation/admin-guide/sysrq.rst); none of them changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sysrq {
    /// `m`: memory by zone and node.
    Memory,
    /// `l`: stacks of all CPUs.
    Cpus,
    /// `w`: tasks in uninterruptible sleep.
    Blocked,
    /// `t`: every task.
    Tasks,
}

impl Sysrq {
    pub const ALL: &'static [Sysrq] = &[Sysrq::Memory, Sysrq::Cpus, Sysrq::Blocked, Sysrq::Tasks];

    pub fn of(letter: &str) -> Option<Sysrq> {
        Sysrq::ALL.iter().copied().find(|s| s.letter() == letter)
    }

    /// The letter that the kernel takes. No other is ever written.
    pub fn letter(self) -> &'static str {
        match self {
            Sysrq::Memory => "m",
            Sysrq::Cpus => "l",
            Sysrq::Blocked => "w",
            Sysrq::Tasks => "t",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandConfig {
    pub name: String,
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
    pub timeout_ms: u64,
    pub cap_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UrlConfig {
    pub name: String,
    pub url: String,
    pub timeout_ms: u64,
    pub cap_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RulesConfig {
    /// Rule ids that raise nothing.
    pub silence: Vec<String>,
    pub regrade: Vec<Regrade>,
    pub add: Vec<AddedRule>,
}

/// Another severity, or another answer to "is it an alarm", for a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regrade {
    pub rule: String,
    pub severity: Option<Severity>,
    pub alarm: Option<bool>,
}

/// A rule of the operator's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddedRule {
    pub id: String,
    /// Text that must be in the line, exactly; what makes scanning fast.
    pub phrase: String,
    /// Regex that the line must match besides.
    pub pattern: Option<String>,
    pub kind: Kind,
    pub severity: Severity,
    pub alarm: bool,
    /// Title; default: the phrase.
    pub title: Option<String>,
}
