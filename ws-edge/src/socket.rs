//! The shell around a session: one task per connection that reads, waits and writes.
//! Reads: the socket, the mailbox. Writes: the socket, the bus (for the session's operations).
//! Never: decides anything about the protocol; the session does.
//!
//! All that is ready is written before one flush, several messages to a frame: the system call is what
//! sending costs. While a write waits for a slow client its mailbox fills, and at the limit the connection
//! is cut. Operations of a session run one after the other, as the session asked for them; calls of services
//! run beside them, because a slow service must not hold up a subscription.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::BytesMut;
use campana_bus::ids::ClientId;
use campana_bus::{clock, observe};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite;

use crate::codes::{Disconnect, disconnect};
use crate::encode::Encoded;
use crate::mailbox::{Mailbox, Push};
use crate::proto::Protocol;
use crate::publication::Published;
use crate::server::Node;
use crate::session::{Done, Effect, Operation, Session};
use crate::{metrics, operations};

/// Messages of one WebSocket frame.
const FRAME_MESSAGES_MAX: usize = 16;
/// Messages of this size and more get a frame of their own, which needs no copy.
const JOIN_BYTES_MAX: usize = 8 * 1024;
/// Buffers up to this many entries are kept.
const KEPT_ENTRIES_MAX: usize = 16;
/// How long the client may take to answer the closing frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves one connection until it ends.
pub(crate) async fn run(socket: WebSocket, node: Arc<Node>, protocol: Protocol, number: u64) {
    let mailbox = Arc::new(Mailbox::new(node.rules.options.queue_bytes_max));
    node.register(number, &mailbox);
    metrics::opened();
    let client = ClientId::fresh().to_string();
    let first_ping = first_ping_ms(&client, node.rules.options.ping_interval_ms);
    let rules = Arc::clone(&node.rules);
    let session = Session::new(rules, protocol, &client, node.now(), first_ping);
    let mut shell = Shell {
        socket,
        session,
        mailbox,
        node,
        queue: VecDeque::new(),
        calls: None,
        effects: Vec::new(),
    };
    let end = shell.serve().await;
    shell.leave();
    metrics::closed(end);
    shell.node.unregister(number);
    shell.goodbye(end).await;
}

/// In the second half of the interval, by the random end of the client's id: clients that come together are
/// not pinged together.
fn first_ping_ms(client: &str, interval_ms: u64) -> u64 {
    let digits = client.get(client.len().saturating_sub(6)..).unwrap_or_default();
    let spread = u64::from_str_radix(digits, 16).unwrap_or(0);
    interval_ms / 2 + spread % (interval_ms / 2 + 1)
}

struct Shell {
    socket: WebSocket,
    session: Session,
    mailbox: Arc<Mailbox>,
    node: Arc<Node>,
    /// Operations that wait for the one that runs.
    queue: VecDeque<Operation>,
    /// Calls that wait for their answers; made with the first one, because most clients never call.
    calls: Option<FuturesUnordered<BoxFuture<'static, Done>>>,
    effects: Vec<Effect>,
}

/// A message to write, and the publication behind it if it is a live one.
struct Line {
    encoded: Encoded,
    publication: Option<Arc<Published>>,
}

impl Line {
    fn bytes(&self) -> usize {
        self.encoded.len()
    }
}

impl Shell {
    async fn serve(&mut self) -> Disconnect {
        let mut current: Option<BoxFuture<'static, Done>> = None;
        let mut pushes = VecDeque::new();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut armed = 0;
        loop {
            if current.is_none() {
                current = self.next_operation();
            }
            let due = self.session.next_timer_ms();
            if due != armed {
                timer.as_mut().reset(self.node.moment(due));
                armed = due;
            }
            tokio::select! {
                frame = self.socket.recv() => {
                    if let Some(end) = self.on_frame(frame) {
                        return end;
                    }
                }
                () = self.mailbox.arrived() => self.on_pushes(&mut pushes),
                done = finished(&mut current) => {
                    current = None;
                    self.session.on_done(done, self.node.now(), &mut self.effects);
                }
                done = answered(&mut self.calls) => {
                    self.session.on_done(done, self.node.now(), &mut self.effects);
                }
                () = &mut timer => {
                    armed = 0;
                    self.session.on_timer(self.node.now(), &mut self.effects);
                }
            }
            if let Some(end) = self.settle().await {
                return end;
            }
        }
    }

    /// Starts the next operation; leaving a channel takes no time and is done at once.
    fn next_operation(&mut self) -> Option<BoxFuture<'static, Done>> {
        loop {
            match self.queue.pop_front()? {
                Operation::Leave(key) => self.node.hub.leave(&key, &self.mailbox),
                operation => {
                    let (node, mailbox) = (Arc::clone(&self.node), Arc::clone(&self.mailbox));
                    return Some(operations::run(node, mailbox, operation).boxed());
                }
            }
        }
    }

    /// A frame came, or the client is gone.
    fn on_frame(&mut self, frame: Option<Result<Message, axum::Error>>) -> Option<Disconnect> {
        match frame {
            Some(Ok(Message::Text(text))) => {
                self.session.on_text(text.as_str(), self.node.now(), &mut self.effects);
            }
            Some(Ok(Message::Binary(frame))) => {
                self.session.on_binary(frame, self.node.now(), &mut self.effects);
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Some(disconnect::CONNECTION_CLOSED),
            Some(Err(error)) => match broken(error) {
                Some(why) => self.session.close(why, &mut self.effects),
                None => return Some(disconnect::CONNECTION_CLOSED),
            },
        }
        None
    }

    fn on_pushes(&mut self, pushes: &mut VecDeque<Push>) {
        let end = self.mailbox.take(pushes);
        for push in pushes.drain(..) {
            match push {
                Push::Publication(publication) => {
                    self.session.on_publication(publication, &mut self.effects)
                }
                Push::Lost(key) => self.session.on_lost(&key, &mut self.effects),
            }
        }
        if let Some(end) = end {
            self.session.close(end, &mut self.effects);
        }
    }

    /// Does what the session asked for; gives the reason if the connection ends.
    async fn settle(&mut self) -> Option<Disconnect> {
        if self.effects.is_empty() {
            return None;
        }
        let mut lines = Vec::with_capacity(self.effects.len());
        let mut end = None;
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Send(encoded) => lines.push(Line { encoded, publication: None }),
                Effect::Push(publication, encoded) => {
                    lines.push(Line { encoded, publication: Some(publication) })
                }
                Effect::Call(one) => {
                    let node = Arc::clone(&self.node);
                    let calls = self.calls.get_or_insert_default();
                    calls.push(async move { operations::call(&node, one).await }.boxed());
                }
                Effect::Run(operation) => self.queue.push_back(operation),
                Effect::Report(report) => metrics::report(&report),
                Effect::Close(why) => end = Some(why),
            }
        }
        if self.effects.capacity() > KEPT_ENTRIES_MAX {
            self.effects = Vec::new();
        }
        if lines.is_empty() || end == Some(disconnect::SLOW) {
            return end;
        }
        let spans = spans(&lines);
        let limit = Duration::from_millis(self.node.rules.options.write_timeout_ms);
        let written = tokio::select! {
            biased;
            result = write(&mut self.socket, &lines) => result.map_err(|_| disconnect::WRITE_ERROR),
            why = self.mailbox.ended(), if end.is_none() => Err(why),
            () = tokio::time::sleep(limit) => Err(disconnect::WRITE_ERROR),
        };
        match written {
            Ok(()) => count(&lines),
            Err(why) => {
                spans.iter().for_each(|span| observe::failed(span, why.label));
                end = end.or(Some(why));
            }
        }
        end
    }

    /// The session's channels are no longer wanted.
    fn leave(&mut self) {
        for operation in self.queue.drain(..) {
            if let Operation::Leave(key) = operation {
                self.node.hub.leave(&key, &self.mailbox);
            }
        }
        for (key, began) in self.session.channels() {
            if began {
                metrics::subscriptions(key.name.namespace(), -1.0);
            }
            self.node.hub.leave(key, &self.mailbox);
        }
    }

    /// Says why and waits a little for the client to say it back.
    async fn goodbye(mut self, end: Disconnect) {
        if end == disconnect::CONNECTION_CLOSED {
            return;
        }
        let frame = CloseFrame { code: end.code, reason: end.reason.into() };
        let closing = async {
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }
}

async fn finished(current: &mut Option<BoxFuture<'static, Done>>) -> Done {
    match current {
        Some(operation) => operation.await,
        None => std::future::pending().await,
    }
}

/// The next answer to a call.
async fn answered(calls: &mut Option<FuturesUnordered<BoxFuture<'static, Done>>>) -> Done {
    let next = match calls {
        Some(calls) => calls.next().await,
        None => None,
    };
    match next {
        Some(done) => done,
        None => std::future::pending().await,
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
async fn write(socket: &mut WebSocket, lines: &[Line]) -> Result<(), axum::Error> {
    let mut rest = lines;
    while let [first, tail @ ..] = rest {
        let mut bytes = first.bytes();
        let joined = tail.iter().take(FRAME_MESSAGES_MAX - 1).take_while(|line| {
            bytes += line.bytes() + 1;
            bytes <= JOIN_BYTES_MAX
        });
        let count = 1 + joined.count();
        socket.feed(frame(&rest[..count])).await?;
        rest = &rest[count..];
    }
    socket.flush().await
}

/// One frame; a single message is shared, not copied. All messages of a client are of one kind.
fn frame(lines: &[Line]) -> Message {
    let bytes = lines.iter().map(|line| line.bytes() + 1).sum();
    match lines {
        [Line { encoded: Encoded::Text(one), .. }] => Message::Text(one.clone()),
        [Line { encoded: Encoded::Binary(one), .. }] => Message::Binary(one.clone()),
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

/// One span for each live publication of a trace, from here to the end of the write.
fn spans(lines: &[Line]) -> Vec<tracing::Span> {
    if !observe::enabled() {
        return Vec::new();
    }
    let span = |line: &Line| {
        let publication = line.publication.as_ref()?;
        let (trace, key) = (publication.trace?, &publication.key);
        Some(observe::pushing(trace, &key.subject, publication.offset, line.bytes()))
    };
    lines.iter().filter_map(span).collect()
}

fn count(lines: &[Line]) {
    metrics::sent(lines.len(), lines.iter().map(Line::bytes).sum());
    let now = clock::now();
    for publication in lines.iter().filter_map(|line| line.publication.as_ref()) {
        metrics::pushed(publication, now);
    }
}
