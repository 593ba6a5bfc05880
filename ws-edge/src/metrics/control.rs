//! Metrics of the server API and of what nodes ask each other.
//! Reads: nothing. Writes: the metrics recorder. Never: has a label that callers choose.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::api::Method;

/// Commands of the server API, by method and by what became of them.
pub const API_COMMANDS: &str = "campana_edge_api_commands_total";
/// How long a command of the server API takes, by method.
pub const API_DURATION: &str = "campana_edge_api_duration_seconds";
/// Requests to the server API that were turned away before they were read, by reason.
pub const API_REFUSED: &str = "campana_edge_api_refused_total";
/// What this node asked of all nodes, and whether all of them answered.
pub const CONTROL_COMMANDS: &str = "campana_edge_control_commands_total";
/// Edges that this one hears, itself included.
pub const NODES: &str = "campana_edge_nodes";

/// Results of a command: done, the caller's mistake, or ours.
pub(crate) const API_RESULTS: [&str; 3] = ["ok", "refused", "failed"];
const REASONS: [&str; 6] = ["off", "key", "method", "malformed", "size", "busy"];
const ASKED: [&str; 7] =
    ["disconnect", "subscribe", "unsubscribe", "refresh", "message", "info", "channels"];

/// Describes the metrics of this file and writes their zeros.
pub(super) fn initialise() {
    describe_counter!(API_COMMANDS, "Commands of the server API");
    describe_histogram!(API_DURATION, "How long commands of the server API take");
    describe_counter!(API_REFUSED, "Requests to the server API that were turned away unread");
    describe_counter!(CONTROL_COMMANDS, "What this node asked of all nodes");
    describe_gauge!(NODES, "Edges that this one hears");
    for method in Method::ALL.map(Method::as_str) {
        for result in API_RESULTS {
            counter!(API_COMMANDS, "method" => method, "result" => result).absolute(0);
        }
    }
    for reason in REASONS {
        counter!(API_REFUSED, "reason" => reason).absolute(0);
    }
    for asked in ASKED {
        for result in ["done", "incomplete"] {
            counter!(CONTROL_COMMANDS, "command" => asked, "result" => result).absolute(0);
        }
    }
    gauge!(NODES).set(1.0);
}

pub(crate) fn api(method: Method, result: &'static str, took: Duration) {
    let method = method.as_str();
    counter!(API_COMMANDS, "method" => method, "result" => result).increment(1);
    histogram!(API_DURATION, "method" => method).record(took.as_secs_f64());
}

pub(crate) fn api_refused(reason: &'static str) {
    counter!(API_REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn control(asked: &'static str, whole: bool) {
    let result = if whole { "done" } else { "incomplete" };
    counter!(CONTROL_COMMANDS, "command" => asked, "result" => result).increment(1);
}

pub(crate) fn nodes(count: usize) {
    gauge!(NODES).set(count as f64);
}
