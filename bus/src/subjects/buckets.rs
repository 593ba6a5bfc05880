//! Subjects of key-value buckets (NATS ADR-8).
//! Reads: nothing. Writes: nothing. Never: lets a key leave its bucket.

use super::{escape, unescape};

/// Where the value of a key of a bucket is stored (NATS ADR-8).
#[must_use]
pub fn bucket_key(bucket: &str, key: &str) -> String {
    format!("$KV.{}.{}", escape(bucket), escape(key))
}

/// Every key of a bucket.
#[must_use]
pub fn bucket_keys(bucket: &str) -> String {
    format!("$KV.{}.*", escape(bucket))
}

/// `$KV.{bucket}.{key}`: where the bucket's stream keeps one key (NATS ADR-8).
#[must_use]
pub fn kv(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{}", escape(key))
}

/// All keys of a bucket.
#[must_use]
pub fn kv_filter(bucket: &str) -> String {
    format!("$KV.{bucket}.>")
}

/// The stream behind a bucket.
#[must_use]
pub fn kv_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// The key of a subject that [`kv`] made.
#[must_use]
pub fn parse_kv(bucket: &str, subject: &str) -> Option<String> {
    unescape(subject.strip_prefix("$KV.")?.strip_prefix(bucket)?.strip_prefix('.')?)
}
