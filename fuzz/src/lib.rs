//! What the targets share: one detector whose every signal and whose state are checked against their bounds.
//!
//! The detector lives as long as the process (making one takes milliseconds) and is finished after each input, so that a
//! crash can be repeated from its input alone. That no report stays open then, and that the process does not grow
//! over millions of inputs, is part of the test.

use lastgasp::config::RulesConfig;
use lastgasp::detect::Detector;
use lastgasp::model::event::{EVENT_LINE_BYTES_MAX, EVENT_LINES_MAX};
use lastgasp::model::{Event, Mono, Record, Signal};
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// Reports open at once in all logs together, as the detector promises.
const OPEN_MAX: usize = 64;
/// Longest value that an event keeps, in characters (`detect::facts`).
const VALUE_CHARS_MAX: usize = 200;
/// Longest name of a function (`detect::frames::is_symbol`).
const NAME_CHARS_MAX: usize = 256;
const TITLE_CHARS_MAX: usize = 120;
const FRAMES_MAX: usize = 128 * 24;
const DETAILS_MAX: usize = 32;

/// A detector under watch.
pub struct Watched {
    detector: Detector,
    /// Opened and not closed yet, by number.
    open: HashSet<u64>,
    out: Vec<Signal>,
    host: Arc<str>,
}

thread_local! {
    static WATCHED: RefCell<Watched> = RefCell::new(Watched {
        detector: Detector::new(&RulesConfig::default()).expect("the built-in rules are sound"),
        open: HashSet::new(),
        out: Vec::new(),
        host: "host".into(),
    });
}

/// Runs one input, of a host that nobody has heard of before, against the detector.
pub fn detect(input: impl FnOnce(&mut Watched, Arc<str>)) {
    WATCHED.with_borrow_mut(|w| {
        let host = Arc::clone(&w.host);
        input(w, host);
        w.detector.finish(&mut w.out);
        w.check();
        assert!(w.open.is_empty(), "reports {:?} were opened and never closed", w.open);
        assert_eq!(w.detector.open_reports(), 0);
    });
}

impl Watched {
    pub fn feed(&mut self, record: &Record, now: Mono) {
        self.detector.feed(record, now, &mut self.out);
        self.check();
    }

    pub fn tick(&mut self, now: Mono) {
        self.detector.tick(now, &mut self.out);
        if let Some(due) = self.detector.next_due() {
            assert!(due > now, "what was due is done");
        }
        self.check();
    }

    /// No line with a phrase of a rule is passed over by the search that is made for all of them at once. It may find a
    /// phrase within the phrase.
    pub fn search(&self, text: &[u8]) {
        let found = self.detector.first_candidate(text);
        for phrase in lastgasp::detect::catalogue().flat_map(|r| r.phrases) {
            if let Some(at) = memchr::memmem::find(text, phrase.as_bytes()) {
                assert!(
                    found.is_some_and(|f| f < at + phrase.len()),
                    "{phrase:?} at {at} was passed over; the first was {found:?}"
                );
            }
        }
    }

    fn check(&mut self) {
        for signal in self.out.drain(..) {
            bounded(signal.event());
            match signal {
                Signal::Opened(e) => assert!(self.open.insert(e.number), "{} opened twice", e.number),
                Signal::Closed(e) => assert!(self.open.remove(&e.number), "{} closed and not open", e.number),
                Signal::Recovered(e) => panic!("no service was probed: {e:?}"),
            }
        }
        let open = self.detector.open_reports();
        assert!(open <= OPEN_MAX, "{open} open reports");
    }
}

/// An event keeps to its caps.
fn bounded(e: &Event) {
    assert!(e.text.len() <= EVENT_LINES_MAX, "{} lines", e.text.len());
    assert!(e.text.iter().all(|l| l.len() <= EVENT_LINE_BYTES_MAX), "a line of more bytes");
    assert!(e.title.chars().count() <= TITLE_CHARS_MAX, "{}", e.title);
    assert!(!e.title.chars().any(char::is_control), "{:?}", e.title);
    assert!(e.frames.len() <= FRAMES_MAX, "{} frames", e.frames.len());
    assert!(e.details.len() <= DETAILS_MAX, "{:?}", e.details);
    let within = |what: &str, s: &str, max: usize| assert!(s.chars().count() <= max, "{what} is {s:?}");
    e.details.iter().for_each(|(k, v)| within(k, v, VALUE_CHARS_MAX));
    e.frames.iter().chain(&e.function).for_each(|f| within("a function", f, NAME_CHARS_MAX));
    for (what, value) in
        [("comm", &e.comm), ("tainted", &e.tainted), ("kernel", &e.kernel), ("timestamp", &e.timestamp)]
    {
        value.iter().for_each(|v| within(what, v, VALUE_CHARS_MAX));
    }
}

/// A file without a name, in memory.
pub fn memory_file() -> std::fs::File {
    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
    nix::sys::memfd::memfd_create("fuzz", flags).expect("a memfd").into()
}
