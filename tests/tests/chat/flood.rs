//! Every message exactly once and in order, with the published SDK, while connections are torn, pages are loaded anew,
//! and the chat is killed in the middle of the flood.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use super::world::{Person, World, scripts};

/// It takes some seconds; a machine under load gets much more.
const ENDS_WITHIN: Duration = Duration::from_secs(280);
const PACE: [&str; 4] = ["--messages-burst", "100000", "--messages-per-second", "1000"];

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_over_torn_connections_and_a_killed_chat_is_heard_once_and_in_order() {
    let mut world = World::start(&PACE).await.unwrap();
    let ana = Person::register(&world, "ana").await.unwrap();
    let bruno = Person::register(&world, "bruno").await.unwrap();
    let room = ana.room("Flood").await.unwrap();
    bruno.post(&format!("/api/rooms/{room}/join"), &json!({})).await.unwrap();
    let ended = tokio::time::timeout(ENDS_WITHIN, run(&mut world, &[&ana, &bruno], &room)).await;
    ended.expect("the flood does not end").unwrap();
    world.stop().await.unwrap();
}

async fn run(world: &mut World, people: &[&Person], room: &str) -> Result<()> {
    let folder = scripts("sdk");
    let mut script = Command::new("node")
        .arg("chat_flood.mjs")
        .args([&world.url(), &world.platform.url("edge_ws"), room])
        .args(people.iter().map(|person| &person.cookie))
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("node cannot be started")?;
    let mut answers = script.stdin.take().context("a standard input")?;
    let mut errors = script.stderr.take().context("a standard error")?;
    let mut lines = BufReader::new(script.stdout.take().context("a standard output")?).lines();
    let mut last = String::new();
    while let Some(line) = lines.next_line().await? {
        if line == "please: restart" {
            world.restart_chat(&PACE).await?;
            answers.write_all(b"restarted\n").await?;
        }
        last = line;
    }
    let mut said = String::new();
    errors.read_to_string(&mut said).await?;
    let status = script.wait().await?;
    ensure!(
        status.success() && last.starts_with("ok"),
        "{status} {last}\n{said}\n{}",
        world.chat.log()
    );
    Ok(())
}
