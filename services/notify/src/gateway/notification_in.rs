//! The body of `POST /v1/notifications`: its shape, its rules, and the command that it becomes.
//! Reads and writes: nothing; pure. The shape belongs to the HTTP API alone; the wire contract is made
//! from it by hand, so that each may change by itself.

mod who;

use std::collections::{BTreeMap, BTreeSet};

use campana_bus::clock::Micros;
use campana_bus::ids::NotificationId;
use campana_bus::trace::TraceParent;
use serde::Deserialize;
use utoipa::ToSchema;

pub use self::who::{OneRecipient, RecipientRef, Recipients};
use super::options::GatewayOptions;
use super::problem::{FieldCode, Problem};
use super::validate::{FieldErrors, step};
use crate::contracts::{Channel, Content, NotificationRequest, Priority, Target};

const TITLE_BYTES_MAX: usize = 1_024;
const BODY_BYTES_MAX: usize = 64 * 1024;
const METADATA_ENTRIES_MAX: usize = 16;
const METADATA_KEY_BYTES_MAX: usize = 64;
const METADATA_VALUE_BYTES_MAX: usize = 512;

/// A notification to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationIn {
    /// Whom to reach: a recipient's id, a recipient described here, or up to 100 of either.
    pub to: Recipients,
    /// Key of a stored template; either this or `content`.
    #[schema(example = "welcome")]
    pub template: Option<String>,
    /// Values for the template's placeholders.
    #[schema(value_type = Option<Object>)]
    pub data: Option<serde_json::Map<String, serde_json::Value>>,
    /// The text itself; either this or `template`.
    pub content: Option<ContentIn>,
    /// Over which channels. Default: the template's channels; for `content`, `in_app`.
    pub channels: Option<Vec<Channel>>,
    /// How urgent. Default: `normal`.
    pub priority: Option<Priority>,
    /// Not before this time (RFC 3339), at most 30 days ahead.
    #[schema(example = "2026-12-24T18:00:00Z")]
    pub send_at: Option<String>,
    /// Not before so many seconds from now, at most 30 days.
    pub delay_seconds: Option<u64>,
    /// Not after this time (RFC 3339).
    pub expires_at: Option<String>,
    /// Your own labels, at most 16; passed through to the answer and to the browser.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// Text without a template.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentIn {
    /// One line: the bell's title, the e-mail's subject.
    #[schema(example = "Your table is ready")]
    pub title: String,
    /// The text.
    pub body: Option<String>,
    /// Where a click leads: an absolute http(s) URL or a path.
    pub url: Option<String>,
}

/// A notification that passed every check which needs no store.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) to: Vec<Target>,
    /// Whether `to` was a list, for pointers.
    pub(super) is_list: bool,
    pub(super) content: Content,
    pub(super) channels: Option<Vec<Channel>>,
    pub(super) priority: Priority,
    send_at: Option<Micros>,
    expires_at: Option<Micros>,
    metadata: BTreeMap<String, String>,
}

impl Draft {
    /// Checks a body; `prefix` is where it stands in the whole body.
    pub(super) fn check(
        input: NotificationIn,
        prefix: &str,
        options: &GatewayOptions,
        now: Micros,
    ) -> Result<Self, Problem> {
        let mut errors = FieldErrors::at(prefix);
        let is_list = matches!(input.to, Recipients::Many(_));
        let to = check_recipients(input.to, options, &mut errors);
        let content = check_content(input.template, input.data, input.content, &mut errors);
        if let Some(channels) = &input.channels {
            check_channels(channels, &mut errors);
        }
        let send_at =
            check_start(input.send_at.as_deref(), input.delay_seconds, options, now, &mut errors);
        let expires_at =
            check_end(input.expires_at.as_deref(), send_at.unwrap_or(now), &mut errors);
        let metadata = input.metadata.unwrap_or_default();
        check_metadata(&metadata, &mut errors);
        errors.finish()?;
        let Some(content) = content else {
            return Err(Problem::fields(Vec::new()));
        };
        let priority = input.priority.unwrap_or_default();
        Ok(Self {
            to,
            is_list,
            content,
            channels: input.channels,
            priority,
            send_at,
            expires_at,
            metadata,
        })
    }

    /// Where a recipient stands in the body.
    pub(super) fn recipient_pointer(&self, position: usize) -> String {
        if self.is_list { format!("/to/{position}") } else { "/to".to_owned() }
    }

    /// The command for the dispatcher.
    pub(super) fn into_request(
        self,
        id: NotificationId,
        tenant: &str,
        accepted_at: Micros,
        trace: TraceParent,
    ) -> NotificationRequest {
        NotificationRequest {
            id,
            tenant: tenant.to_owned(),
            accepted_at,
            to: self.to,
            content: self.content,
            channels: self.channels,
            priority: self.priority,
            send_at: self.send_at,
            expires_at: self.expires_at,
            metadata: self.metadata,
            stamps: None,
            trace,
        }
    }
}

fn check_recipients(
    to: Recipients,
    options: &GatewayOptions,
    errors: &mut FieldErrors,
) -> Vec<Target> {
    let (list, is_list) = match to {
        Recipients::One(one) => (vec![one], false),
        Recipients::Many(list) => (list, true),
    };
    if list.is_empty() {
        errors.push("/to", FieldCode::Empty, "at least one recipient is needed");
    }
    if list.len() > options.recipients_max {
        let detail = format!("at most {} recipients are allowed", options.recipients_max);
        errors.push("/to", FieldCode::TooMany, detail);
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut targets = Vec::with_capacity(list.len());
    for (position, one) in list.into_iter().enumerate() {
        let base = if is_list { format!("/to/{position}") } else { "/to".to_owned() };
        let target = check_recipient(one, &base, errors);
        if !seen.insert(target.id.clone()) {
            errors.push(&base, FieldCode::Duplicate, "this recipient is already in the list");
        }
        targets.push(target);
    }
    targets
}

fn check_recipient(one: OneRecipient, base: &str, errors: &mut FieldErrors) -> Target {
    match one {
        OneRecipient::Id(id) => {
            errors.name(base, &id);
            Target { id, inline: false, email: None, phone: None, webhook_url: None }
        }
        OneRecipient::Described(RecipientRef { id, email, phone, webhook_url }) => {
            errors.name(&format!("{base}/id"), &id);
            if let Some(email) = &email {
                errors.email(&format!("{base}/email"), email);
            }
            if let Some(phone) = &phone {
                errors.phone(&format!("{base}/phone"), phone);
            }
            if let Some(url) = &webhook_url {
                errors.url(&format!("{base}/webhook_url"), url);
            }
            Target { id, inline: true, email, phone, webhook_url }
        }
    }
}

fn check_content(
    template: Option<String>,
    data: Option<serde_json::Map<String, serde_json::Value>>,
    content: Option<ContentIn>,
    errors: &mut FieldErrors,
) -> Option<Content> {
    match (template, content) {
        (Some(_), Some(_)) => {
            errors.push(
                "/content",
                FieldCode::Conflict,
                "give either a template or content, not both",
            );
            None
        }
        (None, None) => {
            errors.push("/content", FieldCode::MissingField, "give either a template or content");
            None
        }
        (Some(key), None) => {
            errors.name("/template", &key);
            Some(Content::Template { key, data: data.unwrap_or_default() })
        }
        (None, Some(ContentIn { title, body, url })) => {
            if data.is_some() {
                errors.push("/data", FieldCode::Conflict, "data fills a template; there is none");
            }
            errors.required_text("/content/title", &title, TITLE_BYTES_MAX);
            if title.chars().any(char::is_control) {
                errors.push(
                    "/content/title",
                    FieldCode::InvalidName,
                    "a title is one line without control characters",
                );
            }
            let body = body.unwrap_or_default();
            errors.text("/content/body", &body, BODY_BYTES_MAX);
            if let Some(url) = &url {
                errors.link("/content/url", url);
            }
            Some(Content::Inline { title, body, url })
        }
    }
}

fn check_channels(channels: &[Channel], errors: &mut FieldErrors) {
    if channels.is_empty() {
        errors.push(
            "/channels",
            FieldCode::Empty,
            "at least one channel is needed; leave the field out for the default",
        );
    }
    for (position, channel) in channels.iter().enumerate() {
        if channels[..position].contains(channel) {
            errors.push(
                &format!("/channels/{position}"),
                FieldCode::Duplicate,
                "this channel is already in the list",
            );
        }
    }
}

fn check_start(
    send_at: Option<&str>,
    delay_seconds: Option<u64>,
    options: &GatewayOptions,
    now: Micros,
    errors: &mut FieldErrors,
) -> Option<Micros> {
    let seconds_max = options.delay_seconds_max;
    let latest = now.plus_seconds(i64::try_from(seconds_max).unwrap_or(i64::MAX));
    match (send_at, delay_seconds) {
        (None, None) => None,
        (Some(_), Some(_)) => {
            errors.push(
                "/delay_seconds",
                FieldCode::Conflict,
                "give either send_at or delay_seconds, not both",
            );
            None
        }
        (None, Some(seconds)) => {
            if seconds > seconds_max {
                errors.push(
                    "/delay_seconds",
                    FieldCode::OutOfRange,
                    format!("at most {seconds_max} seconds are allowed"),
                );
                return None;
            }
            (seconds > 0).then(|| now.plus_seconds(i64::try_from(seconds).unwrap_or(i64::MAX)))
        }
        (Some(text), None) => match Micros::from_rfc3339(text) {
            None => {
                errors.push(
                    "/send_at",
                    FieldCode::InvalidTime,
                    "a time has the form 2026-12-24T18:00:00Z (RFC 3339)",
                );
                None
            }
            Some(at) if at > latest => {
                errors.push(
                    "/send_at",
                    FieldCode::OutOfRange,
                    format!("at most {seconds_max} seconds ahead are allowed"),
                );
                None
            }
            // A time that has passed means now.
            Some(at) => (at > now).then_some(at),
        },
    }
}

fn check_end(expires_at: Option<&str>, start: Micros, errors: &mut FieldErrors) -> Option<Micros> {
    let text = expires_at?;
    let at = Micros::from_rfc3339(text);
    match at {
        None => {
            errors.push(
                "/expires_at",
                FieldCode::InvalidTime,
                "a time has the form 2026-12-24T18:00:00Z (RFC 3339)",
            );
        }
        Some(at) if at <= start => {
            errors.push("/expires_at", FieldCode::OutOfRange, "it would expire before it is sent");
        }
        Some(_) => {}
    }
    at
}

fn check_metadata(metadata: &BTreeMap<String, String>, errors: &mut FieldErrors) {
    if metadata.len() > METADATA_ENTRIES_MAX {
        errors.push(
            "/metadata",
            FieldCode::TooMany,
            format!("at most {METADATA_ENTRIES_MAX} labels are allowed"),
        );
    }
    for (key, value) in metadata {
        let pointer = format!("/metadata{}", step(key));
        if key.is_empty() {
            errors.push("/metadata", FieldCode::Empty, "a label's name must not be empty");
        } else if key.len() > METADATA_KEY_BYTES_MAX {
            errors.push(
                "/metadata",
                FieldCode::TooLong,
                format!("a label's name has at most {METADATA_KEY_BYTES_MAX} bytes"),
            );
        } else {
            errors.text(&pointer, value, METADATA_VALUE_BYTES_MAX);
        }
        // SQL text columns cannot hold it, and no label needs it.
        if key.contains('\0') || value.contains('\0') {
            errors.push(
                "/metadata",
                FieldCode::InvalidName,
                "labels must not contain the character U+0000",
            );
        }
    }
}

#[cfg(test)]
mod tests;
