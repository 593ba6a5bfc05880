//! How a client learns that its connection ends where no closing frame can say so: a disconnect push.
//! Reads: codes. Writes: text or bytes. Never: says anything else.

use prost::Message;

use super::{Encoded, json};
use crate::codes::Disconnect;
use crate::proto::Protocol;

#[derive(Clone, PartialEq, Message)]
struct Reply {
    #[prost(message, optional, tag = "4")]
    push: Option<Push>,
}

#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, optional, tag = "11")]
    disconnect: Option<End>,
}

#[derive(Clone, PartialEq, Message)]
struct End {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(bool, tag = "3")]
    reconnect: bool,
}

/// The last message of a connection.
pub(crate) fn disconnect_push(protocol: Protocol, why: Disconnect) -> Encoded {
    let (code, reason, reconnect) = (u32::from(why.code), why.reason, why.reconnects());
    match protocol {
        Protocol::Json => {
            let reason = json::string(reason);
            format!("{{\"push\":{{\"disconnect\":{{\"code\":{code},\"reason\":{reason},\"reconnect\":{reconnect}}}}}}}").into()
        }
        Protocol::Protobuf => {
            let end = End { code, reason: reason.to_owned(), reconnect };
            let reply = Reply { push: Some(Push { disconnect: Some(end) }) };
            Encoded::Binary(reply.encode_length_delimited_to_vec().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::disconnect;

    #[test]
    fn an_end_says_whether_to_come_back() {
        let Encoded::Text(text) = disconnect_push(Protocol::Json, disconnect::SHUTDOWN) else {
            panic!("text")
        };
        assert_eq!(
            text.as_str(),
            r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}}"#
        );
        let Encoded::Binary(bytes) = disconnect_push(Protocol::Protobuf, disconnect::STALE) else {
            panic!("bytes")
        };
        let end = Reply::decode_length_delimited(bytes).unwrap().push.unwrap().disconnect.unwrap();
        assert_eq!((end.code, end.reason.as_str(), end.reconnect), (3502, "stale", false));
    }
}
