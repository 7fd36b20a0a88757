//! What configured names resolve to, as programs on this machine would resolve them, and how long it takes.

use crate::capture::guard::Guard;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::sys::clock;
use serde::Serialize;
use std::net::ToSocketAddrs;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "dns",
    doc: "Addresses, errors and times of the names that the config asks to resolve.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 1 << 20,
    limit_ms: 15_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};

/// Longest wait for one name: the usual resolver gives a dead server 5 s before it asks the next.
const LIMIT: Duration = Duration::from_secs(6);
const ADDRESSES_MAX: usize = 64;

#[derive(Serialize)]
struct Answer {
    name: String,
    addresses: Vec<String>,
    error: Option<String>,
    took_ms: u64,
}

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let names = &ctx.config.capture.resolve;
    if names.is_empty() {
        return Err(CollectError::Skipped("the config names nothing to resolve (capture.resolve)".into()));
    }
    let mut guard = Guard::new(3);
    let mut answers = Vec::new();
    for name in names {
        if ctx.expired() {
            sink.missing(name, "not resolved: no time left");
            continue;
        }
        let began = clock::mono();
        let asked = name.clone();
        let answer = guard.call(LIMIT.min(ctx.left()), move || {
            (asked.as_str(), 0).to_socket_addrs().map(|all| {
                let mut texts: Vec<String> = all.map(|a| a.ip().to_string()).take(ADDRESSES_MAX).collect();
                texts.dedup();
                texts
            })
        });
        let took_ms = u64::try_from(clock::mono().since(began).as_millis()).unwrap_or(u64::MAX);
        let (addresses, error) = match answer {
            Ok(Ok(addresses)) => (addresses, None),
            Ok(Err(e)) => (Vec::new(), Some(e.to_string())),
            Err(unanswered) => (Vec::new(), Some(unanswered.to_string())),
        };
        answers.push(Answer { name: name.clone(), addresses, error, took_ms });
    }
    let mut text = String::new();
    for a in &answers {
        let what = a.error.clone().unwrap_or_else(|| a.addresses.join(" "));
        text.push_str(&format!("{}: {what} ({} ms)\n", a.name, a.took_ms));
    }
    sink.put("lastgasp/dns.txt", text)?;
    let json = serde_json::to_vec(&answers).map_err(|e| CollectError::failed("encode lastgasp/dns.json")(e.into()))?;
    sink.put("lastgasp/dns.json", json)?;
    Ok(())
}
