//! What systemd thinks of its units, and of the failing one in particular.

use crate::capture::guard::Guard;
use crate::capture::helper::{self, Helper};
use crate::capture::mangle::mangle;
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier, subject};
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "systemd",
    doc: "States of all units, failed units, and status and properties of the unit that failed.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 12 << 20,
    limit_ms: 15_000,
    sensitivity: Sensitivity::Content,
    capabilities: &[],
};

const LIMIT: Duration = Duration::from_secs(4);
const CAP: usize = 4 << 20;

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    // sd_booted(3): this directory is there when systemd is PID 1.
    if !ctx.root.path("/run/systemd/system").is_dir() {
        return Err(CollectError::Skipped("systemd does not run this machine".into()));
    }
    let mut guard = Guard::new(2);
    helper::need("systemctl", &mut guard)?;
    if let Some(unit) = subject::unit(ctx) {
        // `status` reads the command lines of the unit's processes, which a hung one may block: properties first.
        call(&["systemctl", "show", &unit], ctx, &mut guard, sink)?;
        call(&["systemctl", "cat", &unit], ctx, &mut guard, sink)?;
        call(&["systemctl", "status", &unit], ctx, &mut guard, sink)?;
    }
    call(&["systemctl", "list-units", "--failed"], ctx, &mut guard, sink)?;
    call(&["systemctl", "list-units", "--all"], ctx, &mut guard, sink)?;
    call(&["systemctl", "list-unit-files"], ctx, &mut guard, sink)?;
    call(&["systemctl", "list-jobs"], ctx, &mut guard, sink)?;
    call(&["systemctl", "list-timers", "--all"], ctx, &mut guard, sink)?;
    call(&["systemctl", "status", "--all"], ctx, &mut guard, sink)?;
    Ok(())
}

fn call(argv: &[&str], ctx: &Context, guard: &mut Guard, sink: &mut Sink) -> Result<(), CollectError> {
    let entry = format!("sos_commands/systemd/{}", mangle(&argv.join(" ")));
    // After the name of the entry is made: readers know it without these.
    let mut argv = argv.to_vec();
    argv.extend(["--no-pager", "--full"]);
    let h = Helper { argv: &argv, entry: &entry, limit: LIMIT, cap_bytes: CAP, process_tree: true };
    helper::run(&h, ctx, guard, sink).map(drop)
}
