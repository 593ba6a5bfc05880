//! The dead letter itself: what is written around a message that is parked, and how it is read again.
//! Reads: the message that failed. Writes: nothing; pure but for the name of the host.
//! Never: changes a body, drops an original header as long as the server would take it, or lets an error text
//! forge a header.
//!
//! The server limits headers and body together (`max_payload`). A message that fitted may no longer fit with
//! its provenance around it, so [`fit`] sheds in this order: the error text, original headers that nobody of
//! us reads, details of the provenance. What is still too large is not parked: the message stays.

use std::sync::OnceLock;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Micros;
use crate::consume::Meta;
use crate::fetch::StoredMessage;
use crate::publish::Outgoing;
use crate::{headers, subjects};

/// Longest error text kept with a dead letter, in bytes.
pub(super) const ERROR_BYTES_MAX: usize = 2_048;
/// What is left of it when the letter would be too large.
const ERROR_BYTES_SHORT: usize = 256;
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 128;
/// The version line of a header block and the empty line after it.
const HEADER_BLOCK: usize = "NATS/1.0\r\n\r\n".len();
/// Room for the headers that publishing adds: expected sequence and the mark of a repeat.
const PUBLISH_HEADERS: usize = 128;

pub(super) const PREFIX: &str = "campana-dead-";
const H_STREAM: &str = "Campana-Dead-Stream";
const H_CONSUMER: &str = "Campana-Dead-Consumer";
const H_SEQUENCE: &str = "Campana-Dead-Sequence";
const H_SUBJECT: &str = "Campana-Dead-Subject";
const H_CLASS: &str = "Campana-Dead-Class";
const H_REASON: &str = "Campana-Dead-Reason";
const H_ERROR: &str = "Campana-Dead-Error";
const H_ATTEMPTS: &str = "Campana-Dead-Attempts";
const H_FIRST_AT: &str = "Campana-Dead-First-At";
const H_FIRST_FAILURE: &str = "Campana-Dead-First-Failure-At";
const H_AT: &str = "Campana-Dead-At";
const H_HANDLER: &str = "Campana-Dead-Handler";
const H_SERVICE: &str = "Campana-Dead-Service";
const H_VERSION: &str = "Campana-Dead-Service-Version";
const H_HOST: &str = "Campana-Dead-Host";
const H_TRACE: &str = "Campana-Dead-Trace-Id";
const H_FILED_BY: &str = "Campana-Dead-Filed-By";
const H_SHED: &str = "Campana-Dead-Shed-Headers";

/// Who files a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FiledBy {
    /// The consumer itself.
    Consumer,
    /// The backstop, told by an advisory.
    Backstop,
    /// The reconciler, which found it.
    Reconciler,
}

impl FiledBy {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Backstop => "backstop",
            Self::Reconciler => "reconciler",
        }
    }
}

/// A message that was given up, and why.
#[derive(Clone, Debug)]
pub(crate) struct Failed<'a> {
    pub stream: &'a str,
    pub consumer: &'a str,
    pub sequence: u64,
    /// Where it was (last) published.
    pub subject: &'a str,
    pub headers: &'a HeaderMap,
    pub payload: Bytes,
    /// When its stream stored it: tells it from the message of an earlier stream of the same name.
    pub stored_at: Micros,
    /// When an attempt failed for the first time, if that is known.
    pub first_failure: Option<Micros>,
    pub attempts: u32,
    pub class: &'a str,
    pub reason: &'a str,
    pub error: &'a str,
    pub filed_by: FiledBy,
}

impl<'a> Failed<'a> {
    /// The message of a delivery.
    pub(crate) fn of_delivery(
        meta: &'a Meta,
        payload: Bytes,
        class: &'a str,
        reason: &'a str,
        error: &'a str,
    ) -> Self {
        Self {
            stream: &meta.stream,
            consumer: &meta.consumer,
            sequence: meta.sequence,
            subject: &meta.subject,
            headers: &meta.headers,
            payload,
            stored_at: meta.published_at,
            first_failure: None,
            attempts: meta.attempt,
            class,
            reason,
            error,
            filed_by: FiledBy::Consumer,
        }
    }
}

/// Who parks, for the provenance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parker<'a> {
    pub service: &'a str,
    pub version: &'a str,
    pub now: Micros,
}

/// The message that parks another one. Its subject carries stream, consumer and sequence, and the stream
/// must not have it yet, so a message is parked once however often that is tried.
pub(super) fn letter(failed: &Failed<'_>, parker: Parker<'_>) -> Outgoing {
    let Failed { stream, consumer, sequence, .. } = *failed;
    let mut letter = Outgoing {
        // With the time, so that the duplicate window does not take a new stream's message for the old one's.
        message_id: format!("dead-{stream}-{consumer}-{sequence}-{}", failed.stored_at.0),
        subject: subjects::dead_letter(stream, consumer, sequence),
        payload: failed.payload.clone(),
        headers: headers::without(&headers::without_control(failed.headers), |name| {
            // Of an earlier life; a message must not bring its own provenance either.
            name.starts_with(PREFIX)
        }),
        expect_last_subject_sequence: Some(0),
    }
    .header(H_STREAM, stream)
    .header(H_CONSUMER, consumer)
    .header(H_SEQUENCE, &sequence.to_string())
    .header(
        H_SUBJECT,
        headers::get(failed.headers, headers::ORIGINAL_SUBJECT).unwrap_or(failed.subject),
    )
    .header(H_CLASS, failed.class)
    .header(H_REASON, &one_line(failed.reason, REASON_BYTES_MAX))
    .header(H_ERROR, &one_line(failed.error, ERROR_BYTES_MAX))
    .header(H_ATTEMPTS, &failed.attempts.to_string())
    .header(H_FIRST_AT, &failed.stored_at.to_rfc3339())
    .header(H_AT, &parker.now.to_rfc3339())
    .header(H_HANDLER, consumer)
    .header(H_SERVICE, &one_line(parker.service, REASON_BYTES_MAX))
    .header(H_HOST, host())
    .header(H_FILED_BY, failed.filed_by.as_str());
    if !parker.version.is_empty() {
        letter = letter.header(H_VERSION, &one_line(parker.version, REASON_BYTES_MAX));
    }
    let first = headers::get(failed.headers, headers::FIRST_FAILURE).and_then(Micros::from_rfc3339);
    if let Some(first) = first.or(failed.first_failure) {
        letter = letter.header(H_FIRST_FAILURE, &first.to_rfc3339());
    }
    match headers::trace(failed.headers) {
        Some(trace) => letter.header(H_TRACE, &trace.trace_id()),
        None => letter,
    }
}

/// The same letter within the server's limit; `None` if even the least of it is too large.
pub(super) fn fit(mut letter: Outgoing, max_payload: usize) -> Option<Outgoing> {
    let fits = |letter: &Outgoing| wire_size(letter) <= max_payload;
    if fits(&letter) {
        return Some(letter);
    }
    let short = one_line(headers::get(&letter.headers, H_ERROR).unwrap_or(""), ERROR_BYTES_SHORT);
    headers::set(&mut letter.headers, H_ERROR, &short);
    if fits(&letter) {
        return Some(letter);
    }
    let before = letter.headers.len();
    letter.headers = headers::without(&letter.headers, |name| {
        !(name.starts_with("ce-") || name.starts_with("campana-") || name == headers::TRACEPARENT)
    });
    let shed = before - letter.headers.len();
    letter = letter.header(H_SHED, &shed.to_string());
    if fits(&letter) {
        return Some(letter);
    }
    letter.headers = headers::without(&letter.headers, |name| {
        let details = [
            H_ERROR,
            H_STREAM,
            H_CONSUMER,
            H_SEQUENCE,
            H_HANDLER,
            H_SERVICE,
            H_VERSION,
            H_HOST,
            H_TRACE,
            H_FIRST_FAILURE,
        ];
        details.iter().any(|detail| detail.eq_ignore_ascii_case(name))
    });
    fits(&letter).then_some(letter)
}

/// Bytes that the server counts against `max_payload`: the header block and the body.
pub(super) fn wire_size(message: &Outgoing) -> usize {
    let line = |name: &str, value: usize| name.len() + ": ".len() + value + "\r\n".len();
    let lines: usize = message
        .headers
        .iter()
        .map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(|value| line(name, value.as_str().len())).sum::<usize>()
        })
        .sum();
    HEADER_BLOCK
        + lines
        + line("Nats-Msg-Id", message.message_id.len())
        + PUBLISH_HEADERS
        + message.payload.len()
}

/// A header cannot carry line breaks, and an error text has no limit of its own.
pub(super) fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > bytes_max {
        let mut end = bytes_max;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
    }
    line
}

/// The name of this machine, as the kernel knows it.
fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = one_line(name.trim(), REASON_BYTES_MAX);
        if name.is_empty() { "unknown".to_owned() } else { name }
    })
}

/// One dead letter, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its sequence among the dead letters: the id that commands take.
    pub id: u64,
    /// The stream it came from.
    pub stream: String,
    /// The consumer that gave it up; `(nobody)` if no consumer wanted it.
    pub consumer: String,
    /// Its sequence in that stream.
    pub sequence: u64,
    /// The subject on which it was first published.
    pub subject: String,
    /// The tenant that this subject names, if it names one.
    pub tenant: Option<String>,
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
    /// When an attempt at it failed for the first time, RFC 3339, if that is known.
    pub first_failure_at: Option<String>,
    /// When it was parked (its last failure), RFC 3339.
    pub dead_at: String,
    /// Connection name and version of the service that parked it.
    pub service: String,
    /// The machine that parked it.
    pub host: String,
    /// `consumer`, `backstop` or `reconciler`.
    pub filed_by: String,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// Bytes of the body.
    pub bytes: usize,
}

/// Reads a stored dead letter.
pub(super) fn view(stored: &StoredMessage) -> DeadLetter {
    let find = |name: &str| headers::get(&stored.headers, name).map(str::to_owned);
    let text = |name: &str| find(name).unwrap_or_default();
    let (stream, consumer, sequence) =
        subjects::parse_dead_letter(&stored.subject).unwrap_or_default();
    let subject = text(H_SUBJECT);
    let service = [text(H_SERVICE), text(H_VERSION)];
    DeadLetter {
        id: stored.sequence,
        stream,
        consumer,
        sequence,
        tenant: subjects::tenant_of(&subject),
        subject,
        class: text(H_CLASS),
        reason: text(H_REASON),
        error: text(H_ERROR),
        attempts: headers::get_number(&stored.headers, H_ATTEMPTS).unwrap_or(0),
        redrives: headers::get_number(&stored.headers, headers::REDRIVE_COUNT).unwrap_or(0),
        first_at: text(H_FIRST_AT),
        first_failure_at: find(H_FIRST_FAILURE),
        dead_at: text(H_AT),
        service: service.join(" ").trim().to_owned(),
        host: text(H_HOST),
        filed_by: find(H_FILED_BY).unwrap_or_else(|| FiledBy::Consumer.as_str().to_owned()),
        trace_id: headers::trace(&stored.headers).map(|trace| trace.trace_id()),
        bytes: stored.payload.len(),
    }
}

/// Whether a stored letter parks this very message, and not one of an earlier stream of the same name.
pub(super) fn is_of(stored: &StoredMessage, failed: &Failed<'_>) -> bool {
    headers::get(&stored.headers, H_FIRST_AT) == Some(failed.stored_at.to_rfc3339().as_str())
}

#[cfg(test)]
mod tests;
