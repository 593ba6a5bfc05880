//! A platform with its applications, and what `up.json` says of them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_tests::api::http;
use campana_tests::command::campana;
use campana_tests::process::{self, Process, Signal};
use campana_tests::{Home, Platform, eventually};
use serde_json::Value;

pub const WITHIN: Duration = Duration::from_secs(60);

/// Where the module of the support desk lies in a checkout.
pub fn support_folder() -> String {
    format!("{}/../services/support", env!("CARGO_MANIFEST_DIR"))
}

/// Arguments of `up` with the applications.
pub fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--apps"], more].concat()
}

/// What is said of an application now.
pub fn app(platform: &Platform, name: &str) -> Result<Value> {
    app_in(&platform.home, name)
}

fn app_in(home: &Home, name: &str) -> Result<Value> {
    let text = std::fs::read_to_string(home.data().join("up.json"))?;
    let found: Value = serde_json::from_str(&text)?;
    let mut apps = found["apps"].as_array().into_iter().flatten();
    apps.find(|one| one["name"] == name).cloned().with_context(|| format!("no {name} in {found}"))
}

/// Waits until an application is in this state.
pub async fn is(platform: &Platform, name: &str, state: &str) -> Result<Value> {
    is_in(&platform.home, name, state).await
}

/// The same of a platform that was started by hand.
pub async fn is_in(home: &Home, name: &str, state: &str) -> Result<Value> {
    eventually(&format!("{name} is {state}"), WITHIN, async || {
        let found = app_in(home, name)?;
        ensure!(found["state"] == state, "{found}");
        Ok(Some(found))
    })
    .await
}

/// The command line of a process.
pub fn program_of(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// The child whose command line holds this, once it has become its program.
fn child(platform: &Platform, program: &str) -> Option<u32> {
    let all = process::children(platform.process.pid());
    all.into_iter().find(|pid| {
        let line = program_of(*pid);
        line.contains(program) && !line.contains(" guard ")
    })
}

/// `kill -9` of a program: another one takes its place and answers, and that is counted.
pub async fn comes_back(platform: &Platform, program: &str) -> Result<()> {
    let (name, health) = match program {
        "campana-chat" => ("chat", "/readyz"),
        _ => ("support", "/readyz"),
    };
    let before = restarts(platform, name).await?;
    let killed = child(platform, program).with_context(|| format!("{program} does not run"))?;
    process::signal(killed, Signal::KILL)?;
    let url = app(platform, name)?["url"].as_str().context("a url")?.to_owned();
    let client = http()?;
    eventually(&format!("another {program}"), WITHIN, async || {
        let other = child(platform, program).is_some_and(|pid| pid != killed);
        ensure!(other, "no other process");
        let answer = client.get(format!("{url}{health}")).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        ensure!(restarts(platform, name).await? == before + 1.0, "not counted once");
        ensure!(running(platform, name).await? == 1.0, "not said to run");
        Ok(Some(()))
    })
    .await?;
    is(platform, name, "running").await?;
    let log = platform.process.log();
    ensure!(log.contains("signal: 9") && log.contains("starting it again"), "no word of it: {log}");
    Ok(())
}

async fn restarts(platform: &Platform, name: &str) -> Result<f64> {
    metric(platform, &format!("campana_app_restarts_total{{app=\"{name}\"}} ")).await
}

async fn running(platform: &Platform, name: &str) -> Result<f64> {
    metric(platform, &format!("campana_app_running{{app=\"{name}\"}} ")).await
}

async fn metric(platform: &Platform, begin: &str) -> Result<f64> {
    let url = format!("{}/metrics", platform.url("metrics"));
    let text = http()?.get(url).send().await?.text().await?;
    let value = text.lines().find_map(|line| line.strip_prefix(begin));
    Ok(value.with_context(|| format!("no metric {begin}"))?.parse()?)
}

/// A platform that finds no Python: nothing is on its `PATH` but what ties it to the test.
pub async fn without_python(home: &Home) -> Result<(Process, u32)> {
    let tools = home.path().join("tools");
    std::fs::create_dir(&tools)?;
    std::os::unix::fs::symlink(which("setpriv")?, tools.join("setpriv"))?;
    let folder = support_folder();
    let arguments = home.up_arguments(&args(&["--support-dir", &folder]))?;
    let process = Process::start("campana", &campana()?, home.path(), |command| {
        command.args(arguments).env("PATH", &tools).current_dir(home.path());
    })?;
    let pid = process.pid();
    Ok((process, pid))
}

fn which(name: &str) -> Result<std::path::PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is set")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found.into_iter().find(|file| Path::is_file(file)).with_context(|| format!("no {name}"))
}
