//! Which kept messages a list shows: a pure selection over a snapshot, newest first.

use std::str::FromStr;
use std::sync::Arc;

use campana_bus::clock::Micros;

use super::{Channel, Message, MessageId};

/// The most messages one answer carries.
pub const MAX_PAGE: usize = 1_000;
/// Messages in an answer when the caller does not say.
pub const DEFAULT_PAGE: usize = 100;

/// Only messages after this one or after this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    Id(MessageId),
    At(Micros),
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        Micros::from_rfc3339(text)
            .map(Self::At)
            .ok_or("since must be a message id (msg_12) or an RFC 3339 time")
    }
}

#[derive(Debug, Clone, Default)]
pub struct Query {
    pub channel: Option<Channel>,
    /// Part of a recipient, case-insensitive.
    pub to: Option<String>,
    /// Part of a recipient, the sender, the subject or the preview, case-insensitive.
    pub text: Option<String>,
    pub since: Option<Since>,
    /// Only messages older than this one: the cursor of the next page.
    pub before: Option<MessageId>,
    pub limit: Option<usize>,
}

#[derive(Debug)]
pub struct Page {
    pub messages: Vec<Arc<Message>>,
    /// Give it as `before` to read on; `None`: this was the last page.
    pub next_before: Option<MessageId>,
}

pub(super) fn select(newest_first: &[Arc<Message>], query: &Query) -> Page {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let to = query.to.as_deref().map(str::to_lowercase);
    let text = query.text.as_deref().map(str::to_lowercase);
    let mut messages: Vec<Arc<Message>> = Vec::new();
    for message in newest_first {
        if !matches(message, query, to.as_deref(), text.as_deref()) {
            continue;
        }
        if messages.len() == limit {
            let next_before = messages.last().map(|last| last.id);
            return Page { messages, next_before };
        }
        messages.push(Arc::clone(message));
    }
    Page { messages, next_before: None }
}

fn matches(message: &Message, query: &Query, to: Option<&str>, text: Option<&str>) -> bool {
    let after = match query.since {
        None => true,
        Some(Since::Id(id)) => message.id > id,
        Some(Since::At(at)) => message.received.at > at,
    };
    after
        && query.before.is_none_or(|before| message.id < before)
        && query.channel.is_none_or(|channel| message.channel == channel)
        && to.is_none_or(|part| message.to.iter().any(|to| to.to_lowercase().contains(part)))
        && text.is_none_or(|part| contains(message, part))
}

fn contains(message: &Message, part: &str) -> bool {
    let fields = [&message.from, &message.subject, &message.preview];
    fields.into_iter().chain(&message.to).any(|field| field.to_lowercase().contains(part))
}
