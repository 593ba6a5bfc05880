//! Stage stamps of a live publication: what its message brought, and the edge's own two.
//! Reads: headers. Writes: texts. Never: stamps a channel of many, or what is read from the stream later.
//!
//! The last stamp is of the moment in which one connection's push is encoded, so such a push is encoded for each
//! connection. Sessions read no clock: the publication brings the one to ask, and in a test that may be any.

use campana_bus::HeaderMap;
use campana_bus::clock::Tick;
use campana_bus::stamps::{Stage, Stamps};

use super::Published;

/// What a personal channel's name has, and none that many people read.
const PERSONAL: char = '#';

/// What a push is larger for its stamps, roughly.
pub(super) const TEXT_BYTES: usize = 192;

/// The stamps so far, and where the time of the last one comes from.
#[derive(Debug)]
pub(super) struct Stamped {
    stamps: Stamps,
    clock: fn() -> Tick,
}

impl Stamped {
    /// The text for one connection, now.
    pub(super) fn text(&self) -> String {
        self.stamps.with(Stage::Socket, (self.clock)()).to_string()
    }
}

impl Published {
    /// The same, as it comes live: with stamps, if its message has any and its channel is one person's. Elsewhere
    /// a publisher could have a push encoded a thousand times.
    #[must_use]
    pub(crate) fn live(mut self, head: &HeaderMap, clock: fn() -> Tick) -> Self {
        let stamps = Stamps::of(head).filter(|_| self.key.name.rest().contains(PERSONAL));
        self.stamped = stamps
            .map(|stamps| Box::new(Stamped { stamps: stamps.with(Stage::Edge, clock()), clock }));
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use campana_bus::headers::{STAMPS, TRACEPARENT};
    use campana_bus::stamps::TAG;
    use campana_bus::subjects::ChannelName;
    use prost::Message as _;
    use serde_json::Value;

    use super::*;
    use crate::encode::Encoded;
    use crate::proto::Protocol;
    use crate::proto::protobuf::replies as wire;
    use crate::publication::{ChannelKey, Form, View};

    const SENT: &str = "boot=00000001;accepted=10;dispatched=20";

    /// A clock that is one nanosecond later with every look.
    fn clock() -> Tick {
        static NOW: AtomicU64 = AtomicU64::new(1_000);
        Tick { boot: 1, ns: NOW.fetch_add(1, Relaxed) }
    }

    fn published(channel: &str, stamps: Option<&str>) -> Published {
        let key = ChannelKey::new("t", ChannelName::parse(channel).unwrap()).numbered(7);
        let mut head = HeaderMap::new();
        if let Some(stamps) = stamps {
            head.insert(STAMPS, stamps);
        }
        head.insert(TRACEPARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        Published::new(&Arc::new(key), 3, Some(&head), b"{\"a\":1}", None).live(&head, clock)
    }

    fn tags(publication: &Published, view: View) -> Value {
        match publication.push(view).unwrap() {
            Encoded::Text(text) => {
                let push: Value = serde_json::from_str(text.as_str()).unwrap();
                assert_eq!(push["push"]["pub"]["data"]["a"], 1);
                push["push"]["pub"]["tags"].clone()
            }
            Encoded::Binary(bytes) => {
                let reply = wire::Reply::decode_length_delimited(bytes).unwrap();
                let object = reply.push.unwrap().publication.unwrap();
                let object = wire::Publication::decode(object).unwrap();
                assert_eq!(object.data.as_ref(), b"{\"a\":1}");
                serde_json::to_value(object.tags).unwrap()
            }
        }
    }

    #[test]
    fn every_connection_gets_a_stamp_of_its_own_in_every_view() {
        let publication = published("inbox:#alice", Some(SENT));
        let mut before = 0;
        for protocol in [Protocol::Json, Protocol::Protobuf] {
            for compact in [false, true] {
                let tags = tags(&publication, View { protocol, form: Form::Plain, compact });
                assert!(tags["traceparent"].is_string(), "{tags}");
                let stamps = Stamps::parse(tags[TAG].as_str().unwrap()).unwrap();
                assert_eq!(stamps.get(Stage::Dispatched), Some(20));
                let socket = stamps.get(Stage::Socket).unwrap();
                assert!(stamps.get(Stage::Edge).unwrap() < socket && before < socket, "{stamps}");
                before = socket;
            }
        }
    }

    #[test]
    fn what_is_read_again_has_none() {
        let publication = published("inbox:#alice", Some(SENT));
        let object = publication.json_object(Form::Plain).unwrap();
        assert!(!object.as_str().contains(TAG), "{object:?}");
        let object = wire::Publication::decode(publication.protobuf_object()).unwrap();
        assert!(object.tags.contains_key("traceparent") && !object.tags.contains_key(TAG));
    }

    #[test]
    fn channels_of_many_and_hostile_stamps_are_pushed_without() {
        for (channel, stamps) in [
            ("news:all", Some(SENT)),
            ("news", Some(SENT)),
            ("inbox:#alice", None),
            ("inbox:#alice", Some("1")),
            ("inbox:#alice", Some("boot=zz;accepted=1")),
            ("inbox:#alice", Some(&"boot=00000001;accepted=1;".repeat(50)[..])),
        ] {
            let publication = published(channel, stamps);
            assert!(publication.stamped.is_none(), "{channel} {stamps:?}");
            assert!(tags(&publication, View::plain(Protocol::Json)).get(TAG).is_none());
        }
        // A forged stamp of the edge's own stages is replaced, and one of another machine stays alone.
        let forged = published("inbox:#alice", Some("boot=00000001;accepted=1;edge=2;socket=3"));
        let text = tags(&forged, View::plain(Protocol::Json))[TAG].as_str().unwrap().to_owned();
        assert!(Stamps::parse(&text).unwrap().get(Stage::Edge).unwrap() >= 1_000, "{text}");
        let foreign = published("inbox:#alice", Some("boot=00000002;accepted=1"));
        let tags = tags(&foreign, View::plain(Protocol::Protobuf));
        assert_eq!(tags[TAG], "boot=00000002;accepted=1");
    }
}
