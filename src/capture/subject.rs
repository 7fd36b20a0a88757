//! What the incident is about: the units, the tasks and the names of the services that failed, where the
//! trigger and what came with it tell.

use crate::capture::Context;
use crate::config::url::HttpUrl;
use crate::config::{ProbeConfig, ProbeTarget};
use crate::host::tasks::Process;
use crate::model::{Event, Trigger};
use std::path::Path;

fn events(ctx: &Context) -> impl Iterator<Item = &Event> {
    let trigger = match &ctx.incident.trigger {
        Trigger::Event(e) => Some(&**e),
        Trigger::Manual { .. } => None,
    };
    trigger.into_iter().chain(&ctx.incident.events)
}

/// The probe that found this event.
fn probe_of<'a>(ctx: &'a Context, event: &Event) -> Option<&'a ProbeConfig> {
    let name = event.details.get("probe").unwrap_or(&event.rule);
    ctx.config.probes.iter().find(|p| p.name == *name)
}

/// The unit that this event is about: from its details, or from the probe that found it.
fn unit_of(ctx: &Context, event: &Event) -> Option<String> {
    let by_probe = || {
        let probe = probe_of(ctx, event)?;
        match &probe.target {
            ProbeTarget::Unit { unit } => Some(unit.clone()),
            _ => probe.unit.clone(),
        }
    };
    event.details.get("unit").cloned().or_else(by_probe).filter(|u| is_unit_name(u))
}

/// The systemd unit that failed; of several the first.
pub fn unit(ctx: &Context) -> Option<String> {
    events(ctx).find_map(|e| unit_of(ctx, e))
}

/// Whether it can be the name of a unit, and nothing that a program takes for an option (systemd.unit(5)).
fn is_unit_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 256
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
}

/// Words that may name the service: unit, probe, rule, process name; in lower case.
pub fn words(ctx: &Context) -> Vec<String> {
    let mut out: Vec<String> = unit(ctx).into_iter().collect();
    for e in events(ctx) {
        out.push(e.rule.clone());
        out.extend(e.comm.clone());
        out.extend(["unit", "probe", "process", "service"].iter().filter_map(|k| e.details.get(*k).cloned()));
    }
    out.iter_mut().for_each(|w| w.make_ascii_lowercase());
    out.sort();
    out.dedup();
    out
}

/// How to know the tasks of the services that failed. Empty where the trigger names none, and where it
/// happened on another host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Last components of cgroups: units and scopes.
    groups: Vec<Vec<u8>>,
    pids: Vec<i32>,
    /// Names of processes, as the kernel cuts them.
    comms: Vec<Vec<u8>>,
    /// Ports that do not answer.
    ports: Vec<u16>,
}

/// `TASK_COMM_LEN` less its NUL (include/linux/sched.h).
const COMM_MAX: usize = 15;

impl Service {
    /// From the trigger and what was known with it.
    pub fn of(ctx: &Context) -> Service {
        let mut service = Service::default();
        if ctx.incident.local {
            events(ctx).for_each(|e| service.take(ctx, e));
        }
        service.groups.sort();
        service.groups.dedup();
        service.comms.sort();
        service.comms.dedup();
        service
    }

    fn take(&mut self, ctx: &Context, e: &Event) {
        let mut group = |name: &str| self.groups.push(name.as_bytes().to_vec());
        if let Some(unit) = unit_of(ctx, e) {
            group(&unit);
        }
        // `/system.slice/db.service`: the group whose limit was hit, and the victim's.
        for key in ["memcg", "task_memcg"] {
            let last = e.details.get(key).and_then(|path| path.rsplit('/').next());
            if let Some(name) = last.filter(|n| n.ends_with(".service") || n.ends_with(".scope")) {
                group(name);
            }
        }
        let numbers = [e.pid, e.details.get("victim_pid").and_then(|p| p.parse().ok())];
        self.pids.extend(numbers.into_iter().flatten().filter(|p| *p > 0));
        let mut comm = |name: &str| self.comms.push(name.as_bytes()[..name.len().min(COMM_MAX)].to_vec());
        [e.comm.as_deref(), e.details.get("victim").map(String::as_str)].into_iter().flatten().for_each(&mut comm);
        match probe_of(ctx, e).map(|p| &p.target) {
            Some(ProbeTarget::Process { name, .. }) => comm(name),
            Some(ProbeTarget::Pidfile { path }) => self.pids.extend(pidfile(ctx, path)),
            Some(ProbeTarget::Tcp { port, .. }) => self.ports.push(*port),
            Some(ProbeTarget::Http { url, .. }) => self.ports.extend(HttpUrl::parse(url).map(|u| u.port)),
            Some(ProbeTarget::Unix { .. } | ProbeTarget::Unit { .. }) | None => {}
        }
    }

    /// Whether this process is one of the failing service's.
    pub fn has(&self, process: &Process) -> bool {
        let in_group = || {
            let path = process.cgroup.as_deref().unwrap_or_default();
            path.split(|b| *b == b'/').any(|part| self.groups.iter().any(|g| g == part))
        };
        // Names of kernel threads are shared by the work of everybody.
        let named = || !process.stat.is_kernel_thread() && self.comms.iter().any(|c| **c == *process.stat.comm);
        self.pids.contains(&process.stat.pid) || (!self.groups.is_empty() && in_group()) || named()
    }

    /// The ports that do not answer: whoever listens on one of them is of the service, too.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Takes in processes that were found to belong to it.
    pub fn add(&mut self, pids: impl IntoIterator<Item = i32>) {
        self.pids.extend(pids);
    }
}

/// What a pidfile says. Only below /run, which is memory: another disk may be the one that hangs.
fn pidfile(ctx: &Context, path: &Path) -> Option<i32> {
    if !(path.starts_with("/run") || path.starts_with("/var/run")) {
        return None;
    }
    ctx.root.read(path, 64).ok()?.text().split_whitespace().next()?.parse().ok().filter(|p| *p > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::stat::Stat;

    #[test]
    fn unit_names_are_no_options() {
        for good in ["nginx.service", "getty@tty1.service", "dev-disk-by\\x2duuid.swap"] {
            assert!(is_unit_name(good), "{good}");
        }
        for bad in ["", "--help", "a b", "a;b", "a/b", "ü.service"] {
            assert!(!is_unit_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_process_belongs_by_its_group_its_pid_or_its_name() {
        let service = Service {
            groups: vec![b"db.service".to_vec()],
            pids: vec![7],
            comms: vec![b"mysqld".to_vec()],
            ports: Vec::new(),
        };
        let process = |pid: i32, comm: &[u8], cgroup: &[u8], flags: u64| Process {
            stat: Stat { pid, comm: comm.into(), flags, ..Stat::default() },
            cgroup: (!cgroup.is_empty()).then(|| cgroup.into()),
            ..Process::default()
        };
        assert!(service.has(&process(1, b"x", b"/system.slice/db.service", 0)));
        assert!(service.has(&process(1, b"x", b"/system.slice/db.service/worker", 0)));
        assert!(!service.has(&process(1, b"x", b"/system.slice/otherdb.service", 0)));
        assert!(service.has(&process(7, b"x", b"", 0)));
        assert!(service.has(&process(1, b"mysqld", b"", 0)));
        assert!(!service.has(&process(1, b"mysqld", b"", crate::host::stat::PF_KTHREAD)));
        assert!(!Service::default().has(&process(1, b"", b"/", 0)));
    }
}
