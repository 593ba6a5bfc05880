//! Dead letters: what was given up, for operators to look at, redrive or discard.
//! Reads: the `DLQ` stream. Writes: it, and retry subjects when redriving. Never: removes an entry before
//! what replaces it is stored, never changes a body or an original header.

use bytes::Bytes;
use serde::Serialize;

use crate::clock;
use crate::connect::Bus;
use crate::consume::Meta;
use crate::fetch::{FetchError, StoredMessage};
use crate::publish::{Outgoing, PublishError};
use crate::topology::DLQ;
use crate::{headers, subjects, telemetry};

/// Longest error text kept with a dead letter, in bytes.
const ERROR_BYTES_MAX: usize = 2_048;
/// Entries read with one request.
const PAGE: usize = 256;

const H_STREAM: &str = "Campana-Dead-Stream";
const H_CONSUMER: &str = "Campana-Dead-Consumer";
const H_SEQUENCE: &str = "Campana-Dead-Sequence";
const H_SUBJECT: &str = "Campana-Dead-Subject";
const H_CLASS: &str = "Campana-Dead-Class";
const H_REASON: &str = "Campana-Dead-Reason";
const H_ERROR: &str = "Campana-Dead-Error";
const H_ATTEMPTS: &str = "Campana-Dead-Attempts";
const H_FIRST_AT: &str = "Campana-Dead-First-At";
const H_AT: &str = "Campana-Dead-At";

/// The message that parks another one. Its subject carries stream, consumer and sequence, and the stream
/// must not have it yet, so a message is parked once however often that is tried.
pub(crate) fn letter(
    meta: &Meta,
    payload: Bytes,
    class: &str,
    reason: &str,
    error: &str,
) -> Outgoing {
    let subject = subjects::dead_letter(&meta.stream, &meta.consumer, meta.sequence);
    Outgoing {
        message_id: format!("dead-{}-{}-{}", meta.stream, meta.consumer, meta.sequence),
        subject,
        payload,
        headers: headers::without_control(&meta.headers),
        expect_last_subject_sequence: Some(0),
    }
    .header(H_STREAM, &meta.stream)
    .header(H_CONSUMER, &meta.consumer)
    .header(H_SEQUENCE, &meta.sequence.to_string())
    .header(
        H_SUBJECT,
        headers::get(&meta.headers, headers::ORIGINAL_SUBJECT).unwrap_or(&meta.subject),
    )
    .header(H_CLASS, class)
    .header(H_REASON, &one_line(reason))
    .header(H_ERROR, &one_line(error))
    .header(H_ATTEMPTS, &meta.attempt.to_string())
    .header(H_FIRST_AT, &meta.published_at.to_rfc3339())
    .header(H_AT, &clock::now().to_rfc3339())
}

/// A header cannot carry line breaks, and an error text has no limit of its own.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > ERROR_BYTES_MAX {
        let mut end = ERROR_BYTES_MAX;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
    }
    line
}

/// One dead letter, as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// Its sequence among the dead letters: the id that commands take.
    pub id: u64,
    /// The stream it came from.
    pub stream: String,
    /// The consumer that gave it up.
    pub consumer: String,
    /// Its sequence in that stream.
    pub sequence: u64,
    /// The subject on which it was first published.
    pub subject: String,
    /// Bounded class of the failure.
    pub class: String,
    /// Machine-readable reason.
    pub reason: String,
    /// What went wrong, for people.
    pub error: String,
    /// Attempts made.
    pub attempts: u32,
    /// How often it was redriven before.
    pub redrives: u32,
    /// When this copy was first stored, RFC 3339.
    pub first_at: String,
    /// When it was parked, RFC 3339.
    pub dead_at: String,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// Bytes of the body.
    pub bytes: usize,
}

/// Which dead letters are meant; empty fields mean all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only from this stream.
    pub stream: Option<String>,
    /// Only from this consumer.
    pub consumer: Option<String>,
    /// Only with this reason.
    pub reason: Option<String>,
    /// Only with this id.
    pub id: Option<u64>,
}

/// Why an operation on dead letters failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DlqError {
    /// Reading failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Publishing failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The entry could not be removed.
    #[error("dead letter {id} could not be removed: {reason}")]
    Remove {
        /// Which.
        id: u64,
        /// What the server said.
        reason: String,
    },
    /// No such entry.
    #[error("there is no dead letter {0}")]
    NotFound(u64),
}

fn view(stored: &StoredMessage) -> DeadLetter {
    let text = |name: &str| headers::get(&stored.headers, name).unwrap_or_default().to_owned();
    let (stream, consumer, sequence) =
        subjects::parse_dead_letter(&stored.subject).unwrap_or_default();
    DeadLetter {
        id: stored.sequence,
        stream,
        consumer,
        sequence,
        subject: text(H_SUBJECT),
        class: text(H_CLASS),
        reason: text(H_REASON),
        error: text(H_ERROR),
        attempts: headers::get_number(&stored.headers, H_ATTEMPTS).unwrap_or(0),
        redrives: headers::get_number(&stored.headers, headers::REDRIVE_COUNT).unwrap_or(0),
        first_at: text(H_FIRST_AT),
        dead_at: text(H_AT),
        trace_id: headers::trace(&stored.headers).map(|trace| trace.trace_id()),
        bytes: stored.payload.len(),
    }
}

impl Filter {
    fn matches(&self, letter: &DeadLetter) -> bool {
        self.id.is_none_or(|id| id == letter.id)
            && self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
    }
}

/// Dead letters, oldest first.
///
/// # Errors
/// If the stream does not answer.
pub async fn list(bus: &Bus, filter: &Filter, limit: usize) -> Result<Vec<DeadLetter>, DlqError> {
    Ok(stored(bus, filter, limit).await?.iter().map(view).collect())
}

/// One dead letter with headers and body.
///
/// # Errors
/// If there is none with this id, or the stream does not answer.
pub async fn show(bus: &Bus, id: u64) -> Result<(DeadLetter, StoredMessage), DlqError> {
    let stored = bus.message(DLQ, id).await?.ok_or(DlqError::NotFound(id))?;
    Ok((view(&stored), stored))
}

async fn stored(bus: &Bus, filter: &Filter, limit: usize) -> Result<Vec<StoredMessage>, DlqError> {
    let subject =
        subjects::dead_letter_filter(filter.stream.as_deref(), filter.consumer.as_deref());
    let mut found = Vec::new();
    let mut after = filter.id.map_or(0, |id| id.saturating_sub(1));
    while found.len() < limit {
        let page = bus.fetch_after(DLQ, &subject, after, PAGE).await?;
        let Some(last) = page.messages.last() else {
            break;
        };
        after = last.sequence;
        let past_the_id = filter.id.is_some_and(|id| after >= id);
        let more = page.pending > 0 && !past_the_id;
        found.extend(page.messages.into_iter().filter(|message| filter.matches(&view(message))));
        if !more {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// Publishes dead letters again to the consumer that gave them up, with fresh attempts, and removes each
/// entry once its message is stored. Returns how many.
///
/// # Errors
/// At the first entry that cannot be redriven; those before it are done, it and the rest stay parked.
pub async fn redrive(bus: &Bus, filter: &Filter, limit: usize) -> Result<usize, DlqError> {
    let letters = stored(bus, filter, limit).await?;
    let mut done = 0;
    for entry in letters {
        let result = redrive_one(bus, &entry).await;
        telemetry::redriven(if result.is_ok() { "ok" } else { "failed" });
        result?;
        done += 1;
    }
    Ok(done)
}

async fn redrive_one(bus: &Bus, entry: &StoredMessage) -> Result<(), DlqError> {
    let letter = view(entry);
    let redrives = letter.redrives + 1;
    let all = headers::without(&entry.headers, |name| {
        name.starts_with("campana-dead-") || name.eq_ignore_ascii_case(headers::ATTEMPT_BASE)
    });
    let again = Outgoing {
        subject: subjects::retry(&letter.stream, &letter.consumer, &format!("dlq-{}", letter.id)),
        payload: entry.payload.clone(),
        headers: all,
        // A fresh id: the original one could still be in the duplicate window and would be swallowed. The
        // same entry redriven by two operators has the same id and is stored once.
        message_id: format!("redrive:{}:{redrives}", letter.id),
        expect_last_subject_sequence: None,
    }
    .header(headers::REDRIVE_COUNT, &redrives.to_string())
    .header(headers::ORIGINAL_SUBJECT, &letter.subject);
    bus.publish(again).await?;
    remove(bus, letter.id).await
}

/// Removes dead letters for good. Returns how many.
///
/// # Errors
/// At the first entry that cannot be removed.
pub async fn discard(bus: &Bus, filter: &Filter, limit: usize) -> Result<usize, DlqError> {
    let letters = stored(bus, filter, limit).await?;
    for entry in &letters {
        remove(bus, entry.sequence).await?;
    }
    Ok(letters.len())
}

async fn remove(bus: &Bus, id: u64) -> Result<(), DlqError> {
    let failed = |reason: String| DlqError::Remove { id, reason };
    let stream =
        bus.jetstream().get_stream_no_info(DLQ).await.map_err(|error| failed(error.to_string()))?;
    match stream.delete_message(id).await {
        Ok(_) => Ok(()),
        // Somebody else removed it meanwhile: that is what we wanted.
        Err(_) if bus.message(DLQ, id).await?.is_none() => Ok(()),
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_become_one_bounded_line() {
        assert_eq!(one_line("a\r\nNats-Rollup: all"), "a  Nats-Rollup: all");
        let long = "é".repeat(4_000);
        assert!(one_line(&long).len() <= ERROR_BYTES_MAX);
    }
}
