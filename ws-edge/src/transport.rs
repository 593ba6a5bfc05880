//! How bytes travel between a session and its client: what every transport can do, and the shell that uses it.
//! Reads and writes: nothing itself. Never: knows what a message says; `session` does.
//!
//! [`shell`] runs a session over any [`Transport`]: [`ws`] is the one over WebSocket, [`stream`] the one over the
//! body of an HTTP answer, whose client speaks by requests of its own ([`emulation`]) or not at all. [`routes`] says
//! where clients find them, [`listen`] accepts their connections.

pub(crate) mod emulation;
mod framing;
mod http;
mod introduction;
pub(crate) mod listen;
pub(crate) mod routes;
pub(crate) mod shell;
mod stream;
mod upgrade;
mod ws;

use std::future::Future;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;

use crate::codes::Disconnect;
use crate::encode::Encoded;
use crate::publication::Published;

/// How a client is connected: the metrics' label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    WebSocket,
    Sse,
    HttpStream,
    UniWebSocket,
    UniSse,
    UniHttpStream,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::WebSocket,
        Self::Sse,
        Self::HttpStream,
        Self::UniWebSocket,
        Self::UniSse,
        Self::UniHttpStream,
    ];

    /// The metrics' label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::HttpStream => "http_stream",
            Self::UniWebSocket => "uni_websocket",
            Self::UniSse => "uni_sse",
            Self::UniHttpStream => "uni_http_stream",
        }
    }
}

/// What came from a client.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// An answer to a ping frame.
    Pong,
    /// Something that concerns the transport alone, and is done.
    Nothing,
    /// The client breaks the transport's rules: tell it so.
    Broken(Disconnect),
    /// The client says that it leaves.
    Leaving,
    /// The client left.
    Gone,
}

/// A message to write, and the publication behind it if it is a live one.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) encoded: Encoded,
    pub(crate) publication: Option<Arc<Published>>,
    /// What goes with it as its id, where the transport has ids.
    pub(crate) mark: Option<Box<str>>,
}

impl Line {
    pub(crate) fn bytes(&self) -> usize {
        self.encoded.len()
    }
}

/// The client cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotWritten;

/// One client's connection.
pub(crate) trait Transport: Send + Sized {
    fn kind(&self) -> Kind;

    /// What the client sends next; waits for ever if nothing comes. Dropping the future loses nothing.
    fn receive(&mut self) -> impl Future<Output = Incoming> + Send;

    /// Writes all messages and lets none wait for more; what they held may be gone from them afterwards. Dropping
    /// the future leaves the connection unusable but for [`goodbye`](Self::goodbye).
    fn write(&mut self, lines: &mut [Line]) -> impl Future<Output = Result<(), NotWritten>> + Send;

    /// Sends a ping frame, where the transport has such.
    fn ping(&mut self) -> impl Future<Output = Result<(), NotWritten>> + Send {
        std::future::ready(Ok(()))
    }

    /// Tells the client why the connection ends and ends it; never takes longer than some seconds.
    fn goodbye(self, end: Disconnect) -> impl Future<Output = ()> + Send;
}
