//! Subjects as templates, for documents: placeholders stand in braces.
//! Reads: nothing. Writes: nothing. Never: differs from what is built beside it; the tests compare them.

use super::escape;

/// How the subjects of domain events begin.
pub const APP_PREFIX: &str = "app.";

/// The address of a domain event in documents: what [`super::app_event`] builds, with the tenant in braces.
#[must_use]
pub fn app_event_address(service: &str, event: &str) -> String {
    format!("app.{{tenant}}.{}.{}", escape(service), escape(event))
}

/// The address of [`super::request`] in documents.
pub const REQUEST_ADDRESS: &str = "notify.request.{priority}";
/// The address of [`super::deliver`] in documents.
pub const DELIVER_ADDRESS: &str = "notify.deliver.{channel}.{tenant}";
/// The address of [`super::outcome`] in documents.
pub const OUTCOME_ADDRESS: &str = "notify.outcome.{tenant}.{notification}";
/// The address of [`super::outcomes`] in documents.
pub const OUTCOMES_ADDRESS: &str = "notify.outcomes.{tenant}";
/// The address of [`super::channel`] in documents.
pub const CHANNEL_ADDRESS: &str = "ch.{tenant}.{namespace}.{channel}";
