//! The decision: one accepted request becomes deliveries, one per recipient and channel.
//! Reads: its arguments only. Writes: nothing. Never: does I/O, reads a clock, or makes a random id.
//!
//! Pure, so that a redelivered request gives the same ids and the same texts, and every rule is a line of
//! a table in the tests. The order of the rules for one recipient and channel: too late, switched off by
//! the recipient, unknown recipient, no address, no text for the channel; otherwise it is sent.

mod views;

use std::collections::{BTreeMap, HashMap, HashSet};

use campana_bus::clock::Micros;
use campana_bus::subjects::ChannelName;

use crate::contracts::{
    Channel, Content, Delivery, DeliveryStatus, InboxMessage, NotificationRequest, PlannedDelivery,
    Rendered, RequestSummary, Target,
};
use crate::render::{CompiledTemplate, RenderError};

pub use views::{recipient_view, template_view};

/// The recipient switched this channel off.
pub const PREFERENCE_OFF: &str = "preference_off";
/// Neither the request nor the store has an address for this channel.
pub const NO_ADDRESS: &str = "no_address";
/// Nobody of this id is known and the request brings no address.
pub const UNKNOWN_RECIPIENT: &str = "unknown_recipient";
/// The template says nothing for this channel.
pub const NO_TEXT: &str = "no_text_for_channel";
/// The request's `expires_at` is over.
pub const EXPIRED: &str = "expired";
/// The recipient's id cannot name an inbox.
pub const BAD_RECIPIENT: &str = "bad_recipient";

/// What the store knows of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientView {
    /// E-mail address.
    pub email: Option<String>,
    /// Phone number in E.164 form.
    pub phone: Option<String>,
    /// WhatsApp number in E.164 form; the phone number is used if there is none.
    pub whatsapp: Option<String>,
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// Channels switched off (`false`) or on; a channel that is not named is on.
    pub preferences: BTreeMap<Channel, bool>,
}

/// The sources of one template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateView {
    /// Its key.
    pub key: String,
    /// What it says on each channel.
    pub channels: BTreeMap<Channel, ChannelTemplate>,
}

/// The sources for one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelTemplate {
    /// Title or subject.
    pub title: Option<String>,
    /// Plain text.
    pub text: Option<String>,
    /// HTML alternative.
    pub html: Option<String>,
    /// Where a click leads.
    pub url: Option<String>,
}

/// The people of a request, as the directory found them; `None` for somebody it does not know.
pub type Recipients = HashMap<String, Option<RecipientView>>;

/// One message for one inbox.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxPlan {
    /// The delivery; also the message id, so that a repeat is stored once.
    pub id: campana_bus::ids::DeliveryId,
    /// Whose inbox.
    pub channel: ChannelName,
    /// What the browser receives.
    pub message: InboxMessage,
}

/// What happens to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In-app messages; storing one is delivering it.
    pub inbox: Vec<InboxPlan>,
    /// Work for the channel workers.
    pub deliveries: Vec<Delivery>,
    /// One line per recipient and channel.
    pub planned: Vec<PlannedDelivery>,
}

/// Why no plan can be made; the request becomes a dead letter with this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No template of this key.
    #[error("there is no template {0:?}")]
    UnknownTemplate(String),
    /// The template could not be filled.
    #[error(transparent)]
    Template(#[from] RenderError),
}

impl PlanError {
    /// The machine-readable reason of the dead letter.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownTemplate(_) => "unknown_template",
            Self::Template(_) => "template_failed",
        }
    }
}

/// What the status page shows of a request.
#[must_use]
pub fn summary(request: &NotificationRequest) -> RequestSummary {
    let template = match &request.content {
        Content::Template { key, .. } => Some(key.clone()),
        Content::Inline { .. } => None,
    };
    RequestSummary {
        accepted_at: request.accepted_at,
        priority: request.priority,
        template,
        metadata: request.metadata.clone(),
    }
}

/// The channels of a request, each once, in the order in which they were asked for.
#[must_use]
pub fn channels(
    request: &NotificationRequest,
    template: Option<&CompiledTemplate>,
) -> Vec<Channel> {
    let mut seen = HashSet::new();
    let wanted: Vec<Channel> = match (&request.channels, template) {
        (Some(channels), _) => channels.clone(),
        (None, Some(template)) => template.channels().collect(),
        (None, None) => vec![Channel::InApp],
    };
    wanted.into_iter().filter(|channel| seen.insert(*channel)).collect()
}

/// Decides what happens to every recipient on every channel.
///
/// # Errors
/// If the request names a template that is not there or cannot be filled.
pub fn plan(
    request: &NotificationRequest,
    recipients: &Recipients,
    template: Option<&CompiledTemplate>,
    now: Micros,
) -> Result<Plan, PlanError> {
    let channels = channels(request, template);
    let mut texts = Texts::new(request, template)?;
    let expired = request.expires_at.is_some_and(|at| at <= now);
    let mut plan = Plan::default();
    let mut seen = HashSet::new();
    for target in &request.to {
        if !seen.insert(target.id.as_str()) {
            continue;
        }
        let known = recipients.get(&target.id).and_then(Option::as_ref);
        for channel in &channels {
            let decision = if expired {
                Decision::Not(DeliveryStatus::Expired, EXPIRED)
            } else {
                decide(target, known, *channel, &mut texts)?
            };
            plan.add(request, target, *channel, decision);
        }
    }
    Ok(plan)
}

enum Decision {
    /// To this inbox.
    Inbox(ChannelName, Rendered),
    /// To this address.
    Send(String, Rendered),
    /// Nowhere, and why.
    Not(DeliveryStatus, &'static str),
}

fn decide(
    target: &Target,
    known: Option<&RecipientView>,
    channel: Channel,
    texts: &mut Texts<'_>,
) -> Result<Decision, PlanError> {
    let suppressed = |reason| Ok(Decision::Not(DeliveryStatus::Suppressed, reason));
    if known.is_some_and(|person| person.preferences.get(&channel) == Some(&false)) {
        return suppressed(PREFERENCE_OFF);
    }
    if channel == Channel::InApp {
        // An inbox exists for every name; no stored recipient is needed.
        let Ok(inbox) = ChannelName::inbox(&target.id) else {
            return Ok(Decision::Not(DeliveryStatus::Failed, BAD_RECIPIENT));
        };
        return match texts.of(channel, &target.id)? {
            Some(message) => Ok(Decision::Inbox(inbox, message)),
            None => suppressed(NO_TEXT),
        };
    }
    let Some(address) = address(target, known, channel) else {
        return suppressed(if known.is_none() && !target.inline {
            UNKNOWN_RECIPIENT
        } else {
            NO_ADDRESS
        });
    };
    match texts.of(channel, &target.id)? {
        Some(message) => Ok(Decision::Send(address, message)),
        None => suppressed(NO_TEXT),
    }
}

/// An address in the request wins over the stored one.
fn address(target: &Target, known: Option<&RecipientView>, channel: Channel) -> Option<String> {
    let phone = || target.phone.clone();
    let found = match channel {
        Channel::InApp => None,
        Channel::Email => target.email.clone().or_else(|| known?.email.clone()),
        Channel::Sms => phone().or_else(|| known?.phone.clone()),
        Channel::Whatsapp => {
            phone().or_else(|| known?.whatsapp.clone()).or_else(|| known?.phone.clone())
        }
        Channel::Webhook => target.webhook_url.clone().or_else(|| known?.webhook_url.clone()),
    };
    found.filter(|address| !address.trim().is_empty())
}

impl Plan {
    fn add(
        &mut self,
        request: &NotificationRequest,
        target: &Target,
        channel: Channel,
        decision: Decision,
    ) {
        let id = Delivery::derive_id(request.id, &target.id, channel);
        let (status, reason) = match decision {
            Decision::Not(status, reason) => (status, Some(reason.to_owned())),
            Decision::Inbox(inbox, message) => {
                let message = InboxMessage::Notification {
                    id,
                    notification_id: request.id,
                    title: message.title,
                    body: message.text,
                    url: message.url,
                    created_at: request.accepted_at.to_rfc3339(),
                    trace_id: request.trace.trace_id(),
                    metadata: request.metadata.clone(),
                };
                self.inbox.push(InboxPlan { id, channel: inbox, message });
                (DeliveryStatus::Delivered, None)
            }
            Decision::Send(address, message) => {
                self.deliveries.push(Delivery {
                    id,
                    notification_id: request.id,
                    tenant: request.tenant.clone(),
                    recipient: target.id.clone(),
                    channel,
                    address,
                    message,
                    accepted_at: request.accepted_at,
                    expires_at: request.expires_at,
                    metadata: request.metadata.clone(),
                    trace: request.trace,
                });
                (DeliveryStatus::Queued, None)
            }
        };
        self.planned.push(PlannedDelivery {
            id,
            recipient: target.id.clone(),
            channel,
            status,
            reason,
        });
    }
}

/// The texts of a request; those that are the same for everybody are made once.
struct Texts<'a> {
    source: Source<'a>,
    shared: HashMap<Channel, Option<Rendered>>,
}

enum Source<'a> {
    Template(&'a CompiledTemplate, &'a serde_json::Map<String, serde_json::Value>),
    Inline { title: &'a str, body: &'a str, url: Option<&'a str> },
}

impl<'a> Texts<'a> {
    fn new(
        request: &'a NotificationRequest,
        template: Option<&'a CompiledTemplate>,
    ) -> Result<Self, PlanError> {
        let source = match &request.content {
            Content::Template { key, data } => {
                let template = template.ok_or_else(|| PlanError::UnknownTemplate(key.clone()))?;
                Source::Template(template, data)
            }
            Content::Inline { title, body, url } => {
                Source::Inline { title, body, url: url.as_deref() }
            }
        };
        Ok(Self { source, shared: HashMap::new() })
    }

    fn of(&mut self, channel: Channel, recipient: &str) -> Result<Option<Rendered>, PlanError> {
        if let Some(text) = self.shared.get(&channel) {
            return Ok(text.clone());
        }
        let (text, personal) = match &self.source {
            Source::Template(template, data) => {
                (template.render(channel, data, recipient)?, template.is_personal(channel))
            }
            Source::Inline { title, body, url } => {
                (Some(inline(channel, title, body, *url)), false)
            }
        };
        if !personal {
            self.shared.insert(channel, text.clone());
        }
        Ok(text)
    }
}

/// A channel that has no title gets it as the first line of the text.
fn inline(channel: Channel, title: &str, body: &str, url: Option<&str>) -> Rendered {
    let text = match channel {
        Channel::Sms | Channel::Whatsapp => [title, body, url.unwrap_or_default()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("\n"),
        Channel::Email if body.is_empty() => title.to_owned(),
        Channel::InApp | Channel::Email | Channel::Webhook => body.to_owned(),
    };
    Rendered { title: title.to_owned(), text, html: None, url: url.map(str::to_owned) }
}

#[cfg(test)]
mod tests;
