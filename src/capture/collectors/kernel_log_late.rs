//! `kernel_log_late`: the kernel's log once more, when the report that set the capture off is complete.
//!
//! The first tier reads the ring within milliseconds of a report's first line, which is before its
//! last one. This reading has the rest, and what the kernel said about the capture itself; what the first
//! has already is not repeated.

use crate::capture::collectors::kernel_log::{self, Reading};
use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::sys::capability::Capability;

pub const SPEC: Spec = Spec {
    name: "kernel_log_late",
    doc: "What the kernel's log ring has beyond the first reading, after the report that set the capture off was complete.",
    tier: Tier::T2,
    source: Source::Run(run),
    cap_bytes: 24 << 20,
    limit_ms: 3_000,
    sensitivity: Sensitivity::Identifying,
    capabilities: &[Capability::Syslog],
};

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    kernel_log::collect(ctx, sink, Reading::Late)
}
