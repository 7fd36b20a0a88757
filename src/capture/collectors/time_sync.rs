//! Whether the clock can be believed: the kernel's own view of its synchronisation, and that of timesyncd.

use crate::capture::{CollectError, Context, Sensitivity, Sink, Source, Spec, Tier};
use crate::sys::{clock, timex};
use serde::Serialize;

pub const SPEC: Spec = Spec {
    name: "time_sync",
    doc: "Clock source, synchronisation, offset and error bounds: whether stamps of two hosts can be compared.",
    tier: Tier::T1,
    source: Source::Run(run),
    cap_bytes: 64 << 10,
    limit_ms: 2_000,
    sensitivity: Sensitivity::Plain,
    capabilities: &[],
};

#[derive(Serialize)]
struct TimeSync {
    wall: String,
    monotonic_ns: u64,
    clock_source: Option<String>,
    /// Somebody steers the clock (STA_UNSYNC is not set).
    synchronised: Option<bool>,
    /// timesyncd has had an answer since boot.
    timesyncd_synchronised: bool,
    status_bits: Option<i32>,
    offset_ns: Option<i64>,
    max_error_us: Option<i64>,
    estimated_error_us: Option<i64>,
    frequency_ppm: Option<f64>,
    tai_offset_s: Option<i32>,
}

fn run(ctx: &Context, sink: &mut Sink) -> Result<(), CollectError> {
    if !ctx.root.is_real() {
        return Err(CollectError::Skipped("the clock is that of this machine, not of another root".into()));
    }
    let state = timex::read().inspect_err(|e| sink.missing("adjtimex", e.to_string())).ok();
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let told = TimeSync {
        wall: clock::wall().to_string(),
        monotonic_ns: clock::mono().0,
        clock_source: ctx.root.read(source, 256).ok().map(|s| s.text().trim().to_owned()),
        synchronised: state.map(|s| s.status & timex::STA_UNSYNC == 0),
        // On /run, a tmpfs: asking cannot block.
        timesyncd_synchronised: ctx.root.path("/run/systemd/timesync/synchronized").exists(),
        status_bits: state.map(|s| s.status),
        offset_ns: state.map(|s| s.offset_ns),
        max_error_us: state.map(|s| s.max_error_us),
        estimated_error_us: state.map(|s| s.estimated_error_us),
        frequency_ppm: state.map(|s| s.frequency_scaled_ppm as f64 / 65_536.0),
        tai_offset_s: state.map(|s| s.tai_offset_s),
    };
    let json = serde_json::to_vec(&told).map_err(|e| CollectError::failed("encode lastgasp/time.json")(e.into()))?;
    sink.put("lastgasp/time.json", json)?;
    Ok(())
}
