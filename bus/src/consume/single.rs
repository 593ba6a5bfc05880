//! One decoded message at a time.
//! Reads and writes: as [`super`]. Never: calls the handler for a message that cannot be decoded.

use std::future::{Future, ready};
use std::marker::PhantomData;
use std::sync::Arc;

use async_nats::Message;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::settle::{Incoming, Settler};
use super::{ConsumeError, ConsumerSpec, Failure, Handler, Meta, decide, pull};
use crate::connect::Bus;
use crate::lifecycle::Lifecycle;

struct Single<T, H> {
    settler: Settler,
    handler: H,
    message: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send + 'static, H: Handler<T>> pull::Sink for Single<T, H> {
    async fn take(self: Arc<Self>, message: Message, _permit: OwnedSemaphorePermit) {
        let Some(message) = self.settler.open(message) else {
            return;
        };
        let spec = &self.settler.spec;
        let decision = match decide::exhausted(message.meta.attempt, spec.max_attempts) {
            Some(parked) => parked,
            None => {
                let result = self.handle(&message).await;
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
        let on_dead = self.handler.on_dead(&message.payload, &message.meta, &reason);
        self.settler.settle(&message, decision, on_dead).await;
    }
}

impl<T: DeserializeOwned + Send + 'static, H: Handler<T>> Single<T, H> {
    async fn handle(&self, message: &Incoming) -> Result<(), Failure> {
        let decoded: T = serde_json::from_slice(&message.payload)
            .map_err(|error| Failure::dead("undecodable", error))?;
        let work = self.handler.handle(decoded, message.meta.clone());
        self.settler.guarded(&[message], work, Err).await
    }
}

pub(super) fn reason_of(decision: &decide::Decision) -> String {
    match decision {
        decide::Decision::DeadLetter { reason, .. } => reason.clone(),
        _ => String::new(),
    }
}

/// Runs a consumer until the soft stop; returns after the messages in hand are settled.
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
    let sink =
        Arc::new(Single { settler: Settler::new(bus, &spec), handler, message: PhantomData });
    let result = pull::run(bus, &spec, sink, &lifecycle).await;
    let _ = bus.client().flush().await;
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
