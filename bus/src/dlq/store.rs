//! JSON values in a bucket, with compare-and-set.
//! Reads and writes: the buckets `redrives` and `redrive_claims`, over the same publish path as every message:
//! an unknown answer is repeated under the same id, so that a write is never made twice. Never: overwrites a
//! revision that it has not seen.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::DlqError;
use crate::connect::Bus;
use crate::fetch::FetchError;
use crate::ids::MessageId;
use crate::publish::{Outgoing, PublishError};
use crate::subjects;

/// A value and the revision that a change has to name; 0 if there was none.
#[derive(Clone, Debug)]
pub(super) struct Versioned<T> {
    pub value: T,
    pub revision: u64,
}

/// The stream behind a bucket.
pub(super) fn stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

pub(super) async fn get<T: DeserializeOwned>(
    bus: &Bus,
    bucket: &str,
    key: &str,
) -> Result<Option<Versioned<T>>, DlqError> {
    let found = bus.last(&stream(bucket), &subjects::bucket_key(bucket, key)).await?;
    let Some(found) = found.filter(|found| !found.payload.is_empty()) else {
        return Ok(None);
    };
    Ok(Some(Versioned { value: decode(&found.payload)?, revision: found.sequence }))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DlqError> {
    serde_json::from_slice(bytes).map_err(|error| {
        DlqError::Fetch(FetchError::Refused(format!("a value of another version: {error}")))
    })
}

/// Writes if the key still has this revision; `None` if it has not.
pub(super) async fn put<T: Serialize>(
    bus: &Bus,
    bucket: &str,
    key: &str,
    value: &T,
    revision: u64,
) -> Result<Option<u64>, DlqError> {
    let body = serde_json::to_vec(value).map_err(|error| {
        DlqError::Publish(PublishError::Refused { code: 0, detail: error.to_string() })
    })?;
    let message = Outgoing {
        expect_last_subject_sequence: Some(revision),
        ..Outgoing::new(
            subjects::bucket_key(bucket, key),
            MessageId::fresh().to_string(),
            Bytes::from(body),
        )
    };
    match bus.publish(message).await {
        Ok(stored) => Ok(Some(stored.sequence)),
        Err(PublishError::WrongLastSequence) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
