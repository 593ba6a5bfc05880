//! Many messages in one go, for writers whose cost is per transaction.
//! Reads and writes: as [`super`]. Never: lets one bad message hold up its batch: a batch that fails is
//! tried again message by message.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use futures::future::join_all;
use tokio::sync::{Mutex, mpsc};

use super::middleware::Outcome;
use super::settle::{Incoming, Settler};
use super::single::reason_of;
use super::{
    BatchHandler, ConsumeError, ConsumerSpec, Delivery, Failure, decide, pull, refuse_order,
};
use crate::connect::Bus;
use crate::lifecycle::Lifecycle;

/// When a batch is full enough.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    /// Messages of one batch.
    pub max: usize,
    /// How long the first message waits for company.
    pub wait: Duration,
}

struct Queue {
    settler: Settler,
    queue: mpsc::Sender<(Incoming, pull::Place)>,
}

impl pull::Sink for Queue {
    type Arrived = Message;

    fn arrive(self: &Arc<Self>, message: Message) -> Message {
        message
    }

    async fn take(self: Arc<Self>, message: Message, place: pull::Place) {
        if let Some(message) = self.settler.open(message) {
            // Bounded by the places, so this never waits.
            let _ = self.queue.send((message, place)).await;
        }
    }
}

struct Batches<H> {
    settler: Settler,
    handler: H,
    options: BatchOptions,
    queue: Mutex<mpsc::Receiver<(Incoming, pull::Place)>>,
}

impl<H: BatchHandler> Batches<H> {
    /// Until the pull loop has gone and the queue is empty.
    async fn run(&self) {
        let mut queue = self.queue.lock().await;
        while let Some(first) = queue.recv().await {
            let mut batch = vec![first];
            let full = tokio::time::sleep(self.options.wait);
            tokio::pin!(full);
            while batch.len() < self.options.max {
                tokio::select! {
                    biased;
                    next = queue.recv() => match next {
                        Some(next) => batch.push(next),
                        None => break,
                    },
                    () = &mut full => break,
                }
            }
            self.work(batch).await;
        }
    }

    async fn work(&self, batch: Vec<(Incoming, pull::Place)>) {
        let spec = &self.settler.spec;
        let mut messages = Vec::with_capacity(batch.len());
        for (message, place) in batch {
            match decide::exhausted(message.meta.attempt, spec.max_attempts) {
                Some(parked) => self.settle(&message, parked).await,
                None => messages.push((message, place)),
            }
        }
        let in_hand: Vec<&Incoming> = messages.iter().map(|(message, _)| message).collect();
        let outcomes = self.handle(&in_hand).await;
        let mut alone = Vec::new();
        let mut decided = Vec::new();
        for (message, outcome) in in_hand.into_iter().zip(outcomes) {
            match outcome.result {
                Err(Failure::Retry { .. } | Failure::Dead { .. }) if outcome.together => {
                    alone.push(message);
                }
                result => decided.push((message, result)),
            }
        }
        join_all(decided.iter().map(|(message, result)| self.decide(message, result))).await;
        for message in alone {
            for outcome in self.handle(&[message]).await {
                self.decide(message, &outcome.result).await;
            }
        }
    }

    async fn handle(&self, in_hand: &[&Incoming]) -> Vec<Outcome> {
        if in_hand.is_empty() {
            return Vec::new();
        }
        let deliveries = in_hand
            .iter()
            .map(|message| Delivery {
                payload: message.payload.clone(),
                meta: message.meta.clone(),
            })
            .collect();
        let work = self.settler.spec.middleware.around_many(deliveries, |given| async move {
            let count = given.len();
            let batch =
                given.into_iter().map(|(_, delivery)| (delivery.payload, delivery.meta)).collect();
            vec![self.handler.handle(batch).await; count]
        });
        let together = in_hand.len() > 1;
        let failed = |failure| vec![Outcome { result: Err(failure), together }; in_hand.len()];
        self.settler.guarded(in_hand, work, failed).await
    }

    async fn decide(&self, message: &Incoming, result: &Result<(), Failure>) {
        message.note(result);
        let spec = &self.settler.spec;
        let decision = match result {
            // Whole batches are deferred when what they write to is away; a copy of each would be a waste.
            Err(Failure::Defer { after, .. }) => decide::Decision::NakAfter(*after),
            result => decide::after(
                result,
                message.meta.attempt,
                spec.max_attempts,
                &spec.backoff,
                rand::random(),
            ),
        };
        self.settle(message, decision).await;
    }

    async fn settle(&self, message: &Incoming, decision: decide::Decision) {
        let reason = reason_of(&decision);
        let on_dead = self.handler.on_dead(&message.payload, &message.meta, &reason);
        self.settler.settle(message, decision, on_dead).await;
    }
}

/// Runs a consumer of batches until the soft stop; returns after the messages in hand are settled. Layers run
/// around each message; what comes through them is handled together.
///
/// # Errors
/// If the consumer cannot be created, or should keep an order, which batches do not.
pub async fn run_batches(
    bus: &Bus,
    mut spec: ConsumerSpec,
    options: BatchOptions,
    handler: impl BatchHandler,
    lifecycle: Lifecycle,
) -> Result<(), ConsumeError> {
    refuse_order(&spec, "batches")?;
    // Room for a batch at work and the next one filling up.
    spec.max_in_flight = spec.max_in_flight.max(options.max * 2);
    let settler = Settler::new(bus, &spec);
    let (queue, receiver) = mpsc::channel(spec.max_in_flight);
    let batches =
        Batches { settler: settler.clone(), handler, options, queue: Mutex::new(receiver) };
    let sink = Arc::new(Queue { settler, queue });
    // Boxed, because callers put this future into theirs.
    let (pulling, working) = (pull::run(bus, &spec, sink, &lifecycle), batches.run());
    let (result, ()) = tokio::join!(Box::pin(pulling), Box::pin(working));
    super::flush_acknowledgements(bus).await;
    result
}
