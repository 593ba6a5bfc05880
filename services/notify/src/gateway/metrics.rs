//! The gateway's metrics, all of them.
//! Reads: nothing. Writes: the process's metrics recorder. Never: takes a label's value from a caller:
//! routes are those of the router, methods and reasons are lists.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::Duration;

use axum::http::Method;
use metrics::{Counter, Gauge, Histogram};

use super::problem::Code;
use crate::contracts::Priority;

/// Seconds from a request's first byte of head to its answer, by route, method and status.
pub const REQUEST_SECONDS: &str = "http_server_request_duration_seconds";
/// Notifications that were answered with 202, by priority.
pub const ACCEPTED: &str = "campana_notifications_accepted_total";
/// Notifications that were refused, by reason.
pub const REJECTED: &str = "campana_notifications_rejected_total";
/// Notifications that were answered from an earlier request with the same idempotency key.
pub const REPLAYED: &str = "campana_notifications_replayed_total";
/// Messages that wait for the dispatcher, as the gateway's admission check sees them.
pub const BACKLOG_MESSAGES: &str = "campana_gateway_backlog_messages";
/// Bytes that wait for the dispatcher, as the gateway's admission check sees them.
pub const BACKLOG_BYTES: &str = "campana_gateway_backlog_bytes";
/// Open HTTP connections.
pub const CONNECTIONS: &str = "campana_gateway_connections";
/// Store answers that a cache had to replace, by cache.
pub const STALE: &str = "campana_gateway_stale_answers_total";

const REASONS: [&str; 6] =
    ["validation", "auth", "rate_limited", "duplicate", "backpressure", "internal"];

/// Handles of all metrics, made once; every combination of labels exists from the start.
#[derive(Debug)]
pub(super) struct Metrics {
    requests: RwLock<HashMap<(String, &'static str, u16), Histogram>>,
    accepted: [Counter; 3],
    rejected: [Counter; 6],
    pub(super) replayed: Counter,
    pub(super) backlog_messages: Gauge,
    pub(super) backlog_bytes: Gauge,
    pub(super) connections: Gauge,
    pub(super) stale_keys: Counter,
    pub(super) stale_lookups: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        use metrics::{describe_counter, describe_gauge, describe_histogram};
        describe_histogram!(REQUEST_SECONDS, metrics::Unit::Seconds, "HTTP request duration");
        describe_counter!(ACCEPTED, "notifications stored and answered with 202");
        describe_counter!(REJECTED, "notifications refused");
        describe_counter!(REPLAYED, "notifications answered from an idempotency record");
        describe_gauge!(BACKLOG_MESSAGES, "messages waiting for the dispatcher");
        describe_gauge!(BACKLOG_BYTES, "bytes waiting for the dispatcher");
        describe_gauge!(CONNECTIONS, "open HTTP connections");
        describe_counter!(STALE, "store answers replaced by a cached one");
        let metrics = Self {
            requests: RwLock::default(),
            accepted: Priority::ALL
                .map(|priority| metrics::counter!(ACCEPTED, "priority" => priority.as_str())),
            rejected: REASONS.map(|reason| metrics::counter!(REJECTED, "reason" => reason)),
            replayed: metrics::counter!(REPLAYED),
            backlog_messages: metrics::gauge!(BACKLOG_MESSAGES),
            backlog_bytes: metrics::gauge!(BACKLOG_BYTES),
            connections: metrics::gauge!(CONNECTIONS),
            stale_keys: metrics::counter!(STALE, "cache" => "keys"),
            stale_lookups: metrics::counter!(STALE, "cache" => "lookups"),
        };
        for counter in metrics.accepted.iter().chain(&metrics.rejected) {
            counter.increment(0);
        }
        metrics
    }

    pub(super) fn request(
        &self,
        route: &str,
        method: &'static str,
        status: u16,
        elapsed: Duration,
    ) {
        let key = (route.to_owned(), method, status);
        let seconds = elapsed.as_secs_f64();
        if let Some(known) = self.requests.read().ok().and_then(|map| map.get(&key).cloned()) {
            known.record(seconds);
            return;
        }
        let fresh = metrics::histogram!(
            REQUEST_SECONDS,
            "http_route" => key.0.clone(), "http_request_method" => method, "http_response_status_code" => status.to_string()
        );
        fresh.record(seconds);
        if let Ok(mut map) = self.requests.write() {
            map.insert(key, fresh);
        }
    }

    pub(super) fn accepted(&self, priority: Priority, count: u64) {
        self.accepted[priority as usize].increment(count);
    }

    /// Counts refused notifications under the reason that their problem stands for.
    pub(super) fn rejected(&self, code: Code, count: u64) {
        let reason = match code {
            Code::InvalidJson
            | Code::InvalidParameter
            | Code::ValidationFailed
            | Code::PayloadTooLarge
            | Code::UnsupportedMediaType
            | Code::RequestTimeout
            | Code::NotFound
            | Code::BeingRedriven
            | Code::MethodNotAllowed => 0,
            Code::Unauthorized | Code::Forbidden | Code::InvalidSignature => 1,
            Code::RateLimited => 2,
            Code::IdempotencyInFlight | Code::IdempotencyKeyReused => 3,
            Code::Unavailable | Code::StoreUnavailable | Code::Overloaded => 4,
            Code::Internal => 5,
        };
        self.rejected[reason].increment(count);
    }
}

/// A method's name, or `_OTHER` as OpenTelemetry asks, so that callers cannot make new series.
pub(super) fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}
