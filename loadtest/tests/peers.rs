//! Every peer that can be installed here, from its first process to its line in the table: real servers, the
//! harness's own receivers and ledger, a wave of 20. Judges counts only; how fast a peer is, is no matter of a test.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const SCENARIO: &str = "\
name = \"trial\"
about = \"one wave\"
recipients = 20

[[steps]]
kind = \"wave\"
size = 20
repeat = 2
drain_s = 60
";

/// What a ledger must not contain.
const TROUBLES: [&str; 8] =
    ["lost", "duplicate", "corrupt", "shed", "rejected", "unknown", "phantom", "reordered"];

#[test]
fn every_peer_delivers_a_wave_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("trial.toml");
    std::fs::write(&scenario, SCENARIO).unwrap();
    let peers = ["floor", "django", "django_documented", "socketio", "nats"];
    let output = Command::new(env!("CARGO_BIN_EXE_campana-loadtest"))
        .args(["peers", "--strict", "--json", "--rounds", "1", "--only", &peers.join(",")])
        .arg("--scenario")
        .arg(&scenario)
        .arg("--peers-dir")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers"))
        .arg("--out")
        .arg(folder.path().join("out"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}; the program said: {told}"));
    for list in ["missing", "failed"] {
        assert_eq!(report[list], Value::Array(Vec::new()), "{told}");
    }
    let figures = report["figures"].as_array().unwrap();
    for peer in peers {
        let one = figures.iter().find(|one| one["peer"] == peer).unwrap();
        let classes = &one["classes"];
        let received = classes["delivered"].as_u64().unwrap() + classes["late"].as_u64().unwrap();
        assert_eq!((received, classes["sent"].as_u64()), (40, Some(40)), "{peer}: {classes}");
        for trouble in TROUBLES {
            assert_eq!(classes[trouble], 0, "{peer}: {classes}");
        }
        assert!(folder.path().join(format!("out/round-1-{peer}.json")).is_file(), "{peer}");
    }
    assert!(output.status.success(), "{told}");
}
