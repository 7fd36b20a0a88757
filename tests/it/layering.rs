//! The layering table of docs/ARCHITECTURE.md, enforced: which folder of `src/` may use which, where
//! `unsafe`, clocks and process spawning may stand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder, what it may use. A new arrow is a change here, argued in its commit. Rooms that are
/// designed but not built yet (`recorder`, `postmortem`, `findings`, `deliver`, `guard`, `doctor`) have
/// their line already.
const TABLE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("sys", &["model"]),
    ("config", &["model"]),
    ("host", &["model", "sys"]),
    ("archive", &["model", "sys"]),
    ("source", &["model", "sys", "config"]),
    ("detect", &["model", "config"]),
    ("probe", &["model", "sys", "config", "host"]),
    ("recorder", &["model", "sys", "config", "host"]),
    ("store", &["model", "sys", "config", "archive"]),
    ("incident", &["model", "config"]),
    ("capture", &["model", "sys", "config", "host", "archive", "store", "recorder"]),
    ("postmortem", &["model", "sys", "config", "host", "source", "detect", "recorder"]),
    ("findings", &["model", "archive", "recorder"]),
    ("report", &["model", "archive", "findings", "store"]),
    ("deliver", &["model", "sys", "config", "archive", "store"]),
    ("guard", &["model", "sys", "config", "host", "store"]),
    ("doctor", &["model", "sys", "config", "host", "store"]),
    (
        "daemon",
        &[
            "model",
            "sys",
            "config",
            "host",
            "archive",
            "source",
            "detect",
            "probe",
            "recorder",
            "store",
            "incident",
            "capture",
            "postmortem",
            "findings",
            "deliver",
            "guard",
            "doctor",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "sys",
            "config",
            "host",
            "archive",
            "source",
            "detect",
            "probe",
            "recorder",
            "store",
            "incident",
            "capture",
            "postmortem",
            "findings",
            "report",
            "deliver",
            "guard",
            "doctor",
            "daemon",
        ],
    ),
];

/// Text that only `sys` may hold, and why.
const SYS_ONLY: &[(&str, &str)] = &[
    ("unsafe {", "unsafe code belongs into sys/, one system call per wrapper"),
    ("unsafe fn", "unsafe code belongs into sys/, one system call per wrapper"),
    ("Instant::now", "the only clock is sys::clock"),
    ("SystemTime::now", "the only clock is sys::clock"),
    ("Utc::now", "the only clock is sys::clock"),
    ("Local::now", "the only clock is sys::clock"),
    ("Command::new", "processes are started in sys/ only"),
];

/// What is wrong with the source of a file of `room`.
fn violations(room: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == room) else {
        return vec![format!("the folder {room} is not in the layering table")];
    };
    let code = source.split("#[cfg(test)]").next().unwrap_or(source);
    for (number, line) in code.lines().enumerate() {
        let line = line.split("//").next().unwrap_or(line);
        if line.contains("super::super") {
            found.push(format!("line {}: super::super; name the path in full", number + 1));
        }
        for rest in line.split("crate::").skip(1) {
            let used: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let is_room = TABLE.iter().any(|(name, _)| *name == used);
            if is_room && used != room && !allowed.contains(&used.as_str()) {
                found.push(format!("line {}: {room} may not use {used}", number + 1));
            }
        }
        for (text, why) in SYS_ONLY {
            if room != "sys" && line.contains(text) {
                found.push(format!("line {}: {text}: {why}", number + 1));
            }
        }
    }
    found
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_file_keeps_to_the_table() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 40, "found only {} files", files.len());
    let mut wrong = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(&src).expect("below src");
        let room = inside.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
        if matches!(room.as_str(), "lib.rs" | "main.rs") {
            continue;
        }
        let found = violations(&room, &fs::read_to_string(&file).expect("readable"));
        if !found.is_empty() {
            wrong.insert(inside.to_path_buf(), found);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_arrow_against_the_table_is_found() {
    assert_eq!(violations("detect", "use crate::store::Store;\n"), ["line 1: detect may not use store"]);
    assert_eq!(violations("model", "fn f() { crate::sys::clock::mono(); }"), ["line 1: model may not use sys"]);
    assert_eq!(violations("capture", "use crate::cli::Exit;").len(), 1);
    assert!(violations("cli", "use crate::daemon::run;").is_empty());
    assert_eq!(violations("host", "let t = Instant::now();").len(), 1);
    assert_eq!(violations("cellar", "").len(), 1);
}

#[test]
fn each_arrow_of_the_table_points_down() {
    for (at, (room, uses)) in TABLE.iter().enumerate() {
        for used in *uses {
            let below = TABLE.iter().position(|(name, _)| name == used).expect("a room of the table");
            assert!(below < at, "{room} uses {used}, which stands above it");
        }
    }
}

#[test]
fn main_is_three_lines_into_the_library() {
    let main = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).expect("main.rs");
    assert_eq!(main.lines().filter(|l| !l.starts_with("//") && !l.trim().is_empty()).count(), 3);
}
