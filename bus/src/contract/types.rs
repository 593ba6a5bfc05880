//! JSON Schemas of the crate's own types, as they look on the wire.
//! Reads: nothing. Writes: schemas. Never: says more than the readers check.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::clock::Micros;
use crate::ids::{ClientId, DeliveryId, KeyId, MessageId, NodeId, NotificationId, RequestId};
use crate::trace::TraceParent;

impl JsonSchema for Micros {
    fn schema_name() -> Cow<'static, str> {
        "Micros".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer",
            "format": "int64",
            "title": "Microseconds since 1970-01-01T00:00:00Z",
        })
    }
}

impl JsonSchema for TraceParent {
    fn schema_name() -> Cow<'static, str> {
        "TraceParent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "W3C traceparent",
            "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
        })
    }
}

macro_rules! id_schemas {
    ($($name:ident)*) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": format!("^{}_[0-9a-f]{{32}}$", Self::PREFIX),
                })
            }
        }
    )*};
}

id_schemas!(NotificationId DeliveryId RequestId MessageId KeyId ClientId NodeId);
