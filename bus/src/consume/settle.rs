//! Carrying out decisions: acknowledge, delay, copy, park.
//! Reads: the message in hand. Writes: acknowledgements, scheduled copies, dead letters.
//! Never: acknowledges a message before what replaces it is stored.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use futures::FutureExt;
use tracing::{Instrument as _, Span};

use super::decide::Decision;
use super::failures::FirstFailures;
use super::reply::{self, Delivered};
use super::{ConsumerSpec, Failure, Meta};
use crate::clock;
use crate::connect::Bus;
use crate::publish::{Outgoing, PublishError};
use crate::telemetry::ConsumerMeter;
use crate::trace::TraceParent;
use crate::{dlq, headers, observe, subjects, telemetry};

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
    /// From its arrival to its settlement.
    pub span: Span,
    arrived: Instant,
    /// Why its handling failed last, for the log.
    failure: Mutex<Option<Failure>>,
    reply: Subject,
}

impl Incoming {
    /// Keeps what the handler said for the line that is written at settlement.
    pub fn note(&self, result: &Result<(), Failure>) {
        if let Err(failure) = result {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.clone());
        }
    }
}

#[cfg(test)]
impl Incoming {
    /// A message that no server knows.
    pub fn for_test(payload: Bytes, meta: Meta) -> Self {
        Self {
            payload,
            meta,
            delivered: 1,
            span: Span::none(),
            arrived: clock::monotonic(),
            failure: Mutex::new(None),
            reply: Subject::from("nowhere"),
        }
    }
}

/// Settles the messages of one consumer.
#[derive(Clone, Debug)]
pub(super) struct Settler {
    pub bus: Bus,
    pub spec: Arc<ConsumerSpec>,
    stream: Arc<str>,
    consumer: Arc<str>,
    meter: ConsumerMeter,
    parking: dlq::Parking,
    failures: FirstFailures,
}

impl Settler {
    pub fn new(bus: &Bus, spec: &ConsumerSpec) -> Self {
        let (stream, consumer) =
            (Arc::from(spec.stream.as_str()), Arc::from(spec.durable.as_str()));
        Self {
            bus: bus.clone(),
            spec: Arc::new(spec.clone()),
            parking: dlq::Parking::new(&stream, &consumer),
            failures: FirstFailures::default(),
            stream,
            consumer,
            meter: ConsumerMeter::new(
                &spec.stream,
                &spec.durable,
                spec.filters.first().map_or("", String::as_str),
            ),
        }
    }

    /// Reads the delivery metadata; `None` for something that is no JetStream message.
    pub fn open(&self, message: Message) -> Option<Incoming> {
        let reply = message.reply.clone()?;
        let Delivered { sequence, delivered, published_at } = reply::parse(&reply)?;
        let all = message.headers.unwrap_or_default();
        let base: u32 = headers::get_number(&all, headers::ATTEMPT_BASE).unwrap_or(0);
        let attempt = base.saturating_add(delivered);
        self.meter.consumed();
        if attempt == 1 {
            crate::schedule::measure(&all, published_at, &self.consumer);
        }
        let mut meta = Meta {
            stream: Arc::clone(&self.stream),
            consumer: Arc::clone(&self.consumer),
            sequence,
            subject: message.subject.to_string(),
            attempt,
            is_last: attempt >= self.spec.max_attempts,
            // A copy that was retried, split off or scheduled is delivered once, but is no first attempt.
            redelivered: attempt > 1 || headers::get(&all, headers::REPEAT).is_some(),
            redrives: headers::get_number(&all, headers::REDRIVE_COUNT).unwrap_or(0),
            message_id: headers::message_id(&all),
            trace: headers::trace(&all),
            published_at,
            headers: Arc::new(all),
        };
        let span = observe::processing(&mut meta, message.payload.len());
        Some(Incoming {
            payload: message.payload,
            delivered,
            span,
            arrived: clock::monotonic(),
            failure: Mutex::new(None),
            reply,
            meta,
        })
    }

    /// Carries out a decision; returns what was told to the server. `on_dead` runs only for a dead letter,
    /// after it is parked.
    pub async fn settle(
        &self,
        message: &Incoming,
        decision: Decision,
        on_dead: impl Future<Output = Result<(), Failure>>,
    ) -> &'static str {
        let work = self.carry_out(message, decision, on_dead);
        observe::within(message.span.clone(), message.meta.trace, work).await
    }

    async fn carry_out(
        &self,
        message: &Incoming,
        decision: Decision,
        on_dead: impl Future<Output = Result<(), Failure>>,
    ) -> &'static str {
        let dead = match &decision {
            Decision::DeadLetter { class, reason, error } => {
                Some((*class, reason.clone(), error.clone()))
            }
            _ => None,
        };
        let result = match decision {
            Decision::Ack => {
                self.failures.forget(message.meta.sequence);
                let (sent, at) = self.answer_timed(message, "+ACK").await;
                return self.settled(message, if sent { "ack" } else { "ack_lost" }, None, at);
            }
            Decision::NakAfter(pause) => {
                self.failures.note(message.meta.sequence, clock::now());
                self.nak(message, pause).await.then_some("nak")
            }
            Decision::Schedule { after, attempts } => {
                let key = message.meta.sequence.to_string();
                let body = message.payload.clone();
                // The rare paths are large, and the task of every message has room for what it may become.
                match Box::pin(self.schedule(message, body, &key, after, attempts)).await {
                    Ok(()) => self.answer(message, "+ACK").await.then_some("schedule"),
                    Err(error) => self.not_stored(message, "scheduled copy", &error).await,
                }
            }
            Decision::DeadLetter { class, reason, error } => {
                Box::pin(self.park(message, class, &reason, &error, on_dead)).await
            }
        };
        self.settled(message, result.unwrap_or("ack_lost"), dead, clock::monotonic())
    }

    /// The metrics, the end of the span and the one log line of a settled message.
    fn settled(
        &self,
        message: &Incoming,
        result: &'static str,
        dead: Option<(&'static str, String, String)>,
        at: Instant,
    ) -> &'static str {
        self.meter.settled(result, message.meta.attempt);
        let noted = message.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (class, reason, error) = match (result, dead, noted) {
            ("ack", ..) => ("", String::new(), String::new()),
            ("nak", Some((_, reason, error)), _) => ("not_stored", reason, error),
            (_, Some(dead), _) => dead,
            (_, None, Some(Failure::Retry { error, .. } | Failure::Dead { error, .. })) => {
                ("retry", String::new(), error)
            }
            (_, None, Some(Failure::Defer { why, .. })) => ("defer", String::new(), why),
            (_, None, None) => ("not_stored", String::new(), String::new()),
        };
        let took = at.saturating_duration_since(message.arrived);
        let line = observe::Settled { result, class, reason: &reason, error: &error, took };
        observe::settled(&message.span, &message.meta, &line);
        result
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
        // A deferral leaves the attempt out of the count; nothing failed then.
        if attempts >= message.meta.attempt && headers::get(&all, headers::FIRST_FAILURE).is_none()
        {
            let first = self.failures.note(message.meta.sequence, clock::now());
            headers::set(&mut all, headers::FIRST_FAILURE, &first.to_rfc3339());
        }
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
    ) -> Option<&'static str> {
        let meta = &message.meta;
        let failed = dlq::Failed {
            first_failure: self.failures.end(meta.sequence, meta.attempt, clock::now()),
            ..dlq::Failed::of_delivery(meta, message.payload.clone(), class, reason, error)
        };
        // Full or unreachable dead letters: the message stays, and is offered again after a growing pause.
        let parking = self.parking.park(&self.bus, &failed);
        if let Err(pause) = self.beating(message, parking).await {
            return self.nak(message, pause).await.then_some("nak");
        }
        let followed = std::panic::AssertUnwindSafe(on_dead).catch_unwind().await;
        let followed = followed
            .unwrap_or_else(|_| Err(Failure::retry("the handler of dead letters panicked")));
        if let Err(failure) = followed {
            tracing::warn!(
                stream = %self.stream, consumer = %self.consumer, stream.sequence = message.meta.sequence,
                "the handler of dead letters failed, the message stays: {}", observe::bounded(&format!("{failure:?}"))
            );
            return self.nak(message, STORE_FAILED_PAUSE).await.then_some("nak");
        }
        telemetry::dead_letter(&self.stream, &self.consumer, class);
        self.answer(message, format!("+TERM bus:{class}")).await.then_some("term")
    }

    async fn not_stored(
        &self,
        message: &Incoming,
        what: &str,
        error: &PublishError,
    ) -> Option<&'static str> {
        tracing::error!(
            stream = %self.stream, consumer = %self.consumer, stream.sequence = message.meta.sequence,
            "{what} could not be stored, the message stays where it is: {error}"
        );
        self.nak(message, STORE_FAILED_PAUSE).await.then_some("nak")
    }

    /// Gives the message back; the server offers it again after the pause.
    pub async fn nak(&self, message: &Incoming, pause: Duration) -> bool {
        self.answer(message, format!("-NAK {{\"delay\": {}}}", pause.as_nanos())).await
    }

    /// Tells the server that the handler is alive.
    pub async fn progress(&self, message: &Incoming) {
        self.answer(message, "+WPI").await;
    }

    /// Keeps the message while something else than its handler takes time.
    async fn beating<T>(&self, message: &Incoming, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut beat = tokio::time::interval(self.spec.ack_wait / 3);
        beat.reset();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = beat.tick() => self.progress(message).await,
            }
        }
    }

    /// Sends an answer to the server and says whether it is on its way; a lost one is made good by the
    /// redelivery.
    pub async fn answer(&self, message: &Incoming, answer: impl Into<Bytes>) -> bool {
        self.answer_timed(message, answer).await.0
    }

    /// The same, and says when, which saves reading the clock once more for every message.
    async fn answer_timed(&self, message: &Incoming, answer: impl Into<Bytes>) -> (bool, Instant) {
        let answer = answer.into();
        let operation = match &answer[..] {
            [b'+', b'A', ..] => "ack",
            [b'-', ..] => "nak",
            [b'+', b'T', ..] => "term",
            _ => "",
        };
        let started = clock::monotonic();
        let span = if operation.is_empty() {
            Span::none()
        } else {
            observe::answering(&message.span, operation, &message.meta)
        };
        let sending = self.bus.client().publish(message.reply.clone(), answer);
        let sent = sending.instrument(span.clone()).await;
        if sent.is_err() {
            observe::failed(&span, "closed");
        }
        let ended = clock::monotonic();
        self.meter.answered(operation, sent.is_ok(), ended.saturating_duration_since(started));
        if let Err(error) = &sent {
            // The server offers the message again after `ack_wait`; everything downstream is idempotent.
            tracing::debug!(consumer = %self.consumer, "acknowledgement not sent: {error}");
        }
        (sent.is_ok(), ended)
    }

    /// Runs a handler under its time-out, with heartbeats, and turns a panic into a retry.
    pub async fn guarded<T>(
        &self,
        in_hand: &[&Incoming],
        work: impl Future<Output = T>,
        on_failure: impl FnOnce(Failure) -> T,
    ) -> T {
        let started = clock::monotonic();
        let (span, trace) = around(in_hand);
        let work = observe::within(span.clone(), trace, work);
        let work = std::panic::AssertUnwindSafe(work).catch_unwind();
        tokio::pin!(work);
        // Made when the handler has to wait: most are done before a timer pays.
        let mut watch = None;
        let result = poll_fn(|context| {
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            let watch = watch.get_or_insert_with(|| Box::pin(self.watch(in_hand, started)));
            watch.as_mut().poll(context).map(|()| None)
        })
        .await;
        let end = match &result {
            Some(Ok(_)) => "",
            None => "timeout",
            Some(Err(_)) => "panic",
        };
        self.meter.processed(end, started.elapsed());
        if !end.is_empty() {
            observe::failed(&span, end);
        }
        match result {
            Some(Ok(done)) => done,
            None => on_failure(Failure::retry("the handler took longer than its time-out")),
            Some(Err(panic)) => {
                on_failure(Failure::retry(format!("the handler panicked: {}", panic_text(&*panic))))
            }
        }
    }

    /// Sends heartbeats until a handler that began at `started` has had its time.
    async fn watch(&self, in_hand: &[&Incoming], started: Instant) {
        let (passed, period) = (started.elapsed(), self.spec.ack_wait / 3);
        let end = tokio::time::sleep(self.spec.handler_timeout.saturating_sub(passed));
        tokio::pin!(end);
        let mut beat = tokio::time::interval(period);
        beat.reset_after(period.saturating_sub(passed));
        loop {
            tokio::select! {
                biased;
                () = &mut end => return,
                _ = beat.tick() => for message in in_hand { self.progress(message).await; },
            }
        }
    }
}

/// What a handler's call happens in: the message's own span, or one over all messages of a batch.
fn around(in_hand: &[&Incoming]) -> (Span, Option<TraceParent>) {
    match in_hand {
        [] => (Span::none(), None),
        [one] => (one.span.clone(), one.meta.trace),
        [first, ..] => {
            let traces = in_hand.iter().map(|message| message.meta.trace.as_ref());
            let span = observe::processing_batch(&first.meta, traces);
            let trace = observe::context_of(&span);
            (span, trace)
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
