//! Durable consumers: the runtime that service authors do not have to write.
//! Reads: a stream, through a durable pull consumer. Writes: acknowledgements, delayed copies, dead letters.
//! Never: loses a message, calls a handler for a message that already had all its attempts, buffers more
//! than it has permits for.
//!
//! Consumers run with `max_deliver = -1`, a fixed `ack_wait` and no server-side backoff. The library counts
//! attempts from the delivery metadata and parks a message *before* decoding it or calling the handler once
//! the count is past the limit, so a message that kills its process is parked by the next process that
//! sees it. See docs/adr for why nothing else is free of a loss window.

mod batch;
mod decide;
mod envelope;
mod failures;
mod in_turn;
mod lanes;
mod middleware;
mod ordering;
mod pins;
mod pull;
pub(crate) mod reply;
mod settle;
mod single;

use std::fmt::Display;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::clock::Micros;
use crate::connect::Bus;
use crate::publish::Part;
use crate::trace::TraceParent;

pub use batch::{BatchOptions, run_batches};
pub use decide::Backoff;
pub use envelope::run_envelopes;
pub use middleware::{Delivery, Layers, Middleware, Next, Observe, RequireHeader, Timeout};
pub use ordering::{KeyOf, Ordering};
pub use pins::Pins;
pub(crate) use pins::balance as balance_pins;
pub(crate) use pull::lease;
pub use single::{from_fn, run, run_raw};

/// What a consumer takes and how it behaves; all numbers have defaults that suit most handlers.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// The stream.
    pub stream: String,
    /// The durable name: part of the public surface, since autoscalers and dashboards refer to it.
    pub durable: String,
    /// Subjects of interest; the consumer's own retry subject is added.
    pub filters: Vec<String>,
    /// Handlers at work at the same time.
    pub max_in_flight: usize,
    /// Attempts before a message is parked.
    pub max_attempts: u32,
    /// How long the server waits for an acknowledgement or a heartbeat.
    pub ack_wait: Duration,
    /// How long one call of a handler may take. Heartbeats keep the message meanwhile.
    pub handler_timeout: Duration,
    /// Pauses between attempts when the handler does not say.
    pub backoff: Backoff,
    /// Messages per second that are taken from the server at most; `None` for no limit. It counts
    /// deliveries of this process, not the attempts that [`Ordering`] makes in place.
    pub rate_limit: Option<RateLimit>,
    /// How long the messages in hand may take after a soft stop; those that take longer are given back.
    pub drain_deadline: Duration,
    /// How often the server shows that a silent pull request is alive; silence of two and a half times this
    /// counts as a lost request. At least 100 ms.
    pub idle_heartbeat: Duration,
    /// Code that runs around the handler.
    pub middleware: Layers,
    /// The order that is kept.
    pub ordering: Ordering,
    /// How [`Ordering::ByKey`] finds keys; `None` reads the header `Campana-Key`.
    pub order_by: Option<KeyOf>,
    /// With [`Ordering::Strict`]: where this process keeps account of the partitions that are its own.
    pub pins: Pins,
}

/// How many messages a consumer takes over time: a bucket of `burst` tokens that fills at a steady rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Messages per second in the long run.
    pub per_second: f64,
    /// Messages that may come at once after a quiet time; at least 1.
    pub burst: u32,
}

impl ConsumerSpec {
    /// A consumer with the default numbers.
    #[must_use]
    pub fn new(
        stream: impl Into<String>,
        durable: impl Into<String>,
        filter: impl Into<String>,
    ) -> Self {
        Self {
            stream: stream.into(),
            durable: durable.into(),
            filters: vec![filter.into()],
            max_in_flight: 64,
            max_attempts: 5,
            ack_wait: Duration::from_secs(30),
            handler_timeout: Duration::from_secs(120),
            backoff: Backoff::default(),
            rate_limit: None,
            drain_deadline: Duration::from_secs(30),
            idle_heartbeat: Duration::from_secs(5),
            middleware: Layers::new(),
            ordering: Ordering::None,
            order_by: None,
            pins: Pins::default(),
        }
    }
}

/// Messages that are handled together have no order among each other to keep.
fn refuse_order(spec: &ConsumerSpec, what: &str) -> Result<(), ConsumeError> {
    if spec.ordering == Ordering::None {
        return Ok(());
    }
    Err(ConsumeError::Consumer {
        stream: spec.stream.clone(),
        consumer: spec.durable.clone(),
        reason: format!("{what} are not handled in order of keys: handle single messages instead"),
    })
}

/// What is known about a message besides its body.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The stream it is in.
    pub stream: Arc<str>,
    /// The durable consumer that took it.
    pub consumer: Arc<str>,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Where it was (last) published.
    pub subject: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Whether a retry after this attempt would park the message.
    pub is_last: bool,
    /// Whether an earlier attempt may have done its work without our knowing.
    pub redelivered: bool,
    /// How often it was redriven from the dead letters.
    pub redrives: u32,
    /// The message id it was published with.
    pub message_id: Option<String>,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
    /// When the stream stored it.
    pub published_at: Micros,
    /// All its headers; shared, because an envelope's parts have one message.
    pub headers: Arc<HeaderMap>,
}

/// What happens to a message that was not handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Try again, after the consumer's backoff or the given time.
    Retry {
        /// How long to wait; `None` leaves it to the backoff.
        after: Option<Duration>,
        /// What went wrong, for logs and the dead letter.
        error: String,
    },
    /// Not now: come back after this time. Does not count as an attempt.
    Defer {
        /// How long to wait.
        after: Duration,
        /// Why, for logs.
        why: String,
    },
    /// Never: park it as a dead letter.
    Dead {
        /// Machine-readable class of the failure.
        reason: String,
        /// What went wrong, for people.
        error: String,
    },
}

impl Failure {
    /// Try again after the consumer's backoff.
    pub fn retry(error: impl Display) -> Self {
        Self::Retry { after: None, error: error.to_string() }
    }

    /// Try again after this time.
    pub fn retry_after(after: Duration, error: impl Display) -> Self {
        Self::Retry { after: Some(after), error: error.to_string() }
    }

    /// Come back after this time without counting an attempt.
    pub fn defer(after: Duration, why: impl Display) -> Self {
        Self::Defer { after, why: why.to_string() }
    }

    /// Park it.
    pub fn dead(reason: impl Into<String>, error: impl Display) -> Self {
        Self::Dead { reason: reason.into(), error: error.to_string() }
    }
}

/// Handles one decoded message at a time.
pub trait Handler<T>: Send + Sync + 'static {
    /// Does the work. May be called again for the same message, so effects must be idempotent by its id. Must not
    /// block its thread (`spawn_blocking` is for that): quick handlers begin in the consumer's own loop.
    fn handle(&self, message: T, meta: Meta) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Called when the message is parked, before it leaves the stream; may be called again.
    fn on_dead(
        &self,
        payload: &Bytes,
        meta: &Meta,
        reason: &str,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (payload, meta, reason);
        ready(Ok(()))
    }
}

/// Handles the parts of an envelope together, each with a result of its own.
pub trait EnvelopeHandler: Send + Sync + 'static {
    /// Does the work; the results are in the order of the parts.
    fn handle(
        &self,
        parts: Vec<(Part, Meta)>,
    ) -> impl Future<Output = Vec<Result<(), Failure>>> + Send;

    /// Called when a part is parked, before it leaves the stream; may be called again.
    fn on_dead(
        &self,
        payload: &Bytes,
        meta: &Meta,
        reason: &str,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (payload, meta, reason);
        ready(Ok(()))
    }
}

/// Handles many messages in one go, all or none.
pub trait BatchHandler: Send + Sync + 'static {
    /// Does the work. If a batch of several fails, each message is handed over alone, so that one bad message
    /// harms no other.
    fn handle(&self, batch: Vec<(Bytes, Meta)>)
    -> impl Future<Output = Result<(), Failure>> + Send;

    /// Called when a message is parked, before it is acknowledged; may be called again.
    fn on_dead(
        &self,
        payload: &Bytes,
        meta: &Meta,
        reason: &str,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (payload, meta, reason);
        ready(Ok(()))
    }
}

/// Forwards a handler trait through a shared pointer, so that a test or a role can keep a handle.
macro_rules! forward_on_dead {
    () => {
        fn on_dead(
            &self,
            payload: &Bytes,
            meta: &Meta,
            reason: &str,
        ) -> impl Future<Output = Result<(), Failure>> + Send {
            (**self).on_dead(payload, meta, reason)
        }
    };
}

impl<T: Send + 'static, H: Handler<T>> Handler<T> for Arc<H> {
    fn handle(&self, message: T, meta: Meta) -> impl Future<Output = Result<(), Failure>> + Send {
        (**self).handle(message, meta)
    }
    forward_on_dead!();
}

impl<H: EnvelopeHandler> EnvelopeHandler for Arc<H> {
    fn handle(
        &self,
        parts: Vec<(Part, Meta)>,
    ) -> impl Future<Output = Vec<Result<(), Failure>>> + Send {
        (**self).handle(parts)
    }
    forward_on_dead!();
}

impl<H: BatchHandler> BatchHandler for Arc<H> {
    fn handle(
        &self,
        batch: Vec<(Bytes, Meta)>,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        (**self).handle(batch)
    }
    forward_on_dead!();
}

/// How long the end of a consumer waits for its last acknowledgements to leave the process.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Sends the last acknowledgements; without a connection they are lost, and the server offers those messages again.
async fn flush_acknowledgements(bus: &Bus) {
    let _ = tokio::time::timeout(FLUSH_MAX, bus.client().flush()).await;
}

/// Why a consumer cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The stream is missing or refuses the consumer's configuration.
    #[error("consumer {consumer} on stream {stream}: {reason}")]
    Consumer {
        /// Which stream.
        stream: String,
        /// Which durable.
        consumer: String,
        /// What the server said.
        reason: String,
    },
    /// The connection is gone for good.
    #[error("the connection to NATS is closed")]
    Closed,
}
