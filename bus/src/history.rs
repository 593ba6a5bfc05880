//! Taking messages out of channels so that nobody who missed them believes to have everything.
//! Reads: the channels' streams, the bucket of marks. Writes: marks, then the removal, then a notice to edges.
//! Never: removes before the mark is stored.
//!
//! What a stream forgets by age, size or number can be seen in the stream (see docs/guide-history.md); a removal on
//! purpose cannot. A mark says up to where messages of a channel may be missing; a client whose position lies before
//! it has lost its position. A channel with a stream of its own needs none: its sequences have no holes.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::PurgeResponse;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::connect::Bus;
use crate::fetch::FetchError;
use crate::headers;
use crate::ids::MessageId;
use crate::publish::{Outgoing, PublishError};
use crate::subjects;
use crate::topology::HISTORY_MARKS;

/// Header of the notice to edges: up to which sequence messages of the channel were removed.
pub const REMOVED: &str = "Campana-Removed";
/// How long the server may take to remove.
const TIMEOUT: Duration = Duration::from_secs(30);
/// In place of a channel: how many messages were removed with notice.
const ANNOUNCED: &str = "announced";
/// Tries to write a mark that others write, too.
const TRIES: usize = 8;

/// Why messages were not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// The stream or the bucket of marks does not answer; nothing was removed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The mark could not be stored; nothing was removed.
    #[error("the mark could not be stored: {0}")]
    Mark(PublishError),
    /// The stream did not remove; the mark stays, which is safe.
    #[error("the stream did not remove the messages: {0}")]
    Purge(String),
}

/// Up to where messages may be missing, in one incarnation of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    epoch: String,
    upto: u64,
}

/// Removes all messages that the channel stored under `subject` has now; gives how many that were.
///
/// # Errors
/// If the mark cannot be stored first, or the stream does not remove.
pub async fn remove(bus: &Bus, subject: &str) -> Result<u64, RemoveError> {
    let stream = subjects::stored_in(subject);
    let last = match bus.last(&stream, subject).await {
        // A stream of its own that was never made.
        Err(_) if subjects::is_dense(subject) => return Ok(0),
        last => last?,
    };
    let Some(last) = last else { return Ok(0) };
    if !subjects::is_dense(subject) {
        let count = bus.count(&stream, subject).await?;
        mark(bus, subject, last.sequence, count).await?;
    }
    let removed = purge(bus, &stream, subject, last.sequence).await?;
    notify(bus, subject, last.sequence).await;
    Ok(removed)
}

/// Says that messages of the channel up to `upto` may be missing, and `count` of them at most, for whoever removes
/// them in another way: before doing so.
///
/// # Errors
/// If the mark cannot be stored.
pub async fn mark(bus: &Bus, subject: &str, upto: u64, count: u64) -> Result<(), RemoveError> {
    let epoch = bus.position(&subjects::stored_in(subject)).await?.epoch;
    announce(bus, &epoch, count).await?;
    let mark = Mark { epoch, upto };
    // The second one is for patterns, which have many channels.
    let Some((namespace, _)) = subject.rsplit_once('.') else { return Ok(()) };
    for key in [subject.to_owned(), format!("{namespace}.*")] {
        raise(bus, &key, &mark).await?;
    }
    Ok(())
}

/// Up to where messages of a channel (or of a namespace: its filter) may be missing; 0 if nowhere.
///
/// # Errors
/// If the bucket does not answer.
pub async fn marked(bus: &Bus, subject: &str, epoch: &str) -> Result<u64, FetchError> {
    let (mark, _) = read(bus, subject).await?;
    Ok(mark.filter(|mark| mark.epoch == epoch).map_or(0, |mark| mark.upto))
}

/// How many messages were, or will be, removed with notice in this incarnation of the stream.
///
/// # Errors
/// If the bucket does not answer.
pub async fn announced(bus: &Bus, epoch: &str) -> Result<u64, FetchError> {
    marked(bus, ANNOUNCED, epoch).await
}

/// Adds to what [`announced`] says, so that edges do not wonder where the messages went.
async fn announce(bus: &Bus, epoch: &str, count: u64) -> Result<(), RemoveError> {
    for _ in 0..TRIES {
        let (known, revision) = read(bus, ANNOUNCED).await?;
        let before = known.filter(|known| known.epoch == epoch).map_or(0, |known| known.upto);
        let all = Mark { epoch: epoch.to_owned(), upto: before.saturating_add(count) };
        match store(bus, ANNOUNCED, &all, revision).await {
            Err(PublishError::WrongLastSequence) => {}
            other => return other.map_err(RemoveError::Mark),
        }
    }
    Err(RemoveError::Mark(PublishError::WrongLastSequence))
}

async fn store(bus: &Bus, subject: &str, mark: &Mark, revision: u64) -> Result<(), PublishError> {
    let body = json!(mark).to_string().into();
    let mut message = Outgoing::new(key(subject), MessageId::fresh().to_string(), body);
    message.expect_last_subject_sequence = Some(revision);
    bus.publish(message).await.map(|_| ())
}

async fn read(bus: &Bus, subject: &str) -> Result<(Option<Mark>, u64), FetchError> {
    let found = bus.last(&subjects::kv_stream(HISTORY_MARKS), &key(subject)).await?;
    let revision = found.as_ref().map_or(0, |message| message.sequence);
    Ok((found.and_then(|message| serde_json::from_slice(&message.payload).ok()), revision))
}

/// A channel's name, escaped, is longer than a key may be.
fn key(subject: &str) -> String {
    subjects::kv(HISTORY_MARKS, &hex::encode(Sha256::digest(subject.as_bytes())))
}

async fn raise(bus: &Bus, subject: &str, mark: &Mark) -> Result<(), RemoveError> {
    for _ in 0..TRIES {
        let (known, revision) = read(bus, subject).await?;
        if known.is_some_and(|known| known.epoch == mark.epoch && known.upto >= mark.upto) {
            return Ok(());
        }
        match store(bus, subject, mark, revision).await {
            // Somebody else was faster, or our own repeat: read again.
            Err(PublishError::WrongLastSequence) => {}
            other => return other.map_err(RemoveError::Mark),
        }
    }
    Err(RemoveError::Mark(PublishError::WrongLastSequence))
}

async fn purge(bus: &Bus, stream: &str, subject: &str, upto: u64) -> Result<u64, RemoveError> {
    let failed = |why: String| RemoveError::Purge(why);
    let body = json!({"filter": subject, "seq": upto.saturating_add(1)}).to_string();
    let api = format!("$JS.API.STREAM.PURGE.{stream}");
    let answer = bus.request(api, HeaderMap::new(), body.into(), TIMEOUT).await;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    match serde_json::from_slice(&answer.payload).map_err(|error| failed(error.to_string()))? {
        Response::<PurgeResponse>::Ok(done) => Ok(done.purged),
        Response::Err { error } => Err(failed(error.to_string())),
    }
}

/// Tells edges that follow the channel, so that they forget what they keep of it; the mark stands without it.
async fn notify(bus: &Bus, subject: &str, upto: u64) {
    let mut head = HeaderMap::new();
    headers::set(&mut head, REMOVED, &upto.to_string());
    let live = subjects::live_of(subject);
    if let Err(error) = bus.client().publish_with_headers(live, head, bytes::Bytes::new()).await {
        tracing::debug!(%error, "edges were not told of a removal");
    }
}
