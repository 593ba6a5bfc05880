//! Names of the message headers, and how they are read and written.
//! Reads: header maps. Writes: header maps. Never: panics on a hostile value.
//! CloudEvents attributes follow the NATS binding of CloudEvents 1.0 (`ce-` prefix), trace context W3C.

use std::str::FromStr;

use async_nats::header::IntoHeaderName;
use async_nats::{HeaderMap, HeaderValue};

use crate::clock::Micros;
use crate::contract::percent_encode;
use crate::trace::TraceParent;

/// CloudEvents `id`.
pub const CE_ID: &str = "ce-id";
/// CloudEvents `type`.
pub const CE_TYPE: &str = "ce-type";
/// CloudEvents `source`.
pub const CE_SOURCE: &str = "ce-source";
/// CloudEvents `time`, RFC 3339.
pub const CE_TIME: &str = "ce-time";
/// CloudEvents `specversion`.
pub const CE_SPECVERSION: &str = "ce-specversion";
/// CloudEvents `datacontenttype`, as the NATS binding names it.
pub const CE_DATACONTENTTYPE: &str = "ce-datacontenttype";
/// CloudEvents `subject`.
pub const CE_SUBJECT: &str = "ce-subject";
/// CloudEvents `dataschema`.
pub const CE_DATASCHEMA: &str = "ce-dataschema";
/// The body's media type. It says whether a CloudEvent is structured, and tells clients that know no
/// CloudEvents (and SDKs that follow the HTTP binding) what a body is.
pub const CONTENT_TYPE: &str = "content-type";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Attempts that were made before this copy of a message was published.
pub const ATTEMPT_BASE: &str = "Campana-Attempt-Base";
/// How often a message was redriven from the dead letters.
pub const REDRIVE_COUNT: &str = "Campana-Redrive-Count";
/// The redrive job that gave a message back.
pub const REDRIVE_JOB: &str = "Campana-Redrive-Job";
/// The `traceparent` of the life before a redrive, which starts a trace of its own.
pub const REDRIVEN_FROM_TRACE: &str = "Campana-Redriven-From-Trace";
/// SHA-256 of the body before an operator edited it, in lower-case hexadecimal.
pub const EDITED_FROM: &str = "Campana-Edited-From-SHA256";
/// Why an operator edited the body.
pub const EDIT_NOTE: &str = "Campana-Edit-Note";
/// When an attempt at a message failed for the first time, RFC 3339.
pub const FIRST_FAILURE: &str = "Campana-First-Failure-At";
/// The subject on which a message was first published.
pub const ORIGINAL_SUBJECT: &str = "Campana-Original-Subject";
/// The message id that a message was first published with.
pub const ORIGINAL_MESSAGE_ID: &str = "Campana-Original-Msg-Id";
/// Present on an envelope: how many parts it has.
pub const ENVELOPE_PARTS: &str = "Campana-Envelope-Parts";
/// Tags of a channel message, which subscribers see: a JSON object of texts.
pub const TAGS: &str = "Campana-Tags";
/// Who published a channel message: the ClientInfo that subscribers see, as JSON.
pub const CLIENT_INFO: &str = "Campana-Info";
/// The ordering key: messages that share it are handled in order by consumers that keep order.
pub const KEY: &str = "Campana-Key";
/// Set on a message that may be the repeat of one that was stored (and handled) before.
pub const REPEAT: &str = "Campana-Repeat";

/// Names a recurring schedule; with the time of the firing it is the id of each copy.
pub const SCHEDULE_ID: &str = "Campana-Schedule-Id";
/// When a scheduled message was due, RFC 3339; only on schedules that fire once.
pub const SCHEDULE_DUE: &str = "Campana-Schedule-Due";
/// How a recurring schedule repeats: `@every 30s` or a cron expression, then a time zone if there is one.
pub const SCHEDULE_RECURS: &str = "Campana-Schedule-Recurs";
/// When the message reached each stage of its way; see [`crate::stamps`].
pub const STAMPS: &str = "Campana-Stamps";
/// Until when the caller of a service waits for the answer, RFC 3339.
pub const DEADLINE: &str = "Campana-Deadline";

/// Sets a header; a value that the protocol cannot carry (line breaks) is left out, because a header must
/// never be able to forge another one.
pub fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Up to so many headers are looked through one by one: for the map, the name would first be copied and hashed.
const SCANNED_MAX: usize = 16;

/// The first value of a header.
#[must_use]
pub fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    if headers.len() > SCANNED_MAX {
        return headers.get(name).map(HeaderValue::as_str);
    }
    let found = headers.iter().find(|(other, _)| {
        let other: &str = (*other).as_ref();
        other == name
    });
    found.and_then(|(_, values)| values.first()).map(HeaderValue::as_str)
}

/// The first value of a header whose name other writers may have spelt in another case.
#[must_use]
pub fn get_any_case<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(other, _)| {
        let other: &str = (*other).as_ref();
        other.eq_ignore_ascii_case(name)
    });
    found.and_then(|(_, values)| values.first()).map(HeaderValue::as_str)
}

/// Sets a header to a CloudEvents attribute: percent-encoded, so that no value can be refused or forge another.
pub(crate) fn set_attribute(headers: &mut HeaderMap, name: impl IntoHeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(&percent_encode(value)) {
        headers.insert(name, value);
    }
}

/// A header that holds a number; anything else counts as absent.
#[must_use]
pub fn get_number<T: FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    get(headers, name)?.trim().parse().ok()
}

/// The id by which a stored message is known: the one it was published with, the one that its first copy was
/// published with, or that of one firing of a recurring schedule.
#[must_use]
pub fn message_id(headers: &HeaderMap) -> Option<String> {
    get(headers, "Nats-Msg-Id")
        .or_else(|| get(headers, ORIGINAL_MESSAGE_ID))
        .map(str::to_owned)
        .or_else(|| crate::schedule::message_id(headers))
}

/// The trace context of a message.
#[must_use]
pub fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(get(headers, TRACEPARENT)?)
}

/// Sets the CloudEvents attributes of a JSON body, and the trace context.
pub fn set_event(
    headers: &mut HeaderMap,
    id: &str,
    event_type: &str,
    source: &str,
    at: Micros,
    trace: Option<TraceParent>,
) {
    set_attribute(headers, CE_ID, id);
    set_attribute(headers, CE_TYPE, event_type);
    set_attribute(headers, CE_SOURCE, source);
    set(headers, CE_SPECVERSION, "1.0");
    set(headers, CE_TIME, &at.to_rfc3339());
    set(headers, CE_DATACONTENTTYPE, "application/json");
    set(headers, CONTENT_TYPE, "application/json");
    if let Some(trace) = trace {
        set(headers, TRACEPARENT, &trace.to_string());
    }
}

/// The headers of a copy of a message: all of them, except those that would steer the server again.
#[must_use]
pub fn without_control(headers: &HeaderMap) -> HeaderMap {
    let mut copy = without(headers, |name| name.starts_with("nats-"));
    if get(&copy, ORIGINAL_MESSAGE_ID).is_none()
        && let Some(id) = message_id(headers)
    {
        set(&mut copy, ORIGINAL_MESSAGE_ID, &id);
    }
    copy
}

/// The headers whose lower-case name is not unwanted.
#[must_use]
pub fn without(headers: &HeaderMap, unwanted: impl Fn(&str) -> bool) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, values) in headers.iter() {
        let text: &str = name.as_ref();
        if unwanted(&text.to_ascii_lowercase()) {
            continue;
        }
        for value in values {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_line_break_is_left_out() {
        let mut headers = HeaderMap::new();
        set(&mut headers, CE_ID, "a\r\nNats-Rollup: all");
        assert_eq!(get(&headers, CE_ID), None);
    }

    #[test]
    fn attributes_are_percent_encoded() {
        let mut headers = HeaderMap::new();
        set_event(&mut headers, "Zo\u{eb} \"1\"\r\nX: 1", "a.b.v1", "/a", Micros(0), None);
        assert_eq!(get(&headers, CE_ID), Some("Zo%C3%AB%20%221%22%0D%0AX:%201"));
        assert_eq!(get(&headers, CE_TYPE), Some("a.b.v1"));
        assert_eq!(get_any_case(&headers, "Content-Type"), Some("application/json"));
    }

    #[test]
    fn copies_keep_everything_but_control_headers() {
        let mut headers = HeaderMap::new();
        headers.append("X-Many", "1");
        headers.append("X-Many", "2");
        headers.insert("Nats-Msg-Id", "m1");
        headers.insert("Nats-TTL", "5s");
        let copy = without_control(&headers);
        assert_eq!(copy.get_all("X-Many").count(), 2);
        assert_eq!(get(&copy, "Nats-TTL"), None);
        assert_eq!(get(&copy, "Nats-Msg-Id"), None);
        assert_eq!(get(&copy, ORIGINAL_MESSAGE_ID), Some("m1"));
    }
}
