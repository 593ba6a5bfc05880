//! Four alerts, provoked for real: a consumer that nobody runs, mails that are refused, a provider that is down, an
//! edge that is killed. Each fires, and ends when the cause is mended.
//! The rules are those of `dashboards/prometheus/rules`, with every minute shortened to a second (`rules.rs`).

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::jetstream::consumer::pull;
use campana_bus::Bus;
use campana_bus::testing::free_port;
use campana_bus::topology::EVENTS;
use campana_tests::api::{http, send};
use campana_tests::process::Signal;
use campana_tests::{Api, Platform, Sandbox, eventually};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::keeper;
use crate::rules::Watch;

/// An alert needs about ten seconds; a busy machine gets more.
const SOON: Duration = Duration::from_secs(120);
/// Pause between two looks: each sends a little so that there is something to measure.
const BETWEEN: Duration = Duration::from_millis(200);
const FORGOTTEN: &str = "forgotten";

/// Everything that is broken and mended.
struct World {
    platform: Platform,
    api: Api,
    sandbox: Sandbox,
    bus: Bus,
    watch: Watch,
    sent: u64,
}

impl World {
    async fn faults(&self, rules: Value) -> Result<()> {
        let request = http()?.put(format!("{}/api/faults", self.sandbox.url));
        send(request.json(&json!({"rules": rules}))).await?.expect(200).map(drop)
    }

    /// One message to somebody over one channel.
    async fn say(&mut self, channel: &str, to: &Value) -> Result<()> {
        self.sent += 1;
        let title = format!("number {}", self.sent);
        let body =
            json!({"to": to, "channels": [channel], "content": {"title": title, "body": title}});
        self.api.notify(&body).await.map(drop)
    }

    /// Waits until an alert fires, or does not any more, while `meanwhile` keeps happening.
    async fn until(
        &mut self,
        alert: &str,
        label: &str,
        fires: bool,
        meanwhile: impl AsyncFn(&mut Self) -> Result<()>,
    ) {
        let started = campana_bus::clock::monotonic();
        loop {
            meanwhile(self).await.unwrap();
            let firing = self.watch.firing().await.unwrap();
            let found = firing.iter().any(|(name, labels)| name == alert && labels.contains(label));
            if found == fires {
                return;
            }
            assert!(
                started.elapsed() < SOON,
                "{alert} with {label} should fire: {fires}; these fire: {firing:?}"
            );
            tokio::time::sleep(BETWEEN).await;
        }
    }
}

async fn nothing(_: &mut World) -> Result<()> {
    Ok(())
}

async fn a_text(world: &mut World) -> Result<()> {
    world.say("sms", &json!({"id": "texter", "phone": "+12025550123"})).await
}

async fn a_refused_mail(world: &mut World) -> Result<()> {
    world.say("email", &json!({"id": "bouncer", "email": "bounce@example.com"})).await
}

/// A consumer for which messages wait and which nobody runs.
async fn forget_a_consumer(bus: &Bus) -> Result<()> {
    let wanted = pull::Config {
        durable_name: Some(FORGOTTEN.to_owned()),
        filter_subject: "app.default.test.>".to_owned(),
        ..pull::Config::default()
    };
    bus.jetstream().get_stream(EVENTS).await?.create_consumer(wanted).await?;
    for _ in 0..3 {
        let stored = bus.jetstream().publish("app.default.test.happened", "{}".into()).await?;
        stored.await?;
    }
    Ok(())
}

/// Somebody takes care of it.
async fn run_it(bus: &Bus) -> Result<()> {
    let stream = bus.jetstream().get_stream(EVENTS).await?;
    let consumer = stream.get_consumer::<pull::Config>(FORGOTTEN).await;
    let consumer = consumer.map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut messages = consumer.fetch().max_messages(3).messages().await?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| anyhow::anyhow!("{error}"))?;
        message.double_ack().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn four_alerts_fire_and_end() {
    let platform = Platform::up(&["--set", "nats.metrics.interval_ms=500"]).await.unwrap();
    let (edge_port, ops_port) = (free_port().unwrap(), free_port().unwrap());
    let set = [format!("listen.edge={edge_port}"), format!("listen.ops={ops_port}")];
    let nats = platform.url("nats");
    let mut edge = keeper::start(&platform.home, "edge", "edge", &nats, &set).await.unwrap();
    let metrics = platform.url("metrics").replace("http://", "");
    let edge_address = edge.metrics.replace("http://", "");
    let targets = [("campana", metrics.as_str()), ("campana-edge", edge_address.as_str())];
    let watch = Watch::start(platform.home.path(), &targets).await.unwrap();
    let mut world = World {
        api: platform.api().unwrap(),
        sandbox: platform.sandbox().unwrap(),
        bus: platform.bus().await.unwrap(),
        watch,
        sent: 0,
        platform,
    };
    eventually("peace: only the watchdog barks", SOON, async || {
        let names = world.watch.names().await?;
        Ok((names.len() == 1 && names.contains("CampanaWatchdog")).then_some(()))
    })
    .await
    .unwrap();

    // All are broken at once, then waited for one after the other: it takes no longer than the slowest.
    edge.process.kill();
    forget_a_consumer(&world.bus).await.unwrap();
    world
        .faults(json!([{"channel": "twilio", "effect": {"kind": "http", "status": 503}}]))
        .await
        .unwrap();
    world
        .until("CampanaDeadLettersRising", "channel-email", true, async |world: &mut World| {
            a_text(world).await?;
            a_refused_mail(world).await
        })
        .await;
    world.until("CampanaCircuitOpen", "twilio", true, a_text).await;
    world.until("CampanaTargetDown", &edge_address, true, nothing).await;
    world.until("CampanaConsumerStalled", FORGOTTEN, true, nothing).await;

    world.faults(json!([])).await.unwrap();
    run_it(&world.bus).await.unwrap();
    let edge = keeper::start(&world.platform.home, "edge", "edge", &nats, &set)
        .await
        .context("the edge comes back where it was")
        .unwrap();
    world.until("CampanaConsumerStalled", FORGOTTEN, false, nothing).await;
    world.until("CampanaTargetDown", &edge_address, false, nothing).await;
    world.until("CampanaCircuitOpen", "twilio", false, a_text).await;
    world.until("CampanaDeadLettersRising", "channel-email", false, nothing).await;
    drop(edge);
    let World { platform, watch, .. } = world;
    // A platform that ends checks that nothing of its folder runs on.
    drop(watch);
    platform.stop(Signal::TERM).await.unwrap();
}
