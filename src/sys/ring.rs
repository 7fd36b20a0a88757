//! The kernel's log ring read once, from its oldest record to its newest, without ever waiting.

use crate::model::Deadline;
use crate::sys::clock;
use crate::sys::kmsg::{Kmsg, KmsgRead};
use std::io;

/// What was read.
#[derive(Debug, Default)]
pub struct Ring {
    /// Records as /dev/kmsg gives them, each ending in a newline.
    pub records: Vec<u8>,
    /// How often the ring overtook us (EPIPE): records were lost there.
    pub overruns: u64,
    /// It did not fit the cap, or the deadline passed: the newest records are missing.
    pub truncated: bool,
}

/// Reads /dev/kmsg from the start of the ring until it has no more, at most `cap` bytes.
///
/// Errors: as [`Kmsg::open`].
pub fn read(cap: usize, deadline: Deadline) -> io::Result<Ring> {
    let mut kmsg = Kmsg::open()?;
    let mut ring = Ring::default();
    let mut record = Vec::new();
    for turn in 1u64.. {
        // The clock is asked once in 256 records: a read costs less than a microsecond. A ring that is
        // overwritten faster than it is read would keep us for ever.
        if turn % 256 == 0 && deadline.passed(clock::mono()) {
            ring.truncated = true;
            break;
        }
        match kmsg.read(&mut record)? {
            KmsgRead::Empty => break,
            KmsgRead::Overrun => ring.overruns += 1,
            KmsgRead::Record if ring.records.len() + record.len() > cap => {
                ring.truncated = true;
                break;
            }
            KmsgRead::Record => ring.records.extend_from_slice(&record),
        }
    }
    Ok(ring)
}
