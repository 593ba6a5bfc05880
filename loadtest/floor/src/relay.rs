//! From the first stream to the second one: what the platform's dispatcher does, without anything to decide.
//! Reads: envelopes of requests. Writes: one message per notification on its user's subject, through the
//! platform's group commit. Never: acknowledges an envelope before all of it is stored; a repeat carries the
//! same message ids and is stored once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use bytes::Bytes;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{GroupPublisher, Outgoing, Part, decode_parts};
use campana_bus::topology::REQUESTS;
use campana_bus::{Bus, subjects};
use futures::StreamExt as _;
use futures::future::join_all;
use tokio::sync::Semaphore;

use crate::http::LANE;
use crate::wire::{self, Stored};

/// Envelopes at work at the same time, as in the platform's dispatcher.
const IN_FLIGHT: usize = 32;
const ACK_WAIT: Duration = Duration::from_secs(6);
const DURABLE: &str = "floor";

/// Starts the task that carries.
pub async fn start(
    bus: &Bus,
    channels: GroupPublisher,
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    let stream = bus.jetstream().get_stream(REQUESTS).await.context("the stream of requests")?;
    let config = pull::Config {
        durable_name: Some(DURABLE.to_owned()),
        filter_subject: subjects::request(LANE),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        ..pull::Config::default()
    };
    let consumer = stream.get_or_create_consumer(DURABLE, config).await?;
    let mut envelopes = consumer.stream().max_messages_per_batch(IN_FLIGHT).messages().await?;
    let work = Arc::new(Semaphore::new(IN_FLIGHT));
    let tasks = lifecycle.clone();
    lifecycle.spawn_essential("relay", async move {
        while let Some(envelope) = envelopes.next().await {
            // A lost pull request is repeated by the client; the stream goes on.
            let Ok(envelope) = envelope else { continue };
            let Ok(permit) = Arc::clone(&work).acquire_owned().await else { break };
            let channels = channels.clone();
            tasks.spawn("envelope", async move {
                if carry(&envelope.payload, &channels).await.is_ok() {
                    // An acknowledgement that is lost brings the envelope back, with the same ids.
                    let _ = envelope.ack().await;
                }
                drop(permit);
            });
        }
        Err("the consumer of requests ended".to_owned())
    });
    Ok(())
}

/// Stores every part of an envelope, for each of its recipients.
async fn carry(payload: &Bytes, channels: &GroupPublisher) -> anyhow::Result<()> {
    let parts = decode_parts(payload).context("not an envelope")?;
    let mut messages = Vec::with_capacity(parts.len());
    for part in &parts {
        fan_out(part, &mut messages)?;
    }
    let stored = messages.into_iter().map(|message| channels.publish(message));
    join_all(stored).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

fn fan_out(part: &Part, messages: &mut Vec<Outgoing>) -> anyhow::Result<()> {
    let stored: Stored<'_> = serde_json::from_slice(&part.body)?;
    let payload = Bytes::from(serde_json::to_vec(&stored.inbox(&part.id))?);
    for (index, user) in stored.users.iter().enumerate() {
        let id = format!("{}-{index}", part.id);
        messages.push(Outgoing::new(wire::subject(user)?, id, payload.clone()));
    }
    Ok(())
}
