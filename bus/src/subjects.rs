//! Every subject of the platform, built and parsed here and nowhere else.
//! Reads: names that users chose. Writes: nothing. Never: lets a name become more than one token.
//!
//! A user's name becomes exactly one token: ASCII letters, digits, `-` and `_` stay, every other byte of
//! its UTF-8 form becomes `=XX` (upper-case hexadecimal), and the empty name becomes `=`. The mapping is
//! injective, so no name can contain `.`, `*`, `>`, white space or a control character, and two names
//! never meet on one subject.

mod addresses;
mod advisories;
mod buckets;
mod channels;
mod control;
mod presence;
mod template;
mod traces;

use std::fmt;

use sha2::{Digest as _, Sha256};

pub use addresses::*;
pub use advisories::*;
pub use buckets::*;
pub use channels::*;
pub use control::*;
pub use presence::*;
pub use template::{stream_of, template, template_value};
pub use traces::EDGE_TRACE;

/// Longest name (tenant, channel, recipient, …) in bytes. Escaping can triple it; NATS reads protocol
/// lines of up to 4,096 bytes by default (`max_control_line`), and the longest subject here stays below.
pub const NAME_BYTES_MAX: usize = 255;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A channel like `:x` or `x:` would be a second name for `x`.
    #[error("a channel name needs text on both sides of its first ':'")]
    HalfChannel,
    /// Control characters make logs and pages unreadable and are never meant.
    #[error("a name must not contain control characters")]
    Control,
}

/// Checks a name that a user chose. Everything printable is allowed; escaping makes it harmless.
///
/// # Errors
/// Says which rule the name breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

/// Turns any text into one subject token.
#[must_use]
pub fn escape(name: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if name.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            token.push('=');
            token.push(char::from(HEX[usize::from(byte >> 4)]));
            token.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    token
}

/// The text behind a token; `None` for a token that [`escape`] never makes.
#[must_use]
pub fn unescape(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let (high, low) = (rest.next()?, rest.next()?);
            bytes.push(hex_digit(high)? << 4 | hex_digit(low)?);
        } else {
            bytes.push(byte);
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    // One name, one token: a needlessly escaped letter is not ours.
    (!name.is_empty() && escape(&name) == token).then_some(name)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// A channel's name as clients write it: `namespace:rest`, or just `rest`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName {
    full: String,
    colon: Option<usize>,
}

impl ChannelName {
    /// Parses what a client sent.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn parse(full: &str) -> Result<Self, NameError> {
        check_name(full)?;
        let colon = full.find(':');
        if colon == Some(0) || colon == Some(full.len() - 1) {
            return Err(NameError::HalfChannel);
        }
        Ok(Self { full: full.to_owned(), colon })
    }

    /// The personal inbox of one user.
    ///
    /// # Errors
    /// If the user's name is empty, too long or has control characters.
    pub fn inbox(user: &str) -> Result<Self, NameError> {
        check_name(user)?;
        Self::parse(&format!("{INBOX_NAMESPACE}:#{user}"))
    }

    /// Text before the first `:`; empty if there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.colon.map_or("", |at| &self.full[..at])
    }

    /// Text after the first `:`; the whole name if there is none.
    #[must_use]
    pub fn rest(&self) -> &str {
        self.colon.map_or(self.full.as_str(), |at| &self.full[at + 1..])
    }

    /// The name as clients write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.full
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.full, f)
    }
}

/// The namespace whose channels are people's inboxes.
pub const INBOX_NAMESPACE: &str = "inbox";

/// `notify.request.{priority}`; the priority is one of a fixed few.
#[must_use]
pub fn request(priority: &str) -> String {
    format!("notify.request.{}", escape(priority))
}

/// All requests that wait for the dispatcher; those that wait for their time are elsewhere.
pub const REQUESTS_FILTER: &str = "notify.request.*";

/// `notify.deliver.{channel}.{tenant}`.
#[must_use]
pub fn deliver(channel: &str, tenant: &str) -> String {
    format!("notify.deliver.{}.{}", escape(channel), escape(tenant))
}

/// All deliveries of one channel.
#[must_use]
pub fn deliver_filter(channel: &str) -> String {
    format!("notify.deliver.{}.*", escape(channel))
}

/// `notify.outcome.{tenant}.{notification}`.
#[must_use]
pub fn outcome(tenant: &str, notification: &str) -> String {
    format!("notify.outcome.{}.{}", escape(tenant), escape(notification))
}

/// `notify.outcomes.{tenant}`: outcomes of many notifications in one envelope.
#[must_use]
pub fn outcomes(tenant: &str) -> String {
    format!("notify.outcomes.{}", escape(tenant))
}

/// `_edge.node.{node}.emulate`: commands of clients that one edge node brings to another.
#[must_use]
pub fn edge_emulate(node: &str) -> String {
    format!("_edge.node.{}.emulate", escape(node))
}

/// `app.{tenant}.{service}.{event}`: service authors' own domain events.
#[must_use]
pub fn app_event(tenant: &str, service: &str, event: &str) -> String {
    format!("app.{}.{}.{}", escape(tenant), escape(service), escape(event))
}

/// `app.{tenant}.{service}.{event}.{key}`: a domain event with an ordering key.
#[must_use]
pub fn app_event_keyed(tenant: &str, service: &str, event: &str, key: &str) -> String {
    format!("{}.{}", app_event(tenant, service, event), escape(key))
}

/// One kind of domain event without a key, of every tenant.
#[must_use]
pub fn app_event_filter(service: &str, event: &str) -> String {
    format!("app.*.{}.{}", escape(service), escape(event))
}

/// One kind of domain event with any key, of every tenant.
#[must_use]
pub fn app_event_keyed_filter(service: &str, event: &str) -> String {
    format!("{}.*", app_event_filter(service, event))
}

/// One kind of domain event with and without a key, of one tenant or of every tenant (`None`).
#[must_use]
pub fn app_event_filters(tenant: Option<&str>, service: &str, event: &str) -> [String; 2] {
    let bare = match tenant {
        Some(tenant) => app_event(tenant, service, event),
        None => app_event_filter(service, event),
    };
    let keyed = format!("{bare}.*");
    [bare, keyed]
}

/// What the subject of a domain event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppEvent {
    /// Whose event it is.
    pub tenant: String,
    /// The service that tells it.
    pub service: String,
    /// What happened.
    pub event: String,
    /// The ordering key, if it has one.
    pub key: Option<String>,
}

/// Reads a subject that [`app_event`] or [`app_event_keyed`] made.
#[must_use]
pub fn parse_app_event(subject: &str) -> Option<AppEvent> {
    let mut tokens = subject.strip_prefix("app.")?.split('.').map(unescape);
    let (tenant, service, event) = (tokens.next()??, tokens.next()??, tokens.next()??);
    let key = match tokens.next() {
        Some(key) => Some(key?),
        None => None,
    };
    tokens.next().is_none().then_some(AppEvent { tenant, service, event, key })
}

/// What the subject transform of a partitioned stream makes of keyed events of one kind:
/// `part.{stream}.{partition}.{tenant}.{service}.{event}.{key}`, the partition drawn from tenant and key.
#[must_use]
pub fn partition_transform(stream: &str, partitions: u16, service: &str, event: &str) -> String {
    format!(
        "part.{}.{{{{partition({partitions},1,2)}}}}.{{{{wildcard(1)}}}}.{}.{}.{{{{wildcard(2)}}}}",
        escape(stream),
        escape(service),
        escape(event)
    )
}

/// One kind of event, of every tenant, in one partition.
#[must_use]
pub fn partition_filter(stream: &str, partition: u16, service: &str, event: &str) -> String {
    format!("part.{}.{partition}.*.{}.{}.*", escape(stream), escape(service), escape(event))
}

/// Everything in one partition.
#[must_use]
pub fn partition_filter_all(stream: &str, partition: u16) -> String {
    format!("part.{}.{partition}.>", escape(stream))
}

/// Everything that comes back to the consumers of a stream.
#[must_use]
pub fn retry_filter_all(stream: &str) -> String {
    format!("_retry.{}.>", escape(stream))
}

/// Where a consumer is asked for messages (JetStream's API).
#[must_use]
pub fn consumer_next(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

/// `dlq.{stream}.{consumer}.{sequence}`: one subject per dead message, so that it is parked once.
#[must_use]
pub fn dead_letter(stream: &str, consumer: &str, sequence: u64) -> String {
    format!("dlq.{}.{}.{sequence}", escape(stream), escape(consumer))
}

/// Dead letters of one stream and consumer; `None` stands for all.
#[must_use]
pub fn dead_letter_filter(stream: Option<&str>, consumer: Option<&str>) -> String {
    let token = |name: Option<&str>| name.map_or_else(|| "*".to_owned(), escape);
    format!("dlq.{}.{}.*", token(stream), token(consumer))
}

/// Stream, consumer and sequence of a dead letter's subject.
#[must_use]
pub fn parse_dead_letter(subject: &str) -> Option<(String, String, u64)> {
    let mut tokens = subject.strip_prefix("dlq.")?.split('.');
    let (stream, consumer, sequence) = (tokens.next()?, tokens.next()?, tokens.next()?);
    if tokens.next().is_some() {
        return None;
    }
    Some((unescape(stream)?, unescape(consumer)?, sequence.parse().ok()?))
}

/// Whether a filter (with `*` and `>`) takes a subject, by the rules of NATS.
#[must_use]
pub fn matches(filter: &str, subject: &str) -> bool {
    let (mut wanted, mut found) = (filter.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), found.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

/// Whether a stored message waits here for its time: nobody is meant to take it yet.
#[must_use]
pub fn is_waiting(subject: &str) -> bool {
    subject.starts_with("_delay.") || subject.starts_with("_schedule.")
}

/// The tenant that a subject names; `None` for subjects without one, as those of requests, which carry
/// many tenants in one message, and those of other streams.
#[must_use]
pub fn tenant_of(subject: &str) -> Option<String> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let token = match tokens.as_slice() {
        ["notify", "deliver", _, tenant] | ["notify", "outcome", tenant, _] => tenant,
        ["notify", "outcomes", tenant] => tenant,
        ["ch" | "chd", tenant, _, _] => tenant,
        ["app", tenant, _, _, ..] => tenant,
        _ => return None,
    };
    unescape(token)
}

/// Where a message waits for its schedule. The key makes a repeat overwrite instead of double.
#[must_use]
pub fn delay(stream: &str, consumer: &str, key: &str) -> String {
    format!("_delay.{}.{}.{}", escape(stream), escape(consumer), escape(key))
}

/// All messages of a stream that wait to come back to a consumer.
#[must_use]
pub fn delay_filter(stream: &str) -> String {
    format!("_delay.{}.>", escape(stream))
}

/// Where a scheduled or redriven message comes back, seen by one consumer only.
#[must_use]
pub fn retry(stream: &str, consumer: &str, key: &str) -> String {
    format!("_retry.{}.{}.{}", escape(stream), escape(consumer), escape(key))
}

/// Everything that comes back to one consumer.
#[must_use]
pub fn retry_filter(stream: &str, consumer: &str) -> String {
    format!("_retry.{}.{}.*", escape(stream), escape(consumer))
}

/// Whether a text can be the name of a stream. Names become a token of JetStream's own subjects, unescaped, so
/// that whoever takes one from outside checks it first.
#[must_use]
pub fn is_stream_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(forbidden)
}

/// `_schedule.{stream}.{key}`: where a message waits until it is due. One subject a key, so that a new schedule
/// of the same key takes the place of the old one.
#[must_use]
pub fn schedule(stream: &str, key: &str) -> String {
    format!("_schedule.{}.{}", escape(stream), escape(key))
}

/// What the subjects of all schedules of one stream begin with.
#[must_use]
pub fn schedule_prefix(stream: &str) -> String {
    format!("_schedule.{}", escape(stream))
}

/// All schedules of one stream.
#[must_use]
pub fn schedule_filter(stream: &str) -> String {
    format!("_schedule.{}.*", escape(stream))
}

/// Stream and key of a schedule's subject.
#[must_use]
pub fn parse_schedule(subject: &str) -> Option<(String, String)> {
    let (stream, key) = subject.strip_prefix("_schedule.")?.split_once('.')?;
    Some((unescape(stream)?, unescape(key)?))
}

/// Whether a subject carries the library's own copies (waiting, coming back) instead of what somebody published.
#[must_use]
pub fn is_internal(subject: &str) -> bool {
    ["_schedule.", "_delay.", "_retry."].iter().any(|prefix| subject.starts_with(prefix))
}

/// `svc.{service}.{endpoint}`: where a service answers requests.
#[must_use]
pub fn service(service: &str, endpoint: &str) -> String {
    format!("svc.{}.{}", escape(service), escape(endpoint))
}

/// Where services answer questions about themselves (NATS ADR-32): `$SRV.{verb}`, `$SRV.{verb}.{name}` and
/// `$SRV.{verb}.{name}.{id}`. `*` as the verb stands for all of them.
#[must_use]
pub fn service_discovery(verb: &str, name: Option<&str>, id: Option<&str>) -> String {
    let mut subject = format!("$SRV.{verb}");
    for part in [name, id].into_iter().flatten() {
        subject.push('.');
        subject.push_str(part);
    }
    subject
}

/// All notes on channels' last messages, and how far they go.
pub const HISTORY_NOTES_FILTER: &str = "$KV.history_notes.>";
/// How far notes on channels' last messages go.
pub const HISTORY_NOTED: &str = "$KV.history_notes.noted";

/// Where it is noted which message of the channel stored under `subject` was the last one. A digest, because a channel's
/// name, escaped, can be longer than a key may be.
#[must_use]
pub fn history_note(subject: &str) -> String {
    format!("$KV.history_notes.channel.{}", hex::encode(&Sha256::digest(subject.as_bytes())[..16]))
}

#[cfg(test)]
mod tests;
