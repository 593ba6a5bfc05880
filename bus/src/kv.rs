//! State under keys: read, write, compare and set, watch.
//! Reads and writes: a bucket, which is a stream of JetStream (NATS ADR-8). Never: overwrites what the caller has
//! not seen when it was asked to compare, makes a key mean something to the server.
//!
//! Keys are any text of 1 to 1,024 bytes; each becomes one harmless subject token, so that no key is a wildcard
//! and no two keys meet. Other clients find them in that form (`=2E` for a dot, see [`crate::subjects`]). Every
//! change has a revision, the sequence in the bucket's stream. Writes are repeated while the answer is unknown
//! and are safe to repeat; reads may be answered by a replica and be a moment behind, so whoever must not act on
//! an old value writes with its revision.
//!
//! ```no_run
//! # async fn example(bus: campana_bus::Bus) -> anyhow::Result<()> {
//! use campana_bus::kv::{KvError, KvOptions};
//!
//! let carts = bus.create_kv("carts", KvOptions::default()).await?.of::<Vec<String>>();
//! let (mut cart, revision) = carts.get("alice").await?.unwrap_or_default();
//! cart.push("bell".to_owned());
//! match carts.update("alice", &cart, revision).await {
//!     Err(KvError::WrongRevision) => { /* somebody else was faster: read again */ }
//!     other => { other?; }
//! }
//! # Ok(())
//! # }
//! ```

mod bucket;
mod typed;
mod watch;

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Micros;
use crate::connect::Bus;
use crate::fetch::{FetchError, StoredMessage};
use crate::headers;
use crate::ids::MessageId;
use crate::publish::{Outgoing, PublishError};
use crate::subjects;

pub use bucket::KvOptions;
pub(crate) use bucket::MARKER_AGE;
pub use typed::TypedKv;
pub use watch::{KvChange, KvWatch};

/// Longest key in bytes: escaping can triple it, and a subject stays below 4,096.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Most keys that one call of [`Kv::keys`] returns.
pub const KEYS_MAX: usize = 100_000;
/// The shortest time to live that the server knows.
pub const TTL_MIN: Duration = Duration::from_secs(1);

/// What a deletion is marked with.
const OPERATION: &str = "KV-Operation";
/// What the server marks a key with whose time was over.
const MARKER: &str = "Nats-Marker-Reason";

/// A value and its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvEntry {
    /// The value.
    pub value: Bytes,
    /// Which change of the bucket set it.
    pub revision: u64,
    /// When that was.
    pub changed_at: Micros,
}

/// Why a bucket or a key could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// There is no such bucket.
    #[error("there is no bucket \"{0}\": create it first")]
    NoBucket(String),
    /// The protocol allows letters, digits, `-` and `_`.
    #[error("\"{0}\" is no name for a bucket: use letters, digits, - and _")]
    BucketName(String),
    /// A key has 1 to [`KEY_BYTES_MAX`] bytes.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes")]
    Key,
    /// [`Kv::create`] found a value.
    #[error("the key has a value already")]
    Exists,
    /// The key was changed since, or never had this revision.
    #[error("the key has another revision")]
    WrongRevision,
    /// Below [`TTL_MIN`], or the bucket was created without [`KvOptions::key_ttl`].
    #[error("a time to live is at least one second, in a bucket that was created with key_ttl")]
    Ttl,
    /// A bucket of this name exists with other options.
    #[error("the bucket exists with other options: {0}")]
    Options(String),
    /// The value cannot be written as JSON.
    #[error("the value cannot be written as JSON: {0}")]
    Encode(String),
    /// The stored value is not what the caller expects.
    #[error("the value cannot be read: {0}")]
    Decode(String),
    /// The bucket refused, or did not say in time whether it stored the value.
    #[error(transparent)]
    Publish(PublishError),
    /// No answer in time.
    #[error("the bucket does not answer: {0}")]
    Unavailable(String),
}

impl KvError {
    /// The stable name of what is wrong.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoBucket(_) => "unknown_bucket",
            Self::BucketName(_) => "invalid_bucket",
            Self::Key => "invalid_key",
            Self::Exists => "exists",
            Self::WrongRevision => "conflict",
            Self::Ttl => "invalid_ttl",
            Self::Options(_) => "bucket_differs",
            Self::Encode(_) => "unencodable",
            Self::Decode(_) => "undecodable",
            Self::Publish(PublishError::TooLarge) => "payload_too_large",
            Self::Publish(PublishError::Refused { .. } | PublishError::WrongLastSequence) => {
                "refused"
            }
            Self::Publish(PublishError::Unavailable(_)) | Self::Unavailable(_) => "unavailable",
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Publish(error) => error.is_temporary(),
            Self::Unavailable(_) => true,
            _ => false,
        }
    }
}

impl From<FetchError> for KvError {
    fn from(error: FetchError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// One bucket; cheap to clone.
#[derive(Clone, Debug)]
pub struct Kv {
    bus: Bus,
    bucket: String,
}

/// What a write asks for.
#[derive(Default)]
struct Write {
    value: Bytes,
    expect: Option<u64>,
    ttl: Option<Duration>,
    delete: bool,
}

impl Kv {
    /// The name of the bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The value of a key; `None` if it has none, was deleted, or its time was over.
    ///
    /// # Errors
    /// If the key breaks a rule or the bucket does not answer in time.
    pub async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        let found = self.last(key).await?;
        Ok(found.filter(|message| !is_deletion(message)).map(|message| KvEntry {
            value: message.payload,
            revision: message.sequence,
            changed_at: message.time,
        }))
    }

    /// Sets a value, whatever was there; returns its revision.
    ///
    /// # Errors
    /// If the key breaks a rule or the bucket refuses or does not answer in time.
    pub async fn put(&self, key: &str, value: Bytes) -> Result<u64, KvError> {
        self.write(key, Write { value, ..Write::default() }).await
    }

    /// The same for a value that is gone after `ttl` (whole seconds, rounded up).
    ///
    /// # Errors
    /// As [`Kv::put`], or if the bucket knows no times to live.
    pub async fn put_with_ttl(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<u64, KvError> {
        self.write(key, Write { value, ttl: Some(ttl), ..Write::default() }).await
    }

    /// Sets the value of a key that has none.
    ///
    /// # Errors
    /// [`KvError::Exists`] if it has one; else as [`Kv::put`].
    pub async fn create(&self, key: &str, value: Bytes) -> Result<u64, KvError> {
        self.create_in(key, value, None).await
    }

    /// The same for a value that is gone after `ttl`: a lock, a claim.
    ///
    /// # Errors
    /// As [`Kv::create`], or if the bucket knows no times to live.
    pub async fn create_with_ttl(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<u64, KvError> {
        self.create_in(key, value, Some(ttl)).await
    }

    async fn create_in(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<u64, KvError> {
        let first = Write { value: value.clone(), expect: Some(0), ttl, delete: false };
        match self.write(key, first).await {
            Err(KvError::WrongRevision) => {}
            other => return other,
        }
        // A deleted key has a revision, too: that of its deletion.
        let expect = match self.last(key).await? {
            Some(message) if !is_deletion(&message) => return Err(KvError::Exists),
            Some(message) => message.sequence,
            None => 0,
        };
        match self.write(key, Write { value, expect: Some(expect), ttl, delete: false }).await {
            Err(KvError::WrongRevision) => Err(KvError::Exists),
            other => other,
        }
    }

    /// Sets a value if the key's last change is `revision` (0: it never had one); returns the new revision.
    ///
    /// # Errors
    /// [`KvError::WrongRevision`] if it was changed since; else as [`Kv::put`].
    pub async fn update(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, KvError> {
        self.write(key, Write { value, expect: Some(revision), ..Write::default() }).await
    }

    /// [`Self::update`] for `ttl`, which begins anew; see [`Self::put_with_ttl`].
    ///
    /// # Errors
    /// [`KvError::WrongRevision`] if it has another one; see [`Self::put_with_ttl`].
    pub async fn update_with_ttl(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Duration,
    ) -> Result<u64, KvError> {
        let write = Write { value, expect: Some(revision), ttl: Some(ttl), delete: false };
        self.write(key, write).await
    }

    /// Removes the value, if `revision` is given only if it is that one. A key without a value stays so.
    ///
    /// # Errors
    /// [`KvError::WrongRevision`] if it was changed since; else as [`Kv::put`].
    pub async fn delete(&self, key: &str, revision: Option<u64>) -> Result<(), KvError> {
        let deletion = Write { expect: revision, delete: true, ..Write::default() };
        self.write(key, deletion).await.map(|_| ())
    }

    /// Up to `limit` (at most [`KEYS_MAX`]) keys that begin with `prefix`, in alphabetical order. Reads the
    /// bucket's list of keys from the start, so it is for people and small buckets. Keys that another program
    /// wrote in a form that [`crate::subjects::escape`] never makes are left out.
    ///
    /// # Errors
    /// If the bucket does not answer in time.
    pub async fn keys(&self, prefix: &str, limit: usize) -> Result<Vec<String>, KvError> {
        watch::keys(&self.bus, &self.bucket, prefix, limit.min(KEYS_MAX)).await
    }

    /// Changes of all keys in their order: those after `revision`, or only new ones. Ends with an error if the
    /// connection is closed; a server that comes back within a minute is waited for.
    pub fn watch(&self, after_revision: Option<u64>) -> KvWatch {
        KvWatch::new(&self.bus, &self.bucket, after_revision)
    }

    /// The same bucket with values as JSON.
    #[must_use]
    pub fn of<T>(&self) -> TypedKv<T> {
        TypedKv::new(self.clone())
    }

    fn subject(&self, key: &str) -> Result<String, KvError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(KvError::Key);
        }
        Ok(subjects::kv(&self.bucket, key))
    }

    async fn last(&self, key: &str) -> Result<Option<StoredMessage>, KvError> {
        let subject = self.subject(key)?;
        Ok(self.bus.last(&subjects::kv_stream(&self.bucket), &subject).await?)
    }

    async fn write(&self, key: &str, write: Write) -> Result<u64, KvError> {
        let id = MessageId::fresh().to_string();
        let mut message = Outgoing::new(self.subject(key)?, id.clone(), write.value);
        message.expect_last_subject_sequence = write.expect;
        if write.delete {
            message = message.header(OPERATION, "DEL");
        }
        if let Some(ttl) = write.ttl {
            if ttl < TTL_MIN {
                return Err(KvError::Ttl);
            }
            let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            message = message.header("Nats-TTL", &format!("{seconds}s"));
        }
        match self.bus.publish(message).await {
            Ok(stored) => Ok(stored.sequence),
            Err(PublishError::WrongLastSequence) => match self.last(key).await? {
                // The acknowledgement was lost, and the repeat met its own first try.
                Some(last) if headers::get(&last.headers, "Nats-Msg-Id") == Some(id.as_str()) => {
                    Ok(last.sequence)
                }
                _ => Err(KvError::WrongRevision),
            },
            // "Per-message TTL is disabled".
            Err(PublishError::Refused { code: 10_166, .. }) => Err(KvError::Ttl),
            Err(error) => Err(KvError::Publish(error)),
        }
    }
}

/// Whether a stored change took the value away: by us, by another client, or by the clock.
fn is_deletion(message: &StoredMessage) -> bool {
    matches!(headers::get(&message.headers, OPERATION), Some("DEL" | "PURGE"))
        || headers::get(&message.headers, MARKER).is_some()
}
