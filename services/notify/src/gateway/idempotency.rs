//! Idempotency keys: the same request twice is one notification and one answer.
//! Reads and writes: the bucket `idempotency` (24 h). Never: remembers an answer of 5xx; a repeat after
//! an outage must not repeat the outage.
//!
//! A record is created in flight, then marked done with the answer. The created id is derived from tenant
//! and key, so even a repeat that overtakes a lost mark changes nothing downstream. A mark in flight
//! whose gateway died is taken over after a while.

use async_nats::jetstream::kv::{self, CreateErrorKind, UpdateErrorKind};
use axum::http::HeaderMap;
use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::{Bus, topology};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::options::GatewayOptions;
use super::problem::{Code, Problem};

/// Bytes of a key.
const KEY_BYTES_MAX: usize = 255;
/// Rounds against other requests with the same key before the caller is asked to come back.
const ROUNDS_MAX: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    fingerprint: String,
    at: Micros,
    /// The answer's body; missing while in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// The bucket of records.
pub(super) struct Idempotency {
    bus: Bus,
    bucket: OnceCell<kv::Store>,
    takeover_micros: i64,
}

/// What a key says about a request.
#[derive(Debug)]
pub(super) enum Claim {
    /// Nobody else answers it: go ahead, then finish or release the ticket.
    Fresh(Ticket),
    /// It was answered before, with this body.
    Replay(String),
}

/// The right and the duty to answer a request.
#[derive(Debug)]
pub(super) struct Ticket {
    record_key: String,
    revision: u64,
    fingerprint: String,
    at: Micros,
}

/// The key of a request, if it has one.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= KEY_BYTES_MAX => Ok(Some(key)),
        _ => Err(Problem::new(
            Code::InvalidParameter,
            format!(
                "the header Idempotency-Key has 1 to {KEY_BYTES_MAX} printable ASCII characters"
            ),
        )),
    }
}

/// SHA-256 of what makes a request the same request.
pub(super) fn fingerprint(method: &str, path: &str, body: &[u8]) -> String {
    let mut hasher = Sha256::new();
    for part in [method.as_bytes(), path.as_bytes(), body] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

impl Idempotency {
    pub(super) fn new(bus: Bus, options: &GatewayOptions) -> Self {
        let seconds =
            i64::try_from(options.idempotency_takeover_seconds).unwrap_or(i64::MAX / 1_000_000);
        Self { bus, bucket: OnceCell::new(), takeover_micros: seconds.saturating_mul(1_000_000) }
    }

    async fn bucket(&self) -> Result<&kv::Store, Problem> {
        self.bucket
            .get_or_try_init(|| self.bus.jetstream().get_key_value(topology::IDEMPOTENCY))
            .await
            .map_err(|error| unavailable(&error))
    }

    /// Claims a key for a request.
    pub(super) async fn claim(
        &self,
        tenant: &str,
        key: &str,
        fingerprint: String,
    ) -> Result<Claim, Problem> {
        let bucket = self.bucket().await?;
        // A hash: a key may hold anything, a bucket's keys may not.
        let record_key = self::fingerprint("", tenant, key.as_bytes());
        let at = clock::now();
        for round in 1..=ROUNDS_MAX {
            let record = encode(&Record { fingerprint: fingerprint.clone(), at, answer: None });
            let ticket = |revision| Ticket {
                record_key: record_key.clone(),
                revision,
                fingerprint: fingerprint.clone(),
                at,
            };
            match bucket.create(&record_key, record.clone()).await {
                Ok(revision) => return Ok(Claim::Fresh(ticket(revision))),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {}
                // Not known to be stored: the record itself will tell, or the next round.
                Err(error) if round == ROUNDS_MAX => return Err(unavailable(&error)),
                Err(error) => tracing::debug!("an idempotency record is not confirmed: {error}"),
            }
            let Some(entry) =
                bucket.entry(&record_key).await.map_err(|error| unavailable(&error))?
            else {
                continue;
            };
            if entry.operation != kv::Operation::Put {
                continue;
            }
            let known: Record =
                serde_json::from_slice(&entry.value).map_err(|error| unavailable(&error))?;
            if known.at == at && known.fingerprint == fingerprint && known.answer.is_none() {
                // Our own record, whose confirmation was lost.
                return Ok(Claim::Fresh(ticket(entry.revision)));
            }
            match judge(known, &fingerprint, at, self.takeover_micros)? {
                Judged::Replay(answer) => return Ok(Claim::Replay(answer)),
                Judged::TakeOver => {
                    match bucket.update(&record_key, record, entry.revision).await {
                        Ok(revision) => return Ok(Claim::Fresh(ticket(revision))),
                        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                        Err(error) => return Err(unavailable(&error)),
                    }
                }
            }
        }
        Err(in_flight())
    }

    /// Keeps the answer. A failure is only logged: the request was accepted, and a repeat derives the
    /// same id.
    pub(super) async fn finish(&self, ticket: Ticket, answer: String) {
        let record =
            Record { fingerprint: ticket.fingerprint, at: ticket.at, answer: Some(answer) };
        let Ok(bucket) = self.bucket().await else {
            return;
        };
        if let Err(error) =
            bucket.update(&ticket.record_key, encode(&record), ticket.revision).await
        {
            tracing::warn!(%error, "the answer of an idempotent request was not kept");
        }
    }

    /// Gives a key back after a failure, so that a repeat may try at once.
    pub(super) async fn release(&self, ticket: Ticket) {
        let Ok(bucket) = self.bucket().await else {
            return;
        };
        if let Err(error) =
            bucket.delete_expect_revision(&ticket.record_key, Some(ticket.revision)).await
        {
            tracing::debug!(%error, "an idempotency key was not given back; it is taken over later");
        }
    }
}

enum Judged {
    Replay(String),
    TakeOver,
}

fn judge(
    known: Record,
    fingerprint: &str,
    now: Micros,
    takeover_micros: i64,
) -> Result<Judged, Problem> {
    if known.fingerprint != fingerprint {
        return Err(Problem::new(
            Code::IdempotencyKeyReused,
            "this Idempotency-Key was used with another method, path or body; use a new key",
        ));
    }
    match known.answer {
        Some(answer) => Ok(Judged::Replay(answer)),
        None if now.since(known.at) > takeover_micros => Ok(Judged::TakeOver),
        None => Err(in_flight()),
    }
}

fn in_flight() -> Problem {
    Problem::new(
        Code::IdempotencyInFlight,
        "the first request with this Idempotency-Key is not answered yet",
    )
    .retry_after(1)
}

fn unavailable(error: &dyn std::fmt::Display) -> Problem {
    tracing::warn!("idempotency records do not answer: {error}");
    Problem::new(Code::Unavailable, "idempotency keys cannot be checked at the moment")
        .retry_after(1)
}

fn encode(record: &Record) -> Bytes {
    Bytes::from(serde_json::to_vec(record).expect("a struct of texts and numbers always encodes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(answer: Option<&str>) -> Record {
        Record { fingerprint: "f".to_owned(), at: Micros(0), answer: answer.map(str::to_owned) }
    }

    #[test]
    fn a_record_is_judged_by_fingerprint_answer_and_age() {
        let now = Micros(10);
        assert_eq!(
            judge(record(None), "g", now, 20).err().unwrap().code,
            Code::IdempotencyKeyReused
        );
        assert_eq!(
            judge(record(Some("a")), "g", now, 20).err().unwrap().code,
            Code::IdempotencyKeyReused
        );
        assert_eq!(
            judge(record(None), "f", now, 20).err().unwrap().code,
            Code::IdempotencyInFlight
        );
        assert!(matches!(judge(record(None), "f", Micros(21), 20), Ok(Judged::TakeOver)));
        assert!(
            matches!(judge(record(Some("a")), "f", now, 20), Ok(Judged::Replay(answer)) if answer == "a")
        );
    }

    #[test]
    fn a_fingerprint_keeps_its_parts_apart() {
        assert_ne!(fingerprint("POST", "/a", b"b"), fingerprint("POST", "/ab", b""));
        assert_eq!(fingerprint("POST", "/a", b"b"), fingerprint("POST", "/a", b"b"));
    }
}
