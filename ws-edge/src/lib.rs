//! `campana-ws-edge`: the WebSocket edge. The Centrifuge client protocol in front, JetStream behind.
//!
//! A client connects with a token and gets what its channels publish, each message once and in order, also
//! after a broken connection: its offset is the stream's sequence, and what it missed is read from the
//! stream. [`session`] decides, `hub` follows channels, `transport` moves bytes, `server` lets clients in.
//!
//! Reads: WebSocket and HTTP, republished and stored messages. Writes: WebSocket and HTTP, the channels' stream.
//! Never: SQL, consumers, anything of another tenant.

mod api;
mod auth;
pub mod codes;
pub mod contracts;
mod control;
mod drain;
mod encode;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hub;
mod limits;
mod mailbox;
pub mod metrics;
mod operations;
mod options;
pub mod presence;
mod proto;
mod publication;
mod receipts;
mod registry;
mod rules;
mod server;
pub mod session;
pub mod trace;
mod transport;

pub use auth::handshake::Handshake;
pub use auth::{RevokeFailure, revoke};
pub use campana_identity::{Allow, Revocation, TokenOptions};
pub use encode::Encoded;
pub use options::{
    ApiKeyOptions, ApiOptions, ControlOptions, EdgeOptions, HttpOptions, Interest, LimitOptions,
    NamespaceOptions, PersonalChannelOptions, PresenceOptions, ProxyOptions, ProxyTarget,
    ReceiptOptions, RecoveryMode, RpcOptions,
};
pub use proto::{Protocol, Since};
pub use publication::{ChannelKey, Form, Published, View};
pub use rules::Rules;
pub use server::run;
pub use transport::routes::{
    EMULATION_PATH, HTTP_STREAM_PATH, SSE_PATH, UNI_HTTP_STREAM_PATH, UNI_SSE_PATH,
    UNI_WEBSOCKET_PATH, WEBSOCKET_PATH,
};
