//! The metrics of the sidecar: every name once, and the functions that write them.
//! Reads: nothing. Writes: the metrics recorder. Never: puts an id, a key or a body into a label; names of
//! subscriptions and endpoints are declared and bounded.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// Requests of the app to the sidecar, by route and status.
pub const REQUESTS: &str = "campana_sidecar_requests_total";
/// Time from a request of the app to its answer, by route.
pub const REQUEST_SECONDS: &str = "campana_sidecar_request_duration_seconds";
/// Requests of the app that are at work.
pub const REQUESTS_AT_WORK: &str = "campana_sidecar_requests_at_work";
/// Deliveries to the app, by subscription and what became of them: ack, retry, dead, drop, defer.
pub const DELIVERIES: &str = "campana_sidecar_deliveries_total";
/// Time from handing a message to the app to its verdict, by subscription.
pub const DELIVERY_SECONDS: &str = "campana_sidecar_delivery_duration_seconds";
/// Deliveries that the app has in hand.
pub const IN_HAND: &str = "campana_sidecar_deliveries_in_hand";
/// Answers of the app to deliveries, by subscription and status; `none` if there was no answer.
pub const ANSWERS: &str = "campana_sidecar_app_answers_total";
/// 1 while the app is reachable.
pub const APP_UP: &str = "campana_sidecar_app_up";
/// Times the app went away.
pub const APP_LOST: &str = "campana_sidecar_app_lost_total";
/// Subscriptions whose consumer runs.
pub const SUBSCRIPTIONS: &str = "campana_sidecar_subscriptions_running";
/// Readings of the declaration, by result.
pub const DECLARATIONS: &str = "campana_sidecar_declarations_total";
/// Calls that the app served, by service, endpoint and status.
pub const SERVED: &str = "campana_sidecar_served_calls_total";

pub(crate) fn request(route: &str, method: &'static str, status: u16, took: Duration) {
    counter!(REQUESTS, "route" => route.to_owned(), "method" => method, "status" => status.to_string())
        .increment(1);
    histogram!(REQUEST_SECONDS, "route" => route.to_owned()).record(took.as_secs_f64());
}

pub(crate) fn at_work(requests: usize) {
    gauge!(REQUESTS_AT_WORK).set(requests as f64);
}

pub(crate) fn delivered(subscription: &str, result: &'static str, took: Duration) {
    counter!(DELIVERIES, "subscription" => subscription.to_owned(), "result" => result)
        .increment(1);
    histogram!(DELIVERY_SECONDS, "subscription" => subscription.to_owned())
        .record(took.as_secs_f64());
}

pub(crate) fn answered(subscription: &str, status: Option<u16>) {
    let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
    counter!(ANSWERS, "subscription" => subscription.to_owned(), "status" => status).increment(1);
}

pub(crate) fn in_hand(deliveries: usize) {
    gauge!(IN_HAND).set(deliveries as f64);
}

pub(crate) fn app_up(up: bool) {
    gauge!(APP_UP).set(f64::from(u8::from(up)));
}

pub(crate) fn app_lost() {
    counter!(APP_LOST).increment(1);
}

pub(crate) fn running(subscriptions: usize) {
    gauge!(SUBSCRIPTIONS).set(subscriptions as f64);
}

pub(crate) fn declaration(result: &'static str) {
    counter!(DECLARATIONS, "result" => result).increment(1);
}

pub(crate) fn served(service: &str, endpoint: &str, status: u16) {
    counter!(SERVED, "service" => service.to_owned(), "endpoint" => endpoint.to_owned(), "status" => status.to_string())
        .increment(1);
}
