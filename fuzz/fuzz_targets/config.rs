//! Any text as a config: refused in words, or accepted, and then what is written out of it reads back the same.

#![no_main]

use lastgasp::config::{self, Error};
use lastgasp::detect::Detector;
use libfuzzer_sys::fuzz_target;

/// However many mistakes there are: 50 are shown.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

fuzz_target!(|text: &str| {
    match config::parse(text, "fuzz.toml") {
        Ok(config) => {
            let written = config::render(&config);
            match config::parse(&written, "written.toml") {
                Ok(read) => assert!(read == config, "{read:?}\nis not\n{config:?}\nwritten as\n{written}"),
                Err(e) => panic!("{e}\n{written}"),
            }
            if config.rules != Default::default() {
                // An added phrase or pattern may still be refused, in words.
                let _ = Detector::new(&config.rules).map_err(|e| e.to_string());
            }
        }
        Err(e) => {
            assert!(e.to_string().len() <= MESSAGE_BYTES_MAX);
            let Error::Invalid(problems) = e else { panic!("no file was read: {e}") };
            assert!(!problems.list.is_empty() && problems.list.iter().all(|p| !p.message.is_empty()));
        }
    }
});
