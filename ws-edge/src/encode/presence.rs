//! What clients are sent about each other: lists, counts, and who comes and goes.
//! Reads: results; JSON about clients. Writes: text or bytes. Never: leaves out a number because it is zero.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prost::Message;

use super::{Encoded, json};
use crate::proto::Protocol;
use crate::proto::protobuf::replies as wire;
use crate::publication::client_info;

/// Clients of a channel with JSON about each.
pub(crate) type Clients = BTreeMap<String, String>;

#[derive(Clone, PartialEq, Message)]
struct ListReply {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "9")]
    presence: Option<List>,
    #[prost(message, optional, tag = "10")]
    presence_stats: Option<Counts>,
}

#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(btree_map = "string, message", tag = "1")]
    presence: BTreeMap<String, wire::ClientInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Counts {
    #[prost(uint32, tag = "1")]
    num_clients: u32,
    #[prost(uint32, tag = "2")]
    num_users: u32,
}

#[derive(Clone, PartialEq, Message)]
struct MoveReply {
    #[prost(message, optional, tag = "4")]
    push: Option<MovePush>,
}

#[derive(Clone, PartialEq, Message)]
struct MovePush {
    #[prost(string, tag = "2")]
    channel: String,
    #[prost(message, optional, tag = "5")]
    join: Option<Move>,
    #[prost(message, optional, tag = "6")]
    leave: Option<Move>,
}

#[derive(Clone, PartialEq, Message)]
struct Move {
    #[prost(message, optional, tag = "1")]
    info: Option<wire::ClientInfo>,
}

fn binary(message: &impl Message) -> Encoded {
    Encoded::Binary(message.encode_length_delimited_to_vec().into())
}

/// The answer to a presence command.
pub(crate) fn list(protocol: Protocol, id: u32, clients: &Clients) -> Encoded {
    match protocol {
        Protocol::Json => {
            let mut out = format!("{{\"id\":{id},\"presence\":{{\"presence\":{{");
            for (at, (client, info)) in clients.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                let _ = write!(out, "{comma}{}:{}", json::string(client), json::single_line(info));
            }
            out.push_str("}}}");
            out.into()
        }
        Protocol::Protobuf => {
            let one =
                |(client, info): (&String, &String)| Some((client.clone(), client_info(info)?));
            let presence = clients.iter().filter_map(one).collect();
            binary(&ListReply { id, presence: Some(List { presence }), presence_stats: None })
        }
    }
}

/// The answer to a presence_stats command.
pub(crate) fn stats(protocol: Protocol, id: u32, clients: u64, users: u64) -> Encoded {
    match protocol {
        Protocol::Json => format!(
            "{{\"id\":{id},\"presence_stats\":{{\"num_clients\":{clients},\"num_users\":{users}}}}}"
        )
        .into(),
        Protocol::Protobuf => {
            let cut = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            let counts = Counts { num_clients: cut(clients), num_users: cut(users) };
            binary(&ListReply { id, presence: None, presence_stats: Some(counts) })
        }
    }
}

/// A client came to a channel, or left it.
pub(crate) fn moved(protocol: Protocol, channel: &str, came: bool, info: &str) -> Encoded {
    match protocol {
        Protocol::Json => {
            let what = if came { "join" } else { "leave" };
            let (channel, info) = (json::string(channel), json::single_line(info));
            format!("{{\"push\":{{\"channel\":{channel},\"{what}\":{{\"info\":{info}}}}}}}").into()
        }
        Protocol::Protobuf => {
            let info = Some(Move { info: client_info(info) });
            let (join, leave) = if came { (info, None) } else { (None, info) };
            let push = MovePush { channel: channel.to_owned(), join, leave };
            binary(&MoveReply { push: Some(push) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = r#"{"user":"a","client":"c1","conn_info":{"n":1}}"#;

    fn text(encoded: &Encoded) -> &str {
        let Encoded::Text(text) = encoded else { panic!("{encoded:?}") };
        text.as_str()
    }

    fn bytes(encoded: &Encoded) -> &[u8] {
        let Encoded::Binary(bytes) = encoded else { panic!("{encoded:?}") };
        bytes
    }

    #[test]
    fn zeros_and_empty_lists_are_there() {
        assert_eq!(
            text(&stats(Protocol::Json, 3, 0, 0)),
            r#"{"id":3,"presence_stats":{"num_clients":0,"num_users":0}}"#
        );
        assert_eq!(
            text(&list(Protocol::Json, 3, &Clients::new())),
            r#"{"id":3,"presence":{"presence":{}}}"#
        );
        let empty = stats(Protocol::Protobuf, 3, 0, 0);
        let reply = ListReply::decode_length_delimited(bytes(&empty)).unwrap();
        assert_eq!(reply.presence_stats, Some(Counts::default()));
    }

    #[test]
    fn clients_are_the_same_in_both_forms() {
        let clients = Clients::from([("c1".to_owned(), INFO.to_owned())]);
        let value: serde_json::Value =
            serde_json::from_str(text(&list(Protocol::Json, 1, &clients))).unwrap();
        assert_eq!(value["presence"]["presence"]["c1"]["conn_info"]["n"], 1);
        let reply = list(Protocol::Protobuf, 1, &clients);
        let reply = ListReply::decode_length_delimited(bytes(&reply)).unwrap();
        let found = &reply.presence.unwrap().presence["c1"];
        assert_eq!((found.user.as_str(), found.conn_info.as_ref()), ("a", &b"{\"n\":1}"[..]));
        for came in [true, false] {
            let push = moved(Protocol::Protobuf, "room:a", came, INFO);
            let push = MoveReply::decode_length_delimited(bytes(&push)).unwrap().push.unwrap();
            assert_eq!((push.join.is_some(), push.leave.is_some()), (came, !came));
        }
        assert_eq!(
            text(&moved(Protocol::Json, "room:a", false, r#"{"user":"","client":"c"}"#)),
            r#"{"push":{"channel":"room:a","leave":{"info":{"user":"","client":"c"}}}}"#
        );
    }
}
