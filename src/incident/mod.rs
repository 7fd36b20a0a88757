//! From events to decisions: which failure gets a snapshot, which belongs to one already being
//! taken, which is only counted. Pure: no clock, no file; every decision is a [`Decision`] that the
//! caller must carry out, and whatever is not captured is counted in [`crate::model::Losses`].

mod burst;
mod cooldown;
mod decide;

pub use decide::{Decision, Identity, Incidents};
