//! The published JavaScript client finds the stage stamps of a live publication in its tags, in JSON and Protobuf.
//! Reads: `tests/sdk/node_modules`. Writes: temporary folders. Never: leaves a client running.

use std::path::Path;
use std::time::Duration;

use campana_tests::api::send;
use campana_tests::{Platform, Process, eventually, process};
use reqwest::Method;
use serde_json::json;

use super::{must_be_installed, sdk};

const WITHIN: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_protocols_find_stamps_in_the_tags() {
    must_be_installed();
    let platform = Platform::up(&[]).await.unwrap();
    let api = platform.api().unwrap();
    let (url, token) = (platform.url("edge_ws"), api.token("ann").await.unwrap());
    let mut node = Process::start("client", Path::new("node"), platform.home.path(), |command| {
        command.arg(sdk().join("stamps.mjs")).args(["--url", &url, "--token", &token]);
    })
    .unwrap();
    eventually("two clients", WITHIN, async || {
        node.must_run()?;
        Ok(node.output().contains("ready").then_some(()))
    })
    .await
    .unwrap();
    for asks in ["1", "0"] {
        let body = json!({"to": {"id": "ann"}, "content": {"title": asks}});
        let request = api.request(Method::POST, "/v1/notifications").json(&body);
        send(request.header("Campana-Stamps", asks)).await.unwrap().expect(202).unwrap();
    }
    let status = node.ended(WITHIN).await;
    let said = || format!("{}\n{}", node.output(), node.log());
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{status:?}: {}", said());
    platform.stop(process::Signal::TERM).await.unwrap();
}
