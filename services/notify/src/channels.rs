//! Channel workers: each takes the deliveries of one channel and brings them to a provider.
//! Reads: `DELIVERIES`, the delivery's own outcomes, webhook secrets. Writes: providers, `OUTCOMES`.
//! Never: writes status tables, decides whether a message should be sent at all (the plan did).
//!
//! `worker` is the same for every channel: too late? already sent? provider healthy? send, sort the answer
//! with the tables of `classes`, report, and say what the bus shall do next. A channel adds only how to
//! speak to its provider.

mod classes;
pub mod classify;
pub mod email;
mod health;
mod http;
mod ledger;
mod options;
mod redact;
mod reply;
mod retry;
mod sender;
pub mod twilio;
pub mod webhook;
mod worker;

use std::time::Duration;

use campana_bus::consume::{self, Backoff, ConsumeError, ConsumerSpec};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::GroupPublisher;
use campana_bus::{Bus, subjects, topology};

use crate::contracts::Channel;
use crate::store::Store;

pub use options::{ChannelOptions, EmailOptions, SmtpTls, TwilioOptions, WebhookOptions};
pub use reply::{Accepted, Refusal};
pub use worker::ChannelWorker;

/// What a worker works with.
#[derive(Clone)]
pub struct ChannelDeps {
    /// The bus.
    pub bus: Bus,
    /// Publishes to `OUTCOMES`.
    pub outcomes: GroupPublisher,
    /// Where recipients' webhook secrets are; without it every webhook is signed with the default secret.
    pub store: Option<Store>,
}

/// Why a worker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// An option makes no sense; says which.
    #[error("channel {channel}: {reason}")]
    Options {
        /// Which channel.
        channel: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// In-app messages need no worker.
    #[error("the in-app channel has no worker: storing the message delivers it")]
    NoWorker,
    /// The consumer cannot run.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
}

/// Longest that one delivery may take, waiting for a healthy provider included.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(300);

/// Runs the worker of one channel until the soft stop, and drains.
///
/// # Errors
/// If the options make no sense, or the consumer cannot run.
pub async fn run_channel(
    channel: Channel,
    options: ChannelOptions,
    deps: ChannelDeps,
    lifecycle: Lifecycle,
) -> Result<(), ChannelError> {
    let (max_in_flight, retry_seconds) = match channel {
        Channel::InApp => return Err(ChannelError::NoWorker),
        Channel::Email => (options.email.max_in_flight, options.email.retry_seconds.clone()),
        Channel::Sms | Channel::Whatsapp => {
            (options.twilio.max_in_flight, options.twilio.retry_seconds.clone())
        }
        Channel::Webhook => (options.webhook.max_in_flight, options.webhook.retry_seconds.clone()),
    };
    let spec = ConsumerSpec {
        max_in_flight: max_in_flight.max(1),
        max_attempts: u32::try_from(retry_seconds.len()).unwrap_or(u32::MAX).saturating_add(1),
        handler_timeout: HANDLER_TIMEOUT,
        // For failures that say no time of their own: the bus or the ledger did not answer.
        backoff: Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) },
        ..ConsumerSpec::new(
            topology::DELIVERIES,
            durable(channel),
            subjects::deliver_filter(channel.as_str()),
        )
    };
    let worker = ChannelWorker::new(channel, &options, &deps, lifecycle.soft.clone())
        .map_err(|reason| ChannelError::Options { channel: channel.as_str(), reason })?;
    consume::run(&deps.bus, spec, worker, lifecycle).await?;
    Ok(())
}

/// The durable name of a channel's consumer.
#[must_use]
pub const fn durable(channel: Channel) -> &'static str {
    match channel {
        Channel::InApp => "channel-in-app",
        Channel::Email => "channel-email",
        Channel::Sms => "channel-sms",
        Channel::Whatsapp => "channel-whatsapp",
        Channel::Webhook => "channel-webhook",
    }
}

#[cfg(test)]
mod tests;
