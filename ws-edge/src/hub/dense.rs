//! Channels that have a stream of their own: made when they are first used, deleted when nobody uses them.
//! Reads: options, JetStream's list of streams. Writes: streams and messages. Never: deletes a stream that was
//! written to, or that somebody listens to, within its namespace's time.

use std::sync::Arc;
use std::time::Duration;

use campana_bus::channels::{DenseError, DenseOptions, DenseStream};
use campana_bus::clock;
use campana_bus::fetch::{FetchError, StreamPosition};
use campana_bus::publish::{Outgoing, PublishError, StoredAt};
use campana_bus::{HeaderMap, RequestError, subjects};

use super::Inner;
use super::kinds::{self, Dense};
use crate::codes::{ReplyError, error};
use crate::publication::ChannelKey;

/// How long edges may take to say that they have subscribers.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often idle streams are looked for, at least and at most.
const INTERVAL_MIN: Duration = Duration::from_millis(500);
const INTERVAL_MAX: Duration = Duration::from_secs(300);

/// Why a channel cannot be joined.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Dense(#[from] DenseError),
}

impl JoinError {
    /// What the client is told.
    pub(super) fn reply(&self) -> ReplyError {
        match self {
            Self::Dense(DenseError::TooMany(_)) => error::LIMIT_EXCEEDED,
            _ => error::INTERNAL,
        }
    }
}

impl Inner {
    async fn dense_options(&self, dense: &Dense) -> Result<DenseOptions, FetchError> {
        // As many copies as the shared stream has.
        let replicas = self.source.recently(INTERVAL_MAX).await?.stream.replicas;
        Ok(DenseOptions { replicas, ..dense.options })
    }

    /// Where the stream of the channel stands; made if there is none.
    pub(super) async fn dense_stream(&self, key: &ChannelKey) -> Result<StreamPosition, JoinError> {
        let dense = self.kind_of(key).and_then(|kind| kind.dense);
        let options = match dense {
            Some(dense) => self.dense_options(&dense).await?,
            None => DenseOptions::default(),
        };
        Ok(self.bus.dense_stream(&key.subject, &options).await?)
    }

    /// Stores a message of such a channel.
    pub(super) async fn publish_dense(
        &self,
        key: &ChannelKey,
        message: Outgoing,
    ) -> Result<StoredAt, PublishError> {
        let unavailable = |why: String| PublishError::Unavailable(why);
        let dense = self.kind_of(key).and_then(|kind| kind.dense);
        let options = match dense {
            Some(dense) => {
                self.dense_options(&dense).await.map_err(|why| unavailable(why.to_string()))?
            }
            None => DenseOptions::default(),
        };
        self.bus.publish_dense(message, &options).await.map_err(|why| match why {
            DenseError::Publish(why) => why,
            // A limit, as far as the publisher is concerned.
            DenseError::TooMany(_) => PublishError::TooLarge,
            why => unavailable(why.to_string()),
        })
    }
}

/// Looks for idle streams until the hub ends.
pub(super) async fn run(inner: Arc<Inner>) {
    let idle = inner.kinds.values().filter_map(|kind| kind.dense.map(|dense| dense.idle));
    let Some(shortest) = idle.filter(|idle| !idle.is_zero()).min() else { return };
    let interval = (shortest / 4).clamp(INTERVAL_MIN, INTERVAL_MAX);
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = inner.stop.cancelled() => return,
        }
        tokio::select! {
            result = sweep(&inner) => {
                if let Err(error) = result {
                    tracing::debug!(%error, "idle streams of channels cannot be looked for now");
                }
            }
            () = inner.stop.cancelled() => return,
        }
    }
}

async fn sweep(inner: &Inner) -> Result<(), FetchError> {
    let mut from = 0;
    loop {
        let (streams, total) = inner.bus.dense_streams(from).await?;
        if streams.is_empty() {
            return Ok(());
        }
        from += streams.len();
        for stream in streams {
            if !is_idle(inner, &stream) || is_used(inner, &stream.subject).await {
                continue;
            }
            // Asking took a moment: what was stored meanwhile must stay.
            if inner.bus.position(&stream.name).await.is_ok_and(|now| now.last == stream.last) {
                match inner.bus.jetstream().delete_stream(&stream.name).await {
                    Ok(_) => {
                        tracing::info!(stream = stream.name, "an idle channel's stream is gone")
                    }
                    Err(error) => tracing::debug!(%error, "an idle channel's stream stays"),
                }
            }
        }
        if from >= total {
            return Ok(());
        }
    }
}

/// Whether nothing was published in it for its namespace's time.
fn is_idle(inner: &Inner, stream: &DenseStream) -> bool {
    let Some((tenant, name)) = subjects::parse_channel(&stream.subject) else { return false };
    let key = ChannelKey::stored(name.clone(), subjects::dense_channel(&tenant, &name));
    let Some(dense) = kinds::of(&inner.kinds, &key).and_then(|kind| kind.dense) else {
        return false;
    };
    let quiet = u128::try_from(clock::now().since(stream.active_at)).unwrap_or(0);
    !dense.idle.is_zero() && quiet >= dense.idle.as_micros()
}

/// Whether any edge has subscribers of it. Edges without are silent; one that is too slow to answer finds its
/// subscribers' position void, which they are told.
async fn is_used(inner: &Inner, subject: &str) -> bool {
    let live = subjects::live_of(subject);
    let question = inner.bus.request(live, HeaderMap::new(), bytes::Bytes::new(), PROBE_TIMEOUT);
    match question.await {
        Err(RequestError::NoResponders | RequestError::Timeout) => false,
        Ok(_) | Err(_) => true,
    }
}
