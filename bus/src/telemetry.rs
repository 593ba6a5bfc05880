//! The metrics of the bus: every name once, and the functions that write them.
//! Reads: nothing. Writes: the metrics recorder. Never: puts an id, a name or an address into a label.

mod meter;
mod publishes;

use std::time::Duration;

use metrics::{counter, gauge, histogram};

pub(crate) use meter::ConsumerMeter;

use crate::subjects::template;

/// Messages published, by subject template and error; no error is the empty label.
pub const SENT: &str = "messaging_client_sent_messages_total";
/// Messages received by consumers.
pub const CONSUMED: &str = "messaging_client_consumed_messages_total";
/// Time of one operation: `publish` until the stream's acknowledgement, `ack`, `nak` and `term` until the answer
/// is on its way.
pub const OPERATION_SECONDS: &str = "messaging_client_operation_duration_seconds";
/// Time of one call of a handler; `error_type` is `timeout` or `panic` if it ended so.
pub const PROCESS_SECONDS: &str = "messaging_process_duration_seconds";
/// Messages settled, by result.
pub const SETTLED: &str = "campana_messages_settled_total";
/// Attempts at settlement.
pub const ATTEMPTS: &str = "campana_message_delivery_attempts";
/// Messages parked as dead letters.
pub const DEAD_LETTERS: &str = "campana_dead_letters_total";
/// Dead letters that could not be stored, by reason (full, unreachable, too_large, refused); their messages stay.
pub const PARK_FAILURES: &str = "campana_dlq_park_failures_total";
/// 1 while a consumer cannot store dead letters.
pub const PARKING_BLOCKED: &str = "campana_dlq_parking_blocked";
/// Dead letters by stream, consumer and class, as the keeper counted them last.
pub const DLQ_PILE: &str = "campana_dlq_depth_messages";
/// When the oldest of them was parked, seconds since the epoch; 0 if there is none any more.
pub const DLQ_PILE_OLDEST: &str = "campana_dlq_depth_oldest_timestamp_seconds";
/// Messages that the keeper filed, because their consumers are not run by the library or are gone.
pub const DLQ_FILED: &str = "campana_dlq_filed_total";
/// Messages that left their stream unhandled and unfiled: lost, by reason (removed, terminated, gone).
pub const MESSAGES_LOST: &str = "campana_messages_lost_total";
/// Messages that nobody will take, by reason (below_floor, no_consumer, unfiled).
pub const STRANDED: &str = "campana_stranded_messages";
/// Redrive jobs that have not ended.
pub const REDRIVE_JOBS_OPEN: &str = "campana_redrive_jobs_open";
/// Redrive jobs that ended, by how.
pub const REDRIVE_JOBS: &str = "campana_redrive_jobs_total";
/// Redrives, by result.
pub const REDRIVES: &str = "campana_dlq_redrives_total";
/// Groups published by a group-commit publisher.
pub const GROUPS: &str = "campana_publish_groups_total";
/// Messages per group.
pub const GROUP_SIZE: &str = "campana_publish_group_messages";
/// Messages that wait for their turn in a group-commit publisher.
pub const GROUP_WAITING: &str = "campana_publish_waiting_messages";
/// Handlers at work, by consumer.
pub const IN_FLIGHT: &str = "campana_consumer_in_flight_messages";
/// Permits of a consumer: how many handlers may be at work.
pub const IN_FLIGHT_LIMIT: &str = "campana_consumer_max_in_flight_messages";
/// Ordering keys that messages in hand have, by consumer.
pub const ORDERED_KEYS: &str = "campana_consumer_ordered_keys";
/// Attempts repeated in place by consumers that keep order.
pub const RETRIES_IN_PLACE: &str = "campana_consumer_in_place_retries_total";
/// Partitions that a process gave up because it held more than its share.
pub const PARTITIONS_LET_GO: &str = "campana_consumer_partitions_let_go_total";
/// Times a pull had to be re-armed because the server went silent.
pub const PULL_REARMS: &str = "campana_consumer_pull_rearms_total";
/// How much later than it was due a scheduled message was stored, at its first delivery to a consumer.
pub const SCHEDULE_LATENESS: &str = "campana_schedule_lateness_seconds";
/// Schedules that wait to fire, by stream.
pub const SCHEDULE_PENDING: &str = "campana_schedule_pending_messages";
/// Requests that services answered, by service, endpoint and code (`200` if it worked).
pub const SERVICE_REQUESTS: &str = "campana_service_requests_total";
/// Time from a request's arrival at a service to its answer.
pub const SERVICE_SECONDS: &str = "campana_service_request_duration_seconds";
/// Requests that a service has in hand, by service and endpoint.
pub const SERVICE_IN_FLIGHT: &str = "campana_service_in_flight_requests";
/// Messages given back because their handlers outlived the drain deadline.
pub const CUT_OFF: &str = "campana_consumer_cut_off_messages_total";
/// Publishes and requests that wait for their answer.
pub const REPLIES_WAITING: &str = "campana_nats_replies_waiting";
/// Events of the connection to NATS.
pub const CONNECTION_EVENTS: &str = "campana_nats_connection_events_total";

/// What a keeper may count, with 0: the first failure shall be seen as an increase.
pub(crate) fn start_keeper() {
    for result in ["ok", "failed", "claimed"] {
        counter!(REDRIVES, "result" => result).increment(0);
    }
    for state in ["done", "canceled", "stopped", "failed"] {
        counter!(REDRIVE_JOBS, "state" => state).increment(0);
    }
}

/// Zeros of everything that a connection may tell.
pub(crate) fn start_connection() {
    for event in [
        "connected",
        "disconnected",
        "lame_duck",
        "draining",
        "closed",
        "slow_consumer",
        "server_error",
        "client_error",
    ] {
        counter!(CONNECTION_EVENTS, "event" => event).increment(0);
    }
}

/// Counts what the client says about its connection.
pub(crate) fn connection_event(event: &async_nats::Event) {
    let kind = match event {
        async_nats::Event::Connected => "connected",
        async_nats::Event::Disconnected => "disconnected",
        async_nats::Event::LameDuckMode => "lame_duck",
        async_nats::Event::Draining => "draining",
        async_nats::Event::Closed => "closed",
        async_nats::Event::SlowConsumer(_) => "slow_consumer",
        async_nats::Event::ServerError(_) => "server_error",
        async_nats::Event::ClientError(_) => "client_error",
    };
    counter!(CONNECTION_EVENTS, "event" => kind).increment(1);
    if matches!(
        event,
        async_nats::Event::Connected | async_nats::Event::Draining | async_nats::Event::Closed
    ) {
        tracing::debug!(nats.event = kind, "connection to NATS");
    } else {
        tracing::warn!(nats.event = kind, "connection to NATS: {event}");
    }
}

/// Counts `count` messages of one kind: all went to subjects like `subject`.
pub(crate) fn published(subject: &str, result: &'static str, count: u64, took: Duration) {
    publishes::count(template(subject), result, count, took);
}

pub(crate) fn group(publisher: &'static str, kind: &'static str, size: usize) {
    counter!(GROUPS, "publisher" => publisher, "kind" => kind).increment(1);
    histogram!(GROUP_SIZE, "publisher" => publisher).record(size as f64);
}

pub(crate) fn group_waiting(publisher: &'static str, waiting: usize) {
    gauge!(GROUP_WAITING, "publisher" => publisher).set(waiting as f64);
}

pub(crate) fn dead_letter(stream: &str, consumer: &str, class: &'static str) {
    counter!(DEAD_LETTERS, "stream" => stream.to_owned(), "consumer" => consumer.to_owned(), "reason" => class)
        .increment(1);
}

pub(crate) fn park_failed(stream: &str, consumer: &str, reason: &'static str) {
    counter!(PARK_FAILURES, "stream" => stream.to_owned(), "consumer" => consumer.to_owned(), "reason" => reason)
        .increment(1);
}

pub(crate) fn parking_blocked(stream: &str, consumer: &str, blocked: bool) {
    gauge!(PARKING_BLOCKED, "stream" => stream.to_owned(), "consumer" => consumer.to_owned())
        .set(f64::from(u8::from(blocked)));
}

pub(crate) fn dlq_pile(stream: &str, consumer: &str, class: &'static str, count: u64, oldest: f64) {
    gauge!(DLQ_PILE, "stream" => stream.to_owned(), "consumer" => consumer.to_owned(), "class" => class)
        .set(count as f64);
    gauge!(DLQ_PILE_OLDEST, "stream" => stream.to_owned(), "consumer" => consumer.to_owned(), "class" => class)
        .set(oldest);
}

pub(crate) fn filed(stream: &str, by: &'static str) {
    counter!(DLQ_FILED, "stream" => stream.to_owned(), "by" => by).increment(1);
}

pub(crate) fn message_lost(stream: &str, consumer: &str, reason: &'static str) {
    counter!(MESSAGES_LOST, "stream" => stream.to_owned(), "consumer" => consumer.to_owned(), "reason" => reason)
        .increment(1);
}

pub(crate) fn stranded(stream: &str, reason: &'static str, count: u64) {
    gauge!(STRANDED, "stream" => stream.to_owned(), "reason" => reason).set(count as f64);
}

pub(crate) fn redrive_jobs_open(count: usize) {
    gauge!(REDRIVE_JOBS_OPEN).set(count as f64);
}

pub(crate) fn redrive_job_ended(state: &'static str) {
    counter!(REDRIVE_JOBS, "state" => state).increment(1);
}

pub(crate) fn redriven(result: &'static str) {
    counter!(REDRIVES, "result" => result).increment(1);
}

/// The gauge of one consumer's handlers at work, looked up once.
pub(crate) struct InFlight(metrics::Gauge);

impl InFlight {
    pub fn new(consumer: &str, limit: usize) -> Self {
        gauge!(IN_FLIGHT_LIMIT, "consumer" => consumer.to_owned()).set(limit as f64);
        Self(gauge!(IN_FLIGHT, "consumer" => consumer.to_owned()))
    }

    pub fn set(&self, busy: usize) {
        self.0.set(busy as f64);
    }
}

/// Messages given back because their handlers outlived the drain deadline.
pub(crate) fn cut_off(consumer: &str, messages: usize) {
    counter!(CUT_OFF, "consumer" => consumer.to_owned()).increment(messages as u64);
}

/// The gauge of questions without an answer; looked up once per connection, shared by all connections.
pub(crate) fn replies_waiting() -> metrics::Gauge {
    gauge!(REPLIES_WAITING)
}

pub(crate) fn ordered_keys(consumer: &str, keys: usize) {
    gauge!(ORDERED_KEYS, "consumer" => consumer.to_owned()).set(keys as f64);
}

pub(crate) fn partition_let_go(consumer: &str) {
    counter!(PARTITIONS_LET_GO, "consumer" => consumer.to_owned()).increment(1);
}

pub(crate) fn retried_in_place(consumer: &str) {
    counter!(RETRIES_IN_PLACE, "consumer" => consumer.to_owned()).increment(1);
}

pub(crate) fn pull_rearmed(consumer: &str, why: &'static str) {
    counter!(PULL_REARMS, "consumer" => consumer.to_owned(), "reason" => why).increment(1);
}

/// `late` in microseconds; clocks that differ may make it negative, which counts as on time.
pub(crate) fn schedule_lateness(consumer: &str, late: i64) {
    histogram!(SCHEDULE_LATENESS, "consumer" => consumer.to_owned())
        .record(late.max(0) as f64 / 1e6);
}

pub(crate) fn schedules_pending(stream: &str, pending: u64) {
    gauge!(SCHEDULE_PENDING, "stream" => stream.to_owned()).set(pending as f64);
}

pub(crate) fn service_request(service: &str, endpoint: &str, code: u16, took: Duration) {
    // A handler may answer with any code: what is none of HTTP's counts as 500.
    let code = if (200..600).contains(&code) { code } else { 500 };
    counter!(SERVICE_REQUESTS, "service" => service.to_owned(), "endpoint" => endpoint.to_owned(),
        "code" => code.to_string())
    .increment(1);
    histogram!(SERVICE_SECONDS, "service" => service.to_owned(), "endpoint" => endpoint.to_owned())
        .record(took.as_secs_f64());
}

pub(crate) fn service_in_flight(service: &str, endpoint: &str, change: f64) {
    gauge!(SERVICE_IN_FLIGHT, "service" => service.to_owned(), "endpoint" => endpoint.to_owned())
        .increment(change);
}
