//! Commands of the operator (`capture.commands`): program and arguments, no shell, each with limit and cap.

use crate::capture::guard::Guard;
use crate::capture::helper::{self, Helper};
use crate::capture::mangle::{plain, unique};
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use std::collections::BTreeSet;
use std::time::Duration;

pub const SPEC: Spec = Spec {
    name: "commands",
    doc: "Output of the commands that the config names.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 64 << 20,
    limit_ms: 45_000,
    sensitivity: Sensitivity::Content,
    capabilities: &[],
};

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    let commands = &ctx.config.capture.commands;
    if commands.is_empty() {
        return Err(CollectError::Skipped("the config names no commands (capture.commands)".into()));
    }
    let mut guard = Guard::new(3);
    let mut used = BTreeSet::new();
    for c in commands {
        if ctx.expired() {
            sink.missing(&c.name, "not run: no time left");
            continue;
        }
        let argv: Vec<&str> = c.argv.iter().map(String::as_str).collect();
        let base = plain(&argv.join(" "));
        let entry = format!("sos_commands/lastgasp_commands/{}", unique(&base, &mut used));
        let h = Helper {
            argv: &argv,
            entry: &entry,
            limit: Duration::from_millis(c.timeout_ms),
            cap_bytes: usize::try_from(c.cap_bytes).unwrap_or(usize::MAX),
            process_tree: false,
        };
        helper::run(&h, ctx, &mut guard, sink)?;
    }
    Ok(())
}
