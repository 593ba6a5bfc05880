//! Messages that are published later: once, or again and again.
//! Reads: the schedules that wait in a stream. Writes: schedules. Never: keeps a timer in the process: the server
//! fires, whether or not anybody of us runs.
//!
//! A schedule is a message on `_schedule.{stream}.{key}` in the stream that it will publish to (NATS ADR-51), so
//! it is as durable and as replicated as the messages themselves; docs/adr/0019-schedules-live-in-their-stream.md
//! says what that buys and costs. There is one schedule a key: a new one takes the place of the old one in one
//! step. The server looks every 250 ms, so a message fires up to about that much late; how late is measured
//! (`campana_schedule_lateness_seconds`).
//!
//! ```no_run
//! # async fn example(bus: campana_bus::Bus) -> anyhow::Result<()> {
//! use campana_bus::publish::Outgoing;
//! use campana_bus::schedule::When;
//! use campana_bus::{subjects, topology::EVENTS};
//!
//! let subject = subjects::app_event("default", "shop", "cart_abandoned");
//! let message = Outgoing::new(subject, "cart-7-reminder", "{\"cart\":7}".into());
//! let when = When::After(std::time::Duration::from_secs(3_600));
//! bus.schedule(EVENTS, "cart-7", &when, message).await?;
//! // The customer came back.
//! let was_pending = bus.unschedule(EVENTS, "cart-7").await?;
//! # let _ = was_pending;
//! # Ok(())
//! # }
//! ```

mod cron;
mod error;
mod fired;
mod firing;
mod when;

use std::time::Duration;

use tracing::Instrument;

use crate::clock::{self, Micros};
use crate::connect::Bus;
use crate::event::Event;
use crate::fetch::StoredMessage;
use crate::ids::MessageId;
use crate::publish::{self, Outgoing, PublishError, StoredAt};
use crate::{headers, observe, subjects, telemetry};

pub use error::ScheduleError;
pub use fired::{due_at, key};
pub(crate) use fired::{measure, message_id};
pub use when::{AHEAD_MAX, EVERY_MIN, When, WhenError};

/// Most schedules that one call of [`Bus::schedules`] returns.
pub const PAGE_MAX: usize = 1_000;

/// Bytes after which the server ends one answer while schedules are listed.
const PAGE_BYTES: usize = 1 << 20;

/// A schedule that waits in a stream.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Scheduled {
    /// The stream.
    pub stream: String,
    /// What the caller named it.
    pub key: String,
    /// The subject that it will publish to.
    pub target: String,
    /// `@at …`, `@every …` or a cron expression, with the time zone behind it if there is one.
    pub when: String,
    /// When it is due next: exact for `@at` and cron; for `@every` as long as the server was never away when
    /// it was due. `None` for a schedule that another program wrote in a way that this one does not read.
    pub next_at: Option<Micros>,
    /// When it was stored.
    pub stored_at: Micros,
    /// Its sequence in the stream: what the next page goes on after.
    pub sequence: u64,
    /// Bytes of the body.
    pub bytes: usize,
}

impl Bus {
    /// Has the server publish `message` in `stream` at the given time or times. A schedule of the same key is
    /// replaced in the same step, after it fired if it is due in this very moment; with `message.expect_last_subject_sequence` only if it is the one with that
    /// sequence (0: only if there is none), else the answer is
    /// [`PublishError::WrongLastSequence`].
    ///
    /// The message's headers pass through, except those whose name begins with `Nats-`. A message that fires
    /// once is consumed under its own `message_id`; each firing of a recurring one under an id of its own. A
    /// repeat of this call before the message is due changes nothing; one after it was due fires it again,
    /// under the same id.
    ///
    /// # Errors
    /// If the time or the key breaks a rule, the stream carries no schedules or does not have the message's
    /// subject, or it refuses or does not answer in time.
    pub async fn schedule(
        &self,
        stream: &str,
        key: &str,
        when: &When,
        message: Outgoing,
    ) -> Result<StoredAt, ScheduleError> {
        error::check_names(stream, key)?;
        let pattern = when.pattern(clock::now())?;
        let target = message.subject.clone();
        let mut schedule = build(stream, key, &pattern, message);
        if let Err(error) = firing::settled(self, stream, &schedule.subject).await {
            error::check_stream(self, stream).await?;
            tracing::debug!("no look at the schedule before it is replaced: {error}");
        }
        let started = clock::monotonic();
        let span = observe::publishing(&mut schedule);
        let result = store(self, stream, &schedule).instrument(span.clone()).await?;
        observe::published(&span, &result);
        telemetry::published(&schedule.subject, publish::label(&result), 1, started.elapsed());
        result.map_err(|error| {
            ScheduleError::of(error, stream, &target, pattern.time_zone.as_deref())
        })
    }

    /// Removes a schedule. True if it was still waiting, and will not fire any more.
    ///
    /// A schedule that is due in this very moment is let go first, which takes up to a second, rarely five: one
    /// that fires once is then gone and the answer is false. (Only a server that needs more than five seconds
    /// to fire what is due, or a clock that differs from the server's, can make true wrong.)
    ///
    /// # Errors
    /// If the stream is missing or does not answer in time.
    pub async fn unschedule(&self, stream: &str, key: &str) -> Result<bool, ScheduleError> {
        error::check_names(stream, key)?;
        let subject = subjects::schedule(stream, key);
        let found = self.jetstream().get_stream(stream).await;
        let found = found.map_err(|error| error::stream(stream, &error))?;
        if firing::settled(self, stream, &subject).await?.is_none() {
            return Ok(false);
        }
        let purged = found
            .purge()
            .filter(subject)
            .await
            .map_err(|error| ScheduleError::Unavailable(error.to_string()))?;
        Ok(purged.purged > 0)
    }

    /// Up to `limit` (at most [`PAGE_MAX`]) waiting schedules of a stream in the order in which they were
    /// stored, from the first one with a sequence above `after`; 0 begins at the beginning.
    ///
    /// # Errors
    /// If the stream is missing or does not answer in time.
    pub async fn schedules(
        &self,
        stream: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Scheduled>, ScheduleError> {
        error::check_stream_name(stream)?;
        let filter = subjects::schedule_filter(stream);
        let (limit, now, mut after) = (limit.min(PAGE_MAX), clock::now(), after);
        let mut listed = Vec::new();
        while listed.len() < limit {
            // The bodies come along, so that a page ends by its size as well.
            let left = limit - listed.len();
            let request = serde_json::json!({
                "seq": after.saturating_add(1), "next_by_subj": filter, "batch": left,
                "max_bytes": PAGE_BYTES,
            });
            let page = self.fetch_page(stream, &request, left).await?;
            let Some(last) = page.messages.last() else {
                break;
            };
            after = last.sequence;
            listed.extend(page.messages.iter().filter_map(|message| read(stream, message, now)));
            if page.pending == 0 {
                break;
            }
        }
        Ok(listed)
    }

    /// Has an event told later, once or again and again; see [`Bus::schedule`] for the key.
    ///
    /// # Errors
    /// As [`Bus::schedule`], or if the event cannot be written as JSON.
    pub async fn emit_at<E: Event>(
        &self,
        event: &E,
        when: &When,
        key: &str,
    ) -> Result<StoredAt, ScheduleError> {
        let message = crate::event::outgoing(event, crate::trace::TraceParent::fresh())
            .map_err(|error| ScheduleError::Encode(error.to_string()))?;
        self.schedule(crate::topology::EVENTS, key, when, message).await
    }
}

/// Stores a schedule. The outer error is one that no publish has: the stream takes no schedules.
async fn store(
    bus: &Bus,
    stream: &str,
    schedule: &Outgoing,
) -> Result<Result<StoredAt, PublishError>, ScheduleError> {
    match publish::publish_until(bus, schedule, Duration::ZERO).await {
        // A stream that does not listen on the subject looks like one that does not answer.
        Err(PublishError::Unavailable(_)) => {
            error::check_stream(bus, stream).await?;
            let repeat = schedule.clone().header(headers::REPEAT, "1");
            Ok(publish::publish_until(bus, &repeat, bus.publish_deadline()).await)
        }
        settled => Ok(settled),
    }
}

/// How many schedules wait in a stream, without reading more than one of them.
///
/// # Errors
/// If the stream is missing or does not answer in time.
pub async fn count(bus: &Bus, stream: &str) -> Result<u64, ScheduleError> {
    error::check_stream_name(stream)?;
    Ok(bus.count(stream, &subjects::schedule_filter(stream)).await?)
}

/// Sets the gauge of waiting schedules of every stream of the platform that carries them.
pub async fn measure_pending(bus: &Bus) {
    let platform = crate::topology::platform(crate::topology::TopologyOptions::default());
    for stream in platform.streams.iter().filter(|stream| stream.schedules) {
        // A stream that does not answer now does so at the next look.
        if let Ok(pending) = count(bus, stream.name).await {
            telemetry::schedules_pending(stream.name, pending);
        }
    }
}

/// The message that waits. Its own id is fresh, because the duplicate window would swallow a schedule that is
/// set, cancelled and set again.
fn build(stream: &str, key: &str, pattern: &when::Pattern, message: Outgoing) -> Outgoing {
    let mut passed_on = headers::without(&message.headers, |name| name.starts_with("nats-"));
    match pattern.once_at {
        Some(due) => {
            if headers::get(&passed_on, headers::ORIGINAL_MESSAGE_ID).is_none() {
                headers::set(&mut passed_on, headers::ORIGINAL_MESSAGE_ID, &message.message_id);
            }
            headers::set(&mut passed_on, headers::SCHEDULE_DUE, &due.to_rfc3339());
        }
        None => {
            // Every firing is another event: one id for all of them would make an inbox drop all but the first.
            passed_on = headers::without(&passed_on, |name| {
                name == "ce-id" || name.eq_ignore_ascii_case(headers::ORIGINAL_MESSAGE_ID)
            });
            headers::set(&mut passed_on, headers::SCHEDULE_ID, &message.message_id);
            headers::set(&mut passed_on, headers::SCHEDULE_RECURS, &describe(pattern));
        }
    }
    let mut schedule = Outgoing {
        subject: subjects::schedule(stream, key),
        payload: message.payload,
        headers: passed_on,
        message_id: MessageId::fresh().to_string(),
        expect_last_subject_sequence: message.expect_last_subject_sequence,
    }
    .header("Nats-Schedule", &pattern.text)
    .header("Nats-Schedule-Target", &message.subject)
    .header("Nats-TTL", "never");
    if let Some(zone) = &pattern.time_zone {
        schedule = schedule.header("Nats-Schedule-Time-Zone", zone);
    }
    schedule
}

fn describe(pattern: &when::Pattern) -> String {
    match &pattern.time_zone {
        Some(zone) => format!("{} {zone}", pattern.text),
        None => pattern.text.clone(),
    }
}

/// A stored schedule as people see it; `None` for a message on the subject that is none.
fn read(stream: &str, message: &StoredMessage, now: Micros) -> Option<Scheduled> {
    let (_, key) = subjects::parse_schedule(&message.subject)?;
    let text = headers::get(&message.headers, "Nats-Schedule")?.to_owned();
    let zone = headers::get(&message.headers, "Nats-Schedule-Time-Zone");
    let next_at = when::next_at(&text, zone, message.time, now);
    let pattern = when::Pattern { text, time_zone: zone.map(str::to_owned), once_at: None };
    Some(Scheduled {
        stream: stream.to_owned(),
        key,
        target: headers::get(&message.headers, "Nats-Schedule-Target")?.to_owned(),
        when: describe(&pattern),
        next_at,
        stored_at: message.time,
        sequence: message.sequence,
        bytes: message.payload.len(),
    })
}
