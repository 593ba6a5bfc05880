//! Publishing for backends: stored, acknowledged and delivered exactly as publications of services are.
//! Reads: requests. Writes: the channels' streams. Never: says that something is published before it is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use campana_bus::headers;
use campana_bus::ids::MessageId;
use campana_bus::publish::{Outgoing, PublishError};
use futures::StreamExt as _;
use serde::Serialize;

use super::answer::{self, Answer, Failure};
use super::commands::{self, Caller};
use crate::codes::error;
use crate::options::NamespaceOptions;
use crate::proto::json;
use crate::publication::ChannelKey;

/// Channels of one broadcast that are published to at the same time.
const BROADCAST_CONCURRENCY: usize = 256;
/// Longest idempotency key in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 512;
/// Most tags of a publication, and bytes of all of them as JSON.
const TAGS_MAX: usize = 64;
const TAGS_BYTES_MAX: usize = 4 * 1024;

/// What goes into each channel.
struct Message {
    body: Bytes,
    is_json: bool,
    skip_history: bool,
    /// JSON; empty for none.
    tags: String,
    idempotency_key: String,
}

impl Message {
    fn of(request: commands::Publish) -> Result<Self, Failure> {
        if request.version > 0 || !request.version_epoch.is_empty() {
            return Err(Failure::because(
                error::NOT_AVAILABLE,
                "version and version_epoch are not supported",
            ));
        }
        let body = commands::payload(request.data.as_deref(), &request.b64data)?
            .filter(|body| !body.is_empty())
            .ok_or_else(|| Failure::because(error::BAD_REQUEST, "data is missing"))?;
        if request.idempotency_key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(Failure::because(error::BAD_REQUEST, "idempotency_key is too long"));
        }
        Ok(Self {
            is_json: json::is_json(&body),
            body: body.into(),
            skip_history: request.skip_history,
            tags: tags(&request.tags)?,
            idempotency_key: request.idempotency_key,
        })
    }

    /// Whether this namespace takes it.
    fn check(&self, namespace: &NamespaceOptions) -> Result<(), Failure> {
        if self.skip_history && namespace.history_size > 0 {
            return Err(Failure::because(
                error::NOT_AVAILABLE,
                "skip_history: a publication is delivered by being stored; use a namespace with \
                 history_size = 0",
            ));
        }
        if !self.is_json && !namespace.binary {
            return Err(Failure::because(
                error::BAD_REQUEST,
                "bytes that are not JSON need a namespace with binary = true",
            ));
        }
        Ok(())
    }

    fn outgoing(&self, key: &ChannelKey) -> Outgoing {
        let id = match self.idempotency_key.as_str() {
            "" => MessageId::fresh(),
            // For each channel, and apart from what anybody else calls a message.
            own => MessageId::derived(&["server api", &key.subject, own]),
        };
        let message = Outgoing::new(key.subject.as_str(), id.to_string(), self.body.clone());
        match self.tags.as_str() {
            "" => message,
            tags => message.header(headers::TAGS, tags),
        }
    }
}

fn tags(tags: &BTreeMap<String, String>) -> Result<String, Failure> {
    if tags.is_empty() {
        return Ok(String::new());
    }
    let text = answer::json(tags)?;
    if tags.len() > TAGS_MAX || text.len() > TAGS_BYTES_MAX {
        return Err(Failure::because(error::LIMIT_EXCEEDED, "too many tags, or too long ones"));
    }
    Ok(text)
}

#[derive(Serialize)]
struct Published<'a> {
    offset: u64,
    epoch: &'a str,
}

/// One channel.
pub(super) async fn publish(caller: Caller<'_>, request: commands::Publish) -> Answer {
    let (key, namespace) = caller.channel(&request.channel)?;
    let message = Message::of(request)?;
    message.check(namespace)?;
    store(caller, &key, &message).await
}

/// The same into many channels; each has its own result.
pub(super) async fn broadcast(caller: Caller<'_>, mut request: commands::Publish) -> Answer {
    let channels = std::mem::take(&mut request.channels);
    if channels.is_empty() {
        return Err(Failure::because(error::BAD_REQUEST, "channels is missing"));
    }
    if channels.len() > caller.node.rules.options.api.broadcast_channels_max {
        return Err(Failure::because(error::LIMIT_EXCEEDED, "too many channels"));
    }
    let message = Message::of(request)?;
    let one = |channel: String| {
        let message = &message;
        async move {
            let (key, namespace) = caller.channel(&channel)?;
            message.check(namespace)?;
            store(caller, &key, message).await
        }
    };
    let answers: Vec<Answer> =
        futures::stream::iter(channels).map(one).buffered(BROADCAST_CONCURRENCY).collect().await;
    let responses: Vec<String> = answers.iter().map(answer::object).collect();
    Ok(format!("{{\"responses\":[{}]}}", responses.join(",")))
}

async fn store(caller: Caller<'_>, key: &Arc<ChannelKey>, message: &Message) -> Answer {
    let stored = match crate::operations::store(caller.node, key, message.outgoing(key)).await {
        Ok(stored) => stored,
        Err(PublishError::TooLarge) => return Err(error::LIMIT_EXCEEDED.into()),
        Err(why) => {
            tracing::warn!(error = %why, "a publication of the server API was not stored");
            return Err(error::INTERNAL.into());
        }
    };
    let epoch = caller.node.hub.epoch(key).await;
    // It is stored: that the epoch is not known now does not undo it.
    answer::json(&Published {
        offset: stored.sequence,
        epoch: epoch.as_deref().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use campana_bus::subjects::ChannelName;

    use super::*;

    fn message(request: &str) -> Result<Message, u32> {
        Message::of(serde_json::from_str(request).unwrap()).map_err(|failure| failure.code)
    }

    #[test]
    fn what_is_not_supported_is_said() {
        assert!(message(r#"{"data":{}}"#).is_ok());
        assert_eq!(message(r#"{"data":{},"version":1}"#).err(), Some(108));
        assert_eq!(message(r#"{"data":{},"version_epoch":"a"}"#).err(), Some(108));
        assert_eq!(message("{}").err(), Some(107));
        let many: Vec<String> = (0..=TAGS_MAX).map(|n| format!("\"t{n}\":\"\"")).collect();
        let many = format!("{{\"data\":1,\"tags\":{{{}}}}}", many.join(","));
        assert_eq!(message(&many).err(), Some(106));
        let skip = message(r#"{"data":1,"skip_history":true}"#).unwrap();
        let none = NamespaceOptions { history_size: 0, ..NamespaceOptions::default() };
        assert_eq!(skip.check(&NamespaceOptions::default()).unwrap_err().code, 108);
        assert!(skip.check(&none).is_ok());
        let bytes = message(r#"{"b64data":"/w=="}"#).unwrap();
        assert_eq!(bytes.check(&none).unwrap_err().code, 107);
        assert!(bytes.check(&NamespaceOptions { binary: true, ..none }).is_ok());
    }

    #[test]
    fn an_idempotency_key_is_the_channel_s_own() {
        let key = |name: &str| ChannelKey::new("t", ChannelName::parse(name).unwrap());
        let one = message(r#"{"data":1,"idempotency_key":"k"}"#).unwrap();
        let id = |name: &str| one.outgoing(&key(name)).message_id;
        assert_eq!(id("a"), id("a"));
        assert_ne!(id("a"), id("b"));
        let free = message(r#"{"data":1}"#).unwrap();
        assert_ne!(free.outgoing(&key("a")).message_id, free.outgoing(&key("a")).message_id);
    }
}
