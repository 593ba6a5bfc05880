//! What clients send: commands of the Centrifuge protocol, JSON form, version 2.
//! Reads: text from strangers. Writes: nothing. Never: looks into a payload; those stay raw JSON.
//! Unknown members are ignored, because newer clients send more of them; unknown commands are answered.

use serde::Deserialize;
use serde_json::value::RawValue;

/// One line from a client.
#[derive(Debug, Deserialize)]
pub(crate) struct Command<'a> {
    #[serde(default)]
    pub(crate) id: u32,
    #[serde(default)]
    pub(crate) connect: Option<ConnectRequest>,
    #[serde(default)]
    pub(crate) subscribe: Option<SubscribeRequest>,
    #[serde(default)]
    pub(crate) unsubscribe: Option<ChannelRequest>,
    #[serde(borrow, default)]
    pub(crate) publish: Option<PublishRequest<'a>>,
    #[serde(default)]
    pub(crate) history: Option<HistoryRequest>,
    #[serde(default)]
    pub(crate) presence: Option<ChannelRequest>,
    #[serde(default)]
    pub(crate) presence_stats: Option<ChannelRequest>,
    #[serde(default)]
    pub(crate) ping: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(crate) send: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(crate) rpc: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(crate) refresh: Option<TokenRequest>,
    #[serde(default)]
    pub(crate) sub_refresh: Option<SubRefreshRequest>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ConnectRequest {
    #[serde(default)]
    pub(crate) token: String,
    /// Where the client stands in channels that the server subscribes; nothing else is taken from it.
    #[serde(default)]
    pub(crate) subs: std::collections::HashMap<String, Standing>,
}

/// A position to recover from.
#[derive(Debug, Deserialize)]
pub(crate) struct Standing {
    #[serde(default)]
    pub(crate) recover: bool,
    #[serde(default)]
    pub(crate) epoch: String,
    #[serde(default)]
    pub(crate) offset: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SubscribeRequest {
    #[serde(default)]
    pub(crate) channel: String,
    #[serde(default)]
    pub(crate) token: String,
    #[serde(default)]
    pub(crate) recover: bool,
    #[serde(default)]
    pub(crate) epoch: String,
    #[serde(default)]
    pub(crate) offset: u64,
    #[serde(default)]
    pub(crate) flag: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChannelRequest {
    #[serde(default)]
    pub(crate) channel: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PublishRequest<'a> {
    #[serde(default)]
    pub(crate) channel: String,
    #[serde(borrow, default)]
    pub(crate) data: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HistoryRequest {
    #[serde(default)]
    pub(crate) channel: String,
    #[serde(default)]
    pub(crate) limit: i64,
    #[serde(default)]
    pub(crate) since: Option<Since>,
    #[serde(default)]
    pub(crate) reverse: bool,
}

/// A position in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Since {
    /// The stream's sequence of the last message known.
    #[serde(default)]
    pub offset: u64,
    /// The incarnation of the stream; empty matches any.
    #[serde(default)]
    pub epoch: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TokenRequest {
    #[serde(default)]
    pub(crate) token: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SubRefreshRequest {
    #[serde(default)]
    pub(crate) channel: String,
    #[serde(default)]
    pub(crate) token: String,
}

impl Command<'_> {
    /// The empty object: the answer to a ping.
    pub(crate) fn is_pong(&self) -> bool {
        self.id == 0 && !self.has_request() && self.send.is_none()
    }

    fn has_request(&self) -> bool {
        self.connect.is_some()
            || self.subscribe.is_some()
            || self.unsubscribe.is_some()
            || self.publish.is_some()
            || self.history.is_some()
            || self.presence.is_some()
            || self.presence_stats.is_some()
            || self.ping.is_some()
            || self.rpc.is_some()
            || self.refresh.is_some()
            || self.sub_refresh.is_some()
    }
}
