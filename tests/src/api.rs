//! The HTTP API as a caller sees it.
//! Reads and writes: the gateway. Never: hides a status, a header or a body from the test.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::wait::eventually;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Longer than the bus waits before it gives a message that was in hand at a kill to somebody else (30 s).
const SETTLED_WITHIN: Duration = Duration::from_secs(50);

/// A caller with a key.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null if it is no JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The problem document's code.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// `pointer code` of every wrong field.
    #[must_use]
    pub fn fields(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let errors = self.body["errors"].as_array();
        errors
            .into_iter()
            .flatten()
            .map(|one| format!("{} {}", text(&one["pointer"]), text(&one["code"])))
            .collect()
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body, if the status is as expected.
    ///
    /// # Errors
    /// If the status is another one; shows the body.
    pub fn expect(self, status: u16) -> Result<Value> {
        ensure!(self.status == status, "status {} instead of {status}: {}", self.status, self.text);
        Ok(self.body)
    }
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// If nothing comes back.
pub async fn send(request: RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    Ok(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text })
}

/// An HTTP client with a time-out.
///
/// # Errors
/// If there is no TLS backend.
pub fn http() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?)
}

impl Api {
    /// For a gateway at `base`.
    ///
    /// # Errors
    /// If there is no TLS backend.
    pub fn new(base: &str, key: &str) -> Result<Self> {
        Ok(Self { http: http()?, base: base.trim_end_matches('/').to_owned(), key: key.to_owned() })
    }

    /// The same gateway with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// A request with the key; the path is taken as it is.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    /// A request without a key.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// `GET`.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        send(self.request(Method::GET, path)).await
    }

    /// `POST` with JSON.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// `PUT` with JSON.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        send(self.request(Method::PUT, path).json(body)).await
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// If nothing comes back.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        send(self.request(Method::DELETE, path)).await
    }

    /// Sends a notification and returns the 202's body.
    ///
    /// # Errors
    /// If it is not accepted.
    pub async fn notify(&self, body: &Value) -> Result<Value> {
        self.post("/v1/notifications", body).await?.expect(202)
    }

    /// An in-app notification with this title; returns its id.
    ///
    /// # Errors
    /// If it is not accepted.
    pub async fn ring(&self, to: &str, title: &str) -> Result<String> {
        let answer = self.notify(&json!({"to": {"id": to}, "content": {"title": title}})).await?;
        id_of(&answer)
    }

    /// A connection token for a user.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub async fn token(&self, user: &str) -> Result<String> {
        let body = self.post("/v1/tokens", &json!({"user": user})).await?.expect(201)?;
        Ok(body["token"].as_str().context("a token is a text")?.to_owned())
    }

    /// The notification, once `settled` says so.
    ///
    /// # Errors
    /// If that does not happen in time; shows how far it came.
    pub async fn status_when(&self, id: &str, settled: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let path = format!("/v1/notifications/{id}");
        let found = eventually(&format!("the status of {id}"), SETTLED_WITHIN, async || {
            let answer = self.get(&path).await?;
            last = answer.body.clone();
            Ok((answer.status == 200 && settled(&answer.body)).then_some(answer.body))
        })
        .await;
        found.with_context(|| format!("{last:#}"))
    }

    /// The notification with this status.
    ///
    /// # Errors
    /// If it does not get there in time.
    pub async fn status(&self, id: &str, wanted: &str) -> Result<Value> {
        self.status_when(id, |body| body["status"] == wanted).await
    }
}

/// The id in an answer.
///
/// # Errors
/// If there is none.
pub fn id_of(answer: &Value) -> Result<String> {
    Ok(answer["id"].as_str().with_context(|| format!("no id in {answer}"))?.to_owned())
}
