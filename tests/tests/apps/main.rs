//! `campana up --apps`: the four applications beside the platform, as a newcomer gets them, and gone without a trace.
//! Reads: the programs beside the test, `python3`, `services/support`. Writes: temporary folders. Never: tells an
//! application where the platform is: that is what is tested.

#![cfg(test)]

mod site;
mod visits;
mod world;

use anyhow::{Result, ensure};
use campana_tests::process::{self, Signal};
use campana_tests::{Home, Platform, eventually};

use world::{WITHIN, app, args, comes_back, is, program_of, support_folder};

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_finds_all_four_at_work() {
    let platform = Platform::up(&args(&["--support-dir", &support_folder()])).await.unwrap();
    for name in ["clinic", "chat", "shop", "support"] {
        is(&platform, name, "running").await.unwrap();
    }
    visits::clinic(&platform).await.unwrap();
    visits::chat(&platform, "hello").await.unwrap();
    visits::shop(&platform).await.unwrap();
    visits::support(&platform, "0123456789abcdef0123456789abcdef").await.unwrap();
    secrets_stay_secret(&platform).unwrap();
    banner_tells(&platform).await.unwrap();

    // Whatever is killed comes back at the same address, the program in Python and its sidecar like the others.
    for program in ["campana-chat", "python3", "sidecar"] {
        comes_back(&platform, program).await.unwrap();
    }
    visits::chat(&platform, "welcome back").await.unwrap();
    visits::support(&platform, "fedcba9876543210fedcba9876543210").await.unwrap();

    let children = process::children(platform.process.pid());
    assert_eq!(children.len(), 6, "nats-server and five programs");
    platform.stop(Signal::INT).await.unwrap();
    assert!(children.iter().all(|pid| !process::is_alive(*pid)), "a program lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_and_the_rest_runs_and_dies_with_the_platform() {
    let home = Home::new().unwrap();
    let (mut process, platform) = world::without_python(&home).await.unwrap();
    for name in ["clinic", "chat", "shop"] {
        world::is_in(&home, name, "running").await.unwrap();
    }
    let support = world::is_in(&home, "support", "missing").await.unwrap();
    let reason = support["reason"].as_str().unwrap();
    assert!(reason.contains("no python3 on PATH: install Python 3.10"), "{reason}");
    eventually("the banner", WITHIN, async || {
        let shown = process.output();
        Ok(shown.contains("Support desk     is missing: there is no python3").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(process::children(platform).len(), 4);

    let children = process::children(platform);
    process.kill();
    eventually("the end of every child", WITHIN, async || {
        Ok(children.iter().all(|pid| !process::is_alive(*pid)).then_some(()))
    })
    .await
    .unwrap();
}

/// One line for each, with its address and who to be.
async fn banner_tells(platform: &Platform) -> Result<()> {
    let urls: Vec<String> = ["clinic", "chat", "shop", "support"]
        .iter()
        .map(|name| Ok(app(platform, name)?["url"].as_str().unwrap_or_default().to_owned()))
        .collect::<Result<_>>()?;
    let shown = eventually("the banner", WITHIN, async || {
        let shown = platform.process.output();
        Ok(shown.contains("ctrl-C stops everything").then_some(shown))
    })
    .await?;
    for text in urls.iter().map(String::as_str).chain(["/dashboards", "demo-lucia", "campana-demo"])
    {
        ensure!(shown.contains(text), "{text} is not in {shown}");
    }
    Ok(())
}

/// Others on this machine see arguments; logs are shown around.
fn secrets_stay_secret(platform: &Platform) -> Result<()> {
    let data = platform.home.data();
    let files = [
        "token-secret",
        "edge-api-key",
        "apps/sidecar-token",
        "apps/clinic-key",
        "apps/chat-key",
        "apps/shop-key",
        "apps/support-key",
    ];
    let secrets: Vec<String> = files
        .iter()
        .map(|name| std::fs::read_to_string(data.join(name)))
        .collect::<Result<_, _>>()?;
    let mut seen = platform.process.log();
    for pid in process::children(platform.process.pid()) {
        seen += &program_of(pid);
    }
    for log in ["clinic", "chat", "shop", "support", "support-sidecar"] {
        seen += &std::fs::read_to_string(data.join("apps").join(format!("{log}.log")))?;
    }
    for (file, secret) in files.iter().zip(&secrets) {
        ensure!(secret.len() > 30 && !seen.contains(secret.trim()), "{file} can be seen");
    }
    Ok(())
}
