//! What clients send: commands of the Centrifuge protocol, version 2, in the one form that sessions know.
//! Reads: nothing. Writes: nothing. Never: says how a command was written; `json` and `protobuf` do.
//! Requests hold what the edge uses; whatever else newer clients send is skipped by the decoders.

pub(crate) mod json;
pub(crate) mod protobuf;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

/// How a client writes and wants to read: chosen when the connection is made, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Text frames of lines of JSON.
    Json,
    /// Binary frames of messages, each behind its length.
    Protobuf,
}

impl Protocol {
    /// The metrics' label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }
}

/// A frame that is not what the protocol says; the connection ends with 3501.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One command from a client. If it has several requests, the first by its number in the schema counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) id: u32,
    pub(crate) request: Request,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// Nothing that is known; with the id 0 the answer to a ping.
    None,
    Connect(ConnectRequest),
    Subscribe(SubscribeRequest),
    Unsubscribe(String),
    Publish(PublishRequest),
    Presence(String),
    PresenceStats(String),
    History(HistoryRequest),
    Ping,
    /// A one-way message; empty if there is no payload.
    Send(Bytes),
    Rpc(RpcRequest),
    Refresh(String),
    SubRefresh(SubRefreshRequest),
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectRequest {
    pub(crate) token: String,
    /// Anything for the service that lets clients in; empty if there is none.
    #[serde(deserialize_with = "json::raw")]
    pub(crate) data: Bytes,
    /// Where the client stands in channels that the server subscribes; nothing else is taken from it.
    pub(crate) subs: BTreeMap<String, Standing>,
    /// What the client calls itself.
    pub(crate) name: String,
    /// The client's version.
    pub(crate) version: String,
    /// Headers that a client sends in the command because browsers cannot set them.
    pub(crate) headers: BTreeMap<String, String>,
}

/// A position to recover from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Standing {
    pub(crate) recover: bool,
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SubscribeRequest {
    pub(crate) channel: String,
    pub(crate) token: String,
    pub(crate) standing: Standing,
    /// Anything for the service that lets subscribers in; empty if there is none.
    pub(crate) data: Bytes,
    /// Wants to see who comes and goes.
    pub(crate) join_leave: bool,
    /// Which difference format the client understands (`fossil`); empty for none.
    pub(crate) delta: String,
    pub(crate) flag: i64,
    /// Asks for something else than a stream of all publications: a map, or a filter.
    pub(crate) special: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PublishRequest {
    pub(crate) channel: String,
    /// Empty if there is none.
    pub(crate) data: Bytes,
    /// Asks for something else than an ordinary publication: an entry of a map.
    pub(crate) special: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct HistoryRequest {
    pub(crate) channel: String,
    pub(crate) limit: i64,
    pub(crate) since: Option<Since>,
    pub(crate) reverse: bool,
}

/// A position in a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Since {
    /// The stream's sequence of the last message known.
    pub offset: u64,
    /// The incarnation of the stream; empty matches any.
    pub epoch: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RpcRequest {
    pub(crate) method: String,
    /// Empty if there is none.
    pub(crate) data: Bytes,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct SubRefreshRequest {
    pub(crate) channel: String,
    pub(crate) token: String,
    /// 0 refreshes; anything else is about keys of maps.
    #[serde(rename = "type")]
    pub(crate) kind: i32,
}

impl Request {
    /// The token that comes with it; empty if there is none.
    pub(crate) fn token(&self) -> &str {
        match self {
            Self::Connect(request) => &request.token,
            Self::Subscribe(request) => &request.token,
            Self::Refresh(token) => token,
            Self::SubRefresh(request) => &request.token,
            _ => "",
        }
    }

    /// The method's name in the protocol; also the metric's label.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::None => "unknown",
            Self::Connect(_) => "connect",
            Self::Subscribe(_) => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Publish(_) => "publish",
            Self::Presence(_) => "presence",
            Self::PresenceStats(_) => "presence_stats",
            Self::History(_) => "history",
            Self::Ping => "ping",
            Self::Send(_) => "send",
            Self::Rpc(_) => "rpc",
            Self::Refresh(_) => "refresh",
            Self::SubRefresh(_) => "sub_refresh",
        }
    }
}

impl Command {
    /// The answer to a ping.
    pub(crate) fn is_pong(&self) -> bool {
        self.id == 0 && self.request == Request::None
    }
}
