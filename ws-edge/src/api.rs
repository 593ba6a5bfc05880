//! The HTTP API for backends: Centrifugo's server API, so that its client libraries work unchanged.
//! Reads: requests with an API key. Writes: the channels' streams, mailboxes here and on other nodes.
//! Never: serves anybody without a key, or reaches into another tenant than the key's.
//!
//! [`http`] lets requests in, [`commands`] says what they may ask for, [`answer`] how they are answered.

mod answer;
mod batch;
mod channels;
mod commands;
pub(crate) mod glob;
mod http;
mod keys;
mod people;
mod publish;

pub(crate) use http::routes;
pub(crate) use keys::Keys;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Publish,
    Broadcast,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    Send,
    Presence,
    PresenceStats,
    History,
    HistoryRemove,
    Channels,
    Info,
    RevokeToken,
    InvalidateUserTokens,
    Batch,
}

impl Method {
    /// All of them.
    pub(crate) const ALL: [Self; 16] = [
        Self::Publish,
        Self::Broadcast,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Disconnect,
        Self::Refresh,
        Self::Send,
        Self::Presence,
        Self::PresenceStats,
        Self::History,
        Self::HistoryRemove,
        Self::Channels,
        Self::Info,
        Self::RevokeToken,
        Self::InvalidateUserTokens,
        Self::Batch,
    ];

    /// The name in paths, in batches and in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Disconnect => "disconnect",
            Self::Refresh => "refresh",
            Self::Send => "send",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
            Self::HistoryRemove => "history_remove",
            Self::Channels => "channels",
            Self::Info => "info",
            Self::RevokeToken => "revoke_token",
            Self::InvalidateUserTokens => "invalidate_user_tokens",
            Self::Batch => "batch",
        }
    }

    /// The method of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}
