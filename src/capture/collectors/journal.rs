//! The journal before the incident: of the whole machine, and of the unit that failed.

use crate::capture::guard::Guard;
use crate::capture::helper::{self, Helper};
use crate::capture::mangle::mangle;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier, files, subject};
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "journal",
    doc: "The systemd journal of the last minutes, and that of the failing unit.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 12 << 20,
    limit_ms: 10_000,
    sensitivity: Sensitivity::Content,
    capabilities: &[],
};

const LIMIT: Duration = Duration::from_secs(4);
const CAP: usize = 8 << 20;
/// Newest lines that are asked for: some 120 bytes each in practice, 2.4 MB.
const LINES: u32 = 20_000;
/// Lines of a second try, when these were so long that the newest ones were cut.
const LINES_IF_LONG: u32 = 4_000;
const UNIT_LINES: u32 = 2_000;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let mut guard = Guard::new(2);
    let root = ctx.root.clone();
    // /var may be on the disk that hangs.
    let kept = guard.call(files::FILE_LIMIT, move || {
        ["/run/log/journal", "/var/log/journal"].iter().any(|d| root.path(d).is_dir())
    });
    match kept {
        Ok(true) => {}
        Ok(false) => return Err(CollectError::Skipped("this machine keeps no journal".into())),
        Err(why) => {
            return Err(CollectError::failed("look for /var/log/journal")(std::io::Error::other(why.to_string())));
        }
    }
    helper::need("journalctl", &mut guard)?;
    if let Some(unit) = subject::unit(ctx) {
        let entry = format!("sos_commands/logs/{}", mangle(&format!("journalctl --no-pager -u {unit}")));
        call(&entry, &["-u", &unit], UNIT_LINES, ctx, &mut guard, sink)?;
    }
    let since = format!("-{}s", ctx.config.capture.journal_s);
    call("sos_commands/logs/journalctl_--no-pager", &["--since", &since], LINES, ctx, &mut guard, sink)
}

/// Newest `lines` lines. The program prints them oldest first, so what a cap cuts would be the newest: then
/// fewer are asked for.
fn call(
    entry: &str,
    select: &[&str],
    lines: u32,
    ctx: &Context,
    guard: &mut Guard,
    sink: &mut Sink,
) -> Result<(), CollectError> {
    for (n, entry) in [(lines, entry.to_owned()), (LINES_IF_LONG.min(lines / 4), format!("{entry}_newest"))] {
        let count = n.to_string();
        let mut argv = vec!["journalctl", "--no-pager", "-o", "short-precise", "-n", &count];
        argv.extend_from_slice(select);
        let cap_bytes = CAP.min(usize::try_from(sink.left_bytes()).unwrap_or(CAP));
        let h = Helper { argv: &argv, entry: &entry, limit: LIMIT, cap_bytes, process_tree: false };
        if !helper::run(&h, ctx, guard, sink)?.cut {
            break;
        }
    }
    Ok(())
}
