//! A stored message as clients see it, encoded once and shared by all who get it.
//! Reads: the headers and body of stored messages. Writes: nothing.
//! Never: passes on a body that is not JSON as it is; it would break every message in the same frame.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use campana_bus::clock::Micros;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::{HeaderMap, headers};
use serde_json::value::RawValue;

use crate::encode;

/// One channel of one tenant.
#[derive(Debug, PartialEq, Eq)]
pub struct ChannelKey {
    /// As clients write it.
    pub name: ChannelName,
    /// Where its messages are stored; unique across tenants.
    pub subject: String,
    /// What every push of this channel begins with.
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

/// A publication, encoded as the push that clients get.
#[derive(Debug)]
pub struct Published {
    /// Its channel.
    pub key: Arc<ChannelKey>,
    /// The stream's sequence.
    pub offset: u64,
    /// When the stream stored it, if known.
    pub stored_at: Option<Micros>,
    /// The whole push, one line.
    pub push: Utf8Bytes,
}

/// What follows the publication's object in a push.
const PUSH_SUFFIX: &str = "}}";

impl Published {
    /// Encodes a stored message.
    #[must_use]
    pub fn new(
        key: &Arc<ChannelKey>,
        offset: u64,
        head: Option<&HeaderMap>,
        body: &[u8],
        stored_at: Option<Micros>,
    ) -> Self {
        let mut push = String::with_capacity(key.push_prefix.len() + body.len() + 128);
        push.push_str(&key.push_prefix);
        push.push_str("{\"data\":");
        push_json(&mut push, body);
        if let Some(info) = head
            .and_then(|head| headers::get(head, headers::CLIENT_INFO))
            .filter(|info| is_json(info))
        {
            push.push_str(",\"info\":");
            push.push_str(&encode::single_line(info));
        }
        push.push_str(&format!(",\"offset\":{offset}"));
        if let Some(trace) = head.and_then(headers::trace) {
            push.push_str(&format!(",\"tags\":{{\"traceparent\":\"{trace}\"}}"));
        }
        push.push('}');
        push.push_str(PUSH_SUFFIX);
        Self { key: Arc::clone(key), offset, stored_at, push: push.into() }
    }

    /// The publication alone, as it stands in the list of a reply.
    #[must_use]
    pub fn object(&self) -> &str {
        let end = self.push.as_str().len() - PUSH_SUFFIX.len();
        &self.push.as_str()[self.key.push_prefix.len()..end]
    }

    /// What it costs to keep in a queue.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.push.as_str().len()
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The body as JSON; a body that is not JSON becomes a string, so that nothing is lost.
fn push_json(out: &mut String, body: &[u8]) {
    match serde_json::from_slice::<&RawValue>(body) {
        Ok(raw) => out.push_str(&encode::single_line(raw.get())),
        Err(_) => out.push_str(&encode::string(&String::from_utf8_lossy(body))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Arc<ChannelKey> {
        Arc::new(ChannelKey::new("t", ChannelName::parse("news:\"x\"").unwrap()))
    }

    #[test]
    fn a_push_is_one_line_of_json_whatever_the_body() {
        let mut head = HeaderMap::new();
        head.insert(headers::CLIENT_INFO, "{\"user\":\"a\"}");
        head.insert(
            headers::TRACEPARENT,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        );
        for body in ["{\"a\":1}", "{\n\"a\":\r\n1}", "", "not json", "\u{fffd}", "[1,2", "null"] {
            let publication = Published::new(&key(), 7, Some(&head), body.as_bytes(), None);
            assert!(!publication.push.as_str().contains('\n'));
            let value: serde_json::Value = serde_json::from_str(publication.push.as_str()).unwrap();
            let object: serde_json::Value = serde_json::from_str(publication.object()).unwrap();
            assert_eq!(value["push"]["channel"], "news:\"x\"");
            assert_eq!(value["push"]["pub"], object);
            assert_eq!((&object["offset"], &object["info"]["user"]), (&7.into(), &"a".into()));
            assert!(
                object["tags"]["traceparent"]
                    .as_str()
                    .unwrap()
                    .contains("0af7651916cd43dd8448eb211c80319c")
            );
        }
        assert!(
            Published::new(&key(), 1, None, b"{\"a\": 1}", None)
                .object()
                .starts_with("{\"data\":{\"a\": 1},")
        );
    }

    #[test]
    fn damaged_information_is_left_out() {
        let mut head = HeaderMap::new();
        head.insert(headers::CLIENT_INFO, "{\"user\":");
        assert_eq!(
            Published::new(&key(), 1, Some(&head), b"1", None).object(),
            r#"{"data":1,"offset":1}"#
        );
    }
}
