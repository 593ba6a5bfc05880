//! The bucket of presence: reading, writing, comparing and setting its keys.
//! Reads and writes: the stream behind the bucket. Never: overwrites what it was told to compare, or leaves the mark of a
//! removal for long.

use std::time::Duration;

use bytes::Bytes;
use campana_bus::Bus;
use campana_bus::fetch::{FetchError, StoredMessage};
use campana_bus::headers;
use campana_bus::ids::MessageId;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{GroupPublisher, Outgoing, PublishError};
use campana_bus::topology::PRESENCE;

use crate::metrics;

/// Keys of one read.
pub(super) const PAGE: usize = 500;
/// How long one acknowledgement may take, and how long a write is repeated: whoever writes tries again later anyway.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(4);
/// What a removal is marked with (NATS ADR-8).
const OPERATION: &str = "KV-Operation";
const REMOVED: &str = "PURGE";
const TTL: &str = "Nats-TTL";
/// How long the mark of a removal stays.
const MARK_TTL: &str = "5s";

/// The key was changed since it was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoreError {
    #[error("the key was changed since")]
    Changed,
    #[error("the bucket of presence does not answer: {0}")]
    Unavailable(String),
}

impl From<FetchError> for StoreError {
    fn from(error: FetchError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[derive(Clone)]
pub(super) struct Store {
    pub(super) bus: Bus,
    publisher: GroupPublisher,
}

/// A key with its revision; 0 if it was never written.
pub(super) struct Found {
    pub(super) revision: u64,
    /// Nothing if it was removed.
    pub(super) value: Option<Bytes>,
}

impl Store {
    pub(super) fn start(bus: &Bus, lifecycle: &Lifecycle) -> Self {
        let bus = bus.clone().with_publish_times(ACK_TIMEOUT, DEADLINE);
        let publisher = GroupPublisher::start(&bus, PRESENCE, lifecycle);
        Self { bus, publisher }
    }

    /// Writes in a group with whatever else is written now.
    pub(super) async fn put(&self, subject: String, value: Bytes) -> Result<(), StoreError> {
        let message = Outgoing::new(subject, MessageId::fresh().to_string(), value);
        self.grouped("put", message).await
    }

    /// Removes likewise.
    pub(super) async fn remove(&self, subject: String) -> Result<(), StoreError> {
        self.grouped("remove", removal(subject)).await
    }

    async fn grouped(&self, kind: &'static str, message: Outgoing) -> Result<(), StoreError> {
        let result = self.publisher.publish(message).await;
        metrics::presence_write(kind, result.is_ok());
        result.map(|_| ()).map_err(explain)
    }

    /// Writes if the key still has this revision; gives the new one.
    pub(super) async fn set(
        &self,
        subject: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64, StoreError> {
        let mut message = Outgoing::new(subject, MessageId::fresh().to_string(), value);
        message.expect_last_subject_sequence = Some(revision);
        if let Some(ttl) = ttl {
            let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            message = message.header(TTL, &format!("{}s", seconds.max(1)));
        }
        self.single(message).await
    }

    /// Removes if the key still has this revision.
    pub(super) async fn unset(&self, subject: &str, revision: u64) -> Result<(), StoreError> {
        let mut message = removal(subject.to_owned());
        message.expect_last_subject_sequence = Some(revision);
        self.single(message).await.map(|_| ())
    }

    async fn single(&self, message: Outgoing) -> Result<u64, StoreError> {
        let result = self.bus.publish(message).await;
        metrics::presence_write("compare", result.is_ok());
        result.map(|stored| stored.sequence).map_err(explain)
    }

    pub(super) async fn get(&self, subject: &str) -> Result<Found, StoreError> {
        Ok(match self.bus.last(PRESENCE, subject).await? {
            None => Found { revision: 0, value: None },
            Some(message) => Found { revision: message.sequence, value: value(message) },
        })
    }

    /// Keys with a value, in pages: up to [`PAGE`] of those after a revision, and where the next page begins.
    pub(super) async fn page(
        &self,
        filter: &str,
        after: u64,
    ) -> Result<(Vec<StoredMessage>, Option<u64>), StoreError> {
        let mut page = self.bus.fetch_after(PRESENCE, filter, after, PAGE).await?;
        let next = page.messages.last().map(|last| last.sequence).filter(|_| page.pending > 0);
        page.messages.retain(|message| !is_removed(message));
        Ok((page.messages, next))
    }

    /// All keys with a value, but no more than `limit`.
    pub(super) async fn all(
        &self,
        filter: &str,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let (mut found, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after.filter(|_| found.len() < limit) {
            let (mut page, next) = self.page(filter, from).await?;
            found.append(&mut page);
            after = next;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Removes every key that the filter takes, at once.
    pub(super) async fn purge(&self, filter: &str) -> Result<(), StoreError> {
        let unavailable =
            |error: &dyn std::fmt::Display| StoreError::Unavailable(error.to_string());
        let stream =
            self.bus.jetstream().get_stream_no_info(PRESENCE).await.map_err(|e| unavailable(&e))?;
        stream.purge().filter(filter).await.map_err(|error| unavailable(&error))?;
        Ok(())
    }
}

fn removal(subject: String) -> Outgoing {
    Outgoing::new(subject, MessageId::fresh().to_string(), Bytes::new())
        .header(OPERATION, REMOVED)
        .header(TTL, MARK_TTL)
}

fn explain(error: PublishError) -> StoreError {
    match error {
        PublishError::WrongLastSequence => StoreError::Changed,
        other => StoreError::Unavailable(other.to_string()),
    }
}

fn is_removed(message: &StoredMessage) -> bool {
    headers::get(&message.headers, OPERATION).is_some()
}

fn value(message: StoredMessage) -> Option<Bytes> {
    (!is_removed(&message)).then_some(message.payload)
}
