//! The files as they are: read and written by Grafana's own schema, and every query parsed.
//! Reads: `dashboards/`. Writes: a temporary folder. Never: needs a platform.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use campana_tests::Home;
use campana_tests::dashboards::{Chosen, files, may_be_empty, panels, program};
use serde_json::{Value, json};

fn python() -> PathBuf {
    let repository =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in a folder");
    let venv = std::env::var_os("CAMPANA_VENV")
        .map_or_else(|| repository.join(".tools/venv"), PathBuf::from);
    let python = venv.join("bin/python3");
    let import = Command::new(&python).args(["-c", "import grafana_foundation_sdk"]).output();
    assert!(
        import.is_ok_and(|output| output.status.success()),
        "{} lacks tests/dashboards/requirements.txt: run `cargo xtask tools venv`",
        python.display()
    );
    python
}

fn round_trip(files: &[PathBuf]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards/round_trip.py");
    Command::new(python()).arg(script).args(files).output().expect("python3 can be started")
}

#[test]
fn grafana_s_schema_loses_no_key() {
    let output = round_trip(&files().unwrap());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.ends_with("7 dashboards, 0 keys lost\n"), "{said}");
}

/// A check that finds nothing must be able to find something.
#[test]
fn keys_that_the_schema_does_not_know_are_found() {
    let home = Home::new().unwrap();
    let file = &files().unwrap()[0];
    let mut board: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    board["panels"][1]["options"]["showLegends"] = json!(true);
    board["panels"][1]["targets"][0]["query"] = json!("up");
    let planted = home.path().join("planted.json");
    std::fs::write(&planted, board.to_string()).unwrap();
    let output = round_trip(&[planted]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for lost in [".panels[1].options.showLegends: lost", ".panels[1].targets[0].query: lost"] {
        assert!(said.contains(lost), "{said}");
    }
}

/// promtool reads expressions only in rules, so every query becomes the one of a recording rule.
#[test]
fn promtool_understands_every_query() {
    let home = Home::new().unwrap();
    let chosen = Chosen { range_seconds: 60, run: "r".to_owned() };
    let mut rules = Vec::new();
    for panel in files().unwrap().iter().flat_map(|file| panels(file).unwrap()) {
        for target in panel.targets {
            let record = format!("test:query:{}", rules.len());
            let labels = json!({"panel": format!("{} / {}", panel.board, panel.title)});
            rules.push(json!({"record": record, "labels": labels, "expr": chosen.substitute(&target.expr)}));
        }
    }
    assert!(rules.len() > 150, "{}", rules.len());
    let count = rules.len();
    // JSON is YAML.
    let file = home.path().join("queries.yml");
    std::fs::write(&file, json!({"groups": [{"name": "queries", "rules": rules}]}).to_string())
        .unwrap();
    let tool = program("promtool").unwrap();
    let output = Command::new(tool).args(["check", "rules"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("{count} rules found")), "{said}");
}

#[test]
fn every_line_of_may_be_empty_names_a_panel() {
    let names: Vec<String> = files()
        .unwrap()
        .iter()
        .flat_map(|file| panels(file).unwrap())
        .map(|panel| panel.name())
        .collect();
    for name in may_be_empty().unwrap().keys() {
        assert!(names.contains(name), "dashboards/may-be-empty.txt: no panel `{name}`");
    }
}
