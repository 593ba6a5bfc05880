//! The shell around a session: one task per connection that reads, waits and writes.
//! Reads: the transport, the mailbox. Writes: the transport, the bus (for the session's operations).
//! Never: decides anything about the protocol; the session does.
//!
//! All that is ready is written before one flush: the system call is what sending costs. While a write waits for
//! a slow client its mailbox fills, and at the limit the connection is cut. Operations of a session run one after the other, as the session asked for them; calls of services
//! run beside them, because a slow service must not hold up a subscription.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use campana_bus::ids::ClientId;
use campana_bus::{clock, observe};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use http::HeaderMap;

use super::{Incoming, Kind, Line, NotWritten, Transport};
use crate::auth::handshake::Handshake;
use crate::auth::{self, proxy};
use crate::codes::{Disconnect, disconnect};
use crate::mailbox::{Mailbox, Push};
use crate::proto::Protocol;
use crate::server::Node;
use crate::session::{Done, Effect, Mode, Operation, Session};
use crate::trace::Who;
use crate::{metrics, operations};

/// How a connection begins.
pub(crate) struct Opening {
    protocol: Protocol,
    mode: Mode,
    number: u64,
    handshake: Handshake,
}

impl Opening {
    /// A new connection of this node, as its request asked for it.
    pub(crate) fn new(
        node: &Node,
        protocol: Protocol,
        mode: Mode,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Self {
        let handshake = Handshake::of(headers, peer, &node.rules.options);
        Self { protocol, mode, number: node.next_number(), handshake }
    }
}

/// Serves one connection until it ends. All of it is on the heap before the first wait: a future holds what it is
/// given once more for each place in which it waits, and an idle connection must cost little.
pub(crate) fn run<T: Transport>(
    transport: T,
    node: Arc<Node>,
    opening: Opening,
) -> impl Future<Output = ()> {
    let mut shell = Box::new(Shell::new(transport, node, opening));
    async move {
        let end = shell.serve().await;
        if shell.node.tracer.is_on() {
            shell.node.tracer.closed(shell.who(), end);
        }
        shell.leave();
        metrics::closed(shell.transport.kind(), end);
        shell.node.unregister(shell.number);
        let Shell { transport, gone, .. } = *shell;
        if !gone {
            Box::pin(transport.goodbye(end)).await;
        }
    }
}

/// In the second half of the interval, by the random end of the client's id: clients that come together are
/// not pinged together.
fn first_ping_ms(client: &str, interval_ms: u64) -> u64 {
    let digits = client.get(client.len().saturating_sub(6)..).unwrap_or_default();
    let spread = u64::from_str_radix(digits, 16).unwrap_or(0);
    interval_ms / 2 + spread % (interval_ms / 2 + 1)
}

/// Answers that are waited for.
type Calls = FuturesUnordered<BoxFuture<'static, Done>>;

struct Shell<T> {
    transport: T,
    session: Session,
    mailbox: Arc<Mailbox>,
    node: Arc<Node>,
    /// The connection's, in the registry.
    number: u64,
    /// Operations that wait for the one that runs.
    queue: VecDeque<Operation>,
    /// Calls that wait for their answers; made with the first one, because most clients never call.
    calls: Option<Calls>,
    effects: Vec<Effect>,
    /// There is nobody to say goodbye to.
    gone: bool,
    /// Set when the node sends its clients away.
    finish_by: Option<u64>,
}

impl<T: Transport> Shell<T> {
    fn new(transport: T, node: Arc<Node>, opening: Opening) -> Self {
        let Opening { protocol, mode, number, handshake } = opening;
        let kind = transport.kind();
        let handshake = handshake.over(kind.label());
        let mailbox =
            Arc::new(Mailbox::counted(node.rules.options.queue_bytes_max, &node.limits.backlog));
        node.register(number, &mailbox);
        metrics::opened(kind);
        let client = ClientId::fresh().to_string();
        let first_ping = first_ping_ms(&client, node.rules.options.ping_interval_ms);
        let rules = Arc::clone(&node.rules);
        let session = Session::new(rules, protocol, &client, node.now(), first_ping, handshake)
            .with_mode(mode);
        Self {
            transport,
            session,
            mailbox,
            node,
            number,
            queue: VecDeque::new(),
            calls: None,
            effects: Vec::new(),
            gone: false,
            finish_by: None,
        }
    }

    async fn serve(&mut self) -> Disconnect {
        let mut current: Option<BoxFuture<'static, Done>> = None;
        let mut pushes = VecDeque::new();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut armed = 0;
        let mut pushed = false;
        loop {
            if current.is_none() {
                current = self.next_operation();
            }
            let due = self.session.next_timer_ms().min(self.finish_by.unwrap_or(u64::MAX));
            if due != armed {
                timer.as_mut().reset(self.node.moment(due));
                armed = due;
            }
            let after_push = std::mem::take(&mut pushed);
            tokio::select! {
                came = next(&mut self.transport, &self.mailbox, after_push) => match came {
                    Some(incoming) => if let Some(end) = self.on_incoming(incoming) {
                        return end;
                    },
                    None => {
                        pushed = true;
                        self.on_pushes(&mut pushes);
                    }
                },
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
            let busy = current.is_some() || !self.queue.is_empty() || self.is_calling();
            self.finish(busy);
            if self.effects.is_empty() {
                continue;
            }
            // Boxed: while the connection idles, what settling needs takes no room.
            if let Some(end) = Box::pin(self.settle()).await {
                return end;
            }
        }
    }

    /// Whether services were asked that did not answer yet.
    fn is_calling(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| !calls.is_empty())
    }

    /// Starts the next operation; leaving a channel takes no time and is done at once.
    fn next_operation(&mut self) -> Option<BoxFuture<'static, Done>> {
        loop {
            let Some(next) = self.queue.pop_front() else {
                self.queue = VecDeque::new();
                return None;
            };
            match next {
                Operation::Leave(key) => self.node.hub.leave(&key, &self.mailbox),
                operation => {
                    let (node, mailbox) = (Arc::clone(&self.node), Arc::clone(&self.mailbox));
                    return Some(operations::run(node, mailbox, operation).boxed());
                }
            }
        }
    }

    /// Something came, or the client is gone.
    fn on_incoming(&mut self, incoming: Incoming) -> Option<Disconnect> {
        let now = self.node.now();
        match incoming {
            Incoming::Text(text) => {
                metrics::received(self.transport.kind(), text.as_str().len());
                self.session.on_text(text.as_str(), now, &mut self.effects);
                if self.node.tracer.is_on() {
                    self.node.tracer.text(self.who(), text.as_str());
                }
            }
            Incoming::Binary(frame) => {
                metrics::received(self.transport.kind(), frame.len());
                let kept = self.node.tracer.is_on().then(|| frame.clone());
                self.session.on_binary(frame, now, &mut self.effects);
                if let Some(frame) = kept {
                    self.node.tracer.binary(self.who(), &frame);
                }
            }
            Incoming::Pong => self.session.on_pong_frame(now, &mut self.effects),
            Incoming::Nothing => {}
            Incoming::Broken(why) => self.session.close(why, &mut self.effects),
            Incoming::Leaving => return Some(disconnect::CONNECTION_CLOSED),
            Incoming::Gone => {
                self.gone = true;
                return Some(disconnect::CONNECTION_CLOSED);
            }
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
                Push::Revoked => self.session.on_revoked(self.node.now(), &mut self.effects),
                Push::Control(control) => {
                    self.session.on_control(control, self.node.now(), &mut self.effects)
                }
                Push::Moved(moved) => self.session.on_moved(&moved, &mut self.effects),
            }
        }
        match end {
            Some(disconnect::SHUTDOWN) => {
                let wait = self.node.rules.options.drain_finish_ms;
                self.finish_by = Some(self.node.now().ms.saturating_add(wait));
            }
            Some(end) => self.session.close(end, &mut self.effects),
            None => {}
        }
    }

    /// Does what the session asked for; gives the reason if the connection ends.
    async fn settle(&mut self) -> Option<Disconnect> {
        let mut lines = Vec::with_capacity(self.effects.len());
        let (mut end, mut ping, mut mark) = (None, false, None);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Send(encoded) => {
                    lines.push(Line { encoded, publication: None, mark: mark.take() })
                }
                Effect::Push(publication, encoded) => {
                    let publication = Some(publication);
                    lines.push(Line { encoded, publication, mark: mark.take() })
                }
                Effect::Ping => ping = true,
                Effect::Mark(id) => mark = Some(id.into()),
                Effect::Call(one) => {
                    let node = Arc::clone(&self.node);
                    beside(&mut self.calls, async move { operations::call(&node, one).await });
                }
                Effect::Run(operation) => self.queue.push_back(operation),
                Effect::Ask(one) => {
                    let node = Arc::clone(&self.node);
                    beside(&mut self.calls, async move { proxy::ask(&node, *one).await });
                }
                Effect::Uses(mark) => auth::uses(&self.node, &self.mailbox, mark),
                Effect::Identified => {
                    end = identified(&self.node, self.number, &mut self.session).err().or(end);
                }
                Effect::Report(report) => {
                    self.node.registry.on_report(&report);
                    self.node.presence.on_report(&report, &self.session, &self.mailbox);
                    metrics::report(self.transport.kind(), &report);
                }
                Effect::Close(why) => end = Some(why),
            }
        }
        // Idle connections keep no buffers.
        self.effects = Vec::new();
        if (lines.is_empty() && !ping) || end == Some(disconnect::SLOW) {
            return end;
        }
        let spans = spans(&lines);
        let limit = Duration::from_millis(self.node.rules.options.write_timeout_ms);
        let cut = end.is_none() && self.finish_by.is_none();
        let mailbox = cut.then_some(&*self.mailbox);
        let bytes = lines.iter().map(Line::bytes).sum();
        let watched: Vec<_> = match self.node.tracer.is_on() {
            true => lines.iter().map(|line| line.encoded.clone()).collect(),
            false => Vec::new(),
        };
        let written = write_within(&mut self.transport, &mut lines, ping, mailbox, limit).await;
        match written {
            Ok(()) => {
                count(self.transport.kind(), bytes, &lines);
                if !watched.is_empty() {
                    self.node.tracer.written(self.who(), watched.iter());
                }
            }
            Err(why) => {
                spans.iter().for_each(|span| observe::failed(span, why.label));
                end = end.or(Some(why));
            }
        }
        end
    }

    /// The connection as traces see it.
    fn who(&self) -> Who<'_> {
        let kind = self.transport.kind();
        Who {
            client: self.session.client(),
            identity: self.session.identity(),
            transport: kind.label(),
            protocol: self.session.protocol(),
            bare: matches!(kind, Kind::UniWebSocket | Kind::UniSse | Kind::UniHttpStream),
        }
    }

    /// The node sends its clients away: what this one asked for is finished first, within a limit.
    fn finish(&mut self, busy: bool) {
        let Some(by) = self.finish_by else { return };
        if !busy || self.node.now().ms >= by {
            self.session.close(disconnect::SHUTDOWN, &mut self.effects);
        }
    }

    /// The session's channels are no longer wanted.
    fn leave(&mut self) {
        // Free at once, not only after the goodbye: the client may be back before.
        self.session.stand_up();
        for operation in self.queue.drain(..) {
            if let Operation::Leave(key) = operation {
                self.node.hub.leave(&key, &self.mailbox);
            }
        }
        self.node.presence.gone(&self.session, &self.mailbox);
        for (key, began) in self.session.channels() {
            if began {
                self.node.registry.unsubscribed(key);
                metrics::subscriptions(key.name.namespace(), -1.0);
            }
            self.node.hub.leave(key, &self.mailbox);
        }
    }
}

/// The next thing that the client said, or nothing if something waits for it. Most wakes are pushes, and to look at
/// the socket first would cost more than they do; right after one the client comes first, so that a flood of
/// pushes does not silence it.
async fn next<T: Transport>(
    transport: &mut T,
    mailbox: &Mailbox,
    client_first: bool,
) -> Option<Incoming> {
    let mut incoming = std::pin::pin!(transport.receive());
    let mut arrived = std::pin::pin!(mailbox.arrived());
    let either = std::future::poll_fn(|context| {
        if !client_first && arrived.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(incoming) = incoming.as_mut().poll(context) {
            return Poll::Ready(Some(incoming));
        }
        if client_first && arrived.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    });
    either.await
}

/// Writes within a time. A client that is not fast enough is cut as soon as its mailbox, if given, says so.
async fn write_within<T: Transport>(
    to: &mut T,
    lines: &mut [Line],
    ping: bool,
    mailbox: Option<&Mailbox>,
    limit: Duration,
) -> Result<(), Disconnect> {
    let mut writing = std::pin::pin!(write(to, lines, ping));
    // Only a client that does not read at once needs a clock.
    if let Poll::Ready(result) = futures::poll!(writing.as_mut()) {
        return result.map_err(|_| disconnect::WRITE_ERROR);
    }
    let ended = async {
        match mailbox {
            Some(mailbox) => mailbox.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        result = writing => result.map_err(|_| disconnect::WRITE_ERROR),
        why = ended => Err(why),
        () = tokio::time::sleep(limit) => Err(disconnect::WRITE_ERROR),
    }
}

async fn write<T: Transport>(to: &mut T, lines: &mut [Line], ping: bool) -> Result<(), NotWritten> {
    if ping {
        to.ping().await?;
    }
    if lines.is_empty() { Ok(()) } else { to.write(lines).await }
}

/// Waits for an answer beside everything else.
fn beside(calls: &mut Option<Calls>, answer: impl Future<Output = Done> + Send + 'static) {
    calls.get_or_insert_default().push(answer.boxed());
}

/// The user of a connection is known from here on, unless there are too many connections of the user.
fn identified(node: &Node, number: u64, session: &mut Session) -> Result<(), Disconnect> {
    let Some((tenant, user)) = session.identity() else { return Ok(()) };
    node.registry.identify(number, tenant, user, session.client());
    let seat = node.limits.enter_user(tenant, user, node.now().ms);
    session.sit(seat.map_err(|()| disconnect::CONNECTION_LIMIT)?);
    Ok(())
}

async fn finished(current: &mut Option<BoxFuture<'static, Done>>) -> Done {
    match current {
        Some(operation) => operation.await,
        None => std::future::pending().await,
    }
}

/// The next answer to a call.
async fn answered(calls: &mut Option<Calls>) -> Done {
    let next = match calls {
        Some(calls) => calls.next().await,
        None => None,
    };
    match next {
        Some(done) => done,
        None => std::future::pending().await,
    }
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

fn count(kind: Kind, bytes: usize, lines: &[Line]) {
    metrics::sent(kind, lines.len(), bytes);
    let now = clock::now();
    for publication in lines.iter().filter_map(|line| line.publication.as_ref()) {
        metrics::pushed(publication, now);
    }
}
