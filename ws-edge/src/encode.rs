//! What clients are sent, as one line of JSON each.
//! Reads: results. Writes: text. Never: re-encodes a payload; raw JSON is copied as it is.
//! Written by hand rather than by derive, because most of a line is a payload that is ready already.

use std::fmt::Write as _;

use axum::extract::ws::Utf8Bytes;

use crate::codes::{ReplyError, Unsubscribe};
use crate::publication::Published;

/// The ping; also the one line that has neither an id nor a push.
pub(crate) const PING: &str = "{}";

/// Text as a JSON string.
pub(crate) fn string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

/// Raw JSON on one line: a line break in JSON is white space, and lines separate messages.
pub(crate) fn single_line(json: &str) -> std::borrow::Cow<'_, str> {
    if json.contains(['\n', '\r']) {
        std::borrow::Cow::Owned(json.replace(['\n', '\r'], " "))
    } else {
        std::borrow::Cow::Borrowed(json)
    }
}

pub(crate) fn error(id: u32, error: ReplyError) -> Utf8Bytes {
    let temporary = if error.temporary { ",\"temporary\":true" } else { "" };
    let message = string(error.message);
    format!(
        "{{\"id\":{id},\"error\":{{\"code\":{},\"message\":{message}{temporary}}}}}",
        error.code
    )
    .into()
}

/// A result that says no more than that it worked.
pub(crate) fn empty(id: u32, method: &str) -> Utf8Bytes {
    format!("{{\"id\":{id},\"{method}\":{{}}}}").into()
}

pub(crate) fn unsubscribe_push(channel: &str, why: Unsubscribe) -> Utf8Bytes {
    let (channel, reason) = (string(channel), string(why.reason));
    format!(
        "{{\"push\":{{\"channel\":{channel},\"unsubscribe\":{{\"code\":{},\"reason\":{reason}}}}}}}",
        why.code
    )
    .into()
}

/// The result of a subscription, in a subscribe reply or inside a connect reply.
#[derive(Debug, Default)]
pub(crate) struct SubscribeResult<'a> {
    pub(crate) recoverable: bool,
    pub(crate) positioned: bool,
    pub(crate) epoch: &'a str,
    pub(crate) offset: u64,
    /// `Some` if a recovery was attempted: whether it worked.
    pub(crate) recovered: Option<bool>,
    pub(crate) publications: &'a [std::sync::Arc<Published>],
    /// Seconds until the subscription must be refreshed.
    pub(crate) ttl: Option<i64>,
    pub(crate) data: Option<&'a str>,
}

impl SubscribeResult<'_> {
    pub(crate) fn write(&self, out: &mut String) {
        out.push('{');
        if self.positioned {
            let epoch = string(self.epoch);
            let _ =
                write!(out, "\"positioned\":true,\"epoch\":{epoch},\"offset\":{},", self.offset);
        }
        if self.recoverable {
            out.push_str("\"recoverable\":true,");
        }
        if let Some(recovered) = self.recovered {
            let _ = write!(out, "\"was_recovering\":true,\"recovered\":{recovered},");
        }
        if !self.publications.is_empty() {
            publications(out, self.publications);
            out.push(',');
        }
        ttl(out, self.ttl);
        if let Some(data) = self.data {
            let _ = write!(out, "\"data\":{data},");
        }
        close_object(out);
    }

    pub(crate) fn reply(&self, id: u32) -> Utf8Bytes {
        let mut out = format!("{{\"id\":{id},\"subscribe\":");
        self.write(&mut out);
        out.push('}');
        out.into()
    }
}

/// The result of a connect command.
pub(crate) struct ConnectResult<'a> {
    pub(crate) client: &'a str,
    pub(crate) version: &'a str,
    pub(crate) ttl: Option<i64>,
    pub(crate) ping_seconds: u64,
    /// Channel and encoded [`SubscribeResult`].
    pub(crate) subs: &'a [(String, String)],
}

impl ConnectResult<'_> {
    pub(crate) fn reply(&self, id: u32) -> Utf8Bytes {
        let mut out = format!(
            "{{\"id\":{id},\"connect\":{{\"client\":{},\"version\":{},",
            string(self.client),
            string(self.version)
        );
        ttl(&mut out, self.ttl);
        if !self.subs.is_empty() {
            out.push_str("\"subs\":{");
            for (at, (channel, result)) in self.subs.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                let _ = write!(out, "{comma}{}:{result}", string(channel));
            }
            out.push_str("},");
        }
        let _ = write!(out, "\"ping\":{},\"pong\":true}}}}", self.ping_seconds);
        out.into()
    }
}

/// The result of a refresh or sub_refresh command.
pub(crate) fn refreshed(
    id: u32,
    method: &str,
    client: Option<(&str, &str)>,
    left: Option<i64>,
) -> Utf8Bytes {
    let mut out = format!("{{\"id\":{id},\"{method}\":{{");
    if let Some((client, version)) = client {
        let _ = write!(out, "\"client\":{},\"version\":{},", string(client), string(version));
    }
    ttl(&mut out, left);
    close_object(&mut out);
    out.push('}');
    out.into()
}

pub(crate) fn history(
    id: u32,
    found: &[std::sync::Arc<Published>],
    offset: u64,
    epoch: &str,
) -> Utf8Bytes {
    let mut out = format!("{{\"id\":{id},\"history\":{{");
    publications(&mut out, found);
    let _ = write!(out, ",\"offset\":{offset},\"epoch\":{}}}}}", string(epoch));
    out.into()
}

fn publications(out: &mut String, list: &[std::sync::Arc<Published>]) {
    out.push_str("\"publications\":[");
    for (at, publication) in list.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(publication.object());
    }
    out.push(']');
}

fn ttl(out: &mut String, ttl: Option<i64>) {
    if let Some(ttl) = ttl {
        let _ = write!(out, "\"expires\":true,\"ttl\":{},", ttl.max(1));
    }
}

/// Ends an object whose members each left a comma behind.
fn close_object(out: &mut String) {
    if out.ends_with(',') {
        out.pop();
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::{error as codes, unsubscribe};

    #[test]
    fn replies_have_the_members_that_clients_index() {
        assert_eq!(empty(3, "unsubscribe").as_str(), r#"{"id":3,"unsubscribe":{}}"#);
        assert_eq!(
            error(7, codes::INTERNAL).as_str(),
            r#"{"id":7,"error":{"code":100,"message":"internal server error","temporary":true}}"#
        );
        assert_eq!(
            unsubscribe_push("a\"b", unsubscribe::INSUFFICIENT_STATE).as_str(),
            r#"{"push":{"channel":"a\"b","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#
        );
        assert_eq!(SubscribeResult::default().reply(2).as_str(), r#"{"id":2,"subscribe":{}}"#);
        assert_eq!(refreshed(4, "refresh", None, None).as_str(), r#"{"id":4,"refresh":{}}"#);
        assert_eq!(
            history(5, &[], 9, "e").as_str(),
            r#"{"id":5,"history":{"publications":[],"offset":9,"epoch":"e"}}"#
        );
    }

    #[test]
    fn a_connect_reply_is_json() {
        let result = SubscribeResult {
            recoverable: true,
            positioned: true,
            epoch: "e",
            offset: 4,
            recovered: Some(true),
            ttl: Some(0),
            data: Some("{\"a\":1}"),
            ..SubscribeResult::default()
        };
        let mut encoded = String::new();
        result.write(&mut encoded);
        let subs = [("inbox:#a".to_owned(), encoded)];
        let reply = ConnectResult {
            client: "c",
            version: "v",
            ttl: Some(60),
            ping_seconds: 25,
            subs: &subs,
        }
        .reply(1);
        let value: serde_json::Value = serde_json::from_str(reply.as_str()).unwrap();
        assert_eq!(value["connect"]["ping"], 25);
        assert_eq!(value["connect"]["ttl"], 60);
        let sub = &value["connect"]["subs"]["inbox:#a"];
        assert_eq!(
            (&sub["offset"], &sub["recovered"], &sub["ttl"]),
            (&4.into(), &true.into(), &1.into())
        );
    }
}
