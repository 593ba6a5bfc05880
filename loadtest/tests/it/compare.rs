//! Live comparisons from the outside: the same target twice, a slower one, commands that start a side,
//! ctrl-C. What may be said of how long something takes is said of factors that no busy machine makes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::fake::{Fake, Faults};
use crate::program::{program, texts};

const SCENARIO: &str = r#"
name = "short"
about = "a few waves"
recipients = 5
[[steps]]
kind = "wave"
size = 5
repeat = 3
drain_s = 5
settle_s = 0.01
"#;
/// Far more than any round trip in this process, also on a busy machine.
const SLOW: Duration = Duration::from_millis(250);

/// A finished comparison.
struct Compared {
    code: i32,
    stdout: String,
    stderr: String,
    /// comparison.json, if there is one.
    found: Value,
    dir: tempfile::TempDir,
}

fn arguments(dir: &Path, extra: &[&str]) -> Vec<String> {
    let file = dir.join("short.toml");
    std::fs::write(&file, SCENARIO).unwrap();
    let mut all = vec!["compare".to_owned(), "--scenario".to_owned(), file.display().to_string()];
    all.extend(["--lenient-timing".to_owned(), "--out".to_owned()]);
    all.push(dir.join("out").display().to_string());
    all.extend(extra.iter().map(|&word| word.to_owned()));
    all
}

async fn compare(extra: &[&str]) -> Compared {
    let dir = tempfile::tempdir().unwrap();
    let output = program(dir.path()).args(arguments(dir.path(), extra)).output().await.unwrap();
    let (code, stdout, stderr) = texts(&output);
    let found = written(dir.path());
    Compared { code, stdout, stderr, found, dir }
}

fn written(dir: &Path) -> Value {
    std::fs::read_to_string(dir.join("out/comparison.json"))
        .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

fn folder(fake: &Fake) -> &str {
    fake.data_dir.path().to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_neither_better_nor_worse_than_itself() {
    let fake = Fake::start(Faults::default()).await;
    // Ten times is the same: on a busy machine a wave takes thrice as long as the one before.
    let wide = ["--margin", "900", "--gate", "p50<=10", "--rounds", "4", "--json"];
    let done = compare(&[&[folder(&fake), folder(&fake)], &wide[..]].concat()).await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let printed: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(printed, done.found);
    let verdict = printed["verdict"].as_str().unwrap();
    assert!(["same", "cannot_tell"].contains(&verdict), "{printed}");
    assert_eq!((&printed["pass"], &printed["interrupted"]), (&true.into(), &false.into()));
    assert_eq!(printed["gates"][0]["pass"], true);
    for side in ["a", "b"] {
        assert_eq!(printed[side]["runs"].as_array().unwrap().len(), 4);
        assert_eq!(printed[side]["source"], folder(&fake));
        assert!(done.dir.path().join(format!("out/round-4-{side}/report.html")).is_file());
    }
    let order: Vec<&str> =
        done.stderr.lines().filter_map(|line| line.split_once(" of 4: ")).map(|it| it.1).collect();
    assert_eq!(order.concat(), "ABBAABBA", "{}", done.stderr);
    assert!(done.stderr.contains("B ÷ A so far: p50 of wave 5"), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_is_worse_and_the_gate_fires() {
    let fast = Fake::start(Faults::default()).await;
    let slow = Fake::start(Faults { delay: SLOW, ..Faults::default() }).await;
    let gate = ["--gate", "p50<=1.5@wave 5", "--rounds", "4", "--quiet"];
    let done = compare(&[&[folder(&fast), folder(&slow)], &gate[..]].concat()).await;
    assert_eq!(done.code, 10, "{}{}", done.stdout, done.stderr);
    assert_eq!((&done.found["verdict"], &done.found["pass"]), (&"worse".into(), &false.into()));
    assert!(done.stdout.contains("B is worse than A"), "{}", done.stdout);
    assert!(done.stdout.contains("p50<=1.5@wave 5 MISSED"), "{}", done.stdout);
    assert_eq!(done.stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_loses_is_worse_however_fast_it_is() {
    let whole = Fake::start(Faults::default()).await;
    let lossy = Fake::start(Faults { lose_every: Some(7), ..Faults::default() }).await;
    let text = SCENARIO.replace("drain_s = 5", "drain_s = 0.5");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("own.toml");
    std::fs::write(&file, text).unwrap();
    let output = program(dir.path())
        .args(["compare", folder(&whole), folder(&lossy), "--rounds", "2", "--lenient-timing"])
        .args(["--scenario", file.to_str().unwrap(), "--out"])
        .arg(dir.path().join("out"))
        .output()
        .await
        .unwrap();
    let (code, stdout, stderr) = texts(&output);
    assert_eq!(code, 10, "{stdout}{stderr}");
    assert!(stdout.contains("lost, of A's none"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_start_a_side_afresh_and_everything_ends_with_its_round() {
    let fake = Fake::start(Faults::default()).await;
    let pids = fake.data_dir.path().join("pids");
    // A shell, its child, and a grandchild that would go on for ever.
    let command = format!(
        "test ! -e \"$CAMPANA_DATA_DIR\" && mkdir \"$CAMPANA__DATA_DIR\" && cp '{0}/up.json' \"$CAMPANA_DATA_DIR\"/ \
         && (tail -f /dev/null & echo $! >>'{0}/pids'; wait)",
        folder(&fake)
    );
    let done = compare(&[folder(&fake), "--b-command", &command, "--rounds", "2"]).await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(done.found["b"]["source"], command.as_str());
    let started = std::fs::read_to_string(&pids).unwrap();
    assert_eq!(started.lines().count(), 2, "once for each round");
    for pid in started.lines() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!line.starts_with(b"tail"), "{pid} was left behind");
    }
    let broken = compare(&[folder(&fake), "--a-command", "echo why >&2; exit 3"]).await;
    assert_eq!(broken.code, 1, "{}", broken.stderr);
    assert!(broken.stderr.contains("why"), "{}", broken.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sides_gates_and_steps_are_told_before_anything_is_measured() {
    let fake = Fake::start(Faults::default()).await;
    let both = [folder(&fake), folder(&fake)];
    for (extra, wanted) in [
        (&["--gate", "p50<=1@wave 6"][..], "there is no step \"wave 6\""),
        (&["--primary", "p50@wave 6"], "there is no step \"wave 6\""),
        (&["--gate", "p98<=1"], "unknown figure"),
        (&["--a-command", "x"], "three sides"),
    ] {
        let done = compare(&[&both, extra].concat()).await;
        assert_eq!(done.code, 2, "{}", done.stderr);
        assert!(done.stderr.contains(wanted), "{}", done.stderr);
    }
    let nobody = tempfile::tempdir().unwrap();
    let nobody = nobody.path().to_str().unwrap();
    assert_eq!(compare(&[nobody, nobody]).await.code, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_writes_the_rounds_that_are_whole() {
    let fake = Fake::start(Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let child = program(dir.path())
        .args(arguments(dir.path(), &[folder(&fake), folder(&fake), "--rounds", "100"]))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().unwrap();
    // 4 waves of 5 are a run: with 45 the second round has begun.
    fake.until_posted(45).await;
    let sent = Command::new("kill").args(["-INT", &pid.to_string()]).status().await.unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().await.unwrap();
    let (code, stdout, _) = texts(&output);
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("stopped before the last round"), "{stdout}");
    let found = written(dir.path());
    assert_eq!(found["interrupted"], true);
    let runs = |side: &str| found[side]["runs"].as_array().unwrap().len();
    assert!(runs("a") >= 1 && runs("a") == runs("b"), "{found}");
}
