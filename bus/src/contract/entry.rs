//! One line of a service's catalogue: a message that it sends, receives, or both.
//! Reads: types. Writes: nothing. Never: touches the bus; a catalogue is plain data, made without a connection.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::schema_of;
use crate::event::Event;
use crate::{subjects, topology};

/// What a placeholder of an address stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameter {
    pub description: String,
    pub values: Vec<String>,
}

/// A message, where it travels, who sends it and who receives it. See the [module](super) for an example.
#[derive(Clone, Debug)]
#[must_use = "an entry counts in a catalogue"]
pub struct ContractEntry {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) address: String,
    pub(super) event_types: Vec<String>,
    pub(super) stream: Option<String>,
    pub(super) parameters: BTreeMap<String, Parameter>,
    pub(super) content_type: String,
    pub(super) summary: String,
    pub(super) senders: Vec<String>,
    pub(super) receivers: Vec<String>,
    pub(super) schema: Schema,
    pub(super) samples: Option<String>,
    pub(super) decode: fn(u32, Value) -> Result<(), String>,
}

impl ContractEntry {
    /// An event. The address is the template of `#[event(subject = …)]`; of an event that implements the trait by
    /// hand it is `app.{tenant}.SERVICE.NAME`, with `.{key}` after [`ContractEntry::keyed`].
    pub fn event<E: Event>() -> Self {
        let template = if E::SUBJECT.is_empty() {
            subjects::app_event_address(E::SERVICE, E::NAME)
        } else {
            E::SUBJECT.to_owned()
        };
        let decode = |version, body| {
            let current = if version == E::VERSION {
                body
            } else {
                E::upcast(version, body).map_err(|error| error.to_string())?
            };
            serde_json::from_value::<E>(current).map(|_| ()).map_err(|error| error.to_string())
        };
        Self::new(E::SERVICE, E::NAME, E::VERSION, template, E::schema(), decode)
            .stream(topology::EVENTS)
    }

    /// A message that is no [`Event`]: a command, or one on a stream of the service's own. The address comes from
    /// [`crate::subjects`]; placeholders stand in braces.
    pub fn message<T: JsonSchema + DeserializeOwned>(
        service: &str,
        name: &str,
        version: u32,
        address: &str,
    ) -> Self {
        let decode = |_, body| {
            serde_json::from_value::<T>(body).map(|_| ()).map_err(|error| error.to_string())
        };
        Self::new(service, name, version, address.to_owned(), schema_of::<T>(), decode)
    }

    fn new(
        service: &str,
        name: &str,
        version: u32,
        address: String,
        schema: Schema,
        decode: fn(u32, Value) -> Result<(), String>,
    ) -> Self {
        let summary = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        Self {
            event_types: vec![format!("{service}.{name}.v{version}")],
            service: service.to_owned(),
            name: name.to_owned(),
            version,
            parameters: parameters(&address),
            address,
            stream: None,
            content_type: "application/json".to_owned(),
            summary: summary.to_owned(),
            senders: Vec::new(),
            receivers: Vec::new(),
            schema,
            samples: None,
            decode,
        }
    }

    /// Who sends it: a service, or a part of one.
    pub fn sent_by(mut self, name: &str) -> Self {
        self.senders.push(name.to_owned());
        self
    }

    /// Who receives it: the durable name of a consumer, or a part of a service.
    pub fn received_by(mut self, name: &str) -> Self {
        self.receivers.push(name.to_owned());
        self
    }

    /// One line about it, instead of the type's documentation.
    pub fn summary(mut self, text: &str) -> Self {
        text.clone_into(&mut self.summary);
        self
    }

    /// The stream that keeps it.
    pub fn stream(mut self, name: &str) -> Self {
        self.stream = Some(name.to_owned());
        self
    }

    /// The values of `ce-type`, if they are not `SERVICE.NAME.vN`; none for a message that is no CloudEvent.
    pub fn typed(mut self, event_types: &[&str]) -> Self {
        self.event_types = event_types.iter().map(|&it| it.to_owned()).collect();
        self
    }

    /// What a placeholder of the address stands for; `values` lists all of them, if there are few.
    pub fn parameter(mut self, name: &str, description: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|&it| it.to_owned()).collect();
        let description = description.to_owned();
        self.parameters.insert(name.to_owned(), Parameter { description, values });
        self
    }

    /// The event has an ordering key (only needed where [`Event`] is implemented by hand).
    pub fn keyed(mut self) -> Self {
        self.address.push_str(".{key}");
        self.parameters = parameters(&self.address);
        self
    }

    /// The body's media type, if it is not JSON.
    pub fn content_type(mut self, media_type: &str) -> Self {
        media_type.clone_into(&mut self.content_type);
        self
    }

    /// Where the samples are, from the root of the repository; `contracts/SERVICE/samples` if not said. Files are
    /// called `NAME.vN.json` or `NAME.vN.CASE.json` and hold one message or a list of them.
    pub fn samples_in(mut self, folder: &str) -> Self {
        self.samples = Some(folder.to_owned());
        self
    }

    /// `SERVICE.NAME`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}", self.service, self.name)
    }

    /// The schema of the body.
    #[must_use]
    pub fn schema(&self) -> &Value {
        self.schema.as_value()
    }
}

/// The placeholders of an address, with what is known about the usual ones.
fn parameters(address: &str) -> BTreeMap<String, Parameter> {
    let fields = address.split('.').filter_map(|token| token.strip_prefix('{')?.strip_suffix('}'));
    let last_of_event = |field: &str| {
        address.starts_with(subjects::APP_PREFIX) && address.ends_with(&format!(".{{{field}}}"))
    };
    let known = |field: &str| match field {
        "tenant" => "Whose it is.",
        _ if last_of_event(field) => {
            "The ordering key: consumers may handle messages with the same one in order."
        }
        _ => "",
    };
    let escaped = "One token: other characters than ASCII letters, digits, `-` and `_` are `=XX` (hexadecimal) \
                   for each byte of UTF-8.";
    fields
        .map(|field| {
            let description = format!("{} {escaped}", known(field)).trim().to_owned();
            (field.to_owned(), Parameter { description, values: Vec::new() })
        })
        .collect()
}
