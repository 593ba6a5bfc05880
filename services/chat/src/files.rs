//! Attachments, in an object store of JetStream.
//! Reads and writes: the bucket `chat_files`. Never: believes a browser what a file is; the first bytes say it, and what
//! is not known to be harmless is only ever offered for download.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::{Config, ObjectMetadata, ObjectStore};
use bytes::Bytes;
use campana_bus::{Bus, clock};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::store::{Store, StoreError};

/// Largest attachment, in bytes.
pub const FILE_BYTES_MAX: usize = 10 * 1024 * 1024;
const BUCKET: &str = "chat_files";
/// All attachments together, in bytes.
const BUCKET_BYTES_MAX: i64 = 4 * 1024 * 1024 * 1024;
/// Attachments in memory at once, coming or going.
const IN_HAND_MAX: usize = 8;
/// One transfer between us and the bucket.
const TIMEOUT: Duration = Duration::from_secs(30);
/// An upload that no message refers to is kept this long.
const ORPHAN_SECONDS: i64 = 86_400;
/// Time between two looks for them.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// Why an attachment cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The object store refused or did not answer.
    #[error("the object store: {0}")]
    Store(String),
    /// It took too long.
    #[error("the object store did not answer within {TIMEOUT:?}")]
    Late,
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] StoreError),
}

/// The bucket; cheap to clone.
#[derive(Clone)]
pub struct Files {
    bucket: ObjectStore,
    places: Arc<Semaphore>,
}

impl Files {
    /// The bucket, made if there is none.
    ///
    /// # Errors
    /// If JetStream refuses.
    pub async fn open(bus: &Bus, replicas: usize) -> Result<Self, FileError> {
        let bucket = match bus.jetstream().get_object_store(BUCKET).await {
            Ok(bucket) => bucket,
            Err(_) => {
                let config = Config {
                    bucket: BUCKET.to_owned(),
                    description: Some("attachments of the chat".to_owned()),
                    max_bytes: BUCKET_BYTES_MAX,
                    num_replicas: replicas,
                    ..Config::default()
                };
                bus.jetstream().create_object_store(config).await.map_err(said)?
            }
        };
        Ok(Self { bucket, places: Arc::new(Semaphore::new(IN_HAND_MAX)) })
    }

    /// A place for one attachment in memory; whoever has it holds it until the attachment is gone from there.
    ///
    /// # Errors
    /// Never; the semaphore is not closed.
    pub async fn place(&self) -> Result<SemaphorePermit<'_>, FileError> {
        self.places.acquire().await.map_err(said)
    }

    /// Stores bytes under an id. The caller holds a place.
    ///
    /// # Errors
    /// If they are not stored.
    pub async fn put(&self, id: &str, bytes: &Bytes) -> Result<(), FileError> {
        let name = ObjectMetadata { name: id.to_owned(), ..ObjectMetadata::default() };
        let mut reader: &[u8] = bytes;
        let put = self.bucket.put(name, &mut reader);
        tokio::time::timeout(TIMEOUT, put).await.map_err(|_| FileError::Late)?.map_err(said)?;
        Ok(())
    }

    /// The bytes under an id; their digest was compared. The caller holds a place.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn get(&self, id: &str) -> Result<Bytes, FileError> {
        let read = async {
            let object = self.bucket.get(id).await.map_err(said)?;
            let mut bytes = Vec::new();
            let limit = FILE_BYTES_MAX as u64 * 4;
            object.take(limit).read_to_end(&mut bytes).await.map_err(said)?;
            Ok(Bytes::from(bytes))
        };
        tokio::time::timeout(TIMEOUT, read).await.map_err(|_| FileError::Late)?
    }

    /// Removes what nothing refers to any more: the row first, so that nobody finds it, then the bytes.
    ///
    /// # Errors
    /// If the database or the bucket does not answer; the bytes then stay, without a row.
    pub async fn forget(&self, store: &Store, id: &str) -> Result<(), FileError> {
        if store.forget_file(id).await? {
            self.bucket.delete(id).await.map_err(said)?;
        }
        Ok(())
    }

    /// Removes uploads that became part of no message, again and again until it is dropped.
    pub async fn keep_tidy(self, store: Store) {
        let mut tick = tokio::time::interval(TIDY_EVERY);
        loop {
            tick.tick().await;
            if let Err(error) = self.tidy(&store).await {
                tracing::warn!(error = %error, "unused uploads could not be removed; trying again later");
            }
        }
    }

    async fn tidy(&self, store: &Store) -> Result<(), FileError> {
        for id in store.orphans(clock::now().plus_seconds(-ORPHAN_SECONDS)).await? {
            self.forget(store, &id).await?;
        }
        Ok(())
    }
}

fn said(error: impl std::fmt::Display) -> FileError {
    FileError::Store(error.to_string())
}

/// What a file is, by its first bytes.
#[must_use]
pub fn media_type(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        bytes if std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0) => "text/plain",
        _ => "application/octet-stream",
    }
}

/// Whether browsers may show it in the page.
#[must_use]
pub fn is_picture(media_type: &str) -> bool {
    matches!(media_type, "image/png" | "image/jpeg" | "image/gif" | "image/webp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_what_it_is() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\nrest"), "image/png");
        assert_eq!(media_type(b"<svg onload=alert(1)>"), "text/plain");
        assert_eq!(media_type(b"\0\x01"), "application/octet-stream");
        assert!(!is_picture("image/svg+xml") && is_picture("image/webp"));
    }
}
