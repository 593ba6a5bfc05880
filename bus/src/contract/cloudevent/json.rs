//! The JSON event format of CloudEvents 1.0.2 (`cloudevents/formats/json-format.md`).
//! Reads and writes: bodies of structured events. Never: changes a byte of JSON data on its way through.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};

use super::{CloudEvent, CloudEventError};

type Members = BTreeMap<String, Box<RawValue>>;

fn unreadable(error: impl std::fmt::Display) -> CloudEventError {
    CloudEventError::Body(error.to_string())
}

fn wrong(name: &str, why: &'static str) -> CloudEventError {
    CloudEventError::Value { name: name.to_owned(), why }
}

/// An event out of its JSON object.
pub fn read(body: &[u8]) -> Result<CloudEvent, CloudEventError> {
    let mut members: Members = serde_json::from_slice(body).map_err(unreadable)?;
    // A member that is null is absent.
    members.retain(|_, value| value.get() != "null");
    let (data, encoded) = (members.remove("data"), members.remove("data_base64"));
    let mut attributes = BTreeMap::new();
    for (name, value) in members {
        let text = text(&name, &value)?;
        attributes.insert(name, text);
    }
    let mut event = CloudEvent::of(attributes, None)?;
    event.data = match (data, encoded) {
        (Some(_), Some(_)) => return Err(wrong("data_base64", "data is there as well")),
        (Some(data), None) => Some(plain(&event, &data)?),
        (None, Some(encoded)) => {
            let text: String = serde_json::from_str(encoded.get())
                .map_err(|_| wrong("data_base64", "not a text"))?;
            let bytes = STANDARD.decode(text).map_err(|_| wrong("data_base64", "not Base64"))?;
            Some(Bytes::from(bytes))
        }
        (None, None) => None,
    };
    Ok(event)
}

/// The canonical text of an attribute: of a text itself, of a boolean or an integer its JSON.
fn text(name: &str, value: &RawValue) -> Result<String, CloudEventError> {
    let json = value.get();
    match json.bytes().next() {
        Some(b'"') => serde_json::from_str(json).map_err(unreadable),
        Some(b't' | b'f') => Ok(json.to_owned()),
        Some(_) if json.parse::<i32>().is_ok() => Ok(json.to_owned()),
        _ => Err(wrong(name, "not a text, a boolean or an integer of 32 bits")),
    }
}

/// JSON stays as it was written; of other media types a JSON string holds the text itself.
fn plain(event: &CloudEvent, data: &RawValue) -> Result<Bytes, CloudEventError> {
    if !event.is_json() && data.get().starts_with('"') {
        let text: String = serde_json::from_str(data.get()).map_err(unreadable)?;
        return Ok(Bytes::from(text));
    }
    Ok(Bytes::copy_from_slice(data.get().as_bytes()))
}

/// The JSON object of an event.
pub fn write(event: &CloudEvent) -> Result<Vec<u8>, CloudEventError> {
    let mut members = Members::new();
    let mut put = |name: &str, value: &str| -> Result<(), CloudEventError> {
        members.insert(name.to_owned(), to_raw_value(value).map_err(unreadable)?);
        Ok(())
    };
    put("specversion", "1.0")?;
    for (name, value) in event.attributes() {
        put(name, value)?;
    }
    if let Some(data) = &event.data {
        let text = std::str::from_utf8(data).ok();
        if event.is_json() {
            let json = text.and_then(|text| serde_json::from_str::<Box<RawValue>>(text).ok());
            let json = json.ok_or_else(|| wrong("data", "not JSON, as datacontenttype says"))?;
            members.insert("data".to_owned(), json);
        } else if let Some(text) = text {
            put("data", text)?;
        } else {
            put("data_base64", &STANDARD.encode(data))?;
        }
    }
    serde_json::to_vec(&members).map_err(unreadable)
}
