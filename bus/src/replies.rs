//! Replies to what this process asks: one inbox for all of them.
//! Reads: replies. Writes: publishes and requests that carry the inbox. Never: keeps anything of a question
//! whose answer does not come, has more questions open than [`ACKS_IN_FLIGHT_MAX`].
//!
//! The client's own multiplexer forgets a request only when its reply arrives, so every publish that a dead
//! server never acknowledged would stay for the life of the process. Here the one who waits owns the entry:
//! it goes when the reply comes, when the time is up, and when the one who waits is dropped. See
//! docs/adr/0023-own-replies.md.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connect::Bus;
use crate::telemetry;

/// Publishes and requests that may wait for their answer at the same time, per connection. More wait for a
/// place, within their time.
pub const ACKS_IN_FLIGHT_MAX: usize = 8_192;
/// Bytes of the messages that wait for their answer at the same time, per connection. A larger message
/// takes all of it.
pub const BYTES_IN_FLIGHT_MAX: usize = 64 * 1024 * 1024;
/// The longest time for one answer; more would be for ever.
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// Answers to one question, for questions that have many.
const ANSWERS_MAX: usize = 100_000;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No answer within the time; whoever was asked may have got the question all the same.
    #[error("no answer in time")]
    Timeout,
    /// Nobody listens on the subject.
    #[error("nobody listens on the subject")]
    NoResponders,
    /// The connection is gone for good.
    #[error("the connection to NATS is closed")]
    Closed,
    /// The question is larger than the server accepts.
    #[error("the message is larger than the server accepts")]
    TooLarge,
    /// The subject cannot be published to.
    #[error("the subject is not valid")]
    InvalidSubject,
}

/// Who waits for a token.
enum Slot {
    One(oneshot::Sender<Message>),
    Many(mpsc::Sender<Message>),
}

/// Who waits for what; `None` when the connection is gone for good.
#[derive(Default)]
struct Table(Mutex<Option<HashMap<u64, Slot>>>);

impl Table {
    fn lock(&self) -> MutexGuard<'_, Option<HashMap<u64, Slot>>> {
        // A map is whole between two calls, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, token: u64) {
        let slot = self.lock().as_mut().and_then(|slots| slots.remove(&token));
        // Dropped here, outside of the lock: it wakes somebody.
        drop(slot);
    }

    fn deliver(&self, token: u64, message: Message) {
        let mut guard = self.lock();
        let Some(slots) = guard.as_mut() else { return };
        if let Some(Slot::Many(answers)) = slots.get(&token) {
            let gone = answers.try_send(message).is_err();
            if gone {
                slots.remove(&token);
            }
        } else if let Some(Slot::One(waiting)) = slots.remove(&token) {
            // Outside of the lock: it wakes somebody.
            drop(guard);
            let _ = waiting.send(message);
        }
    }
}

/// The inbox of one connection; shared by all clones of a [`Bus`].
pub(crate) struct Replies {
    client: async_nats::Client,
    /// Ends with a dot; the token follows.
    inbox: String,
    table: Arc<Table>,
    next: AtomicU64,
    places: Semaphore,
    bytes: Semaphore,
    waiting: metrics::Gauge,
    /// Ends with this value, and with it the subscription.
    _dispatcher: JoinSet<()>,
}

impl Replies {
    pub async fn start(client: &async_nats::Client) -> Result<Arc<Self>, String> {
        let inbox = format!("{}.", client.new_inbox());
        let answers =
            client.subscribe(format!("{inbox}*")).await.map_err(|error| error.to_string())?;
        let table = Arc::new(Table(Mutex::new(Some(HashMap::new()))));
        let mut dispatcher = JoinSet::new();
        dispatcher.spawn(dispatch(answers, inbox.len(), Arc::clone(&table)));
        Ok(Arc::new(Self {
            client: client.clone(),
            inbox,
            table,
            next: AtomicU64::new(0),
            places: Semaphore::new(ACKS_IN_FLIGHT_MAX),
            bytes: Semaphore::new(BYTES_IN_FLIGHT_MAX),
            waiting: telemetry::replies_waiting(),
            _dispatcher: dispatcher,
        }))
    }

    /// Questions that wait for an answer.
    pub fn waiting(&self) -> usize {
        self.table.lock().as_ref().map_or(0, HashMap::len)
    }

    /// Whether the connection is gone for good.
    pub fn is_closed(&self) -> bool {
        self.table.lock().is_none()
    }

    fn open(&self, slot: Slot) -> Result<u64, RequestError> {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        match self.table.lock().as_mut() {
            Some(slots) => slots.insert(token, slot),
            None => return Err(RequestError::Closed),
        };
        Ok(token)
    }

    /// Sends a question whose one answer is awaited by [`Pending::answer`], both before the deadline.
    pub async fn ask(
        self: &Arc<Self>,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Pending, RequestError> {
        let place = self.place(subject.len() + payload.len(), deadline).await?;
        let (sender, receiver) = oneshot::channel();
        let token = self.open(Slot::One(sender))?;
        let entry = Entry { place, token };
        self.send(token, subject, headers, payload, deadline).await?;
        Ok(Pending { receiver, deadline, entry })
    }

    /// Sends a question that has up to `limit` answers.
    pub async fn ask_many(
        self: &Arc<Self>,
        subject: String,
        payload: Bytes,
        limit: usize,
        deadline: Instant,
    ) -> Result<Answers, RequestError> {
        let place = self.place(subject.len() + payload.len(), deadline).await?;
        let (sender, receiver) = mpsc::channel(limit.clamp(1, ANSWERS_MAX));
        let token = self.open(Slot::Many(sender))?;
        let entry = Entry { place, token };
        self.send(token, subject, HeaderMap::new(), payload, deadline).await?;
        Ok(Answers { receiver, _entry: entry })
    }

    /// Waits for a place among the open questions.
    async fn place(
        self: &Arc<Self>,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Place, RequestError> {
        let bytes = bytes.clamp(1, BYTES_IN_FLIGHT_MAX) as u32;
        let permits = async {
            let place = self.places.acquire().await.map_err(|_| RequestError::Closed)?;
            let bytes = self.bytes.acquire_many(bytes).await.map_err(|_| RequestError::Closed)?;
            place.forget();
            bytes.forget();
            Ok(())
        };
        tokio::time::timeout_at(deadline, permits).await.map_err(|_| RequestError::Timeout)??;
        self.waiting.increment(1.0);
        Ok(Place { replies: Arc::clone(self), bytes })
    }

    async fn send(
        &self,
        token: u64,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<(), RequestError> {
        let reply = format!("{}{token}", self.inbox);
        let send = async {
            if headers.is_empty() {
                self.client.publish_with_reply(subject, reply, payload).await
            } else {
                self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
        };
        // Without a connection the client's queue fills up, and sending waits.
        let sent = tokio::time::timeout_at(deadline, send).await;
        sent.map_err(|_| RequestError::Timeout)?.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => RequestError::TooLarge,
            PublishErrorKind::InvalidSubject => RequestError::InvalidSubject,
            PublishErrorKind::Send => RequestError::Closed,
        })
    }
}

/// A place among the open questions; given back when dropped.
struct Place {
    replies: Arc<Replies>,
    bytes: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.replies.places.add_permits(1);
        self.replies.bytes.add_permits(self.bytes as usize);
        self.replies.waiting.decrement(1.0);
    }
}

/// An entry of the table; removed when dropped.
struct Entry {
    place: Place,
    token: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.place.replies.table.remove(self.token);
    }
}

/// A question whose answer is awaited.
pub(crate) struct Pending {
    receiver: oneshot::Receiver<Message>,
    deadline: Instant,
    entry: Entry,
}

impl Pending {
    /// The answer.
    pub async fn answer(self) -> Result<Message, RequestError> {
        let Self { receiver, deadline, entry } = self;
        let answer = tokio::time::timeout_at(deadline, receiver).await;
        drop(entry);
        match answer {
            Ok(Ok(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                Err(RequestError::NoResponders)
            }
            Ok(Ok(message)) => Ok(message),
            Ok(Err(_)) => Err(RequestError::Closed),
            Err(_) => Err(RequestError::Timeout),
        }
    }
}

/// The answers to a question that has many.
pub(crate) struct Answers {
    receiver: mpsc::Receiver<Message>,
    _entry: Entry,
}

impl Answers {
    /// The next answer, whatever its status.
    pub async fn next(&mut self, patience: Duration) -> Result<Message, RequestError> {
        match tokio::time::timeout(patience, self.receiver.recv()).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(RequestError::Closed),
            Err(_) => Err(RequestError::Timeout),
        }
    }
}

/// Hands each reply to who waits for it. Ends with the connection; then nobody waits any longer.
async fn dispatch(mut answers: Subscriber, prefix: usize, table: Arc<Table>) {
    while let Some(message) = answers.next().await {
        // A reply that nobody waits for any more, or that nobody here asked for.
        let token = message.subject.as_str().get(prefix..).and_then(|token| token.parse().ok());
        if let Some(token) = token {
            table.deliver(token, message);
        }
    }
    let waiting = table.lock().take();
    drop(waiting);
}

impl Bus {
    /// Asks whoever listens on `subject` and waits for one answer. The answer's own errors (its status, its
    /// headers) are the caller's to read.
    ///
    /// # Errors
    /// If nobody listens, if there is no answer within `timeout`, or if the message cannot be sent.
    pub async fn request(
        &self,
        subject: impl Into<String>,
        headers: HeaderMap,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Message, RequestError> {
        let deadline = Instant::now() + timeout.min(REQUEST_TIMEOUT_MAX);
        self.replies().ask(subject.into(), headers, payload, deadline).await?.answer().await
    }

    /// Publishes and requests that wait for their answer now: for tests and diagnostics. The metric beside
    /// it is `campana_nats_replies_waiting`.
    #[must_use]
    pub fn replies_waiting(&self) -> usize {
        self.replies().waiting()
    }
}
