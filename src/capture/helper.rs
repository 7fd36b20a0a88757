//! Programs of the host as sources of entries: found, run within a limit, their output put, their failure
//! told in one line.

use crate::capture::guard::Guard;
use crate::capture::{CollectError, Context, Sink};
use crate::host::mask::mask_cmdline;
use crate::model::Deadline;
use crate::sys::clock;
use crate::sys::exec::{self, Ended};
use std::time::Duration;

/// One run of a program.
pub struct Helper<'a> {
    /// Program (absolute, or a name to be searched) and arguments.
    pub argv: &'a [&'a str],
    /// Where its standard output goes.
    pub entry: &'a str,
    pub limit: Duration,
    pub cap_bytes: usize,
    /// Its output has command lines of processes, drawn as a tree: their secrets are masked.
    pub process_tree: bool,
}

/// How it went, for callers that have a second way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    pub ok: bool,
    /// Its output was cut at the cap.
    pub cut: bool,
}

/// The reason to skip when `program` is not installed. Looked for under guard: the disk with the programs may
/// be the one that hangs.
pub fn need(program: &'static str, guard: &mut Guard) -> Result<(), CollectError> {
    match guard.call(START_GRACE, move || exec::find(program)) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(CollectError::Skipped(format!("{program} is not installed"))),
        Err(why) => Err(CollectError::failed(format!("look for {program}"))(std::io::Error::other(why.to_string()))),
    }
}

/// How long starting and ending a program may take beyond its limit before its thread is left behind: the
/// program's file itself may be on the disk that hangs.
const START_GRACE: Duration = Duration::from_millis(800);

/// Runs it and puts what it printed, if anything, whatever its exit code; that and the first line of its
/// standard error become a `Missing` line.
pub fn run(helper: &Helper<'_>, ctx: &Context, guard: &mut Guard, sink: &mut Sink) -> Result<Ran, CollectError> {
    let Some((program, args)) = helper.argv.split_first() else {
        sink.missing(helper.entry, "no program is given");
        return Ok(Ran { ok: false, cut: false });
    };
    let limit = helper.limit.min(ctx.left());
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
    let cap = helper.cap_bytes;
    let name = (*program).to_owned();
    let answer = guard.call(limit + START_GRACE, move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let path = exec::find(&name)?;
        Some(exec::run(&path, &args, Deadline::after(clock::mono(), limit), cap))
    });
    // An operator's own command may carry a password.
    let what = masked(&mut helper.argv.iter().map(|a| a.as_bytes()));
    let out = match answer {
        Ok(Some(Ok(out))) => out,
        Ok(None) => {
            sink.missing(what, format!("{program} is not installed"));
            return Ok(Ran { ok: false, cut: false });
        }
        Ok(Some(Err(e))) => {
            sink.missing(what, format!("start it: {e}"));
            return Ok(Ran { ok: false, cut: false });
        }
        Err(unanswered) => {
            sink.missing(what, unanswered.to_string());
            return Ok(Ran { ok: false, cut: false });
        }
    };
    let trouble = match out.ended {
        Ended::Exited(0) => None,
        Ended::Exited(code) => Some(format!("exit code {code}")),
        Ended::Killed(signal) => Some(format!("killed by signal {signal}")),
        Ended::TimedOut => Some(format!("killed after {} ms", limit.as_millis())),
        Ended::Abandoned { pid } => Some(format!("stuck in the kernel, process {pid} left behind")),
    };
    if let Some(mut why) = trouble.clone() {
        let said = String::from_utf8_lossy(&out.stderr);
        if let Some(line) = said.lines().map(str::trim).find(|l| !l.is_empty()) {
            why.push_str(": ");
            why.extend(line.chars().filter(|c| !c.is_control()).take(300));
        }
        sink.missing(what, why);
    }
    let ran = Ran { ok: trouble.is_none(), cut: out.truncated };
    if !out.stdout.is_empty() {
        // Cut short by the clock is cut as well.
        let cut = out.truncated || matches!(out.ended, Ended::TimedOut | Ended::Abandoned { .. });
        let text = if helper.process_tree { mask_tree(&out.stdout) } else { out.stdout };
        sink.put_cut(helper.entry, text, cut)?;
    }
    Ok(ran)
}

/// Arguments in one line, with secrets masked.
fn masked(argv: &mut dyn Iterator<Item = &[u8]>) -> String {
    let joined = argv.collect::<Vec<_>>().join(&0);
    let mut out = Vec::with_capacity(joined.len());
    mask_cmdline(&joined, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// `  ├─1234 nginx --password x`: what `systemctl status` prints behind a branch is a command line.
fn mask_tree(text: &[u8]) -> Vec<u8> {
    const BRANCH: &str = "─";
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|b| *b == b'\n') {
        match memchr::memmem::rfind(line, BRANCH.as_bytes()) {
            Some(at) => {
                let (tree, rest) = line.split_at(at + BRANCH.len());
                let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
                out.extend_from_slice(tree);
                out.extend_from_slice(masked(&mut rest.split(|b| *b == b' ')).as_bytes());
                out.push(b'\n');
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_process_tree_are_masked_and_the_rest_is_kept() {
        let text = "  Active: active\n   CGroup: /a.service\n     ├─12 mysqld --password=hush -v\n     └─13 sleep 5\n";
        let got = String::from_utf8(mask_tree(text.as_bytes())).expect("UTF-8 stays UTF-8");
        assert!(!got.contains("hush"), "{got}");
        assert!(got.contains("     ├─12 mysqld --password=") && got.ends_with("-v\n     └─13 sleep 5\n"), "{got}");
    }
}
