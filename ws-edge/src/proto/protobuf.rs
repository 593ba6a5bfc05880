//! The messages of the Centrifuge protocol, Protobuf form, version 2: field numbers, framing, decoding.
//! Reads: bytes from strangers. Writes: nothing. Never: panics or allocates more than a frame's bytes warrant;
//! unknown fields are skipped, text that is not UTF-8 is refused.
//!
//! A frame holds messages one after the other, each behind its length as a varint. The empty message is a ping
//! or its answer.

pub(crate) mod replies;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::{
    Command, ConnectRequest, HistoryRequest, Malformed, PublishRequest, Request, RpcRequest, Since,
    Standing, SubRefreshRequest, SubscribeRequest,
};

/// The commands of a frame, each with its bytes; ends with the first one that is malformed.
pub(crate) fn commands(
    mut frame: Bytes,
) -> impl Iterator<Item = Result<(Command, usize), Malformed>> {
    std::iter::from_fn(move || {
        if frame.is_empty() {
            return None;
        }
        let next = next_command(&mut frame);
        if next.is_err() {
            frame.clear();
        }
        Some(next)
    })
}

fn next_command(frame: &mut Bytes) -> Result<(Command, usize), Malformed> {
    let length = prost::decode_length_delimiter(&mut *frame).map_err(|_| Malformed)?;
    if length > frame.len() {
        return Err(Malformed);
    }
    let wire = WireCommand::decode(frame.split_to(length)).map_err(|_| Malformed)?;
    Ok((wire.into_command()?, length))
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireCommand {
    // Wider than in the schema, so that a negative or huge id is seen and refused instead of cut to size.
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(message, optional, tag = "4")]
    pub(crate) connect: Option<Connect>,
    #[prost(message, optional, tag = "5")]
    pub(crate) subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "6")]
    pub(crate) unsubscribe: Option<Channel>,
    #[prost(message, optional, tag = "7")]
    pub(crate) publish: Option<Publish>,
    #[prost(message, optional, tag = "8")]
    pub(crate) presence: Option<Channel>,
    #[prost(message, optional, tag = "9")]
    pub(crate) presence_stats: Option<Channel>,
    #[prost(message, optional, tag = "10")]
    pub(crate) history: Option<History>,
    #[prost(message, optional, tag = "11")]
    pub(crate) ping: Option<Empty>,
    #[prost(message, optional, tag = "12")]
    pub(crate) send: Option<Send>,
    #[prost(message, optional, tag = "13")]
    pub(crate) rpc: Option<Rpc>,
    #[prost(message, optional, tag = "14")]
    pub(crate) refresh: Option<Token>,
    #[prost(message, optional, tag = "15")]
    pub(crate) sub_refresh: Option<SubRefresh>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Connect {
    #[prost(string, tag = "1")]
    pub(crate) token: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) data: Bytes,
    #[prost(btree_map = "string, message", tag = "3")]
    pub(crate) subs: BTreeMap<String, Position>,
    #[prost(string, tag = "4")]
    pub(crate) name: String,
    #[prost(string, tag = "5")]
    pub(crate) version: String,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) headers: BTreeMap<String, String>,
}

/// The part of a subscribe request that matters for a channel that the server subscribes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Position {
    #[prost(bool, tag = "3")]
    pub(crate) recover: bool,
    #[prost(string, tag = "6")]
    pub(crate) epoch: String,
    #[prost(uint64, tag = "7")]
    pub(crate) offset: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Subscribe {
    #[prost(string, tag = "1")]
    pub(crate) channel: String,
    #[prost(string, tag = "2")]
    pub(crate) token: String,
    #[prost(bool, tag = "3")]
    pub(crate) recover: bool,
    #[prost(string, tag = "6")]
    pub(crate) epoch: String,
    #[prost(uint64, tag = "7")]
    pub(crate) offset: u64,
    #[prost(bytes = "bytes", tag = "8")]
    pub(crate) data: Bytes,
    #[prost(bool, tag = "11")]
    pub(crate) join_leave: bool,
    #[prost(string, tag = "12")]
    pub(crate) delta: String,
    /// A filter, which nobody reads.
    #[prost(bytes = "bytes", optional, tag = "13")]
    pub(crate) tf: Option<Bytes>,
    #[prost(int64, tag = "14")]
    pub(crate) flag: i64,
    #[prost(int32, tag = "15")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Channel {
    #[prost(string, tag = "1")]
    pub(crate) channel: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Publish {
    #[prost(string, tag = "1")]
    pub(crate) channel: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) data: Bytes,
    #[prost(int32, tag = "3")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct History {
    #[prost(string, tag = "1")]
    pub(crate) channel: String,
    #[prost(int32, tag = "7")]
    pub(crate) limit: i32,
    #[prost(message, optional, tag = "8")]
    pub(crate) since: Option<StreamPosition>,
    #[prost(bool, tag = "9")]
    pub(crate) reverse: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StreamPosition {
    #[prost(uint64, tag = "1")]
    pub(crate) offset: u64,
    #[prost(string, tag = "2")]
    pub(crate) epoch: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Send {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Rpc {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
    #[prost(string, tag = "2")]
    pub(crate) method: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Token {
    #[prost(string, tag = "1")]
    pub(crate) token: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SubRefresh {
    #[prost(string, tag = "1")]
    pub(crate) channel: String,
    #[prost(string, tag = "2")]
    pub(crate) token: String,
    #[prost(int32, tag = "3")]
    pub(crate) kind: i32,
}

impl WireCommand {
    fn into_command(self) -> Result<Command, Malformed> {
        let id = u32::try_from(self.id).map_err(|_| Malformed)?;
        let request = if let Some(one) = self.connect {
            one.into_request()
        } else if let Some(one) = self.subscribe {
            one.into_request()
        } else if let Some(one) = self.unsubscribe {
            Request::Unsubscribe(one.channel)
        } else if let Some(one) = self.publish {
            let special = one.kind != 0;
            Request::Publish(PublishRequest { channel: one.channel, data: one.data, special })
        } else if let Some(one) = self.presence {
            Request::Presence(one.channel)
        } else if let Some(one) = self.presence_stats {
            Request::PresenceStats(one.channel)
        } else if let Some(one) = self.history {
            let since = one.since.map(|at| Since { offset: at.offset, epoch: at.epoch });
            let (limit, reverse) = (one.limit.into(), one.reverse);
            Request::History(HistoryRequest { channel: one.channel, limit, since, reverse })
        } else if self.ping.is_some() {
            Request::Ping
        } else if let Some(one) = self.send {
            Request::Send(one.data)
        } else if let Some(one) = self.rpc {
            Request::Rpc(RpcRequest { method: one.method, data: one.data })
        } else if let Some(one) = self.refresh {
            Request::Refresh(one.token)
        } else if let Some(one) = self.sub_refresh {
            let (channel, token, kind) = (one.channel, one.token, one.kind);
            Request::SubRefresh(SubRefreshRequest { channel, token, kind })
        } else {
            Request::None
        };
        Ok(Command { id, request })
    }
}

impl Connect {
    fn into_request(self) -> Request {
        let standing =
            |one: Position| Standing { recover: one.recover, epoch: one.epoch, offset: one.offset };
        let subs = self.subs.into_iter().map(|(name, one)| (name, standing(one))).collect();
        let Self { token, data, name, version, headers, .. } = self;
        Request::Connect(ConnectRequest { token, data, subs, name, version, headers })
    }
}

impl Subscribe {
    fn into_request(self) -> Request {
        Request::Subscribe(SubscribeRequest {
            channel: self.channel,
            token: self.token,
            standing: Standing { recover: self.recover, epoch: self.epoch, offset: self.offset },
            data: self.data,
            join_leave: self.join_leave,
            delta: self.delta,
            flag: self.flag,
            special: self.kind != 0 || self.tf.is_some(),
        })
    }
}

#[cfg(test)]
mod tests;
