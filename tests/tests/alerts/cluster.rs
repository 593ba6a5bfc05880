//! What the collector says of three servers: everything once, the same from both sources, and who is away.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use campana_tests::cluster::Cluster;
use campana_tests::process::Signal;
use campana_tests::{Home, eventually};

use crate::keeper::{self, Keeper};
use crate::scrape::{Scrape, scrape};

const SOON: Duration = Duration::from_secs(90);
/// Streams of the platform's topology, copies not counted.
const STREAMS_MIN: usize = 7;

/// Stream or stream and consumer, and how many series each has.
fn counted(found: &Scrape, name: &str) -> Result<BTreeMap<String, usize>> {
    let mut all = BTreeMap::new();
    for (labels, _) in found.series(name)? {
        let part = |label: &str| labels.get(label).cloned().unwrap_or_default();
        *all.entry(format!("{}/{}", part("stream_name"), part("consumer_name"))).or_insert(0) += 1;
    }
    Ok(all)
}

/// Every stream and consumer, each with one series.
async fn everything_once(metrics: &str) -> Result<Vec<String>> {
    let found = scrape(metrics).await?;
    ensure!(found.value("campana_nats_leaderless_streams", &[])? == 0.0, "a leader is missing");
    let mut all = counted(&found, "nats_stream_total_messages")?;
    ensure!(all.len() >= STREAMS_MIN, "{all:?}");
    all.extend(counted(&found, "nats_consumer_num_pending")?);
    ensure!(all.contains_key("ADVISORIES/keeper-backstop"), "{all:?}");
    ensure!(all.values().all(|series| *series == 1), "something is counted twice: {all:?}");
    Ok(all.into_keys().collect())
}

async fn stop(mut keeper: Keeper) {
    keeper.process.signal(Signal::TERM).unwrap();
    assert!(keeper.process.ended(SOON).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_everything_is_counted_once() {
    let mut cluster = Cluster::start().await.unwrap();
    let home = Home::new().unwrap();
    let replicas = "nats.replicas=3".to_owned();
    let monitors = format!("nats.metrics.monitor_urls={:?}", cluster.monitors());

    let keeper =
        keeper::start(&home, "api", "keeper", &cluster.url(), std::slice::from_ref(&replicas))
            .await
            .unwrap();
    let by_api = eventually("the API's list", SOON, async || {
        everything_once(&keeper.metrics).await.map(Some)
    })
    .await
    .unwrap();
    stop(keeper).await;

    let keeper = keeper::start(&home, "monitors", "keeper", &cluster.url(), &[replicas, monitors])
        .await
        .unwrap();
    eventually("the same list from the monitoring ports", SOON, async || {
        let by_monitors = everything_once(&keeper.metrics).await?;
        ensure!(by_monitors == by_api, "{by_monitors:?} instead of {by_api:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    let found = scrape(&keeper.metrics).await.unwrap();
    for server in ["n0", "n1", "n2"] {
        let of = [("server_name", server), ("cluster", "test")];
        assert!(found.value("nats_varz_mem", &of).unwrap() > 0.0, "{server}");
    }

    cluster.kill(1);
    eventually("the news that a server is away", SOON, async || {
        let found = scrape(&keeper.metrics).await?;
        let up = found.series("campana_nats_monitor_up")?;
        ensure!(up.iter().filter(|(_, up)| *up == 0.0).count() == 1, "{up:?}");
        let current = found.series("campana_stream_current_replicas")?;
        ensure!(current.len() >= STREAMS_MIN, "streams without a leader yet");
        let behind = current.iter().all(|(_, current)| *current == 2.0);
        Ok(behind.then_some(()))
    })
    .await
    .unwrap();
    stop(keeper).await;
}
