//! The page in Chromium. What must be seen is written in `tests/browser/chat.mjs`.
//! With `CAMPANA_SHOTS` it also writes pictures into that folder.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::world::{World, scripts};

/// All checks together take about twenty seconds; a machine under load gets much more.
const CHECKS_WITHIN: Duration = Duration::from_secs(280);

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_in_chromium() {
    let world = World::start(&["--demo", "--messages-burst", "1000"]).await.unwrap();
    if let Err(error) = checks(&world).await {
        panic!("{error:#}\n{}", world.chat.log());
    }
    world.stop().await.unwrap();
}

async fn checks(world: &World) -> Result<()> {
    let folder = scripts("browser");
    let mut script = Command::new("node");
    script.args(["chat.mjs", &world.url()]).current_dir(&folder).kill_on_drop(true);
    if let Some(shots) = std::env::var_os("CAMPANA_SHOTS") {
        script.arg("--shots").arg(shots);
    }
    let ended = tokio::time::timeout(CHECKS_WITHIN, script.output()).await;
    let output = ended.context("the checks do not end")??;
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && printed.contains(" 0 failed"), "{printed}{errors}");
    Ok(())
}
