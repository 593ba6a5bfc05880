//! The desk's pages in a browser; `tests/browser/support.mjs` says what must be seen.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::world::{Desk, World};

/// All checks together take about fifteen seconds; a machine under load gets much more.
const CHECKS_WITHIN: Duration = Duration::from_secs(280);

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_works_in_chromium() {
    let world = World::start().await.unwrap();
    let mut desk = world.desk().await.unwrap();
    let checked = tokio::time::timeout(CHECKS_WITHIN, checks(&world, &mut desk)).await;
    checked.expect("the checks end").unwrap();
    unread(&world, &desk.url).await.unwrap();
    let log = desk.log();
    assert!(!log.contains("eva@example.com") && !log.contains("Silent"), "{log}");
    desk.stop().await.unwrap();
    world.stop().await.unwrap();
}

/// An answer that was not read for a second is mailed, through the schedule and the gateway.
async fn unread(world: &World, url: &str) -> Result<()> {
    let question = json!({
        "key": "0123456789abcdef", "name": "Eva", "email": "eva@example.com", "subject": "Bell", "text": "Silent.",
    });
    let (opened, _) = world.post(url, "/api/tickets", "", &question).await?;
    let ticket = opened["ticket"].as_str().context("a ticket")?;
    let account = json!({"name": "sam", "password": "demo-sam"});
    let (_, agent) = world.post(url, "/api/session", "", &account).await?;
    world.post(url, &format!("/api/tickets/{ticket}/claim"), &agent, &json!({})).await?;
    let answer = json!({"key": "0123456789abcdef", "text": "Shake it."});
    world.post(url, &format!("/api/tickets/{ticket}/messages"), &agent, &answer).await?;
    let mail = world.platform.sandbox()?.message("email", "eva@example.com").await?;
    ensure!(!mail.to_string().contains("Shake it."), "what was said is in the mail: {mail}");
    Ok(())
}

async fn checks(world: &World, desk: &mut Desk) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut script = Command::new("node");
    script.arg(folder.join("support.mjs")).arg(&desk.url).current_dir(&folder).kill_on_drop(true);
    if let Some(shots) = std::env::var_os("CAMPANA_SHOTS") {
        script.arg("--shots").arg(shots);
    }
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut answers = script.stdin.take().context("the script has a standard input")?;
    let output = script.stdout.take().context("the script has a standard output")?;
    let (mut lines, mut printed) = (BufReader::new(output).lines(), String::new());
    while let Some(line) = lines.next_line().await? {
        match line.as_str() {
            "please: stop" => desk.close().await?,
            "please: start" => world.open(desk).await?,
            _ => {
                printed.push_str(&line);
                printed.push('\n');
                continue;
            }
        }
        answers.write_all(b"done\n").await?;
    }
    let status = script.wait().await?;
    ensure!(status.success() && printed.contains(" 0 failed"), "{printed}");
    Ok(())
}
