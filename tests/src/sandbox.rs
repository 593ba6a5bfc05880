//! What arrived at the sandbox's receivers.
//! Reads and writes: its web side. Never: sends anything through it.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{http, send};
use crate::wait::eventually;

const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// A sandbox at an address.
#[derive(Clone, Debug)]
pub struct Sandbox {
    http: reqwest::Client,
    /// Its base URL.
    pub url: String,
}

impl Sandbox {
    /// At this address.
    ///
    /// # Errors
    /// If there is no TLS backend.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self { http: http()?, url: url.trim_end_matches('/').to_owned() })
    }

    /// Messages of one channel whose recipient holds `to`, newest first.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn messages(&self, channel: &str, to: &str) -> Result<Vec<Value>> {
        let request = self.http.get(format!("{}/api/messages", self.url));
        let answer = send(request.query(&[("channel", channel), ("to", to)])).await?.expect(200)?;
        Ok(answer["data"].as_array().cloned().unwrap_or_default())
    }

    /// The one message of this channel and recipient, with its details, when it has arrived.
    ///
    /// # Errors
    /// If none arrives.
    pub async fn message(&self, channel: &str, to: &str) -> Result<Value> {
        let what = format!("a message of channel {channel}");
        let summary =
            eventually(&what, ARRIVES_WITHIN, async || Ok(self.messages(channel, to).await?.pop()))
                .await?;
        let id = summary["id"].as_str().context("a message has an id")?;
        send(self.http.get(format!("{}/api/messages/{id}", self.url))).await?.expect(200)
    }

    /// Gives a webhook name the secret that its messages must be signed with.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn expect_signed(&self, name: &str, secret: &str) -> Result<()> {
        let request = self.http.request(Method::PUT, format!("{}/api/webhooks/{name}", self.url));
        send(request.json(&json!({"secret": secret}))).await?.expect(200).map(drop)
    }
}
