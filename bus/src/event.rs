//! Typed domain events: publish one, consume a kind of them.
//! Reads and writes: the `EVENTS` stream. Never: asks an author to name a subject.

mod consumer;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::connect::Bus;
use crate::consume::ConsumerSpec;
use crate::ids::MessageId;
use crate::publish::{Outgoing, PublishError, StoredAt};
use crate::topology::EVENTS;
use crate::trace::TraceParent;
use crate::{contract, headers, observe, subjects};

pub use consumer::Consumer;

/// Something that happened in a service, told to whoever wants to know.
pub trait Event: Serialize + DeserializeOwned + Send + 'static {
    /// The service that tells it.
    const SERVICE: &'static str;
    /// What happened, in the past tense.
    const NAME: &'static str;
    /// Raised when an old reader could misunderstand; additive changes keep it.
    const VERSION: u32 = 1;
    /// The subject as a template, for documents; `#[derive(Event)]` sets it, empty means the usual one.
    const SUBJECT: &'static str = "";

    /// Whose event it is.
    fn tenant(&self) -> &str {
        "default"
    }

    /// An id that is the same when the same event is told again, if there is one; unique among the events of this
    /// kind and tenant. `Nats-Msg-Id` and `ce-id` are made of tenant, service, event and it.
    fn id(&self) -> Option<String> {
        None
    }

    /// What the event is about, if consumers may want to handle the events about one thing in order: an
    /// order number, an account. It becomes a token of the subject and the header `Campana-Key`; 1 to
    /// [`subjects::NAME_BYTES_MAX`] bytes without control characters.
    fn key(&self) -> Option<String> {
        None
    }

    /// The JSON Schema of the body; anything goes unless the type says more. `#[derive(Event)]` takes it from
    /// `schemars::JsonSchema`, and [`contract::schema_of`] does so by hand.
    #[must_use]
    fn schema() -> contract::Schema {
        true.into()
    }

    /// Brings the body of an older version to the form of [`Event::VERSION`], before it is decoded. Without it an
    /// old body is decoded as it is, which suits versions that differ in meaning only.
    ///
    /// # Errors
    /// If the body is not what its version says; the message is parked as `cannot_upcast`.
    fn upcast(
        version: u32,
        body: contract::Value,
    ) -> Result<contract::Value, contract::UpcastError> {
        let _ = version;
        Ok(body)
    }
}

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The event cannot be written as JSON.
    #[error("the event cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// The event's key cannot be part of a subject.
    #[error("the event's key is refused: {0}")]
    Key(#[from] subjects::NameError),
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
        Ok(self.publish(outgoing(event, observe::current_or_fresh())?).await?)
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
        Ok(self.publish(outgoing(event, trace)?).await?)
    }

    /// A durable consumer of one kind of event. The durable name is how the server remembers what was
    /// handled: processes with the same name share the work.
    pub fn consumer<E: Event>(&self, durable: &str) -> Consumer<'_, E> {
        let mut spec =
            ConsumerSpec::new(EVENTS, durable, subjects::app_event_filter(E::SERVICE, E::NAME));
        spec.filters.push(subjects::app_event_keyed_filter(E::SERVICE, E::NAME));
        Consumer::new(self, spec)
    }
}

/// The message that tells an event: what [`Bus::emit`] stores now and [`Bus::emit_at`] later.
///
/// # Errors
/// If the event cannot be written as JSON, or its key cannot be part of a subject.
pub fn outgoing<E: Event>(
    event: &E,
    trace: impl Into<Option<TraceParent>>,
) -> Result<Outgoing, EmitError> {
    let body = Bytes::from(serde_json::to_vec(event)?);
    // All services share one stream, and an order's number may be the id of several events about it: an id that
    // is not bound to its kind and tenant would make the second of them a duplicate of the first.
    let id = match event.id() {
        Some(id) => format!("{}/{}.{}/{id}", event.tenant(), E::SERVICE, E::NAME),
        None => MessageId::fresh().to_string(),
    };
    let event_type = format!("{}.{}.v{}", E::SERVICE, E::NAME, E::VERSION);
    let key = event.key();
    let subject = match &key {
        Some(key) => {
            subjects::check_name(key)?;
            subjects::app_event_keyed(event.tenant(), E::SERVICE, E::NAME, key)
        }
        None => subjects::app_event(event.tenant(), E::SERVICE, E::NAME),
    };
    let mut message =
        Outgoing::new(subject, id, body).event(&event_type, E::SERVICE, clock::now(), trace.into());
    if let Some(key) = &key {
        message = message.header(headers::KEY, key);
    }
    Ok(message)
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
