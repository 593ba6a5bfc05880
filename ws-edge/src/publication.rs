//! A stored message as clients see it, encoded at most once for each protocol and shared by all who get it.
//! Reads: the headers and body of stored messages. Writes: nothing.
//! Never: passes on a body that is not JSON as if it were; it would break every message in the same frame.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use campana_bus::clock::Micros;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::trace::TraceParent;
use campana_bus::{HeaderMap, headers};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::encode::{self, Encoded};
use crate::proto::Protocol;
use crate::proto::protobuf::replies as wire;

/// One channel of one tenant.
#[derive(Debug, PartialEq, Eq)]
pub struct ChannelKey {
    /// As clients write it.
    pub name: ChannelName,
    /// Where its messages are stored; unique across tenants.
    pub subject: String,
    /// What every push of this channel begins with, in JSON.
    push_prefix: String,
}

impl ChannelKey {
    /// The channel `name` of `tenant`.
    #[must_use]
    pub fn new(tenant: &str, name: ChannelName) -> Self {
        let subject = subjects::channel(tenant, &name);
        let push_prefix =
            format!("{{\"push\":{{\"channel\":{},\"pub\":", encode::string(name.as_str()));
        Self { name, subject, push_prefix }
    }
}

/// A publication.
#[derive(Debug)]
pub struct Published {
    /// Its channel.
    pub key: Arc<ChannelKey>,
    /// The stream's sequence.
    pub offset: u64,
    /// When the stream stored it, if known.
    pub stored_at: Option<Micros>,
    /// The trace it belongs to.
    pub trace: Option<TraceParent>,
    body: Bytes,
    /// JSON about the publisher.
    info: Option<Box<str>>,
    /// The whole push, one line; `None` if the body has no form in JSON.
    json: OnceLock<Option<Utf8Bytes>>,
    /// The whole push behind its length, and where the publication alone begins in it.
    protobuf: OnceLock<(Bytes, usize)>,
}

/// What follows the publication's object in a push.
const PUSH_SUFFIX: &str = "}}";
/// What a push has besides channel, body and publisher, at most.
const PUSH_OVERHEAD: usize = 128;

impl Published {
    /// A stored message. The body is copied: a slice of what came from NATS would keep all of it in memory
    /// for as long as this message waits for a slow client.
    #[must_use]
    pub fn new(
        key: &Arc<ChannelKey>,
        offset: u64,
        head: Option<&HeaderMap>,
        body: &[u8],
        stored_at: Option<Micros>,
    ) -> Self {
        let info = head
            .and_then(|head| headers::get(head, headers::CLIENT_INFO))
            .filter(|info| serde_json::from_str::<&RawValue>(info).is_ok())
            .map(|info| encode::single_line(info).into());
        Self {
            key: Arc::clone(key),
            offset,
            stored_at,
            trace: head.and_then(headers::trace),
            body: Bytes::copy_from_slice(body),
            info,
            json: OnceLock::new(),
            protobuf: OnceLock::new(),
        }
    }

    /// The push for clients of this protocol; `None` if the body cannot be said in it.
    #[must_use]
    pub fn push(&self, protocol: Protocol) -> Option<Encoded> {
        match protocol {
            Protocol::Json => self.json_push().cloned().map(Encoded::Text),
            Protocol::Protobuf => Some(Encoded::Binary(self.protobuf_push().0.clone())),
        }
    }

    /// The publication alone, as it stands in the list of a JSON reply.
    pub(crate) fn json_object(&self) -> Option<&str> {
        let push = self.json_push()?.as_str();
        push.get(self.key.push_prefix.len()..push.len().saturating_sub(PUSH_SUFFIX.len()))
    }

    /// The publication alone, as it stands in the list of a Protobuf reply.
    pub(crate) fn protobuf_object(&self) -> Bytes {
        let (push, begins) = self.protobuf_push();
        push.slice(*begins..)
    }

    /// What it costs to keep in a queue.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let info = self.info.as_deref().map_or(0, str::len);
        self.key.push_prefix.len() + self.body.len() + info + PUSH_OVERHEAD / 2
    }

    fn json_push(&self) -> Option<&Utf8Bytes> {
        self.json.get_or_init(|| self.encode_json()).as_ref()
    }

    fn encode_json(&self) -> Option<Utf8Bytes> {
        let body = encode::payload(&self.body).ok()?;
        let info = self.info.as_deref().unwrap_or_default();
        let bytes = self.key.push_prefix.len() + body.len() + info.len() + PUSH_OVERHEAD;
        let mut push = String::with_capacity(bytes);
        push.push_str(&self.key.push_prefix);
        push.push_str("{\"data\":");
        push.push_str(&body);
        if !info.is_empty() {
            push.push_str(",\"info\":");
            push.push_str(info);
        }
        push.push_str(&format!(",\"offset\":{}", self.offset));
        if let Some(trace) = self.trace {
            push.push_str(&format!(",\"tags\":{{\"traceparent\":\"{trace}\"}}"));
        }
        push.push('}');
        push.push_str(PUSH_SUFFIX);
        Some(push.into())
    }

    fn protobuf_push(&self) -> &(Bytes, usize) {
        self.protobuf.get_or_init(|| {
            let trace = self.trace.map(|trace| ("traceparent".to_owned(), trace.to_string()));
            let publication = wire::Publication {
                data: self.body.clone(),
                info: self.info.as_deref().and_then(client_info),
                offset: self.offset,
                tags: trace.into_iter().collect::<BTreeMap<_, _>>(),
            };
            encode::publication(self.key.name.as_str(), &publication)
        })
    }
}

/// The publisher, whose own information stays JSON; nothing if it is damaged.
fn client_info(json: &str) -> Option<wire::ClientInfo> {
    #[derive(Deserialize)]
    struct Info<'a> {
        #[serde(default)]
        user: String,
        #[serde(default)]
        client: String,
        #[serde(borrow, default)]
        conn_info: Option<&'a RawValue>,
        #[serde(borrow, default)]
        chan_info: Option<&'a RawValue>,
    }
    let info: Info<'_> = serde_json::from_str(json).ok()?;
    let bytes = |raw: Option<&RawValue>| {
        raw.map(|raw| Bytes::copy_from_slice(raw.get().as_bytes())).unwrap_or_default()
    };
    Some(wire::ClientInfo {
        user: info.user,
        client: info.client,
        conn_info: bytes(info.conn_info),
        chan_info: bytes(info.chan_info),
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn key() -> Arc<ChannelKey> {
        Arc::new(ChannelKey::new("t", ChannelName::parse("news:\"x\"").unwrap()))
    }

    fn head() -> HeaderMap {
        let mut head = HeaderMap::new();
        head.insert(headers::CLIENT_INFO, "{\"user\":\"a\",\"conn_info\":{\"n\": 1}}");
        head.insert(
            headers::TRACEPARENT,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        );
        head
    }

    #[test]
    fn a_push_is_one_line_of_json_whatever_the_text() {
        for body in ["{\"a\":1}", "{\n\"a\":\r\n1}", "", "not json", "\u{fffd}", "[1,2", "null"] {
            let publication = Published::new(&key(), 7, Some(&head()), body.as_bytes(), None);
            let push = publication.json_push().unwrap().as_str();
            assert!(!push.contains('\n'));
            let value: serde_json::Value = serde_json::from_str(push).unwrap();
            let object: serde_json::Value =
                serde_json::from_str(publication.json_object().unwrap()).unwrap();
            assert_eq!(value["push"]["channel"], "news:\"x\"");
            assert_eq!(value["push"]["pub"], object);
            assert_eq!((&object["offset"], &object["info"]["user"]), (&7.into(), &"a".into()));
            let trace = object["tags"]["traceparent"].as_str().unwrap();
            assert!(trace.contains("0af7651916cd43dd8448eb211c80319c"));
        }
        let spaced = Published::new(&key(), 1, None, b"{\"a\": 1}", None);
        assert!(spaced.json_object().unwrap().starts_with("{\"data\":{\"a\": 1},"));
    }

    #[test]
    fn a_protobuf_push_has_the_bytes_as_they_are() {
        for body in [&b"{\n\"a\": 1}"[..], &[0xff, 0, 1], b"", &[7; 300]] {
            let publication = Published::new(&key(), 7, Some(&head()), body, None);
            let push = publication.protobuf_push().0.clone();
            let reply = wire::Reply::decode_length_delimited(push).unwrap();
            let push = reply.push.unwrap();
            assert_eq!((reply.id, push.channel.as_str()), (0, "news:\"x\""));
            assert_eq!(push.publication.as_ref(), Some(&publication.protobuf_object()));
            let object = wire::Publication::decode(publication.protobuf_object()).unwrap();
            assert_eq!((object.data.as_ref(), object.offset), (body, 7));
            let info = object.info.unwrap();
            assert_eq!((info.user.as_str(), info.conn_info.as_ref()), ("a", &b"{\"n\": 1}"[..]));
            assert!(object.tags["traceparent"].contains("0af7651916cd43dd8448eb211c80319c"));
        }
    }

    #[test]
    fn bytes_that_are_no_text_have_no_json() {
        let publication = Published::new(&key(), 7, None, &[0xff, 0xfe], None);
        assert_eq!(publication.push(Protocol::Json), None);
        assert_eq!(publication.json_object(), None);
        assert!(publication.push(Protocol::Protobuf).is_some());
    }

    #[test]
    fn damaged_information_is_left_out() {
        let mut head = HeaderMap::new();
        head.insert(headers::CLIENT_INFO, "{\"user\":");
        let publication = Published::new(&key(), 1, Some(&head), b"1", None);
        assert_eq!(publication.json_object(), Some(r#"{"data":1,"offset":1}"#));
        assert_eq!(client_info("[1]"), None);
    }
}
