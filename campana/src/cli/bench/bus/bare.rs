//! The side without the library: what async-nats documents, with the same places and acknowledgements.
//! Reads and writes: the private server. Never: skips an acknowledgement or a message id.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::message::PublishMessage;
use campana_bus::clock;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::topology::EVENTS;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::library::Meter;
use super::{Bench, MEASUREMENT_MAX, Order};

/// A consumer with the library's settings.
async fn consumer(
    bench: &Bench,
    durable: String,
    side: &str,
) -> anyhow::Result<Consumer<pull::Config>> {
    let config = pull::Config {
        durable_name: Some(durable),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(30),
        filter_subject: Bench::subject(side),
        max_ack_pending: i64::try_from(bench.arguments.in_flight * 4)?.max(1_000),
        ..pull::Config::default()
    };
    Ok(bench.bare.create_consumer_on_stream(config, EVENTS).await?)
}

/// Messages per second, from the first handler to the last.
pub(super) async fn consume(bench: &Bench, round: usize) -> anyhow::Result<f64> {
    let consumer = consumer(bench, format!("bare-{round}"), "load").await?;
    let meter = Arc::new(Meter::new(bench.arguments.messages));
    let in_flight = bench.arguments.in_flight;
    let messages = consumer.stream().max_messages_per_batch(in_flight).messages().await?;
    let work = messages.for_each_concurrent(in_flight, |message| {
        let meter = &meter;
        async move {
            let Ok(message) = message else { return };
            if let Ok(order) = serde_json::from_slice::<Order>(&message.payload) {
                black_box(order);
                meter.count();
            }
            let _ = message.ack().await;
        }
    });
    let rate = tokio::select! {
        () = work => anyhow::bail!("the bare loop ended"),
        rate = tokio::time::timeout(MEASUREMENT_MAX, meter.done()) => rate?,
    };
    bench.bare.delete_consumer_from_stream(format!("bare-{round}"), EVENTS).await?;
    Ok(rate)
}

pub(super) async fn publish(bench: &Bench, id: String, round: usize) -> anyhow::Result<()> {
    let message =
        PublishMessage::build().payload(bench.body(0)?).message_id(format!("bare-{round}-{id}"));
    bench.bare.send_publish(Bench::subject("load"), message).await?.await?;
    Ok(())
}

/// Tells when each message reached its handler.
pub(super) async fn start_pings(
    bench: &Bench,
    arrived: mpsc::UnboundedSender<Instant>,
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    let consumer = consumer(bench, "bare-pings".to_owned(), "bare-ping").await?;
    let mut messages =
        consumer.stream().max_messages_per_batch(bench.arguments.in_flight).messages().await?;
    let soft = lifecycle.soft.clone();
    lifecycle.spawn("bare pings", async move {
        loop {
            let message = tokio::select! {
                () = soft.cancelled() => return,
                message = messages.next() => message,
            };
            let Some(Ok(message)) = message else { return };
            if serde_json::from_slice::<Order>(&message.payload).is_ok() {
                let _ = arrived.send(clock::monotonic());
            }
            let _ = message.ack().await;
        }
    });
    Ok(())
}

pub(super) async fn ping(bench: &Bench, id: String) -> anyhow::Result<()> {
    let message = PublishMessage::build().payload(bench.body(0)?).message_id(id);
    bench.bare.send_publish(Bench::subject("bare-ping"), message).await?.await?;
    Ok(())
}
