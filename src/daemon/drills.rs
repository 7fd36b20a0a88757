//! Fire drills: a console log and a probe that are watched besides the configured ones, through
//! the same detector, workers and store, until the client that asked hangs up.
//!
//! Drills have their own cool-down and rate limit, so that practice never costs a real snapshot.

use crate::config::{ConsoleConfig, IncidentConfig, ProbeConfig};
use crate::daemon::children::Helper;
use crate::daemon::poller::Token;
use crate::incident::{Identity, Incidents};
use crate::model::IncidentId;
use crate::probe::Hysteresis;
use std::path::PathBuf;
use std::sync::Arc;

/// Drills at the same time.
pub const DRILLS_MAX: usize = 2;

#[derive(Debug)]
pub struct Drill {
    pub client: u32,
    /// Also the host name that its events carry.
    pub name: Arc<str>,
    pub incidents: Incidents,
    pub tail: Helper,
    pub prober: Helper,
    pub probe: Hysteresis,
    pub console: ConsoleConfig,
    pub target: ProbeConfig,
    pub ids: Vec<IncidentId>,
    /// The tail role follows the console.
    pub ready: bool,
}

impl Drill {
    /// `probe` as on the command line; the name becomes that of host and probe.
    pub fn new(client: u32, name: &str, console: PathBuf, probe: &str, identity: &Identity) -> Result<Drill, String> {
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(format!("{name:?} is no name for a drill: letters, digits and dashes"));
        }
        let console = console.to_str().ok_or("the drill's console log has a name that is not UTF-8")?;
        if !console.starts_with('/') || console.contains(['*', '?', '[']) {
            return Err(format!("{console:?} is no absolute path of a console log"));
        }
        let mut target = crate::config::probe_from_arg(probe)?;
        target.name = name.to_owned();
        target.interval_ms = 200;
        target.timeout_ms = 1000;
        target.failures = 2;
        target.recoveries = 1;
        let name: Arc<str> = name.into();
        let identity = Identity { drill: true, ..identity.clone() };
        // Two failures are staged, each of which must be captured.
        let config = IncidentConfig { coalesce_ms: 0, cooldown_s: 0, max_per_hour: 4 };
        Ok(Drill {
            client,
            incidents: Incidents::new(config, identity),
            tail: Helper::new("tail", Token::DrillTail(client)),
            prober: Helper::new("probe", Token::DrillProbe(client)),
            probe: Hysteresis::new(&target, Arc::clone(&name)),
            console: ConsoleConfig { path: console.to_owned(), host: Some(format!("^(?P<host>{name})")) },
            target,
            name,
            ids: Vec::new(),
            ready: false,
        })
    }

    /// Beside the console log; the client removes both.
    pub fn state_file(&self) -> PathBuf {
        format!("{}.state", self.console.path).into()
    }
}
