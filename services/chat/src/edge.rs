//! What the chat asks of the edge: tokens that it verifies, and its server API.
//! Reads: the secret, the key. Writes: tokens, requests to the server API. Never: publishes over the server API; what is
//! said in a room goes through the outbox, because only that is told if and only if it was committed.

use std::time::Duration;

use campana_bus::clock::Micros;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::events::stay;
use crate::options::Options;
use crate::store::people::{Person, Session};
use crate::store::rooms::Room;
use crate::store::timeline::{channel, personal_channel};

/// A connection's token lives this long; the SDK asks for the next one by itself.
const CONNECTION_SECONDS: i64 = 900;
/// A subscription's token with a server API that ends subscriptions sooner.
const SUBSCRIPTION_SECONDS: i64 = 600;
/// Without one, this is how long somebody who was sent out still hears the room.
const SUBSCRIPTION_ALONE_SECONDS: i64 = 60;
/// For one request to the server API.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a token or a request did not work.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The token cannot be signed.
    #[error("the token cannot be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// The server API does not answer.
    #[error("the edge's server API: {0}")]
    Http(#[from] reqwest::Error),
    /// The server API refused.
    #[error("the edge's server API refused: {0}")]
    Refused(String),
}

/// The edge, as the chat sees it.
#[derive(Clone)]
pub struct Edge {
    key: EncodingKey,
    http: reqwest::Client,
    api: Option<(String, String)>,
}

impl Edge {
    /// From the options.
    ///
    /// # Errors
    /// If there is no TLS backend.
    pub fn new(options: &Options) -> Result<Self, EdgeError> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        let api = (!options.edge_api_url.is_empty()).then(|| {
            (options.edge_api_url.trim_end_matches('/').to_owned(), options.edge_api_key.clone())
        });
        Ok(Self { key: EncodingKey::from_secret(options.edge_secret.as_bytes()), http, api })
    }

    /// A token with which a session's browser connects. Its `jti` is the session's id, so that revoking the session
    /// takes the token back.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn connection(
        &self,
        person: &Person,
        session: &Session,
        now: Micros,
    ) -> Result<String, EdgeError> {
        let now = now.0 / 1_000_000;
        self.sign(&json!({
            "sub": person.id, "jti": session.id, "iat": now, "exp": now + CONNECTION_SECONDS,
            "info": {"name": person.name, "handle": person.handle},
        }))
    }

    /// A token for a person's own channel.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn personal(&self, person: &Person, now: Micros) -> Result<String, EdgeError> {
        let now = now.0 / 1_000_000;
        self.sign(&json!({
            "sub": person.id, "channel": personal_channel(&person.id),
            "iat": now, "exp": now + CONNECTION_SECONDS,
        }))
    }

    /// Tokens with which one person hears one room, and sees and says who is typing there. Their `jti` is that of this
    /// stay, so that its end takes them back.
    ///
    /// # Errors
    /// If they cannot be signed.
    pub fn subscription(
        &self,
        person: &Person,
        room: &Room,
        now: Micros,
    ) -> Result<(String, String), EdgeError> {
        let (now, micros) = (now.0 / 1_000_000, now.0);
        let seconds = match self.api {
            Some(_) => SUBSCRIPTION_SECONDS,
            None => SUBSCRIPTION_ALONE_SECONDS,
        };
        let info = json!({"name": person.name, "handle": person.handle});
        let jti = stay(&room.id, &person.id, room.joined_at);
        let claims = |channel: String, allow: &[&str]| {
            json!({
                "sub": person.id, "channel": channel, "iat": now, "exp": now + seconds,
                "jti": jti, "info": info, "allow": allow,
            })
        };
        let may_write = room.muted_until <= micros;
        let typing: &[&str] = if may_write { &["pub"] } else { &[] };
        Ok((
            self.sign(&claims(channel(&room.id), &[]))?,
            self.sign(&claims(typing_channel(&room.id), typing))?,
        ))
    }

    fn sign(&self, claims: &Value) -> Result<String, EdgeError> {
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.key)?)
    }

    /// Takes back all tokens of a stay or a session, by their `jti`: within a second the edge ends what they let in,
    /// and lets nobody in by them again. Without a server API they end by themselves.
    ///
    /// # Errors
    /// If the server API does not do it.
    pub async fn revoke(&self, token: &str, now: Micros) -> Result<(), EdgeError> {
        let until = now.0 / 1_000_000 + CONNECTION_SECONDS.max(SUBSCRIPTION_SECONDS);
        self.call("revoke_token", json!({"uid": token, "expire_at": until})).await
    }

    async fn call(&self, method: &str, body: Value) -> Result<(), EdgeError> {
        let Some((base, key)) = &self.api else { return Ok(()) };
        let request = self.http.post(format!("{base}/api/{method}")).header("X-API-Key", key);
        let answer: Value = request.json(&body).send().await?.error_for_status()?.json().await?;
        match answer.get("error") {
            None => Ok(()),
            Some(error) => Err(EdgeError::Refused(error.to_string())),
        }
    }
}

/// The channel in which browsers tell each other that somebody types: apart from the room's own, because clients may
/// publish in it, and nothing of it is worth keeping.
#[must_use]
pub fn typing_channel(room: &str) -> String {
    format!("chattyping:{room}")
}
