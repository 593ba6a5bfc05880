//! Carrying out decisions: acknowledge, delay, copy, park.
//! Reads: the message in hand. Writes: acknowledgements, scheduled copies, dead letters.
//! Never: acknowledges a message before what replaces it is stored.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;

use super::decide::Decision;
use super::{ConsumerSpec, Failure, Meta};
use crate::clock;
use crate::connect::Bus;
use crate::publish::{Outgoing, PublishError};
use crate::{dlq, headers, subjects, telemetry};

/// Wait before a message is offered again when what replaces it could not be stored.
const STORE_FAILED_PAUSE: Duration = Duration::from_secs(2);

/// A message in hand.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Its body.
    pub payload: Bytes,
    /// What is known about it.
    pub meta: Meta,
    /// Deliveries of this copy, by the server's count.
    pub delivered: u32,
    reply: Subject,
}

/// Settles the messages of one consumer.
#[derive(Clone, Debug)]
pub(super) struct Settler {
    pub bus: Bus,
    pub spec: Arc<ConsumerSpec>,
    stream: Arc<str>,
    consumer: Arc<str>,
}

impl Settler {
    pub fn new(bus: &Bus, spec: &ConsumerSpec) -> Self {
        Self {
            bus: bus.clone(),
            spec: Arc::new(spec.clone()),
            stream: Arc::from(spec.stream.as_str()),
            consumer: Arc::from(spec.durable.as_str()),
        }
    }

    /// Reads the delivery metadata; `None` for something that is no JetStream message.
    pub fn open(&self, message: Message) -> Option<Incoming> {
        let reply = message.reply.clone()?;
        let message =
            async_nats::jetstream::Message { message, context: self.bus.jetstream().clone() };
        let (sequence, delivered, published) = {
            let info = message.info().ok()?;
            (
                info.stream_sequence,
                u32::try_from(info.delivered).unwrap_or(u32::MAX),
                info.published,
            )
        };
        let message = message.message;
        let all = message.headers.unwrap_or_default();
        let base: u32 = headers::get_number(&all, headers::ATTEMPT_BASE).unwrap_or(0);
        let attempt = base.saturating_add(delivered);
        let published_at =
            i64::try_from(published.unix_timestamp_nanos() / 1_000).unwrap_or_default();
        Some(Incoming {
            payload: message.payload,
            delivered,
            reply,
            meta: Meta {
                stream: Arc::clone(&self.stream),
                consumer: Arc::clone(&self.consumer),
                sequence,
                subject: message.subject.to_string(),
                attempt,
                is_last: attempt >= self.spec.max_attempts,
                // A copy that was retried, split off or scheduled is delivered once, but is no first attempt.
                redelivered: attempt > 1 || headers::get(&all, headers::REPEAT).is_some(),
                redrives: headers::get_number(&all, headers::REDRIVE_COUNT).unwrap_or(0),
                message_id: headers::get(&all, "Nats-Msg-Id")
                    .or_else(|| headers::get(&all, headers::ORIGINAL_MESSAGE_ID))
                    .map(str::to_owned),
                trace: headers::trace(&all),
                published_at: clock::Micros(published_at),
                headers: all,
            },
        })
    }

    /// Carries out a decision. `on_dead` runs only for a dead letter, after it is parked.
    pub async fn settle(
        &self,
        message: &Incoming,
        decision: Decision,
        on_dead: impl Future<Output = Result<(), Failure>>,
    ) {
        let result = match decision {
            Decision::Ack => {
                self.answer(message, "+ACK").await;
                "ack"
            }
            Decision::NakAfter(pause) => {
                self.nak(message, pause).await;
                "nak"
            }
            Decision::Schedule { after, attempts } => {
                let key = message.meta.sequence.to_string();
                match self.schedule(message, message.payload.clone(), &key, after, attempts).await {
                    Ok(()) => {
                        self.answer(message, "+ACK").await;
                        "schedule"
                    }
                    Err(error) => self.not_stored(message, "scheduled copy", &error).await,
                }
            }
            Decision::DeadLetter { class, reason, error } => {
                self.park(message, class, &reason, &error, on_dead).await
            }
        };
        telemetry::settled(&self.stream, &self.consumer, result, message.meta.attempt);
    }

    /// Stores a copy that comes back to this consumer after a while. The same key overwrites instead of
    /// doubling, so a crash between the copy and the acknowledgement costs an attempt, never a message.
    pub async fn schedule(
        &self,
        message: &Incoming,
        body: Bytes,
        key: &str,
        after: Duration,
        attempts: u32,
    ) -> Result<(), PublishError> {
        let due = clock::Micros(
            clock::now().0.saturating_add(i64::try_from(after.as_micros()).unwrap_or(i64::MAX / 2)),
        );
        let copy = Outgoing {
            subject: subjects::delay(&self.stream, &self.consumer, key),
            payload: body,
            headers: self.copy_headers(message, attempts),
            message_id: format!(
                "delay-{}-{}-{key}-{attempts}-{}",
                self.stream, self.consumer, message.meta.attempt
            ),
            expect_last_subject_sequence: None,
        }
        .header("Nats-Schedule", &format!("@at {}", due.to_rfc3339()))
        .header("Nats-Schedule-Target", &subjects::retry(&self.stream, &self.consumer, key));
        self.bus.publish(copy).await.map(|_| ())
    }

    /// The headers of a copy of this message that has `attempts` attempts behind it.
    pub fn copy_headers(&self, message: &Incoming, attempts: u32) -> HeaderMap {
        let mut all = headers::without_control(&message.meta.headers);
        headers::set(&mut all, headers::ATTEMPT_BASE, &attempts.to_string());
        if headers::get(&all, headers::ORIGINAL_SUBJECT).is_none() {
            headers::set(&mut all, headers::ORIGINAL_SUBJECT, &message.meta.subject);
        }
        all
    }

    /// Publish, await the acknowledgement, only then terminate: there is no moment in which the message is
    /// neither in its stream nor among the dead letters.
    async fn park(
        &self,
        message: &Incoming,
        class: &'static str,
        reason: &str,
        error: &str,
        on_dead: impl Future<Output = Result<(), Failure>>,
    ) -> &'static str {
        let letter = dlq::letter(&message.meta, message.payload.clone(), class, reason, error);
        match self.bus.publish(letter).await {
            // "Wrong last sequence": it was parked before, by us or by another process.
            Ok(_) | Err(PublishError::WrongLastSequence) => {}
            Err(error) => return self.not_stored(message, "dead letter", &error).await,
        }
        if let Err(failure) = on_dead.await {
            tracing::warn!(
                stream = %self.stream, consumer = %self.consumer, stream.sequence = message.meta.sequence,
                "the handler of dead letters failed, the message stays: {failure:?}"
            );
            self.nak(message, STORE_FAILED_PAUSE).await;
            return "nak";
        }
        telemetry::dead_letter(&self.stream, &self.consumer, class);
        tracing::warn!(
            stream = %self.stream, consumer = %self.consumer, stream.sequence = message.meta.sequence,
            attempt = message.meta.attempt, dead.class = class, dead.reason = reason,
            trace_id = message.meta.trace.map(|trace| trace.trace_id()),
            "message parked as a dead letter"
        );
        self.answer(message, &format!("+TERM bus:{class}")).await;
        "term"
    }

    async fn not_stored(
        &self,
        message: &Incoming,
        what: &str,
        error: &PublishError,
    ) -> &'static str {
        tracing::error!(
            stream = %self.stream, consumer = %self.consumer, stream.sequence = message.meta.sequence,
            "{what} could not be stored, the message stays where it is: {error}"
        );
        self.nak(message, STORE_FAILED_PAUSE).await;
        "nak"
    }

    async fn nak(&self, message: &Incoming, pause: Duration) {
        self.answer(message, &format!("-NAK {{\"delay\": {}}}", pause.as_nanos())).await;
    }

    /// Tells the server that the handler is alive.
    pub async fn progress(&self, message: &Incoming) {
        self.answer(message, "+WPI").await;
    }

    async fn answer(&self, message: &Incoming, text: &str) {
        let answer = Bytes::copy_from_slice(text.as_bytes());
        if let Err(error) = self.bus.client().publish(message.reply.clone(), answer).await {
            // The server offers the message again after `ack_wait`; everything downstream is idempotent.
            tracing::debug!(consumer = %self.consumer, "acknowledgement not sent: {error}");
        }
    }

    /// Runs a handler under its time-out, with heartbeats, and turns a panic into a retry.
    pub async fn guarded<T>(
        &self,
        in_hand: &[&Incoming],
        work: impl Future<Output = T>,
        on_failure: impl FnOnce(Failure) -> T,
    ) -> T {
        use futures::FutureExt;
        let started = clock::monotonic();
        let work =
            std::panic::AssertUnwindSafe(tokio::time::timeout(self.spec.handler_timeout, work))
                .catch_unwind();
        tokio::pin!(work);
        let mut beat = tokio::time::interval(self.spec.ack_wait / 3);
        beat.reset();
        let result = loop {
            tokio::select! {
                biased;
                result = &mut work => break result,
                _ = beat.tick() => for message in in_hand { self.progress(message).await; },
            }
        };
        telemetry::processed(&self.consumer, started.elapsed());
        match result {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => on_failure(Failure::retry("the handler took longer than its time-out")),
            Err(panic) => {
                on_failure(Failure::retry(format!("the handler panicked: {}", panic_text(&*panic))))
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
