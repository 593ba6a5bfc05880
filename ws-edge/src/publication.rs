//! A stored message as clients see it, encoded at most once for each way to read it and shared by all who get it.
//! Reads: the headers and body of stored messages. Writes: nothing.
//! Never: passes on a body that is not JSON as if it were; it would break every message in the same frame.

mod stamped;
mod views;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use campana_bus::clock::Micros;
use campana_bus::stamps;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::trace::TraceParent;
use campana_bus::{HeaderMap, headers};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::encode::{self, Encoded};
use crate::proto::Protocol;
use crate::proto::protobuf::replies as wire;
use stamped::Stamped;
use views::Rare;
pub use views::{Form, View};

/// One channel of one tenant.
#[derive(Debug, PartialEq, Eq)]
pub struct ChannelKey {
    /// As clients write it.
    pub name: ChannelName,
    /// Where its messages are stored; unique across tenants.
    pub subject: String,
    /// What the node calls it in pushes to clients that take a number for a name; 0 if it has none yet.
    pub number: u64,
    /// What every push of this channel begins with, in JSON.
    push_prefix: String,
}

impl ChannelKey {
    /// The channel `name` of `tenant`.
    #[must_use]
    pub fn new(tenant: &str, name: ChannelName) -> Self {
        let subject = subjects::channel(tenant, &name);
        Self::stored(name, subject)
    }

    /// A channel, or a pattern of channels, whose messages are stored under this subject.
    pub(crate) fn stored(name: ChannelName, subject: String) -> Self {
        let push_prefix =
            format!("{{\"push\":{{\"channel\":{},\"pub\":", encode::string(name.as_str()));
        Self { name, subject, number: 0, push_prefix }
    }

    /// Whether the channel has a stream of its own.
    pub(crate) fn is_dense(&self) -> bool {
        subjects::is_dense(&self.subject)
    }

    /// Whether it stands for many channels.
    pub(crate) fn is_pattern(&self) -> bool {
        subjects::is_pattern(&self.subject)
    }

    /// The same channel with a number.
    #[must_use]
    pub fn numbered(&self, number: u64) -> Self {
        Self {
            name: self.name.clone(),
            subject: self.subject.clone(),
            number,
            push_prefix: self.push_prefix.clone(),
        }
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
    /// The channel itself, if the key is a pattern.
    channel: Option<Box<str>>,
    /// A JSON object of texts.
    tags: Option<Box<str>>,
    /// When it reached the stages of its way, if its sender asked and it comes live.
    stamped: Option<Box<Stamped>>,
    /// The whole push, one line; `None` if the body has no form in JSON.
    json: OnceLock<Option<Utf8Bytes>>,
    /// The whole push behind its length, and where the publication alone begins in it.
    protobuf: OnceLock<(Bytes, usize)>,
    /// The publication before this one: its offset and body.
    base: OnceLock<(u64, Bytes)>,
    /// Every other way to read it.
    rare: OnceLock<Box<Rare>>,
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
            channel: None,
            tags: head.and_then(|head| headers::get(head, headers::TAGS)).map(Into::into),
            stamped: None,
            json: OnceLock::new(),
            protobuf: OnceLock::new(),
            base: OnceLock::new(),
            rare: OnceLock::new(),
        }
    }

    /// The same, found by a pattern in this channel.
    #[must_use]
    pub(crate) fn of_channel(self, name: &str) -> Self {
        Self { channel: Some(name.into()), ..self }
    }

    /// The publication alone, as it stands in the list of a JSON reply.
    pub(crate) fn json_object(&self, form: Form) -> Option<Utf8Bytes> {
        let view = View { protocol: Protocol::Json, form, compact: false };
        let Encoded::Text(push) = self.shared(view)? else {
            return None;
        };
        let end = push.as_str().len().saturating_sub(PUSH_SUFFIX.len());
        let object = push.as_str().get(self.key.push_prefix.len()..end)?;
        Some(object.into())
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
        let tags = self.tags.as_deref().map_or(0, str::len);
        let tags = tags + self.stamped.as_deref().map_or(0, |_| stamped::TEXT_BYTES);
        self.key.push_prefix.len() + self.body.len() + info + tags + PUSH_OVERHEAD / 2
    }

    fn json_push(&self) -> Option<&Utf8Bytes> {
        self.json.get_or_init(|| self.encode_json(Form::Plain, false, None)).as_ref()
    }

    fn protobuf_push(&self) -> &(Bytes, usize) {
        self.protobuf.get_or_init(|| {
            encode::publication(
                self.key.name.as_str(),
                &self.to_wire(self.body.clone(), false, None),
            )
        })
    }

    /// What the publisher added, the trace and stamps; nothing of what is damaged.
    fn tags(&self, stamps: Option<&str>) -> BTreeMap<String, String> {
        let tags = self.tags.as_deref().and_then(|tags| serde_json::from_str(tags).ok());
        let mut tags: BTreeMap<String, String> = tags.unwrap_or_default();
        tags.extend(self.trace.map(|trace| ("traceparent".to_owned(), trace.to_string())));
        tags.extend(stamps.map(|stamps| (stamps::TAG.to_owned(), stamps.to_owned())));
        tags
    }

    fn to_wire(&self, data: Bytes, delta: bool, stamps: Option<&str>) -> wire::Publication {
        wire::Publication {
            data,
            info: self.info.as_deref().and_then(client_info),
            offset: self.offset,
            channel: self.channel.as_deref().unwrap_or_default().to_owned(),
            tags: self.tags(stamps),
            delta,
        }
    }
}

/// The publisher, whose own information stays JSON; nothing if it is damaged.
pub(crate) fn client_info(json: &str) -> Option<wire::ClientInfo> {
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
                serde_json::from_str(publication.json_object(Form::Plain).unwrap().as_str())
                    .unwrap();
            assert_eq!(value["push"]["channel"], "news:\"x\"");
            assert_eq!(value["push"]["pub"], object);
            assert_eq!((&object["offset"], &object["info"]["user"]), (&7.into(), &"a".into()));
            let trace = object["tags"]["traceparent"].as_str().unwrap();
            assert!(trace.contains("0af7651916cd43dd8448eb211c80319c"));
        }
        let spaced = Published::new(&key(), 1, None, b"{\"a\": 1}", None);
        assert!(
            spaced.json_object(Form::Plain).unwrap().as_str().starts_with("{\"data\":{\"a\": 1},")
        );
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
        assert_eq!(publication.push(View::plain(Protocol::Json)), None);
        assert_eq!(publication.json_object(Form::Plain), None);
        assert!(publication.push(View::plain(Protocol::Protobuf)).is_some());
    }

    #[test]
    fn damaged_information_is_left_out() {
        let mut head = HeaderMap::new();
        head.insert(headers::CLIENT_INFO, "{\"user\":");
        let publication = Published::new(&key(), 1, Some(&head), b"1", None);
        let object = publication.json_object(Form::Plain).unwrap();
        assert_eq!(object.as_str(), r#"{"data":1,"offset":1}"#);
        assert_eq!(client_info("[1]"), None);
    }
}
