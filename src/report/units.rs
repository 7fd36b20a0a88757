//! Times, ages and sizes as people read them.

use crate::model::Wall;
use std::time::Duration;

/// Local time with its offset, then UTC: `2026-11-23 03:15:00 +01:00 (02:15:00 UTC)`.
pub fn when(at: Wall) -> String {
    let Some(utc) = at.utc() else { return "unknown time".into() };
    let local = utc.with_timezone(&chrono::Local);
    let utc = if utc.date_naive() == local.date_naive() {
        utc.format("%H:%M:%S UTC")
    } else {
        utc.format("%Y-%m-%d %H:%M:%S UTC")
    };
    format!("{} ({utc})", local.format("%Y-%m-%d %H:%M:%S %:z"))
}

/// Local time alone, for tables.
pub(crate) fn short_when(at: Wall) -> String {
    match at.utc() {
        Some(utc) => utc.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S").to_string(),
        None => "unknown".into(),
    }
}

/// One unit: `42 s`, `7 min`, `3 h`, `12 d`.
pub fn age(d: Duration) -> String {
    match d.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// `999 B`, `1.2 KiB`, `34.0 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `212 ms`, `2.5 s`, `1 min 5 s`.
pub fn took_ms(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_carry_their_unit() {
        assert_eq!([size(999), size(1229), size(34 << 20)], ["999 B", "1.2 KiB", "34.0 MiB"]);
        assert_eq!([took_ms(212), took_ms(2550), took_ms(65_000)], ["212 ms", "2.5 s", "1 min 5 s"]);
        assert_eq!(age(Duration::from_secs(7 * 60 + 3)), "7 min");
        assert_eq!(age(Duration::from_secs(3 * 86_400)), "3 d");
        assert!(when(Wall(1_795_395_300_000_000)).ends_with("00:55:00 UTC)"));
        assert_eq!(when(Wall(i64::MAX)), "unknown time");
    }
}
