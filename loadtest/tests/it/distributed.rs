//! Several generators as one run: children and agents, what they add up to, and what becomes of a
//! run whose agent, coordinator or token is not what it should be.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::fake::{Fake, Faults};
use crate::program::{Finished, measure, program, texts};

const WITHIN: Duration = Duration::from_secs(60);

const THREE_KINDS: &str = r#"
name = "three kinds"
about = "one of each, by several"
recipients = 20
seed = 5
thresholds = ["lost==0", "duplicate==0"]
[[steps]]
kind = "wave"
size = [1, 10]
fan_out = 3
repeat = 2
settle_s = 0.05
[[steps]]
kind = "closed"
size = 4
warm_up_s = 0.2
hold_s = 0.6
settle_s = 0.05
[[steps]]
kind = "open"
rate_per_s = 150
arrivals = "poisson"
warm_up_s = 0.2
hold_s = 1.2
settle_s = 0.05
"#;

/// Long enough to be interrupted.
const LONG: &str = r#"
name = "long"
about = "until somebody stops it"
recipients = 6
[[steps]]
kind = "open"
rate_per_s = 100
warm_up_s = 0
hold_s = 600
drain_s = 0.5
"#;

fn written(fake: &Fake, text: &str) -> PathBuf {
    let file = fake.data_dir.path().join("own.toml");
    std::fs::write(&file, text).unwrap();
    file
}

async fn run(fake: &Fake, text: &str, extra: &[&str]) -> Finished {
    let file = written(fake, text);
    let arguments = [&["run", file.to_str().unwrap()], extra].concat();
    measure(fake, &arguments).await
}

fn count(value: &Value, name: &str) -> u64 {
    value["classes"][name].as_u64().unwrap()
}

/// Every count of a step is the sum of its generators' counts.
fn adds_up(step: &Value, generators: usize) {
    let parts = step["generators"].as_array().unwrap();
    assert!(!parts.is_empty() && parts.len() <= generators, "{step}");
    for name in ["sent", "accepted", "delivered", "late", "lost", "duplicate", "shed", "phantom"] {
        let sum: u64 = parts.iter().map(|part| count(part, name)).sum();
        assert_eq!(sum, count(step, name), "{name} of {}", step["name"]);
    }
    let lags: u64 = parts.iter().map(|part| part["lag"]["count"].as_u64().unwrap()).sum();
    assert_eq!(lags, step["generator"]["lag"]["count"].as_u64().unwrap());
    assert_eq!(
        count(step, "delivered") + count(step, "late"),
        step["latency"]["in_app"]["intended"]["count"].as_u64().unwrap()
    );
    assert_eq!(count(step, "delivered") + count(step, "late"), count(step, "sent"), "{step}");
    assert_ne!(step["verdict"]["status"], "INVALID", "{}", step["verdict"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_and_three_make_the_load_of_one() {
    let fake = Fake::start(Faults::default()).await;
    let alone = run(&fake, THREE_KINDS, &[]).await;
    assert_eq!(alone.code, 0, "{}{}", alone.stdout, alone.stderr);
    for (generators, text) in [(2, "2"), (3, "3")] {
        let done = run(&fake, THREE_KINDS, &["--processes", text]).await;
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
        assert_eq!(done.stderr, "", "nothing of the children");
        assert_eq!(done.run["generators"].as_array().unwrap().len(), generators);
        assert_eq!(done.run["generators"][0]["clock"]["error_ms"], 0.0, "one machine, one clock");
        let steps = done.run["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 4);
        steps.iter().for_each(|step| adds_up(step, generators));
        assert_eq!(count(&steps[0], "sent"), 6, "two waves of one to three, by one generator");
        assert_eq!(steps[0]["generators"].as_array().unwrap().len(), 1);
        assert_eq!(count(&steps[1], "sent"), 60);
        assert_eq!(steps[1]["waves"].as_array().unwrap().len(), 2);
        assert_eq!(steps[1]["makespan"]["count"], 2);
        assert!(steps[2]["little"].as_f64().unwrap() > 0.0);
        // The same seed, the same arrivals, whoever sends them.
        assert_eq!(count(&steps[3], "sent"), count(&alone.run["steps"][3], "sent"));
        let cpu = steps[3]["cpu_s_per_1000"].as_object().unwrap();
        assert!(cpu.contains_key("generator-1") && cpu.contains_key("generator-2"), "{cpu:?}");
        assert!(steps[3]["series"]["columns"]["rss:generator-2"].is_array());
        let out = done.dir.path().join("out");
        let html = std::fs::read_to_string(out.join("report.html")).unwrap();
        assert!(html.contains("Generators") && html.contains("generator-2"));
        let logs = std::fs::read_dir(out).unwrap().flatten();
        let logs = logs.filter(|one| one.file_name().to_string_lossy().ends_with(".hlog")).count();
        assert_eq!(logs, 4, "an interval log for each step, of all generators");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_and_strangers_are_counted_once_whoever_sees_them() {
    let text = r#"
name = "lossy"
about = "one in fifty is lost, one in forty reaches somebody else as well"
recipients = 8
[[steps]]
kind = "open"
rate_per_s = 200
warm_up_s = 0
hold_s = 1
drain_s = 0.5
settle_s = 0.2
"#;
    let faults = Faults { lose_every: Some(50), misdeliver_every: Some(40), ..Faults::default() };
    let fake = Fake::start(faults).await;
    let done = run(&fake, text, &["--processes", "2", "--threshold", "lost==0"]).await;
    assert_eq!(done.code, 10, "{}{}", done.stdout, done.stderr);
    let step = &done.run["steps"][0];
    let lost_and_misdelivered = 1;
    assert_eq!((count(step, "sent"), count(step, "lost")), (200, 4), "{}", step["classes"]);
    assert_eq!(count(step, "phantom"), 5 - lost_and_misdelivered, "{}", step["classes"]);
}

/// An agent of its own, and where it listens.
struct Agent {
    child: Child,
    address: String,
    /// It goes on telling; nobody may have to wait for a reader.
    _reader: JoinSet<()>,
}

async fn agent(dir: &Path, token: &Path) -> Agent {
    let mut child = program(dir)
        .args(["agent", "--listen", "127.0.0.1:0", "--token-file"])
        .arg(token)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines();
    let first = tokio::time::timeout(WITHIN, lines.next_line()).await.unwrap().unwrap().unwrap();
    let address = first.rsplit(' ').next().unwrap().to_owned();
    let mut reader = JoinSet::new();
    reader.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Agent { child, address, _reader: reader }
}

fn token(dir: &Path, name: &str, text: &str) -> PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_elsewhere_need_the_token_and_serve_one_run_after_the_other() {
    let fake = Fake::start(Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let right = token(dir.path(), "right", "0123456789abcdef0123\n");
    let wrong = token(dir.path(), "wrong", "0123456789abcdef0124\n");
    let mut served = agent(dir.path(), &right).await;
    let address = served.address.clone();
    let with = |file: &Path| {
        ["--agent", &address, "--token-file", file.to_str().unwrap()].map(str::to_owned)
    };
    let text = "name = \"a\"\nabout = \"b\"\nrecipients = 4\n[[steps]]\nkind = \"wave\"\nsize = 4\nrepeat = 1\n";
    let refused = with(&wrong);
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    let done = run(&fake, text, &refused).await;
    assert_eq!(done.code, 5, "{}", done.stderr);
    assert!(done.stderr.contains("[unauthorized]"), "{}", done.stderr);
    assert_eq!(done.run, Value::Null, "nothing was measured");
    hostile(&address).await;
    // One process of this machine and one agent; and again, because the agent is still there.
    for _ in 0..2 {
        let right = with(&right);
        let mut extra: Vec<&str> = right.iter().map(String::as_str).collect();
        extra.extend(["--processes", "1"]);
        let done = run(&fake, text, &extra).await;
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
        adds_up(&done.run["steps"][0], 2);
        assert_eq!(done.run["generators"][1]["place"], Value::String(address.clone()));
        let printed = std::fs::read_to_string(done.dir.path().join("out/run.json")).unwrap();
        assert!(!printed.contains("ck_test") && !printed.contains("0123456789abcdef0123"));
    }
    served.child.kill().await.unwrap();
}

/// What strangers may send to an agent: each is refused with its code, or cut off.
async fn hostile(address: &str) {
    let long = vec![b'x'; 100_000];
    let proof = "00".repeat(32);
    let guess = format!("{{\"protocol\":1,\"nonce\":\"{proof}\",\"proof\":\"{proof}\"}}\n");
    let old = format!("{{\"protocol\":0,\"nonce\":\"{proof}\",\"proof\":\"{proof}\"}}\n");
    let cases: [(&[u8], &str); 6] = [
        (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
        (b"\xff\xfe\x00\n", "malformed"),
        (b"{\"open\":{}}\n", "malformed"),
        (&long, "too_long"),
        (guess.as_bytes(), "unauthorized"),
        (old.as_bytes(), "version"),
    ];
    for (bytes, code) in cases {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A refusal may come, and the connection end, before all was written.
        let _ = stream.write_all(bytes).await;
        let mut said = Vec::new();
        let reading = stream.read_to_end(&mut said);
        let _ = tokio::time::timeout(WITHIN, reading).await.unwrap();
        let said = String::from_utf8_lossy(&said);
        // What was not read may cost the last line (a reset), but never lets anybody in.
        assert!(!said.contains("welcome"), "{said}");
        if code != "too_long" {
            assert!(said.contains(&format!("\"code\":\"{code}\"")), "{code}: {said}");
        }
    }
}

/// A run in the background.
fn start(fake: &Fake, text: &str, out: &Path, extra: &[&str]) -> Child {
    let file = written(fake, text);
    let mut command: Command = program(fake.data_dir.path());
    command
        .arg("run")
        .arg(file)
        .args(["--no-floor", "--lenient-timing", "--out"])
        .arg(out)
        .args(extra)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn read_run(out: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(out.join("run.json")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_makes_the_run_invalid() {
    let fake = Fake::start(Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let right = token(dir.path(), "right", "0123456789abcdef0123\n");
    let (mut first, mut second) =
        (agent(dir.path(), &right).await, agent(dir.path(), &right).await);
    let (one, other) = (first.address.clone(), second.address.clone());
    let out = dir.path().join("out");
    let file = right.to_str().unwrap();
    let extra = ["--agent", &one, "--agent", &other, "--token-file", file];
    let running = start(&fake, LONG, &out, &extra);
    tokio::time::timeout(WITHIN, fake.until_posted(40)).await.unwrap();
    second.child.kill().await.unwrap();
    let ended = tokio::time::timeout(WITHIN, running.wait_with_output()).await.unwrap().unwrap();
    let (code, stdout, stderr) = texts(&ended);
    assert_eq!(code, 1, "{stdout}{stderr}");
    let run = read_run(&out);
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("generator-2") && error.contains(&other), "{error}");
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("badge INVALID"), "the page says it first");
    // The other agent has ended its load and serves again.
    let text = "name = \"a\"\nabout = \"b\"\nrecipients = 4\n[[steps]]\nkind = \"wave\"\nsize = 4\nrepeat = 1\n";
    let deadline = tokio::time::Instant::now() + WITHIN;
    let again = loop {
        let done = run_again(&fake, text, &one, file).await;
        let busy = done.stderr.contains("[busy]");
        if !busy || tokio::time::Instant::now() > deadline {
            break done;
        }
    };
    assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);
    first.child.kill().await.unwrap();
}

async fn run_again(fake: &Fake, text: &str, address: &str, token: &str) -> Finished {
    run(fake, text, &["--agent", address, "--token-file", token]).await
}

/// Processes whose parent is this one, by the fourth field of their state.
fn children_of(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent_of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let rest = stat.rsplit_once(')')?.1.to_owned();
        let mut fields = rest.split_whitespace();
        (fields.next()? != "Z").then_some(fields.next()?.parse::<u32>().ok()?)
    };
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

async fn until_gone(pids: &[u32]) {
    let gone = async {
        while pids.iter().any(|pid| is_alive(*pid)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, gone).await.unwrap();
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn children_end_with_a_coordinator_that_is_killed() {
    let fake = Fake::start(Faults::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut running = start(&fake, LONG, &dir.path().join("out"), &["--processes", "2"]);
    tokio::time::timeout(WITHIN, fake.until_posted(40)).await.unwrap();
    let children = children_of(running.id().unwrap());
    assert_eq!(children.len(), 2, "{children:?}");
    running.kill().await.unwrap();
    until_gone(&children).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_child_and_ctrl_c_end_all() {
    for killed in [true, false] {
        let fake = Fake::start(Faults::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let running = start(&fake, LONG, &out, &["--processes", "2"]);
        tokio::time::timeout(WITHIN, fake.until_posted(40)).await.unwrap();
        let pid = running.id().unwrap();
        let children = children_of(pid);
        if killed {
            signal(children[0], Signal::KILL);
        } else {
            signal(pid, Signal::INT);
        }
        let ended = tokio::time::timeout(WITHIN, running.wait_with_output()).await;
        let (code, stdout, stderr) = texts(&ended.unwrap().unwrap());
        until_gone(&children).await;
        let run = read_run(&out);
        if killed {
            assert_eq!(code, 1, "{stdout}{stderr}");
            assert!(run["error"].as_str().unwrap().contains("generator-"), "{}", run["error"]);
        } else {
            assert_eq!(run["interrupted"], true, "{stdout}{stderr}");
            let step = &run["steps"][0];
            assert_eq!(count(step, "delivered") + count(step, "late"), count(step, "sent"));
            assert_eq!(run["error"], Value::Null);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_refused_before_anything_is_started() {
    let fake = Fake::start(Faults::default()).await;
    let done = run(&fake, THREE_KINDS, &["--processes", "8"]).await;
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(done.stderr.contains("recipients must be 24 or more"), "{}", done.stderr);
    let done = run(&fake, LONG, &["--agent", "127.0.0.1:1"]).await;
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(done.stderr.contains("--token-file"), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_runs_become_one_page() {
    let fake = Fake::start(Faults::default()).await;
    let text = "name = \"a\"\nabout = \"b\"\nrecipients = 4\n[[steps]]\nkind = \"wave\"\nsize = [1, 4]\nrepeat = 1\n";
    let (one, two) = (run(&fake, text, &[]).await, run(&fake, text, &["--processes", "2"]).await);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("page");
    let output = program(dir.path())
        .arg("report")
        .args([one.dir.path().join("out"), two.dir.path().join("out/run.json")])
        .arg("--out")
        .arg(&out)
        .output()
        .await
        .unwrap();
    let (code, stdout, stderr) = texts(&output);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.trim(), out.join("report.html").to_str().unwrap());
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("2 runs side by side") && page.contains("The tail of wave 4"));
    assert!(page.contains("different numbers of generators"), "what differs is told");
    let summary = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert_eq!(summary.matches("\n| wave ").count(), 2, "{summary}");
}
