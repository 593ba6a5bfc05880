//! Attachments, in an object store of JetStream.
//! Reads and writes: the bucket `chat_files`. Never: believes a browser what a file is; the first bytes say it, and what
//! is not known to be harmless is only ever offered for download. Nor holds more attachments in memory than there are
//! places, of which one person cannot take all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_nats::jetstream::object_store::{Config, DeleteErrorKind, ObjectMetadata, ObjectStore};
use bytes::Bytes;
use campana_bus::{Bus, clock};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::store::{Store, StoreError};

/// Largest attachment, in bytes.
pub const FILE_BYTES_MAX: usize = 10 * 1024 * 1024;
const BUCKET: &str = "chat_files";
/// All attachments together, in bytes.
const BUCKET_BYTES_MAX: i64 = 4 * 1024 * 1024 * 1024;
/// Attachments that are read from or made for the bucket at once.
const IN_HAND_MAX: usize = 8;
/// Uploads whose bytes are on their way to us, perhaps slowly.
const COMING_MAX: usize = 16;
/// Attachments that one person sends or gets at once; the next ones wait.
const PER_PERSON_MAX: usize = 4;
/// People remembered before those who have nothing in hand are forgotten.
const PEOPLE_MAX: usize = 1_024;
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
    coming: Arc<Semaphore>,
    people: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
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
        let places = |count| Arc::new(Semaphore::new(count));
        let (coming, people) = (places(COMING_MAX), Arc::default());
        Ok(Self { bucket, places: places(IN_HAND_MAX), coming, people })
    }

    /// A place for one attachment between us and the bucket.
    ///
    /// # Errors
    /// Never; the semaphore is not closed.
    pub async fn place(&self) -> Result<SemaphorePermit<'_>, FileError> {
        self.places.acquire().await.map_err(said)
    }

    /// A place for one upload; whoever sends slowly holds up other uploads at most.
    ///
    /// # Errors
    /// Never; the semaphore is not closed.
    pub async fn coming(&self) -> Result<SemaphorePermit<'_>, FileError> {
        self.coming.acquire().await.map_err(said)
    }

    /// One of a person's own places; held as long as one of their attachments is in memory.
    ///
    /// # Errors
    /// Never; the semaphore is not closed.
    pub async fn turn(&self, person: &str) -> Result<OwnedSemaphorePermit, FileError> {
        self.own(person).acquire_owned().await.map_err(said)
    }

    fn own(&self, person: &str) -> Arc<Semaphore> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = people.get(person).and_then(Weak::upgrade) {
            return known;
        }
        if people.len() >= PEOPLE_MAX {
            people.retain(|_, places| places.strong_count() > 0);
        }
        let fresh = Arc::new(Semaphore::new(PER_PERSON_MAX));
        people.insert(person.to_owned(), Arc::downgrade(&fresh));
        fresh
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

    /// Removes what nothing refers to any more: first nobody is shown it, then its bytes go, then its row. Whoever is
    /// killed in between is continued by [`Files::keep_tidy`].
    ///
    /// # Errors
    /// If the database or the bucket does not answer.
    pub async fn forget(&self, store: &Store, id: &str) -> Result<(), FileError> {
        if !store.retire_file(id).await? {
            return Ok(());
        }
        match self.bucket.delete(id).await {
            Err(error) if error.kind() != DeleteErrorKind::NotFound => return Err(said(error)),
            _ => {}
        }
        store.forget_file(id).await?;
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
