//! Wire contracts of the notification platform: what its roles say to each other over the bus.
//! Reads: nothing. Writes: nothing. Never: depends on HTTP shapes or table rows; those are converted by
//! hand so that each may change alone. Contracts are additive: a field that was ever sent keeps its
//! meaning, new fields have defaults, and one sample of every version stays in the tests for ever.

mod catalogue;
mod inbox;

use std::collections::BTreeMap;

use campana_bus::clock::Micros;
use campana_bus::ids::{DeliveryId, NotificationId};
use campana_bus::trace::TraceParent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use catalogue::contracts;
pub use inbox::{
    INBOX_ARCHIVE_TYPE, INBOX_READ_TYPE, INBOX_SEEN_TYPE, INBOX_TYPE, INBOX_UNARCHIVE_TYPE,
    InboxMark, InboxMessage,
};

/// CloudEvents type of a request.
pub const REQUEST_TYPE: &str = "campana.notify.request.v1";
/// CloudEvents type of a delivery.
pub const DELIVERY_TYPE: &str = "campana.notify.delivery.v1";
/// CloudEvents type of an outcome.
pub const OUTCOME_TYPE: &str = "campana.notify.outcome.v1";

/// How a person is reached.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The bell in a browser, through the edge.
    InApp,
    /// SMTP.
    Email,
    /// Twilio Messages API.
    Sms,
    /// Twilio Messages API with `whatsapp:` addresses.
    Whatsapp,
    /// Standard Webhooks.
    Webhook,
}

impl Channel {
    /// Every channel, in the order in which documents list them.
    pub const ALL: [Self; 5] = [Self::InApp, Self::Email, Self::Sms, Self::Whatsapp, Self::Webhook];

    /// The name on the wire, in subjects, in metrics and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InApp => "in_app",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
            Self::Webhook => "webhook",
        }
    }
}

/// Which requests go first when there is a queue.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Security codes and alarms.
    Critical,
    /// Everything else.
    #[default]
    Normal,
    /// Campaigns and digests.
    Bulk,
}

impl Priority {
    /// Every priority, most urgent first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Normal, Self::Bulk];

    /// The name on the wire and in subjects.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

/// One person to reach: by id (looked up in the store) with optional addresses that win over stored ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// The recipient's id, as the caller names people.
    pub id: String,
    /// True if the request itself describes the recipient, so that no stored one is needed.
    #[serde(default)]
    pub inline: bool,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Phone number in E.164 form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Where webhooks go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
}

/// What to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// A stored template filled with data.
    Template {
        /// The template's key.
        key: String,
        /// The values for its placeholders.
        #[serde(default)]
        data: serde_json::Map<String, serde_json::Value>,
    },
    /// The text itself.
    Inline {
        /// One line: the bell's title, the e-mail's subject.
        title: String,
        /// The text.
        #[serde(default)]
        body: String,
        /// Where a click leads.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
}

/// A notification as the gateway accepted it: the command on `REQUESTS`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationRequest {
    /// Its id; the 202 answered it.
    pub id: NotificationId,
    /// Whose it is.
    pub tenant: String,
    /// When the gateway took it.
    pub accepted_at: Micros,
    /// Whom to reach.
    pub to: Vec<Target>,
    /// What to say.
    pub content: Content,
    /// Over which channels; `None` leaves it to the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<Channel>>,
    /// How urgent.
    #[serde(default)]
    pub priority: Priority,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<Micros>,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Micros>,
    /// The caller's own labels, passed through.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// When the notification reached each stage so far, if its sender asked for that: what its messages carry in
    /// the header `Campana-Stamps`. A text that cannot be read counts as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamps: Option<String>,
    /// The trace of the HTTP request.
    pub trace: TraceParent,
}

/// A rendered message, ready for any channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rendered {
    /// Title or subject; empty where the channel has none.
    #[serde(default)]
    pub title: String,
    /// Plain text.
    #[serde(default)]
    pub text: String,
    /// HTML alternative for e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Where a click leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One message to one address over one channel: the command on `DELIVERIES`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Derived from notification, recipient and channel, so a repeat is the same delivery.
    pub id: DeliveryId,
    /// The notification it belongs to.
    pub notification_id: NotificationId,
    /// Whose it is.
    pub tenant: String,
    /// The recipient's id.
    pub recipient: String,
    /// Over which channel.
    pub channel: Channel,
    /// E-mail address, phone number or URL.
    pub address: String,
    /// What to send.
    pub message: Rendered,
    /// When the gateway took the notification.
    pub accepted_at: Micros,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Micros>,
    /// The caller's own labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The trace of the HTTP request.
    pub trace: TraceParent,
}

impl Delivery {
    /// The id that this notification, recipient and channel always give.
    #[must_use]
    pub fn derive_id(
        notification: NotificationId,
        recipient: &str,
        channel: Channel,
    ) -> DeliveryId {
        let named = notification.to_string();
        let parts = [named.as_str(), recipient, channel.as_str()];
        match notification.created_at() {
            Some(at) => DeliveryId::derived_at(at, &parts),
            None => DeliveryId::derived(&parts),
        }
    }
}

/// Where a delivery stands. The order is the order of progress: a status never moves to a lower rank.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Waiting for its channel worker.
    Queued,
    /// Failed for now; another attempt is planned.
    Retrying,
    /// A provider took it; whether it arrived is not known (yet).
    Sent,
    /// Not sent, by rule: preference, no address, opted out.
    Suppressed,
    /// Withdrawn before it was sent.
    Canceled,
    /// Too late to be of use.
    Expired,
    /// Given up; the reason says why, and the dead letter can be redriven.
    Failed,
    /// Arrived.
    Delivered,
}

impl DeliveryStatus {
    /// The name on the wire, in rows and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Retrying => "retrying",
            Self::Sent => "sent",
            Self::Suppressed => "suppressed",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
        }
    }

    /// Forward-only order, stored beside the status so that one SQL comparison decides.
    #[must_use]
    pub const fn rank(self) -> i64 {
        match self {
            Self::Queued => 0,
            Self::Retrying => 10,
            Self::Sent => 20,
            Self::Suppressed => 30,
            Self::Canceled => 31,
            Self::Expired => 32,
            Self::Failed => 33,
            Self::Delivered => 40,
        }
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Retrying)
    }
}

/// One line of a plan: what will happen to one recipient on one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedDelivery {
    /// The delivery.
    pub id: DeliveryId,
    /// The recipient's id.
    pub recipient: String,
    /// Over which channel.
    pub channel: Channel,
    /// Queued, delivered (in-app: stored on the channel), suppressed, expired or failed.
    pub status: DeliveryStatus,
    /// Machine-readable reason for a status that is not queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What happened: the event on `OUTCOMES`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Derived from what happened, so that a repeat is recorded once.
    pub id: String,
    /// The notification it belongs to.
    pub notification_id: NotificationId,
    /// Whose it is.
    pub tenant: String,
    /// When it happened.
    pub at: Micros,
    /// The trace of the HTTP request.
    pub trace: TraceParent,
    /// What.
    #[serde(flatten)]
    pub event: OutcomeEvent,
}

/// The kinds of outcomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum OutcomeEvent {
    /// The dispatcher holds the notification until its time.
    Scheduled {
        /// The request, for the status page.
        summary: RequestSummary,
        /// When it is due.
        until: Micros,
    },
    /// The dispatcher decided what happens to every recipient and channel.
    Planned {
        /// The request, for the status page.
        summary: RequestSummary,
        /// One line per recipient and channel.
        deliveries: Vec<PlannedDelivery>,
    },
    /// The dispatcher could not make a plan and parked the request as a dead letter.
    Rejected {
        /// The request, for the status page.
        summary: RequestSummary,
        /// Machine-readable reason.
        reason: String,
    },
    /// A channel worker tried.
    Attempted(AttemptReport),
    /// A provider told more later (a signed callback).
    Confirmed {
        /// The delivery.
        delivery_id: DeliveryId,
        /// Where it stands now.
        status: DeliveryStatus,
        /// Machine-readable reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The life of the delivery that is confirmed; see [`AttemptReport::generation`].
        #[serde(default)]
        generation: u32,
    },
    /// The recipient marked an in-app message as read.
    Read {
        /// The delivery.
        delivery_id: DeliveryId,
    },
}

/// What the status page shows of a request; no message text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestSummary {
    /// When the gateway took it.
    pub accepted_at: Micros,
    /// How urgent.
    pub priority: Priority,
    /// The template's key, if one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The caller's own labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// One attempt of one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptReport {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Its channel: an attempt may be recorded before the plan that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// When its notification was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Micros>,
    /// 1 for the first.
    pub attempt: u32,
    /// 0 for the first life of the delivery, 1 after its first redrive, and so on. A higher generation
    /// re-opens a final status.
    #[serde(default)]
    pub generation: u32,
    /// Where the delivery stands after it.
    pub status: DeliveryStatus,
    /// Machine-readable reason, for example `smtp_5.1.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The provider's answer, redacted and cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Which provider.
    pub provider: String,
    /// The provider's own id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_message_id: Option<String>,
    /// How long the provider took, in milliseconds.
    pub duration_ms: u64,
    /// When the next attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Micros>,
    /// True if an earlier attempt may have reached the provider without our knowing.
    #[serde(default)]
    pub possible_duplicate: bool,
}

#[cfg(test)]
mod tests;
