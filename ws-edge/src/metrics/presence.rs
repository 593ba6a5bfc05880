//! Metrics of presence and receipts.
//! Reads: nothing. Writes: the metrics recorder. Never: has a label that clients choose.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Clients of this node with an entry in a channel's presence.
pub const PRESENCE_ENTRIES: &str = "campana_edge_presence_entries";
/// Writes to the bucket of presence, by kind and result.
pub const PRESENCE_WRITES: &str = "campana_edge_presence_writes_total";
/// Clients or users of which channels were told that they came or left.
pub const PRESENCE_MOVES: &str = "campana_edge_presence_moves_total";
/// Presence events stored for services, by what happened and where.
pub const PRESENCE_EVENTS: &str = "campana_edge_presence_events_total";
/// Nodes that were gone and after which this one tidied up.
pub const PRESENCE_SWEPT: &str = "campana_edge_presence_swept_nodes_total";
/// Receipts, by what became of them; those that came together count as one.
pub const RECEIPTS: &str = "campana_edge_receipts_total";

pub(super) fn initialise() {
    describe_gauge!(PRESENCE_ENTRIES, "Clients with an entry in a channel's presence");
    describe_counter!(PRESENCE_WRITES, "Writes to the bucket of presence");
    describe_counter!(PRESENCE_MOVES, "Moves that channels were told of");
    describe_counter!(PRESENCE_EVENTS, "Presence events stored for services");
    describe_counter!(PRESENCE_SWEPT, "Nodes that were gone and were tidied up after");
    describe_counter!(RECEIPTS, "Receipts by what became of them");
    gauge!(PRESENCE_ENTRIES).set(0.0);
    for kind in ["put", "remove", "compare"] {
        for result in ["stored", "failed"] {
            counter!(PRESENCE_WRITES, "kind" => kind, "result" => result).absolute(0);
        }
    }
    for kind in ["join", "leave"] {
        counter!(PRESENCE_MOVES, "kind" => kind).absolute(0);
    }
    for kind in ["online", "offline"] {
        for scope in ["user", "channel"] {
            counter!(PRESENCE_EVENTS, "kind" => kind, "scope" => scope).absolute(0);
        }
    }
    counter!(PRESENCE_SWEPT).absolute(0);
    for result in ["stored", "behind", "refused", "failed"] {
        counter!(RECEIPTS, "result" => result).absolute(0);
    }
}

pub(crate) fn presence_entries(count: usize) {
    gauge!(PRESENCE_ENTRIES).set(count as f64);
}

pub(crate) fn presence_write(kind: &'static str, stored: bool) {
    let result = if stored { "stored" } else { "failed" };
    counter!(PRESENCE_WRITES, "kind" => kind, "result" => result).increment(1);
}

pub(crate) fn presence_move(came: bool) {
    let kind = if came { "join" } else { "leave" };
    counter!(PRESENCE_MOVES, "kind" => kind).increment(1);
}

pub(crate) fn presence_event(kind: &'static str, channel: bool) {
    let scope = if channel { "channel" } else { "user" };
    counter!(PRESENCE_EVENTS, "kind" => kind, "scope" => scope).increment(1);
}

pub(crate) fn presence_swept() {
    counter!(PRESENCE_SWEPT).increment(1);
}

pub(crate) fn receipt(result: &'static str) {
    counter!(RECEIPTS, "result" => result).increment(1);
}
