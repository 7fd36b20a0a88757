//! Whether tasks that were looked at several times move, in words; a part of `task_rates`.

use crate::host::bytes::{lines, push_safe, push_word};
use crate::host::second_look::{self, Look, Motion, TaskId};
use std::io::Write;

/// Each task that was looked at, the stuck ones first, with a verdict in words and every stack that differs.
pub(crate) fn text(watched: &[TaskId], looks: &[Vec<Look>], hz: u64) -> Vec<u8> {
    let mut all: Vec<(Motion, &TaskId, &Vec<Look>)> =
        watched.iter().zip(looks).map(|(id, l)| (Motion::of(l), id, l)).collect();
    let rank = |m: Motion| match m {
        Motion::Stuck => 0,
        Motion::Slow => 1,
        Motion::Busy => 2,
        Motion::Awake => 3,
        Motion::Asleep => 4,
        Motion::Unknown => 5,
    };
    all.sort_by_key(|(m, id, _)| (rank(*m), **id));
    let mut out = Vec::with_capacity(1024 * all.len());
    let _ = write!(out, "{} tasks that are blocked (state D) or of what failed:", all.len());
    for kind in [Motion::Stuck, Motion::Slow, Motion::Busy, Motion::Awake, Motion::Asleep, Motion::Unknown] {
        let n = all.iter().filter(|(m, ..)| *m == kind).count();
        if n > 0 {
            let _ = write!(out, " {}={n}", kind.name());
        }
    }
    out.extend_from_slice(b"\n\n");
    for (motion, id, looks) in all {
        let Some(last) = looks.last() else { continue };
        out.extend_from_slice(b"task ");
        push_word(&mut out, &last.sample.stat.comm);
        let _ = writeln!(out, " tid {} of pid {}: {}", id.tid, id.pid, words(motion, looks, hz));
        let mut shown: Vec<&[u8]> = Vec::new();
        for look in looks {
            let Some(stack) = look.stack.as_deref().filter(|s| !shown.contains(s)) else { continue };
            shown.push(stack);
            if shown.len() > 1 {
                out.extend_from_slice(b"  then\n");
            }
            for frame in lines(stack) {
                out.extend_from_slice(b"    ");
                push_safe(&mut out, frame.strip_prefix(b"[<0>] ").unwrap_or(frame));
                out.push(b'\n');
            }
        }
        out.push(b'\n');
    }
    out
}

/// The verdict as one says it.
fn words(motion: Motion, looks: &[Look], hz: u64) -> String {
    let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return "it ended meanwhile".into() };
    let n = looks.len();
    let seconds = last.sample.at.since(first.sample.at).as_secs_f64();
    let cpu_ms = second_look::ticks(&last.sample).saturating_sub(second_look::ticks(&first.sample)) * 1000 / hz.max(1);
    let switched = second_look::switches(&last.sample).saturating_sub(second_look::switches(&first.sample));
    let place = last.wchan.as_deref().map_or_else(String::new, |w| {
        let mut safe = Vec::new();
        push_word(&mut safe, w);
        format!(" in {}", String::from_utf8_lossy(&safe))
    });
    match motion {
        Motion::Stuck => format!(
            "STUCK{place}: the same place at all {n} looks within {seconds:.2} s, no CPU time, no context switch"
        ),
        Motion::Slow => {
            let d = looks.iter().filter(|l| l.sample.stat.state == b'D').count();
            format!(
                "slow, not stuck: blocked at {d} of {n} looks, but it came on in between ({switched} context switches, {cpu_ms} ms of CPU in {seconds:.2} s)"
            )
        }
        Motion::Busy => format!("busy: {cpu_ms} ms of CPU and {switched} context switches in {seconds:.2} s"),
        Motion::Awake => format!("waits{place} and is woken: {switched} context switches in {seconds:.2} s"),
        Motion::Asleep => format!("asleep{place}: not woken in {seconds:.2} s"),
        Motion::Unknown => "looked at only once: it ended meanwhile, or did not answer".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::second_look::Sample;
    use crate::host::stat::Stat;
    use crate::model::Mono;

    fn look(ms: u64, state: u8, utime: u64, stack: &str) -> Look {
        let comm = b"a b\x1b".to_vec().into();
        Look {
            sample: Sample {
                at: Mono(ms * 1_000_000),
                stat: Stat { pid: 8, start: 1, state, utime, comm, ..Stat::default() },
                voluntary: Some(3),
                nonvoluntary: Some(0),
                io: None,
            },
            wchan: Some(b"io_schedule"[..].into()),
            stack: Some(stack.as_bytes().into()),
        }
    }

    #[test]
    fn the_verdict_is_in_words_and_the_stuck_come_first() {
        let ids = [TaskId { pid: 7, tid: 7, whole: false }, TaskId { pid: 7, tid: 8, whole: false }];
        let busy = vec![look(0, b'S', 0, "[<0>] b+0x1/0x2"), look(1000, b'S', 50, "[<0>] c+0x1/0x2")];
        let stuck = vec![look(0, b'D', 0, "[<0>] a+0x1/0x2"), look(1000, b'D', 0, "[<0>] a+0x1/0x2")];
        let text = String::from_utf8(text(&ids, &[busy, stuck], 100)).expect("text");
        let want = "2 tasks that are blocked (state D) or of what failed: stuck=1 busy=1\n\n\
                    task a\\x20b\\x1b tid 8 of pid 7: STUCK in io_schedule: the same place at all 2 looks within 1.00 s, no CPU time, no context switch\n    \
                    a+0x1/0x2\n\n\
                    task a\\x20b\\x1b tid 7 of pid 7: busy: 500 ms of CPU and 0 context switches in 1.00 s\n    \
                    b+0x1/0x2\n  then\n    c+0x1/0x2\n\n";
        assert_eq!(text, want);
    }
}
