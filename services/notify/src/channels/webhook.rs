//! Webhooks after the Standard Webhooks specification 1.0.
//! Reads: the delivery, the recipient's secret. Writes: one POST for each attempt. Never: connects to an
//! address that the filter refuses, follows a redirect, reads more than 64 KiB of an answer, unpacks one.

mod endpoint;
mod hosts;
mod resolve;
mod secrets;
pub mod ssrf;

use std::sync::Arc;
use std::time::Duration;

use campana_bus::clock::{self, Micros};
use campana_bus::observe;
use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use secrecy::ExposeSecret;
use serde::Serialize;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook,
};

use super::classify::Signal;
use super::reply::{Accepted, Place, Refusal};
use super::{WebhookOptions, http, sender};
use crate::contracts::{Delivery, DeliveryStatus};
use crate::store::Store;

use hosts::Hosts;

pub use endpoint::{Endpoint, EndpointError};
pub use resolve::{FilteredResolver, Lookup, SystemLookup};
pub use secrets::Secrets;
pub use ssrf::Filter;

/// The event's type in the body.
const EVENT: &str = "campana.notification";

/// Calls the endpoints of users.
pub struct WebhookSender {
    client: Client,
    filter: Arc<Filter>,
    secrets: Secrets,
    hosts: Hosts,
}

/// The body.
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    timestamp: String,
    data: EventData<'a>,
}

#[derive(Serialize)]
struct EventData<'a> {
    id: String,
    notification_id: String,
    recipient: &'a str,
    title: &'a str,
    body: &'a str,
    url: Option<&'a str>,
    metadata: &'a std::collections::BTreeMap<String, String>,
    trace_id: String,
}

impl WebhookSender {
    /// With the system's resolver.
    ///
    /// # Errors
    /// If a network or the secret cannot be read.
    pub fn new(options: &WebhookOptions, store: Option<Store>) -> Result<Self, String> {
        Self::with_lookup(options, store, Arc::new(SystemLookup))
    }

    /// With another resolver behind the filter.
    ///
    /// # Errors
    /// If a network or the secret cannot be read.
    pub fn with_lookup(
        options: &WebhookOptions,
        store: Option<Store>,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, String> {
        let filter = Arc::new(Filter::new(options)?);
        let client = Client::builder()
            .dns_resolver(FilteredResolver::new(Arc::clone(&filter), lookup))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy of the environment would resolve the name itself, past the filter.
            .no_proxy()
            .referer(false)
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(options.connect_timeout_seconds))
            .timeout(Duration::from_secs(options.timeout_seconds))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            filter,
            secrets: Secrets::new(&options.default_secret, store)?,
            hosts: Hosts::new(options.max_per_host),
        })
    }

    /// A place among the requests to the delivery's host.
    ///
    /// # Errors
    /// If the host has no free one and answers too slowly to wait for it.
    pub async fn place(&self, delivery: &Delivery) -> Result<Place, Refusal> {
        let host = sender::webhook_host(&delivery.address);
        self.hosts.place(host).await.ok_or_else(|| {
            Refusal::new(Signal::NotReady("host_busy"), "too many requests to this host")
        })
    }

    /// Sends one delivery, with its stage stamps as a header, which is not signed, if it has any. The place
    /// is free again when it returns.
    ///
    /// # Errors
    /// Says what the receiver answered, or that it did not.
    pub async fn deliver(
        &self,
        _place: Place,
        delivery: &Delivery,
        stamps: Option<&str>,
    ) -> Result<Accepted, Refusal> {
        let endpoint = Endpoint::parse(&delivery.address, &self.filter)
            .map_err(|error| Refusal::new(Signal::Refused(error.reason()), error.to_string()))?;
        let signer = self.secrets.of(delivery).await?;
        let now = clock::now();
        let body = body(delivery);
        let signature = signature(&signer, delivery, now, &body)?;
        let request = self
            .client
            .post(endpoint.url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(
                USER_AGENT,
                HeaderValue::from_static(concat!("Campana-Webhooks/", env!("CARGO_PKG_VERSION"))),
            )
            .header(HEADER_WEBHOOK_ID, delivery.id.to_string())
            .header(HEADER_WEBHOOK_TIMESTAMP, (now.0 / 1_000_000).to_string())
            .header(HEADER_WEBHOOK_SIGNATURE, signature)
            .header("traceparent", observe::outgoing(delivery.trace).to_string())
            .body(body);
        let response =
            http::stamped(request, stamps).send().await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let retry_after = http::retry_after(response.headers(), clock::now());
        // The body is read so that the connection can be reused, and not kept: it is a stranger's text.
        let complete = http::read_capped(response).await.is_ok();
        let detail = format!("HTTP {status}{}", if complete { "" } else { ", the body broke off" });
        if (200..300).contains(&status) {
            return Ok(Accepted {
                status: DeliveryStatus::Delivered,
                provider_message_id: None,
                detail: Some(detail),
            });
        }
        Err(Refusal { signal: Signal::Webhook { status }, detail, retry_after })
    }
}

fn body(delivery: &Delivery) -> String {
    let event = Event {
        r#type: EVENT,
        timestamp: delivery.accepted_at.to_rfc3339(),
        data: EventData {
            id: delivery.id.to_string(),
            notification_id: delivery.notification_id.to_string(),
            recipient: &delivery.recipient,
            title: &delivery.message.title,
            body: &delivery.message.text,
            url: delivery.message.url.as_deref(),
            metadata: &delivery.metadata,
            trace_id: delivery.trace.trace_id(),
        },
    };
    // Maps with text keys and texts always encode.
    serde_json::to_string(&event).unwrap_or_default()
}

fn signature(
    signer: &secrets::Signer,
    delivery: &Delivery,
    now: Micros,
    body: &str,
) -> Result<String, Refusal> {
    let bad =
        |_| Refusal::new(Signal::Refused("webhook_bad_secret"), "the webhook secret is not usable");
    let webhook = Webhook::new(signer.0.expose_secret()).map_err(bad)?;
    webhook.sign(&delivery.id.to_string(), now.0 / 1_000_000, body.as_bytes()).map_err(bad)
}

/// A request without an answer; a refusal of the resolver's filter is final.
fn failed(error: &reqwest::Error) -> Refusal {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if cause.downcast_ref::<resolve::Blocked>().is_some() {
            return Refusal::new(
                Signal::Refused("webhook_blocked"),
                "the host's address is not allowed",
            );
        }
        source = cause.source();
    }
    http::lost("webhook", error)
}

#[cfg(test)]
mod tests;
