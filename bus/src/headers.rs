//! Names of the message headers, and how they are read and written.
//! Reads: header maps. Writes: header maps. Never: panics on a hostile value.
//! CloudEvents attributes follow the NATS binding of CloudEvents 1.0 (`ce-` prefix), trace context W3C.

use std::str::FromStr;

use async_nats::{HeaderMap, HeaderValue};

use crate::clock::Micros;
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
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Attempts that were made before this copy of a message was published.
pub const ATTEMPT_BASE: &str = "Campana-Attempt-Base";
/// How often a message was redriven from the dead letters.
pub const REDRIVE_COUNT: &str = "Campana-Redrive-Count";
/// The subject on which a message was first published.
pub const ORIGINAL_SUBJECT: &str = "Campana-Original-Subject";
/// The message id that a message was first published with.
pub const ORIGINAL_MESSAGE_ID: &str = "Campana-Original-Msg-Id";
/// Present on an envelope: how many parts it has.
pub const ENVELOPE_PARTS: &str = "Campana-Envelope-Parts";
/// Who published a channel message: the ClientInfo that subscribers see, as JSON.
pub const CLIENT_INFO: &str = "Campana-Info";
/// Set on a message that may be the repeat of one that was stored (and handled) before.
pub const REPEAT: &str = "Campana-Repeat";

/// Sets a header; a value that the protocol cannot carry (line breaks) is left out, because a header must
/// never be able to forge another one.
pub fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The first value of a header.
#[must_use]
pub fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(HeaderValue::as_str)
}

/// A header that holds a number; anything else counts as absent.
#[must_use]
pub fn get_number<T: FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    get(headers, name)?.trim().parse().ok()
}

/// The trace context of a message.
#[must_use]
pub fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(get(headers, TRACEPARENT)?)
}

/// Sets the CloudEvents attributes and the trace context.
pub fn set_event(
    headers: &mut HeaderMap,
    id: &str,
    event_type: &str,
    source: &str,
    at: Micros,
    trace: Option<TraceParent>,
) {
    set(headers, CE_ID, id);
    set(headers, CE_TYPE, event_type);
    set(headers, CE_SOURCE, source);
    set(headers, CE_SPECVERSION, "1.0");
    set(headers, CE_TIME, &at.to_rfc3339());
    if let Some(trace) = trace {
        set(headers, TRACEPARENT, &trace.to_string());
    }
}

/// The headers of a copy of a message: all of them, except those that would steer the server again.
#[must_use]
pub fn without_control(headers: &HeaderMap) -> HeaderMap {
    let mut copy = without(headers, |name| name.starts_with("nats-"));
    if get(&copy, ORIGINAL_MESSAGE_ID).is_none()
        && let Some(id) = get(headers, "Nats-Msg-Id")
    {
        let id = id.to_owned();
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
