//! Commands written as JSON, one to a line.
//! Reads: text from strangers. Writes: nothing. Never: looks into a payload; those stay raw JSON.
//! Unknown members are ignored, because newer clients send more of them; unknown commands are answered.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{
    Command, ConnectRequest, HistoryRequest, Malformed, PublishRequest, Request, RpcRequest,
    Standing, SubRefreshRequest, SubscribeRequest,
};

/// The commands of a frame, each with its bytes.
pub(crate) fn commands(text: &str) -> impl Iterator<Item = Result<(Command, usize), Malformed>> {
    let lines = text.split('\n').map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| Ok((decode(line)?, line.len())))
}

/// Whether these bytes are one JSON value.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Line<'a> {
    id: u32,
    connect: Option<ConnectRequest>,
    #[serde(borrow)]
    subscribe: Option<Subscribe<'a>>,
    unsubscribe: Option<Channel>,
    #[serde(borrow)]
    publish: Option<Publish<'a>>,
    presence: Option<Channel>,
    presence_stats: Option<Channel>,
    history: Option<HistoryRequest>,
    ping: Option<IgnoredAny>,
    #[serde(borrow)]
    send: Option<Send<'a>>,
    #[serde(borrow)]
    rpc: Option<Rpc<'a>>,
    refresh: Option<Token>,
    sub_refresh: Option<SubRefreshRequest>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Subscribe<'a> {
    channel: String,
    token: String,
    recover: bool,
    epoch: String,
    offset: u64,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    join_leave: bool,
    delta: String,
    flag: i64,
    #[serde(rename = "type")]
    kind: i32,
    #[serde(borrow)]
    tf: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Channel {
    channel: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Token {
    token: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Publish<'a> {
    channel: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(rename = "type")]
    kind: i32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Send<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Rpc<'a> {
    method: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// A payload inside a structure that is decoded whole.
pub(super) fn raw<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    let raw: Option<Box<RawValue>> = Deserialize::deserialize(from)?;
    Ok(payload(raw.as_deref()))
}

/// A payload; `null` says that there is none.
fn payload(raw: Option<&RawValue>) -> Bytes {
    let raw = raw.map(RawValue::get).filter(|text| *text != "null");
    raw.map(|text| Bytes::copy_from_slice(text.as_bytes())).unwrap_or_default()
}

fn decode(line: &str) -> Result<Command, Malformed> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|_| Malformed)?;
    let id = line.id;
    let request = if let Some(request) = line.connect {
        Request::Connect(request)
    } else if let Some(one) = line.subscribe {
        Request::Subscribe(SubscribeRequest {
            channel: one.channel,
            token: one.token,
            standing: Standing { recover: one.recover, epoch: one.epoch, offset: one.offset },
            data: payload(one.data),
            join_leave: one.join_leave,
            delta: one.delta,
            flag: one.flag,
            special: one.kind != 0 || one.tf.is_some(),
        })
    } else if let Some(one) = line.unsubscribe {
        Request::Unsubscribe(one.channel)
    } else if let Some(one) = line.publish {
        let special = one.kind != 0;
        Request::Publish(PublishRequest { channel: one.channel, data: payload(one.data), special })
    } else if let Some(one) = line.presence {
        Request::Presence(one.channel)
    } else if let Some(one) = line.presence_stats {
        Request::PresenceStats(one.channel)
    } else if let Some(request) = line.history {
        Request::History(request)
    } else if line.ping.is_some() {
        Request::Ping
    } else if let Some(one) = line.send {
        Request::Send(payload(one.data))
    } else if let Some(one) = line.rpc {
        Request::Rpc(RpcRequest { method: one.method, data: payload(one.data) })
    } else if let Some(one) = line.refresh {
        Request::Refresh(one.token)
    } else if let Some(request) = line.sub_refresh {
        Request::SubRefresh(request)
    } else {
        Request::None
    };
    Ok(Command { id, request })
}
