//! Every query of every panel against a Prometheus that scrapes a platform under load, with a forced failure on
//! each channel, and a load harness that serves its own figures meanwhile.
//! Reads: `dashboards/`. Writes: temporary folders. Never: lets time pass for its own sake; it ends when every
//! panel has been filled.

use std::time::Duration;

use anyhow::Result;
use campana_bus::clock;
use campana_tests::dashboards::{Look, Panel, Prometheus, files, may_be_empty, panels};
use campana_tests::{Platform, browser, process};

use crate::harness::Harness;
use crate::load::{API_KEY, Load};

/// Panels are looked at after each round of load until all are filled; a busy machine gets more time than the
/// few seconds that it takes.
const FILLED_WITHIN: Duration = Duration::from_secs(120);
/// All checks of the page take about half a minute.
const PAGE_WITHIN: Duration = Duration::from_secs(280);
/// There is one run only: whichever is chosen, this is it.
const ANY_RUN: &str = ".+";

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_something_under_load_and_the_page_draws_it() {
    let port = Prometheus::port().unwrap();
    let key = format!("edge.api.key={API_KEY}");
    let viewer = format!("ops.prometheus_url=http://127.0.0.1:{port}");
    let settings = [
        key.as_str(),
        viewer.as_str(),
        // Without these a test would wait half a minute for the first ping.
        "edge.ping_interval_ms=2000",
        "edge.pong_timeout_ms=1500",
        "nats.metrics.interval_ms=500",
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|&setting| ["--set", setting]).collect();
    let platform = Platform::up(&arguments).await.unwrap();
    let address = platform.url("metrics").replace("http://", "");
    let mut harness = Harness::start(&platform).unwrap();
    let targets = [("campana", address), ("loadtest", harness.address.clone())];
    let mut prometheus = Prometheus::start(platform.home.path(), port, &targets).await.unwrap();
    let mut load = Load::start(&platform).await.unwrap();

    let excused = may_be_empty().unwrap();
    let mut wanted: Vec<Panel> = files()
        .unwrap()
        .iter()
        .flat_map(|file| panels(file).unwrap())
        .filter(|panel| !excused.contains_key(&panel.name()))
        .collect();
    let all = wanted.len();
    assert!(all > 120, "{all}");
    let started = clock::monotonic();
    let mut looks: Vec<(String, Look)> = Vec::new();
    while !wanted.is_empty() && started.elapsed() < FILLED_WITHIN {
        load.round().await.unwrap();
        prometheus.must_run().unwrap();
        harness.must_run().unwrap();
        looks.clear();
        let chosen = prometheus.everything(ANY_RUN);
        for panel in std::mem::take(&mut wanted) {
            match prometheus.look_at(&panel, &chosen).await.unwrap() {
                Look::Filled(_) => {}
                look => {
                    looks.push((panel.name(), look));
                    wanted.push(panel);
                }
            }
        }
    }
    assert!(looks.is_empty(), "{} of {all} panels: {looks:#?}", looks.len());
    load.stop().await.unwrap();
    harness.stop().await.unwrap();
    page_in_chromium(&platform).await.unwrap();
    drop(prometheus);
    platform.stop(process::Signal::TERM).await.unwrap();
}

/// The same dashboards in the platform's own page; `tests/browser/dashboards.mjs` says what must be seen.
/// `CAMPANA_SHOTS` names a folder for the pictures of the documentation.
async fn page_in_chromium(platform: &Platform) -> Result<()> {
    browser::checks("dashboards.mjs", &platform.url("metrics"), "all passed", PAGE_WITHIN).await
}
