//! Sweeps from the outside: a clean run, files, exit codes, ctrl-C.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::fake::{Fake, Faults};
use crate::program::{program, sweep, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_sweep_balances_and_leaves_its_files() {
    let fake = Fake::start(Faults::default()).await;
    let done =
        sweep(&fake, &["--waves", "1,40", "--repeat", "3", "--threshold", "success==100"]).await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(done.stderr, "", "no progress where there is no terminal");
    assert!(done.stdout.contains("120"), "{}", done.stdout);
    let steps = done.run["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[1]["classes"]["sent"], 120);
    assert_eq!(steps[1]["classes"]["delivered"], 120);
    assert_eq!(steps[1]["classes"]["reordered"], 0);
    assert_eq!(done.run["target"]["durability"], "power");
    assert_eq!(steps[1]["name"], "wave 40");
    assert_eq!(done.run["thresholds"][0]["pass"], true);
    assert!(steps[1]["cpu_s_per_1000"]["generator"].as_f64().unwrap() > 0.0);
    let html = std::fs::read_to_string(done.dir.path().join("out/report.html")).unwrap();
    assert!(html.contains("<svg") && html.ends_with("</html>\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_the_only_thing_on_stdout() {
    let fake = Fake::start(Faults::default()).await;
    let done = sweep(&fake, &["--waves", "5", "--repeat", "1", "--json"]).await;
    let printed: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(printed, done.run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_threshold_is_exit_code_10() {
    let fake = Fake::start(Faults::default()).await;
    let done = sweep(&fake, &["--waves", "2", "--repeat", "1", "--threshold", "p50<=0.0001"]).await;
    assert_eq!(done.code, 10, "{}", done.stderr);
    assert!(done.stdout.contains("MISSED"), "{}", done.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_and_connection_errors_have_their_codes() {
    let fake = Fake::start(Faults::default()).await;
    let absent = ["--waves", "2", "--threshold", "p50<=1@3"];
    let done = sweep(&fake, &absent).await;
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(done.stderr.contains("there is no step \"3\""), "{}", done.stderr);

    let nobody = tempfile::tempdir().unwrap();
    let output = program(nobody.path()).arg("sweep").output().await.unwrap();
    let (code, _, stderr) = texts(&output);
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("campana up"), "{stderr}");

    let arguments = ["sweep", "--target", "http://127.0.0.1:1", "--api-key", "ck_secret"];
    let dir = tempfile::tempdir().unwrap();
    let output = program(nobody.path()).args(arguments).current_dir(&dir).output().await.unwrap();
    let (code, _, stderr) = texts(&output);
    assert_eq!(code, 5, "{stderr}");
    assert!(!stderr.contains("ck_secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_drawn_again_from_its_run() {
    let fake = Fake::start(Faults::default()).await;
    let done = sweep(&fake, &["--waves", "1,3", "--repeat", "2"]).await;
    let out = done.dir.path().join("out");
    let first = std::fs::read_to_string(out.join("report.html")).unwrap();
    std::fs::remove_file(out.join("report.html")).unwrap();
    let output = program(&out).arg("report").arg(&out).output().await.unwrap();
    assert!(output.status.success());
    assert_eq!(std::fs::read_to_string(out.join("report.html")).unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_weighed() {
    let fake = Fake::start(Faults::default()).await;
    let output =
        program(fake.data_dir.path()).args(["idle", "-n", "50", "--json"]).output().await.unwrap();
    let (code, stdout, stderr) = texts(&output);
    assert_eq!(code, 0, "{stderr}");
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(result["connections"], 50);
    assert_eq!(result["dropped"], 0);
    assert!(result["rss_before_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_writes_what_there_is() {
    let fake = Fake::start(Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let child = program(fake.data_dir.path())
        .args(["sweep", "--waves", "2", "--repeat", "10000", "--settle-ms", "1"])
        .args(["--no-floor", "--lenient-timing", "--out"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().unwrap();
    fake.until_posted(20).await;
    let sent = Command::new("kill").args(["-INT", &pid.to_string()]).status().await.unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(dir.path().join("run.json")).unwrap();
    let run: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(run["interrupted"], true);
    let step = &run["steps"][0];
    assert_eq!(step["classes"]["sent"], step["classes"]["delivered"]);
    assert!(!step["waves"].as_array().unwrap().is_empty());
}
