//! The messages that clients are sent, Protobuf form: field numbers and nothing else.
//! Reads: nothing. Writes: nothing. Never: decides anything.
//! Publications inside results are `bytes` here: an embedded message looks the same on the wire, and
//! publications are encoded already.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::Empty;

/// What clients are sent; a push is one without an id.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Reply {
    #[prost(uint32, tag = "1")]
    pub(crate) id: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<Error>,
    #[prost(message, optional, tag = "4")]
    pub(crate) push: Option<Push>,
    #[prost(message, optional, tag = "5")]
    pub(crate) connect: Option<ConnectResult>,
    #[prost(message, optional, tag = "6")]
    pub(crate) subscribe: Option<SubscribeResult>,
    #[prost(message, optional, tag = "7")]
    pub(crate) unsubscribe: Option<Empty>,
    #[prost(message, optional, tag = "8")]
    pub(crate) publish: Option<Empty>,
    #[prost(message, optional, tag = "11")]
    pub(crate) history: Option<HistoryResult>,
    #[prost(message, optional, tag = "12")]
    pub(crate) ping: Option<Empty>,
    #[prost(message, optional, tag = "13")]
    pub(crate) rpc: Option<RpcResult>,
    #[prost(message, optional, tag = "14")]
    pub(crate) refresh: Option<RefreshResult>,
    #[prost(message, optional, tag = "15")]
    pub(crate) sub_refresh: Option<SubRefreshResult>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Error {
    #[prost(uint32, tag = "1")]
    pub(crate) code: u32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(bool, tag = "3")]
    pub(crate) temporary: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Push {
    #[prost(int64, tag = "1")]
    pub(crate) id: i64,
    #[prost(string, tag = "2")]
    pub(crate) channel: String,
    /// A [`Publication`].
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) publication: Option<Bytes>,
    #[prost(message, optional, tag = "7")]
    pub(crate) unsubscribe: Option<Unsubscribe>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Unsubscribe {
    #[prost(uint32, tag = "2")]
    pub(crate) code: u32,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClientInfo {
    #[prost(string, tag = "1")]
    pub(crate) user: String,
    #[prost(string, tag = "2")]
    pub(crate) client: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) conn_info: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) chan_info: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Publication {
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) data: Bytes,
    #[prost(message, optional, tag = "5")]
    pub(crate) info: Option<ClientInfo>,
    #[prost(uint64, tag = "6")]
    pub(crate) offset: u64,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(crate) tags: BTreeMap<String, String>,
    #[prost(bool, tag = "8")]
    pub(crate) delta: bool,
    #[prost(string, tag = "10")]
    pub(crate) channel: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConnectResult {
    #[prost(string, tag = "1")]
    pub(crate) client: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    #[prost(bool, tag = "3")]
    pub(crate) expires: bool,
    #[prost(uint32, tag = "4")]
    pub(crate) ttl: u32,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) data: Bytes,
    #[prost(btree_map = "string, message", tag = "6")]
    pub(crate) subs: BTreeMap<String, SubscribeResult>,
    #[prost(uint32, tag = "7")]
    pub(crate) ping: u32,
    #[prost(bool, tag = "8")]
    pub(crate) pong: bool,
    #[prost(string, tag = "9")]
    pub(crate) session: String,
    #[prost(string, tag = "10")]
    pub(crate) node: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SubscribeResult {
    #[prost(bool, tag = "1")]
    pub(crate) expires: bool,
    #[prost(uint32, tag = "2")]
    pub(crate) ttl: u32,
    #[prost(bool, tag = "3")]
    pub(crate) recoverable: bool,
    #[prost(string, tag = "6")]
    pub(crate) epoch: String,
    /// Each a [`Publication`].
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub(crate) publications: Vec<Bytes>,
    #[prost(bool, tag = "8")]
    pub(crate) recovered: bool,
    #[prost(uint64, tag = "9")]
    pub(crate) offset: u64,
    #[prost(bool, tag = "10")]
    pub(crate) positioned: bool,
    #[prost(bytes = "bytes", tag = "11")]
    pub(crate) data: Bytes,
    #[prost(bool, tag = "12")]
    pub(crate) was_recovering: bool,
    #[prost(bool, tag = "13")]
    pub(crate) delta: bool,
    #[prost(int64, tag = "14")]
    pub(crate) id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HistoryResult {
    /// Each a [`Publication`].
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) publications: Vec<Bytes>,
    #[prost(string, tag = "2")]
    pub(crate) epoch: String,
    #[prost(uint64, tag = "3")]
    pub(crate) offset: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcResult {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RefreshResult {
    #[prost(string, tag = "1")]
    pub(crate) client: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    #[prost(bool, tag = "3")]
    pub(crate) expires: bool,
    #[prost(uint32, tag = "4")]
    pub(crate) ttl: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SubRefreshResult {
    #[prost(bool, tag = "1")]
    pub(crate) expires: bool,
    #[prost(uint32, tag = "2")]
    pub(crate) ttl: u32,
}
