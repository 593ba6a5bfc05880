//! Changes of a bucket as they happen, and the list of its keys.
//! Reads: the bucket's stream. Writes: nothing. Never: shows a key in the form in which the server has it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};

use super::{KvError, is_deletion};
use crate::clock::Micros;
use crate::connect::Bus;
use crate::replay::{From, Replay, ReplayError};
use crate::subjects;

/// One change of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvChange {
    /// Which key.
    pub key: String,
    /// Its new value; `None` if it was deleted or its time was over.
    pub value: Option<Bytes>,
    /// The revision of the change.
    pub revision: u64,
    /// When it happened.
    pub changed_at: Micros,
}

/// Changes of a bucket, as a [`futures::Stream`]. A key that changes faster than the watcher reads shows its last
/// value only. Changes are seen within some 20 ms; the end of a key's time, changes just after a lost connection, and
/// all changes if the account may not subscribe to `$KV.<bucket>.>`, within 2 s.
#[must_use = "a watch reads nothing until it is polled"]
pub struct KvWatch {
    changes: Replay,
    bucket: String,
}

impl KvWatch {
    pub(super) fn new(bus: &Bus, bucket: &str, after_revision: Option<u64>) -> Self {
        let from = match after_revision {
            Some(revision) => From::Sequence(revision.saturating_add(1)),
            None => From::New,
        };
        let filter = subjects::kv_filter(bucket);
        let changes = bus.replay(subjects::kv_stream(bucket), filter, from).listen();
        Self { changes, bucket: bucket.to_owned() }
    }
}

impl Stream for KvWatch {
    type Item = Result<KvChange, KvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let message = match futures::ready!(self.changes.poll_next_unpin(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(unavailable(&error)))),
                Some(Ok(message)) => message,
            };
            // A key of another program's making is none of ours.
            if let Some(key) = subjects::parse_kv(&self.bucket, &message.subject) {
                return Poll::Ready(Some(Ok(KvChange {
                    key,
                    value: (!is_deletion(&message)).then(|| message.payload.clone()),
                    revision: message.sequence,
                    changed_at: message.time,
                })));
            }
        }
    }
}

/// Keys with a value that begin with `prefix`, in alphabetical order.
pub(super) async fn keys(
    bus: &Bus,
    bucket: &str,
    prefix: &str,
    limit: usize,
) -> Result<Vec<String>, KvError> {
    let mut found = std::collections::BTreeSet::new();
    let store = bus.jetstream().get_key_value(bucket).await;
    let store = store.map_err(|error| KvError::Unavailable(error.to_string()))?;
    // Headers only: the values stay on the server.
    let mut keys = store.keys().await.map_err(|error| KvError::Unavailable(error.to_string()))?;
    let failed = |error: &dyn std::error::Error| KvError::Unavailable(error.to_string());
    while let Some(key) = keys.try_next().await.map_err(|error| failed(&error))? {
        if let Some(key) = subjects::unescape(&key).filter(|key| key.starts_with(prefix)) {
            found.insert(key);
            // The first ones by name, whatever order they come in, and never more than asked for in memory.
            if found.len() > limit {
                found.pop_last();
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn unavailable(error: &ReplayError) -> KvError {
    KvError::Unavailable(error.to_string())
}
