//! One atomic batch (NATS ADR-50) by hand; the client has no helper for it.
//! Reads: nothing. Writes: JetStream. Never: reports a part of a batch as stored.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Outgoing, PublishError, ack, not_sent, send_with};
use crate::connect::Bus;
use crate::headers;
use crate::ids::NodeId;

/// A batch is open on the stream by its id, whoever carries on with it, so ids must be unguessable.
static NONCE: LazyLock<String> = LazyLock::new(|| NodeId::fresh().to_string());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Stores all messages or none. Returns the sequence of the last; the batch is consecutive.
pub(super) async fn publish(bus: &Bus, messages: &[&Outgoing]) -> Result<u64, PublishError> {
    let Some((last, before)) = messages.split_last() else {
        return Err(PublishError::Unavailable("an empty batch".to_owned()));
    };
    let id = format!("{}-{}", *NONCE, NEXT.fetch_add(1, Ordering::Relaxed));
    // Without a connection the client's queue fills up, and sending waits.
    tokio::time::timeout(bus.ack_timeout(), send_before(bus, before, &id)).await.map_err(
        |_| PublishError::Unavailable("the batch could not be sent in time".to_owned()),
    )??;
    let mut headers = batch_headers(last, &id, messages.len());
    headers::set(&mut headers, "Nats-Batch-Commit", "1");
    let answer = send_with(bus, last, headers).await?.answer().await.map_err(not_sent)?;
    let ack = ack::read(&answer.payload)?;
    if ack.batch_size != Some(messages.len() as u64) {
        return Err(PublishError::Unavailable(format!(
            "the stream acknowledged {:?} of {} messages",
            ack.batch_size,
            messages.len()
        )));
    }
    Ok(ack.sequence)
}

/// Everything but the last message of a batch; the server answers to the last only.
async fn send_before(bus: &Bus, messages: &[&Outgoing], id: &str) -> Result<(), PublishError> {
    for (index, message) in messages.iter().enumerate() {
        let headers = batch_headers(message, id, index + 1);
        bus.client()
            .publish_with_headers(message.subject.clone(), headers, message.payload.clone())
            .await
            .map_err(|error| PublishError::Unavailable(error.to_string()))?;
    }
    Ok(())
}

fn batch_headers(message: &Outgoing, id: &str, sequence: usize) -> async_nats::HeaderMap {
    let mut all = message.wire_headers();
    headers::set(&mut all, "Nats-Batch-Id", id);
    headers::set(&mut all, "Nats-Batch-Sequence", &sequence.to_string());
    all
}
