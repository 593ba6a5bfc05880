//! What services are told about people: who came online, who went offline, who has seen what.
//! Reads: nothing. Writes: nothing. Never: says more about a person than a service needs to act.

use campana_bus::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A user came online, or came into a channel: the first of the user's connections on any edge did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.{tenant}.edge.presence_online.{user}", id = "session")]
pub struct PresenceOnline {
    /// Whose user it is.
    pub tenant: String,
    /// Who.
    pub user: String,
    /// The channel that the user came into; none if the user came online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The same in the event that says that it is over.
    pub session: String,
    /// When, RFC 3339.
    pub at: String,
}

/// A user went offline, or left a channel: the last of the user's connections on any edge did, and none came back in
/// time, or the edge that had it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.{tenant}.edge.presence_offline.{user}", id = "session")]
pub struct PresenceOffline {
    /// Whose user it is.
    pub tenant: String,
    /// Who.
    pub user: String,
    /// The channel that the user left; none if the user went offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The same as in the event that said that it began.
    pub session: String,
    /// When, RFC 3339.
    pub at: String,
}

/// A user has seen a channel up to an offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.{tenant}.edge.seen.{user}", id = "receipt")]
pub struct Seen {
    /// Whose user it is.
    pub tenant: String,
    /// Who.
    pub user: String,
    /// Which channel, as clients write it.
    pub channel: String,
    /// Everything up to it was seen; only grows within an epoch.
    pub offset: u64,
    /// What had been seen before; 0 if nothing in this epoch.
    pub after: u64,
    /// The incarnation of the channel's stream.
    pub epoch: String,
    /// When, RFC 3339.
    pub at: String,
    /// The same for the same user, channel, epoch and offset.
    pub receipt: String,
}
