//! The notification platform as any service sees it: its HTTP API.
//! Reads and writes: the gateway. Never: waits without a limit, or takes an answer that did not come for a no.

use std::time::Duration;

use campana_bus::consume::Failure;
use campana_bus_sqlx::SendError;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::store::accounts::Account;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Repeats of a request whose answer was lost, and the pause before each; all of them fit into half a ledger's lease.
const REPEATS: usize = 1;
const REPEAT_PAUSE: Duration = Duration::from_millis(500);
/// After an answer that an operator must mend (a key that was revoked): no attempt is lost meanwhile.
const OPERATOR_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of an answer to the bell that are passed on.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A caller of the gateway; cheap to clone.
#[derive(Clone, Debug)]
pub struct Platform {
    http: reqwest::Client,
    base: String,
    key: SecretString,
}

/// What is to be told to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// The recipient's id.
    pub to: String,
    /// The words.
    pub content: Content,
    /// Over which channels; what the recipient does not want, the platform leaves out.
    pub channels: Vec<&'static str>,
    /// After this time it is of no use.
    pub expires_at: String,
    /// For the bell: what it is about.
    pub metadata: Value,
}

/// The words of a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    /// One line.
    pub title: String,
    /// The text.
    pub body: String,
    /// Where a click leads.
    pub url: String,
}

/// A connection token for a browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// The token.
    pub token: String,
    /// When it ends, RFC 3339.
    pub expires_at: String,
}

/// How a call ended that has no good answer.
#[derive(Debug)]
enum Trouble {
    /// Certainly nothing happened.
    Refused(Failure),
    /// The platform does not know this recipient yet.
    UnknownRecipient,
    /// It was done before, with other words: somebody changed their language or name since.
    DoneBefore,
    /// It may have happened.
    Unknown(String),
}

impl Platform {
    /// For a gateway at `base`.
    ///
    /// # Errors
    /// If there is no TLS.
    pub fn new(base: &Url, key: SecretString) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, base: base.as_str().trim_end_matches('/').to_owned(), key })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        request.bearer_auth(self.key.expose_secret())
    }

    /// Writes down how somebody can be reached and what they want.
    ///
    /// # Errors
    /// What the consumer should do with the message.
    pub async fn save_recipient(&self, account: &Account) -> Result<(), Failure> {
        let phone = (!account.phone.is_empty()).then_some(&account.phone);
        let reachable = phone.is_some();
        let recipient = json!({
            "email": account.email, "phone": phone, "locale": account.language,
            "preferences": {
                "email": account.wants_email,
                "sms": account.wants_sms && reachable,
                "whatsapp": account.wants_whatsapp && reachable,
            },
        });
        let path = format!("/v1/recipients/{}", account.id);
        let done = send(self.request(Method::PUT, &path).json(&recipient)).await;
        done.map(drop).map_err(|trouble| match trouble {
            Trouble::Refused(failure) => failure,
            // Writing it again changes nothing.
            Trouble::Unknown(why) => Failure::retry(why),
            Trouble::UnknownRecipient | Trouble::DoneBefore => {
                Failure::retry("an answer that writing a recipient does not have")
            }
        })
    }

    /// Sends a notification once: a repeat with the same key is answered with the first answer for a day, and after
    /// that the ledger of the caller remembers.
    ///
    /// # Errors
    /// As the ledger wants to know it.
    pub async fn notify(
        &self,
        key: &str,
        notification: &Notification,
        account: &Account,
    ) -> Result<Vec<u8>, SendError> {
        let post = || {
            let request = self.request(Method::POST, "/v1/notifications");
            send(request.header("idempotency-key", key).json(notification))
        };
        let mut answer = post().await;
        if matches!(answer, Err(Trouble::UnknownRecipient)) {
            // The events of accounts and of appointments have no order between them.
            self.save_recipient(account).await.map_err(SendError::NotSent)?;
            answer = post().await;
        }
        // The key makes a repeat harmless, so a lost answer is asked for at once and not when the lease is over.
        for _ in 0..REPEATS {
            if !matches!(answer, Err(Trouble::Unknown(_))) {
                break;
            }
            tokio::time::sleep(REPEAT_PAUSE).await;
            answer = post().await;
        }
        match answer {
            Ok(accepted) => Ok(accepted["id"].as_str().unwrap_or_default().as_bytes().to_vec()),
            Err(Trouble::Refused(failure)) => Err(SendError::NotSent(failure)),
            Err(Trouble::Unknown(why)) => Err(SendError::Unknown(why)),
            Err(Trouble::DoneBefore) => Ok(Vec::new()),
            Err(Trouble::UnknownRecipient) => {
                Err(SendError::NotSent(Failure::retry("the recipient is not known yet")))
            }
        }
    }

    /// A token with which this person's browser connects to the edge.
    ///
    /// # Errors
    /// If the platform is away or refuses; the reason is for the log.
    pub async fn token(&self, account: &str) -> Result<Token, String> {
        let request = self.request(Method::POST, "/v1/tokens").json(&json!({"user": account}));
        let answer = send(request).await.map_err(|trouble| format!("{trouble:?}"))?;
        serde_json::from_value(answer).map_err(|error| error.to_string())
    }

    /// Passes a mark of the bell on, with the browser's own token: status and body of the answer.
    ///
    /// # Errors
    /// If the platform is away; the reason is for the log.
    pub async fn mark(
        &self,
        mark: &str,
        bearer: &str,
        body: bytes::Bytes,
    ) -> Result<(u16, bytes::Bytes), String> {
        let request = self
            .http
            .post(format!("{}/v1/inbox/{mark}", self.base))
            .header("authorization", bearer)
            .header("content-type", "application/json")
            .body(body);
        let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|error| error.without_url().to_string())?;
        Ok((status, body.slice(..body.len().min(ANSWER_BYTES_MAX))))
    }
}

/// Sends a request and judges the answer.
async fn send(request: RequestBuilder) -> Result<Value, Trouble> {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => {
            let why = format!("the gateway is away: {}", error.without_url());
            return Err(Trouble::Refused(Failure::defer(campana_bus_sqlx::OUTAGE_PAUSE, why)));
        }
        Err(error) => return Err(Trouble::Unknown(error.without_url().to_string())),
    };
    let status = answer.status();
    let wait = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(|seconds: u64| Duration::from_secs(seconds.min(600)));
    let text = answer.text().await.map_err(|error| Trouble::Unknown(error.to_string()))?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    if status.is_success() {
        return Ok(body);
    }
    Err(judge(status, &body, wait))
}

/// What an answer other than yes means for the message in hand. The codes are the API's, which promises to keep them.
fn judge(status: StatusCode, body: &Value, wait: Option<Duration>) -> Trouble {
    let code = body["code"].as_str().unwrap_or("no_code");
    let fields = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    if fields.iter().any(|field| field["code"] == "unknown_recipient") {
        return Trouble::UnknownRecipient;
    }
    if code == "idempotency_key_reused" {
        return Trouble::DoneBefore;
    }
    let why = format!("the gateway answers {} {code}", status.as_u16());
    match status.as_u16() {
        401 | 403 => Trouble::Refused(Failure::defer(OPERATOR_PAUSE, why)),
        409 | 429 | 503 => {
            let wait = wait.unwrap_or(campana_bus_sqlx::OUTAGE_PAUSE);
            Trouble::Refused(Failure::defer(wait, why))
        }
        400..=499 => Trouble::Refused(Failure::dead(code, why)),
        // 500, or a proxy in between: it may have been stored.
        _ => Trouble::Unknown(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: Value) -> Trouble {
        judge(StatusCode::from_u16(status).unwrap(), &body, Some(Duration::from_secs(7)))
    }

    #[test]
    fn refusals_say_what_happens_next() {
        let busy = judged(429, json!({"code": "rate_limited"}));
        assert!(
            matches!(busy, Trouble::Refused(Failure::Defer { after, .. }) if after.as_secs() == 7)
        );
        let bad = judged(422, json!({"code": "validation_failed", "errors": []}));
        assert!(
            matches!(bad, Trouble::Refused(Failure::Dead { reason, .. }) if reason == "validation_failed")
        );
        let unknown =
            json!({"code": "validation_failed", "errors": [{"code": "unknown_recipient"}]});
        assert!(matches!(judged(422, unknown), Trouble::UnknownRecipient));
        let again = judged(422, json!({"code": "idempotency_key_reused"}));
        assert!(matches!(again, Trouble::DoneBefore));
        assert!(matches!(judged(401, json!({})), Trouble::Refused(Failure::Defer { .. })));
        assert!(matches!(judged(502, Value::Null), Trouble::Unknown(_)));
    }
}
