//! Commands and replies of both protocols as JSON values, so that one test can speak either.

use prost::Message as _;
use prost::bytes::Bytes;

use super::*;
use crate::proto::protobuf::{self as p, WireCommand, replies as r};

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

fn number<N: TryFrom<i64> + Default>(value: &Value, member: &str) -> N {
    value[member].as_i64().and_then(|number| N::try_from(number).ok()).unwrap_or_default()
}

/// A payload: what is not said is empty.
fn payload(value: &Value) -> Bytes {
    if value.is_null() { Bytes::new() } else { value.to_string().into_bytes().into() }
}

fn channel(value: &Value) -> p::Channel {
    p::Channel { channel: text(value, "channel") }
}

fn token(value: &Value) -> p::Token {
    p::Token { token: text(value, "token") }
}

fn position(value: &Value) -> p::Position {
    p::Position {
        recover: value["recover"] == true,
        epoch: text(value, "epoch"),
        offset: number(value, "offset"),
    }
}

/// The frame of one command.
pub(super) fn command(value: &Value) -> Vec<u8> {
    let one = |member: &str| value.get(member);
    let wire = WireCommand {
        id: number(value, "id"),
        connect: one("connect").map(|it| p::Connect {
            token: text(it, "token"),
            data: it.get("data").map(payload).unwrap_or_default(),
            name: text(it, "name"),
            version: text(it, "version"),
            headers: serde_json::from_value(it["headers"].clone()).unwrap_or_default(),
            subs: it["subs"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, at)| (name.clone(), position(at)))
                .collect(),
        }),
        subscribe: one("subscribe").map(|it| p::Subscribe {
            channel: text(it, "channel"),
            token: text(it, "token"),
            recover: it["recover"] == true,
            epoch: text(it, "epoch"),
            offset: number(it, "offset"),
            data: it.get("data").map(payload).unwrap_or_default(),
            join_leave: it["join_leave"] == true,
            delta: text(it, "delta"),
            tf: it.get("tf").map(payload),
            flag: number(it, "flag"),
            kind: number(it, "type"),
        }),
        unsubscribe: one("unsubscribe").map(channel),
        publish: one("publish").map(|it| p::Publish {
            channel: text(it, "channel"),
            data: payload(&it["data"]),
            kind: number(it, "type"),
        }),
        presence: one("presence").map(channel),
        presence_stats: one("presence_stats").map(channel),
        history: one("history").map(|it| p::History {
            channel: text(it, "channel"),
            limit: number(it, "limit"),
            since: it.get("since").map(|at| p::StreamPosition {
                offset: number(at, "offset"),
                epoch: text(at, "epoch"),
            }),
            reverse: it["reverse"] == true,
        }),
        ping: one("ping").map(|_| p::Empty {}),
        send: one("send").map(|it| p::Send { data: payload(&it["data"]) }),
        rpc: one("rpc").map(|it| p::Rpc { data: payload(&it["data"]), method: text(it, "method") }),
        refresh: one("refresh").map(token),
        sub_refresh: one("sub_refresh").map(|it| p::SubRefresh {
            channel: text(it, "channel"),
            token: text(it, "token"),
            kind: number(it, "type"),
        }),
    };
    wire.encode_length_delimited_to_vec()
}

/// JSON, or the bytes as a list of numbers.
fn data(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| json!(bytes))
}

fn publication(bytes: &Bytes) -> Value {
    let it = r::Publication::decode(bytes.clone()).unwrap();
    let mut value = json!({"data": data(&it.data), "offset": it.offset});
    if let Some(info) = it.info {
        value["info"] = json!({"user": info.user, "client": info.client});
    }
    if !it.tags.is_empty() {
        value["tags"] = json!(it.tags);
    }
    if it.delta {
        value["delta"] = json!(true);
    }
    value
}

fn expiry(value: &mut Value, expires: bool, ttl: u32) {
    if expires {
        value["expires"] = json!(true);
        value["ttl"] = json!(ttl);
    }
}

fn subscribed(it: r::SubscribeResult) -> Value {
    let mut value = json!({});
    if it.positioned {
        value = json!({"positioned": true, "epoch": it.epoch, "offset": it.offset});
    }
    if it.recoverable {
        value["recoverable"] = json!(true);
    }
    if it.was_recovering {
        value["was_recovering"] = json!(true);
        value["recovered"] = json!(it.recovered);
    }
    if !it.publications.is_empty() {
        value["publications"] = it.publications.iter().map(publication).collect();
    }
    if !it.data.is_empty() {
        value["data"] = data(&it.data);
    }
    if it.delta {
        value["delta"] = json!(true);
    }
    if it.id > 0 {
        value["id"] = json!(it.id);
    }
    expiry(&mut value, it.expires, it.ttl);
    value
}

fn connected(it: r::ConnectResult) -> Value {
    let mut value =
        json!({"client": it.client, "version": it.version, "ping": it.ping, "pong": it.pong});
    if !it.subs.is_empty() {
        value["subs"] = it.subs.into_iter().map(|(name, sub)| (name, subscribed(sub))).collect();
    }
    if !it.data.is_empty() {
        value["data"] = data(&it.data);
    }
    expiry(&mut value, it.expires, it.ttl);
    value
}

fn push(it: r::Push) -> Value {
    let mut value = json!({"channel": it.channel});
    if it.id > 0 {
        value = json!({"id": it.id});
    }
    if let Some(bytes) = &it.publication {
        value["pub"] = publication(bytes);
    }
    if let Some(why) = it.unsubscribe {
        value["unsubscribe"] = json!({"code": why.code, "reason": why.reason});
    }
    value
}

/// What was sent, as the JSON that a JSON client would see.
pub(super) fn reply(encoded: &Encoded, protocol: Protocol) -> Value {
    let bytes = match encoded {
        Encoded::Text(text) => {
            assert_eq!(protocol, Protocol::Json);
            return serde_json::from_str(text.as_str()).unwrap();
        }
        Encoded::Binary(bytes) => bytes.clone(),
    };
    assert_eq!(protocol, Protocol::Protobuf);
    let length = bytes.len();
    let it = r::Reply::decode_length_delimited(bytes).unwrap();
    assert_eq!(it.encode_length_delimited_to_vec().len(), length, "one message, no more");
    let mut value = json!({});
    if it.id > 0 {
        value["id"] = json!(it.id);
    }
    if let Some(error) = it.error {
        value["error"] = json!({"code": error.code, "message": error.message});
        if error.temporary {
            value["error"]["temporary"] = json!(true);
        }
    }
    let refreshed = it.refresh.map(|it| {
        let mut value = json!({"client": it.client, "version": it.version});
        expiry(&mut value, it.expires, it.ttl);
        value
    });
    let sub_refreshed = it.sub_refresh.map(|it| {
        let mut value = json!({});
        expiry(&mut value, it.expires, it.ttl);
        value
    });
    let history = it.history.map(|it| {
        let publications: Vec<Value> = it.publications.iter().map(publication).collect();
        json!({"publications": publications, "offset": it.offset, "epoch": it.epoch})
    });
    let rpc = it.rpc.map(|it| match it.data.is_empty() {
        true => json!({}),
        false => json!({"data": data(&it.data)}),
    });
    for (member, result) in [
        ("push", it.push.map(push)),
        ("connect", it.connect.map(connected)),
        ("subscribe", it.subscribe.map(subscribed)),
        ("unsubscribe", it.unsubscribe.map(|_| json!({}))),
        ("publish", it.publish.map(|_| json!({}))),
        ("history", history),
        ("ping", it.ping.map(|_| json!({}))),
        ("rpc", rpc),
        ("refresh", refreshed),
        ("sub_refresh", sub_refreshed),
    ] {
        if let Some(result) = result {
            value[member] = result;
        }
    }
    value
}
