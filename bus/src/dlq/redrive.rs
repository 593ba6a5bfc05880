//! Giving one dead letter back.
//! Reads: the letter, and how its consumer listens. Writes: one message; then the letter is removed.
//! Never: removes a letter before what replaces it is stored, reuses a message id (the old one may still be in
//! the duplicate window and would be swallowed), redrives a letter that somebody else has claimed.
//!
//! A message goes back to the consumer that gave it up, on a subject that only this consumer reads. A consumer
//! that this library does not run has no such subject: its messages go back to where they were published
//! first, where other consumers of a log see them again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::HeaderMap;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::claims::{self, Claimant};
use super::letter::{DeadLetter, PREFIX, one_line, view, wire_size};
use super::{DlqError, remove};
use crate::connect::Bus;
use crate::fetch::StoredMessage;
use crate::ids::MessageId;
use crate::publish::{Outgoing, Part, PublishError, decode_parts, encode_parts};
use crate::topology::DLQ;
use crate::trace::TraceParent;
use crate::{headers, subjects, telemetry};

/// Longest note of an editor, in bytes.
const NOTE_BYTES_MAX: usize = 512;

/// A body that an operator corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is sent instead.
    pub body: Bytes,
    /// Why, for whoever looks at the message later; at most 512 bytes are kept.
    pub note: String,
}

/// How one entry of a redrive ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Redriven,
    /// Somebody else's claim.
    Claimed(String),
    /// The target refused it for good; it stays parked.
    Failed(String),
}

/// Where the messages of each consumer go back to; asked once for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes(Arc<Mutex<HashMap<(String, String), bool>>>);

impl Routes {
    /// Whether the consumer reads a subject of its own.
    async fn has_own_subject(&self, bus: &Bus, letter: &DeadLetter) -> Result<bool, DlqError> {
        let key = (letter.stream.clone(), letter.consumer.clone());
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let asked = ask(bus, letter).await?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, asked);
        Ok(asked)
    }
}

async fn ask(bus: &Bus, letter: &DeadLetter) -> Result<bool, DlqError> {
    let failed = |error: String| {
        DlqError::Fetch(crate::fetch::FetchError::Unavailable(format!("consumer: {error}")))
    };
    let probe = subjects::retry(&letter.stream, &letter.consumer, "1");
    let stream = bus
        .jetstream()
        .get_stream(&letter.stream)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let accepts = stream
        .cached_info()
        .config
        .subjects
        .iter()
        .any(|subject| subjects::matches(subject, &probe));
    match stream.consumer_info(&letter.consumer).await {
        Ok(info) => Ok(accepts && reads(&info.config, &probe)),
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
            // Not created yet, or deleted for the moment: ours comes back and reads its subject then.
            Ok(accepts && letter.filed_by == super::letter::FiledBy::Consumer.as_str())
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Whether a consumer takes messages of this subject; no filter takes all.
pub(super) fn reads(config: &async_nats::jetstream::consumer::Config, subject: &str) -> bool {
    let one = Some(&config.filter_subject).filter(|filter| !filter.is_empty());
    let mut filters = one.into_iter().chain(&config.filter_subjects).peekable();
    filters.peek().is_none() || filters.any(|filter| subjects::matches(filter, subject))
}

/// Redrives one entry under the name of a job or a command. Temporary troubles are errors, to be tried again
/// by the same claimant; everything else has an end.
pub(super) async fn redrive(
    bus: &Bus,
    entry: &StoredMessage,
    claimant: &Claimant,
    routes: &Routes,
    edit: Option<&Edit>,
) -> Result<Ended, DlqError> {
    let letter = view(entry);
    let token = life(&letter, entry);
    let again = message(bus, entry, &letter, &token, claimant, routes, edit).await?;
    let revision = match claims::take(bus, &token, claimant).await? {
        Ok(revision) => revision,
        Err(owner) => {
            telemetry::redriven("claimed");
            return Ok(Ended::Claimed(owner));
        }
    };
    match bus.publish(again).await {
        // "Wrong last sequence": this life of the letter was published before; only the removal is missing.
        Ok(_) | Err(PublishError::WrongLastSequence) => {}
        Err(error) if error.is_temporary() => return Err(error.into()),
        Err(error) => {
            claims::give_back(bus, &token, revision).await?;
            telemetry::redriven("failed");
            return Ok(Ended::Failed(error.to_string()));
        }
    }
    remove(bus, letter.id).await?;
    telemetry::redriven("ok");
    Ok(Ended::Redriven)
}

/// Names one life of a letter: its number, how often it was redriven, and when it was stored, because numbers
/// begin anew if the stream is created anew.
fn life(letter: &DeadLetter, entry: &StoredMessage) -> String {
    format!("dlq-{}-{}-{}", letter.id, letter.redrives + 1, entry.time.0)
}

async fn message(
    bus: &Bus,
    entry: &StoredMessage,
    letter: &DeadLetter,
    token: &str,
    claimant: &Claimant,
    routes: &Routes,
    edit: Option<&Edit>,
) -> Result<Outgoing, DlqError> {
    let own = routes.has_own_subject(bus, letter).await?;
    let mut all = headers_again(entry, letter, claimant);
    let payload = match edit {
        None => entry.payload.clone(),
        Some(edit) => edited(entry, edit, &mut all)?,
    };
    let again = Outgoing {
        subject: if own {
            subjects::retry(&letter.stream, &letter.consumer, token)
        } else {
            letter.subject.clone()
        },
        payload,
        headers: all,
        message_id: format!("redrive:{token}"),
        expect_last_subject_sequence: own.then_some(0),
    };
    let limit = bus.client().max_payload();
    if edit.is_some() && wire_size(&again) > limit {
        return Err(DlqError::TooLarge { id: letter.id, limit });
    }
    Ok(again)
}

/// The original headers, a fresh count of attempts, and a trace of its own that names the old one. What the letter
/// told the server (`Nats-…`) is not said again: "nothing may be stored here yet" is true of the letter's subject only.
fn headers_again(entry: &StoredMessage, letter: &DeadLetter, claimant: &Claimant) -> HeaderMap {
    let mut all = headers::without(&entry.headers, |name| {
        name.starts_with(PREFIX)
            || name.starts_with("nats-")
            || [
                headers::ATTEMPT_BASE,
                headers::REPEAT,
                headers::FIRST_FAILURE,
                headers::REDRIVE_JOB,
            ]
            .iter()
            .any(|ours| ours.eq_ignore_ascii_case(name))
    });
    if let Some(old) = headers::get(&entry.headers, headers::TRACEPARENT) {
        let old = old.to_owned();
        headers::set(&mut all, headers::REDRIVEN_FROM_TRACE, &old);
    }
    headers::set(&mut all, headers::TRACEPARENT, &TraceParent::fresh().to_string());
    headers::set(&mut all, headers::REDRIVE_COUNT, &(letter.redrives + 1).to_string());
    headers::set(&mut all, headers::REDRIVE_JOB, &claimant.name());
    headers::set(&mut all, headers::ORIGINAL_SUBJECT, &letter.subject);
    all
}

/// The corrected body. An envelope of one request stays an envelope: operators write the request alone.
fn edited(entry: &StoredMessage, edit: &Edit, all: &mut HeaderMap) -> Result<Bytes, DlqError> {
    // The hash of the very first body survives further corrections.
    if headers::get(all, headers::EDITED_FROM).is_none() {
        let hash = hex::encode(Sha256::digest(&entry.payload));
        headers::set(all, headers::EDITED_FROM, &hash);
    }
    headers::set(all, headers::EDIT_NOTE, &one_line(&edit.note, NOTE_BYTES_MAX));
    let is_envelope = headers::get(&entry.headers, headers::ENVELOPE_PARTS).is_some();
    if !is_envelope || decode_parts(&edit.body).is_some_and(|parts| parts.len() == 1) {
        return Ok(edit.body.clone());
    }
    match decode_parts(&entry.payload).as_deref() {
        Some([part]) => Ok(encode_parts(&[Part { body: edit.body.clone(), ..part.clone() }])),
        _ => Err(DlqError::NotEditable(entry.sequence)),
    }
}

/// Gives one dead letter back to its consumer at once, with fresh attempts.
///
/// # Errors
/// If there is no such letter, somebody else redrives it, or the stream refuses or does not answer; the letter
/// then stays, and the same call can be repeated, after a refusal when its claim has run out (60 s).
pub async fn redrive_one(bus: &Bus, id: u64, edit: Option<Edit>) -> Result<(), DlqError> {
    let entry = bus.message(DLQ, id).await?.ok_or(DlqError::NotFound(id))?;
    let claimant = Claimant::Command(MessageId::fresh().to_string());
    match redrive(bus, &entry, &claimant, &Routes::default(), edit.as_ref()).await? {
        Ended::Redriven => Ok(()),
        Ended::Claimed(owner) => Err(DlqError::Claimed { id, owner }),
        Ended::Failed(reason) => Err(DlqError::Refused { id, reason }),
    }
}

/// Gives one dead letter back with a corrected body. The message carries the SHA-256 of the original body.
///
/// # Errors
/// As [`redrive_one`], and if the new body is too large for the server.
pub async fn redrive_edited(bus: &Bus, id: u64, new_body: Bytes) -> Result<(), DlqError> {
    redrive_one(bus, id, Some(Edit { body: new_body, note: String::new() })).await
}
