//! The shell around a session: one task per connection that reads, waits and writes.
//! Reads: the socket, the mailbox. Writes: the socket, the bus (for the session's operations).
//! Never: decides anything about the protocol; the session does.
//!
//! All that is ready is written before one flush, several messages to a frame: the system call is what
//! sending costs. While a write waits for a slow client its mailbox fills, and at the limit the connection
//! is cut. Operations of a session run one after the other, as the session asked for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use campana_bus::clock;
use campana_bus::headers::CLIENT_INFO;
use campana_bus::ids::{ClientId, MessageId};
use campana_bus::publish::{Outgoing, PublishError};
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, SinkExt as _};
use tokio_tungstenite::tungstenite;

use crate::codes::{Disconnect, ReplyError, disconnect, error};
use crate::mailbox::{Mailbox, Push};
use crate::metrics;
use crate::publication::Published;
use crate::server::Node;
use crate::session::{Done, Effect, Operation, Publish, Session};

/// Messages of one WebSocket frame.
const FRAME_MESSAGES_MAX: usize = 16;
/// Messages of this size and more get a frame of their own, which needs no copy.
const JOIN_BYTES_MAX: usize = 8 * 1024;
/// Buffers up to this many entries are kept.
const KEPT_ENTRIES_MAX: usize = 16;
/// How long the client may take to answer the closing frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves one connection until it ends.
pub(crate) async fn run(socket: WebSocket, node: Arc<Node>, number: u64) {
    let mailbox = Arc::new(Mailbox::new(node.rules.options.queue_bytes_max));
    node.register(number, &mailbox);
    metrics::opened();
    let client = ClientId::fresh().to_string();
    let first_ping = first_ping_ms(&client, node.rules.options.ping_interval_ms);
    let session = Session::new(Arc::clone(&node.rules), &client, node.now(), first_ping);
    let mut shell =
        Shell { socket, session, mailbox, node, queue: VecDeque::new(), effects: Vec::new() };
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
    effects: Vec<Effect>,
}

/// A line to write, and the publication behind it if it is a live one.
enum Line {
    Reply(Utf8Bytes),
    Push(Arc<Published>),
}

impl Line {
    fn text(&self) -> &Utf8Bytes {
        match self {
            Self::Reply(text) => text,
            Self::Push(publication) => &publication.push,
        }
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
            let node = Arc::clone(&self.node);
            let mailbox = Arc::clone(&self.mailbox);
            return Some(match self.queue.pop_front()? {
                Operation::Leave(key) => {
                    node.hub.leave(&key, &mailbox);
                    continue;
                }
                Operation::Join(joins) => async move {
                    let one = |join: crate::session::Join| {
                        let (hub, mailbox) = (&node.hub, &mailbox);
                        async move { (join.ticket, hub.join(&join, mailbox).await) }
                    };
                    Done::Joined(join_all(joins.into_iter().map(one)).await)
                }
                .boxed(),
                Operation::More(more) => {
                    async move { Done::More(more.ticket, node.hub.more(&more).await) }.boxed()
                }
                Operation::Publish(message) => {
                    async move { Done::Published(message.command, publish(&node, message).await) }
                        .boxed()
                }
                Operation::History(question) => async move {
                    Done::History(question.command, node.hub.history(&question).await)
                }
                .boxed(),
            });
        }
    }

    /// A frame came, or the client is gone.
    fn on_frame(&mut self, frame: Option<Result<Message, axum::Error>>) -> Option<Disconnect> {
        match frame {
            Some(Ok(Message::Text(text))) => {
                self.session.on_text(text.as_str(), self.node.now(), &mut self.effects);
            }
            Some(Ok(Message::Binary(_))) => {
                self.session.close(disconnect::INAPPROPRIATE_PROTOCOL, &mut self.effects);
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
                Effect::Send(text) => lines.push(Line::Reply(text)),
                Effect::Push(publication) => lines.push(Line::Push(publication)),
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
        let limit = Duration::from_millis(self.node.rules.options.write_timeout_ms);
        let written = tokio::select! {
            biased;
            result = write(&mut self.socket, &lines) => result.map_err(|_| disconnect::WRITE_ERROR),
            why = self.mailbox.ended(), if end.is_none() => Err(why),
            () = tokio::time::sleep(limit) => Err(disconnect::WRITE_ERROR),
        };
        match written {
            Ok(()) => count(&lines),
            Err(why) => end = end.or(Some(why)),
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

/// Writes all lines, several to a frame, and flushes once.
async fn write(socket: &mut WebSocket, lines: &[Line]) -> Result<(), axum::Error> {
    let mut rest = lines;
    while let [first, tail @ ..] = rest {
        let mut bytes = first.text().as_str().len();
        let joined = tail.iter().take(FRAME_MESSAGES_MAX - 1).take_while(|line| {
            bytes += line.text().as_str().len() + 1;
            bytes <= JOIN_BYTES_MAX
        });
        let count = 1 + joined.count();
        socket.feed(Message::Text(frame(&rest[..count]))).await?;
        rest = &rest[count..];
    }
    socket.flush().await
}

/// One frame; a single line is shared, not copied.
fn frame(lines: &[Line]) -> Utf8Bytes {
    if let [one] = lines {
        return one.text().clone();
    }
    let bytes = lines.iter().map(|line| line.text().as_str().len() + 1).sum();
    let mut text = String::with_capacity(bytes);
    for line in lines {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line.text().as_str());
    }
    text.into()
}

fn count(lines: &[Line]) {
    metrics::sent(lines.len(), lines.iter().map(|line| line.text().as_str().len()).sum());
    let now = clock::now();
    for line in lines {
        if let Line::Push(publication) = line {
            metrics::pushed(publication, now);
        }
    }
}

/// Stores a client's message.
async fn publish(node: &Node, message: Publish) -> Result<(), ReplyError> {
    let id = MessageId::fresh().to_string();
    let outgoing = Outgoing::new(message.key.subject.as_str(), id, message.data)
        .header(CLIENT_INFO, &message.info);
    match node.publisher.publish(outgoing).await {
        Ok(_) => Ok(()),
        Err(PublishError::TooLarge) => Err(error::LIMIT_EXCEEDED),
        Err(why) => {
            tracing::warn!(error = %why, "a client's message was not stored");
            Err(error::INTERNAL)
        }
    }
}
