//! The providers behind one face.
//! Reads and writes: through the channel's own module. Never: decides what follows from an answer.

use super::email::EmailSender;
use super::reply::{Accepted, Place, Refusal};
use super::twilio::TwilioSender;
use super::webhook::WebhookSender;
use super::{ChannelDeps, ChannelOptions};
use crate::contracts::{Channel, Delivery};

pub(super) enum Sender {
    Email(EmailSender),
    Twilio(TwilioSender),
    Webhook(WebhookSender),
}

impl Sender {
    pub(super) fn new(
        channel: Channel,
        options: &ChannelOptions,
        deps: &ChannelDeps,
    ) -> Result<Self, String> {
        match channel {
            Channel::InApp => Err("has no provider".to_owned()),
            Channel::Email => Ok(Self::Email(EmailSender::new(&options.email)?)),
            Channel::Sms | Channel::Whatsapp => {
                Ok(Self::Twilio(TwilioSender::new(channel, &options.twilio, &options.public_url)?))
            }
            Channel::Webhook => {
                Ok(Self::Webhook(WebhookSender::new(&options.webhook, deps.store.clone())?))
            }
        }
    }

    /// The name in reports and metrics.
    pub(super) const fn provider(&self) -> &'static str {
        match self {
            Self::Email(_) => "smtp",
            Self::Twilio(_) => "twilio",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Which circuit this delivery belongs to.
    pub(super) fn circuit(&self, delivery: &Delivery) -> String {
        match self {
            Self::Email(_) | Self::Twilio(_) => self.provider().to_owned(),
            Self::Webhook(_) => webhook_host(&delivery.address),
        }
    }

    /// Whether a message waits in its place for a provider that pauses. Where one worker serves many
    /// hosts it goes back to the queue instead, so that it does not hold a place of the others.
    pub(super) const fn waits_in_place(&self) -> bool {
        !matches!(self, Self::Webhook(_))
    }

    /// A place among the requests to the provider, for as long as the request takes; what is reported
    /// afterwards needs none.
    pub(super) async fn place(&self, delivery: &Delivery) -> Result<Place, Refusal> {
        match self {
            Self::Email(sender) => sender.place().await,
            Self::Twilio(sender) => sender.place().await,
            Self::Webhook(sender) => sender.place(delivery).await,
        }
    }

    /// `generation` counts the redrives of this delivery; callbacks carry it. `stamps` go out as a header.
    pub(super) async fn send(
        &self,
        place: Place,
        delivery: &Delivery,
        generation: u32,
        stamps: Option<&str>,
    ) -> Result<Accepted, Refusal> {
        match self {
            Self::Email(sender) => Box::pin(sender.deliver(place, delivery, stamps)).await,
            Self::Twilio(sender) => {
                Box::pin(sender.deliver(place, delivery, generation, stamps)).await
            }
            Self::Webhook(sender) => Box::pin(sender.deliver(place, delivery, stamps)).await,
        }
    }
}

pub(super) fn webhook_host(address: &str) -> String {
    url::Url::parse(address)
        .ok()
        .and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)))
        .unwrap_or_default()
}
