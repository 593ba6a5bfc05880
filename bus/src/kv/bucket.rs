//! Buckets: which one, and how a new one is made.
//! Reads: JetStream's description of the bucket. Writes: a bucket, on request. Never: changes one that is there.

use std::time::Duration;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::StorageType;

use super::{Kv, KvError};
use crate::connect::Bus;
use crate::fetch::FetchError;
use crate::subjects;

/// How long the mark of an ended time to live stays for watchers, in a bucket with [`KvOptions::key_ttl`].
pub(crate) const MARKER_AGE: Duration = Duration::from_secs(60);

/// How a new bucket keeps its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvOptions {
    /// What it holds, for people.
    pub description: String,
    /// How long a value is kept; `None` for ever.
    pub max_age: Option<Duration>,
    /// Whether single keys may have a time to live. Cannot be taken back.
    pub key_ttl: bool,
    /// Largest value in bytes; `None` for what the server takes.
    pub value_bytes_max: Option<i32>,
    /// Size of the whole bucket in bytes, after which writes are refused; `None` for no limit.
    pub bytes_max: Option<i64>,
    /// Copies in a cluster.
    pub replicas: usize,
}

impl Default for KvOptions {
    fn default() -> Self {
        Self {
            description: String::new(),
            max_age: None,
            key_ttl: false,
            value_bytes_max: None,
            bytes_max: None,
            replicas: 1,
        }
    }
}

impl Bus {
    /// A bucket that exists.
    ///
    /// # Errors
    /// If there is none of this name, or the server does not answer in time.
    pub async fn kv(&self, bucket: &str) -> Result<Kv, KvError> {
        check(bucket)?;
        match self.position(&subjects::kv_stream(bucket)).await {
            Ok(_) => Ok(Kv { bus: self.clone(), bucket: bucket.to_owned() }),
            Err(FetchError::Unavailable(why)) if why.contains("10059") => {
                Err(KvError::NoBucket(bucket.to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A bucket, made with these options if there is none of this name.
    ///
    /// # Errors
    /// [`KvError::Options`] if there is one with other options, or if the server refuses or does not answer.
    pub async fn create_kv(&self, bucket: &str, options: KvOptions) -> Result<Kv, KvError> {
        check(bucket)?;
        let config = kv::Config {
            bucket: bucket.to_owned(),
            description: options.description,
            max_value_size: options.value_bytes_max.unwrap_or(-1),
            history: 1,
            max_age: options.max_age.unwrap_or_default(),
            max_bytes: options.bytes_max.unwrap_or(-1),
            storage: StorageType::File,
            num_replicas: options.replicas.max(1),
            limit_markers: options.key_ttl.then_some(MARKER_AGE),
            ..kv::Config::default()
        };
        match self.jetstream().create_key_value(config).await {
            Ok(_) => Ok(Kv { bus: self.clone(), bucket: bucket.to_owned() }),
            Err(error) => Err(explain(&error)),
        }
    }
}

fn explain(error: &async_nats::jetstream::context::CreateKeyValueError) -> KvError {
    use async_nats::jetstream::context::CreateKeyValueErrorKind as Kind;
    // What the server said stands in the source.
    let text =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    match error.kind() {
        Kind::InvalidStoreName => KvError::BucketName(text),
        Kind::BucketCreate if text.contains("10058") => KvError::Options(text),
        _ => KvError::Unavailable(text),
    }
}

/// The name becomes part of a stream's name and of a subject, unescaped.
fn check(bucket: &str) -> Result<(), KvError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if bucket.is_empty() || bucket.len() > 128 || !bucket.bytes().all(allowed) {
        return Err(KvError::BucketName(bucket.chars().take(64).collect()));
    }
    Ok(())
}
