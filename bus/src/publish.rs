//! Publishing that waits for the stream's acknowledgement.
//! Reads: nothing. Writes: JetStream. Never: reports success without an acknowledgement, never repeats a
//! message under another id, never waits without a limit.
//!
//! An answer is one of three: stored, refused (with a code), or unknown (time-out, lost connection). An
//! unknown answer is repeated with the same message id until the deadline, which JetStream's duplicate
//! window makes safe. [`GroupPublisher`] and [`EnvelopePublisher`] share the cost of the disk among
//! callers that publish at the same time.

mod ack;
mod atomic;
mod collector;
mod envelope;

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::clock::{self, Micros};
use crate::connect::Bus;
use crate::replies::{Pending, RequestError};
use crate::trace::TraceParent;
use crate::{headers, observe, telemetry};

pub use collector::GroupPublisher;
pub use envelope::{EnvelopePublisher, Part, decode_parts, encode_parts, envelope};

/// How long a publish is repeated before the caller is told: a leader failover takes up to 9 s.
pub const PUBLISH_DEADLINE: Duration = Duration::from_secs(15);

/// A message to store.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Built by [`crate::subjects`].
    pub subject: String,
    /// The body.
    pub payload: Bytes,
    /// Everything but the message id.
    pub headers: HeaderMap,
    /// A repeat within the stream's duplicate window is stored once.
    pub message_id: String,
    /// Refuse unless the subject's last message has this sequence; 0 means "no message yet".
    pub expect_last_subject_sequence: Option<u64>,
}

impl Outgoing {
    /// A message without further headers.
    #[must_use]
    pub fn new(subject: impl Into<String>, message_id: impl Into<String>, payload: Bytes) -> Self {
        Self {
            subject: subject.into(),
            payload,
            headers: HeaderMap::new(),
            message_id: message_id.into(),
            expect_last_subject_sequence: None,
        }
    }

    /// Adds a header; a value that the protocol cannot carry is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        headers::set(&mut self.headers, name, value);
        self
    }

    /// Adds the CloudEvents attributes and the trace context.
    #[must_use]
    pub fn event(
        mut self,
        event_type: &str,
        source: &str,
        at: Micros,
        trace: Option<TraceParent>,
    ) -> Self {
        let id = std::mem::take(&mut self.message_id);
        headers::set_event(&mut self.headers, &id, event_type, source, at, trace);
        self.message_id = id;
        self
    }

    /// All headers as they go over the wire.
    fn wire_headers(&self) -> HeaderMap {
        let mut all = self.headers.clone();
        headers::set(&mut all, "Nats-Msg-Id", &self.message_id);
        if let Some(sequence) = self.expect_last_subject_sequence {
            headers::set(&mut all, "Nats-Expected-Last-Subject-Sequence", &sequence.to_string());
        }
        all
    }

    /// Roughly what the message costs on the wire.
    fn cost(&self) -> usize {
        self.payload.len() + self.subject.len() + self.message_id.len() + 256
    }
}

/// Where a message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// True if the stream already had this message id.
    pub duplicate: bool,
}

/// Why a message was not stored, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The server said no, with its error code (see the server's `errors.json`).
    #[error("the stream refused the message: {detail} (code {code})")]
    Refused {
        /// JetStream's error code.
        code: u64,
        /// What the server said.
        detail: String,
    },
    /// The subject's last message is not the expected one.
    #[error("the subject already has another last message")]
    WrongLastSequence,
    /// The message exceeds the server's limit.
    #[error("the message is larger than the server accepts")]
    TooLarge,
    /// No answer within the deadline: the message may or may not be stored.
    #[error("no acknowledgement from the stream: {0}")]
    Unavailable(String),
}

impl PublishError {
    /// Whether the same publish may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            // Out of storage, JetStream not ready, stream offline, limits that acknowledgements relieve.
            Self::Refused { code, .. } => {
                matches!(code, 10_008 | 10_023 | 10_047 | 10_077 | 10_118 | 10_122 | 10_167)
            }
            Self::Unavailable(_) => true,
            Self::WrongLastSequence | Self::TooLarge => false,
        }
    }
}

impl Bus {
    /// Stores one message and waits for the acknowledgement; an unknown answer is repeated with the same
    /// message id until [`PUBLISH_DEADLINE`] (or what [`Bus::with_publish_times`] set).
    ///
    /// # Errors
    /// If the stream refuses or does not answer in time.
    pub async fn publish(&self, mut message: Outgoing) -> Result<StoredAt, PublishError> {
        let started = clock::monotonic();
        let span = observe::publishing(&mut message);
        let result =
            publish_until(self, &message, self.publish_deadline()).instrument(span.clone()).await;
        observe::published(&span, &result);
        telemetry::published(&message.subject, label(&result), 1, started.elapsed());
        result
    }
}

impl Bus {
    /// Stores all messages or none, in their order and without another one between them; gives the sequence of the
    /// last. At most 1,000 (the server's limit). Not repeated: after [`PublishError::Unavailable`] they may be stored
    /// or not, so let one of them say what it expects to come after.
    ///
    /// # Errors
    /// If the stream refuses or does not answer in time.
    pub async fn publish_all(&self, messages: &[Outgoing]) -> Result<u64, PublishError> {
        let all: Vec<&Outgoing> = messages.iter().collect();
        atomic::publish(self, &all).await
    }
}

pub(crate) fn label<T>(result: &Result<T, PublishError>) -> &'static str {
    match result {
        Ok(_) => "",
        Err(PublishError::Refused { .. }) => "refused",
        Err(PublishError::WrongLastSequence) => "wrong_last_sequence",
        Err(PublishError::TooLarge) => "too_large",
        Err(PublishError::Unavailable(_)) => "unavailable",
    }
}

/// Repeats an unknown answer with the same message id until the deadline. A repeat says that it is one: a work
/// queue forgets the ids of acknowledged messages when its server restarts, so that a message which was stored
/// all the same can come twice, and its consumer should look whether the work is done.
pub(crate) async fn publish_until(
    bus: &Bus,
    message: &Outgoing,
    deadline: Duration,
) -> Result<StoredAt, PublishError> {
    let started = clock::monotonic();
    let mut pause = Duration::from_millis(25);
    let mut error = match publish_once(bus, message).await {
        Err(error @ PublishError::Unavailable(_)) => error,
        settled => return settled,
    };
    let repeat = message.clone().header(headers::REPEAT, "1");
    while started.elapsed() + pause < deadline && !bus.is_closed() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
        error = match publish_once(bus, &repeat).await {
            Err(error @ PublishError::Unavailable(_)) => error,
            settled => return settled,
        };
    }
    Err(error)
}

async fn publish_once(bus: &Bus, message: &Outgoing) -> Result<StoredAt, PublishError> {
    let ack = send(bus, message).await?;
    receive(ack).await
}

/// Hands the message to the client; the acknowledgement is awaited by [`receive`]. Both together take no
/// longer than one acknowledgement may.
pub(crate) async fn send(bus: &Bus, message: &Outgoing) -> Result<Pending, PublishError> {
    send_with(bus, message, message.wire_headers()).await
}

/// The same with other headers.
async fn send_with(
    bus: &Bus,
    message: &Outgoing,
    headers: HeaderMap,
) -> Result<Pending, PublishError> {
    let deadline = Instant::now() + bus.ack_timeout();
    let (subject, payload) = (message.subject.clone(), message.payload.clone());
    bus.replies().ask(subject, headers, payload, deadline).await.map_err(not_sent)
}

pub(crate) async fn receive(ack: Pending) -> Result<StoredAt, PublishError> {
    let answer = ack.answer().await.map_err(not_sent)?;
    let ack = ack::read(&answer.payload)?;
    Ok(StoredAt { sequence: ack.sequence, duplicate: ack.duplicate })
}

/// Only what cannot change by itself is an answer; everything else is unknown.
fn not_sent(error: RequestError) -> PublishError {
    match error {
        RequestError::TooLarge => PublishError::TooLarge,
        RequestError::InvalidSubject => {
            PublishError::Refused { code: ack::BAD_REQUEST, detail: error.to_string() }
        }
        RequestError::Timeout => PublishError::Unavailable("no answer in time".to_owned()),
        RequestError::NoResponders => PublishError::Unavailable(
            "no stream takes this subject, or JetStream is away".to_owned(),
        ),
        RequestError::Closed => PublishError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
