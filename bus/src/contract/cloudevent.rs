//! CloudEvents 1.0 over NATS: binary mode (attributes in headers) and structured mode (JSON in the body).
//! Reads and writes: headers and bodies. Never: guesses a required attribute, or trusts a name or a value.
//!
//! The binding is `cloudevents/bindings/nats-protocol-binding.md`, whose binary mode maps every attribute to
//! `ce-NAME`, `datacontenttype` included. SDKs without a NATS binding use the HTTP one, where that attribute is
//! `content-type`; both are written, and `ce-datacontenttype` wins when both are read.

mod json;

use std::collections::BTreeMap;

use async_nats::{HeaderMap, HeaderName};
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::percent;
use crate::headers::{self, CONTENT_TYPE};
use crate::publish::Outgoing;

/// Longest name of an extension attribute that is written (CloudEvents 1.0, "Attribute Naming Convention").
pub const EXTENSION_NAME_MAX: usize = 20;
/// How the content type of a structured event begins.
const STRUCTURED: &str = "application/cloudevents";
/// The one structured format.
const STRUCTURED_JSON: &str = "application/cloudevents+json";

/// One event with its attributes, free of any transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvent {
    /// With `source` unique for each event.
    pub id: String,
    /// Where it happened: a URI reference.
    pub source: String,
    /// What happened, for example `shop.order_created.v1`.
    pub event_type: String,
    /// What it is about, within the source.
    pub subject: Option<String>,
    /// When it happened, RFC 3339.
    pub time: Option<String>,
    /// Media type of `data`; JSON if absent.
    pub datacontenttype: Option<String>,
    /// URI of the schema that `data` follows.
    pub dataschema: Option<String>,
    /// Further attributes by name: lower-case letters and digits. Values are text in the canonical form of their
    /// type, because headers carry no types.
    pub extensions: BTreeMap<String, String>,
    /// The body; `None` and an empty body are the same in binary mode.
    pub data: Option<Bytes>,
}

/// Why a message is no CloudEvent, or an event cannot become a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    /// A required attribute is absent or empty.
    #[error("the CloudEvents attribute `{0}` is missing or empty: send a value")]
    Missing(&'static str),
    /// Not CloudEvents 1.0.
    #[error("CloudEvents {0} is not supported: send specversion 1.0")]
    SpecVersion(String),
    /// A value is no UTF-8 after decoding, has control characters, is no time, or has the wrong JSON type.
    #[error("the CloudEvents attribute `{name}` is not valid: {why}")]
    Value {
        /// Which attribute.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Not a name for an extension.
    #[error(
        "`{0}` is not the name of an extension: lower-case letters and digits, at most {EXTENSION_NAME_MAX} to be written"
    )]
    Name(String),
    /// The body of a structured event cannot be read.
    #[error("the structured CloudEvent cannot be read: {0}")]
    Body(String),
    /// An event format without a reader.
    #[error(
        "the event format `{0}` is not supported: send application/cloudevents+json or binary mode"
    )]
    Format(String),
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers::get(headers, CONTENT_TYPE).or_else(|| headers::get_any_case(headers, CONTENT_TYPE))
}

/// Whether the body holds the attributes too.
pub(crate) fn is_structured(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|media| {
        media.trim().get(..STRUCTURED.len()).is_some_and(|it| it.eq_ignore_ascii_case(STRUCTURED))
    })
}

impl CloudEvent {
    /// An event with the required attributes only.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        source: impl Into<String>,
        event_type: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            source: source.into(),
            event_type: event_type.into(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: BTreeMap::new(),
            data: None,
        }
    }

    /// Reads a message in either content mode.
    ///
    /// # Errors
    /// Names the attribute that is missing or wrong.
    pub fn from_message(headers: &HeaderMap, payload: &Bytes) -> Result<Self, CloudEventError> {
        if is_structured(headers) {
            let media = content_type(headers).unwrap_or_default();
            let media = media.split(';').next().unwrap_or_default().trim();
            if !media.eq_ignore_ascii_case(STRUCTURED_JSON) {
                return Err(CloudEventError::Format(media.chars().take(100).collect()));
            }
            return Self::from_structured(payload);
        }
        Self::from_binary(headers, payload)
    }

    /// Reads the JSON event format (`application/cloudevents+json`).
    ///
    /// # Errors
    /// Names the attribute that is missing or wrong.
    pub fn from_structured(body: &[u8]) -> Result<Self, CloudEventError> {
        json::read(body)
    }

    fn from_binary(headers: &HeaderMap, payload: &Bytes) -> Result<Self, CloudEventError> {
        let mut attributes = BTreeMap::new();
        for (name, values) in headers.iter() {
            let name: &str = name.as_ref();
            let Some(attribute) = prefixed(name) else { continue };
            let raw = values.first().map(async_nats::HeaderValue::as_str).unwrap_or_default();
            let value = percent::decode(raw).ok_or_else(|| CloudEventError::Value {
                name: attribute.clone(),
                why: "not UTF-8 after percent-decoding",
            })?;
            attributes.insert(attribute, value.into_owned());
        }
        if !attributes.contains_key("datacontenttype")
            && let Some(media) = content_type(headers)
        {
            attributes.insert("datacontenttype".to_owned(), media.trim().to_owned());
        }
        let data = (!payload.is_empty()).then(|| payload.clone());
        Self::of(attributes, data)
    }

    /// Sorts attributes into fields and checks them.
    fn of(
        mut attributes: BTreeMap<String, String>,
        data: Option<Bytes>,
    ) -> Result<Self, CloudEventError> {
        let mut required = |name: &'static str| {
            let value = attributes.remove(name).filter(|value| !value.is_empty());
            value.ok_or(CloudEventError::Missing(name))
        };
        let specversion = required("specversion")?;
        if specversion != "1.0" {
            return Err(CloudEventError::SpecVersion(specversion.chars().take(20).collect()));
        }
        let (id, source, event_type) = (required("id")?, required("source")?, required("type")?);
        let event = Self {
            id,
            source,
            event_type,
            subject: attributes.remove("subject"),
            time: attributes.remove("time"),
            datacontenttype: attributes.remove("datacontenttype"),
            dataschema: attributes.remove("dataschema"),
            extensions: attributes,
            data,
        };
        event.check()?;
        Ok(event)
    }

    /// The attributes but `specversion`, in a fixed order.
    fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let required = [("id", &self.id), ("source", &self.source), ("type", &self.event_type)];
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.datacontenttype),
            ("dataschema", &self.dataschema),
        ];
        let extensions =
            self.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        required
            .map(|(name, value)| (name, value.as_str()))
            .into_iter()
            .chain(optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))))
            .chain(extensions)
    }

    /// Values that the specification excludes, whoever made the event.
    fn check(&self) -> Result<(), CloudEventError> {
        for (name, value) in self.attributes() {
            let wrong = |why| CloudEventError::Value { name: name.to_owned(), why };
            // Of the optional ones, empty is the same as absent for some readers and an error for others.
            let may_be_empty = self.extensions.contains_key(name);
            if value.is_empty() && !may_be_empty {
                return Err(wrong("empty"));
            }
            if value.chars().any(char::is_control) {
                return Err(wrong("control characters"));
            }
            if name == "time" && OffsetDateTime::parse(value, &Rfc3339).is_err() {
                return Err(wrong("not RFC 3339"));
            }
        }
        let core = ["specversion", "id", "source", "type", "subject", "time", "data"];
        let unnamed = self.extensions.keys().find(|name| {
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            name.is_empty() || !plain || core.contains(&name.as_str())
        });
        unnamed.map_or(Ok(()), |name| Err(CloudEventError::Name(name.chars().take(100).collect())))
    }

    /// What is written is checked more strictly than what is read.
    fn check_written(&self) -> Result<(), CloudEventError> {
        let required = [("id", &self.id), ("source", &self.source), ("type", &self.event_type)];
        if let Some((name, _)) = required.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(CloudEventError::Missing(name));
        }
        self.check()?;
        let long = self.extensions.keys().find(|name| name.len() > EXTENSION_NAME_MAX);
        long.map_or(Ok(()), |name| Err(CloudEventError::Name(name.chars().take(100).collect())))
    }

    /// The message in binary mode. Its message id is the event's id.
    ///
    /// # Errors
    /// If an attribute is not allowed by the specification.
    pub fn to_outgoing(&self, subject: impl Into<String>) -> Result<Outgoing, CloudEventError> {
        self.check_written()?;
        let payload = self.data.clone().unwrap_or_default();
        let mut message = Outgoing::new(subject, self.id.as_str(), payload);
        headers::set(&mut message.headers, headers::CE_SPECVERSION, "1.0");
        for (name, value) in self.attributes() {
            // The name has letters and digits only, which every header name may have.
            if let Ok(name) = format!("ce-{name}").parse::<HeaderName>() {
                headers::set_attribute(&mut message.headers, name, value);
            }
        }
        if let Some(media) = &self.datacontenttype {
            headers::set(&mut message.headers, CONTENT_TYPE, media);
        }
        Ok(message)
    }

    /// The message in structured mode, for readers that see bodies only.
    ///
    /// # Errors
    /// If an attribute is not allowed by the specification, or `data` is not what `datacontenttype` says.
    pub fn to_structured(&self, subject: impl Into<String>) -> Result<Outgoing, CloudEventError> {
        self.check_written()?;
        let body = Bytes::from(json::write(self)?);
        let mut message = Outgoing::new(subject, self.id.as_str(), body);
        headers::set(&mut message.headers, CONTENT_TYPE, STRUCTURED_JSON);
        Ok(message)
    }

    /// Whether `data` is JSON, which it also is if nothing is said.
    fn is_json(&self) -> bool {
        let Some(media) = &self.datacontenttype else { return true };
        let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        media == "application/json" || media == "text/json" || media.ends_with("+json")
    }
}

/// The attribute behind a header name like `ce-id`.
fn prefixed(name: &str) -> Option<String> {
    let (prefix, attribute) = name.split_at_checked(3)?;
    prefix.eq_ignore_ascii_case("ce-").then(|| attribute.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
