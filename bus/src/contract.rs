//! Contracts: what a service says and hears, as types with a version, a JSON Schema and rules for change.
//! Reads: types, headers, the folder of released schemas. Writes: documents, and that folder when told to.
//! Never: decides at run time what a message means beyond its type attribute.
//!
//! # For authors of a service
//!
//! An event is a struct with a subject template; a catalogue is a function that lists what the service sends
//! and receives. From it come the AsyncAPI document and the check that no change breaks a reader.
//!
//! ```
//! use campana_bus::{Event, contract::{self, ContractEntry}};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// A customer ordered something.
//! #[derive(Serialize, Deserialize, JsonSchema, Event)]
//! #[event(subject = "app.{tenant}.shop.order_created.{order}", id = "order")]
//! struct OrderCreated {
//!     tenant: String,
//!     order: String,
//!     cents: u64,
//!     /// Came later, so it has a default: older writers do not send it.
//!     #[serde(default)]
//!     currency: Option<String>,
//! }
//!
//! fn contracts() -> Vec<ContractEntry> {
//!     vec![ContractEntry::event::<OrderCreated>().sent_by("checkout").received_by("audit-log")]
//! }
//!
//! // The whole command `shop asyncapi`:
//! println!("{:#}", contract::asyncapi("Shop", "1.0.0", &contracts()));
//! # let document = contract::asyncapi("Shop", "1.0.0", &contracts());
//! # assert_eq!(document["channels"]["shop.order_created"]["address"],
//! #     "app.{tenant}.shop.order_created.{order}");
//! ```
//!
//! The template is checked when the event is compiled, and so are the fields that it names:
//!
//! ```compile_fail
//! # use campana_bus::Event;
//! # #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, Event)]
//! #[event(subject = "app.{tenant}.shop.order_created")] // there is no field `tenant`
//! struct OrderCreated { order: String }
//! ```
//!
//! ```compile_fail
//! # use campana_bus::Event;
//! # #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, Event)]
//! #[event(subject = "app.default.shop.order_created.{order}")] // a list is no key
//! struct OrderCreated { order: Vec<u8> }
//! ```
//!
//! A test of the service keeps it from breaking its readers; [`record`] writes what the folder lacks:
//!
//! ```no_run
//! # use campana_bus::contract::{self, ContractEntry};
//! # fn contracts() -> Vec<ContractEntry> { Vec::new() }
//! let report = contract::check(std::path::Path::new("contracts"), &contracts()).unwrap();
//! assert!(report.is_clean(), "{report}");
//! ```
//!
//! # What a reader does with other versions
//!
//! * Unknown fields are ignored. Do not use `#[serde(deny_unknown_fields)]` on an event: [`check`] then refuses
//!   every new field.
//! * An older version goes through [`Event::upcast`](crate::Event::upcast) before it is decoded.
//! * A newer version is put off without costing an attempt, so that a newer process of the same consumer takes it
//!   during a rolling deployment; after [`NEWER_PATIENCE`] it is parked as `unsupported_version`.
//! * A message without a type attribute (a plain JSON publisher) counts as the reader's own version; one of
//!   another type is parked as `unexpected_type`.

mod asyncapi;
mod cloudevent;
mod compat;
mod entry;
mod percent;
mod release;
mod types;
mod version;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

pub use asyncapi::asyncapi;
pub use cloudevent::{CloudEvent, CloudEventError, EXTENSION_NAME_MAX};
pub use compat::{Change, Impact, compare};
pub use entry::ContractEntry;
pub(crate) use percent::{decode as percent_decode, encode as percent_encode};
pub use release::{Finding, Problem, ReleaseError, Released, Report, check, judge, load, record};
pub use schemars::Schema;
pub use serde_json::Value;
pub use version::{
    NEWER_PATIENCE, NEWER_PAUSE_MAX, NEWER_PAUSE_MIN, UpcastError, accept, decode, typed,
};

/// The JSON Schema (draft 7, the dialect of AsyncAPI) of what a reader of this type needs.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<T>()
}
