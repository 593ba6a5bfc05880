//! Metrics of load: what is refused, what waits, what is cut, and the end of a node.
//! Reads: nothing. Writes: the metrics recorder. Never: has a label that clients choose.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::codes::{Disconnect, ReplyError, disconnect, error};
use crate::transport::Kind;

/// What was refused because of a limit, by limit.
pub const LIMITED: &str = "campana_edge_limited_total";
/// Commands of connected clients, by method.
pub const COMMANDS: &str = "campana_edge_commands_total";
/// From the start of an operation that needs the bus to its end, by operation.
pub const OPERATION_DURATION: &str = "campana_edge_operation_duration_seconds";
/// Bytes that wait for all clients of this node, every few seconds.
pub const QUEUE_BYTES: &str = "campana_edge_queue_bytes";
/// Bytes that wait for the client with the most, every few seconds.
pub const QUEUE_LARGEST: &str = "campana_edge_queue_largest_bytes";
/// Channels that wait to be joined.
pub const JOINS_WAITING: &str = "campana_edge_joins_waiting";
/// Connections cut because the client reads too slowly, by what noticed it: its own queue, the sum of all queues
/// of the node, or a write that took too long.
pub const SLOW_CUTS: &str = "campana_edge_slow_cuts_total";
/// Bytes of protocol messages read.
pub const BYTES_RECEIVED: &str = "campana_edge_received_bytes_total";
/// 1 from the moment this node shall stop.
pub const DRAINING: &str = "campana_edge_draining";
/// Connections that a node that stops still has.
pub const DRAIN_REMAINING: &str = "campana_edge_drain_remaining_connections";
/// 1, with the node's id as label: the id that clients of the emulated transports and traces see.
pub const NODE_INFO: &str = "campana_edge_node_info";
/// Lines of traces that were asked for, and whether they were sent or dropped because there were too many.
pub const TRACE_LINES: &str = "campana_edge_trace_lines_total";

/// Every value of the label of [`LIMITED`].
const LIMITS: [&str; 12] = [
    "connections",
    "address_connections",
    "user_connections",
    "accept_rate",
    "commands",
    "user_commands",
    "subscribes",
    "joins",
    "channels",
    "operations",
    "calls",
    "message_bytes",
];

/// Describes the metrics of this file and writes their zeros.
pub(super) fn initialise() {
    describe_counter!(LIMITED, "What was refused because of a limit");
    describe_counter!(COMMANDS, "Commands of connected clients");
    describe_histogram!(OPERATION_DURATION, "How long operations that need the bus take");
    describe_gauge!(QUEUE_BYTES, "Bytes that wait for all clients of this node");
    describe_histogram!(QUEUE_LARGEST, "Bytes that wait for the client with the most");
    describe_gauge!(JOINS_WAITING, "Channels that wait to be joined");
    describe_counter!(SLOW_CUTS, "Connections cut because the client reads too slowly");
    describe_counter!(BYTES_RECEIVED, "Bytes of protocol messages read");
    describe_gauge!(DRAINING, "1 from the moment this node shall stop");
    describe_gauge!(DRAIN_REMAINING, "Connections that a node that stops still has");
    describe_gauge!(NODE_INFO, "1, with the node's id as label");
    describe_counter!(TRACE_LINES, "Lines of traces that were asked for");
    for limit in LIMITS {
        counter!(LIMITED, "limit" => limit).absolute(0);
    }
    for cause in ["queue", "node", "write"] {
        counter!(SLOW_CUTS, "cause" => cause).absolute(0);
    }
    for transport in Kind::ALL.map(Kind::label) {
        counter!(BYTES_RECEIVED, "transport" => transport).absolute(0);
    }
    for result in ["sent", "dropped"] {
        counter!(TRACE_LINES, "result" => result).absolute(0);
    }
    gauge!(QUEUE_BYTES).set(0.0);
    gauge!(JOINS_WAITING).set(0.0);
    gauge!(DRAINING).set(0.0);
    gauge!(DRAIN_REMAINING).set(0.0);
}

pub(crate) fn limited(limit: &'static str) {
    debug_assert!(LIMITS.contains(&limit), "{limit}");
    counter!(LIMITED, "limit" => limit).increment(1);
}

/// The limit behind an error answer to a command, if there is one.
pub(crate) fn limit_of(method: &str, refusal: ReplyError) -> Option<&'static str> {
    match (method, refusal) {
        ("subscribe", error::LIMIT_EXCEEDED) => Some("channels"),
        ("rpc", error::TOO_MANY_REQUESTS) => Some("calls"),
        (_, error::TOO_MANY_REQUESTS) => Some("operations"),
        _ => None,
    }
}

/// A connection ended, perhaps at a limit or because the client reads too slowly.
pub(super) fn closed(why: Disconnect) {
    match why {
        disconnect::TOO_BIG => limited("message_bytes"),
        disconnect::CHANNEL_LIMIT => limited("channels"),
        disconnect::CONNECTION_LIMIT => limited("user_connections"),
        disconnect::WRITE_ERROR => slow("write"),
        _ => {}
    }
}

/// The label of an end: those of the protocol by number, those that operators choose together.
pub(super) fn code(why: Disconnect) -> String {
    match why.code {
        1_000..=1_015 | 3_000..=3_014 | 3_500..=3_509 => why.code.to_string(),
        _ => "custom".to_owned(),
    }
}

pub(crate) fn command(method: &'static str) {
    counter!(COMMANDS, "method" => method).increment(1);
}

pub(crate) fn operation(name: &'static str, took: Duration) {
    histogram!(OPERATION_DURATION, "operation" => name).record(took.as_secs_f64());
}

pub(crate) fn queues(total: usize, largest: usize) {
    gauge!(QUEUE_BYTES).set(total as f64);
    histogram!(QUEUE_LARGEST).record(largest as f64);
}

pub(crate) fn joins_waiting(count: usize) {
    gauge!(JOINS_WAITING).set(count as f64);
}

/// A connection is cut because its client reads too slowly.
pub(crate) fn slow(cause: &'static str) {
    counter!(SLOW_CUTS, "cause" => cause).increment(1);
}

pub(crate) fn received(kind: Kind, bytes: usize) {
    counter!(BYTES_RECEIVED, "transport" => kind.label()).increment(bytes as u64);
}

pub(crate) fn draining(stops: bool) {
    gauge!(DRAINING).set(f64::from(u8::from(stops)));
}

pub(crate) fn remaining(connections: usize) {
    gauge!(DRAIN_REMAINING).set(connections as f64);
}

pub(crate) fn node(id: &str) {
    gauge!(NODE_INFO, "node" => id.to_owned()).set(1.0);
}

pub(crate) fn trace_line(sent: bool) {
    counter!(TRACE_LINES, "result" => if sent { "sent" } else { "dropped" }).increment(1);
}
