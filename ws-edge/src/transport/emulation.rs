//! Commands of clients whose transport carries nothing from them: requests of their own, brought to the session.
//! Reads: requests of clients, messages of other nodes. Writes: the sessions' inboxes, messages to other nodes.
//! Never: looks at a command; tells one node's sessions apart anywhere but there; keeps more than a session's
//! limit of what it has not taken yet.
//!
//! A load balancer may send such a request to any node. It names the node that has the session, and goes there
//! over NATS; the answer comes back when the commands are in the session's inbox, so that a client which waits
//! for it before the next request gets its commands in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use campana_bus::RequestError;
use campana_bus::{Bus, HeaderMap, subjects};
use dashmap::DashMap;
use futures::StreamExt as _;
use prost::Message;
use tokio::sync::Notify;

use super::Incoming;
use crate::codes::disconnect;
use crate::proto::Protocol;

/// Frames that may wait for a session; their bytes are limited too.
const FRAMES_MAX: usize = 256;
/// Random bytes of a session's secret.
const SECRET_BYTES: usize = 16;
/// What a node answers to another one.
const TAKEN: &[u8] = b"taken";
const UNKNOWN: &[u8] = b"unknown";

/// What a client posts, and what one node sends to another.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(string, tag = "1")]
    pub(crate) node: String,
    #[prost(string, tag = "2")]
    pub(crate) session: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) data: Bytes,
}

/// Why commands did not reach their session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// No such node, or no such session there.
    Unknown,
    /// The node does not answer; it may have taken the commands all the same.
    Silent,
}

/// All sessions of a node that are reached by requests.
#[derive(Debug, Default)]
pub(crate) struct Sessions(DashMap<Box<str>, Arc<Inbox>>);

impl Sessions {
    /// A new session's place, which is there for as long as the entry lives, and the secret that leads to it.
    pub(crate) fn open(self: &Arc<Self>, protocol: Protocol, bytes_max: usize) -> Entry {
        let secret: Box<str> = hex(&rand::random::<[u8; SECRET_BYTES]>()).into();
        let inbox = Arc::new(Inbox::new(protocol, bytes_max));
        self.0.insert(secret.clone(), Arc::clone(&inbox));
        Entry { sessions: Arc::clone(self), secret, inbox }
    }

    fn deliver(&self, session: &str, data: Bytes) -> Result<(), Undelivered> {
        let inbox = self.0.get(session).map(|found| Arc::clone(found.value()));
        inbox.ok_or(Undelivered::Unknown)?.put(data);
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A session's place among the others.
#[derive(Debug)]
pub(crate) struct Entry {
    sessions: Arc<Sessions>,
    pub(crate) secret: Box<str>,
    pub(crate) inbox: Arc<Inbox>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.sessions.0.remove(&self.secret);
    }
}

/// What came for one session and was not taken yet.
#[derive(Debug)]
pub(crate) struct Inbox {
    protocol: Protocol,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// More came than may wait: the session ends.
    flooded: bool,
    /// Nobody takes anything any more.
    closed: bool,
}

impl Inbox {
    fn new(protocol: Protocol, bytes_max: usize) -> Self {
        Self { protocol, bytes_max, waiting: Mutex::default(), arrived: Notify::new() }
    }

    fn put(&self, data: Bytes) {
        let mut waiting = self.lock();
        if waiting.closed || waiting.flooded {
            return;
        }
        waiting.bytes += data.len();
        if waiting.bytes > self.bytes_max || waiting.frames.len() >= FRAMES_MAX {
            *waiting = Waiting { flooded: true, ..Waiting::default() };
        } else {
            // A slice of a request's buffer would keep all of it.
            waiting.frames.push_back(Bytes::copy_from_slice(&data));
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// What came next, in the form that the session reads.
    pub(crate) async fn next(&self) -> Incoming {
        loop {
            if let Some(incoming) = self.take() {
                return incoming;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Option<Incoming> {
        let mut waiting = self.lock();
        if waiting.flooded {
            return Some(Incoming::Broken(disconnect::TOO_MANY_REQUESTS));
        }
        let frame = waiting.frames.pop_front()?;
        waiting.bytes = waiting.bytes.saturating_sub(frame.len());
        if waiting.frames.is_empty() {
            waiting.frames = VecDeque::new();
        }
        Some(match self.protocol {
            Protocol::Protobuf => Incoming::Binary(frame),
            Protocol::Json => Utf8Bytes::try_from(frame)
                .map_or(Incoming::Broken(disconnect::BAD_REQUEST), Incoming::Text),
        })
    }

    /// What still comes is forgotten: the session ended, and its client is about to learn why.
    pub(crate) fn close(&self) {
        *self.lock() = Waiting { closed: true, ..Waiting::default() };
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings commands to their session, wherever it is.
pub(crate) async fn bring(
    bus: &Bus,
    own: (&str, &Sessions),
    request: Request,
    timeout: Duration,
) -> Result<(), Undelivered> {
    if request.node == own.0 {
        return own.1.deliver(&request.session, request.data);
    }
    let subject = subjects::edge_emulate(&request.node);
    let payload = request.encode_to_vec().into();
    match bus.request(subject, HeaderMap::new(), payload, timeout).await {
        Ok(answer) if answer.payload.as_ref() == TAKEN => Ok(()),
        Ok(_) | Err(RequestError::NoResponders | RequestError::InvalidSubject) => {
            Err(Undelivered::Unknown)
        }
        Err(why) => {
            tracing::debug!(error = %why, "another node does not take commands of its client");
            Err(Undelivered::Silent)
        }
    }
}

/// Asks NATS for what other nodes have for sessions of this one.
///
/// # Errors
/// If the connection is closed.
pub(crate) async fn listen(
    bus: &Bus,
    node: &str,
) -> Result<async_nats::Subscriber, async_nats::SubscribeError> {
    let subscriber = bus.client().subscribe(subjects::edge_emulate(node)).await?;
    // The first client may name this node to another one as soon as it is connected.
    if let Err(error) = bus.client().flush().await {
        tracing::debug!(%error, "the subscription to commands of clients is not confirmed");
    }
    Ok(subscriber)
}

/// Takes what other nodes bring, in the order in which it comes, until the connection ends.
pub(crate) async fn serve(bus: Bus, sessions: Arc<Sessions>, mut brought: async_nats::Subscriber) {
    while let Some(message) = brought.next().await {
        let delivered = match Request::decode(message.payload) {
            Ok(request) => sessions.deliver(&request.session, request.data),
            Err(_) => Err(Undelivered::Unknown),
        };
        let answer = if delivered.is_ok() { TAKEN } else { UNKNOWN };
        if let Some(reply) = message.reply
            && let Err(error) = bus.client().publish(reply, Bytes::from_static(answer)).await
        {
            tracing::debug!(%error, "another node gets no answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(entry: &Entry) -> String {
        match entry.inbox.next().await {
            Incoming::Text(text) => text.as_str().to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn commands_reach_their_session_in_order_and_no_other() {
        let sessions = Arc::new(Sessions::default());
        let (one, two) = (sessions.open(Protocol::Json, 100), sessions.open(Protocol::Json, 100));
        assert_ne!(one.secret, two.secret);
        assert_eq!(one.secret.len(), 32);
        for text in ["a", "b"] {
            assert_eq!(sessions.deliver(&one.secret, Bytes::from_static(text.as_bytes())), Ok(()));
        }
        sessions.deliver(&two.secret, Bytes::from_static(b"c")).unwrap();
        assert_eq!(
            (next(&one).await, next(&one).await, next(&two).await),
            ("a".to_owned(), "b".to_owned(), "c".to_owned())
        );
        let secret = one.secret.clone();
        one.inbox.close();
        // Until the client has learnt how its session ended, what it says is taken and forgotten.
        assert_eq!(sessions.deliver(&secret, Bytes::from_static(b"d")), Ok(()));
        assert!(one.inbox.take().is_none());
        drop(one);
        assert_eq!(sessions.deliver(&secret, Bytes::new()), Err(Undelivered::Unknown));
        assert_eq!(sessions.deliver("", Bytes::new()), Err(Undelivered::Unknown));
    }

    #[tokio::test]
    async fn who_sends_more_than_is_taken_ends_the_session() {
        let sessions = Arc::new(Sessions::default());
        let heavy = sessions.open(Protocol::Json, 100);
        for _ in 0..2 {
            sessions.deliver(&heavy.secret, Bytes::from(vec![b'x'; 60])).unwrap();
        }
        assert!(next(&heavy).await.contains("3013"));
        let many = sessions.open(Protocol::Json, 100_000);
        for _ in 0..=FRAMES_MAX {
            sessions.deliver(&many.secret, Bytes::from_static(b"x")).unwrap();
        }
        assert!(next(&many).await.contains("3013"));
        let binary = sessions.open(Protocol::Json, 100);
        sessions.deliver(&binary.secret, Bytes::from_static(&[0xFF])).unwrap();
        assert!(next(&binary).await.contains("3501"));
    }
}
