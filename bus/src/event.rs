//! Typed domain events: publish one, consume a kind of them.
//! Reads and writes: the `EVENTS` stream. Never: asks an author to name a subject.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::connect::Bus;
use crate::consume::{self, Backoff, ConsumeError, ConsumerSpec, Failure, Meta};
use crate::ids::MessageId;
use crate::lifecycle::Lifecycle;
use crate::publish::{Outgoing, PublishError, StoredAt};
use crate::subjects;
use crate::topology::EVENTS;
use crate::trace::TraceParent;

/// Something that happened in a service, told to whoever wants to know.
pub trait Event: Serialize + DeserializeOwned + Send + 'static {
    /// The service that tells it.
    const SERVICE: &'static str;
    /// What happened, in the past tense.
    const NAME: &'static str;
    /// Raised when an old reader could misunderstand; additive changes keep it.
    const VERSION: u32 = 1;

    /// Whose event it is.
    fn tenant(&self) -> &str {
        "default"
    }

    /// An id that is the same when the same event is told again, if there is one.
    fn id(&self) -> Option<String> {
        None
    }
}

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The event cannot be written as JSON.
    #[error("the event cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// The stream did not take it.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Bus {
    /// Stores an event and waits for the acknowledgement.
    ///
    /// # Errors
    /// If the stream refuses or does not answer in time.
    pub async fn emit<E: Event>(&self, event: &E) -> Result<StoredAt, EmitError> {
        self.emit_in(event, TraceParent::fresh()).await
    }

    /// Stores an event that belongs to a trace, for example the one of the message being handled.
    ///
    /// # Errors
    /// As [`Bus::emit`].
    pub async fn emit_in<E: Event>(
        &self,
        event: &E,
        trace: TraceParent,
    ) -> Result<StoredAt, EmitError> {
        let body = Bytes::from(serde_json::to_vec(event)?);
        let id = event.id().unwrap_or_else(|| MessageId::fresh().to_string());
        let event_type = format!("{}.{}.v{}", E::SERVICE, E::NAME, E::VERSION);
        let message =
            Outgoing::new(subjects::app_event(event.tenant(), E::SERVICE, E::NAME), id, body)
                .event(&event_type, E::SERVICE, clock::now(), Some(trace));
        Ok(self.publish(message).await?)
    }

    /// A durable consumer of one kind of event. The durable name is how the server remembers what was
    /// handled: processes with the same name share the work.
    pub fn consumer<E: Event>(&self, durable: &str) -> Consumer<'_, E> {
        let filter = subjects::app_event_filter(E::SERVICE, E::NAME);
        Consumer { bus: self, spec: ConsumerSpec::new(EVENTS, durable, filter), event: PhantomData }
    }
}

/// A consumer to be configured and run.
#[must_use = "a consumer does nothing until it is run"]
#[derive(Debug)]
pub struct Consumer<'a, E> {
    bus: &'a Bus,
    spec: ConsumerSpec,
    event: PhantomData<fn() -> E>,
}

impl<E: Event> Consumer<'_, E> {
    /// Handlers at work at the same time (64 if not set).
    pub fn max_in_flight(mut self, messages: usize) -> Self {
        self.spec.max_in_flight = messages.max(1);
        self
    }

    /// Attempts before a message is parked as a dead letter (5 if not set).
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.spec.max_attempts = attempts.max(1);
        self
    }

    /// How long one call of the handler may take (120 s if not set).
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.spec.handler_timeout = timeout;
        self
    }

    /// Pauses between attempts when the handler does not say.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.spec.backoff = backoff;
        self
    }

    /// Runs until `stop` is ready; returns when the messages in hand are settled.
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
        let lifecycle = Lifecycle::new();
        let running =
            consume::run(self.bus, self.spec, consume::from_fn(handler), lifecycle.clone());
        tokio::pin!(running, stop);
        tokio::select! {
            ended = &mut running => return ended,
            () = &mut stop => lifecycle.soft.cancel(),
        }
        running.await
    }
}

/// Ready at the first SIGINT or SIGTERM: what a service's `main` gives to [`Consumer::run`].
pub async fn stop_on_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without signal handlers the process ends at the signal itself; redelivery makes that safe.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
