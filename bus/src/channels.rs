//! Channels that have a stream of their own: offsets without gaps (1, 2, 3, …).
//! Reads: JetStream's description of streams. Writes: streams, messages. Never: makes more streams for a tenant than
//! allowed, never changes one that is there.
//!
//! A stream costs the server a folder, files and memory, so this is for few channels (tests, a board, a document), not
//! for one per user. Publishers must know that a channel is of this kind: it is stored elsewhere
//! ([`subjects::dense_channel`]), and its stream may have to be made first.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config, Republish, StorageType};
use serde::Deserialize;
use serde_json::json;

use crate::connect::Bus;
use crate::fetch::{FetchError, StreamPosition};
use crate::publish::{Outgoing, PublishError, StoredAt, publish_until};
use crate::subjects::{self, ChannelName};

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Repeats of a publish are recognised within this time.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// How the messages of a channel with a stream of its own are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseOptions {
    /// Messages kept per channel.
    pub messages_max: i64,
    /// How long a message is kept; zero for ever.
    pub age: Duration,
    /// Copies in a cluster.
    pub replicas: usize,
    /// Streams of this kind that a tenant may have.
    pub streams_max: usize,
}

impl Default for DenseOptions {
    fn default() -> Self {
        Self { messages_max: 1_000, age: Duration::ZERO, replicas: 1, streams_max: 1_000 }
    }
}

/// Why a channel has no stream of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DenseError {
    /// The tenant has as many as allowed.
    #[error("the tenant has {0} channels with streams of their own, which is the most it may have")]
    TooMany(usize),
    /// The server does not answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The server refused to make the stream.
    #[error("the stream cannot be made: {0}")]
    Refused(String),
    /// The message was not stored.
    #[error(transparent)]
    Publish(PublishError),
}

/// One stream of this kind, as a janitor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenseStream {
    /// Its name.
    pub name: String,
    /// What it stores.
    pub subject: String,
    /// When its last message was stored, or, without one, when it was made.
    pub active_at: crate::clock::Micros,
    /// Sequence of the newest message ever stored.
    pub last: u64,
}

impl Bus {
    /// Where the stream of the channel stored under `subject` stands; made if there is none.
    ///
    /// # Errors
    /// If the tenant has too many, or the server refuses or does not answer.
    pub async fn dense_stream(
        &self,
        subject: &str,
        options: &DenseOptions,
    ) -> Result<StreamPosition, DenseError> {
        let name = subjects::stored_in(subject);
        match self.position(&name).await {
            Err(error) if error.is_no_stream() => {}
            other => return Ok(other?),
        }
        let tenant = subjects::tenant_of(subject).unwrap_or_default();
        if self.dense_count(&tenant).await? >= options.streams_max {
            return Err(DenseError::TooMany(options.streams_max));
        }
        let config = config(&name, subject, options);
        let made = self.jetstream().create_stream(config).await;
        made.map_err(|error| DenseError::Refused(error.to_string()))?;
        Ok(self.position(&name).await?)
    }

    /// Stores one message in a channel with a stream of its own, which is made if there is none.
    ///
    /// # Errors
    /// As [`Bus::dense_stream`], or if the message is not stored.
    pub async fn publish_dense(
        &self,
        message: Outgoing,
        options: &DenseOptions,
    ) -> Result<StoredAt, DenseError> {
        match publish_until(self, &message, Duration::ZERO).await {
            // Without a stream nobody answers.
            Err(PublishError::Unavailable(_)) => {}
            other => return other.map_err(DenseError::Publish),
        }
        self.dense_stream(&message.subject, options).await?;
        self.publish(message).await.map_err(DenseError::Publish)
    }

    /// Stores a service's message in a channel: `dense` says how, if the channel's namespace has
    /// `dense_offsets`.
    ///
    /// # Errors
    /// If the message is not stored.
    pub async fn publish_to_channel(
        &self,
        tenant: &str,
        name: &ChannelName,
        dense: Option<&DenseOptions>,
        message: Outgoing,
    ) -> Result<StoredAt, DenseError> {
        match dense {
            Some(options) => {
                let subject = subjects::dense_channel(tenant, name);
                self.publish_dense(Outgoing { subject, ..message }, options).await
            }
            None => {
                let subject = subjects::channel(tenant, name);
                self.publish(Outgoing { subject, ..message }).await.map_err(DenseError::Publish)
            }
        }
    }

    /// How many streams of this kind a tenant has.
    async fn dense_count(&self, tenant: &str) -> Result<usize, FetchError> {
        #[derive(Deserialize)]
        struct Names {
            total: usize,
        }
        let body = json!({"subject": subjects::dense_filter(Some(tenant))});
        let names: Names = self.api("STREAM.NAMES", &body).await?;
        Ok(names.total)
    }

    /// A page of all streams of this kind, from the one with this number on, and how many there are.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn dense_streams(
        &self,
        from: usize,
    ) -> Result<(Vec<DenseStream>, usize), FetchError> {
        #[derive(Deserialize)]
        struct List {
            total: usize,
            #[serde(default)]
            streams: Option<Vec<async_nats::jetstream::stream::Info>>,
        }
        let body = json!({"subject": subjects::dense_filter(None), "offset": from});
        let list: List = self.api("STREAM.LIST", &body).await?;
        let micros = |nanos: i128| crate::clock::Micros(i64::try_from(nanos / 1_000).unwrap_or(0));
        let streams = list.streams.unwrap_or_default().into_iter().filter_map(|info| {
            let made = micros(info.created.unix_timestamp_nanos());
            let last = micros(info.state.last_timestamp.unix_timestamp_nanos());
            Some(DenseStream {
                subject: info.config.subjects.first()?.clone(),
                name: info.config.name,
                last: info.state.last_sequence,
                active_at: if info.state.last_sequence > 0 { last.max(made) } else { made },
            })
        });
        Ok((streams.collect(), list.total))
    }

    async fn api<T: serde::de::DeserializeOwned>(
        &self,
        verb: &str,
        body: &serde_json::Value,
    ) -> Result<T, FetchError> {
        let unavailable = |why: String| FetchError::Unavailable(why);
        let (subject, body) = (format!("$JS.API.{verb}"), body.to_string());
        let answer = self.request(subject, HeaderMap::new(), body.into(), TIMEOUT).await;
        let answer = answer.map_err(|error| unavailable(error.to_string()))?;
        serde_json::from_slice(&answer.payload).map_err(|error| unavailable(error.to_string()))
    }
}

fn config(name: &str, subject: &str, options: &DenseOptions) -> Config {
    let window = match options.age {
        Duration::ZERO => DUPLICATE_WINDOW,
        age => DUPLICATE_WINDOW.min(age),
    };
    Config {
        name: name.to_owned(),
        description: Some("one channel with offsets of its own".to_owned()),
        subjects: vec![subject.to_owned()],
        max_messages: options.messages_max,
        max_age: options.age,
        duplicate_window: window,
        storage: StorageType::File,
        num_replicas: options.replicas,
        allow_direct: true,
        republish: Some(Republish {
            source: subject.to_owned(),
            destination: subjects::live_of(subject),
            headers_only: false,
        }),
        ..Config::default()
    }
}
