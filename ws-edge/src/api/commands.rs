//! What callers may ask for, as Centrifugo's libraries write it, and who answers.
//! Reads: JSON. Writes: nothing. Never: takes a member that it knows and does not honour as if it did.
//!
//! Members that nobody knows are skipped, as newer libraries send more; `null` stands for what is not there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use campana_bus::clock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::answer::{Answer, Failure};
use super::keys::Grant;
use super::{Method, channels, people, publish};
use crate::codes::error;
use crate::metrics;
use crate::options::NamespaceOptions;
use crate::proto::Since;
use crate::publication::ChannelKey;
use crate::server::Node;

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) grant: &'a Grant,
}

impl Caller<'_> {
    /// Does one thing and counts it. `None` if the request has not the form of this method.
    pub(super) async fn run(self, method: Method, body: &str) -> Option<Answer> {
        let started: Instant = clock::monotonic();
        let answer = match self.grant.allows(method) {
            true => self.dispatch(method, body).await?,
            false => Err(Failure::because(
                error::PERMISSION_DENIED,
                "this API key may not use this method",
            )),
        };
        let result = match &answer {
            Ok(_) => "ok",
            Err(failure) if failure.is_ours() => "failed",
            Err(_) => "refused",
        };
        metrics::api(method, result, started.elapsed());
        Some(answer)
    }

    async fn dispatch(self, method: Method, body: &str) -> Option<Answer> {
        Some(match method {
            Method::Publish => publish::publish(self, parse(body)?).await,
            Method::Broadcast => publish::broadcast(self, parse(body)?).await,
            Method::Subscribe => people::subscribe(self, parse(body)?).await,
            Method::Unsubscribe => people::unsubscribe(self, parse(body)?).await,
            Method::Disconnect => people::disconnect(self, parse(body)?).await,
            Method::Refresh => people::refresh(self, parse(body)?).await,
            Method::Send => people::send(self, parse(body)?).await,
            Method::Presence => channels::presence(self, parse(body)?).await,
            Method::PresenceStats => channels::presence_stats(self, parse(body)?).await,
            Method::History => channels::history(self, parse(body)?).await,
            Method::HistoryRemove => channels::history_remove(self, parse(body)?).await,
            Method::Channels => channels::channels(self, parse(body)?).await,
            Method::Info => channels::info(self).await,
            Method::RevokeToken => people::revoke_token(self, parse(body)?).await,
            Method::InvalidateUserTokens => {
                people::invalidate_user_tokens(self, parse(body)?).await
            }
            // Batches are opened where requests are let in, and hold none.
            Method::Batch => Err(error::BAD_REQUEST.into()),
        })
    }

    /// A channel of the caller's tenant, and its namespace's rules.
    pub(super) fn channel(
        &self,
        name: &str,
    ) -> Result<(Arc<ChannelKey>, &NamespaceOptions), Failure> {
        if name.is_empty() {
            return Err(Failure::because(error::BAD_REQUEST, "channel is missing"));
        }
        let (channel, namespace) = self.node.rules.channel(name)?;
        if namespace.wildcard && name.ends_with('*') {
            let why = "a pattern is there for clients to subscribe to and for nothing else";
            return Err(Failure::because(error::NOT_AVAILABLE, why));
        }
        Ok((self.node.rules.key(&self.grant.tenant, channel), namespace))
    }
}

pub(super) fn parse<T: DeserializeOwned>(body: &str) -> Option<T> {
    // A list would be taken for an object's members in their order.
    body.trim_start().starts_with('{').then(|| serde_json::from_str(body).ok()).flatten()
}

/// JSON, or bytes in base64, which count if there are both; nothing if there is neither.
pub(super) fn payload(data: Option<&RawValue>, base64: &str) -> Result<Option<Vec<u8>>, Failure> {
    if base64.is_empty() {
        return Ok(data.map(|data| data.get().as_bytes().to_vec()));
    }
    let bytes = STANDARD.decode(base64);
    bytes.map(Some).map_err(|_| Failure::because(error::BAD_REQUEST, "that is not base64"))
}

/// The same where clients can only be given JSON.
pub(super) fn json_payload(
    data: Option<&RawValue>,
    base64: &str,
) -> Result<Option<String>, Failure> {
    let not_json = || Failure::because(error::BAD_REQUEST, "base64 must hold JSON here");
    let Some(bytes) = payload(data, base64)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|_| not_json())?;
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => Ok(Some(text)),
        Err(_) => Err(not_json()),
    }
}

/// `null` is the same as nothing.
fn maybe<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// JSON that may be `null`.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// What is published, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Publish {
    #[serde(deserialize_with = "maybe")]
    pub(super) channel: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) channels: Vec<String>,
    #[serde(deserialize_with = "raw")]
    pub(super) data: Option<Box<RawValue>>,
    #[serde(deserialize_with = "maybe")]
    pub(super) b64data: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) skip_history: bool,
    #[serde(deserialize_with = "maybe")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(deserialize_with = "maybe")]
    pub(super) idempotency_key: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) version: u64,
    #[serde(deserialize_with = "maybe")]
    pub(super) version_epoch: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Subscribe {
    #[serde(deserialize_with = "maybe")]
    pub(super) user: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) client: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) session: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) channel: String,
    #[serde(deserialize_with = "raw")]
    pub(super) info: Option<Box<RawValue>>,
    #[serde(deserialize_with = "maybe")]
    pub(super) b64info: String,
    #[serde(deserialize_with = "raw")]
    pub(super) data: Option<Box<RawValue>>,
    #[serde(deserialize_with = "maybe")]
    pub(super) b64data: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) expire_at: i64,
    pub(super) recover_since: Option<Since>,
    #[serde(rename = "override", deserialize_with = "maybe")]
    pub(super) overrides: Overrides,
}

/// Options of the namespace that are to be otherwise for one subscription.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Overrides {
    pub(super) presence: Option<Flag>,
    pub(super) join_leave: Option<Flag>,
    pub(super) force_push_join_leave: Option<Flag>,
    pub(super) force_positioning: Option<Flag>,
    pub(super) force_recovery: Option<Flag>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Flag {
    pub(super) value: bool,
}

/// A code and a text of the caller's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Why {
    #[serde(deserialize_with = "maybe")]
    pub(super) code: u32,
    #[serde(deserialize_with = "maybe")]
    pub(super) reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Unsubscribe {
    #[serde(deserialize_with = "maybe")]
    pub(super) user: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) client: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) session: String,
    /// Empty for all.
    #[serde(deserialize_with = "maybe")]
    pub(super) channel: String,
    pub(super) unsubscribe: Option<Why>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Disconnect {
    #[serde(deserialize_with = "maybe")]
    pub(super) user: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) client: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) session: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) whitelist: Vec<String>,
    pub(super) disconnect: Option<Why>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refresh {
    #[serde(deserialize_with = "maybe")]
    pub(super) user: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) client: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) session: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) expired: bool,
    #[serde(deserialize_with = "maybe")]
    pub(super) expire_at: i64,
    #[serde(deserialize_with = "raw")]
    pub(super) info: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Send {
    #[serde(deserialize_with = "maybe")]
    pub(super) user: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) client: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) session: String,
    #[serde(deserialize_with = "raw")]
    pub(super) data: Option<Box<RawValue>>,
    #[serde(deserialize_with = "maybe")]
    pub(super) b64data: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OfChannel {
    #[serde(deserialize_with = "maybe")]
    pub(super) channel: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct History {
    #[serde(deserialize_with = "maybe")]
    pub(super) channel: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) limit: i64,
    pub(super) since: Option<Since>,
    #[serde(deserialize_with = "maybe")]
    pub(super) reverse: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Channels {
    #[serde(deserialize_with = "maybe")]
    pub(super) pattern: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RevokeToken {
    /// The token's `jti`.
    #[serde(deserialize_with = "maybe")]
    pub(super) uid: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) expire_at: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InvalidateUserTokens {
    #[serde(deserialize_with = "maybe")]
    pub(super) user: String,
    #[serde(deserialize_with = "maybe")]
    pub(super) issued_before: i64,
    #[serde(deserialize_with = "maybe")]
    pub(super) expire_at: i64,
    #[serde(deserialize_with = "maybe")]
    pub(super) channel: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_nothing_are_the_same_but_for_data() {
        let bare: Publish = parse(r#"{"channel":"a"}"#).unwrap();
        assert!(bare.data.is_none() && bare.tags.is_empty());
        let nulls = r#"{"channel":"a","data":null,"tags":null,"skip_history":null,"delta":null}"#;
        let nulls: Publish = parse(nulls).unwrap();
        assert_eq!(nulls.data.unwrap().get(), "null");
        assert!(parse::<Publish>(r#"{"channel":1}"#).is_none());
        let more: Subscribe = parse(r#"{"override":{"presence":{"value":true}},"new":1}"#).unwrap();
        assert!(more.overrides.presence.unwrap().value);
    }

    #[test]
    fn base64_counts_before_data() {
        let data: Box<RawValue> = serde_json::from_str("1").unwrap();
        assert_eq!(payload(Some(&data), "").unwrap().unwrap(), b"1");
        assert_eq!(payload(Some(&data), "eyJhIjoxfQ==").unwrap().unwrap(), b"{\"a\":1}");
        assert!(payload(None, "*").is_err() && json_payload(None, "/w==").is_err());
        assert_eq!(payload(None, "").unwrap(), None);
    }
}
