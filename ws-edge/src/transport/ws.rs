//! WebSocket as a transport: messages in frames, several to a frame where they are small.
//! Reads and writes: the socket. Never: copies a message that gets a frame of its own.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::{Bytes, BytesMut};
use futures::SinkExt as _;
use tokio_tungstenite::tungstenite;

use super::framing::bare;
use super::{Incoming, Kind, Line, NotWritten, Transport};
use crate::codes::{Disconnect, disconnect};
use crate::encode::{self, Encoded};
use crate::proto::Protocol;

/// Messages of one WebSocket frame.
const FRAME_MESSAGES_MAX: usize = 16;
/// Messages of this size and more get a frame of their own, which needs no copy.
const JOIN_BYTES_MAX: usize = 8 * 1024;
/// How long the client may take to answer the closing frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client's WebSocket.
pub(crate) struct Ws {
    socket: WebSocket,
    /// The client only listens: it gets pushes without their envelope, each in a frame of its own, because
    /// nobody told it how to take frames apart.
    alone: bool,
    /// What the request said instead of a first message.
    first: Option<Utf8Bytes>,
}

impl Ws {
    /// A socket that was just opened; `first` is what its request said instead of a first message.
    pub(crate) fn new(socket: WebSocket, kind: Kind, first: Option<Utf8Bytes>) -> Self {
        Self { socket, alone: kind == Kind::UniWebSocket, first }
    }

    /// Reads on until both sides have said that they close.
    async fn close(&mut self) {
        let closing = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}

impl Transport for Ws {
    fn kind(&self) -> Kind {
        if self.alone { Kind::UniWebSocket } else { Kind::WebSocket }
    }

    async fn receive(&mut self) -> Incoming {
        if let Some(first) = self.first.take() {
            return Incoming::Text(first);
        }
        match self.socket.recv().await {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Binary(frame))) => Incoming::Binary(frame),
            Some(Ok(Message::Pong(_))) => Incoming::Pong,
            // The library answers it.
            Some(Ok(Message::Ping(_))) => Incoming::Nothing,
            Some(Ok(Message::Close(_))) => Incoming::Leaving,
            None => Incoming::Gone,
            Some(Err(error)) => broken(error).map_or(Incoming::Gone, Incoming::Broken),
        }
    }

    async fn write(&mut self, lines: &mut [Line]) -> Result<(), NotWritten> {
        write(&mut self.socket, lines, self.alone).await.map_err(|_| NotWritten)
    }

    async fn ping(&mut self) -> Result<(), NotWritten> {
        self.socket.send(Message::Ping(Bytes::new())).await.map_err(|_| NotWritten)
    }

    /// Says why in the closing frame and waits a little for the client to say it back. A client that only
    /// listens is told by a push too: not everybody looks at closing frames.
    async fn goodbye(mut self, end: Disconnect) {
        if end == disconnect::CONNECTION_CLOSED {
            return self.close().await;
        }
        let last = encode::disconnect_push(Protocol::Json, end);
        let mut last = [Line { encoded: last, publication: None, mark: None }];
        let frame = CloseFrame { code: end.code, reason: end.reason.into() };
        let closing = async {
            // A slow client has more to read already than it does.
            if self.alone && end != disconnect::SLOW {
                write(&mut self.socket, &mut last, true).await?;
            }
            self.socket.send(Message::Close(Some(frame))).await?;
            while let Some(Ok(_)) = self.socket.recv().await {}
            Ok::<(), axum::Error>(())
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}

/// How to end a connection whose client breaks the WebSocket protocol; `None` if it is simply gone.
fn broken(error: axum::Error) -> Option<Disconnect> {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;
    match error.into_inner().downcast_ref::<Error>()? {
        Error::Capacity(_) => Some(disconnect::TOO_BIG),
        Error::Utf8(_) => Some(disconnect::INVALID_TEXT),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(disconnect::PROTOCOL_ERROR),
        _ => None,
    }
}

/// Writes all messages, several to a frame, and flushes once.
async fn write(socket: &mut WebSocket, lines: &mut [Line], alone: bool) -> Result<(), axum::Error> {
    let mut rest = lines;
    let most = if alone { 1 } else { FRAME_MESSAGES_MAX };
    while let [first, tail @ ..] = &*rest {
        let mut bytes = first.bytes();
        let joined = tail.iter().take(most - 1).take_while(|line| {
            bytes += line.bytes() + 1;
            bytes <= JOIN_BYTES_MAX
        });
        let count = 1 + joined.count();
        let (now, later) = rest.split_at_mut(count);
        let frame = match (&*now, alone) {
            ([Line { encoded: Encoded::Text(one), .. }], true) => {
                Message::Text(bare(one.as_str()).into())
            }
            _ => frame(now),
        };
        socket.feed(frame).await?;
        rest = later;
    }
    socket.flush().await
}

/// One frame; a single message is handed on, because to share one with ten thousand others is a count that all cores
/// fight for. All messages of a client are of one kind.
fn frame(lines: &mut [Line]) -> Message {
    let bytes = lines.iter().map(|line| line.bytes() + 1).sum();
    match lines {
        [Line { encoded: Encoded::Text(one), .. }] => Message::Text(std::mem::take(one)),
        [Line { encoded: Encoded::Binary(one), .. }] => Message::Binary(std::mem::take(one)),
        [Line { encoded: Encoded::Binary(_), .. }, ..] => {
            let mut joined = BytesMut::with_capacity(bytes);
            for line in lines {
                if let Encoded::Binary(one) = &line.encoded {
                    joined.extend_from_slice(one);
                }
            }
            Message::Binary(joined.freeze())
        }
        _ => Message::Text(joined_text(lines, bytes)),
    }
}

fn joined_text(lines: &[Line], bytes: usize) -> Utf8Bytes {
    let mut text = String::with_capacity(bytes);
    for line in lines {
        if !text.is_empty() {
            text.push('\n');
        }
        if let Encoded::Text(one) = &line.encoded {
            text.push_str(one.as_str());
        }
    }
    text.into()
}
