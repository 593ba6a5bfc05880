//! `campana-ws-edge`: the WebSocket edge. The Centrifuge client protocol in front, JetStream behind.
//!
//! A client connects with a token and gets what its channels publish, each message once and in order, also
//! after a broken connection: its offset is the stream's sequence, and what it missed is read from the
//! stream. [`session`] decides, `hub` follows channels, `socket` moves bytes, `server` lets clients in.
//!
//! Reads: WebSocket, republished and stored messages. Writes: WebSocket, the channels' stream.
//! Never: SQL, consumers, anything of another tenant.

pub mod codes;
mod encode;
mod hub;
mod mailbox;
pub mod metrics;
mod operations;
mod options;
mod proto;
mod publication;
mod rules;
mod server;
pub mod session;
mod socket;

pub use campana_identity::Allow;
pub use encode::Encoded;
pub use options::{EdgeOptions, Interest, NamespaceOptions, RpcOptions};
pub use proto::{Protocol, Since};
pub use publication::{ChannelKey, Published};
pub use rules::Rules;
pub use server::{WEBSOCKET_PATH, run};
