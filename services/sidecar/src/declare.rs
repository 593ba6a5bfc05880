//! What an app wants: which events it takes, and which calls it answers.
//! Reads: TOML or JSON text. Writes: nothing. Never: guesses: an unknown field or a wrong number is an
//! error that says where it stands, and the whole declaration is refused.

use std::collections::HashSet;
use std::time::Duration;

use campana_bus::subjects;
use serde::{Deserialize, Serialize};

use crate::options::{is_path, is_plain_name};

/// Subscriptions of one app.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Kinds of events of one subscription.
pub const EVENTS_MAX: usize = 64;
/// Endpoints of one app.
pub const ENDPOINTS_MAX: usize = 64;
/// Bytes of a declaration.
pub const DECLARATION_BYTES_MAX: usize = 256 * 1024;

/// One kind of event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// The service that tells it.
    #[schema(example = "shop")]
    pub service: String,
    /// What happened.
    #[schema(example = "order_created")]
    pub event: String,
    /// Only of this tenant; of every tenant if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// How an event is written into the request to the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Attributes as `ce-…` headers, the data as the body.
    #[default]
    Binary,
    /// Everything in one JSON object.
    Structured,
}

/// What becomes of a message that is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetters {
    /// Kept as a dead letter, for an operator to redrive or discard.
    #[default]
    Park,
    /// Acknowledged and forgotten; counted and logged. For events that are worthless later.
    Drop,
}

/// One durable subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Durable name: the server remembers under it what was handled, and processes with the same name share
    /// the work. Letters, digits, `-`, `_`; at most 64.
    #[schema(example = "billing-orders")]
    pub name: String,
    /// Which events; at least one.
    pub events: Vec<EventFilter>,
    /// Where they are posted to on the app.
    #[schema(example = "/orders")]
    pub path: String,
    /// Deliveries at work at the same time, 1 to 1,000.
    #[serde(default = "Subscription::default_max_in_flight")]
    pub max_in_flight: usize,
    /// Attempts before a message is given up, 1 to 1,000.
    #[serde(default = "Subscription::default_max_attempts")]
    pub max_attempts: u32,
    /// How long the app may take for its answer, 1 to 3,600 seconds. `/extend` gives one delivery more.
    #[serde(default = "Subscription::default_timeout")]
    pub timeout_seconds: u32,
    /// The longest that one delivery may be held with extensions, up to 86,400 seconds.
    #[serde(default = "Subscription::default_hold")]
    pub hold_seconds: u32,
    /// The first pause between attempts, 0.05 to 3,600 seconds; it doubles each time.
    #[serde(default = "Subscription::default_backoff")]
    pub backoff_seconds: f64,
    /// The longest pause between attempts, up to 86,400 seconds.
    #[serde(default = "Subscription::default_backoff_max")]
    pub backoff_max_seconds: f64,
    /// Events with the same key are delivered one after another, in order; different keys side by side.
    #[serde(default)]
    pub ordered: bool,
    /// How the event is written into the request.
    #[serde(default)]
    pub mode: Mode,
    /// Whether 202 means "I will answer later" instead of "handled".
    #[serde(default)]
    pub answer_later: bool,
    /// What becomes of a message that is given up.
    #[serde(default)]
    pub dead_letters: DeadLetters,
}

impl Subscription {
    fn default_max_in_flight() -> usize {
        16
    }
    fn default_max_attempts() -> u32 {
        5
    }
    fn default_timeout() -> u32 {
        30
    }
    fn default_hold() -> u32 {
        900
    }
    fn default_backoff() -> f64 {
        0.5
    }
    fn default_backoff_max() -> f64 {
        300.0
    }

    /// How long the app may take for its answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout_seconds))
    }

    /// How long one delivery may be held at most.
    #[must_use]
    pub fn hold(&self) -> Duration {
        Duration::from_secs(u64::from(self.hold_seconds.max(self.timeout_seconds)))
    }
}

/// One endpoint that the app answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The service's name, as callers write it.
    #[schema(example = "pricing")]
    pub service: String,
    /// The endpoint's name, as callers write it.
    #[schema(example = "quote")]
    pub endpoint: String,
    /// Where calls are posted to on the app.
    #[schema(example = "/quote")]
    pub path: String,
    /// How long the app may take, 1 to 120 seconds.
    #[serde(default = "Endpoint::default_timeout")]
    pub timeout_seconds: u32,
}

impl Endpoint {
    fn default_timeout() -> u32 {
        30
    }
}

/// Everything that one app wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// Events that it takes.
    #[serde(default)]
    pub subscriptions: Vec<Subscription>,
    /// Calls that it answers.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

/// What is wrong with a declaration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct DeclareError {
    /// Where: `subscriptions[0].path`, or a line of the file.
    pub place: String,
    /// What, and what is allowed.
    pub problem: String,
}

fn wrong(place: impl Into<String>, problem: impl Into<String>) -> DeclareError {
    DeclareError { place: place.into(), problem: problem.into() }
}

impl Declaration {
    /// Parses and checks the text of a file.
    ///
    /// # Errors
    /// Says where and what.
    pub fn from_toml(text: &str) -> Result<Self, DeclareError> {
        if text.len() > DECLARATION_BYTES_MAX {
            return Err(wrong("the file", format!("has more than {DECLARATION_BYTES_MAX} bytes")));
        }
        let parsed: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text.get(..span.start).map_or(0, |before| before.matches('\n').count())
            });
            wrong(format!("line {line}"), error.message())
        })?;
        parsed.checked()
    }

    /// Parses and checks what an app answered.
    ///
    /// # Errors
    /// Says where and what.
    pub fn from_json(body: &[u8]) -> Result<Self, DeclareError> {
        if body.len() > DECLARATION_BYTES_MAX {
            return Err(wrong(
                "the answer",
                format!("has more than {DECLARATION_BYTES_MAX} bytes"),
            ));
        }
        // Else serde would take an array for the fields in their order.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(wrong("the answer", "is no JSON object"));
        }
        let mut reader = serde_json::Deserializer::from_slice(body);
        let parsed: Self = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| wrong(error.path().to_string(), error.inner().to_string()))?;
        reader.end().map_err(|error| wrong("the answer", error.to_string()))?;
        parsed.checked()
    }

    fn checked(self) -> Result<Self, DeclareError> {
        if self.subscriptions.len() > SUBSCRIPTIONS_MAX {
            return Err(wrong("subscriptions", format!("at most {SUBSCRIPTIONS_MAX}")));
        }
        if self.endpoints.len() > ENDPOINTS_MAX {
            return Err(wrong("endpoints", format!("at most {ENDPOINTS_MAX}")));
        }
        let mut names = HashSet::new();
        for (index, one) in self.subscriptions.iter().enumerate() {
            let place = format!("subscriptions[{index}]");
            one.check(&place)?;
            if !names.insert(&one.name) {
                return Err(wrong(format!("{place}.name"), "another subscription has this name"));
            }
        }
        let mut names = HashSet::new();
        for (index, one) in self.endpoints.iter().enumerate() {
            let place = format!("endpoints[{index}]");
            one.check(&place)?;
            if !names.insert((&one.service, &one.endpoint)) {
                return Err(wrong(place, "this endpoint is declared twice"));
            }
        }
        Ok(self)
    }
}

fn between<T: PartialOrd + std::fmt::Display>(
    place: String,
    value: T,
    least: T,
    most: T,
) -> Result<(), DeclareError> {
    // Written so that NaN is refused, too.
    if value >= least && value <= most {
        return Ok(());
    }
    Err(wrong(place, format!("is {value}, must be {least} to {most}")))
}

fn path(place: String, path: &str) -> Result<(), DeclareError> {
    if is_path(path) {
        return Ok(());
    }
    Err(wrong(
        place,
        "must begin with \"/\" and have no \"..\", \"#\" or spaces, at most 512 bytes",
    ))
}

fn plain(place: String, name: &str) -> Result<(), DeclareError> {
    if is_plain_name(name) {
        return Ok(());
    }
    Err(wrong(place, "must be 1 to 64 letters, digits, \"-\" and \"_\""))
}

impl Subscription {
    fn check(&self, place: &str) -> Result<(), DeclareError> {
        plain(format!("{place}.name"), &self.name)?;
        path(format!("{place}.path"), &self.path)?;
        between(format!("{place}.max_in_flight"), self.max_in_flight, 1, 1_000)?;
        between(format!("{place}.max_attempts"), self.max_attempts, 1, 1_000)?;
        between(format!("{place}.timeout_seconds"), self.timeout_seconds, 1, 3_600)?;
        between(format!("{place}.hold_seconds"), self.hold_seconds, 1, 86_400)?;
        between(format!("{place}.backoff_seconds"), self.backoff_seconds, 0.05, 3_600.0)?;
        between(
            format!("{place}.backoff_max_seconds"),
            self.backoff_max_seconds,
            self.backoff_seconds,
            86_400.0,
        )?;
        if self.events.is_empty() || self.events.len() > EVENTS_MAX {
            return Err(wrong(format!("{place}.events"), format!("must have 1 to {EVENTS_MAX}")));
        }
        let mut kinds = HashSet::new();
        for (index, filter) in self.events.iter().enumerate() {
            let place = format!("{place}.events[{index}]");
            let names = [Some(&filter.service), Some(&filter.event), filter.tenant.as_ref()];
            for name in names.into_iter().flatten() {
                subjects::check_name(name)
                    .map_err(|error| wrong(place.clone(), error.to_string()))?;
            }
            if !kinds.insert(filter) {
                return Err(wrong(place, "this event is in the list already"));
            }
        }
        // NATS refuses filters that overlap.
        let for_all = |one: &EventFilter| {
            one.tenant.is_none()
                && self.events.iter().any(|other| {
                    other.tenant.is_some()
                        && (&other.service, &other.event) == (&one.service, &one.event)
                })
        };
        if self.events.iter().any(for_all) {
            return Err(wrong(
                format!("{place}.events"),
                "names one event for a tenant and for every tenant",
            ));
        }
        Ok(())
    }
}

impl Endpoint {
    fn check(&self, place: &str) -> Result<(), DeclareError> {
        plain(format!("{place}.service"), &self.service)?;
        plain(format!("{place}.endpoint"), &self.endpoint)?;
        path(format!("{place}.path"), &self.path)?;
        between(format!("{place}.timeout_seconds"), self.timeout_seconds, 1, 120)
    }
}

// Floats that `between` has seen are never NaN, so equality is an equivalence.
impl Eq for Subscription {}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [[subscriptions]]
        name = "billing"
        path = "/orders"
        events = [{ service = "shop", event = "order_created" }]

        [[endpoints]]
        service = "pricing"
        endpoint = "quote"
        path = "/quote"
    "#;

    #[test]
    fn a_short_declaration_has_defaults() {
        let declaration = Declaration::from_toml(GOOD).unwrap();
        let one = &declaration.subscriptions[0];
        assert_eq!((one.max_in_flight, one.max_attempts, one.timeout_seconds), (16, 5, 30));
        assert_eq!((one.mode, one.dead_letters), (Mode::Binary, DeadLetters::Park));
        assert!(!one.ordered && !one.answer_later);
        let json = serde_json::to_vec(&declaration).unwrap();
        assert_eq!(Declaration::from_json(&json), Ok(declaration));
        assert_eq!(Declaration::from_json(b"{}"), Ok(Declaration::default()));
    }

    fn error(change: (&str, &str)) -> String {
        assert!(GOOD.contains(change.0), "{}", change.0);
        Declaration::from_toml(&GOOD.replacen(change.0, change.1, 1)).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_say_where_they_are() {
        for (change, place) in [
            (("\"billing\"", "\"bill ing\""), "subscriptions[0].name"),
            (("\"billing\"", "\"\""), "subscriptions[0].name"),
            (("\"/orders\"", "\"orders\""), "subscriptions[0].path"),
            (("\"/orders\"", "\"/../x\""), "subscriptions[0].path"),
            (("event = \"order_created\"", "event = \"\""), "subscriptions[0].events[0]"),
            (("{ service = \"shop\", event = \"order_created\" }", ""), "subscriptions[0].events"),
            (("name = ", "max_in_flight = 0\nname = "), "subscriptions[0].max_in_flight"),
            (("name = ", "backoff_seconds = nan\nname = "), "subscriptions[0].backoff_seconds"),
            (("\"pricing\"", "\"pri.cing\""), "endpoints[0].service"),
            (("path = \"/orders\"", "paht = \"/orders\""), "line"),
            (("[[endpoints]]", "[endpoints"), "line"),
        ] {
            assert!(error(change).starts_with(place), "{change:?}: {}", error(change));
        }
    }

    #[test]
    fn doubles_are_refused() {
        let twice = format!(
            "{GOOD}\n[[subscriptions]]\nname = \"billing\"\npath = \"/x\"\nevents = [{{ service = \"a\", event = \"b\" }}]"
        );
        assert!(Declaration::from_toml(&twice).unwrap_err().place.ends_with(".name"));
        for events in [
            "{service=\"a\",event=\"b\"},{service=\"a\",event=\"b\"}",
            "{service=\"a\",event=\"b\"},{service=\"a\",event=\"b\",tenant=\"t\"}",
            "{service=\"a\",event=\"b\",tenant=\"t\"},{service=\"a\",event=\"b\"}",
        ] {
            let text =
                format!("[[subscriptions]]\nname = \"x\"\npath = \"/x\"\nevents = [{events}]");
            let error = Declaration::from_toml(&text).unwrap_err();
            assert!(error.place.starts_with("subscriptions[0].events"), "{error}");
        }
    }

    #[test]
    fn json_mistakes_name_the_path_and_trailing_text_is_one() {
        let error = Declaration::from_json(br#"{"subscriptions":[{"name":7}]}"#).unwrap_err();
        assert_eq!(error.place, "subscriptions[0].name");
        assert!(Declaration::from_json(b"{} x").is_err());
        assert!(Declaration::from_json(b"[]").is_err());
        assert!(Declaration::from_json(&[b' '; DECLARATION_BYTES_MAX + 1]).is_err());
    }
}
