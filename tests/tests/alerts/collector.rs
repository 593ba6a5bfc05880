//! What the collector says of one server: the same as JetStream, from both sources, by one process.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream;
use campana_bus::Bus;
use campana_bus::testing::NatsServer;
use campana_tests::process::Signal;
use campana_tests::{Home, Platform, eventually};
use futures::StreamExt;

use crate::keeper;
use crate::scrape::{Scrape, scrape};

/// A lease has to end in it, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const STREAM: &str = "SHOP";
const CONSUMER: &str = "ledger";
const OF_CONSUMER: [(&str, &str); 2] = [("stream_name", STREAM), ("consumer_name", CONSUMER)];
const OF_STREAM: [(&str, &str); 1] = [("stream_name", STREAM)];

/// A stream with seven messages and a consumer that has three of them in hand and settled one.
async fn shop(bus: &Bus) {
    let wanted = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["shop.>".to_owned()],
        max_messages: 50,
        ..stream::Config::default()
    };
    let stream = bus.jetstream().create_stream(wanted).await.unwrap();
    for n in 0..7 {
        let stored = bus.jetstream().publish("shop.order", n.to_string().into()).await.unwrap();
        stored.await.unwrap();
    }
    let wanted = pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        max_ack_pending: 4,
        ack_wait: Duration::from_secs(600),
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(wanted).await.unwrap();
    let mut messages = consumer.fetch().max_messages(4).messages().await.unwrap();
    messages.next().await.unwrap().unwrap().double_ack().await.unwrap();
    // The others stay in hand.
    while messages.next().await.is_some() {}
}

/// Takes one more message and wants it again much later.
async fn refuse_one(stream: &stream::Stream) -> Result<()> {
    let consumer = stream.get_consumer::<pull::Config>(CONSUMER).await;
    let consumer = consumer.map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut messages = consumer.fetch().max_messages(1).messages().await?;
    let message = messages.next().await.context("a place is free")?;
    let message = message.map_err(|error| anyhow::anyhow!("{error}"))?;
    let later = AckKind::Nak(Some(Duration::from_secs(600)));
    message.ack_with(later).await.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Compares every number with what JetStream itself says.
async fn same_as_jetstream(found: &Scrape, bus: &Bus) -> Result<()> {
    let mut stream = bus.jetstream().get_stream(STREAM).await?;
    let state = stream.info().await?.state.clone();
    let info = stream.consumer_info(CONSUMER).await?;
    for (name, expected) in [
        ("nats_stream_total_messages", state.messages),
        ("nats_stream_total_bytes", state.bytes),
        ("nats_stream_first_seq", state.first_sequence),
        ("nats_stream_last_seq", state.last_sequence),
        ("campana_stream_consumers", 1),
        ("campana_stream_max_messages", 50),
        ("campana_stream_replicas", 1),
        ("campana_stream_current_replicas", 1),
    ] {
        let value = found.value(name, &OF_STREAM)?;
        ensure!(value == expected as f64, "{name}: {value} instead of {expected}");
    }
    for (name, expected) in [
        ("nats_consumer_num_pending", info.num_pending),
        ("nats_consumer_num_ack_pending", info.num_ack_pending as u64),
        ("nats_consumer_num_redelivered", info.num_redelivered as u64),
        ("nats_consumer_num_waiting", info.num_waiting as u64),
        ("nats_consumer_delivered_consumer_seq", info.delivered.consumer_sequence),
        ("nats_consumer_delivered_stream_seq", info.delivered.stream_sequence),
        ("nats_consumer_ack_floor_consumer_seq", info.ack_floor.consumer_sequence),
        ("nats_consumer_ack_floor_stream_seq", info.ack_floor.stream_sequence),
        ("campana_consumer_max_ack_pending", 4),
        ("campana_consumer_paused", 0),
    ] {
        let value = found.value(name, &OF_CONSUMER)?;
        ensure!(value == expected as f64, "{name}: {value} instead of {expected}");
    }
    ensure!(info.num_pending == 3 && info.num_ack_pending == 3, "the shop is as it was made");
    Ok(())
}

async fn agrees(metrics: &str, bus: &Bus) {
    eventually("the numbers of JetStream", SOON, async || {
        same_as_jetstream(&scrape(metrics).await?, bus).await.map(Some)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitoring_port_says_what_jetstream_says_and_what_is_deleted_is_gone() {
    let platform = Platform::up(&["--set", "nats.metrics.interval_ms=500"]).await.unwrap();
    let (metrics, bus) = (platform.url("metrics"), platform.bus().await.unwrap());
    shop(&bus).await;
    agrees(&metrics, &bus).await;
    let found = scrape(&metrics).await.unwrap();
    for name in ["nats_varz_in_msgs", "nats_varz_mem", "nats_varz_jetstream_config_max_storage"] {
        assert!(found.value(name, &[("server_name", "campana-embedded")]).unwrap() > 0.0, "{name}");
    }

    let stream = bus.jetstream().get_stream(STREAM).await.unwrap();
    refuse_one(&stream).await.unwrap();
    eventually("the server's word of it", SOON, async || {
        let found = scrape(&metrics).await?;
        let advised = |kind| {
            found.value("campana_nats_advisories_total", &[("stream", STREAM), ("kind", kind)])
        };
        ensure!(advised("terminated")? == 0.0 && advised("stream_quorum_lost")? == 0.0);
        Ok((advised("nak")? == 1.0).then_some(()))
    })
    .await
    .unwrap();
    stream.delete_consumer(CONSUMER).await.unwrap();
    eventually("the end of the consumer's series", SOON, async || {
        let found = scrape(&metrics).await?;
        ensure!(found.value("campana_stream_consumers", &OF_STREAM)? == 0.0, "it is still there");
        Ok((!found.text.contains(&format!("consumer_name=\"{CONSUMER}\""))).then_some(()))
    })
    .await
    .unwrap();
    bus.jetstream().delete_stream(STREAM).await.unwrap();
    eventually("the end of the stream's series", SOON, async || {
        let found = scrape(&metrics).await?;
        ensure!(found.value("campana_nats_collector_up", &[])? == 1.0);
        Ok((!found.text.contains(&format!("stream_name=\"{STREAM}\",stream_leader"))).then_some(()))
    })
    .await
    .unwrap();
    platform.stop(Signal::TERM).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_keepers_one_speaks_and_the_other_follows_it() {
    let nats = NatsServer::start().unwrap();
    let bus = nats.bus_with_topology("test").await.unwrap();
    shop(&bus).await;
    let home = Home::new().unwrap();
    let mut first = keeper::start(&home, "one", "keeper", &nats.url(), &[]).await.unwrap();
    // Without monitoring ports the numbers come from JetStream's API.
    agrees(&first.metrics, &bus).await;
    let second = keeper::start(&home, "two", "keeper", &nats.url(), &[]).await.unwrap();
    let silent = scrape(&second.metrics).await.unwrap();
    assert!(!silent.text.contains("nats_stream_") && !silent.text.contains("collector_up"));
    assert!(scrape(&first.metrics).await.unwrap().value("campana_nats_collector_up", &[]).is_ok());

    first.process.kill();
    agrees(&second.metrics, &bus).await;

    // Who is asked to stop hands over at once.
    let mut third = keeper::start(&home, "three", "keeper", &nats.url(), &[]).await.unwrap();
    let mut second = second.process;
    second.signal(Signal::TERM).unwrap();
    assert!(second.ended(SOON).await.unwrap().success());
    agrees(&third.metrics, &bus).await;
    third.process.must_run().unwrap();
}
