//! `selftest` for real: the command, its trials against the echo, its JSON, its exit codes, and a
//! target that is not sound. Counts are exact on every machine; whether a time can be told depends
//! on what else runs, so those rows may be unclear here, but never wrong.

use serde_json::Value;

use crate::fake::{Fake, Faults};
use crate::program::{program, texts};

const TIMED: [&str; 4] = ["stop", "sender_waits", "delay", "stall"];

struct Done {
    code: i32,
    report: Value,
    stderr: String,
}

/// Against the echo, if no folder is given.
async fn selftest(fake: Option<&Fake>, extra: &[&str]) -> Done {
    let nowhere = tempfile::tempdir().unwrap();
    let mut command = program(fake.map_or(nowhere.path(), |fake| fake.data_dir.path()));
    if fake.is_none() {
        command.env_remove("CAMPANA_DATA_DIR");
    }
    let output = command.args(["selftest", "--json"]).args(extra).output().await.unwrap();
    let (code, stdout, stderr) = texts(&output);
    Done { code, report: serde_json::from_str(&stdout).unwrap_or(Value::Null), stderr }
}

fn row<'a>(done: &'a Done, trial: &str) -> &'a Value {
    let rows = done.report["rows"].as_array().unwrap();
    rows.iter().find(|row| row["trial"] == trial).unwrap()
}

/// The check of a row, by what it is about.
fn check<'a>(row: &'a Value, what: &str) -> &'a Value {
    let checks = row["checks"].as_array().unwrap();
    checks.iter().find(|check| check["what"].as_str().unwrap().contains(what)).unwrap()
}

/// Every trial that was asked for is there and right, and the exit code says the same.
async fn trials(names: &[&str]) -> Done {
    let done = selftest(None, &["--only", &names.join(",")]).await;
    let all: Vec<&str> = std::iter::once("control").chain(names.iter().copied()).collect();
    let rows = done.report["rows"].as_array().unwrap_or_else(|| panic!("{}", done.stderr));
    assert_eq!(rows.len(), all.len());
    for name in all {
        let row = row(&done, name);
        let checks = row["checks"].as_array().unwrap();
        assert!(checks.len() >= 4, "{row}");
        for check in checks {
            let fine = check["outcome"] == "ok"
                || (TIMED.contains(&name) && check["outcome"] == "unclear");
            assert!(fine, "{name}: {check:#}\n{row:#}");
        }
        assert_eq!(row["advice"].is_null(), row["outcome"] == "ok", "{row:#}");
    }
    let ok = rows.iter().all(|row| row["outcome"] == "ok");
    assert_eq!((done.code, &done.report["passed"]), (i32::from(!ok), &Value::Bool(ok)));
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exactly_those_of_the_layer() {
    let done = trials(&["loss", "duplicate", "corrupt"]).await;
    assert_eq!(done.code, 0);
    for (name, what) in [("loss", "lost"), ("duplicate", "duplicate"), ("corrupt", "corrupt")] {
        let found = &check(row(&done, name), what)["reported"];
        assert_eq!(found, 6.0, "one in a hundred of six hundred");
    }
    assert_eq!(done.report["target"], "echo in the generator");
}

#[tokio::test(flavor = "multi_thread")]
async fn order_strangers_a_stalled_sender_and_wrong_books_are_seen() {
    let done = trials(&["reorder", "phantom", "stall", "books"]).await;
    assert_eq!(row(&done, "stall")["verdict"], "INVALID");
    assert!(check(row(&done, "reorder"), "reordered")["reported"].as_f64().unwrap() > 0.0);
    assert_eq!(check(row(&done, "phantom"), "phantom")["reported"], 6.0);
    assert_eq!(row(&done, "books")["verdict"], "INVALID");
    assert_eq!(check(row(&done, "books"), "exit code of the second")["reported"], 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_and_without_a_waiting_sender_and_a_delay_are_seen() {
    let done = trials(&["stop", "sender_waits", "delay"]).await;
    // Not below what physically was, on any machine.
    let size = row(&done, "stop")["injected"]["stop_ms"].as_f64().unwrap();
    let most = check(row(&done, "stop"), "maximum")["reported"].as_f64().unwrap();
    assert!(size >= 999.0 && most >= size - 10.0, "{size} {most}");
    assert_eq!(row(&done, "sender_waits")["verdict"], "INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_fails_on_a_target_that_repeats_by_itself() {
    let fake = Fake::start(Faults { double_every: Some(50), ..Faults::default() }).await;
    let out = fake.data_dir.path().join("kept");
    let out = out.to_str().unwrap();
    let done = selftest(Some(&fake), &["--only", "control", "--out", out]).await;
    assert_eq!(done.code, 1, "{}", done.stderr);
    let control = row(&done, "control");
    assert_eq!((&control["outcome"], &done.report["passed"]), (&"failed".into(), &false.into()));
    assert!(control["advice"].as_str().unwrap().contains("--data-dir"), "{control}");
    assert!(check(control, "wrong class")["reported"].as_f64().unwrap() >= 10.0, "{control:#}");
    let run = std::fs::read_to_string(std::path::Path::new(out).join("run.json")).unwrap();
    let run: Value = serde_json::from_str(&run).unwrap();
    assert_eq!(
        run["steps"][1]["classes"]["duplicate"], 10,
        "run.json is kept where it was asked for"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_platform_at_the_named_place_nothing_is_said() {
    let nowhere = tempfile::tempdir().unwrap();
    let folder = nowhere.path().to_str().unwrap();
    let done = selftest(None, &["--data-dir", folder]).await;
    assert_eq!((done.code, done.report.is_null()), (5, true), "{}", done.stderr);
    let done = selftest(None, &["--only", "pigeons"]).await;
    assert_eq!(done.code, 2, "{}", done.stderr);
}
