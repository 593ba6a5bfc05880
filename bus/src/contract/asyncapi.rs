//! The AsyncAPI 3.0 document of a catalogue (https://www.asyncapi.com/docs/reference/specification/v3.0.0).
//! Reads: a catalogue. Writes: JSON. Never: names a host; where NATS is, is configuration.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::entry::ContractEntry;
use crate::headers;

/// The document of everything in the catalogue, in the order of names. Print it with `{:#}`.
#[must_use]
pub fn asyncapi(title: &str, version: &str, entries: &[ContractEntry]) -> Value {
    let mut sorted: Vec<&ContractEntry> = entries.iter().collect();
    sorted.sort_by(|a, b| (&a.service, &a.name, a.version).cmp(&(&b.service, &b.name, b.version)));
    let (mut channels, mut operations) = (Map::new(), Map::new());
    let (mut messages, mut schemas) = (Map::new(), Map::new());
    let mut tags = BTreeMap::new();
    for entry in sorted {
        tags.insert(&entry.service, json!({"name": entry.service}));
        messages.insert(key(entry), message(entry));
        hoist(entry, &mut schemas);
        let channel =
            channels.entry(entry.id()).or_insert_with(|| channel(entry)).get_mut("messages");
        if let Some(Value::Object(known)) = channel {
            let reference = reference(&["components", "messages", &key(entry)]);
            known.insert(message_id(entry), reference);
        }
        for (action, roles) in [("send", &entry.senders), ("receive", &entry.receivers)] {
            for role in roles {
                operation(entry, action, role, &mut operations);
            }
        }
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": title,
            "version": version,
            "description": "Messages are CloudEvents 1.0 in binary mode: attributes in headers, JSON in the body. \
                Readers ignore unknown fields. A field keeps its meaning within a version.",
            "tags": tags.into_values().collect::<Vec<_>>(),
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {
            "host": "{host}",
            "protocol": "nats",
            "description": "NATS with JetStream: publish with a JetStream client and wait for the acknowledgement.",
            "variables": {"host": {"default": "127.0.0.1:4222", "description": "Host and port."}},
            "bindings": {"nats": {}},
        }},
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "messageTraits": {"cloudevent": cloudevent()},
        },
    })
}

/// `SERVICE.NAME.vN`, the name of a message and its schema among the components.
fn key(entry: &ContractEntry) -> String {
    format!("{}.v{}", entry.id(), entry.version)
}

fn message_id(entry: &ContractEntry) -> String {
    format!("v{}", entry.version)
}

fn reference(path: &[&str]) -> Value {
    json!({"$ref": format!("#/{}", path.join("/"))})
}

fn channel(entry: &ContractEntry) -> Value {
    let parameters: Map<String, Value> = entry
        .parameters
        .iter()
        .map(|(name, parameter)| {
            let mut value = json!({"description": parameter.description});
            if !parameter.values.is_empty() {
                value["enum"] = json!(parameter.values);
            }
            (name.clone(), value)
        })
        .collect();
    let mut channel = json!({
        "address": entry.address,
        "messages": {},
        "servers": [reference(&["servers", "nats"])],
        "tags": [{"name": entry.service}],
        "bindings": {"nats": {}},
    });
    if !parameters.is_empty() {
        channel["parameters"] = Value::Object(parameters);
    }
    if let Some(stream) = &entry.stream {
        channel["description"] = format!("Kept in the JetStream stream {stream}.").into();
        channel["x-jetstream-stream"] = stream.as_str().into();
    }
    channel
}

fn operation(entry: &ContractEntry, action: &str, role: &str, operations: &mut Map<String, Value>) {
    let id = entry.id();
    let operation = operations.entry(format!("{role}.{action}.{id}")).or_insert_with(|| {
        json!({
            "action": action,
            "channel": reference(&["channels", &id]),
            "summary": format!("{role} {action}s {}", entry.name),
            "messages": [],
            "tags": [{"name": entry.service}],
            "bindings": {"nats": {"bindingVersion": "0.1.0"}},
        })
    });
    if let Some(Value::Array(messages)) = operation.get_mut("messages") {
        messages.push(reference(&["channels", &id, "messages", &message_id(entry)]));
    }
}

fn message(entry: &ContractEntry) -> Value {
    let mut message = json!({
        "name": key(entry),
        "title": format!("{} {}, version {}", entry.service, entry.name, entry.version),
        "summary": entry.summary,
        "contentType": entry.content_type,
        "payload": reference(&["components", "schemas", &key(entry)]),
        "tags": [{"name": entry.service}],
        "bindings": {"nats": {}},
    });
    let kind = match &entry.event_types[..] {
        [] => return message,
        [one] => json!({"type": "string", "const": one}),
        many => json!({"type": "string", "enum": many}),
    };
    message["traits"] = json!([reference(&["components", "messageTraits", "cloudevent"])]);
    message["headers"] = json!({
        "type": "object",
        "required": [headers::CE_TYPE],
        "properties": {headers::CE_TYPE: kind},
    });
    message
}

/// The headers that every message has. A trait is merged under the message's own headers.
fn cloudevent() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "headers": {
            "type": "object",
            "required": [headers::CE_SPECVERSION, headers::CE_ID, headers::CE_SOURCE, headers::CE_TYPE],
            "properties": {
                headers::CE_SPECVERSION: {"type": "string", "const": "1.0"},
                headers::CE_ID: text("The event's id, percent-encoded."),
                headers::CE_SOURCE: text("Where it happened: a URI reference."),
                headers::CE_TIME: {"type": "string", "format": "date-time"},
                headers::CE_DATACONTENTTYPE: text("Media type of the body."),
                headers::TRACEPARENT: text("W3C trace context."),
                headers::KEY: text("The ordering key, if the message has one."),
                "Nats-Msg-Id": text("A repeat with the same id within the stream's window is stored once."),
            },
        },
    })
}

/// Puts the schema and what it defines among the components, under names that start with the message's.
fn hoist(entry: &ContractEntry, schemas: &mut Map<String, Value>) {
    let key = key(entry);
    let mut schema = entry.schema().clone();
    redirect(&mut schema, &key);
    if let Value::Object(map) = &mut schema {
        map.remove("$schema");
        for definitions in ["definitions", "$defs"] {
            if let Some(Value::Object(all)) = map.remove(definitions) {
                schemas.extend(all.into_iter().map(|(name, one)| (format!("{key}.{name}"), one)));
            }
        }
    }
    schemas.insert(key, schema);
}

/// Turns references into the schema itself into references into the document.
fn redirect(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref") {
                let name = ["#/definitions/", "#/$defs/"]
                    .iter()
                    .find_map(|prefix| target.strip_prefix(prefix))
                    .map(|name| format!("{key}.{name}"));
                let name = name.or_else(|| (target == "#").then(|| key.to_owned()));
                if let Some(name) = name {
                    *target = format!("#/components/schemas/{name}");
                }
            }
            map.values_mut().for_each(|inner| redirect(inner, key));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| redirect(inner, key)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;

    use super::*;

    /// Something.
    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Tree {
        children: Vec<Tree>,
        leaf: Leaf,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Leaf {
        name: String,
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let entry = |version| {
            ContractEntry::message::<Tree>(
                "wood",
                "grown",
                version,
                "app.{tenant}.wood.grown.{tree}",
            )
            .sent_by("forester")
            .received_by("squirrel")
        };
        let document = asyncapi("Wood", "1.0.0", &[entry(2), entry(1)]);
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 10);
        for reference in references {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        let channel = &document["channels"]["wood.grown"];
        assert_eq!(channel["messages"].as_object().unwrap().len(), 2);
        assert_eq!(channel["parameters"].as_object().unwrap().len(), 2);
        assert_eq!(document["operations"].as_object().unwrap().len(), 2);
        let message = &document["components"]["messages"]["wood.grown.v2"];
        assert_eq!(message["summary"], "Something.");
        assert_eq!(message["headers"]["properties"]["ce-type"]["const"], "wood.grown.v2");
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            references.push(reference.to_owned());
        }
        match value {
            Value::Object(map) => map.values().for_each(|inner| collect(inner, references)),
            Value::Array(items) => items.iter().for_each(|inner| collect(inner, references)),
            _ => {}
        }
    }
}
