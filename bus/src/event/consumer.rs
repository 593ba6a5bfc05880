//! The consumer that service authors configure and run.
//! Reads and writes: as [`crate::consume`]. Never: starts before it is run.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Event;
use crate::connect::Bus;
use crate::consume::{
    self, Backoff, BatchHandler, BatchOptions, ConsumeError, ConsumerSpec, Delivery, Failure,
    KeyOf, Meta, Middleware, Ordering, RateLimit,
};
use crate::lifecycle::Lifecycle;
use crate::{clock, contract};

/// A consumer to be configured and run.
#[must_use = "a consumer does nothing until it is run"]
#[derive(Debug)]
pub struct Consumer<'a, E> {
    bus: &'a Bus,
    spec: ConsumerSpec,
    /// Durable name and filters of each partition; empty for a stream without partitions.
    partitions: Vec<(String, Vec<String>)>,
    event: PhantomData<fn() -> E>,
}

/// How the consumer behaves.
impl<'a, E> Consumer<'a, E> {
    pub(crate) fn new(bus: &'a Bus, spec: ConsumerSpec) -> Self {
        Self { bus, spec, partitions: Vec::new(), event: PhantomData }
    }

    pub(crate) fn partitioned(
        bus: &'a Bus,
        mut spec: ConsumerSpec,
        partitions: Vec<(String, Vec<String>)>,
    ) -> Self {
        spec.ordering = Ordering::Strict;
        Self { bus, spec, partitions, event: PhantomData }
    }

    /// Handlers at work at the same time (64 if not set). With [`Consumer::ordered_by_key`] it is the number
    /// of messages in hand, those that wait for their turn included. A partition always handles one.
    pub fn max_in_flight(mut self, messages: usize) -> Self {
        self.spec.max_in_flight = messages.max(1);
        self
    }

    /// Attempts before a message is parked as a dead letter (5 if not set).
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.spec.max_attempts = attempts.max(1);
        self
    }

    /// How long one call of the handler, with the layers around it, may take (120 s if not set).
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.spec.handler_timeout = timeout;
        self
    }

    /// How long the server waits for a sign of life before it offers a message to somebody else (30 s if not
    /// set); also how long a message of a process that died waits.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.spec.ack_wait = wait;
        self
    }

    /// Pauses between attempts when the handler does not say.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.spec.backoff = backoff;
        self
    }

    /// Messages per second at most, and how many may come at once after a quiet time (no limit if not set).
    pub fn rate_limit(mut self, per_second: f64, burst: u32) -> Self {
        self.spec.rate_limit = Some(RateLimit { per_second, burst });
        self
    }

    /// How long the messages in hand may take after the stop (30 s if not set).
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.spec.drain_deadline = deadline;
        self
    }

    /// One more layer around the handler, inside those that were added before.
    pub fn layer(mut self, layer: impl Middleware) -> Self {
        self.spec.middleware = self.spec.middleware.and(layer);
        self
    }

    /// Messages of one key one after the other, up to `lanes` keys at the same time. The key is what
    /// [`Event::key`] said. docs/adr/0017-order-by-key.md says what is promised when things go wrong.
    pub fn ordered_by_key(mut self, lanes: usize) -> Self {
        self.spec.ordering = Ordering::ByKey { lanes };
        self
    }

    /// As [`Consumer::ordered_by_key`], with a key of the consumer's own. The function runs for every
    /// message before it is decoded: it must be quick. Messages without a key are not ordered.
    pub fn order_by(
        mut self,
        lanes: usize,
        key: impl Fn(&Delivery) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.spec.order_by = Some(KeyOf::new(key));
        self.ordered_by_key(lanes)
    }

    /// Runs a handler of bodies as they are until `stop` is ready; otherwise as [`Consumer::run`].
    ///
    /// # Errors
    /// If the consumer cannot be created.
    pub async fn run_raw<F, R>(
        self,
        handler: F,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ConsumeError>
    where
        F: Fn(Bytes, Meta) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Failure>> + Send,
    {
        self.drive(consume::from_fn(handler), stop).await
    }

    async fn drive(
        self,
        handler: impl consume::Handler<Bytes>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ConsumeError> {
        let (lifecycle, handler, bus) = (Lifecycle::new(), Arc::new(handler), self.bus);
        let (stream, pins, every) =
            (self.spec.stream.clone(), self.spec.pins.clone(), consume::lease(&self.spec));
        let partitions = self.partitions.len();
        let running = self.specs().into_iter().map(|spec| {
            let (lifecycle, handler) = (lifecycle.clone(), Arc::clone(&handler));
            async move {
                let ended = consume::run_raw(bus, spec, handler, lifecycle.clone()).await;
                // Without one partition the others would go on as if nothing were missing.
                lifecycle.soft.cancel();
                ended
            }
        });
        let running = async {
            if partitions == 0 {
                return settle_all(running).await;
            }
            tokio::select! {
                ended = settle_all(running) => ended,
                () = consume::balance_pins(bus, &stream, partitions, &pins, every) => Ok(()),
            }
        };
        until(stop, &lifecycle, running).await
    }

    fn specs(self) -> Vec<ConsumerSpec> {
        if self.partitions.is_empty() {
            return vec![self.spec];
        }
        let of = |(durable, filters)| ConsumerSpec { durable, filters, ..self.spec.clone() };
        self.partitions.into_iter().map(of).collect()
    }
}

/// Running it with typed events.
impl<E: Event> Consumer<'_, E> {
    /// Runs until `stop` is ready; returns when the messages in hand are settled. Events of older versions are
    /// brought up to date, those of newer ones wait ([`crate::contract`]).
    ///
    /// # Errors
    /// If the consumer cannot be created.
    pub async fn run<F, R>(
        self,
        handler: F,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ConsumeError>
    where
        F: Fn(E, Meta) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Failure>> + Send,
    {
        self.drive(contract::typed::<E, F, R>(handler), stop).await
    }

    /// Runs a handler of many events in one go until `stop` is ready. If a batch of several fails, or one in
    /// it cannot be decoded, each message is handed over alone, so that a bad one harms no other.
    ///
    /// # Errors
    /// If the consumer cannot be created, or should keep an order, which batches do not.
    pub async fn run_batch<F, R>(
        self,
        handler: F,
        options: BatchOptions,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ConsumeError>
    where
        F: Fn(Vec<(E, Meta)>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Failure>> + Send,
    {
        let lifecycle = Lifecycle::new();
        let handler = TypedBatch(handler, PhantomData);
        let running =
            consume::run_batches(self.bus, self.spec, options, handler, lifecycle.clone());
        until(stop, &lifecycle, running).await
    }
}

struct TypedBatch<E, F>(F, PhantomData<fn(E)>);

impl<E, F, R> BatchHandler for TypedBatch<E, F>
where
    E: Event,
    F: Fn(Vec<(E, Meta)>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Failure>> + Send,
{
    async fn handle(&self, batch: Vec<(Bytes, Meta)>) -> Result<(), Failure> {
        let now = clock::now();
        let events = batch
            .into_iter()
            .map(|(body, meta)| Ok((contract::decode(&body, &meta.headers, now)?, meta)))
            .collect::<Result<Vec<(E, Meta)>, Failure>>()?;
        (self.0)(events).await
    }
}

/// All of them to their end; the first error.
async fn settle_all<R>(running: impl Iterator<Item = R>) -> Result<(), ConsumeError>
where
    R: Future<Output = Result<(), ConsumeError>>,
{
    let ended = futures::future::join_all(running).await;
    ended.into_iter().collect()
}

/// Runs; asks for the stop when `stop` is ready.
async fn until(
    stop: impl Future<Output = ()>,
    lifecycle: &Lifecycle,
    running: impl Future<Output = Result<(), ConsumeError>>,
) -> Result<(), ConsumeError> {
    // Boxed, because callers put this future into theirs.
    let mut running = Box::pin(running);
    tokio::pin!(stop);
    tokio::select! {
        ended = &mut running => return ended,
        () = &mut stop => lifecycle.soft.cancel(),
    }
    running.await
}
