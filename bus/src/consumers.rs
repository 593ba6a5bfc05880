//! Durable consumers as operators see them: what waits, what is in hand, whether they are paused.
//! Reads: JetStream's description of consumers. Writes: their pause. Never: creates or deletes a consumer.
//!
//! A pause is kept by the server: it gives no new messages away until the time given, whoever asks, and
//! however often the processes that run the consumer restart. Messages in hand are finished. The pull
//! loops of the library hear the server's heartbeats all the while and go on by themselves.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::context::{ConsumerInfoErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{ConsumerErrorKind, Stream};
use futures::TryStreamExt;
use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::Micros;
use crate::connect::Bus;

/// Longest pause: a consumer that nobody misses for longer should be deleted instead.
pub const PAUSE_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A consumer at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsumerState {
    /// Its stream.
    pub stream: String,
    /// Its durable name.
    pub consumer: String,
    /// What it takes.
    pub filters: Vec<String>,
    /// Messages that were never given to anybody.
    pub pending: u64,
    /// Messages in hand, or waiting for another attempt.
    pub ack_pending: usize,
    /// Of the messages in hand, those that were given away more than once.
    pub redelivered: usize,
    /// Requests that wait for messages: at least one for each idle process.
    pub waiting: usize,
    /// The sequence up to which everything is settled.
    pub ack_floor: u64,
    /// When the pause ends, RFC 3339; `None` if it is not paused.
    pub paused_until: Option<String>,
}

/// Why a consumer could not be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumersError {
    /// There is no such stream.
    #[error("there is no stream {0}; `campana topology show` lists those of the platform")]
    NoStream(String),
    /// There is no such consumer.
    #[error(
        "stream {stream} has no consumer {consumer}; `campana consumers list` shows those that exist"
    )]
    NoConsumer {
        /// The stream.
        stream: String,
        /// The name that was not found.
        consumer: String,
    },
    /// The pause is over before it begins, or too long.
    #[error("a pause lies in the future and lasts at most 366 days")]
    Pause,
    /// The server did not answer, or refused.
    #[error("the server did not do it: {0}")]
    Server(String),
}

/// All durable consumers of one stream, or of every stream, in order of their names.
///
/// # Errors
/// If the stream does not exist or the server does not answer.
pub async fn list(bus: &Bus, stream: Option<&str>) -> Result<Vec<ConsumerState>, ConsumersError> {
    let names = match stream {
        Some(name) => vec![name.to_owned()],
        None => bus.jetstream().stream_names().try_collect().await.map_err(server)?,
    };
    let mut states = Vec::new();
    for name in names {
        let stream = stream_of(bus, &name).await?;
        let consumers: Vec<Info> = stream.consumers().try_collect().await.map_err(server)?;
        let durable = consumers.iter().filter(|info| info.config.durable_name.is_some());
        states.extend(durable.map(|info| state(info, crate::clock::now())));
    }
    states.sort_by(|a, b| (&a.stream, &a.consumer).cmp(&(&b.stream, &b.consumer)));
    Ok(states)
}

/// One consumer.
///
/// # Errors
/// If it does not exist or the server does not answer.
pub async fn show(
    bus: &Bus,
    stream: &str,
    consumer: &str,
) -> Result<ConsumerState, ConsumersError> {
    let found = stream_of(bus, stream).await?.consumer_info(consumer).await;
    match found {
        Ok(info) => Ok(state(&info, crate::clock::now())),
        Err(error) => Err(match error.kind() {
            ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::InvalidName => {
                no_consumer(stream, consumer)
            }
            _ => server(error),
        }),
    }
}

/// Lets a consumer rest until the given time; an earlier pause is replaced.
///
/// # Errors
/// If it does not exist, the time has passed or is too far away, or the server does not answer.
pub async fn pause(
    bus: &Bus,
    stream: &str,
    consumer: &str,
    until: Micros,
) -> Result<ConsumerState, ConsumersError> {
    let now = crate::clock::now();
    let max = i64::try_from(PAUSE_MAX.as_micros()).unwrap_or(i64::MAX);
    if until <= now || until.since(now) > max {
        return Err(ConsumersError::Pause);
    }
    let until = OffsetDateTime::from_unix_timestamp_nanos(i128::from(until.0) * 1_000)
        .map_err(|_| ConsumersError::Pause)?;
    // The server would take a pause of a consumer that is not there for a bad request.
    show(bus, stream, consumer).await?;
    let paused = stream_of(bus, stream).await?.pause_consumer(consumer, until).await;
    paused.map_err(|error| changed(stream, consumer, &error))?;
    show(bus, stream, consumer).await
}

/// Lets a paused consumer go on at once; one that is not paused is left as it is.
///
/// # Errors
/// If it does not exist or the server does not answer.
pub async fn resume(
    bus: &Bus,
    stream: &str,
    consumer: &str,
) -> Result<ConsumerState, ConsumersError> {
    show(bus, stream, consumer).await?;
    let resumed = stream_of(bus, stream).await?.resume_consumer(consumer).await;
    resumed.map_err(|error| changed(stream, consumer, &error))?;
    show(bus, stream, consumer).await
}

async fn stream_of(bus: &Bus, name: &str) -> Result<Stream, ConsumersError> {
    bus.jetstream().get_stream(name).await.map_err(|error| match error.kind() {
        GetStreamErrorKind::JetStream(inner)
            if inner.error_code() == ErrorCode::STREAM_NOT_FOUND =>
        {
            ConsumersError::NoStream(name.to_owned())
        }
        GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => {
            ConsumersError::NoStream(name.to_owned())
        }
        _ => server(error),
    })
}

fn state(info: &Info, now: Micros) -> ConsumerState {
    let filters = match info.config.filter_subject.as_str() {
        "" => info.config.filter_subjects.clone(),
        one => vec![one.to_owned()],
    };
    let remaining = info.pause_remaining.filter(|_| info.paused).unwrap_or_default();
    let until = now.0.saturating_add(i64::try_from(remaining.as_micros()).unwrap_or(i64::MAX));
    let configured = info
        .config
        .pause_until
        .map(|at| Micros(i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)));
    ConsumerState {
        stream: info.stream_name.clone(),
        consumer: info.name.clone(),
        filters,
        pending: info.num_pending,
        ack_pending: info.num_ack_pending,
        redelivered: info.num_redelivered,
        waiting: info.num_waiting,
        ack_floor: info.ack_floor.stream_sequence,
        paused_until: info.paused.then(|| configured.unwrap_or(Micros(until)).to_rfc3339()),
    }
}

fn no_consumer(stream: &str, consumer: &str) -> ConsumersError {
    ConsumersError::NoConsumer { stream: stream.to_owned(), consumer: consumer.to_owned() }
}

fn changed(
    stream: &str,
    consumer: &str,
    error: &async_nats::jetstream::stream::ConsumerError,
) -> ConsumersError {
    match error.kind() {
        ConsumerErrorKind::JetStream(inner)
            if inner.error_code() == ErrorCode::CONSUMER_NOT_FOUND =>
        {
            no_consumer(stream, consumer)
        }
        ConsumerErrorKind::InvalidName => no_consumer(stream, consumer),
        _ => server(error),
    }
}

fn server(error: impl std::fmt::Display) -> ConsumersError {
    ConsumersError::Server(error.to_string())
}
