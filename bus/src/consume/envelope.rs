//! Envelopes: many requests in one message, with attempts, retries and dead letters of their own.
//! Reads and writes: as [`super`]. Never: lets one part decide over its neighbours.
//!
//! An envelope of several that is delivered a second time may have killed a process, so it is split into
//! envelopes of one before anybody looks inside: the poison isolates itself. A part that fails while its
//! neighbours succeed leaves as an envelope of one, too.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use futures::FutureExt;
use futures::future::join_all;

use super::decide::Decision;
use super::settle::{Incoming, Settler};
use super::single::reason_of;
use super::{
    ConsumeError, ConsumerSpec, Delivery, EnvelopeHandler, Failure, Meta, decide, pull,
    refuse_order,
};
use crate::connect::Bus;
use crate::lifecycle::Lifecycle;
use crate::publish::{Outgoing, Part, PublishError, decode_parts, encode_parts};
use crate::{headers, observe, subjects};

struct Envelopes<H> {
    settler: Settler,
    handler: H,
}

impl<H: EnvelopeHandler> pull::Sink for Envelopes<H> {
    type Arrived = Message;

    fn arrive(self: &Arc<Self>, message: Message) -> Message {
        message
    }

    async fn take(self: Arc<Self>, message: Message, _place: pull::Place) {
        let Some(message) = self.settler.open(message) else {
            return;
        };
        match decode_parts(&message.payload) {
            Some(parts) if parts.len() > 1 && message.delivered > 1 => {
                self.split(&message, &parts).await
            }
            Some(parts) if parts.len() > 1 => self.many(&message, parts).await,
            parts => {
                let part = parts.and_then(|mut parts| parts.pop());
                self.one(&traced(message, part.as_ref()), part).await;
            }
        }
    }
}

impl<H: EnvelopeHandler> Envelopes<H> {
    /// An envelope of one: attempts and dead letters as for any message.
    async fn one(&self, message: &Incoming, part: Option<Part>) {
        let spec = &self.settler.spec;
        let body = part.as_ref().map_or_else(|| message.payload.clone(), |part| part.body.clone());
        let decision = match decide::exhausted(message.meta.attempt, spec.max_attempts) {
            Some(parked) => parked,
            None => {
                let result = match part {
                    None => Err(Failure::dead("undecodable", "not an envelope of requests")),
                    Some(part) => {
                        self.handle(message, vec![part]).await.pop().unwrap_or_else(missing)
                    }
                };
                message.note(&result);
                decide::after(
                    &result,
                    message.meta.attempt,
                    spec.max_attempts,
                    &spec.backoff,
                    rand::random(),
                )
            }
        };
        let reason = reason_of(&decision);
        let on_dead = self.handler.on_dead(&body, &message.meta, &reason);
        self.settler.settle(message, decision, on_dead).await;
    }

    /// An envelope of several, for the first time: those that fail leave as envelopes of one.
    async fn many(&self, message: &Incoming, parts: Vec<Part>) {
        let results = self.handle(message, parts.clone()).await;
        let spec = &self.settler.spec;
        let attempt = message.meta.attempt;
        let leaving = parts.iter().enumerate().filter_map(|(index, part)| {
            let result = results.get(index).cloned().unwrap_or_else(missing);
            let (after, attempts) = match decide::after(
                &result,
                attempt,
                spec.max_attempts,
                &spec.backoff,
                rand::random(),
            ) {
                Decision::Ack => return None,
                Decision::NakAfter(pause) => (pause, attempt),
                Decision::Schedule { after, attempts } => (after, attempts),
                // Parked under a sequence of its own, after one more look.
                Decision::DeadLetter { .. } => (Duration::ZERO, attempt.saturating_sub(1)),
            };
            Some(self.leave(message, index, part, after, attempts))
        });
        let stored = join_all(leaving).await.into_iter().collect::<Result<Vec<()>, PublishError>>();
        self.finish(message, stored.map(|_| ())).await;
    }

    /// An envelope of several that was seen before: nobody looks inside.
    async fn split(&self, message: &Incoming, parts: &[Part]) {
        let attempts = message.meta.attempt.saturating_sub(1);
        let leaving = parts
            .iter()
            .enumerate()
            .map(|(index, part)| self.leave(message, index, part, Duration::ZERO, attempts));
        let stored = join_all(leaving).await.into_iter().collect::<Result<Vec<()>, PublishError>>();
        self.finish(message, stored.map(|_| ())).await;
    }

    /// Publishes one part as an envelope of one, seen by this consumer only.
    async fn leave(
        &self,
        message: &Incoming,
        index: usize,
        part: &Part,
        after: Duration,
        attempts: u32,
    ) -> Result<(), PublishError> {
        let key = format!("{}-{index}", message.meta.sequence);
        let body = encode_parts(std::slice::from_ref(part));
        if !after.is_zero() {
            return self.settler.schedule(message, body, &key, after, attempts).await;
        }
        let meta = &message.meta;
        let alone = Outgoing {
            subject: subjects::retry(&meta.stream, &meta.consumer, &key),
            payload: body,
            headers: self.settler.copy_headers(message, attempts),
            message_id: format!("split-{}-{}-{key}", meta.stream, meta.consumer),
            expect_last_subject_sequence: None,
        }
        .header(headers::ENVELOPE_PARTS, "1");
        let alone = match part.trace {
            Some(trace) => alone.header(headers::TRACEPARENT, &trace.to_string()),
            None => alone,
        };
        self.settler.bus.publish(alone).await.map(|_| ())
    }

    async fn finish(&self, message: &Incoming, stored: Result<(), PublishError>) {
        let decision = match stored {
            Ok(()) => Decision::Ack,
            Err(error) => {
                tracing::error!(
                    stream.sequence = message.meta.sequence,
                    "parts of an envelope could not be stored: {error}"
                );
                Decision::NakAfter(Duration::from_secs(2))
            }
        };
        self.settler.settle(message, decision, std::future::ready(Ok(()))).await;
    }

    async fn handle(&self, message: &Incoming, parts: Vec<Part>) -> Vec<Result<(), Failure>> {
        let count = parts.len();
        let several = count > 1;
        if several {
            observe::link_all(&message.span, parts.iter().map(|part| part.trace));
        }
        let (spans, parts): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .map(|part| {
                let (part, mut meta) = with_meta(part, message);
                if !several {
                    return (tracing::Span::none(), (part, meta));
                }
                let (span, trace) = observe::processing_part(
                    &meta,
                    &message.span,
                    &part.id,
                    part.body.len(),
                    meta.trace,
                );
                meta.trace = trace;
                (span, (part, meta))
            })
            .unzip();
        let deliveries = parts
            .iter()
            .map(|(part, meta)| Delivery { payload: part.body.clone(), meta: meta.clone() })
            .collect();
        let work = self.settler.spec.middleware.around_many(deliveries, |given| {
            let given = given.into_iter().map(|(index, delivery)| {
                (Part { body: delivery.payload, ..parts[index].0.clone() }, delivery.meta)
            });
            self.handler.handle(given.collect())
        });
        let work = work.map(|outcomes| outcomes.into_iter().map(|one| one.result).collect());
        let results =
            self.settler.guarded(&[message], work, |failure| vec![Err(failure); count]).await;
        for (span, result) in spans.iter().zip(&results) {
            observe::handled(span, result);
        }
        results
    }
}

/// A part alone has the message to itself: what is parked or copied then carries the part's own trace.
fn traced(mut message: Incoming, part: Option<&Part>) -> Incoming {
    if let Some(trace) = part.and_then(|part| part.trace).filter(|_| message.meta.trace.is_none()) {
        let all = Arc::make_mut(&mut message.meta.headers);
        headers::set(all, headers::TRACEPARENT, &trace.to_string());
        message.meta.trace = Some(trace);
    }
    message
}

fn with_meta(part: Part, message: &Incoming) -> (Part, Meta) {
    // A part alone is handled in the span of its message, which is a later hop of the same trace.
    let trace = match (part.trace, message.meta.trace) {
        (Some(own), whole) => Some(own.continued(whole)),
        (None, whole) => whole,
    };
    (part, Meta { trace, ..message.meta.clone() })
}

/// A handler that answered too few results: the rest is tried again.
fn missing() -> Result<(), Failure> {
    Err(Failure::retry("the handler gave no result for this part"))
}

/// Runs a consumer of envelopes until the soft stop; returns after the messages in hand are settled. Layers
/// run around each part; what comes through them is handled together.
///
/// # Errors
/// If the consumer cannot be created, or should keep an order, which envelopes do not.
pub async fn run_envelopes(
    bus: &Bus,
    spec: ConsumerSpec,
    handler: impl EnvelopeHandler,
    lifecycle: Lifecycle,
) -> Result<(), ConsumeError> {
    refuse_order(&spec, "envelopes")?;
    let sink = Arc::new(Envelopes { settler: Settler::new(bus, &spec), handler });
    let result = pull::run(bus, &spec, sink, &lifecycle).await;
    super::flush_acknowledgements(bus).await;
    result
}
