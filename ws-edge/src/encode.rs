//! What clients are sent, ready for the wire, whichever way the client reads.
//! Reads: results. Writes: text or bytes. Never: re-encodes a payload or a publication; both are copied as they are.

mod control;
mod ends;
mod json;
pub(crate) mod presence;
mod protobuf;

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;

use crate::codes::{ReplyError, Unsubscribe};
use crate::proto::Protocol;
use crate::publication::Published;
use crate::session::Address;

pub(crate) use control::{message_push, refresh_push, subscribe_push};
pub(crate) use ends::disconnect_push;
pub(crate) use json::{payload, single_line, string};
pub(crate) use protobuf::publication;

/// One message for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// A line of JSON, without the line's end.
    Text(Utf8Bytes),
    /// A Protobuf message behind its length.
    Binary(Bytes),
}

impl Encoded {
    /// Bytes on the wire, without what separates it from the next.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.as_str().len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Never: also a ping has bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<String> for Encoded {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// Something cannot be said in JSON: bytes that are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson;

/// A result that says no more than that it worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    Unsubscribe,
    Publish,
    Ping,
}

/// The ping; also the one message that has neither an id nor a push.
pub(crate) fn ping(protocol: Protocol) -> Encoded {
    match protocol {
        Protocol::Json => Encoded::Text(Utf8Bytes::from_static(json::PING)),
        Protocol::Protobuf => Encoded::Binary(Bytes::from_static(protobuf::PING)),
    }
}

pub(crate) fn error(protocol: Protocol, id: u32, error: ReplyError) -> Encoded {
    refusal(protocol, id, error.code, error.message, error.temporary)
}

/// An error whose text comes from elsewhere.
pub(crate) fn refusal(
    protocol: Protocol,
    id: u32,
    code: u32,
    message: &str,
    temporary: bool,
) -> Encoded {
    match protocol {
        Protocol::Json => json::error(id, code, message, temporary),
        Protocol::Protobuf => protobuf::error(id, code, message, temporary),
    }
}

pub(crate) fn plain(protocol: Protocol, id: u32, what: Plain) -> Encoded {
    match protocol {
        Protocol::Json => json::plain(id, what),
        Protocol::Protobuf => protobuf::plain(id, what),
    }
}

pub(crate) fn unsubscribe_push(protocol: Protocol, channel: &str, why: Unsubscribe) -> Encoded {
    match protocol {
        Protocol::Json => json::unsubscribe_push(channel, why),
        Protocol::Protobuf => protobuf::unsubscribe_push(channel, why),
    }
}

/// The result of a subscription, in a subscribe reply or inside a connect reply.
#[derive(Debug, Default)]
pub(crate) struct SubscribeResult<'a> {
    pub(crate) recoverable: bool,
    pub(crate) positioned: bool,
    pub(crate) epoch: &'a str,
    pub(crate) offset: u64,
    /// `Some` if a recovery was attempted: whether it worked.
    pub(crate) recovered: Option<bool>,
    pub(crate) publications: &'a [Arc<Published>],
    /// Seconds until the subscription must be refreshed.
    pub(crate) ttl: Option<i64>,
    /// JSON.
    pub(crate) data: Option<&'a str>,
    /// Publications may come as differences.
    pub(crate) delta: bool,
    /// What pushes call the channel; 0 for its name.
    pub(crate) number: u64,
}

impl SubscribeResult<'_> {
    pub(crate) fn reply(&self, protocol: Protocol, id: u32) -> Result<Encoded, NotJson> {
        match protocol {
            Protocol::Json => json::subscribed(self, id),
            Protocol::Protobuf => Ok(protobuf::subscribed(self, id)),
        }
    }
}

/// The result of a connect command.
pub(crate) struct ConnectResult<'a> {
    pub(crate) client: &'a str,
    pub(crate) version: &'a str,
    pub(crate) ttl: Option<i64>,
    /// JSON on one line.
    pub(crate) data: Option<&'a str>,
    /// 0 for no pings.
    pub(crate) ping_seconds: u64,
    /// Pings want an answer.
    pub(crate) pong: bool,
    /// Where requests of the client find its session.
    pub(crate) address: Option<&'a Address>,
    /// By channel.
    pub(crate) subs: &'a [(&'a str, SubscribeResult<'a>)],
}

impl ConnectResult<'_> {
    pub(crate) fn reply(&self, protocol: Protocol, id: u32) -> Result<Encoded, NotJson> {
        match protocol {
            Protocol::Json => json::connected(self, id),
            Protocol::Protobuf => Ok(protobuf::connected(self, id)),
        }
    }
}

/// The result of a refresh command; `left` are the seconds until the next one.
pub(crate) fn refreshed(
    protocol: Protocol,
    id: u32,
    client: &str,
    version: &str,
    left: Option<i64>,
) -> Encoded {
    match protocol {
        Protocol::Json => json::refreshed(id, client, version, left),
        Protocol::Protobuf => protobuf::refreshed(id, client, version, left),
    }
}

/// The result of a sub_refresh command.
pub(crate) fn sub_refreshed(protocol: Protocol, id: u32, left: Option<i64>) -> Encoded {
    match protocol {
        Protocol::Json => json::sub_refreshed(id, left),
        Protocol::Protobuf => protobuf::sub_refreshed(id, left),
    }
}

pub(crate) fn history(
    protocol: Protocol,
    id: u32,
    found: &[Arc<Published>],
    offset: u64,
    epoch: &str,
) -> Result<Encoded, NotJson> {
    match protocol {
        Protocol::Json => json::history(id, found, offset, epoch),
        Protocol::Protobuf => Ok(protobuf::history(id, found, offset, epoch)),
    }
}

/// What a service answered.
pub(crate) fn called(protocol: Protocol, id: u32, data: &Bytes) -> Result<Encoded, NotJson> {
    match protocol {
        Protocol::Json => json::called(id, data),
        Protocol::Protobuf => Ok(protobuf::called(id, data)),
    }
}
