//! Reading stored messages without a consumer (direct get, NATS ADR-31).
//! Reads: JetStream. Writes: nothing. Never: creates a consumer, never waits without a limit.

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::clock::Micros;
use crate::connect::Bus;
use crate::headers;

/// How long the server may stay silent.
const TIMEOUT: Duration = Duration::from_secs(5);

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
        let inbox = self.client().new_inbox();
        let mut answers = self.client().subscribe(inbox.clone()).await.map_err(unavailable)?;
        self.client()
            .publish_with_reply(
                format!("$JS.API.DIRECT.GET.{stream}"),
                inbox,
                request.to_string().into(),
            )
            .await
            .map_err(unavailable)?;
        let mut page = Page::default();
        loop {
            let answer = match tokio::time::timeout(TIMEOUT, answers.next()).await {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    return Err(FetchError::Unavailable("the connection closed".to_owned()));
                }
                Err(_) => return Err(FetchError::Unavailable("no answer within 5 s".to_owned())),
            };
            match answer.status.map(|status| status.as_u16()) {
                None => {
                    page.pending = pending(&answer);
                    page.messages.push(stored(answer)?);
                }
                // End of batch; nothing (more) there.
                Some(204) => {
                    page.pending = pending(&answer);
                    return Ok(page);
                }
                Some(404) => return Ok(page),
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
        let answer = tokio::time::timeout(
            TIMEOUT,
            self.client()
                .request(format!("$JS.API.DIRECT.GET.{stream}"), request.to_string().into()),
        )
        .await
        .map_err(|_| FetchError::Unavailable("no answer within 5 s".to_owned()))?
        .map_err(unavailable)?;
        match answer.status.map(|status| status.as_u16()) {
            None => stored(answer).map(Some),
            Some(404) => Ok(None),
            Some(_) => Err(FetchError::Refused(answer.description.unwrap_or_default())),
        }
    }

    /// Where a stream stands now.
    ///
    /// # Errors
    /// If the stream is unknown or does not answer in time.
    pub async fn position(&self, stream: &str) -> Result<StreamPosition, FetchError> {
        let stream = self.jetstream().get_stream(stream).await.map_err(unavailable)?;
        let info = stream.cached_info();
        let created = info.created.unix_timestamp_nanos().to_string();
        Ok(StreamPosition {
            first: info.state.first_sequence,
            last: info.state.last_sequence,
            epoch: hex::encode(&Sha256::digest(created.as_bytes())[..4]),
            max_per_subject: info.config.max_messages_per_subject,
            messages: info.state.messages,
            bytes: info.state.bytes,
        })
    }
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

fn stored(answer: Message) -> Result<StoredMessage, FetchError> {
    let malformed = || FetchError::Refused("an answer without subject or sequence".to_owned());
    let all = answer.headers.ok_or_else(malformed)?;
    let subject = headers::get(&all, "Nats-Subject").ok_or_else(malformed)?.to_owned();
    let sequence = headers::get_number(&all, "Nats-Sequence").ok_or_else(malformed)?;
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
