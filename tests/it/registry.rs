//! What must hold for every collector.

use lastgasp::capture::Source;
use lastgasp::capture::registry::ALL;
use std::collections::BTreeSet;

#[test]
fn every_collector_declares_itself_well() {
    let mut names = BTreeSet::new();
    for spec in ALL {
        let name = spec.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
        assert!(spec.doc.ends_with('.') && spec.doc.len() > 20 && !spec.doc.contains('\n'), "{name}: doc");
        assert!(spec.doc.starts_with(char::is_uppercase), "{name}: doc");
        assert!(spec.cap_bytes > 0 && spec.limit_ms > 0, "{name}: limits");
        let unique: BTreeSet<_> = spec.capabilities.iter().collect();
        assert_eq!(unique.len(), spec.capabilities.len(), "{name}: capabilities");
    }
}

#[test]
fn no_file_is_collected_twice() {
    let mut paths = BTreeSet::new();
    for spec in ALL {
        let Source::Files(files) = spec.source else { continue };
        assert!(!files.is_empty(), "{}", spec.name);
        for file in files {
            assert!(file.path.starts_with('/') && !file.path.contains("/../"), "{}: {}", spec.name, file.path);
            assert!(file.cap_bytes > 0, "{}: {}", spec.name, file.path);
            assert!(paths.insert(file.path), "{} is collected twice", file.path);
        }
    }
}
