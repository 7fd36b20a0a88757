//! What must hold for every collector.

use lastgasp::capture::registry::ALL;
use lastgasp::capture::{Source, Spec};
use std::collections::BTreeSet;

/// What a declaration lacks.
fn faults(spec: &Spec) -> Vec<&'static str> {
    let name = spec.name;
    let words = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let sentence = spec.doc.ends_with('.') && spec.doc.len() > 20 && !spec.doc.contains('\n');
    let unique: BTreeSet<_> = spec.capabilities.iter().collect();
    let checks = [
        (words && name.starts_with(|c: char| c.is_ascii_lowercase()), "name"),
        (sentence && spec.doc.starts_with(char::is_uppercase), "doc"),
        (spec.cap_bytes > 0, "cap"),
        (spec.limit_ms > 0, "limit"),
        (unique.len() == spec.capabilities.len(), "capabilities"),
    ];
    checks.into_iter().filter(|(good, _)| !good).map(|(_, what)| what).collect()
}

#[test]
fn every_collector_declares_itself_well() {
    let mut names = BTreeSet::new();
    for spec in ALL {
        assert!(names.insert(spec.name), "{} is there twice", spec.name);
        assert!(faults(spec).is_empty(), "{}: {:?}", spec.name, faults(spec));
    }
}

#[test]
fn a_collector_without_cap_limit_or_doc_is_found() {
    let good = ALL[0];
    assert_eq!(faults(&Spec { cap_bytes: 0, ..*good }), ["cap"]);
    assert_eq!(faults(&Spec { limit_ms: 0, ..*good }), ["limit"]);
    assert_eq!(faults(&Spec { doc: "", ..*good }), ["doc"]);
    assert_eq!(faults(&Spec { name: "Kernel Log", ..*good }), ["name"]);
}

#[test]
fn tiers_are_in_order() {
    assert!(ALL.windows(2).all(|w| w[0].tier <= w[1].tier), "the most perishable comes first");
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
