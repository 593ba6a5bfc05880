//! Asks the gateway for one connection token per receiver, a few at a time, before anything is
//! measured. A gateway that says "too many" is asked again after the time that it names.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{StreamExt, TryStreamExt, stream};
use hmac::{Hmac, Mac};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use url::Url;

use crate::failure::Failure;
use crate::target::{Target, TokenSource};

const AT_ONCE: usize = 16;
const ATTEMPTS: u32 = 60;
const PAUSE_S_MAX: u64 = 10;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Twelve hours, longer than any sweep: a receiver never reconnects.
const TTL_SECONDS: u32 = 43_200;

/// What a receiver connects with.
#[derive(Clone, Debug, Deserialize)]
pub struct Token {
    pub token: String,
    pub ws_url: Option<Url>,
    pub channel: Option<String>,
}

#[derive(Serialize)]
struct TokenRequest<'a> {
    user: &'a str,
    ttl_seconds: u32,
}

/// Mints a token for each user, in the order given.
pub async fn mint(
    target: &Target,
    users: &[String],
    progress: impl Fn(),
) -> Result<Vec<Token>, Failure> {
    if target.tokens == TokenSource::Name {
        let named = |user: &String| Token { token: user.clone(), ws_url: None, channel: None };
        return Ok(users.iter().map(named).collect());
    }
    if let TokenSource::Hs256(secret) = target.tokens {
        let signed =
            |user: &String| Token { token: hs256(secret, user), ws_url: None, channel: None };
        return Ok(users.iter().map(signed).collect());
    }
    let client = reqwest::Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .build()
        .map_err(|error| Failure::failed("cannot make an HTTP client", error))?;
    let url = target
        .gateway
        .join("v1/tokens")
        .map_err(|error| Failure::failed("the gateway's address", error))?;
    stream::iter(users)
        .map(|user| mint_one(&client, &url, &target.api_key, user))
        .buffered(AT_ONCE)
        .inspect_ok(|_| progress())
        .try_collect()
        .await
}

/// A JWT without an end: the server that takes it lives for minutes.
fn hs256(secret: &str, user: &str) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(serde_json::json!({"alg": "HS256", "typ": "JWT"}));
    let signed = format!("{header}.{}", part(serde_json::json!({"sub": user})));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .expect("HMAC takes keys of any length (RFC 2104)");
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

async fn mint_one(
    client: &reqwest::Client,
    url: &Url,
    key: &str,
    user: &str,
) -> Result<Token, Failure> {
    let request = TokenRequest { user, ttl_seconds: TTL_SECONDS };
    for _ in 0..ATTEMPTS {
        let answer = client
            .post(url.clone())
            .bearer_auth(key)
            .json(&request)
            .send()
            .await
            .map_err(|error| Failure::connect(url, error))?;
        let status = answer.status();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let named = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let seconds = named.and_then(|text| text.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(u64::min(seconds, PAUSE_S_MAX))).await;
            continue;
        }
        let text = answer.text().await.map_err(|error| Failure::connect(url, error))?;
        if !status.is_success() {
            let start: String = text.chars().take(300).collect();
            return Err(Failure::Connect(format!("{url} answered {status}: {start}")));
        }
        return serde_json::from_str(&text)
            .map_err(|error| Failure::failed(format!("{url}: unexpected answer"), error));
    }
    Err(Failure::Connect(format!("{url} kept asking to wait")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_token_is_one_that_others_read() {
        // PyJWT 2.15.1 reads it as {"sub": "a"}.
        let expected = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhIn0.qBdA9L_PTGPhu7ipY7Xs4Eol-m79U_HNIifGEFJXeJQ";
        assert_eq!(hs256("secret", "a"), expected);
    }
}
