//! Records of /dev/kmsg, one to a NUL: parsed, unescaped, split into lines, given to the detector.

#![no_main]

use lastgasp::model::{Mono, Origin, Wall};
use lastgasp::source::{kmsg, lines::LINE_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    lastgasp_fuzz::detect(|detector, host| {
        let (mut records, mut scratch) = (Vec::new(), Vec::new());
        for bytes in data.split(|b| *b == 0) {
            let Some(raw) = kmsg::parse(bytes) else { continue };
            // Unescaping only shortens.
            assert!(raw.text.len() + raw.dict.len() < bytes.len());
            raw.records(&Origin::Kmsg, &host, Wall(0), &mut scratch, &mut records);
            for record in records.drain(..) {
                assert!(record.text.len() <= LINE_MAX);
                detector.feed(&record, Mono(raw.stamp_us.saturating_mul(1000)));
            }
        }
    });
});
