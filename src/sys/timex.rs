//! How well the kernel's clock is steered: adjtimex(2), asked without setting anything.

use std::io;

/// What the kernel says of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// TIME_OK 0, TIME_INS 1, TIME_DEL 2, TIME_OOP 3, TIME_WAIT 4, TIME_ERROR 5.
    pub state: i32,
    /// STA_* bits (linux/timex.h).
    pub status: i32,
    /// Offset still to be corrected, in nanoseconds.
    pub offset_ns: i64,
    /// Bounds of the error as estimated by the time daemon, in microseconds. 16 s means: not known.
    pub max_error_us: i64,
    pub estimated_error_us: i64,
    /// Frequency correction in parts per million, scaled by 65,536.
    pub frequency_scaled_ppm: i64,
    /// TAI minus UTC in seconds; 0 when nobody set it.
    pub tai_offset_s: i32,
}

/// STA_UNSYNC: no time daemon steers the clock.
pub const STA_UNSYNC: i32 = 0x40;
/// STA_NANO: the offset is in nanoseconds, not microseconds.
const STA_NANO: i32 = 0x2000;

/// Reads the state. Needs no privilege.
pub fn read() -> io::Result<ClockState> {
    // SAFETY: timex is a plain C struct of integers, for which all zeroes is a valid value.
    let mut t: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `t` is a valid, exclusively borrowed timex; with `modes` 0 the call only fills it in.
    let state = unsafe { libc::adjtimex(&mut t) };
    if state == -1 {
        return Err(io::Error::last_os_error());
    }
    // The C type `long` is 32 bits wide on some targets.
    #[allow(clippy::useless_conversion)]
    let (offset, max, estimated, freq) =
        (i64::from(t.offset), i64::from(t.maxerror), i64::from(t.esterror), i64::from(t.freq));
    Ok(ClockState {
        state,
        status: t.status,
        offset_ns: if t.status & STA_NANO != 0 { offset } else { offset.saturating_mul(1_000) },
        max_error_us: max,
        estimated_error_us: estimated,
        frequency_scaled_ppm: freq,
        tai_offset_s: t.tai,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_state_can_be_read_without_privilege() {
        let s = super::read().expect("adjtimex");
        assert!((0..=5).contains(&s.state), "{s:?}");
    }
}
