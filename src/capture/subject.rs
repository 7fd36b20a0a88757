//! What the incident is about: the unit and the names of the service that failed, where the trigger tells.

use crate::capture::Context;
use crate::config::ProbeTarget;
use crate::model::{Event, Trigger};

fn events(ctx: &Context) -> impl Iterator<Item = &Event> {
    let trigger = match &ctx.incident.trigger {
        Trigger::Event(e) => Some(&**e),
        Trigger::Manual { .. } => None,
    };
    trigger.into_iter().chain(&ctx.incident.events)
}

/// The systemd unit that failed: from the trigger's details, or from the probe that found it.
pub fn unit(ctx: &Context) -> Option<String> {
    let named = events(ctx).find_map(|e| e.details.get("unit").cloned());
    let by_probe = || {
        events(ctx).find_map(|e| {
            let name = e.details.get("probe").unwrap_or(&e.rule);
            let probe = ctx.config.probes.iter().find(|p| p.name == *name)?;
            match &probe.target {
                ProbeTarget::Unit { unit } => Some(unit.clone()),
                _ => probe.unit.clone(),
            }
        })
    };
    named.or_else(by_probe).filter(|u| is_unit_name(u))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_names_are_no_options() {
        for good in ["nginx.service", "getty@tty1.service", "dev-disk-by\\x2duuid.swap"] {
            assert!(is_unit_name(good), "{good}");
        }
        for bad in ["", "--help", "a b", "a;b", "a/b", "ü.service"] {
            assert!(!is_unit_name(bad), "{bad}");
        }
    }
}
