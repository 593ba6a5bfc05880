//! SMS and WhatsApp through Twilio's Messages API, or a service that speaks like it.
//! Reads: the delivery. Writes: one POST for each attempt. Never: follows a redirect, keeps the text.
//!
//! The API has no idempotency key. The delivery's id travels in the callback's address instead: when the
//! answer to the POST is lost, the callback still says that the message exists, and the ledger then stops
//! the next attempt.

mod segments;

use std::sync::Arc;
use std::time::Duration;

use campana_bus::clock::{self, Micros};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::Url;

use super::classify::Signal;
use super::reply::{Accepted, Place, Refusal};
use super::{TwilioOptions, http, reply};
use crate::contracts::{Channel, Delivery, DeliveryStatus};
use crate::telemetry;

pub use segments::segments;

/// Longest text that the API takes.
const BODY_CHARS_MAX: usize = 1_600;
/// Longest time that the API keeps a message for a number that is out of reach.
const VALIDITY_SECONDS_MAX: i64 = 36_000;

/// Speaks to one account.
pub struct TwilioSender {
    client: Client,
    url: Url,
    callback: Url,
    account: String,
    token: SecretString,
    channel: Channel,
    from: From,
    places: Arc<Semaphore>,
}

enum From {
    Number(String),
    Service(String),
}

#[derive(Deserialize)]
struct Created {
    sid: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    num_segments: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    code: Option<u32>,
    message: Option<String>,
}

impl TwilioSender {
    /// Nothing is connected before the first message.
    ///
    /// # Errors
    /// If an address or the sender is missing.
    pub fn new(
        channel: Channel,
        options: &TwilioOptions,
        public_url: &str,
    ) -> Result<Self, String> {
        let mut url =
            Url::parse(&options.base_url).map_err(|error| format!("base_url: {error}"))?;
        url.path_segments_mut()
            .map_err(|()| "base_url cannot have a path".to_owned())?
            .pop_if_empty()
            .extend(["2010-04-01", "Accounts", &options.account_sid, "Messages.json"]);
        let callback = Url::parse(public_url).map_err(|error| format!("public_url: {error}"))?;
        if callback.cannot_be_a_base() {
            return Err("public_url cannot have a path".to_owned());
        }
        let from = match (channel, options) {
            (Channel::Whatsapp, options) => {
                From::Number(format!("whatsapp:{}", options.whatsapp_from))
            }
            (_, options) if !options.messaging_service_sid.is_empty() => {
                From::Service(options.messaging_service_sid.clone())
            }
            (_, options) => From::Number(options.sms_from.clone()),
        };
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(options.connect_timeout_seconds))
            .timeout(Duration::from_secs(options.timeout_seconds))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| error.to_string())?;
        let places = Arc::new(Semaphore::new(options.max_requests.max(1)));
        let (account, token) = (options.account_sid.clone(), options.auth_token.clone());
        Ok(Self { client, url, callback, account, token, channel, from, places })
    }

    /// A place among the requests to the account; waits until one is free.
    ///
    /// # Errors
    /// Never while the sender lives.
    pub async fn place(&self) -> Result<Place, Refusal> {
        reply::place(&self.places).await
    }

    /// Sends one delivery, with its stage stamps as a header if it has any. The place is free again when it
    /// returns.
    ///
    /// # Errors
    /// Says what the API answered, or that it did not.
    pub async fn deliver(
        &self,
        _place: Place,
        delivery: &Delivery,
        generation: u32,
        stamps: Option<&str>,
    ) -> Result<Accepted, Refusal> {
        let text = text(delivery);
        if text.is_empty() {
            return Err(Refusal::new(Signal::Refused("empty_text"), "the message has no text"));
        }
        if text.chars().count() > BODY_CHARS_MAX {
            return Err(Refusal::new(
                Signal::Refused("text_too_long"),
                format!("the text has more than {BODY_CHARS_MAX} characters"),
            ));
        }
        let form = self.form(delivery, generation, &text, clock::now())?;
        let request = self
            .client
            .post(self.url.clone())
            .basic_auth(&self.account, Some(self.token.expose_secret()))
            .form(&form);
        let response = http::stamped(request, stamps)
            .send()
            .await
            .map_err(|error| http::lost(self.protocol(), &error))?;
        let status = response.status();
        let retry_after = http::retry_after(response.headers(), clock::now());
        let body = http::read_capped(response).await;
        if status.is_success() {
            // The answer's status line said yes: a body that breaks off does not take that back.
            return Ok(created(&body.unwrap_or_default(), &text));
        }
        Err(refused(status, &body.unwrap_or_default(), retry_after))
    }

    const fn protocol(&self) -> &'static str {
        match self.channel {
            Channel::Whatsapp => "whatsapp",
            _ => "sms",
        }
    }

    fn form(
        &self,
        delivery: &Delivery,
        generation: u32,
        text: &str,
        now: Micros,
    ) -> Result<Vec<(&'static str, String)>, Refusal> {
        let number = delivery.address.trim().trim_start_matches("whatsapp:");
        if !is_e164(number) {
            return Err(Refusal::new(Signal::Refused("bad_number"), "not a number in E.164 form"));
        }
        let to = if self.channel == Channel::Whatsapp {
            format!("whatsapp:{number}")
        } else {
            number.to_owned()
        };
        let mut form = vec![
            ("To", to),
            ("Body", text.to_owned()),
            ("StatusCallback", self.callback(delivery, generation)),
        ];
        form.push(match &self.from {
            From::Number(number) => ("From", number.clone()),
            From::Service(service) => ("MessagingServiceSid", service.clone()),
        });
        if let Some(at) = delivery.expires_at {
            let left = at.since(now) / 1_000_000;
            form.push(("ValidityPeriod", left.clamp(1, VALIDITY_SECONDS_MAX).to_string()));
        }
        Ok(form)
    }

    fn callback(&self, delivery: &Delivery, generation: u32) -> String {
        let mut url = self.callback.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend([
                "v1",
                "callbacks",
                "twilio",
                &delivery.tenant,
                &delivery.notification_id.to_string(),
                &delivery.id.to_string(),
            ]);
        }
        if generation > 0 {
            url.query_pairs_mut().append_pair("generation", &generation.to_string());
        }
        url.into()
    }
}

fn text(delivery: &Delivery) -> String {
    if delivery.message.text.trim().is_empty() {
        delivery.message.title.clone()
    } else {
        delivery.message.text.clone()
    }
}

fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (2..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

fn created(body: &[u8], text: &str) -> Accepted {
    let created = serde_json::from_slice::<Created>(body).ok();
    let count = created
        .as_ref()
        .and_then(|created| created.num_segments.as_ref()?.parse().ok())
        .unwrap_or_else(|| segments(text));
    telemetry::sms_segments("twilio", count);
    Accepted {
        status: DeliveryStatus::Sent,
        detail: created.as_ref().map(|created| format!("{}, segments: {count}", created.status)),
        provider_message_id: created.map(|created| created.sid),
    }
}

fn refused(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Refusal {
    let problem = serde_json::from_slice::<Problem>(body).ok();
    let code = problem.as_ref().and_then(|problem| problem.code);
    let words = problem.and_then(|problem| problem.message).unwrap_or_default();
    let signal = Signal::Twilio { status: status.as_u16(), code };
    Refusal { signal, detail: format!("HTTP {} {words}", status.as_u16()), retry_after }
}

#[cfg(test)]
mod tests;
