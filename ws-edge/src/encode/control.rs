//! Pushes that the server sends of its own accord: a subscription it began, a new end of the connection, a message.
//! Reads: results. Writes: text or bytes. Never: changes a payload.

use std::fmt::Write as _;

use bytes::Bytes;
use prost::Message;

use super::{Encoded, NotJson, SubscribeResult, json};
use crate::proto::Protocol;

#[derive(Clone, PartialEq, Message)]
struct Reply {
    #[prost(message, optional, tag = "4")]
    push: Option<Push>,
}

#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(string, tag = "2")]
    channel: String,
    #[prost(message, optional, tag = "8")]
    message: Option<Data>,
    #[prost(message, optional, tag = "9")]
    subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "12")]
    refresh: Option<Refresh>,
}

#[derive(Clone, PartialEq, Message)]
struct Data {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Subscribe {
    #[prost(bool, tag = "1")]
    recoverable: bool,
    #[prost(string, tag = "4")]
    epoch: String,
    #[prost(uint64, tag = "5")]
    offset: u64,
    #[prost(bool, tag = "6")]
    positioned: bool,
    #[prost(bytes = "bytes", tag = "7")]
    data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Refresh {
    #[prost(bool, tag = "1")]
    expires: bool,
    #[prost(uint32, tag = "2")]
    ttl: u32,
}

fn protobuf(push: Push) -> Encoded {
    Encoded::Binary(Reply { push: Some(push) }.encode_length_delimited_to_vec().into())
}

/// The client is subscribed to a channel that it did not ask for. What it missed comes after this, as publications.
pub(crate) fn subscribe_push(
    protocol: Protocol,
    channel: &str,
    result: &SubscribeResult<'_>,
) -> Encoded {
    let positioned = result.positioned;
    match protocol {
        Protocol::Json => {
            let mut out =
                format!("{{\"push\":{{\"channel\":{},\"subscribe\":{{", json::string(channel));
            let mut members = Vec::new();
            if positioned {
                members.push(format!(
                    "\"positioned\":true,\"epoch\":{},\"offset\":{}",
                    json::string(result.epoch),
                    result.offset
                ));
            }
            if result.recoverable {
                members.push("\"recoverable\":true".to_owned());
            }
            if let Some(data) = result.data {
                members.push(format!("\"data\":{}", json::single_line(data)));
            }
            let _ = write!(out, "{}}}}}}}", members.join(","));
            out.into()
        }
        Protocol::Protobuf => protobuf(Push {
            channel: channel.to_owned(),
            subscribe: Some(Subscribe {
                recoverable: result.recoverable,
                epoch: if positioned { result.epoch.to_owned() } else { String::new() },
                offset: if positioned { result.offset } else { 0 },
                positioned,
                data: result
                    .data
                    .map(|json| Bytes::copy_from_slice(json.as_bytes()))
                    .unwrap_or_default(),
            }),
            ..Push::default()
        }),
    }
}

/// The connection's end is another one now: `left` are the seconds until it, nothing for never.
pub(crate) fn refresh_push(protocol: Protocol, left: Option<i64>) -> Encoded {
    match (protocol, left) {
        (Protocol::Json, None) => "{\"push\":{\"refresh\":{\"expires\":false}}}".to_owned().into(),
        (Protocol::Json, Some(left)) => {
            let ttl = left.max(1);
            format!("{{\"push\":{{\"refresh\":{{\"expires\":true,\"ttl\":{ttl}}}}}}}").into()
        }
        (Protocol::Protobuf, left) => {
            let ttl = left.map_or(0, |left| u32::try_from(left.max(1)).unwrap_or(u32::MAX));
            let refresh = Some(Refresh { expires: left.is_some(), ttl });
            protobuf(Push { refresh, ..Push::default() })
        }
    }
}

/// A message outside of all channels.
pub(crate) fn message_push(protocol: Protocol, data: &Bytes) -> Result<Encoded, NotJson> {
    Ok(match protocol {
        Protocol::Json => {
            format!("{{\"push\":{{\"message\":{{\"data\":{}}}}}}}", json::payload(data)?).into()
        }
        Protocol::Protobuf => {
            protobuf(Push { message: Some(Data { data: data.clone() }), ..Push::default() })
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(encoded: &Encoded) -> Value {
        let Encoded::Text(text) = encoded else { panic!("{encoded:?}") };
        serde_json::from_str(text.as_str()).unwrap()
    }

    fn push(encoded: Encoded) -> Push {
        let Encoded::Binary(bytes) = encoded else { panic!("{encoded:?}") };
        Reply::decode_length_delimited(bytes).unwrap().push.unwrap()
    }

    #[test]
    fn both_forms_say_the_same() {
        let result = SubscribeResult {
            recoverable: true,
            positioned: true,
            epoch: "e",
            offset: 7,
            data: Some("{\n\"a\":1}"),
            ..SubscribeResult::default()
        };
        let json = subscribe_push(Protocol::Json, "a\"b", &result);
        let said = json!({"positioned": true, "epoch": "e", "offset": 7, "recoverable": true, "data": {"a": 1}});
        assert_eq!(value(&json), json!({"push": {"channel": "a\"b", "subscribe": said}}));
        assert!(matches!(&json, Encoded::Text(text) if !text.as_str().contains('\n')));
        let same = push(subscribe_push(Protocol::Protobuf, "a\"b", &result));
        let one = same.subscribe.unwrap();
        assert_eq!((same.channel.as_str(), one.epoch.as_str(), one.offset), ("a\"b", "e", 7));
        assert!(one.recoverable && one.positioned && one.data.as_ref() == b"{\n\"a\":1}");
        let bare = subscribe_push(Protocol::Json, "c", &SubscribeResult::default());
        assert_eq!(value(&bare), json!({"push": {"channel": "c", "subscribe": {}}}));
    }

    #[test]
    fn refreshes_and_messages_are_pushes() {
        let refresh = |left| value(&refresh_push(Protocol::Json, left))["push"]["refresh"].clone();
        assert_eq!(refresh(Some(60)), json!({"expires": true, "ttl": 60}));
        assert_eq!(refresh(None), json!({"expires": false}));
        let same = push(refresh_push(Protocol::Protobuf, Some(0))).refresh.unwrap();
        assert!(same.expires && same.ttl == 1);
        let data = Bytes::from_static(b"{\"a\": 1}");
        let message = message_push(Protocol::Json, &data).unwrap();
        assert_eq!(value(&message), json!({"push": {"message": {"data": {"a": 1}}}}));
        let same = push(message_push(Protocol::Protobuf, &data).unwrap()).message.unwrap();
        assert_eq!(same.data, data);
    }
}
