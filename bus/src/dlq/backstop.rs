//! The backstop: dead letters of consumers that this library does not run.
//! Reads: the stream `ADVISORIES`, into which the server's advisories go, and the messages they name.
//! Writes: the `DLQ` stream; removes a filed message from a work queue, where nobody would ever take it.
//! Never: acknowledges an advisory before the message is filed or known to be lost.
//!
//! A consumer of our own parks what it gives up itself and terminates with a reason that begins with `bus:`;
//! those advisories are skipped. The rest says one of three things: a message had all its deliveries, a handler
//! terminated it, or it was removed while a consumer still had it. What is still stored is filed under the
//! same subject that the consumer itself would have used, so both ways together file it once. What is gone is
//! lost, by the stream's limits or because a work queue forgets what is terminated: that cannot be mended any
//! more, so it is counted and logged as an error.
//!
//! Advisories themselves can be lost (they are sent once, without acknowledgement); [`super::reconcile`] finds
//! what they do not tell on work queues.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::RetentionPolicy;
use serde::Deserialize;

use super::letter::{Failed, FiledBy};
use super::park;
use crate::clock::Micros;
use crate::connect::Bus;
use crate::consume::{self, Backoff, ConsumeError, ConsumerSpec, Failure, Handler, Meta};
use crate::fetch::{FetchError, StoredMessage};
use crate::lifecycle::Lifecycle;
use crate::topology::{ADVISORIES, DLQ};
use crate::{subjects, telemetry};

/// The durable consumer of the advisories.
pub const DURABLE: &str = "keeper-backstop";
/// Reasons that our own consumers terminate with.
const OUR_REASONS: &str = "bus:";
/// What the server says when limits, a purge or a deletion remove a pending message.
const REMOVED: &str = "Unacknowledged message was deleted";
/// Advisories at work at the same time.
const IN_FLIGHT: usize = 16;

/// An advisory of the server, as far as it matters here (NATS schemas
/// `io.nats.jetstream.advisory.v1.max_deliver` and `.terminated`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Advisory {
    stream: String,
    consumer: String,
    stream_seq: u64,
    #[serde(default)]
    deliveries: u64,
    /// Only of a termination.
    reason: Option<String>,
    #[serde(rename = "type", default)]
    kind: String,
}

/// What an advisory asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Ours, or about our own streams.
    Nothing,
    /// It had all its deliveries.
    Exhausted,
    /// A handler gave it up.
    Terminated,
    /// It was removed before it was handled.
    Removed,
}

impl Advisory {
    fn meaning(&self) -> Meaning {
        // What happens to letters and advisories is no message of a service.
        if self.stream == DLQ || self.stream == ADVISORIES {
            return Meaning::Nothing;
        }
        let reason = self.reason.as_deref().unwrap_or_default();
        match self.kind.as_str() {
            "io.nats.jetstream.advisory.v1.terminated" if reason.starts_with(OUR_REASONS) => {
                Meaning::Nothing
            }
            "io.nats.jetstream.advisory.v1.terminated" if reason == REMOVED => Meaning::Removed,
            "io.nats.jetstream.advisory.v1.terminated" => Meaning::Terminated,
            "io.nats.jetstream.advisory.v1.max_deliver" => Meaning::Exhausted,
            _ => Meaning::Nothing,
        }
    }

    fn failed<'a>(&'a self, meaning: Meaning, message: &'a StoredMessage) -> Failed<'a> {
        let (class, reason) = match meaning {
            Meaning::Terminated => ("permanent", "terminated"),
            _ => ("max_deliver", "max_deliveries"),
        };
        Failed {
            stream: &self.stream,
            consumer: &self.consumer,
            sequence: self.stream_seq,
            subject: &message.subject,
            headers: &message.headers,
            payload: message.payload.clone(),
            stored_at: message.time,
            first_failure: None,
            attempts: u32::try_from(self.deliveries).unwrap_or(u32::MAX),
            class,
            reason,
            error: self.reason.as_deref().unwrap_or("the consumer's deliveries were used up"),
            filed_by: FiledBy::Backstop,
        }
    }
}

struct Backstop {
    bus: Bus,
}

impl Handler<Advisory> for Backstop {
    async fn handle(&self, advisory: Advisory, _: Meta) -> Result<(), Failure> {
        let meaning = advisory.meaning();
        if meaning == Meaning::Nothing {
            return Ok(());
        }
        let source = source(&self.bus, &advisory.stream).await.map_err(Failure::retry)?;
        let message = match &source {
            Some(source) => source.message(advisory.stream_seq).await.map_err(Failure::retry)?,
            None => None,
        };
        match (message, source) {
            (Some(message), Some(source)) if meaning != Meaning::Removed => {
                self.file(&advisory, meaning, &message, &source).await
            }
            _ => self.lost(&advisory, meaning).await,
        }
    }
}

impl Backstop {
    async fn file(
        &self,
        advisory: &Advisory,
        meaning: Meaning,
        message: &StoredMessage,
        source: &Source,
    ) -> Result<(), Failure> {
        let failed = advisory.failed(meaning, message);
        file_and_remove(&self.bus, &failed, source).await.map_err(Failure::retry)
    }

    /// The message is gone. If it was parked before that, all is well.
    async fn lost(&self, advisory: &Advisory, meaning: Meaning) -> Result<(), Failure> {
        let Advisory { stream, consumer, stream_seq, .. } = advisory;
        let subject = subjects::dead_letter(stream, consumer, *stream_seq);
        if self.bus.last(DLQ, &subject).await.map_err(Failure::retry)?.is_some() {
            return Ok(());
        }
        let reason = match meaning {
            Meaning::Terminated => "terminated",
            Meaning::Exhausted => "gone",
            _ => "removed",
        };
        telemetry::message_lost(stream, consumer, reason);
        tracing::error!(
            stream,
            consumer,
            stream.sequence = stream_seq,
            lost.reason = reason,
            "a message is lost: it left its stream before it was handled, and nobody had filed it. Limits, \
             a purge or a deletion removed it, or its consumer terminated it on a work queue"
        );
        Ok(())
    }
}

/// The stream that a message is in.
#[derive(Clone, Debug)]
pub(super) struct Source {
    stream: async_nats::jetstream::stream::Stream,
    is_queue: bool,
}

/// The stream of a name; `None` if there is none any more.
pub(super) async fn source(bus: &Bus, name: &str) -> Result<Option<Source>, FetchError> {
    use async_nats::jetstream::{ErrorCode, context::GetStreamErrorKind};
    match bus.jetstream().get_stream(name).await {
        Ok(stream) => Ok(Some(Source::of(stream))),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(refused)
                if refused.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(FetchError::Unavailable(error.to_string())),
        },
    }
}

impl Source {
    pub(super) fn of(stream: async_nats::jetstream::stream::Stream) -> Self {
        let is_queue = stream.cached_info().config.retention == RetentionPolicy::WorkQueue;
        Self { stream, is_queue }
    }

    /// The message as the stream's leader has it, which a replica may not know yet.
    pub(super) async fn message(&self, sequence: u64) -> Result<Option<StoredMessage>, FetchError> {
        use async_nats::jetstream::stream::RawMessageErrorKind;
        match self.stream.get_raw_message(sequence).await {
            Ok(found) => Ok(Some(StoredMessage {
                subject: found.subject.to_string(),
                sequence: found.sequence,
                time: Micros(
                    i64::try_from(found.time.unix_timestamp_nanos() / 1_000).unwrap_or_default(),
                ),
                headers: found.headers,
                payload: found.payload,
            })),
            Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => Err(FetchError::Unavailable(error.to_string())),
        }
    }

    async fn remove(&self, sequence: u64) -> Result<(), FetchError> {
        match self.stream.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(_) if self.message(sequence).await?.is_none() => Ok(()),
            Err(error) => Err(FetchError::Unavailable(error.to_string())),
        }
    }
}

/// Files a message for the consumer that gave it up; then takes it out of a work queue, where it would stay for
/// ever. In a log it stays for the other readers.
pub(super) async fn file_and_remove(
    bus: &Bus,
    failed: &Failed<'_>,
    source: &Source,
) -> Result<(), String> {
    let Failed { stream, consumer, sequence, class, filed_by, .. } = *failed;
    let fresh = park::file(bus, failed).await.map_err(|error| {
        telemetry::park_failed(stream, consumer, error.reason());
        error.to_string()
    })?;
    if fresh {
        telemetry::filed(stream, filed_by.as_str());
        telemetry::dead_letter(stream, consumer, super::stats::known_class(class));
        tracing::warn!(
            stream,
            consumer,
            stream.sequence = sequence,
            dead.class = class,
            dead.filed_by = filed_by.as_str(),
            "a message that nobody would handle any more was filed"
        );
    }
    if source.is_queue {
        source.remove(sequence).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Runs the backstop until the soft stop.
///
/// # Errors
/// If the consumer of advisories cannot be created.
pub async fn run(bus: &Bus, lifecycle: Lifecycle) -> Result<(), ConsumeError> {
    let spec = ConsumerSpec {
        filters: vec![
            subjects::ADVISORIES_MAX_DELIVERIES.to_owned(),
            subjects::ADVISORIES_TERMINATED.to_owned(),
        ],
        max_in_flight: IN_FLIGHT,
        // An advisory is tried until its message is filed, however long the dead letters are full. The pauses
        // stay short enough to be delayed negative acknowledgements: the stream carries no schedules.
        max_attempts: u32::MAX,
        backoff: Backoff { first: Duration::from_millis(250), max: Duration::from_secs(10) },
        ..ConsumerSpec::new(ADVISORIES, DURABLE, subjects::ADVISORIES_MAX_DELIVERIES)
    };
    consume::run(bus, spec, Arc::new(Backstop { bus: bus.clone() }), lifecycle).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advisory(kind: &str, stream: &str, reason: Option<&str>) -> Advisory {
        Advisory {
            stream: stream.to_owned(),
            consumer: "c".to_owned(),
            stream_seq: 1,
            deliveries: 3,
            reason: reason.map(str::to_owned),
            kind: format!("io.nats.jetstream.advisory.v1.{kind}"),
        }
    }

    #[test]
    fn only_what_others_gave_up_is_filed() {
        for (kind, stream, reason, meaning) in [
            ("max_deliver", "WORK", None, Meaning::Exhausted),
            ("terminated", "WORK", Some("no such user"), Meaning::Terminated),
            ("terminated", "WORK", None, Meaning::Terminated),
            ("terminated", "WORK", Some("bus:poison"), Meaning::Nothing),
            ("terminated", "WORK", Some(REMOVED), Meaning::Removed),
            ("nak", "WORK", None, Meaning::Nothing),
            ("max_deliver", DLQ, None, Meaning::Nothing),
            ("terminated", ADVISORIES, Some(REMOVED), Meaning::Nothing),
        ] {
            assert_eq!(advisory(kind, stream, reason).meaning(), meaning, "{kind} {reason:?}");
        }
    }

    #[test]
    fn an_advisory_of_the_server_is_read() {
        let text = r#"{"type":"io.nats.jetstream.advisory.v1.terminated","id":"x",
            "timestamp":"2026-08-02T10:00:00Z","stream":"WORK","consumer":"c","consumer_seq":1,
            "stream_seq":4,"deliveries":1,"reason":"bad","domain":"hub"}"#;
        let read: Advisory = serde_json::from_str(text).unwrap();
        assert_eq!((read.stream_seq, read.deliveries, read.reason.as_deref()), (4, 1, Some("bad")));
    }
}
