//! The page in Chromium. What must be seen is written in `tests/browser/chat.mjs`.
//! With `CAMPANA_SHOTS` it also writes pictures into that folder.

use std::time::Duration;

use anyhow::Result;
use campana_tests::browser;

use super::world::World;

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
    browser::checks("chat.mjs", &world.url(), " 0 failed", CHECKS_WITHIN).await
}
