//! `queue_rates`: the machine's queues at two moments a second apart: connections that wait to be accepted, packets
//! that were dropped because nobody took them in, tasks that wait for a CPU, pages that wait for a disk.
//!
//! `lastgasp/queue_rates.txt` says what grew; a counter that stood still is left out, so that what is there is worth
//! reading.

use crate::capture::collectors::sockets::{DUMP_GUARD, end};
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::bytes::push_word;
use crate::host::queues::Moment;
use crate::host::sockets::Sockets;
use std::io::Write;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "queue_rates",
    doc: "Accept queues, dropped packets, run queue and kernel counters at two moments a second apart: what grows right now.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 2 << 20,
    limit_ms: 6_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};

/// Time between the two readings, or longer: the first is that of the first tier.
const WINDOW: Duration = Duration::from_secs(1);
/// Listeners that are shown; the fullest first.
const LISTENERS_MAX: usize = 200;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let early = ctx.shared.queues.get().cloned();
    let first = early.unwrap_or_else(|| read(ctx, sink));
    ctx.wait_until(first.at.plus(WINDOW));
    let second = read(ctx, sink);
    sink.put("lastgasp/queue_rates.txt", text(&first, &second))?;
    Ok(())
}

/// The queues as they are now.
fn read(ctx: &Context, sink: &mut Sink) -> Moment {
    let mut moment = Moment::read(&ctx.root);
    let (root, deadline) = (ctx.root.clone(), ctx.deadline);
    match DUMP_GUARD.run(move || Sockets::listeners(&root, deadline)) {
        Ok(Ok(all)) => moment.set_listeners(&all),
        Ok(Err(e)) => sink.missing("accept queues", format!("ask for listeners: {e}")),
        Err(place) => sink.missing("accept queues", format!("no answer in 1.5 s; the reader hangs at {place}")),
    }
    moment
}

fn text(a: &Moment, b: &Moment) -> Vec<u8> {
    let mut out = Vec::with_capacity(16_384);
    let seconds = b.at.since(a.at).as_secs_f64().max(0.001);
    let level = |n: Option<u64>| n.map_or_else(|| "?".into(), |n| n.to_string());
    let _ = writeln!(
        out,
        "over {seconds:.2} s\nrun queue: {} then {} tasks run or wait for a CPU\nblocked: {} then {} tasks wait for I/O",
        level(a.running),
        level(b.running),
        level(a.blocked),
        level(b.blocked)
    );
    listeners(&mut out, a, b);
    out.extend_from_slice(b"\ncounters that grew, per second:\n");
    for (name, now) in &b.counters {
        let grew = now.saturating_sub(*a.counters.get(name).unwrap_or(now));
        if grew > 0 {
            let _ = write!(out, "{:>14.1} ", grew as f64 / seconds);
            for (i, word) in name.split(' ').enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                push_word(&mut out, word.as_bytes());
            }
            out.push(b'\n');
        }
    }
    out
}

/// Those with connections that wait, the fullest first, and whether their process takes any in.
fn listeners(out: &mut Vec<u8>, a: &Moment, b: &Moment) {
    let mut waiting: Vec<_> = b
        .listeners
        .iter()
        .map(|(key, now)| (key, a.listeners.get(key).map(|then| then.0), now))
        .filter(|(_, then, now)| now.0 > 0 || then.is_some_and(|n| n > 0))
        .collect();
    waiting.sort_by_key(|(key, _, now)| (std::cmp::Reverse(now.0), **key));
    let _ = writeln!(
        out,
        "\nlisteners with connections that wait to be accepted: {} of {}",
        waiting.len(),
        b.listeners.len()
    );
    for ((address, port, _), then, (now, most)) in waiting.iter().take(LISTENERS_MAX) {
        let most = most.map_or_else(|| "?".into(), |n| n.to_string());
        let (then, word) = match then {
            Some(then) if then < now => (then.to_string(), "grows"),
            Some(then) if then > now => (then.to_string(), "shrinks"),
            Some(then) => (then.to_string(), "stands still"),
            None => ("-".into(), "new"),
        };
        let _ = writeln!(out, "{then:>6} then {now:>6} of {most:<6} {}  {word}", end(*address, *port));
    }
    if waiting.len() > LISTENERS_MAX {
        let _ = writeln!(out, "  and {} more", waiting.len() - LISTENERS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mono;
    use std::net::IpAddr;

    #[test]
    fn what_grew_is_told_and_what_stood_still_is_not() {
        let counters = |all: &[(&str, u64)]| all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let mut a = Moment { running: Some(3), ..Moment::default() };
        a.counters =
            counters(&[("TcpExt ListenOverflows", 5), ("TcpExt TW", 9), ("pgmajfault", 10), ("softnet dropped", 2)]);
        let mut b = Moment { at: Mono(2_000_000_000), running: Some(4), ..Moment::default() };
        b.counters =
            counters(&[("TcpExt ListenOverflows", 25), ("TcpExt TW", 9), ("pgmajfault", 11), ("softnet dropped", 4)]);
        let key = |port: u16| (IpAddr::from([127, 0, 0, 1]), port, 1);
        a.listeners = [(key(80), (10, Some(128))), (key(22), (0, Some(128)))].into();
        b.listeners = [(key(80), (129, Some(128))), (key(22), (0, Some(128))), (key(81), (1, None))].into();
        let text = String::from_utf8(text(&a, &b)).expect("text");
        let want = "over 2.00 s\nrun queue: 3 then 4 tasks run or wait for a CPU\nblocked: ? then ? tasks wait for I/O\n\n\
                    listeners with connections that wait to be accepted: 2 of 3\n    \
                    10 then    129 of 128    127.0.0.1:80  grows\n     \
                    - then      1 of ?      127.0.0.1:81  new\n\n\
                    counters that grew, per second:\n          10.0 TcpExt ListenOverflows\n           0.5 pgmajfault\n           1.0 softnet dropped\n";
        assert_eq!(text, want);
    }
}
