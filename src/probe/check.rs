//! One look at one target.

use crate::config::ProbeTarget;
use crate::host::Root;
use crate::model::{Deadline, ProbeCause, ProbeOutcome};
use crate::probe::web::Web;
use crate::probe::{Fail, net, process, unit, unix};
use crate::sys::clock;
use std::time::Duration;

/// A target with what can be prepared once: compiled patterns, certificate authorities.
pub struct Checker {
    target: ProbeTarget,
    web: Option<Result<Web, Fail>>,
}

/// One look, without preparation kept. Returns the outcome and how long it took, in microseconds.
///
/// Blocks at most about `timeout`, except where the resolver or a hanging file system keep it longer.
pub fn check(target: &ProbeTarget, timeout: Duration) -> (ProbeOutcome, u64) {
    Checker::new(target).check(timeout)
}

impl Checker {
    pub fn new(target: &ProbeTarget) -> Checker {
        let web = match target {
            ProbeTarget::Http { url, status, body, verify } => Some(Web::new(url, status, body.as_deref(), *verify)),
            _ => None,
        };
        Checker { target: target.clone(), web }
    }

    /// As [`check`].
    pub fn check(&mut self, timeout: Duration) -> (ProbeOutcome, u64) {
        let start = clock::mono();
        let seen = self.look(Deadline::after(start, timeout));
        let took = clock::mono().since(start);
        let outcome = match seen {
            Ok(()) => ProbeOutcome::Up,
            Err(fail) => fail.outcome(),
        };
        (outcome, u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
    }

    fn look(&mut self, deadline: Deadline) -> Result<(), Fail> {
        match (&self.target, &mut self.web) {
            (ProbeTarget::Http { .. }, Some(Ok(web))) => web.look(deadline),
            (ProbeTarget::Http { .. }, Some(Err(fail))) => Err(fail.clone()),
            (ProbeTarget::Http { .. }, None) => Err(Fail::new(ProbeCause::CannotProbe, "not prepared")),
            (ProbeTarget::Tcp { host, port }, _) => net::connect(host, *port, deadline).map(drop),
            (ProbeTarget::Unix { path }, _) => unix::look(path, deadline),
            (ProbeTarget::Unit { unit }, _) => unit::look(unit, deadline),
            (ProbeTarget::Process { name, min }, _) => process::by_name(&Root::real(), name, *min, deadline),
            (ProbeTarget::Pidfile { path }, _) => process::by_pidfile(&Root::real(), path),
        }
    }
}
