//! The metrics of the dispatcher and the channels: every name once, and the functions that write them.
//! Reads: nothing. Writes: the metrics recorder. Never: puts an id, a name or an address into a label,
//! nor counts completed deliveries, which only the recorder does.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::contracts::Channel;

/// Time of one stage of the way.
pub const STAGE_SECONDS: &str = "campana_stage_duration_seconds";
/// Requests that were put off until their time.
pub const SCHEDULED: &str = "campana_scheduled_total";
/// How much later than its time a scheduled request was dispatched; how late its message was is the bus's to tell.
pub const DISPATCH_LATENESS: &str = "campana_scheduled_dispatch_lateness_seconds";
/// Requests to providers, by outcome.
pub const PROVIDER_REQUESTS: &str = "campana_provider_requests_total";
/// Time of a request to a provider.
pub const PROVIDER_SECONDS: &str = "campana_provider_request_duration_seconds";
/// 0 closed, 1 half open, 2 open.
pub const PROVIDER_CIRCUIT: &str = "campana_provider_circuit_state";
/// Attempts that may have repeated an earlier one whose end is not known.
pub const POSSIBLE_DUPLICATES: &str = "campana_possible_duplicates_total";
/// Deliveries that the ledger showed as already done.
pub const REPEATS_DROPPED: &str = "campana_repeats_dropped_total";
/// Recipients whose address a provider refused for good.
pub const SUPPRESS_SIGNALS: &str = "campana_suppress_signals_total";
/// SMS segments that providers accepted.
pub const SMS_SEGMENTS: &str = "campana_sms_segments_total";
/// Connections to the SMTP relay, by what happened.
pub const SMTP_CONNECTIONS: &str = "campana_smtp_connections_total";

pub(crate) fn stage(stage: &'static str, took: Duration) {
    histogram!(STAGE_SECONDS, "stage" => stage, "channel" => "all").record(took.as_secs_f64());
}

pub(crate) fn queue_wait(micros: i64) {
    histogram!(STAGE_SECONDS, "stage" => "queue_wait", "channel" => "all").record(seconds(micros));
}

pub(crate) fn send_stage(channel: Channel, took: Duration) {
    histogram!(STAGE_SECONDS, "stage" => "send", "channel" => channel.as_str())
        .record(took.as_secs_f64());
}

/// What a worker of a channel may count, with 0: the first failure shall be seen as an increase. A channel with
/// a circuit for each host has no gauge of circuits.
pub(crate) fn start_worker(channel: Channel, provider: &'static str, has_circuit: bool) {
    for outcome in ["ok", "retryable", "permanent", "timeout", "rate_limited"] {
        counter!(PROVIDER_REQUESTS, "provider" => provider, "outcome" => outcome).increment(0);
    }
    for name in [POSSIBLE_DUPLICATES, REPEATS_DROPPED, SUPPRESS_SIGNALS] {
        counter!(name, "channel" => channel.as_str()).increment(0);
    }
    if has_circuit {
        gauge!(PROVIDER_CIRCUIT, "provider" => provider).increment(0.0);
    }
    match channel {
        Channel::Email => {
            for event in ["opened", "stale"] {
                counter!(SMTP_CONNECTIONS, "event" => event).increment(0);
            }
        }
        Channel::Sms => counter!(SMS_SEGMENTS, "provider" => provider).increment(0),
        Channel::InApp | Channel::Whatsapp | Channel::Webhook => {}
    }
}

/// What a dispatcher may count, with 0.
pub(crate) fn start_dispatcher() {
    counter!(SCHEDULED).increment(0);
}

pub(crate) fn scheduled() {
    counter!(SCHEDULED).increment(1);
}

pub(crate) fn dispatch_lateness(micros: i64) {
    histogram!(DISPATCH_LATENESS).record(seconds(micros));
}

pub(crate) fn provider_request(provider: &'static str, outcome: &'static str, took: Duration) {
    counter!(PROVIDER_REQUESTS, "provider" => provider, "outcome" => outcome).increment(1);
    histogram!(PROVIDER_SECONDS, "provider" => provider, "outcome" => outcome)
        .record(took.as_secs_f64());
}

pub(crate) fn circuit(provider: &'static str, state: u8) {
    gauge!(PROVIDER_CIRCUIT, "provider" => provider).set(f64::from(state));
}

pub(crate) fn possible_duplicate(channel: Channel) {
    counter!(POSSIBLE_DUPLICATES, "channel" => channel.as_str()).increment(1);
}

pub(crate) fn repeat_dropped(channel: Channel) {
    counter!(REPEATS_DROPPED, "channel" => channel.as_str()).increment(1);
}

pub(crate) fn suppress_signal(channel: Channel) {
    counter!(SUPPRESS_SIGNALS, "channel" => channel.as_str()).increment(1);
}

pub(crate) fn sms_segments(provider: &'static str, count: u64) {
    counter!(SMS_SEGMENTS, "provider" => provider).increment(count);
}

pub(crate) fn smtp_connection(event: &'static str) {
    counter!(SMTP_CONNECTIONS, "event" => event).increment(1);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a duration in microseconds fits a double for 285 years"
)]
fn seconds(micros: i64) -> f64 {
    micros.max(0) as f64 / 1e6
}
