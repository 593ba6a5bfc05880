//! A bus of its own for one test, and the service under test on it.
//! Reads: the private server. Writes: it. Never: answers before the server has what it tells about.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::server::NatsServer;
use super::settlement::{self, Settlement};
use crate::connect::{Bus, Durability};
use crate::dlq::{self, DeadLetter};
use crate::event::Event;
use crate::fetch::StoredMessage;
use crate::publish::{Outgoing, StoredAt};
use crate::schedule::Scheduled;
use crate::topology::EVENTS;
use crate::{clock, contract, headers, subjects};

/// How long a test waits for its service: far more than any should need, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a consumer.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Messages of a stream that a test can ask for.
const MESSAGES_MAX: usize = 10_000;

/// Why a test cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    /// There is no server, or it does not do what the test needs.
    #[error("the private nats-server: {0}")]
    Server(String),
    /// The service did not get done in a minute.
    #[error("{consumer} did not settle everything within 60 s: {state}")]
    Unsettled {
        /// Which consumer.
        consumer: String,
        /// What it still has to do.
        state: String,
    },
    /// The service ended by itself, or did not end when it was asked to.
    #[error("the service: {0}")]
    Service(String),
    /// A stored message is not what the test takes it for.
    #[error("a message on {subject} cannot be read: {reason}")]
    Decode {
        /// Where it was published.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn server(error: impl std::fmt::Display) -> TestError {
    TestError::Server(error.to_string())
}

/// Subjects that the recorder hears besides answers: a place in their order. No consumer can be called `=`.
const MARKER: &str = "$JS.ACK.=";

/// A private nats-server with the platform's streams, and a record of every settlement.
///
/// The server does not sync every write, which no test of a service depends on. Dropping it ends it.
#[derive(Debug)]
pub struct TestBus {
    bus: Bus,
    recorder: Recorder,
    server: NatsServer,
}

impl TestBus {
    /// Starts the server and lays out the streams: some 0.1 s.
    ///
    /// # Errors
    /// If there is no nats-server; the text says how to get one.
    pub async fn start() -> Result<Self, TestError> {
        let private = NatsServer::start_with(Durability::Process).map_err(server)?;
        let bus = private.bus_with_topology("test").await.map_err(server)?;
        // A connection of its own: what it hears has gone through the server.
        let recorder = Recorder::start(private.bus("test-recorder").await.map_err(server)?).await?;
        Ok(Self { bus, recorder, server: private })
    }

    /// The bus, for anything that has no short form here.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Where the private server listens, for a service that is a process of its own.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Runs a service as its `main` does: the function gets a bus and what says when to stop.
    pub fn service<F, R, E>(&self, run: F) -> RunningService
    where
        F: FnOnce(Bus, WaitForCancellationFutureOwned) -> R,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let stop = CancellationToken::new();
        let running = run(self.bus.clone(), stop.clone().cancelled_owned());
        let mut task = JoinSet::new();
        task.spawn(async move { running.await.map_err(|error| error.to_string()) });
        RunningService { task, stop }
    }

    /// Stores an event.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn emit<E: Event>(&self, event: &E) -> Result<StoredAt, TestError> {
        self.bus.emit(event).await.map_err(server)
    }

    /// Stores any message.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn publish(&self, message: Outgoing) -> Result<StoredAt, TestError> {
        self.bus.publish(message).await.map_err(server)
    }

    /// Waits until the durable consumer of the `EVENTS` stream has settled everything for good: nothing waits
    /// and nothing is in hand. Retries are waited for, copies that are scheduled for later are not. Tells
    /// each answer that the consumer gave since the server started, in order.
    ///
    /// # Errors
    /// If that takes more than a minute.
    pub async fn drive(&self, consumer: &str) -> Result<Vec<Settlement>, TestError> {
        self.drive_on(EVENTS, consumer).await
    }

    /// As [`TestBus::drive`], for a consumer of another stream.
    ///
    /// # Errors
    /// If that takes more than a minute.
    pub async fn drive_on(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<Vec<Settlement>, TestError> {
        let started = clock::monotonic();
        let mut state = "it does not exist yet".to_owned();
        while started.elapsed() < PATIENCE {
            let found: Result<PullConsumer, _> =
                self.bus.jetstream().get_consumer_from_stream(consumer, stream).await;
            if let Ok(found) = found {
                let info = found.cached_info();
                if info.num_pending == 0 && info.num_ack_pending == 0 {
                    return self.recorder.answers(stream, consumer).await;
                }
                state = format!("{} wait, {} in hand", info.num_pending, info.num_ack_pending);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(TestError::Unsettled { consumer: consumer.to_owned(), state })
    }

    /// All stored events of a kind, oldest first: what a service published, and what the test injected.
    ///
    /// # Errors
    /// If one cannot be read as this kind.
    pub async fn events<E: Event>(&self) -> Result<Vec<E>, TestError> {
        let mut events = Vec::new();
        let filters = [
            subjects::app_event_filter(E::SERVICE, E::NAME),
            subjects::app_event_keyed_filter(E::SERVICE, E::NAME),
        ];
        for filter in filters {
            for message in self.stored(EVENTS, &filter).await? {
                let read = contract::decode(&message.payload, &message.headers, clock::now());
                let event = read.map_err(|failure| TestError::Decode {
                    subject: message.subject,
                    reason: format!("{failure:?}"),
                })?;
                events.push((message.sequence, event));
            }
        }
        events.sort_by_key(|(sequence, _)| *sequence);
        Ok(events.into_iter().map(|(_, event)| event).collect())
    }

    /// Stored messages of a subject (wildcards allowed), oldest first; at most 10,000.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn stored(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Vec<StoredMessage>, TestError> {
        let page = self.bus.fetch_after(stream, subject, 0, MESSAGES_MAX).await.map_err(server)?;
        Ok(page.messages)
    }

    /// What a consumer parked.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn dead_letters(&self, consumer: &str) -> Result<Vec<DeadLetter>, TestError> {
        let of_consumer =
            dlq::Filter { consumer: Some(consumer.to_owned()), ..dlq::Filter::default() };
        dlq::list(&self.bus, &of_consumer, MESSAGES_MAX).await.map_err(server)
    }

    /// What is scheduled in the `EVENTS` stream and has not fired.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn schedules(&self) -> Result<Vec<Scheduled>, TestError> {
        self.bus.schedules(EVENTS, 0, MESSAGES_MAX).await.map_err(server)
    }

    /// Makes everything due that waits for its time once: long retries, deferrals, schedules of `EVENTS`.
    /// Returns how many messages came, after they did. Recurring schedules are left alone.
    ///
    /// # Errors
    /// If the server does not fire them within a minute.
    pub async fn fire_now(&self) -> Result<usize, TestError> {
        let mut subjects = Vec::new();
        for waiting in [subjects::delay_filter(EVENTS), subjects::schedule_filter(EVENTS)] {
            for message in self.stored(EVENTS, &waiting).await? {
                let when = headers::get(&message.headers, "Nats-Schedule").unwrap_or_default();
                if when.starts_with("@at ") {
                    subjects.push(message.subject.clone());
                    self.publish(due_now(message)).await?;
                }
            }
        }
        let started = clock::monotonic();
        for subject in &subjects {
            while self.bus.count(EVENTS, subject).await.map_err(server)? > 0 {
                if started.elapsed() > PATIENCE {
                    return Err(server(format!("{subject} does not fire")));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(subjects.len())
    }
}

/// The same scheduled message, due now; it replaces the one on its subject.
fn due_now(message: StoredMessage) -> Outgoing {
    let now = clock::now();
    let kept = headers::without(&message.headers, |name| {
        matches!(name, "nats-schedule" | "nats-msg-id" | "nats-rollup")
    });
    let id = format!("test-due-{}-{}", message.sequence, now.0);
    let due = Outgoing { headers: kept, ..Outgoing::new(message.subject, id, message.payload) };
    due.header("Nats-Schedule", &format!("@at {}", now.to_rfc3339()))
}

/// Hears every answer of every consumer.
#[derive(Debug)]
struct Recorder {
    bus: Bus,
    heard: Arc<Mutex<Vec<Settlement>>>,
    markers: watch::Receiver<u64>,
    next_marker: AtomicU64,
    /// Ends with its owner.
    _task: JoinSet<()>,
}

impl Recorder {
    async fn start(bus: Bus) -> Result<Self, TestError> {
        let mut told = bus.client().subscribe("$JS.ACK.>").await.map_err(server)?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (marked, markers) = watch::channel(0);
        let mut task = JoinSet::new();
        let record = Arc::clone(&heard);
        task.spawn(async move {
            while let Some(message) = told.next().await {
                if let Some(settlement) = settlement::read(&message) {
                    record.lock().unwrap_or_else(PoisonError::into_inner).push(settlement);
                } else if message.subject.as_str().starts_with(MARKER) {
                    marked.send_modify(|number| *number += 1);
                }
            }
        });
        let recorder = Self { bus, heard, markers, next_marker: AtomicU64::new(0), _task: task };
        recorder.catch_up().await?;
        Ok(recorder)
    }

    /// Returns when everything that the server had heard before is recorded.
    async fn catch_up(&self) -> Result<(), TestError> {
        let mine = self.next_marker.fetch_add(1, Ordering::SeqCst) + 1;
        self.bus.client().publish(MARKER, bytes::Bytes::new()).await.map_err(server)?;
        let mut markers = self.markers.clone();
        let arrived = markers.wait_for(|number| *number >= mine);
        match tokio::time::timeout(PATIENCE, arrived).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(server("it does not answer")),
        }
    }

    async fn answers(&self, stream: &str, consumer: &str) -> Result<Vec<Settlement>, TestError> {
        self.catch_up().await?;
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |one: &&Settlement| one.stream == stream && one.consumer == consumer;
        Ok(heard.iter().filter(own).cloned().collect())
    }
}

/// A service under test; dropping it ends it as a crash would.
#[derive(Debug)]
pub struct RunningService {
    task: JoinSet<Result<(), String>>,
    stop: CancellationToken,
}

impl RunningService {
    /// Asks the service to stop, waits for its drain and tells how it ended.
    ///
    /// # Errors
    /// If it failed, panicked, or does not end within a minute.
    pub async fn stop(mut self) -> Result<(), TestError> {
        self.stop.cancel();
        match tokio::time::timeout(PATIENCE, self.task.join_next()).await {
            Ok(Some(Ok(ended))) => ended.map_err(TestError::Service),
            Ok(Some(Err(panic))) => Err(TestError::Service(panic.to_string())),
            Ok(None) => Err(TestError::Service("it has ended already".to_owned())),
            Err(_) => Err(TestError::Service("it does not end within 60 s".to_owned())),
        }
    }
}
