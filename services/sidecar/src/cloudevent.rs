//! Pure: CloudEvents 1.0 over HTTP, in and out.
//! Reads: headers and bodies. Writes: headers and bodies. Never: lets a value become a second header, or
//! changes a byte of the data.
//!
//! In: binary mode (`ce-…` headers, the body is the data), structured mode
//! (`application/cloudevents+json`), or no CloudEvent at all: plain JSON, to which the sidecar adds the
//! attributes. Out: binary or structured, as the subscription says. Attribute values in headers are
//! percent-encoded as the HTTP binding says (§3.1.3.2); they are stored in that form, because the NATS
//! binding has the same rule.

mod outgoing;

use std::collections::BTreeMap;

use bytes::Bytes;
use campana_bus::clock::Micros;
use http::HeaderMap;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::value::RawValue;

use crate::problem::{Code, Problem};

pub use outgoing::{Handover, write};

/// Media type of structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// Attributes of an event besides the required ones.
const EXTENSIONS_MAX: usize = 32;
/// Bytes of an attribute's value.
const VALUE_BYTES_MAX: usize = 1_024;
/// Bytes of an attribute's name; CloudEvents asks for 20, and senders do not always keep to it.
const NAME_BYTES_MAX: usize = 64;

/// Space, double quote, percent and everything outside of printable ASCII (HTTP binding §3.1.3.2).
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// An attribute's value as it stands in a header.
#[must_use]
pub fn encode(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// The value behind a header; what is no UTF-8 is replaced.
#[must_use]
pub fn decode(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

/// An event as an app sent it. Values are decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    /// `id`, if the app gave one.
    pub id: Option<String>,
    /// `source`.
    pub source: Option<String>,
    /// `type`.
    pub event_type: Option<String>,
    /// `time`.
    pub time: Option<Micros>,
    /// `datacontenttype`.
    pub content_type: Option<String>,
    /// `subject`, `dataschema` and extension attributes.
    pub others: BTreeMap<String, String>,
    /// The data.
    pub data: Bytes,
}

impl Incoming {
    /// The extension attribute `partitionkey`, by which ordered consumers keep order.
    #[must_use]
    pub fn partition_key(&self) -> Option<&str> {
        self.others.get("partitionkey").map(String::as_str)
    }
}

/// The media type without its parameters, in lower case.
#[must_use]
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether data of this type is JSON.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// Reads a request in any of the three forms.
///
/// # Errors
/// Says which attribute or part of the body is wrong.
pub fn read(headers: &HeaderMap, body: Bytes) -> Result<Incoming, Problem> {
    let content_type = match headers.get(http::header::CONTENT_TYPE) {
        Some(value) => Some(value.to_str().map_err(|_| bad("Content-Type is not ASCII"))?),
        None => None,
    };
    let kind = content_type.map(essence).unwrap_or_default();
    if kind == STRUCTURED {
        return structured(&body);
    }
    if kind.starts_with("application/cloudevents") {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "one event a request, as application/cloudevents+json; many go to POST /v1/publish",
        ));
    }
    if headers.contains_key("ce-specversion") {
        return binary(headers, content_type, body);
    }
    if kind != "application/json" {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "send JSON with Content-Type: application/json, or a CloudEvent (headers ce-…, or \
             application/cloudevents+json), which may carry any media type",
        ));
    }
    check_json(&body)?;
    Ok(Incoming {
        content_type: Some("application/json".to_owned()),
        data: body,
        ..Incoming::default()
    })
}

/// Whether the bytes are one JSON value.
///
/// # Errors
/// Says where they are not.
pub fn check_json(body: &[u8]) -> Result<(), Problem> {
    serde_json::from_slice::<&RawValue>(body)
        .map(|_| ())
        .map_err(|error| Problem::new(Code::InvalidJson, error.to_string()))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidEvent, detail.into())
}

fn binary(
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: Bytes,
) -> Result<Incoming, Problem> {
    let mut event = Incoming { data: body, ..Incoming::default() };
    let mut version = None;
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let value =
            value.to_str().map_err(|_| bad(format!("the header ce-{name} is not ASCII")))?;
        if name == "specversion" {
            version = Some(value.to_owned());
        } else {
            event.attribute(name, decode(value))?;
        }
    }
    // In HTTP the type of the data is the request's own (§3.1.1).
    event.content_type = content_type.map(str::to_owned);
    event.finish(version.as_deref())?;
    if event.content_type.as_deref().is_some_and(is_json) {
        check_json(&event.data)?;
    }
    Ok(event)
}

/// Reads one event in the JSON format.
///
/// # Errors
/// Says which attribute is wrong.
pub fn structured(body: &[u8]) -> Result<Incoming, Problem> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(body)
        .map_err(|error| Problem::new(Code::InvalidJson, error.to_string()))?;
    let mut event = Incoming::default();
    let (mut version, mut data, mut encoded) = (None, None, None);
    for (name, raw) in members {
        if raw.get() == "null" {
            continue;
        }
        match name.as_str() {
            "data" => data = Some(raw),
            "data_base64" => encoded = Some(text(&name, raw)?),
            "specversion" => version = Some(text(&name, raw)?),
            _ => event.attribute(&name, text(&name, raw)?)?,
        }
    }
    event.finish(version.as_deref())?;
    event.data = match (data, encoded) {
        (Some(_), Some(_)) => return Err(bad("data and data_base64 exclude each other")),
        (None, Some(text)) => {
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            Bytes::from(bytes.map_err(|_| bad("data_base64 is not base64"))?)
        }
        (Some(raw), None) => unwrapped(&event, raw),
        (None, None) => Bytes::new(),
    };
    // JSON format §3.1: data without a type is JSON.
    event.content_type.get_or_insert_with(|| "application/json".to_owned());
    Ok(event)
}

/// Data of another type than JSON stands in a JSON string.
fn unwrapped(event: &Incoming, raw: &RawValue) -> Bytes {
    if !event.content_type.as_deref().is_none_or(is_json)
        && let Ok(text) = serde_json::from_str::<String>(raw.get())
    {
        return Bytes::from(text);
    }
    Bytes::copy_from_slice(raw.get().as_bytes())
}

/// Strings, booleans and integers are attribute values (§1.1 of the type system).
fn text(name: &str, raw: &RawValue) -> Result<String, Problem> {
    match serde_json::from_str(raw.get()) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(serde_json::Value::Bool(flag)) => Ok(flag.to_string()),
        Ok(serde_json::Value::Number(number)) if number.is_i64() => Ok(number.to_string()),
        _ => Err(bad(format!("{} is no string, boolean or integer", shown(name)))),
    }
}

/// A name that somebody else chose, short enough for an error.
fn shown(name: &str) -> String {
    name.chars().filter(|one| !one.is_control()).take(NAME_BYTES_MAX).collect()
}

impl Incoming {
    fn attribute(&mut self, name: &str, value: String) -> Result<(), Problem> {
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !plain || name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(bad(format!(
                "\"{}\" is no attribute's name: lower-case letters and digits",
                shown(name)
            )));
        }
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control)
        {
            return Err(bad(format!(
                "{name} must be 1 to {VALUE_BYTES_MAX} bytes without control characters"
            )));
        }
        match name {
            "id" => self.id = Some(value),
            "source" => self.source = Some(value),
            "type" => self.event_type = Some(value),
            "datacontenttype" => self.content_type = Some(value),
            "time" => {
                let time = Micros::from_rfc3339(&value);
                self.time = Some(time.ok_or_else(|| bad("time is not in RFC 3339 form"))?);
            }
            _ if self.others.len() >= EXTENSIONS_MAX => {
                return Err(bad(format!("at most {EXTENSIONS_MAX} extension attributes")));
            }
            _ => {
                self.others.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    fn finish(&self, version: Option<&str>) -> Result<(), Problem> {
        if version != Some("1.0") {
            return Err(bad("specversion must be \"1.0\""));
        }
        let required = [("id", &self.id), ("source", &self.source), ("type", &self.event_type)];
        match required.into_iter().find(|(_, value)| value.is_none()) {
            Some((name, _)) => Err(bad(format!("{name} is required"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
