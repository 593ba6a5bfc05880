//! The body of an HTTP answer as a transport: it never ends by itself, and what the client says comes by requests
//! of its own or not at all.
//! Reads: the session's inbox. Writes: chunks of the body.
//! Never: waits for ever for a client that does not read; such a connection is cut.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::emulation::{Entry, Inbox};
use super::framing::Framing;
use super::listen::Peer;
use super::{Incoming, Kind, Line, NotWritten, Transport};
use crate::codes::{Disconnect, disconnect};
use crate::encode;
use crate::proto::Protocol;

/// How long a client may take to read why its connection ends.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// The answer that a client reads for as long as it is connected.
pub(crate) struct Stream {
    kind: Kind,
    protocol: Protocol,
    framing: Framing,
    /// What the request that opened it said.
    first: Option<Incoming>,
    inbox: Option<Arc<Inbox>>,
    /// One chunk waits at most; more wait in the mailbox, which has a limit.
    body: mpsc::Sender<Bytes>,
    peer: Peer,
}

impl Stream {
    /// A transport and the body that it writes. `entry` is where requests of the client go, for as long as the
    /// body lives.
    pub(crate) fn new(
        kind: Kind,
        protocol: Protocol,
        first: Incoming,
        entry: Option<Entry>,
        peer: Peer,
    ) -> (Self, Body) {
        let framing = match kind {
            Kind::Sse | Kind::UniSse => Framing::Events,
            _ => Framing::Stream,
        };
        let (sender, mut chunks) = mpsc::channel(1);
        let inbox = entry.as_ref().map(|entry| Arc::clone(&entry.inbox));
        let preface = Bytes::from_static(framing.preface().as_bytes());
        let mut preface = Some(preface).filter(|preface| !preface.is_empty());
        let body = futures::stream::poll_fn(move |context| {
            // The session can be reached until the client has read how it ended.
            let _held = &entry;
            match preface.take() {
                Some(preface) => std::task::Poll::Ready(Some(preface)),
                None => chunks.poll_recv(context),
            }
        });
        let body = futures::StreamExt::map(body, Ok::<_, Infallible>);
        let first = Some(first);
        let stream = Self { kind, protocol, framing, first, inbox, body: sender, peer };
        (stream, Body::from_stream(body))
    }

    fn alone(&self) -> bool {
        matches!(self.kind, Kind::UniSse | Kind::UniHttpStream)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(inbox) = &self.inbox {
            inbox.close();
        }
    }
}

async fn next(inbox: Option<&Inbox>) -> Incoming {
    match inbox {
        Some(inbox) => inbox.next().await,
        None => std::future::pending().await,
    }
}

impl Transport for Stream {
    fn kind(&self) -> Kind {
        self.kind
    }

    async fn receive(&mut self) -> Incoming {
        if let Some(first) = self.first.take() {
            return first;
        }
        tokio::select! {
            biased;
            () = self.body.closed() => Incoming::Gone,
            incoming = next(self.inbox.as_deref()) => incoming,
        }
    }

    async fn write(&mut self, lines: &mut [Line]) -> Result<(), NotWritten> {
        let chunk = self.framing.frame(lines, self.alone());
        self.body.send(chunk).await.map_err(|_| NotWritten)
    }

    /// Says why by a last push. Who does not read is not told.
    async fn goodbye(self, end: Disconnect) {
        if let Some(inbox) = &self.inbox {
            inbox.close();
        }
        if end == disconnect::SLOW || end == disconnect::WRITE_ERROR {
            return self.peer.cut();
        }
        let encoded = encode::disconnect_push(self.protocol, end);
        let line = Line { encoded, publication: None, mark: None };
        let last = self.framing.frame(&[line], self.alone());
        if tokio::time::timeout(GOODBYE_TIMEOUT, self.body.send(last)).await.is_err() {
            self.peer.cut();
        }
    }
}
