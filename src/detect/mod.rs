//! From lines of kernel text to events: pure, bounded, and the same for a live log and for a file.
//!
//! A line is first searched for literals ([`prefilter`]); only a line that holds one, or that follows an open
//! report, is taken apart ([`prefix`]). A header opens a report at once ([`assemble`]); the lines behind it say what
//! function was at fault ([`dump`], [`recipe`]) and who ran it ([`facts`]). What a phrase means, and which kernel source
//! prints it, is data ([`rules`]).
//!
//! The text is hostile: nothing here recurses or panics, every buffer has a bound, every pass is linear. Only
//! records of facility kern count where the carrier tells the facility. On consoles, phrases that firmware and
//! programs use too count only behind a printk stamp or a `kernel:` tag.

mod assemble;
mod detector;
mod dump;
pub mod escapes;
mod facts;
mod frames;
mod lines;
mod prefilter;
mod prefix;
mod rarity;
mod recipe;
mod report;
mod rules;
mod sieve;
mod signature;
mod skip;
mod title;

pub use detector::Detector;
pub use facts::DETAILS;
pub use rules::{RuleInfo, catalogue};

/// What can be wrong with the rules of a config.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no rule {id:?} to silence or regrade; the nearest is {near:?} (`lastgasp rules` lists them)")]
    UnknownRule { id: String, near: String },
    #[error("a rule {rule:?} exists already; give the added one another id")]
    Duplicate { rule: String },
    #[error("the added rule {rule:?} has an empty phrase; give it text that the line must contain")]
    EmptyPhrase { rule: String },
    #[error("the pattern of the added rule {rule:?} is no regular expression")]
    Pattern { rule: String, source: Box<regex::Error> },
    #[error("more phrases than can be looked for at once, some 15,000; add fewer rules")]
    Phrases,
}
