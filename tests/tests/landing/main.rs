//! The landing page of `campana up`: its numbers over HTTP, and the page in a browser.
//! Reads: the program beside the test, `CHROMIUM_BIN`, `tests/browser/node_modules`. Writes: temporary folders, and
//! with `CAMPANA_SHOTS` pictures into that folder. Never: installs anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use campana_tests::api::http;
use campana_tests::process::Signal;
use campana_tests::wait::eventually;
use campana_tests::{Platform, browser};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// All checks together take about half a minute; a machine under load gets much more.
const CHECKS_WITHIN: Duration = Duration::from_secs(280);

async fn overview(gateway: &str) -> Result<Value> {
    let answer = http()?.get(format!("{gateway}/overview.json")).send().await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    ensure!(answer.headers()["cache-control"] == "no-store", "an answer of now is not kept");
    Ok(answer.json().await?)
}

fn in_app(overview: &Value) -> Option<&Value> {
    let channels = overview["numbers"]["channels"].as_array()?;
    channels.iter().find(|channel| channel["channel"] == "in_app")
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_move_after_a_notification_and_tell_nothing_else() {
    let platform = Platform::up(&[]).await.unwrap();
    let gateway = platform.url("gateway");
    let first = overview(&gateway).await.unwrap();
    assert_eq!(first["numbers"]["accepted"]["total"], 0, "{first}");
    assert_eq!(first["apps"], json!([]), "{first}");
    let links = &first["links"];
    assert_eq!(links["gateway"], gateway.as_str());
    assert_eq!(links["mailbox"], platform.url("sandbox").as_str());
    assert_eq!(links["metrics"], format!("{}/metrics", platform.url("metrics")));

    let mut bell = platform.client("alice").await.unwrap();
    let body = json!({"to": "alice", "content": {"title": "A title that nobody else has"}});
    let api = platform.api().unwrap();
    let answer = api.notify(&body).await.unwrap();
    let id = campana_tests::api::id_of(&answer).unwrap();
    bell.expect(&id).await.unwrap();
    let moved = eventually("the numbers of one notification", PATIENCE, async || {
        let found = overview(&gateway).await?;
        let numbers = &found["numbers"];
        let counted = numbers["accepted"]["total"] == 1
            && in_app(&found).is_some_and(|channel| channel["delivered"]["total"] == 1)
            && in_app(&found).is_some_and(|channel| channel["took"]["p50_ms"].is_number())
            && numbers["push"]["p99_ms"].is_number()
            && numbers["clients"] == 1
            && numbers["waiting"]["requests"].is_number()
            && numbers["nats"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0)
            && numbers["database"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0)
            && numbers["history"]["accepted"].as_array().is_some_and(|points| {
                points.iter().any(|point| point.as_f64().is_some_and(|rate| rate > 0.0))
            });
        if counted {
            return Ok(Some(found));
        }
        Err(anyhow::anyhow!("{found}"))
    })
    .await
    .unwrap();
    let text = moved.to_string();
    let secret = platform.url("api_key");
    for private in ["alice", "A title", id.as_str(), &secret, "ck_", "@", "up.json"] {
        assert!(!text.contains(private), "{private} is in {text}");
    }
    platform.stop(Signal::TERM).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_demo_the_gateway_keeps_its_own_page_and_tells_no_numbers() {
    let platform = Platform::up(&["--set", "public.demo=false"]).await.unwrap();
    let (gateway, http) = (platform.url("gateway"), http().unwrap());
    let status =
        async |path: &str| http.get(format!("{gateway}{path}")).send().await.unwrap().status();
    assert_eq!(status("/").await, 200);
    assert_eq!(status("/bell").await, 200);
    for path in ["/overview.json", "/guides", "/landing/landing.js"] {
        assert_eq!(status(path).await, 404, "{path}");
    }
    platform.stop(Signal::TERM).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_landing_page_works_in_chromium() {
    let platform = Platform::up(&[]).await.unwrap();
    checks(&platform.url("gateway")).await.unwrap();
    platform.stop(Signal::TERM).await.unwrap();
}

async fn checks(url: &str) -> Result<()> {
    browser::checks("landing.mjs", url, " 0 failed", CHECKS_WITHIN).await
}
