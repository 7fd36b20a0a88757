//! Mounted file systems and how full they are; one that does not answer is listed as such, with the place
//! in the kernel where asking it got stuck.

use crate::capture::collectors::waiters;
use crate::capture::guard::{Guard, Unanswered};
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::host::mounts::{self, Mount, Reach, Row};
use crate::sys::statfs::{self, Space};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "mounts_df",
    doc: "Mounts, free space and inodes of each file system, and which file systems do not answer.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 8 << 20,
    limit_ms: 6_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[],
};

/// Longest wait for one file system. A healthy local one answers from memory in microseconds, a healthy
/// server within a round trip.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);
/// Stuck questions left behind. A wait for a server or a FUSE process ends with SIGKILL, so these do not
/// outlive the capture's process.
const MAX_ABANDONED: usize = 6;
/// Most bytes read of the mount table.
const TABLE_CAP: usize = 4 << 20;

/// File systems that do not answer, and who waits for them.
const NOT_ANSWERING: &str = "lastgasp/mounts_not_answering.txt";

/// What came of asking.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Space {
        total_bytes: u64,
        free_bytes: u64,
        available_bytes: u64,
        inodes: u64,
        inodes_free: u64,
    },
    /// Asked, and no answer in time.
    NotAnswering(String),
    /// Not asked, and why.
    NotAsked(String),
    /// Asked and refused.
    Error(String),
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    mount: &'a Mount,
    answer: &'a Answer,
}

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let table =
        ctx.root.read("/proc/self/mountinfo", TABLE_CAP).map_err(CollectError::failed("read /proc/self/mountinfo"))?;
    let (mounts, more) = mounts::parse(&table.bytes);
    if more || table.truncated {
        sink.missing("/proc/self/mountinfo", format!("only the first {} mounts", mounts.len()));
    }
    sink.put("sos_commands/filesys/mount_-l", mounts::mount_text(&mounts))?;

    let answers = ask_all(&mounts, ctx, sink);
    who_waits(&mounts, &answers, ctx, sink)?;
    let rows: Vec<Row<'_>> = mounts
        .iter()
        .zip(&answers)
        // -l and -x autofs: what stands on this machine.
        .filter(|(m, _)| !matches!(m.reach, Reach::Remote | Reach::Autofs))
        .map(|(mount, answer)| Row { mount, space: space_of(answer) })
        .collect();
    sink.put("sos_commands/filesys/df_-al_-x_autofs", mounts::df_blocks(&rows))?;
    sink.put("sos_commands/filesys/df_-ali", mounts::df_inodes(&rows))?;
    let told: Vec<Told<'_>> = mounts.iter().zip(&answers).map(|(mount, answer)| Told { mount, answer }).collect();
    let json = serde_json::to_vec(&told).map_err(|e| CollectError::failed("encode lastgasp/mounts.json")(e.into()))?;
    sink.put("lastgasp/mounts.json", json)?;
    Ok(())
}

/// For each file system that did not answer: the tasks that hang on it.
fn who_waits(mounts: &[Mount], answers: &[Answer], ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let mut silent = Vec::new();
    for (mount, answer) in mounts.iter().zip(answers) {
        if let Answer::NotAnswering(why) = answer
            && silent.iter().all(|(m, _): &(&Mount, _)| m.device != mount.device)
        {
            silent.push((mount, why));
        }
    }
    let (false, Some(table)) = (silent.is_empty(), ctx.shared.tasks.get()) else { return Ok(()) };
    let found = waiters::waiters(&ctx.root, table, ctx.deadline);
    let mut out = Vec::new();
    for (mount, why) in silent {
        let (text, count) = waiters::text(mount, mounts, why, &found);
        out.extend_from_slice(&text);
        sink.missing(&mount.at, format!("{count} tasks hang on it, see {NOT_ANSWERING}"));
    }
    sink.put(NOT_ANSWERING, out)?;
    Ok(())
}

/// Asks every file system once, those that cannot block first; answers stand in the order of `mounts`.
fn ask_all(mounts: &[Mount], ctx: &Context, sink: &mut Sink) -> Vec<Answer> {
    let mut order: Vec<usize> = (0..mounts.len()).collect();
    order.sort_by_key(|i| mounts[*i].reach);
    let mut answers = vec![Answer::NotAsked("not reached".into()); mounts.len()];
    let mut guard = Guard::new(MAX_ABANDONED);
    // Bind mounts and containers show one file system many times: one question is enough.
    let mut by_device: HashMap<&str, Answer> = HashMap::new();
    for i in order {
        let m = &mounts[i];
        let known = by_device.get(m.device.as_str()).cloned();
        answers[i] = match known {
            _ if m.covered => Answer::NotAsked("another mount covers this path".into()),
            _ if m.reach == Reach::Autofs => Answer::NotAsked("asking would mount it (autofs)".into()),
            Some(answer) => answer,
            None => {
                let answer = ask(m, ctx, &mut guard);
                match &answer {
                    Answer::Space { .. } => {}
                    Answer::NotAnswering(why) => sink.missing(&m.at, format!("file system {}: {why}", m.fs_type)),
                    Answer::NotAsked(why) => sink.missing(&m.at, format!("file system {} not asked: {why}", m.fs_type)),
                    Answer::Error(why) => sink.missing(&m.at, format!("statfs: {why}")),
                }
                by_device.insert(&m.device, answer.clone());
                answer
            }
        };
    }
    answers
}

fn ask(m: &Mount, ctx: &Context, guard: &mut Guard) -> Answer {
    if !ctx.root.is_real() {
        return Answer::NotAsked("statfs speaks of this machine only, not of another root".into());
    }
    if ctx.expired() {
        return Answer::NotAsked("no time left".into());
    }
    let path = m.path.clone();
    match guard.call(ANSWER_LIMIT.min(ctx.left()), move || statfs::space(&path)) {
        Ok(Ok(s)) => {
            let Space { total_bytes, free_bytes, available_bytes, inodes, inodes_free } = s;
            Answer::Space { total_bytes, free_bytes, available_bytes, inodes, inodes_free }
        }
        Ok(Err(e)) => Answer::Error(e.to_string()),
        Err(Unanswered::Stuck(s)) => Answer::NotAnswering(s.to_string()),
        Err(other) => Answer::NotAsked(other.to_string()),
    }
}

fn space_of(answer: &Answer) -> Option<Space> {
    match *answer {
        Answer::Space { total_bytes, free_bytes, available_bytes, inodes, inodes_free } => {
            Some(Space { total_bytes, free_bytes, available_bytes, inodes, inodes_free })
        }
        _ => None,
    }
}
