//! The metrics of the edge: every name once, and the functions that write them.
//! Reads: nothing. Writes: the metrics recorder. Never: puts a user, a channel or an address into a label;
//! namespaces come from configuration and are few.

mod auth;
mod control;
mod deliveries;
mod load;
mod presence;

use std::time::Duration;

pub use auth::*;
pub use control::*;
pub use load::*;
pub use presence::*;

use campana_bus::clock::Micros;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::codes::{Disconnect, disconnect};
use crate::options::EdgeOptions;
use crate::proto::Protocol;
use crate::publication::Published;
use crate::session::{LostReason, Report, SERVICE_ERROR};
use crate::transport::Kind;
pub(crate) use deliveries::sent;

/// Open connections.
pub const CONNECTIONS: &str = "campana_edge_connections";
/// How many connections there may be.
pub const CONNECTIONS_MAX: &str = "campana_edge_max_connections";
/// Subscriptions of clients, by namespace.
pub const SUBSCRIPTIONS: &str = "campana_edge_subscriptions";
/// Channels followed by this node.
pub const CHANNELS: &str = "campana_edge_channels";
/// Clients let in, by protocol.
pub const CONNECTS: &str = "campana_edge_connects_total";
/// Connections ended, by reason and by the code that the client was told.
pub const DISCONNECTS: &str = "campana_edge_disconnects_total";
/// Connections refused before they were one, by reason.
pub const REFUSED: &str = "campana_edge_refused_connections_total";
/// Commands answered with an error, by the protocol's code.
pub const COMMAND_ERRORS: &str = "campana_edge_command_errors_total";
/// From the stream's time stamp to the write to the socket.
pub const PUBLISH_LAG: &str = "campana_edge_publish_lag_seconds";
/// Recoveries, by result.
pub const RECOVERIES: &str = "campana_edge_recoveries_total";
/// From a ping to its answer.
pub const PING: &str = "campana_edge_ping_duration_seconds";
/// Protocol messages written.
pub const MESSAGES_SENT: &str = "campana_edge_messages_sent_total";
/// Bytes of protocol messages written.
pub const BYTES_SENT: &str = "campana_edge_sent_bytes_total";
/// Holes in the live path, by what became of them.
pub const HOLES: &str = "campana_edge_holes_total";

/// Questions to the stream for messages, by purpose.
pub const DIRECT_GETS: &str = "campana_edge_direct_gets_total";
/// Bytes kept of recent publications, for clients that come back.
pub const RECALL_BYTES: &str = "campana_edge_recovery_memory_bytes";
/// Recoveries that were answered from memory.
pub const RECALLED: &str = "campana_edge_recoveries_from_memory_total";

const TRANSPORT: &str = "transport";

/// Describes all metrics and writes their zeros, so that panels are not empty before the first event.
pub(crate) fn initialise(options: &EdgeOptions) {
    auth::initialise();
    control::initialise();
    load::initialise();
    presence::initialise();
    describe_gauge!(CONNECTIONS, "Open connections");
    describe_gauge!(CONNECTIONS_MAX, "Most connections that this node takes");
    describe_gauge!(SUBSCRIPTIONS, "Subscriptions of clients");
    describe_gauge!(CHANNELS, "Channels followed by this node");
    describe_counter!(CONNECTS, "Clients let in");
    describe_counter!(DISCONNECTS, "Connections ended");
    describe_counter!(REFUSED, "Connections refused at the upgrade");
    describe_counter!(COMMAND_ERRORS, "Commands answered with an error");
    describe_histogram!(PUBLISH_LAG, "From the stream's time stamp to the write to the socket");
    describe_counter!(RECOVERIES, "Recoveries of clients that came back");
    describe_histogram!(PING, "From a ping to its answer");
    describe_counter!(MESSAGES_SENT, "Protocol messages written");
    describe_counter!(BYTES_SENT, "Bytes of protocol messages written");
    describe_counter!(DIRECT_GETS, "Questions to the stream for messages");
    describe_gauge!(RECALL_BYTES, "Bytes kept of recent publications");
    describe_counter!(RECALLED, "Recoveries that were answered from memory");
    describe_counter!(HOLES, "Holes in the live path: found, repaired, lost");
    gauge!(CONNECTIONS_MAX).set(options.connections_max as f64);
    gauge!(CHANNELS).set(0.0);
    for namespace in options.all_namespaces() {
        gauge!(SUBSCRIPTIONS, "channel_namespace" => namespace.name).set(0.0);
    }
    for transport in Kind::ALL.map(Kind::label) {
        gauge!(CONNECTIONS, TRANSPORT => transport).set(0.0);
        counter!(MESSAGES_SENT, TRANSPORT => transport).absolute(0);
        counter!(BYTES_SENT, TRANSPORT => transport).absolute(0);
        for protocol in [Protocol::Json, Protocol::Protobuf].map(Protocol::label) {
            counter!(CONNECTS, TRANSPORT => transport, "protocol" => protocol).absolute(0);
        }
    }
    for end in disconnect::FREQUENT {
        counter!(DISCONNECTS, "reason" => end.label, "code" => load::code(end)).absolute(0);
    }
    for reason in ["origin", "limit", "drain"] {
        counter!(REFUSED, "reason" => reason).absolute(0);
    }
    for result in ["recovered", "gap", "epoch_changed"] {
        counter!(RECOVERIES, "result" => result).absolute(0);
    }
    counter!(RECALLED).absolute(0);
    for purpose in crate::hub::PURPOSES {
        counter!(DIRECT_GETS, "purpose" => purpose).absolute(0);
    }
    for result in ["found", "repaired", "lost"] {
        counter!(HOLES, "result" => result).absolute(0);
    }
}

pub(crate) fn opened(kind: Kind) {
    gauge!(CONNECTIONS, TRANSPORT => kind.label()).increment(1.0);
}

pub(crate) fn closed(kind: Kind, why: Disconnect) {
    gauge!(CONNECTIONS, TRANSPORT => kind.label()).decrement(1.0);
    counter!(DISCONNECTS, "reason" => why.label, "code" => load::code(why)).increment(1);
    load::closed(why);
}

pub(crate) fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn channels(count: usize) {
    gauge!(CHANNELS).set(count as f64);
}

pub(crate) fn subscriptions(namespace: &str, change: f64) {
    gauge!(SUBSCRIPTIONS, "channel_namespace" => namespace.to_owned()).increment(change);
}

pub(crate) fn report(kind: Kind, report: &Report) {
    match report {
        Report::Connected(protocol) => {
            let protocol = protocol.label();
            counter!(CONNECTS, TRANSPORT => kind.label(), "protocol" => protocol).increment(1);
        }
        Report::Subscribed(key) => subscriptions(key.name.namespace(), 1.0),
        Report::Unsubscribed(key) => subscriptions(key.name.namespace(), -1.0),
        Report::Recovered(result) => {
            let result = match result {
                Ok(()) => "recovered",
                Err(LostReason::Gap) => "gap",
                Err(LostReason::Epoch) => "epoch_changed",
            };
            counter!(RECOVERIES, "result" => result).increment(1);
        }
        Report::Limited(limit) => limited(limit),
        Report::Command(method) => command(method),
        Report::Token(reason) => auth::token_refused(reason),
        Report::Asked(question, result) => auth::proxy_answered(question, result),
        Report::Pong(ms) => histogram!(PING).record(Duration::from_millis(*ms).as_secs_f64()),
        // A service chooses among a hundred numbers; here they are one.
        Report::Refused(code) if *code >= SERVICE_ERROR => {
            counter!(COMMAND_ERRORS, "code" => "service").increment(1)
        }
        Report::Refused(code) => counter!(COMMAND_ERRORS, "code" => code.to_string()).increment(1),
    }
}

/// A live publication was written to a socket.
pub(crate) fn pushed(publication: &Published, now: Micros) {
    if let Some(stored_at) = publication.stored_at {
        let lag = Duration::from_micros(u64::try_from(now.since(stored_at)).unwrap_or(0));
        deliveries::lag(publication.key.name.namespace(), lag);
    }
}

/// The stream was asked for messages.
pub(crate) fn direct_get(purpose: &'static str) {
    counter!(DIRECT_GETS, "purpose" => purpose).increment(1);
}

/// Bytes kept of recent publications.
pub(crate) fn kept_bytes(bytes: usize) {
    gauge!(RECALL_BYTES).set(bytes as f64);
}

/// A client that came back was served without asking the stream.
pub(crate) fn recalled() {
    counter!(RECALLED).increment(1);
}

pub(crate) fn hole() {
    counter!(HOLES, "result" => "found").increment(1);
}

pub(crate) fn repaired() {
    counter!(HOLES, "result" => "repaired").increment(1);
}

pub(crate) fn channel_lost() {
    counter!(HOLES, "result" => "lost").increment(1);
}
