//! Asking all nodes and hearing from all of them.
//! Reads and writes: core NATS, one subject for all nodes and one for each node's answers.
//! Never: waits longer than the limit, or takes silence for an answer.
//!
//! Core NATS may lose a message, so a node that does not answer is asked again; it remembers what it did and does
//! nothing twice. Nodes are known by their heartbeats. One that was killed is waited for until it has been silent
//! for too long; that is shorter than the limit of a question, so a dead node delays an answer and does not spoil
//! it. A node that does not hear itself knows nothing of the others and says so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Message;
use campana_bus::ids::NodeId;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, clock, subjects};
use dashmap::DashMap;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::answers::{Heard, Remembered};
use super::members::Members;
use super::wire::{Answer, Ask, Replied, Said};
use super::{apply, local, wire};
use crate::metrics;
use crate::options::ControlOptions;
use crate::registry::Registry;

/// Questions of this node that may wait for answers at the same time.
const ASKS_MAX: usize = 256;
/// Questions of other nodes that are answered at the same time; more are asked again.
const WORK_MAX: usize = 1_024;
/// Parts of answers that may wait; more make their node answer again.
const PARTS_MAX: usize = 1_024;
/// After so long a silent node is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often it is looked whether a node is gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Why a question has no whole answer. What was asked for was done by the nodes that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Some nodes are silent.
    #[error("{missing} of {nodes} nodes did not answer in time")]
    Missing { missing: usize, nodes: usize },
    /// This node hears nobody, not even itself.
    #[error("this node does not reach the others")]
    CutOff,
    /// Too many questions at once.
    #[error("too many commands wait for other nodes")]
    Busy,
}

/// A node's way to all others; cheap to clone.
#[derive(Clone)]
pub(crate) struct Plane(Arc<Inner>);

struct Inner {
    me: NodeId,
    name: String,
    bus: Bus,
    options: ControlOptions,
    registry: Arc<Registry>,
    started: Instant,
    members: Mutex<Members>,
    /// Questions of this node that wait for answers.
    waiting: DashMap<u64, mpsc::Sender<Replied>>,
    next: AtomicU64,
    asks: Semaphore,
    done: Mutex<Remembered>,
    stop: CancellationToken,
}

impl Plane {
    /// Listens from the moment this returns.
    ///
    /// # Errors
    /// If NATS refuses the subscriptions.
    pub(crate) async fn start(
        me: NodeId,
        port: u16,
        bus: &Bus,
        lifecycle: &Lifecycle,
        options: &ControlOptions,
        registry: &Arc<Registry>,
    ) -> anyhow::Result<Self> {
        let client = bus.client();
        let said = client.subscribe(subjects::EDGE_CONTROL).await?;
        let replies = client.subscribe(subjects::edge_node(&me.to_string())).await?;
        let inner = Arc::new(Inner {
            me,
            name: local::name(&options.node_name, port),
            members: Mutex::new(Members::new(me, Duration::from_millis(options.lost_after_ms))),
            options: options.clone(),
            registry: Arc::clone(registry),
            started: clock::monotonic(),
            waiting: DashMap::new(),
            next: AtomicU64::new(1),
            asks: Semaphore::new(ASKS_MAX),
            done: Mutex::default(),
            stop: CancellationToken::new(),
            bus: bus.clone(),
        });
        lifecycle.spawn("edge control", listen(Arc::clone(&inner), said, replies));
        Ok(Self(inner))
    }

    /// Says goodbye: nobody waits for this node any longer.
    pub(crate) async fn stop(&self) {
        self.0.stop.cancel();
        self.0.say(&Said::Gone { node: self.0.me }).await;
        if let Err(error) = self.0.bus.client().flush().await {
            tracing::debug!(%error, "the goodbye to other nodes may not have gone out");
        }
    }

    /// Asks all nodes, this one included, and waits for all of them.
    ///
    /// # Errors
    /// If a node that lives does not answer in time. What the others did stays done.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Vec<Answer>, Unanswered> {
        let kind = kind(&ask);
        let result = self.0.ask(ask).await;
        metrics::control(kind, result.is_ok());
        result
    }
}

/// The metric's label.
fn kind(ask: &Ask) -> &'static str {
    match ask {
        Ask::Do(command) => match command.action {
            wire::Action::Disconnect { .. } => "disconnect",
            wire::Action::Subscribe(_) => "subscribe",
            wire::Action::Unsubscribe { .. } => "unsubscribe",
            wire::Action::Refresh { .. } => "refresh",
            wire::Action::Message { .. } => "message",
        },
        Ask::Info => "info",
        Ask::Channels { .. } => "channels",
    }
}

/// Hears what is said until the node stops.
async fn listen(
    inner: Arc<Inner>,
    mut said: async_nats::Subscriber,
    mut replies: async_nats::Subscriber,
) {
    let mut work: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut beat = tokio::time::interval(Duration::from_millis(inner.options.heartbeat_ms));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = said.next() => match message {
                Some(message) => inner.hear(&message, &mut work),
                None => return,
            },
            message = replies.next() => match message {
                Some(message) => inner.answered(&message),
                None => return,
            },
            Some(()) = work.next(), if !work.is_empty() => {}
            _ = beat.tick() => {
                inner.say(&Said::Alive { node: inner.me }).await;
                metrics::nodes(inner.members().others(clock::monotonic()).len() + 1);
            }
            () = inner.stop.cancelled() => return,
        }
    }
}

impl Inner {
    fn members(&self) -> MutexGuard<'_, Members> {
        // Nothing can panic while the lock is held, so a poisoned lock still guards whole data.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        // As above.
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say(&self, said: &Said) {
        self.publish(subjects::EDGE_CONTROL.to_owned(), said).await;
    }

    async fn publish<T: serde::Serialize>(&self, subject: String, message: &T) {
        let Ok(body) = serde_json::to_vec(message) else {
            return;
        };
        if let Err(error) = self.bus.client().publish(subject, body.into()).await {
            tracing::warn!(%error, "another node could not be told something; it is asked again");
        }
    }

    /// Something was said to all nodes.
    fn hear(
        self: &Arc<Self>,
        message: &Message,
        work: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    ) {
        let Ok(said) = serde_json::from_slice::<Said>(&message.payload) else {
            tracing::warn!("a node said something that this version does not understand");
            return;
        };
        match said {
            Said::Alive { node } => {
                if self.members().alive(node, clock::monotonic()) && node != self.me {
                    let this = Arc::clone(self);
                    work.push(
                        async move { this.say(&Said::Alive { node: this.me }).await }.boxed(),
                    );
                }
            }
            Said::Gone { node } => self.members().gone(node),
            Said::Asked { node, .. } if node == self.me => {}
            Said::Asked { node, id, ask } if work.len() < WORK_MAX => {
                if let Some(answering) = self.answer_to(node, id, ask) {
                    work.push(answering);
                }
            }
            Said::Asked { .. } => tracing::warn!("too many questions of other nodes at once"),
        }
    }

    /// Does what another node asks for, unless it was done before; the future says so.
    fn answer_to(
        self: &Arc<Self>,
        node: NodeId,
        id: u64,
        ask: Ask,
    ) -> Option<BoxFuture<'static, ()>> {
        let mut remembered = self.remembered();
        let known = remembered.get((node, id));
        let this = Arc::clone(self);
        match known {
            // Being done: the answer comes.
            Some(None) => None,
            Some(Some(answer)) => {
                Some(async move { this.reply(node, id, vec![answer]).await }.boxed())
            }
            None => {
                let changes = matches!(ask, Ask::Do(_));
                if changes {
                    remembered.begun((node, id));
                }
                drop(remembered);
                let answers = self.execute(ask);
                let answering = async move {
                    let answers = answers.await;
                    if changes {
                        this.remembered().answered((node, id), answers.first().cloned());
                    }
                    this.reply(node, id, answers).await;
                };
                Some(answering.boxed())
            }
        }
    }

    async fn reply(&self, node: NodeId, id: u64, answers: Vec<Answer>) {
        let subject = subjects::edge_node(&node.to_string());
        let count = answers.len();
        for (part, answer) in answers.into_iter().enumerate() {
            let replied = Replied { id, node: self.me, answer, part, parts: count };
            self.publish(subject.clone(), &replied).await;
        }
    }

    /// Another node answered.
    fn answered(&self, message: &Message) {
        let Ok(replied) = serde_json::from_slice::<Replied>(&message.payload) else {
            tracing::warn!("a node answered something that this version does not understand");
            return;
        };
        if let Some(waiting) = self.waiting.get(&replied.id) {
            // A part that does not fit is asked for again.
            let _ = waiting.try_send(replied);
        }
    }

    /// Does what is asked for on this node: connections are told before this returns, the future waits for them.
    fn execute(&self, ask: Ask) -> BoxFuture<'static, Vec<Answer>> {
        match ask {
            Ask::Do(command) => {
                let begun = apply::begin(&self.registry, command);
                async move { vec![begun.finished().await] }.boxed()
            }
            Ask::Info => {
                let (me, name) = (self.me.to_string(), self.name.clone());
                let info = local::info(&self.registry, me, name, self.started.elapsed());
                futures::future::ready(vec![Answer::Info(info)]).boxed()
            }
            Ask::Channels { tenant, pattern } => {
                futures::future::ready(local::channels(&self.registry, &tenant, &pattern)).boxed()
            }
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Vec<Answer>, Unanswered> {
        let _permit = self.asks.try_acquire().map_err(|_| Unanswered::Busy)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut replies) = mpsc::channel(PARTS_MAX);
        self.waiting.insert(id, sender);
        // Here first: whoever asks may go on to publish to this very node.
        let own = self.execute(ask.clone());
        let others = self.hear_all(id, ask, &mut replies);
        let (mut all, others) = futures::join!(own, others);
        self.waiting.remove(&id);
        all.extend(others?);
        Ok(all)
    }

    /// All answers of the other nodes.
    async fn hear_all(
        &self,
        id: u64,
        ask: Ask,
        replies: &mut mpsc::Receiver<Replied>,
    ) -> Result<Vec<Answer>, Unanswered> {
        let said = Said::Asked { node: self.me, id, ask };
        let begun = clock::monotonic();
        let limit = Duration::from_millis(self.options.timeout_ms);
        let heartbeat = Duration::from_millis(self.options.heartbeat_ms);
        let mut heard = Heard::default();
        let mut asked = begun;
        self.say(&said).await;
        loop {
            let now = clock::monotonic();
            let (others, connected) = {
                let mut members = self.members();
                (members.others(now), members.connected(now))
            };
            let missing = others.iter().filter(|node| !heard.is_whole(node)).count();
            // A node that just started does not know the others before they said that they live.
            let settled = connected && now.duration_since(self.started) >= heartbeat;
            if missing == 0 && settled {
                return Ok(heard.answers());
            }
            if now.duration_since(begun) >= limit {
                return Err(match connected {
                    true => Unanswered::Missing { missing, nodes: others.len() + 1 },
                    false => Unanswered::CutOff,
                });
            }
            if missing > 0 && now.duration_since(asked) >= AGAIN_AFTER {
                asked = now;
                self.say(&said).await;
            }
            if let Ok(Some(reply)) = tokio::time::timeout(LOOK_INTERVAL, replies.recv()).await {
                heard.add(reply);
            }
        }
    }
}
