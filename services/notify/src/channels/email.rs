//! E-mail: one message, one recipient, one transaction.
//! Reads: the delivery. Writes: the SMTP relay. Never: reuses a connection after anything unusual.

mod dialogue;
mod message;
mod pool;
mod stream;
mod tls;

use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::extension::ClientId;

use super::EmailOptions;
use super::classify::Signal;
use super::reply::{self, Accepted, Place, Refusal};
use crate::contracts::{Delivery, DeliveryStatus};

pub use dialogue::{Envelope, Limits, SmtpFailure, Stage};
pub use pool::Pool;

/// Speaks to one relay.
pub struct EmailSender {
    pool: Pool,
    from: Mailbox,
}

impl EmailSender {
    /// Nothing is connected before the first message.
    ///
    /// # Errors
    /// If the sender is not an address or the certificate file is bad.
    pub fn new(options: &EmailOptions) -> Result<Self, String> {
        let from: Mailbox =
            options.from.parse().map_err(|_| "`from` is not a mailbox".to_owned())?;
        let hello = if options.hello_name.is_empty() {
            ClientId::default()
        } else {
            ClientId::Domain(options.hello_name.clone())
        };
        let seconds = Duration::from_secs;
        let limits = Limits {
            connect: seconds(options.connect_timeout_seconds),
            command: seconds(options.command_timeout_seconds),
            data: seconds(options.data_timeout_seconds),
            body: seconds(options.body_timeout_seconds),
        };
        let tls = tls::Tls::new(options.tls, &options.host, options.ca_file.as_deref())?;
        let connector = dialogue::Connector::new(options, hello, tls, limits);
        Ok(Self { pool: Pool::new(connector, options), from })
    }

    /// A place among the connections to the relay; waits until one is free.
    ///
    /// # Errors
    /// Never while the sender lives.
    pub async fn place(&self) -> Result<Place, Refusal> {
        reply::place(&self.pool.places).await
    }

    /// Sends one delivery, with its stage stamps as a header if it has any. The place is free again when it
    /// returns.
    ///
    /// # Errors
    /// Says what the relay answered, or that it did not.
    pub async fn deliver(
        &self,
        place: Place,
        delivery: &Delivery,
        stamps: Option<&str>,
    ) -> Result<Accepted, Refusal> {
        let to: Address =
            delivery.address.trim().parse().map_err(|_| {
                Refusal::new(Signal::Refused("bad_address"), "not an e-mail address")
            })?;
        let now = campana_bus::clock::now();
        let body = message::compose(delivery, &self.from, to.clone(), now, stamps)
            .map_err(|error| Refusal::new(Signal::Refused("bad_message"), error))?;
        let envelope = Envelope { from: self.from.email.clone(), to };
        match self.pool.send(place, &envelope, &body).await {
            Ok(reply) => Ok(Accepted {
                // 250 means that the relay took responsibility, not that the message arrived.
                status: DeliveryStatus::Sent,
                provider_message_id: Some(message::message_id(delivery, &self.from)),
                detail: Some(reply),
            }),
            Err(failure) => Err(refusal(&failure)),
        }
    }
}

fn refusal(failure: &SmtpFailure) -> Refusal {
    match failure {
        SmtpFailure::Reply { code, enhanced, text, stage } => Refusal::new(
            Signal::Smtp { code: *code, enhanced: *enhanced },
            format!("{stage}: {code} {text}"),
        ),
        SmtpFailure::Silent { stage: Stage::Tls, what } => {
            Refusal::new(Signal::Misconfigured("smtp_tls_failed"), format!("tls: {what}"))
        }
        SmtpFailure::Silent { stage: Stage::Auth, what } => {
            Refusal::new(Signal::Misconfigured("smtp_auth_failed"), format!("auth: {what}"))
        }
        SmtpFailure::Silent { stage, what } => {
            let unconfirmed = stage.is_ambiguous();
            Refusal::new(Signal::Lost { protocol: "smtp", unconfirmed }, format!("{stage}: {what}"))
        }
        SmtpFailure::NoTls => {
            Refusal::new(Signal::Misconfigured("smtp_no_tls"), "the relay does not offer STARTTLS")
        }
        SmtpFailure::NoUtf8 => {
            Refusal::new(Signal::Refused("smtp_no_utf8"), "the relay does not take this address")
        }
    }
}

#[cfg(test)]
mod tests;
