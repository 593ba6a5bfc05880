//! The endpoint as Prometheus's own linter sees it, and what stands on it before anything happened.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use campana_tests::process::Signal;
use campana_tests::{Platform, dashboards, eventually};

use crate::scrape::scrape;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_is_clean_and_starts_with_zeros() {
    let platform = Platform::up(&["--set", "nats.metrics.interval_ms=500"]).await.unwrap();
    let metrics = platform.url("metrics");
    // Some of everything, so that histograms are there, too.
    let api = platform.api().unwrap();
    let id = api.ring("alice", "hello").await.unwrap();
    api.status(&id, "completed").await.unwrap();
    let found = eventually("a reading of NATS", SOON, async || {
        let found = scrape(&metrics).await?;
        Ok((found.value("campana_nats_collector_up", &[])? > 0.0).then_some(found))
    })
    .await
    .unwrap();

    let mut promtool = Command::new(dashboards::program("promtool").unwrap())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(found.text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let words = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(said.status.success() && words.is_empty(), "{words}");

    let build = &found.series("campana_build_info").unwrap()[0].0;
    assert_eq!(build.keys().collect::<Vec<_>>(), ["commit", "rustc", "version"], "{build:?}");
    for (name, labels) in [
        ("campana_dead_letters_total", [("consumer", "channel-email"), ("reason", "permanent")]),
        ("campana_provider_requests_total", [("provider", "twilio"), ("outcome", "timeout")]),
        ("campana_notifications_completed_total", [("channel", "sms"), ("outcome", "failed")]),
        (
            "campana_notifications_rejected_total",
            [("reason", "backpressure"), ("reason", "backpressure")],
        ),
        ("campana_messages_settled_total", [("consumer", "dispatcher-bulk"), ("result", "nak")]),
        ("campana_dlq_redrives_total", [("result", "failed"), ("result", "failed")]),
        ("campana_nats_advisories_total", [("kind", "max_deliveries"), ("stream", "DELIVERIES")]),
        (
            "campana_nats_connection_events_total",
            [("event", "slow_consumer"), ("event", "slow_consumer")],
        ),
        ("campana_edge_recoveries_total", [("result", "gap"), ("result", "gap")]),
    ] {
        assert_eq!(found.value(name, &labels).unwrap(), 0.0, "{name}{labels:?}");
    }
    let edges = found.series("campana_notification_e2e_duration_seconds_bucket").unwrap();
    assert!(edges.iter().any(|(labels, _)| labels["le"] == "0.2"), "an exact edge at 200 ms");
    assert!(edges.iter().any(|(labels, _)| labels["le"] == "5"));
    platform.stop(Signal::TERM).await.unwrap();
}
