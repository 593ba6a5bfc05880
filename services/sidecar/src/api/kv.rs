//! `/v1/kv/{bucket}/{key}`: state of the app, with compare and set by ETag.
//! Reads and writes: buckets of apps. Never: opens a bucket of the platform: an app's name for a bucket
//! stands behind a prefix. An entry's ETag is its revision in the bucket.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use campana_bus::kv::{Kv, KvEntry, KvError, KvOptions};
use campana_bus::publish::PublishError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::not_stored;
use crate::cloudevent::check_json;
use crate::input;
use crate::options::is_plain_name;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::state::Sidecar;

/// Before the names of apps' buckets.
const PREFIX: &str = "app-";
/// Bytes of a bucket's name with the prefix before it stay below what JetStream takes.
const BUCKET_BYTES_MAX: usize = 60;
/// Keys of one answer.
const KEYS_MAX: usize = 1_000;

fn problem(error: &KvError) -> Problem {
    match error {
        KvError::Exists | KvError::WrongRevision => {
            Problem::new(Code::PreconditionFailed, error.to_string())
        }
        KvError::NoBucket(_) => Problem::new(Code::NotFound, "there is no such bucket yet"),
        KvError::Key | KvError::BucketName(_) | KvError::Ttl => {
            Problem::new(Code::InvalidParameter, error.to_string())
        }
        KvError::Publish(PublishError::WrongLastSequence) => {
            Problem::new(Code::PreconditionFailed, error.to_string())
        }
        KvError::Publish(error) => not_stored(error),
        error if error.is_temporary() => Problem::new(Code::Unavailable, error.to_string()),
        error => Problem::new(Code::Internal, error.to_string()),
    }
}

/// The bucket; `None` if there is none and none is to be created.
async fn bucket(sidecar: &Sidecar, name: &str, create: bool) -> Result<Option<Kv>, Problem> {
    if !is_plain_name(name) || name.len() > BUCKET_BYTES_MAX {
        return Err(Problem::new(
            Code::InvalidParameter,
            format!("bucket: 1 to {BUCKET_BYTES_MAX} letters, digits, \"-\" and \"_\""),
        ));
    }
    if let Some(known) = sidecar.open_bucket(name) {
        return Ok(Some(known));
    }
    let full = format!("{PREFIX}{name}");
    match sidecar.bus.kv(&full).await {
        Ok(found) => {
            sidecar.keep_bucket(name, &found);
            Ok(Some(found))
        }
        Err(KvError::NoBucket(_)) if !create => Ok(None),
        Err(KvError::NoBucket(_)) => created(sidecar, name, &full).await.map(Some),
        Err(error) => Err(problem(&error)),
    }
}

/// One at a time, and only those wait who create one as well.
async fn created(sidecar: &Sidecar, name: &str, full: &str) -> Result<Kv, Problem> {
    let _alone = sidecar.creating.lock().await;
    if let Some(known) = sidecar.open_bucket(name) {
        return Ok(known);
    }
    if sidecar.buckets_full() {
        return Err(Problem::new(
            Code::InvalidParameter,
            format!("at most {} buckets", sidecar.options.limits.buckets_max),
        ));
    }
    let options = KvOptions {
        description: format!("state of the app {}", sidecar.options.name),
        key_ttl: true,
        ..KvOptions::default()
    };
    let created = sidecar.bus.create_kv(full, options).await.map_err(|error| problem(&error))?;
    sidecar.keep_bucket(name, &created);
    Ok(created)
}

/// What `If-Match` and `If-None-Match` ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    None,
    /// `If-None-Match: *`: there is no value yet.
    Absent,
    /// `If-Match: *`: there is one.
    Present,
    /// `If-Match: "…"`: it is this one.
    Revision(u64),
    /// A tag that no entry has.
    Never,
}

fn tag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("digits in quotes are a header value")
}

/// A strong tag of ours.
fn revision(text: &str) -> Option<u64> {
    let digits = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    if digits.starts_with('+') { None } else { digits.parse().ok() }
}

fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text(IF_MATCH), text(IF_NONE_MATCH)) {
        (None, None) => Ok(Condition::None),
        (Some(_), Some(_)) => Err(Problem::new(
            Code::InvalidParameter,
            "If-Match and If-None-Match exclude each other",
        )),
        (None, Some(text)) if text.trim() == "*" => Ok(Condition::Absent),
        (None, Some(_)) => Err(Problem::new(
            Code::InvalidParameter,
            "a change takes If-None-Match: * only, or If-Match with an ETag",
        )),
        (Some(text), None) if text.trim() == "*" => Ok(Condition::Present),
        (Some(text), None) => Ok(revision(text).map_or(Condition::Never, Condition::Revision)),
    }
}

fn failed() -> Problem {
    Problem::new(Code::PreconditionFailed, "the entry has another ETag, or none")
}

/// Read an entry
#[utoipa::path(
    get, path = "/v1/kv/{bucket}/{key}", tag = "state",
    params(
        ("bucket" = String, Path, description = "A bucket of apps", example = "carts"),
        ("key" = String, Path, description = "Any text of up to 1,024 bytes, percent-encoded", example = "alice"),
        ("If-None-Match" = Option<String>, Header, description = "An ETag that is known already"),
    ),
    responses(
        (status = 200, description = "The value as it was put, with its `ETag`"),
        (status = 304, description = "It still has that ETag"),
        (status = 404, description = "No value", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_entry(
    State(sidecar): State<Sidecar>,
    Path((name, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::new(Code::NotFound, "the key has no value");
    let bucket = bucket(&sidecar, &name, false).await?.ok_or_else(missing)?;
    let entry = bucket.get(&key).await.map_err(|error| problem(&error))?.ok_or_else(missing)?;
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| revision(one) == Some(entry.revision)))
    {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag(entry.revision))]).into_response());
    }
    Ok(shown(entry))
}

/// The store keeps bytes, so the type is what the bytes are.
fn shown(entry: KvEntry) -> Response {
    let json = check_json(&entry.value).is_ok();
    let kind = if json { "application/json" } else { "application/octet-stream" };
    let headers = [
        (ETAG, tag(entry.revision)),
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    ];
    (headers, entry.value).into_response()
}

/// Parameters of a change.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PutQuery {
    /// Seconds after which the value is gone, at least 1; for ever if absent. Not together with `If-Match`.
    ttl: Option<String>,
}

/// Write an entry
///
/// Without a condition the last writer wins. `If-Match` writes only over the value that was read;
/// `If-None-Match: *` only where there is none.
#[utoipa::path(
    put, path = "/v1/kv/{bucket}/{key}", tag = "state",
    params(
        ("bucket" = String, Path, description = "A bucket of apps; created if need be", example = "carts"),
        ("key" = String, Path, description = "Any text of up to 1,024 bytes, percent-encoded", example = "alice"),
        ("If-Match" = Option<String>, Header, description = "The ETag that it must have"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it must not exist"),
        PutQuery,
    ),
    request_body(content = Object, description = "Any bytes", content_type = "application/json"),
    responses(
        (status = 204, description = "Written and on disk, with its new `ETag`"),
        (status = 412, description = "The condition does not hold", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "4XX", description = "Refused", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not written, or not known to be", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put_entry(
    State(sidecar): State<Sidecar>,
    Path((name, key)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let query = input::query::<PutQuery>(&uri)?;
    let condition = condition(&headers)?;
    let ttl = match &query.ttl {
        Some(text) => Some(input::seconds("ttl", text, sidecar.options.limits.schedule_max)?),
        None => None,
    };
    if ttl.is_some() && !matches!(condition, Condition::None | Condition::Absent) {
        return Err(Problem::new(Code::InvalidParameter, "ttl and If-Match exclude each other"));
    }
    let value = input::body(body, &sidecar.options.limits).await?;
    let Some(bucket) = bucket(&sidecar, &name, true).await? else {
        return Err(Problem::new(Code::Internal, "the bucket was not created"));
    };
    let written = write(&bucket, &key, value, condition, ttl).await?;
    Ok((StatusCode::NO_CONTENT, [(ETAG, tag(written))]).into_response())
}

async fn write(
    bucket: &Kv,
    key: &str,
    value: Bytes,
    condition: Condition,
    ttl: Option<Duration>,
) -> Result<u64, Problem> {
    let written = match (condition, ttl) {
        (Condition::None, None) => bucket.put(key, value).await,
        (Condition::None, Some(ttl)) => bucket.put_with_ttl(key, value, ttl).await,
        (Condition::Absent, None) => bucket.create(key, value).await,
        (Condition::Absent, Some(ttl)) => bucket.create_with_ttl(key, value, ttl).await,
        (Condition::Revision(revision), _) => bucket.update(key, value, revision).await,
        (Condition::Present, _) => match bucket.get(key).await {
            Ok(Some(entry)) => bucket.update(key, value, entry.revision).await,
            Ok(None) => return Err(failed()),
            Err(error) => Err(error),
        },
        (Condition::Never, _) => return Err(failed()),
    };
    written.map_err(|error| problem(&error))
}

/// Delete an entry
#[utoipa::path(
    delete, path = "/v1/kv/{bucket}/{key}", tag = "state",
    params(
        ("bucket" = String, Path, description = "A bucket of apps", example = "carts"),
        ("key" = String, Path, description = "Any text of up to 1,024 bytes, percent-encoded", example = "alice"),
        ("If-Match" = Option<String>, Header, description = "The ETag that it must have"),
    ),
    responses(
        (status = 204, description = "It has no value"),
        (status = 412, description = "The condition does not hold", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_entry(
    State(sidecar): State<Sidecar>,
    Path((name, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let condition = condition(&headers)?;
    let expected = match condition {
        Condition::None => None,
        Condition::Revision(revision) => Some(revision),
        Condition::Absent | Condition::Present => {
            return Err(Problem::new(
                Code::InvalidParameter,
                "a deletion takes If-Match with an ETag",
            ));
        }
        Condition::Never => return Err(failed()),
    };
    let Some(bucket) = bucket(&sidecar, &name, false).await? else {
        return if expected.is_some() { Err(failed()) } else { Ok(StatusCode::NO_CONTENT) };
    };
    let deleted = bucket.delete(&key, expected).await;
    deleted.map(|()| StatusCode::NO_CONTENT).map_err(|error| problem(&error))
}

/// Which keys.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysQuery {
    /// Only keys that begin with this.
    #[serde(default)]
    prefix: String,
    /// At most this many, up to 1,000.
    limit: Option<usize>,
}

/// Keys of a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Keys {
    /// In alphabetical order.
    keys: Vec<String>,
}

/// List keys
#[utoipa::path(
    get, path = "/v1/kv/{bucket}", tag = "state",
    params(("bucket" = String, Path, description = "A bucket of apps", example = "carts"), KeysQuery),
    responses((status = 200, description = "Keys that have a value", body = Keys))
)]
pub(crate) async fn list_keys(
    State(sidecar): State<Sidecar>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<Keys>, Problem> {
    let query = input::query::<KeysQuery>(&uri)?;
    let limit = query.limit.unwrap_or(KEYS_MAX).min(KEYS_MAX);
    let keys = match bucket(&sidecar, &name, false).await? {
        Some(bucket) => bucket.keys(&query.prefix, limit).await.map_err(|error| problem(&error))?,
        None => Vec::new(),
    };
    Ok(Json(Keys { keys }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(HeaderName, &str)]) -> Result<Condition, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        condition(&headers)
    }

    #[test]
    fn conditions_are_read_strictly() {
        assert_eq!(of(&[]), Ok(Condition::None));
        assert_eq!(of(&[(IF_MATCH, "\"17\"")]), Ok(Condition::Revision(17)));
        assert_eq!(of(&[(IF_MATCH, "*")]), Ok(Condition::Present));
        assert_eq!(of(&[(IF_NONE_MATCH, "*")]), Ok(Condition::Absent));
        for never in ["17", "W/\"17\"", "\"x\"", "\"+1\"", "", "\"1\", \"2\""] {
            assert_eq!(of(&[(IF_MATCH, never)]), Ok(Condition::Never), "{never}");
        }
        assert!(of(&[(IF_NONE_MATCH, "\"1\"")]).is_err());
        assert!(of(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]).is_err());
    }
}
