//! The shop beside a whole platform, in a browser.
//! Reads: the programs beside the test, `CHROMIUM_BIN`, `tests/browser/node_modules`. Writes: temporary folders, and
//! with `CAMPANA_SHOTS` pictures into that folder. Never: installs anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use campana_bus::testing::free_port;
use campana_tests::api::http;
use campana_tests::process::{Process, Signal};
use campana_tests::wait::eventually;
use campana_tests::{Platform, browser};

const SECRET: &str = "a secret of the shop's test, 32 b+";
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// All checks together take about fifteen seconds; a machine under load gets much more.
const CHECKS_WITHIN: Duration = Duration::from_secs(280);

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_works_in_chromium() {
    let port = free_port().unwrap();
    let settings = [
        format!("auth.token_secret=\"{SECRET}\""),
        format!("edge.allowed_origins=[\"http://127.0.0.1:{port}\"]"),
        "edge.namespaces=[{name=\"shop\"}]".to_owned(),
    ];
    let arguments: Vec<&str> =
        settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let platform = Platform::up(&arguments).await.unwrap();
    let mut shop = start(&platform, port).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let client = http().unwrap();
    eventually("the shop is ready", STARTS_WITHIN, async || {
        shop.must_run()?;
        let ready = client.get(format!("{url}/readyz")).send().await?.status().is_success();
        Ok(ready.then_some(()))
    })
    .await
    .unwrap();
    checks(&url).await.unwrap();
    // The confirmations went through the platform to a real mailbox.
    let sandbox = platform.sandbox().unwrap();
    sandbox.message("email", "ana@example.com").await.unwrap();
    shop.signal(Signal::TERM).unwrap();
    let ended = shop.ended(STARTS_WITHIN).await.unwrap();
    assert!(ended.success(), "{ended}: {}", shop.log());
    assert!(!shop.log().contains("ana@example.com"), "an address is in the log");
    platform.stop(Signal::TERM).await.unwrap();
}

fn start(platform: &Platform, port: u16) -> Result<Process> {
    let program = campana_tests::command::campana()?.with_file_name("campana-shop");
    ensure!(program.is_file(), "{} is not built: run `cargo build`", program.display());
    let folder = platform.home.path();
    Process::start("campana-shop", &program, folder, |command| {
        command
            .arg("--demo")
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--nats-url", &platform.url("nats"), "--api-url", &platform.url("gateway")])
            .args(["--edge-url", &platform.url("edge_ws")])
            .arg("--data-dir")
            .arg(folder.join("shop"))
            .env("CAMPANA_API_KEY", platform.url("api_key"))
            .env("CAMPANA_EDGE_SECRET", SECRET)
            .current_dir(folder);
    })
}

async fn checks(url: &str) -> Result<()> {
    browser::checks("shop.mjs", url, " 0 failed", CHECKS_WITHIN).await
}
