//! The pages in a real browser: the demo page, the sandbox page, the API docs.
//! Reads: `CHROMIUM_BIN`, `tests/browser/node_modules`. Writes: a temporary folder. Never: installs anything;
//! what a browser must see is written in `tests/browser`, this file starts, restarts and judges.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_tests::Platform;
use campana_tests::platform::fixed_ports;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// All checks together take about a minute; a machine under load gets much more.
const ALL_CHECKS_MAX: Duration = Duration::from_secs(280);
/// Lines of the platform's log that a failed test shows.
const LOG_LINES_SHOWN: usize = 60;
/// The script prints this line when it wants the platform killed and started again.
const WANTS_RESTART: &str = "please: restart";

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_work_in_chromium() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    assert!(
        is_installed(&folder),
        "the npm packages of tests/browser are missing or old: run `cargo xtask tools`"
    );
    // A platform that comes back must be found where it was.
    let ports = fixed_ports().unwrap();
    let platform = Platform::up(&as_arguments(&ports)).await.unwrap();
    let mut script = start(&folder, &platform).unwrap();
    let mut printed = String::new();
    let status = timeout(ALL_CHECKS_MAX, watch(&mut script, platform, &ports, &mut printed)).await;
    match status {
        Ok(Ok(status)) => assert!(status.success(), "{status}\n{printed}"),
        Ok(Err(error)) => panic!("{error:#}\n{printed}"),
        Err(_) => panic!("the checks did not end within {ALL_CHECKS_MAX:?}\n{printed}"),
    }
}

/// Whether every package of the lock file is there in the wanted version.
fn is_installed(folder: &Path) -> bool {
    let version = |file: PathBuf, pointer: &str| -> Option<String> {
        let json: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
        Some(json.pointer(pointer)?.as_str()?.to_owned())
    };
    ["axe-core", "playwright-core"].into_iter().all(|package| {
        let wanted = version(folder.join("package.json"), &format!("/devDependencies/{package}"));
        let found =
            version(folder.join("node_modules").join(package).join("package.json"), "/version");
        wanted.is_some() && wanted == found
    })
}

fn as_arguments(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn start(folder: &Path, platform: &Platform) -> Result<Child> {
    Command::new("node")
        .arg(folder.join("run.mjs"))
        .args([platform.url("gateway"), platform.url("sandbox"), "--restart".to_owned()])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("node cannot be started; Node.js 20 or newer must be on PATH")
}

/// Follows the script to its end and restarts the platform when it is asked to.
async fn watch(
    script: &mut Child,
    mut platform: Platform,
    ports: &[String],
    printed: &mut String,
) -> Result<ExitStatus> {
    let mut answers = script.stdin.take().context("the script has a standard input")?;
    let mut lines =
        BufReader::new(script.stdout.take().context("the script has a standard output")?).lines();
    while let Some(line) = lines.next_line().await? {
        printed.push_str(&line);
        printed.push('\n');
        if line == WANTS_RESTART {
            platform = restarted(platform, ports).await.context("the restart")?;
            answers.write_all(b"restarted\n").await?;
        }
    }
    let status = script.wait().await?;
    if !status.success() {
        printed.push_str(&log_end(&platform));
    }
    ensure!(
        printed.contains(" passed, "),
        "the script did not come to its end ({status}); its errors are above"
    );
    platform.process.must_run().context("the platform at the end of the checks")?;
    Ok(status)
}

/// What the platform logged last.
fn log_end(platform: &Platform) -> String {
    let log = platform.process.log();
    let lines: Vec<&str> = log.lines().collect();
    format!(
        "the platform's log:\n{}\n",
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    )
}

/// Killed without warning, with what it had accepted a moment ago, and started again on the same ports.
async fn restarted(mut platform: Platform, ports: &[String]) -> Result<Platform> {
    platform.kill().await?;
    let home = platform.home.clone();
    // Its end looks for leftovers in the same folder, so it must come before the next life.
    drop(platform);
    Platform::up_in(&home, &as_arguments(ports)).await
}
