//! Each kind of load from end to end, scenario files, saturation, soak and disturbances.

use serde_json::Value;

use crate::fake::{Fake, Faults};
use crate::program::{Finished, measure, program, texts};

/// Writes a scenario and runs it.
async fn scenario(faults: Faults, text: &str) -> Finished {
    let fake = Fake::start(faults).await;
    let file = fake.data_dir.path().join("own.toml");
    std::fs::write(&file, text).unwrap();
    measure(&fake, &["run", file.to_str().unwrap()]).await
}

fn all_delivered(step: &Value) {
    let classes = &step["classes"];
    assert!(classes["sent"].as_u64().unwrap() > 0, "{classes}");
    assert_eq!(
        classes["delivered"].as_u64().unwrap() + classes["late"].as_u64().unwrap(),
        classes["sent"].as_u64().unwrap(),
        "{classes}"
    );
    assert_ne!(step["verdict"]["status"], "INVALID", "{}", step["verdict"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn waves_closed_and_open_load_balance_in_one_run() {
    let text = r#"
name = "three kinds"
about = "one of each"
recipients = 20
idempotency_keys = true
thresholds = ["lost==0", "duplicate==0", "goodput>1@open 150/s"]
[[steps]]
kind = "wave"
size = 10
fan_out = 3
repeat = 2
settle_s = 0.05
[[steps]]
kind = "closed"
size = 4
warm_up_s = 0.3
hold_s = 1
settle_s = 0.05
[[steps]]
kind = "open"
rate_per_s = [150]
arrivals = "poisson"
warm_up_s = 0.3
hold_s = 1.5
settle_s = 0.05
"#;
    let done = scenario(Faults::default(), text).await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let steps = done.run["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3);
    steps.iter().for_each(all_delivered);
    assert_eq!(steps[0]["classes"]["sent"], 60, "two waves of ten to three each");
    assert!(steps[1]["little"].as_f64().unwrap() > 0.0);
    let open = &steps[2];
    assert_eq!(open["name"], "open 150/s");
    let sent = open["classes"]["sent"].as_u64().unwrap();
    // 225 are expected; the seed fixes how many there are.
    assert!((150..=300).contains(&sent), "{sent}");
    assert_eq!(open["generator"]["achieved_ratio"], 1.0);
    assert!(open["series"]["at_s"].as_array().unwrap().len() >= 2);
    let logs = std::fs::read_dir(done.dir.path().join("out")).unwrap().flatten();
    let logs = logs.filter(|file| file.file_name().to_string_lossy().ends_with(".hlog")).count();
    assert_eq!(logs, 3, "an interval log for each step");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_load_finds_losses_too_and_a_gate_fails_on_them() {
    let text = r#"
name = "lossy"
about = "one in fifty"
thresholds = ["lost==0"]
recipients = 5
[[steps]]
kind = "open"
rate_per_s = 200
warm_up_s = 0
hold_s = 1
drain_s = 0.5
"#;
    let done = scenario(Faults { lose_every: Some(50), ..Faults::default() }, text).await;
    assert_eq!(done.code, 10, "{}{}", done.stdout, done.stderr);
    assert_eq!(done.run["steps"][0]["classes"]["sent"], 200);
    assert_eq!(done.run["steps"][0]["classes"]["lost"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn arrivals_over_the_cap_are_dropped_and_counted() {
    let text = r#"
name = "capped"
about = "a platform that answers nobody for long"
recipients = 5
in_flight_max = 3
[[steps]]
kind = "open"
rate_per_s = 400
warm_up_s = 0
hold_s = 1
"#;
    let faults =
        Faults { answer_delay: std::time::Duration::from_millis(300), ..Faults::default() };
    let done = scenario(faults, text).await;
    let step = &done.run["steps"][0];
    let (sent, dropped) =
        (step["classes"]["sent"].as_u64().unwrap(), step["generator"]["dropped"].as_u64().unwrap());
    assert_eq!(sent + dropped, 400);
    assert!(dropped > 300, "{dropped}");
    assert_eq!(step["verdict"]["status"], "SUSPECT", "INVALID but for --lenient-timing");
    assert!(step["verdict"]["reasons"].to_string().contains("intended arrivals"), "{step}");
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_are_cut_come_back_and_the_fault_is_told() {
    let text = r#"
name = "cut"
about = "half reconnect"
recipients = 10
[[steps]]
kind = "open"
rate_per_s = 50
warm_up_s = 0
hold_s = 2
drain_s = 0.5
[[steps.faults]]
at_s = 0.5
what = "reconnect"
share = 0.5
"#;
    let done = scenario(Faults::default(), text).await;
    let step = &done.run["steps"][0];
    assert_eq!(step["load"]["faults"][0], "50 % of the receivers reconnect at 0.5 s");
    assert_eq!(step["generator"]["receivers_lost"], 0, "what was ordered is no loss");
    assert_eq!(step["classes"]["sent"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn saturation_is_searched_and_confirmed() {
    let fake = Fake::start(Faults { shed_above_per_s: Some(200), ..Faults::default() }).await;
    // Arrivals are random and probes short: a fifth may be shed, and what is found is rough.
    let arguments = [
        "saturate",
        "--start",
        "100",
        "--most",
        "800",
        "--hold-s",
        "1",
        "--warm-up-s",
        "0",
        "--drain-s",
        "2",
        "--p99-ms",
        "60000",
        "--shed-ratio-max",
        "0.2",
    ];
    let done = measure(&fake, &arguments).await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let found = &done.run["saturation"];
    let rate = found["rate_per_s"].as_f64().unwrap();
    assert!((100.0..=600.0).contains(&rate), "{found}");
    let probes = found["probes"].as_array().unwrap();
    assert!(probes.iter().any(|probe| probe[1] == false), "{found}");
    assert_eq!(probes.len(), done.run["steps"].as_array().unwrap().len());
    assert!(done.stdout.contains("highest rate"), "{}", done.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_says_when_it_was_too_short_to_tell() {
    let fake = Fake::start(Faults::default()).await;
    let done = measure(&fake, &["soak", "ci", "--rate", "20", "--minutes", "0.1"]).await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("too short to tell"), "{}", done.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_are_listed_shown_and_refused_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let output = program(dir.path()).arg("scenarios").output().await.unwrap();
    let (code, stdout, _) = texts(&output);
    assert_eq!(code, 0);
    for name in ["paper-figure", "reconnect-storm", "noisy-neighbour", "ci", "nightly"] {
        assert!(stdout.contains(name), "{name} is missing in\n{stdout}");
    }
    let output = program(dir.path()).args(["scenarios", "ci"]).output().await.unwrap();
    let (_, shown, _) = texts(&output);
    let file = dir.path().join("bad.toml");
    std::fs::write(&file, shown.replace("rate_per_s = 200", "rate_per_s = 0")).unwrap();
    let output = program(dir.path()).arg("run").arg(&file).output().await.unwrap();
    let (code, _, stderr) = texts(&output);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("bad.toml:") && stderr.contains("allowed is 0.1 to"), "{stderr}");
    let output = program(dir.path()).args(["run", "no-such"]).output().await.unwrap();
    let (code, _, stderr) = texts(&output);
    assert_eq!(code, 2);
    assert!(stderr.contains("paper-figure"), "{stderr}");
}
