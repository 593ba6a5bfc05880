//! What clients are sent, as one line of JSON each.
//! Reads: results. Writes: text. Never: re-encodes a payload; raw JSON is copied as it is.
//! Written by hand rather than by derive, because most of a line is a payload that is ready already.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{ConnectResult, Encoded, NotJson, Plain, SubscribeResult};
use crate::codes::Unsubscribe;
use crate::publication::{Form, Published};
use crate::session::Address;

pub(super) const PING: &str = "{}";

/// Text as a JSON string.
pub(crate) fn string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

/// Raw JSON on one line: a line break in JSON is white space, and lines separate messages.
pub(crate) fn single_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) {
        Cow::Owned(json.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(json)
    }
}

/// A payload as JSON: JSON is taken as it is, other text becomes a string, so that nothing is lost. Bytes that
/// are no text have no form in JSON.
pub(crate) fn payload(body: &[u8]) -> Result<Cow<'_, str>, NotJson> {
    if let Ok(raw) = serde_json::from_slice::<&RawValue>(body) {
        return Ok(single_line(raw.get()));
    }
    let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
    Ok(Cow::Owned(string(text)))
}

pub(super) fn error(id: u32, code: u32, message: &str, temporary: bool) -> Encoded {
    let temporary = if temporary { ",\"temporary\":true" } else { "" };
    let message = string(message);
    format!("{{\"id\":{id},\"error\":{{\"code\":{code},\"message\":{message}{temporary}}}}}").into()
}

pub(super) fn plain(id: u32, what: Plain) -> Encoded {
    let method = match what {
        Plain::Unsubscribe => "unsubscribe",
        Plain::Publish => "publish",
        Plain::Ping => "ping",
    };
    format!("{{\"id\":{id},\"{method}\":{{}}}}").into()
}

pub(super) fn unsubscribe_push(channel: &str, why: Unsubscribe) -> Encoded {
    let (channel, reason) = (string(channel), string(why.reason));
    format!(
        "{{\"push\":{{\"channel\":{channel},\"unsubscribe\":{{\"code\":{},\"reason\":{reason}}}}}}}",
        why.code
    )
    .into()
}

fn write_subscribed(out: &mut String, result: &SubscribeResult<'_>) -> Result<(), NotJson> {
    out.push('{');
    if result.positioned {
        let epoch = string(result.epoch);
        let _ = write!(out, "\"positioned\":true,\"epoch\":{epoch},\"offset\":{},", result.offset);
    }
    if result.recoverable {
        out.push_str("\"recoverable\":true,");
    }
    if let Some(recovered) = result.recovered {
        let _ = write!(out, "\"was_recovering\":true,\"recovered\":{recovered},");
    }
    if !result.publications.is_empty() {
        let form = if result.delta { Form::Whole } else { Form::Plain };
        publications(out, result.publications, form)?;
        out.push(',');
    }
    if result.delta {
        out.push_str("\"delta\":true,");
    }
    if result.number > 0 {
        let _ = write!(out, "\"id\":{},", result.number);
    }
    ttl(out, result.ttl);
    if let Some(data) = result.data {
        let _ = write!(out, "\"data\":{},", single_line(data));
    }
    close_object(out);
    Ok(())
}

pub(super) fn subscribed(result: &SubscribeResult<'_>, id: u32) -> Result<Encoded, NotJson> {
    let mut out = format!("{{\"id\":{id},\"subscribe\":");
    write_subscribed(&mut out, result)?;
    out.push('}');
    Ok(out.into())
}

pub(super) fn connected(result: &ConnectResult<'_>, id: u32) -> Result<Encoded, NotJson> {
    let mut out = format!(
        "{{\"id\":{id},\"connect\":{{\"client\":{},\"version\":{},",
        string(result.client),
        string(result.version)
    );
    ttl(&mut out, result.ttl);
    if let Some(data) = result.data {
        let _ = write!(out, "\"data\":{data},");
    }
    if !result.subs.is_empty() {
        out.push_str("\"subs\":{");
        for (at, (channel, subscribed)) in result.subs.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(out, "{comma}{}:", string(channel));
            write_subscribed(&mut out, subscribed)?;
        }
        out.push_str("},");
    }
    if result.ping_seconds > 0 {
        let _ = write!(out, "\"ping\":{},", result.ping_seconds);
    }
    if result.pong {
        out.push_str("\"pong\":true,");
    }
    if let Some(Address { session, node }) = result.address {
        let _ = write!(out, "\"session\":{},\"node\":{},", string(session), string(node));
    }
    close_object(&mut out);
    out.push('}');
    Ok(out.into())
}

pub(super) fn refreshed(id: u32, client: &str, version: &str, left: Option<i64>) -> Encoded {
    let (client, version) = (string(client), string(version));
    let mut out = format!("{{\"id\":{id},\"refresh\":{{\"client\":{client},\"version\":{version},");
    ttl(&mut out, left);
    close_object(&mut out);
    out.push('}');
    out.into()
}

pub(super) fn sub_refreshed(id: u32, left: Option<i64>) -> Encoded {
    let mut out = format!("{{\"id\":{id},\"sub_refresh\":{{");
    ttl(&mut out, left);
    close_object(&mut out);
    out.push('}');
    out.into()
}

pub(super) fn history(
    id: u32,
    found: &[Arc<Published>],
    offset: u64,
    epoch: &str,
) -> Result<Encoded, NotJson> {
    let mut out = format!("{{\"id\":{id},\"history\":{{");
    publications(&mut out, found, Form::Plain)?;
    let _ = write!(out, ",\"offset\":{offset},\"epoch\":{}}}}}", string(epoch));
    Ok(out.into())
}

pub(super) fn called(id: u32, data: &[u8]) -> Result<Encoded, NotJson> {
    let mut out = format!("{{\"id\":{id},\"rpc\":{{");
    if !data.is_empty() {
        let _ = write!(out, "\"data\":{}", payload(data)?);
    }
    out.push_str("}}");
    Ok(out.into())
}

fn publications(out: &mut String, list: &[Arc<Published>], form: Form) -> Result<(), NotJson> {
    out.push_str("\"publications\":[");
    for (at, publication) in list.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(publication.json_object(form).ok_or(NotJson)?.as_str());
    }
    out.push(']');
    Ok(())
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
    use crate::codes::unsubscribe;

    fn text(encoded: &Encoded) -> &str {
        let Encoded::Text(text) = encoded else { panic!("{encoded:?}") };
        text.as_str()
    }

    #[test]
    fn replies_have_the_members_that_clients_index() {
        assert_eq!(text(&plain(3, Plain::Unsubscribe)), r#"{"id":3,"unsubscribe":{}}"#);
        assert_eq!(
            text(&error(7, 100, "internal server error", true)),
            r#"{"id":7,"error":{"code":100,"message":"internal server error","temporary":true}}"#
        );
        assert_eq!(
            text(&unsubscribe_push("a\"b", unsubscribe::INSUFFICIENT_STATE)),
            r#"{"push":{"channel":"a\"b","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#
        );
        assert_eq!(
            text(&subscribed(&SubscribeResult::default(), 2).unwrap()),
            r#"{"id":2,"subscribe":{}}"#
        );
        assert_eq!(text(&sub_refreshed(4, None)), r#"{"id":4,"sub_refresh":{}}"#);
        assert_eq!(text(&called(4, b"").unwrap()), r#"{"id":4,"rpc":{}}"#);
        assert_eq!(text(&called(4, b"{\n}").unwrap()), r#"{"id":4,"rpc":{"data":{ }}}"#);
        assert_eq!(text(&called(4, b"pong").unwrap()), r#"{"id":4,"rpc":{"data":"pong"}}"#);
        assert_eq!(called(4, &[0xff]), Err(NotJson));
        assert_eq!(
            text(&history(5, &[], 9, "e").unwrap()),
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
        let subs = [("inbox:#a", result)];
        let connect = ConnectResult {
            client: "c",
            version: "v",
            ttl: Some(60),
            data: Some("{\"a\":1}"),
            ping_seconds: 25,
            pong: true,
            address: None,
            subs: &subs,
        };
        let reply = connected(&connect, 1).unwrap();
        let value: serde_json::Value = serde_json::from_str(text(&reply)).unwrap();
        assert_eq!(value["connect"]["ping"], 25);
        assert_eq!(value["connect"]["ttl"], 60);
        assert_eq!(value["connect"]["data"]["a"], 1);
        let sub = &value["connect"]["subs"]["inbox:#a"];
        assert_eq!(
            (&sub["offset"], &sub["recovered"], &sub["ttl"]),
            (&4.into(), &true.into(), &1.into())
        );
    }
}
