//! The whole chain, as anybody can run it: `drill` with a watch of its own.

use assert_cmd::Command;
use std::time::Duration;

#[test]
fn both_staged_failures_are_captured_and_verified() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::cargo_bin("lastgasp").expect("the binary is built");
    command.env("TMPDIR", home.path()).env("XDG_RUNTIME_DIR", home.path()).env("HOME", home.path());
    let done = command.args(["drill", "--own", "--format", "json"]).timeout(Duration::from_secs(240)).output();
    let done = done.expect("it runs");
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{errors}");
    let result: serde_json::Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    assert_eq!(result["passed"], true);
    let kinds: Vec<&str> =
        result["staged"].as_array().expect("two of them").iter().map(|s| s["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["oops", "service_down"]);
    for staged in result["staged"].as_array().expect("two of them") {
        assert_eq!(staged["verified"], true, "{staged}");
        assert!(staged["t0_durable_ms"].is_u64() && staged["outcomes"]["complete"].as_u64() > Some(8), "{staged}");
    }
    // The throw-away store is thrown away.
    let left: Vec<_> = std::fs::read_dir(home.path()).expect("readable").flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_user_without_config_has_a_store_of_its_own() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::cargo_bin("lastgasp").expect("the binary is built");
    command.env_remove("XDG_STATE_HOME").env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
    if nix::unistd::geteuid().is_root() {
        eprintln!("not run as root, whose store is /var/lib/lastgasp: only the flag --store is tried");
        command.arg("--store").arg(home.path().join(".local/state/lastgasp"));
    }
    let done =
        command.args(["--format", "json", "snap", "--only", "memory"]).timeout(Duration::from_secs(120)).output();
    let done = done.expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let published: serde_json::Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    let path = published["path"].as_str().expect("a path");
    assert!(path.starts_with(&*home.path().to_string_lossy()) && path.contains("/.local/state/lastgasp/"), "{path}");
}
