//! Pure: a stored message becomes the request to the app.
//! Reads: a message and what is known about it. Writes: headers and a body. Never: hands a header of the
//! bus's own machinery to the app.

use base64::Engine;
use bytes::Bytes;
use campana_bus::consume::Meta;
use campana_bus::trace::TraceParent;
use campana_bus::{headers, subjects};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{STRUCTURED, decode, encode, essence, is_json};
use crate::declare::Mode;

/// What the sidecar adds to a message.
#[derive(Clone, Debug)]
pub struct Handover<'a> {
    /// Names this delivery for explicit answers.
    pub id: &'a str,
    /// Which subscription it is for.
    pub subscription: &'a str,
    /// The hop of the trace that is the app's.
    pub trace: Option<TraceParent>,
}

/// The stored subject of a message, also when this is a copy that came back.
fn origin(meta: &Meta) -> Option<subjects::AppEvent> {
    let first = headers::get(&meta.headers, headers::ORIGINAL_SUBJECT).unwrap_or(&meta.subject);
    subjects::parse_app_event(first)
}

/// Name and encoded value of every attribute; those that are required always have a value.
fn attributes(meta: &Meta) -> Vec<(String, String)> {
    let origin = origin(meta);
    let service = origin.as_ref().map_or("unknown", |event| event.service.as_str());
    let event = origin.as_ref().map_or("unknown", |event| event.event.as_str());
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, values) in meta.headers.iter() {
        let name = AsRef::<str>::as_ref(name).to_ascii_lowercase();
        let Some(name) = name.strip_prefix("ce-") else { continue };
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !plain || name.is_empty() || name == "specversion" {
            continue;
        }
        if let Some(value) = values.iter().next().filter(|value| !value.as_str().is_empty()) {
            found.push((name.to_owned(), as_header(value.as_str())));
        }
    }
    let mut require = |name: &str, value: String| {
        if !found.iter().any(|(known, _)| known == name) {
            found.push((name.to_owned(), value));
        }
    };
    let id = meta.message_id.clone();
    require("id", encode(&id.unwrap_or_else(|| format!("{}-{}", meta.stream, meta.sequence))));
    require("source", encode(service));
    require("type", encode(&format!("{service}.{event}")));
    require("time", meta.published_at.to_rfc3339());
    found
}

/// A stored value is encoded already, unless another client wrote it in plain UTF-8.
fn as_header(value: &str) -> String {
    if value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        value.to_owned()
    } else {
        encode(value)
    }
}

fn content_type(meta: &Meta) -> String {
    [headers::CE_DATACONTENTTYPE, headers::CONTENT_TYPE]
        .into_iter()
        .find_map(|name| headers::get_any_case(&meta.headers, name))
        .map_or_else(|| "application/json".to_owned(), decode)
}

/// Headers and body of the request to the app.
#[must_use]
pub fn write(
    mode: Mode,
    payload: &Bytes,
    meta: &Meta,
    handover: &Handover<'_>,
) -> (HeaderMap, Bytes) {
    let mut request = HeaderMap::new();
    own(&mut request, meta, handover);
    let kind = content_type(meta);
    if essence(&kind) == STRUCTURED {
        // Another client stored it in structured mode: it is whole as it is.
        put(&mut request, "content-type", STRUCTURED);
        return (request, payload.clone());
    }
    let attributes = attributes(meta);
    match mode {
        Mode::Binary => {
            put(&mut request, "ce-specversion", "1.0");
            for (name, value) in &attributes {
                if name != "datacontenttype" {
                    put(&mut request, &format!("ce-{name}"), value);
                }
            }
            put(&mut request, "content-type", &kind);
            (request, payload.clone())
        }
        Mode::Structured => {
            put(&mut request, "content-type", STRUCTURED);
            (request, structured(&attributes, &kind, payload))
        }
    }
}

/// What the sidecar itself says about a delivery.
fn own(request: &mut HeaderMap, meta: &Meta, handover: &Handover<'_>) {
    put(request, "campana-delivery-id", handover.id);
    put(request, "campana-subscription", handover.subscription);
    put(request, "campana-attempt", &meta.attempt.to_string());
    put(request, "campana-stream", &meta.stream);
    put(request, "campana-sequence", &meta.sequence.to_string());
    if meta.is_last {
        put(request, "campana-last-attempt", "true");
    }
    if meta.redelivered {
        put(request, "campana-redelivered", "true");
    }
    if meta.redrives > 0 {
        put(request, "campana-redrives", &meta.redrives.to_string());
    }
    if let Some(event) = origin(meta) {
        put(request, "campana-tenant", &encode(&event.tenant));
        put(request, "campana-service", &encode(&event.service));
        put(request, "campana-event", &encode(&event.event));
        if let Some(key) = event.key {
            put(request, "campana-key", &encode(&key));
        }
    }
    if let Some(trace) = handover.trace {
        put(request, headers::TRACEPARENT, &trace.to_string());
    }
    for name in ["tracestate", "baggage"] {
        if let Some(value) = headers::get(&meta.headers, name) {
            put(request, name, value);
        }
    }
}

/// A header that the protocol cannot carry is left out.
fn put(request: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        request.insert(name, value);
    }
}

/// The JSON format. The data is copied byte by byte, so that no number loses a digit.
fn structured(attributes: &[(String, String)], kind: &str, payload: &Bytes) -> Bytes {
    let mut members = Map::new();
    members.insert("specversion".to_owned(), Value::from("1.0"));
    members.insert("datacontenttype".to_owned(), Value::from(kind));
    for (name, value) in attributes {
        if !matches!(name.as_str(), "data" | "datacontenttype") {
            members.insert(name.clone(), Value::from(decode(value)));
        }
    }
    let json = is_json(kind) && serde_json::from_slice::<&RawValue>(payload).is_ok();
    let mut body = Value::Object(members).to_string().into_bytes();
    body.pop();
    if json {
        body.extend_from_slice(b",\"data\":");
        body.extend_from_slice(payload);
    } else if !payload.is_empty() {
        body.extend_from_slice(b",\"data_base64\":\"");
        let text = base64::engine::general_purpose::STANDARD.encode(payload);
        body.extend_from_slice(text.as_bytes());
        body.push(b'"');
    }
    body.push(b'}');
    Bytes::from(body)
}
