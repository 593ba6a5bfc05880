//! One message as it is kept, and the short form that lists and the live stream show.
//!
//! E-mail is kept as the octets that arrived and parsed again when somebody opens it: half the
//! memory, and nothing a parser dropped is lost. These types leave through JSON only.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use crate::stamp::Stamp;

/// Characters of the body that a list shows.
pub const PREVIEW_CHARS: usize = 140;
/// Fixed cost that every message is charged besides its body, so that empty ones count too.
const OVERHEAD_BYTES: usize = 512;

/// `msg_<n>`: ascending in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "msg_{}", self.0)
    }
}

impl FromStr for MessageId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.strip_prefix("msg_").and_then(|n| n.parse().ok()).map(Self).ok_or(())
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The channel a message came by, named as the platform names its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    #[serde(alias = "smtp")]
    Email,
    Sms,
    Whatsapp,
    Webhook,
}

impl Channel {
    pub const ALL: [Self; 4] = [Self::Email, Self::Sms, Self::Whatsapp, Self::Webhook];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
            Self::Webhook => "webhook",
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Email => 0,
            Self::Sms => 1,
            Self::Whatsapp => 2,
            Self::Webhook => 3,
        }
    }
}

/// A message before it has an id.
#[derive(Debug)]
pub struct Draft {
    pub channel: Channel,
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    pub preview: String,
    pub received: Stamp,
    pub content: Content,
}

/// A kept message.
#[derive(Debug)]
pub struct Message {
    pub id: MessageId,
    pub channel: Channel,
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    pub preview: String,
    /// What it costs the ring.
    pub size: usize,
    pub received: Stamp,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    Email(Email),
    Sms(Sms),
    Webhook(Webhook),
}

#[derive(Debug)]
pub struct Email {
    pub helo: String,
    pub mail_from: String,
    pub auth_user: Option<String>,
    pub raw: Bytes,
}

/// A text message (SMS or WhatsApp) as the Twilio-compatible endpoint accepted it.
#[derive(Debug)]
pub struct Sms {
    pub sid: String,
    pub body: String,
    pub num_segments: u32,
    pub num_media: u32,
    pub messaging_service_sid: Option<String>,
    pub status_callback: Option<String>,
    /// Every field of the form, for the page.
    pub fields: Vec<(String, String)>,
    state: Mutex<SmsState>,
}

/// The part of a text message that moves.
#[derive(Debug, Clone)]
pub struct SmsState {
    pub status: &'static str,
    pub error_code: Option<u32>,
    pub updated: Stamp,
    pub callbacks: Vec<Callback>,
}

/// One status callback that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Callback {
    pub status: &'static str,
    pub at: String,
    /// `answered 204`, `failed`, `lost`, …
    pub result: String,
}

impl Sms {
    pub fn new(sid: String, body: String, num_segments: u32, received: Stamp) -> Self {
        Self {
            sid,
            body,
            num_segments,
            num_media: 0,
            messaging_service_sid: None,
            status_callback: None,
            fields: Vec::new(),
            state: Mutex::new(SmsState {
                status: "queued",
                error_code: None,
                updated: received,
                callbacks: Vec::new(),
            }),
        }
    }

    pub fn state(&self) -> SmsState {
        self.lock().clone()
    }

    pub fn move_to(&self, status: &'static str, error_code: Option<u32>, now: Stamp) {
        let mut state = self.lock();
        state.status = status;
        state.error_code = error_code;
        state.updated = now;
    }

    pub fn note_callback(&self, callback: Callback) {
        self.lock().callbacks.push(callback);
    }

    fn lock(&self) -> MutexGuard<'_, SmsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the signature of a webhook turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verification {
    Verified,
    /// No signature headers.
    Unsigned,
    /// Signed, but no secret is registered for the name.
    Unchecked,
    Bad {
        reason: String,
    },
}

#[derive(Debug)]
pub struct Webhook {
    pub name: String,
    pub path: String,
    pub webhook_id: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
    pub verification: Verification,
    /// What the sandbox answered.
    pub answered: u16,
}

/// The short form of a message.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    pub id: MessageId,
    pub channel: Channel,
    pub from: &'a str,
    pub to: &'a [String],
    pub subject: &'a str,
    pub preview: &'a str,
    pub size: usize,
    pub received_at: String,
    pub received_monotonic_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<&'a Verification>,
}

impl Draft {
    pub(super) fn into_message(self, id: MessageId) -> Message {
        let body = match &self.content {
            Content::Email(email) => email.raw.len(),
            Content::Sms(sms) => sms.fields.iter().map(|(k, v)| k.len() + v.len()).sum(),
            Content::Webhook(hook) => {
                let headers: usize = hook.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
                hook.body.len() + headers
            }
        };
        let listed: usize = self.to.iter().map(String::len).sum();
        let size = OVERHEAD_BYTES + body + listed + self.subject.len() + self.preview.len();
        Message {
            id,
            channel: self.channel,
            from: self.from,
            to: self.to,
            subject: self.subject,
            preview: self.preview,
            size,
            received: self.received,
            content: self.content,
        }
    }
}

impl Message {
    pub fn summary(&self) -> Summary<'_> {
        let (status, error_code) = match &self.content {
            Content::Sms(sms) => {
                let state = sms.state();
                (Some(state.status), state.error_code)
            }
            _ => (None, None),
        };
        Summary {
            id: self.id,
            channel: self.channel,
            from: &self.from,
            to: &self.to,
            subject: &self.subject,
            preview: &self.preview,
            size: self.size,
            received_at: self.received.at.to_rfc3339(),
            received_monotonic_ns: self.received.monotonic_ns,
            status,
            error_code,
            verification: match &self.content {
                Content::Webhook(hook) => Some(&hook.verification),
                _ => None,
            },
        }
    }
}

/// The first characters of a text with white space folded, for lists.
pub fn preview(text: &str) -> String {
    let mut short = String::new();
    // One place is kept for the ellipsis.
    let mut left = PREVIEW_CHARS - 1;
    for word in text.split_whitespace() {
        let gap = usize::from(!short.is_empty());
        let length = word.chars().count();
        if gap + length > left {
            let room = left.saturating_sub(gap);
            short.extend(std::iter::repeat_n(' ', gap.min(room)));
            short.extend(word.chars().take(room));
            short.push('…');
            break;
        }
        short.extend(std::iter::repeat_n(' ', gap));
        short.push_str(word);
        left -= gap + length;
    }
    short
}
