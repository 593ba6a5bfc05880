//! Reading stored messages without a consumer (direct get, NATS ADR-31).
//! Reads: JetStream. Writes: nothing. Never: creates a consumer, never waits without a limit.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::Info;
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::clock::Micros;
use crate::connect::Bus;
use crate::headers;

/// How long the server may stay silent.
const TIMEOUT: Duration = Duration::from_secs(5);
/// JetStream's error code for a stream that is not there, as its errors show it.
const NO_STREAM: &str = "10059";

/// A message as the stream holds it.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// Where it was published.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the stream stored it.
    pub time: Micros,
    /// Its headers, without those that the server adds to the answer.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Bytes,
}

/// Some messages of a subject, in order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<StoredMessage>,
    /// How many more there were when the page was made.
    pub pending: u64,
}

/// A part of a stream that was looked through.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Those that were wanted, oldest first.
    pub messages: Vec<StoredMessage>,
    /// Sequence of the last message that was seen, wanted or not; 0 if there was none.
    pub reached: u64,
    /// How many more there were, of any subject.
    pub pending: u64,
}

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// Sequence of the oldest message; one past the last if the stream is empty.
    pub first: u64,
    /// Sequence of the newest message ever stored.
    pub last: u64,
    /// Changes when the stream is created anew, so that old positions are recognised as void.
    pub epoch: String,
    /// How many messages the stream keeps per subject; -1 for no limit.
    pub max_per_subject: i64,
    /// Messages stored now.
    pub messages: u64,
    /// Bytes stored now.
    pub bytes: u64,
    /// Whether single messages may end before older ones of their subject: by a time to live of their own, or by
    /// a rollup.
    pub removes_singly: bool,
    /// Copies in a cluster.
    pub replicas: usize,
    /// How long a message is kept; zero for ever.
    pub max_age: Duration,
    /// Whether more than half of what it may hold is used, so that size may be what takes its oldest messages.
    pub filling: bool,
}

impl StreamPosition {
    /// Messages between the oldest and the newest one that are gone.
    #[must_use]
    pub fn missing(&self) -> u64 {
        if self.last == 0 {
            return 0;
        }
        self.last.saturating_add(1).saturating_sub(self.first).saturating_sub(self.messages)
    }
}

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No answer in time, or no connection.
    #[error("the stream does not answer: {0}")]
    Unavailable(String),
    /// The server answered something else than messages.
    #[error("the stream refused the request: {0}")]
    Refused(String),
}

impl FetchError {
    /// Whether the answer was that there is no such stream.
    #[must_use]
    pub fn is_no_stream(&self) -> bool {
        matches!(self, Self::Unavailable(why) if why.contains(NO_STREAM))
    }
}

impl Bus {
    /// Up to `limit` messages of `subject` (wildcards allowed) with a sequence above `after`.
    ///
    /// # Errors
    /// If the stream refuses or does not answer in time.
    pub async fn fetch_after(
        &self,
        stream: &str,
        subject: &str,
        after: u64,
        limit: usize,
    ) -> Result<Page, FetchError> {
        if limit == 0 {
            return Ok(Page::default());
        }
        let request =
            json!({"seq": after.saturating_add(1), "next_by_subj": subject, "batch": limit});
        self.fetch_page(stream, &request, limit).await
    }

    /// Looks at up to `limit` messages of any subject with a sequence above `after`, and no more of them than it
    /// takes to reach `bytes_max`; gives those whose subject is wanted.
    ///
    /// The server finds the next message of one subject by looking at all in between. So for messages of many
    /// subjects that lie mixed this is the cheaper way.
    ///
    /// # Errors
    /// If the stream refuses or does not answer in time.
    pub async fn scan_after(
        &self,
        stream: &str,
        after: u64,
        limit: usize,
        bytes_max: usize,
        mut wanted: impl FnMut(&str) -> bool + Send,
    ) -> Result<Scan, FetchError> {
        let request = json!({
            "seq": after.saturating_add(1),
            "next_by_subj": ">",
            "batch": limit.max(1),
            "max_bytes": bytes_max.max(1),
        });
        let mut scan = Scan::default();
        let (messages, reached) = (&mut scan.messages, &mut scan.reached);
        scan.pending = self
            .fetch_each(stream, &request, limit.max(1), |answer| {
                let (subject, sequence) = identity(&answer)?;
                *reached = sequence;
                if wanted(subject) {
                    messages.push(stored(answer)?);
                }
                Ok(())
            })
            .await?;
        Ok(scan)
    }

    /// The answer to a direct get of up to `limit` messages, whatever else it asks for.
    pub(crate) async fn fetch_page(
        &self,
        stream: &str,
        request: &serde_json::Value,
        limit: usize,
    ) -> Result<Page, FetchError> {
        let mut page = Page::default();
        let messages = &mut page.messages;
        page.pending = self
            .fetch_each(stream, request, limit, |answer| {
                messages.push(stored(answer)?);
                Ok(())
            })
            .await?;
        Ok(page)
    }

    /// Does something with each message of the answer to a direct get; says how many more there are.
    async fn fetch_each(
        &self,
        stream: &str,
        request: &serde_json::Value,
        limit: usize,
        mut each: impl FnMut(Message) -> Result<(), FetchError> + Send,
    ) -> Result<u64, FetchError> {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let payload = request.to_string().into();
        let mut answers = self
            .replies()
            // The messages, and the end of the batch.
            .ask_many(direct_get(stream), payload, limit.saturating_add(1), deadline)
            .await
            .map_err(unavailable)?;
        let mut more = 0;
        loop {
            let answer = answers.next(TIMEOUT).await.map_err(unavailable)?;
            match answer.status.map(|status| status.as_u16()) {
                None => {
                    more = pending(&answer);
                    each(answer)?;
                }
                // End of batch; nothing (more) there.
                Some(204) => return Ok(pending(&answer)),
                Some(404) => return Ok(more),
                Some(503) => {
                    return Err(FetchError::Unavailable(
                        "no such stream, or JetStream is down".to_owned(),
                    ));
                }
                Some(_) => return Err(FetchError::Refused(answer.description.unwrap_or_default())),
            }
        }
    }

    /// How many messages of `subject` (wildcards allowed) are stored.
    ///
    /// # Errors
    /// If the stream refuses or does not answer in time.
    pub async fn count(&self, stream: &str, subject: &str) -> Result<u64, FetchError> {
        let page = self.fetch_after(stream, subject, 0, 1).await?;
        Ok(page.messages.len() as u64 + page.pending)
    }

    /// The newest message of a subject.
    ///
    /// # Errors
    /// If the stream refuses or does not answer in time.
    pub async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<StoredMessage>, FetchError> {
        self.get_one(stream, &json!({"last_by_subj": subject})).await
    }

    /// The message with this sequence.
    ///
    /// # Errors
    /// If the stream refuses or does not answer in time.
    pub async fn message(
        &self,
        stream: &str,
        sequence: u64,
    ) -> Result<Option<StoredMessage>, FetchError> {
        self.get_one(stream, &json!({"seq": sequence})).await
    }

    async fn get_one(
        &self,
        stream: &str,
        request: &serde_json::Value,
    ) -> Result<Option<StoredMessage>, FetchError> {
        let payload = request.to_string().into();
        let answer = self
            .request(direct_get(stream), HeaderMap::new(), payload, TIMEOUT)
            .await
            .map_err(unavailable)?;
        match answer.status.map(|status| status.as_u16()) {
            None => stored(answer).map(Some),
            Some(404) => Ok(None),
            Some(_) => Err(FetchError::Refused(answer.description.unwrap_or_default())),
        }
    }

    /// Sequence of the first message that the stream's leader finds: a replica that is behind never answers
    /// this. `request` is a body of `STREAM.MSG.GET`.
    pub(crate) async fn first_of_leader(
        &self,
        stream: &str,
        request: &serde_json::Value,
    ) -> Result<Option<u64>, FetchError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            message: Found,
        }
        #[derive(serde::Deserialize)]
        struct Found {
            seq: u64,
        }
        let answer = self
            .request(
                format!("$JS.API.STREAM.MSG.GET.{stream}"),
                HeaderMap::new(),
                request.to_string().into(),
                TIMEOUT,
            )
            .await
            .map_err(unavailable)?;
        match serde_json::from_slice(&answer.payload).map_err(unavailable)? {
            Response::<Answer>::Ok(answer) => Ok(Some(answer.message.seq)),
            Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                Ok(None)
            }
            Response::Err { error } => Err(unavailable(error)),
        }
    }

    /// Sequence of the newest message of a subject as the stream's leader has it; 0 if there is none.
    ///
    /// # Errors
    /// If the stream is unknown or does not answer in time.
    pub async fn last_of_leader(&self, stream: &str, subject: &str) -> Result<u64, FetchError> {
        let last = self.first_of_leader(stream, &json!({"last_by_subj": subject})).await?;
        Ok(last.unwrap_or(0))
    }

    /// Sequence of the oldest message of any subject after a sequence, as the stream's leader has it; 0 if there is
    /// none.
    ///
    /// # Errors
    /// If the stream is unknown or does not answer in time.
    pub async fn next_of_leader(&self, stream: &str, after: u64) -> Result<u64, FetchError> {
        let request = json!({"seq": after.saturating_add(1), "next_by_subj": ">"});
        Ok(self.first_of_leader(stream, &request).await?.unwrap_or(0))
    }

    /// Where a stream stands now.
    ///
    /// # Errors
    /// If the stream is unknown or does not answer in time.
    pub async fn position(&self, stream: &str) -> Result<StreamPosition, FetchError> {
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let answer = self
            .request(subject, HeaderMap::new(), Bytes::new(), TIMEOUT)
            .await
            .map_err(unavailable)?;
        let info = match serde_json::from_slice(&answer.payload).map_err(unavailable)? {
            Response::<Info>::Ok(info) => info,
            Response::Err { error } => return Err(unavailable(error)),
        };
        let created = info.created.unix_timestamp_nanos().to_string();
        Ok(StreamPosition {
            first: info.state.first_sequence,
            last: info.state.last_sequence,
            epoch: hex::encode(&Sha256::digest(created.as_bytes())[..4]),
            max_per_subject: info.config.max_messages_per_subject,
            messages: info.state.messages,
            bytes: info.state.bytes,
            replicas: info.config.num_replicas,
            removes_singly: info.config.allow_message_ttl || info.config.allow_rollup,
            max_age: info.config.max_age,
            filling: filling(info.state.messages, info.config.max_messages)
                || filling(info.state.bytes, info.config.max_bytes),
        })
    }
}

/// Whether more than half is used; a limit below 1 is none.
fn filling(used: u64, limit: i64) -> bool {
    u64::try_from(limit).is_ok_and(|limit| limit > 0 && used > limit / 2)
}

fn direct_get(stream: &str) -> String {
    format!("$JS.API.DIRECT.GET.{stream}")
}

fn unavailable(error: impl std::fmt::Display) -> FetchError {
    FetchError::Unavailable(error.to_string())
}

fn pending(answer: &Message) -> u64 {
    answer
        .headers
        .as_ref()
        .and_then(|all| headers::get_number(all, "Nats-Num-Pending"))
        .unwrap_or(0)
}

fn malformed() -> FetchError {
    FetchError::Refused("an answer without subject or sequence".to_owned())
}

/// Subject and sequence of a message.
fn identity(answer: &Message) -> Result<(&str, u64), FetchError> {
    let all = answer.headers.as_ref().ok_or_else(malformed)?;
    let subject = headers::get(all, "Nats-Subject").ok_or_else(malformed)?;
    Ok((subject, headers::get_number(all, "Nats-Sequence").ok_or_else(malformed)?))
}

fn stored(answer: Message) -> Result<StoredMessage, FetchError> {
    let (subject, sequence) = identity(&answer)?;
    let subject = subject.to_owned();
    let all = answer.headers.ok_or_else(malformed)?;
    let time =
        headers::get(&all, "Nats-Time-Stamp").and_then(Micros::from_rfc3339).unwrap_or_default();
    let own = headers::without(&all, |name| {
        matches!(
            name,
            "nats-subject"
                | "nats-sequence"
                | "nats-time-stamp"
                | "nats-stream"
                | "nats-num-pending"
                | "nats-last-sequence"
        )
    });
    Ok(StoredMessage { subject, sequence, time, headers: own, payload: answer.payload })
}
