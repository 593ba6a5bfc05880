//! What `/v1/dead-letters` and `/v1/redrives` take and answer.
//! Reads and writes: nothing; pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use campana_bus::clock::{self, Micros};
use campana_bus::dlq::jobs::{Group, Job, RedriveRequest};
use campana_bus::dlq::{DeadLetter, Filter, LetterPage};
use campana_bus::fetch::StoredMessage;
use campana_bus::headers;
use campana_bus::publish::decode_parts;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::problem::{FieldCode, Problem};
use super::field;

/// A message that was given up.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterOut {
    /// Its id.
    pub id: u64,
    /// The stream it came from.
    pub stream: String,
    /// The consumer that gave it up.
    pub consumer: String,
    /// Its sequence in that stream.
    pub sequence: u64,
    /// The subject on which it was first published.
    pub subject: String,
    /// `permanent`, `max_deliver`, `poison`, `expired` or `stranded`.
    pub class: String,
    /// Machine-readable reason.
    pub reason: String,
    /// What went wrong, for people.
    pub error: String,
    /// Attempts made.
    pub attempts: u32,
    /// How often it was redriven before.
    pub redrives: u32,
    /// When it was stored in its stream.
    pub first_at: String,
    /// When an attempt at it failed for the first time, if that is known.
    pub first_failure_at: Option<String>,
    /// When it was parked.
    pub dead_at: String,
    /// Name and version of the service that parked it.
    pub service: String,
    /// `consumer`, `backstop` or `reconciler`.
    pub filed_by: String,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// Bytes of the body.
    pub bytes: usize,
}

impl From<DeadLetter> for DeadLetterOut {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            stream: letter.stream,
            consumer: letter.consumer,
            sequence: letter.sequence,
            subject: letter.subject,
            class: letter.class,
            reason: letter.reason,
            error: letter.error,
            attempts: letter.attempts,
            redrives: letter.redrives,
            first_at: letter.first_at,
            first_failure_at: letter.first_failure_at,
            dead_at: letter.dead_at,
            service: letter.service,
            filed_by: letter.filed_by,
            trace_id: letter.trace_id,
            bytes: letter.bytes,
        }
    }
}

/// A page of dead letters, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterPage {
    /// The page.
    pub data: Vec<DeadLetterOut>,
    /// Pass it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

impl From<LetterPage> for DeadLetterPage {
    fn from(page: LetterPage) -> Self {
        Self {
            data: page.letters.into_iter().map(DeadLetterOut::from).collect(),
            next_cursor: page.next.map(|next| URL_SAFE_NO_PAD.encode(next.to_string())),
        }
    }
}

/// A dead letter with headers and body.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterDetail {
    /// What is known about it.
    #[serde(flatten)]
    pub letter: DeadLetterOut,
    /// Every header with its values.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The body, if it is JSON; the request, if it is an envelope of one.
    #[schema(value_type = Option<Object>)]
    pub json: Option<Value>,
    /// The body as it is, in base64.
    pub base64: String,
}

impl DeadLetterDetail {
    pub(super) fn of(letter: DeadLetter, stored: &StoredMessage) -> Self {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, values) in stored.headers.iter() {
            let values = values.iter().map(|value| value.as_str().to_owned());
            all.entry(name.to_string()).or_default().extend(values);
        }
        let is_envelope = headers::get(&stored.headers, headers::ENVELOPE_PARTS).is_some();
        let part = decode_parts(&stored.payload).filter(|_| is_envelope);
        let body = match part.as_deref() {
            Some([part]) => &part.body,
            _ => &stored.payload,
        };
        Self {
            letter: letter.into(),
            headers: all,
            json: serde_json::from_slice(body).ok(),
            base64: STANDARD.encode(&stored.payload),
        }
    }
}

/// How to redrive one letter: as it is, or with a corrected body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedriveLetterIn {
    /// The new body as JSON; for an envelope, the request in it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub json: Option<Box<RawValue>>,
    /// The new body in base64, instead of `json`.
    #[serde(default)]
    pub base64: Option<String>,
    /// Why it was corrected; at most 512 bytes.
    #[serde(default)]
    pub note: Option<String>,
}

/// Which letters a job redrives; all that are given must fit.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedriveFilterIn {
    /// Only from this stream.
    pub stream: Option<String>,
    /// Only from this consumer.
    pub consumer: Option<String>,
    /// Only of this class.
    pub class: Option<String>,
    /// Only with this reason.
    pub reason: Option<String>,
    /// Only if the error contains this; `*` stands for any text.
    pub error: Option<String>,
    /// Only parked at this time or later, RFC 3339.
    pub from: Option<String>,
    /// Only parked before this time, RFC 3339.
    pub to: Option<String>,
}

/// A job to start.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedriveIn {
    /// Which letters.
    pub filter: RedriveFilterIn,
    /// Must be true to redrive without a filter.
    pub all: bool,
    /// Only count, and show a sample.
    pub dry_run: bool,
    /// Messages per second, 1 to 5000; default 100.
    pub rate: Option<u32>,
    /// Letters at most; default: all that are there now.
    pub limit: Option<u64>,
    /// Part of the redriven messages that may be parked again before the job stops, 0 to 1; default 0.5.
    pub stop_ratio: Option<f64>,
    /// Redriven messages before that is looked at; default 20.
    pub stop_after: Option<u64>,
}

impl RedriveIn {
    pub(super) fn request(
        self,
        tenant: Option<String>,
        requested_by: String,
    ) -> Result<RedriveRequest, Problem> {
        let time = |name: &str, text: Option<String>| {
            text.map(|text| {
                Micros::from_rfc3339(&text).ok_or_else(|| {
                    let pointer = format!("/filter/{name}");
                    field(&pointer, FieldCode::InvalidTime, "must be a time as of RFC 3339")
                })
            })
            .transpose()
        };
        let filter = Filter {
            stream: self.filter.stream,
            consumer: self.filter.consumer,
            class: self.filter.class,
            reason: self.filter.reason,
            error_contains: self.filter.error,
            from: time("from", self.filter.from)?,
            to: time("to", self.filter.to)?,
            ..Filter::default()
        };
        if filter.is_empty() && !self.all && !self.dry_run {
            let detail = "give a filter, or all: true to redrive everything";
            return Err(field("/filter", FieldCode::Empty, detail));
        }
        let default = RedriveRequest::default();
        Ok(RedriveRequest {
            filter: Filter { tenant, ..filter },
            rate: self.rate.unwrap_or(default.rate),
            limit: self.limit,
            dry_run: self.dry_run,
            stop_ratio: self.stop_ratio.unwrap_or(default.stop_ratio),
            stop_after: self.stop_after.unwrap_or(default.stop_after),
            requested_by,
        })
    }
}

/// How many letters of one kind there are.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedriveGroup {
    /// The stream.
    pub stream: String,
    /// The consumer.
    pub consumer: String,
    /// The class.
    pub class: String,
    /// How many.
    pub count: u64,
}

impl From<Group> for RedriveGroup {
    fn from(group: Group) -> Self {
        let Group { stream, consumer, class, count } = group;
        Self { stream, consumer, class, count }
    }
}

/// A redrive job.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedriveOut {
    /// Its id.
    pub id: String,
    /// `pending`, `running`, `done`, `canceled`, `stopped` or `failed`.
    pub state: String,
    /// Why it ended, or what it waits for.
    pub message: Option<String>,
    /// Whether it only counts.
    pub dry_run: bool,
    /// Messages per second at most.
    pub rate: u32,
    /// Who asked for it.
    pub requested_by: String,
    /// When it was asked for.
    pub created_at: String,
    /// When a keeper began.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Part of the letters that were looked at, 0 to 1.
    pub progress: f64,
    /// Seconds that it will still take, if that can be said.
    pub remaining_seconds: Option<f64>,
    /// Letters that the filter means, so far.
    pub matched: u64,
    /// Given back to their consumers.
    pub redriven: u64,
    /// Left to the job or operator who had claimed them.
    pub claimed_by_others: u64,
    /// Refused by their stream; they stay parked.
    pub failed: u64,
    /// Redriven and parked again while the job ran.
    pub refailed: u64,
    /// What a dry run found, by consumer and class.
    pub groups: Vec<RedriveGroup>,
    /// The first letters that a dry run found.
    pub sample: Vec<DeadLetterOut>,
}

impl From<Job> for RedriveOut {
    fn from(job: Job) -> Self {
        let now = clock::now();
        Self {
            id: job.id.to_string(),
            state: job.state.as_str().to_owned(),
            dry_run: job.request.dry_run,
            rate: job.request.rate,
            created_at: job.created_at.to_rfc3339(),
            started_at: job.started_at.map(Micros::to_rfc3339),
            ended_at: job.ended_at.map(Micros::to_rfc3339),
            progress: job.progress(),
            remaining_seconds: job.remaining(now).map(|left| left.as_secs_f64()),
            matched: job.counts.matched,
            redriven: job.counts.redriven,
            claimed_by_others: job.counts.claimed_by_others,
            failed: job.counts.failed,
            refailed: job.counts.refailed,
            message: job.message,
            requested_by: job.request.requested_by,
            groups: job.groups.into_iter().map(RedriveGroup::from).collect(),
            sample: job.sample.into_iter().map(DeadLetterOut::from).collect(),
        }
    }
}

/// Redrive jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RedriveList {
    /// At most as many as asked for.
    pub data: Vec<RedriveOut>,
}
