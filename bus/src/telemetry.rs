//! The metrics of the bus: every name once, and the functions that write them.
//! Reads: nothing. Writes: the metrics recorder. Never: puts an id, a name or an address into a label.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// Messages published, by operation result.
pub const SENT: &str = "messaging_client_sent_messages_total";
/// Time from a publish to its acknowledgement.
pub const OPERATION_SECONDS: &str = "messaging_client_operation_duration_seconds";
/// Time a handler took.
pub const PROCESS_SECONDS: &str = "messaging_process_duration_seconds";
/// Messages settled, by result.
pub const SETTLED: &str = "campana_messages_settled_total";
/// Attempts at settlement.
pub const ATTEMPTS: &str = "campana_message_delivery_attempts";
/// Messages parked as dead letters.
pub const DEAD_LETTERS: &str = "campana_dead_letters_total";
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
/// Times a pull had to be re-armed because the server went silent.
pub const PULL_REARMS: &str = "campana_consumer_pull_rearms_total";
/// Events of the connection to NATS.
pub const CONNECTION_EVENTS: &str = "campana_nats_connection_events_total";

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

pub(crate) fn published(publisher: &'static str, result: &'static str, count: u64, took: Duration) {
    counter!(SENT, "messaging_system" => "nats", "messaging_operation_name" => "publish",
        "messaging_destination_template" => publisher, "error_type" => result)
    .increment(count);
    histogram!(OPERATION_SECONDS, "messaging_system" => "nats", "messaging_operation_name" => "publish",
        "messaging_destination_template" => publisher)
    .record(took.as_secs_f64());
}

pub(crate) fn group(publisher: &'static str, kind: &'static str, size: usize) {
    counter!(GROUPS, "publisher" => publisher, "kind" => kind).increment(1);
    histogram!(GROUP_SIZE, "publisher" => publisher).record(size as f64);
}

pub(crate) fn group_waiting(publisher: &'static str, waiting: usize) {
    gauge!(GROUP_WAITING, "publisher" => publisher).set(waiting as f64);
}

pub(crate) fn settled(stream: &str, consumer: &str, result: &'static str, attempt: u32) {
    counter!(SETTLED, "stream" => stream.to_owned(), "consumer" => consumer.to_owned(), "result" => result)
        .increment(1);
    histogram!(ATTEMPTS, "consumer" => consumer.to_owned()).record(f64::from(attempt));
}

pub(crate) fn processed(consumer: &str, took: Duration) {
    histogram!(PROCESS_SECONDS, "messaging_system" => "nats", "messaging_consumer_group_name" => consumer.to_owned())
        .record(took.as_secs_f64());
}

pub(crate) fn dead_letter(stream: &str, consumer: &str, class: &'static str) {
    counter!(DEAD_LETTERS, "stream" => stream.to_owned(), "consumer" => consumer.to_owned(), "reason" => class)
        .increment(1);
}

pub(crate) fn redriven(result: &'static str) {
    counter!(REDRIVES, "result" => result).increment(1);
}

pub(crate) fn in_flight(consumer: &str, busy: usize, limit: usize) {
    gauge!(IN_FLIGHT, "consumer" => consumer.to_owned()).set(busy as f64);
    gauge!(IN_FLIGHT_LIMIT, "consumer" => consumer.to_owned()).set(limit as f64);
}

pub(crate) fn pull_rearmed(consumer: &str, why: &'static str) {
    counter!(PULL_REARMS, "consumer" => consumer.to_owned(), "reason" => why).increment(1);
}
