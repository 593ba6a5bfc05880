//! One decoded message at a time.
//! Reads and writes: as [`super`]. Never: calls the handler for a message that cannot be decoded.

use std::future::{Future, ready};
use std::marker::PhantomData;
use std::sync::Arc;

use async_nats::Message;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::decide::{self, Decision};
use super::lanes::{Arrival, Lanes};
use super::pins::REQUESTS_EACH;
use super::settle::{Incoming, Settler};
use super::{ConsumeError, ConsumerSpec, Delivery, Failure, Handler, Meta, Ordering, pull};
use crate::connect::Bus;
use crate::lifecycle::Lifecycle;

pub(super) struct Single<T, H> {
    pub(super) settler: Settler,
    /// Tells those that wait between two attempts to give their message back.
    pub(super) soft: CancellationToken,
    handler: H,
    /// Turns, for a consumer that keeps order.
    lanes: Option<Arc<Lanes>>,
    /// What the handler is given, made of a body.
    decode: fn(Bytes) -> Result<T, Failure>,
}

/// A message with its turn, if there are turns.
pub(super) enum Arrived {
    Unordered(Message),
    InTurn(Box<Incoming>, Arrival),
    /// No message of JetStream.
    Foreign,
}

impl<T: Send + 'static, H: Handler<T>> pull::Sink for Single<T, H> {
    type Arrived = Arrived;

    fn arrive(self: &Arc<Self>, message: Message) -> Arrived {
        let Some(lanes) = &self.lanes else {
            return Arrived::Unordered(message);
        };
        self.settler.open(message).map_or(Arrived::Foreign, |message| {
            let arrival = lanes.arrive(&message);
            Arrived::InTurn(Box::new(message), arrival)
        })
    }

    async fn take(self: Arc<Self>, arrived: Arrived, _place: pull::Place) {
        match arrived {
            Arrived::Unordered(message) => {
                if let Some(message) = self.settler.open(message) {
                    self.at_once(&message).await;
                }
            }
            Arrived::InTurn(message, Arrival::Turn(turn)) => {
                Box::pin(self.in_turn(*message, turn)).await;
            }
            Arrived::InTurn(message, Arrival::Settled) => {
                self.settler.answer(&message, "+ACK").await;
            }
            Arrived::InTurn(_, Arrival::Copy) | Arrived::Foreign => {}
        }
    }
}

impl<T: Send + 'static, H: Handler<T>> Single<T, H> {
    /// One attempt; what fails comes back from the server.
    async fn at_once(&self, message: &Incoming) {
        let spec = &self.settler.spec;
        let decision = match decide::exhausted(message.meta.attempt, spec.max_attempts) {
            Some(parked) => parked,
            None => {
                let result = self.handle(message).await;
                decide::after(
                    &result,
                    message.meta.attempt,
                    spec.max_attempts,
                    &spec.backoff,
                    rand::random(),
                )
            }
        };
        self.settle(message, decision).await;
    }

    pub(super) async fn settle(&self, message: &Incoming, decision: Decision) -> &'static str {
        let reason = reason_of(&decision);
        let on_dead = self.handler.on_dead(&message.payload, &message.meta, &reason);
        self.settler.settle(message, decision, on_dead).await
    }

    pub(super) async fn handle(&self, message: &Incoming) -> Result<(), Failure> {
        let delivery = Delivery { payload: message.payload.clone(), meta: message.meta.clone() };
        let work = self.settler.spec.middleware.around(delivery, |delivery| async move {
            let decoded = (self.decode)(delivery.payload)?;
            self.handler.handle(decoded, delivery.meta).await
        });
        // On the heap before it is wrapped: every wrapping would move it, and make room for it once more.
        let work = Box::pin(work);
        let result = self.settler.guarded(&[message], work, Err).await;
        message.note(&result);
        result
    }
}

fn from_json<T: DeserializeOwned>(body: Bytes) -> Result<T, Failure> {
    serde_json::from_slice(&body).map_err(|error| Failure::dead("undecodable", error))
}

pub(super) fn reason_of(decision: &Decision) -> String {
    match decision {
        Decision::DeadLetter { reason, .. } => reason.clone(),
        _ => String::new(),
    }
}

/// Runs a consumer of JSON messages until the soft stop; returns after the messages in hand are settled. A
/// body that is no `T` is parked as `undecodable` at once.
///
/// # Errors
/// If the consumer cannot be created.
pub async fn run<T>(
    bus: &Bus,
    spec: ConsumerSpec,
    handler: impl Handler<T>,
    lifecycle: Lifecycle,
) -> Result<(), ConsumeError>
where
    T: DeserializeOwned + Send + 'static,
{
    run_with(bus, spec, handler, from_json::<T>, lifecycle).await
}

/// Runs a consumer of bodies as they are, whatever is in them; otherwise as [`run`].
///
/// # Errors
/// If the consumer cannot be created.
pub async fn run_raw(
    bus: &Bus,
    spec: ConsumerSpec,
    handler: impl Handler<Bytes>,
    lifecycle: Lifecycle,
) -> Result<(), ConsumeError> {
    run_with(bus, spec, handler, Ok, lifecycle).await
}

async fn run_with<T: Send + 'static>(
    bus: &Bus,
    mut spec: ConsumerSpec,
    handler: impl Handler<T>,
    decode: fn(Bytes) -> Result<T, Failure>,
    lifecycle: Lifecycle,
) -> Result<(), ConsumeError> {
    if spec.ordering == Ordering::Strict {
        // One at work, one asked for: the server sends the second when it knows the end of the first.
        spec.max_in_flight = REQUESTS_EACH;
    }
    let sink = Arc::new(Single {
        settler: Settler::new(bus, &spec),
        soft: lifecycle.soft.clone(),
        handler,
        lanes: Lanes::new(spec.ordering, spec.order_by.clone()),
        decode,
    });
    let result = pull::run(bus, &spec, sink, &lifecycle).await;
    super::flush_acknowledgements(bus).await;
    result
}

/// A handler made of a function, for consumers that need no state of their own.
pub fn from_fn<T, F, R>(function: F) -> impl Handler<T>
where
    T: Send + 'static,
    F: Fn(T, Meta) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Failure>> + Send,
{
    FromFn(function, PhantomData)
}

struct FromFn<T, F>(F, PhantomData<fn(T)>);

impl<T, F, R> Handler<T> for FromFn<T, F>
where
    T: Send + 'static,
    F: Fn(T, Meta) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Failure>> + Send,
{
    fn handle(&self, message: T, meta: Meta) -> impl Future<Output = Result<(), Failure>> + Send {
        (self.0)(message, meta)
    }

    fn on_dead(
        &self,
        _: &Bytes,
        _: &Meta,
        _: &str,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        ready(Ok(()))
    }
}
