//! The pull loop: asks the server for exactly as many messages as there are free places.
//! Reads: a durable pull consumer. Writes: pull requests, negative acknowledgements of what a stop leaves
//! over. Never: buffers messages that nobody is free to handle, because the server's acknowledgement clock
//! starts when it sends them.
//!
//! [`demand`] decides how much to ask for, [`status`] what the server's status messages mean, [`rate`] keeps
//! the rate limit; [`hand`] runs what arrived, and [`pace`] decides where. This file is the loop between them.

mod demand;
mod ending;
mod hand;
mod pace;
mod pin;
mod rate;
mod room;
mod status;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{BatchConfig, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_nats::{Message, Subject, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{ConsumeError, ConsumerSpec, Ordering, reply};
use crate::connect::Bus;
use crate::lifecycle::Lifecycle;
use crate::{clock, headers, subjects, telemetry};

use demand::Demand;
use hand::Hand;
pub(super) use pin::GROUP as PIN_GROUP;
use pin::Pin;
pub(crate) use pin::lease;
pub(super) use room::Place;
use status::Meaning;

/// Pause before something that the server just refused is tried again.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);
/// Times a consumer is created in vain before the loop gives up.
const CREATE_ATTEMPTS: u32 = 8;
/// Messages taken from the subscription before the loop looks at its other duties.
const BURST: usize = 64;

/// Something that takes messages, each with the place that it holds until dropped.
pub(super) trait Sink: Send + Sync + 'static {
    /// A message with what was found out about it when it arrived.
    type Arrived: Send + 'static;

    /// Looks at a message in the pull loop, before any task runs: the only place where messages are seen in
    /// the order of their delivery. Must be quick.
    fn arrive(self: &Arc<Self>, message: Message) -> Self::Arrived;

    /// Handles one message to the end, settlement included.
    fn take(
        self: Arc<Self>,
        arrived: Self::Arrived,
        place: Place,
    ) -> impl Future<Output = ()> + Send;
}

/// The consumer's configuration on the server.
fn config(spec: &ConsumerSpec) -> Config {
    let mut filters = spec.filters.clone();
    filters.push(subjects::retry_filter(&spec.stream, &spec.durable));
    Config {
        durable_name: Some(spec.durable.clone()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: spec.ack_wait,
        max_deliver: -1,
        filter_subjects: filters,
        // Delayed retries occupy places too, so leave room beside the handlers at work.
        max_ack_pending: i64::try_from((spec.max_in_flight * 4).max(1_000)).unwrap_or(1_000),
        ..Config::default()
    }
}

/// What one run of the loop borrows.
struct Context<'a, S> {
    bus: &'a Bus,
    spec: &'a ConsumerSpec,
    hand: &'a Arc<Hand<S>>,
    lifecycle: &'a Lifecycle,
}

async fn create(bus: &Bus, spec: &ConsumerSpec) -> Result<Consumer<Config>, (ConsumeError, bool)> {
    let config = pin::config(spec, config(spec));
    let created = bus.jetstream().create_consumer_on_stream(config, spec.stream.clone()).await;
    created.map_err(|error| {
        let passing = match error.kind() {
            ConsumerErrorKind::TimedOut | ConsumerErrorKind::Request => true,
            ConsumerErrorKind::JetStream(refusal) => refusal.code() >= 500,
            _ => false,
        };
        let error = ConsumeError::Consumer {
            stream: spec.stream.clone(),
            consumer: spec.durable.clone(),
            reason: error.to_string(),
        };
        (error, passing)
    })
}

/// Creates the consumer, waiting for a server that is just coming up. A consumer that ran before waits for
/// as long as the server does not answer; a refusal ends it after some attempts.
async fn create_patiently(
    bus: &Bus,
    spec: &ConsumerSpec,
    lifecycle: &Lifecycle,
    ran_before: bool,
) -> Result<Consumer<Config>, ConsumeError> {
    let mut pause = Duration::from_millis(50);
    let mut attempts = 1;
    loop {
        match create(bus, spec).await {
            Ok(consumer) => return Ok(consumer),
            Err((error, passing)) => {
                if lifecycle.soft.is_cancelled()
                    || (attempts > CREATE_ATTEMPTS && !(passing && ran_before))
                {
                    return Err(error);
                }
                if bus.is_closed() {
                    return Err(ConsumeError::Closed);
                }
                tracing::debug!(consumer = spec.durable, "consumer not ready yet: {error}");
            }
        }
        attempts += 1;
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(2)),
            () = lifecycle.soft.cancelled() => {}
        }
    }
}

/// Runs until the soft stop, then waits for the messages in hand, at most for the spec's drain deadline.
pub(super) async fn run<S: Sink>(
    bus: &Bus,
    spec: &ConsumerSpec,
    sink: Arc<S>,
    lifecycle: &Lifecycle,
) -> Result<(), ConsumeError> {
    // A task of its own, which ends with this future: the tasks of messages start where the loop runs, and on the
    // thread of a `main` each would have to be handed to a worker, which costs more than a small handler.
    let mut running = JoinSet::new();
    let (bus, spec, lifecycle) = (bus.clone(), spec.clone(), lifecycle.clone());
    running.spawn(async move { run_here(&bus, &spec, sink, &lifecycle).await });
    match running.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is going down.
        Some(Err(_)) | None => Err(ConsumeError::Closed),
    }
}

async fn run_here<S: Sink>(
    bus: &Bus,
    spec: &ConsumerSpec,
    sink: Arc<S>,
    lifecycle: &Lifecycle,
) -> Result<(), ConsumeError> {
    let hand = Hand::new(bus, spec, sink, &lifecycle.hard);
    let mut consumer = create_patiently(bus, spec, lifecycle, false).await?;
    let context = Context { bus, spec, hand: &hand, lifecycle };
    let result = loop {
        match pull_until_broken(&context, &consumer).await {
            Ended::Stopped => break Ok(()),
            Ended::Closed => break Err(ConsumeError::Closed),
            Ended::ConsumerGone => {
                telemetry::pull_rearmed(&spec.durable, "consumer_gone");
                // The server said no at once; asking again at once would spin.
                tokio::time::sleep(REFUSED_PAUSE).await;
                consumer = match create_patiently(bus, spec, lifecycle, true).await {
                    Ok(consumer) => consumer,
                    Err(_) if lifecycle.soft.is_cancelled() => break Ok(()),
                    Err(error) => break Err(error),
                };
            }
        }
    };
    hand.drain(spec.drain_deadline).await;
    result
}

enum Ended {
    Stopped,
    Closed,
    ConsumerGone,
}

/// One inbox and what was asked for under it.
struct Pull<'a, S> {
    context: &'a Context<'a, S>,
    consumer: &'a Consumer<Config>,
    inbox: String,
    messages: Subscriber,
    /// What came out of it, statuses included.
    received: u64,
    /// The reply subject of the last message, which says how many were waiting behind it.
    last: Option<Subject>,
    demand: Demand,
    /// Connections made when the requests were sent; a new one voids them without a word.
    connects: u64,
    /// Changes with the connection.
    events: watch::Receiver<()>,
    /// What the server pinned this process with.
    pin: Pin,
}

async fn pull_until_broken<S: Sink>(
    context: &Context<'_, S>,
    consumer: &Consumer<Config>,
) -> Ended {
    let Some(mut pull) = Pull::open(context, consumer).await else {
        return Ended::Closed;
    };
    let ended = pull.run().await;
    match ended {
        Ended::Stopped if context.spec.ordering == Ordering::None => {
            let limit = pull.limit();
            context.hand.finish(pull.messages, limit);
        }
        // Others get them at once instead of after `ack_wait`; in an ordered consumer what is behind them waits.
        _ => context.hand.give_back(pull.messages),
    }
    ended
}

impl<'a, S: Sink> Pull<'a, S> {
    async fn open(context: &'a Context<'a, S>, consumer: &'a Consumer<Config>) -> Option<Self> {
        let spec = context.spec;
        let now = clock::monotonic();
        let mut demand = Demand::new(spec.max_in_flight, spec.rate_limit, spec.idle_heartbeat, now);
        let pin = Pin::new(spec);
        if let Some(expires) = pin.expires() {
            demand.limit_expires(expires);
            // The number of requests tells how many processes there are; see `pins`.
            demand.limit_batch(1);
        }
        let events = context.bus.connection_events();
        let connects = context.bus.connects();
        let inbox = context.bus.client().new_inbox();
        let messages = context.bus.client().subscribe(inbox.clone()).await.ok()?;
        Some(Self {
            context,
            consumer,
            inbox,
            messages,
            received: 0,
            last: None,
            demand,
            connects,
            events,
            pin,
        })
    }

    async fn run(&mut self) -> Ended {
        let Context { hand, lifecycle, .. } = *self.context;
        let stopped = lifecycle.soft.cancelled();
        tokio::pin!(stopped);
        let mut check = tokio::time::interval(self.demand.check());
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Without a connection the client's queue may be full, and sending waits.
            let asked = tokio::select! {
                biased;
                () = &mut stopped => return Ended::Stopped,
                asked = self.ask() => asked,
            };
            if !asked {
                return Ended::Closed;
            }
            let refill = self.demand.wait(hand.room().free());
            let next = tokio::select! {
                biased;
                () = &mut stopped => return Ended::Stopped,
                message = self.messages.next() => match message {
                    Some(message) => self.burst(message),
                    None => return Ended::Closed,
                },
                () = hand.room().freed() => Next::Go,
                changed = self.events.changed() => match changed {
                    Ok(()) => self.check(),
                    Err(_) => return Ended::Closed,
                },
                () = sleep_for(refill) => Next::Go,
                _ = check.tick() => self.check(),
            };
            match next {
                Next::Go => {}
                Next::Rearm(why, pause) => {
                    telemetry::pull_rearmed(&self.context.spec.durable, why);
                    let rearmed = tokio::select! {
                        biased;
                        () = &mut stopped => return Ended::Stopped,
                        rearmed = self.rearm(pause) => rearmed,
                    };
                    if !rearmed {
                        return Ended::Closed;
                    }
                }
                Next::ConsumerGone => return Ended::ConsumerGone,
            }
        }
    }

    /// Asks if it pays; false if the connection is gone for good.
    async fn ask(&mut self) -> bool {
        let hand = self.context.hand;
        loop {
            // First the promise to be woken, then the look: a place that comes back between is not missed.
            hand.room().wake_at(self.demand.worth_asking());
            let Some(ask) = self.demand.ask(hand.room().free(), clock::monotonic()) else {
                return true;
            };
            let request = BatchConfig {
                batch: ask.batch,
                expires: Some(ask.expires),
                idle_heartbeat: ask.heartbeat,
                ..BatchConfig::default()
            };
            let inbox = self.inbox.clone().into();
            let sent = match self.pin.request(&request) {
                Some(body) => {
                    let spec = self.context.spec;
                    let next = subjects::consumer_next(&spec.stream, &spec.durable);
                    let client = self.context.bus.client();
                    client.publish_with_reply(next, inbox, body).await.is_ok()
                }
                None => self.consumer.request_batch(request, inbox).await.is_ok(),
            };
            if !sent {
                return false;
            }
        }
    }

    /// Takes what is there already in one go: the loop's other duties cost more than a message.
    fn burst(&mut self, first: Message) -> Next {
        let now = clock::monotonic();
        self.demand.heard(now);
        let mut next = self.message(first);
        for _ in 1..BURST {
            if !matches!(next, Next::Go) {
                break;
            }
            let Some(Some(message)) = self.messages.next().now_or_never() else { break };
            next = self.message(message);
        }
        self.context.hand.report();
        next
    }

    fn message(&mut self, message: Message) -> Next {
        self.received += 1;
        let Some(code) = message.status.map(|status| status.as_u16()) else {
            self.demand.arrived();
            self.last.clone_from(&message.reply);
            self.pin.learn(&message);
            self.context.hand.start(message);
            return Next::Go;
        };
        let description = message.description.as_deref().unwrap_or_default();
        let unfilled = message
            .headers
            .as_ref()
            .and_then(|all| headers::get_number::<usize>(all, "Nats-Pending-Messages"));
        let meaning = status::meaning(code, description, unfilled);
        if !matches!(meaning, Meaning::Alive | Meaning::Ended { .. }) {
            tracing::debug!(
                consumer = self.context.spec.durable,
                nats.status = code,
                "pull request ended: {description}"
            );
        }
        match meaning {
            Meaning::Alive => Next::Go,
            Meaning::Ended { unfilled } => {
                self.demand.ended(unfilled);
                Next::Go
            }
            Meaning::Rearm { why, pause } => {
                if code == 423 {
                    self.pin.lost();
                }
                Next::Rearm(why, pause)
            }
            Meaning::BatchLimit(limit) => {
                self.demand.limit_batch(limit);
                Next::Rearm("limit", false)
            }
            Meaning::ExpiresLimit(limit) => {
                self.demand.limit_expires(limit);
                Next::Rearm("limit", false)
            }
            Meaning::Gone => Next::ConsumerGone,
        }
    }

    /// Whether the requests must be sent again: the client reconnected, or the server went silent (it may be
    /// that our questions get through and its answers do not).
    fn check(&mut self) -> Next {
        let (bus, connects) = (self.context.bus, self.context.bus.connects());
        if self.connects < connects {
            return Next::Rearm("reconnect", false);
        }
        if !bus.is_connected() {
            // Nobody can be heard. What the next connection shall ask is prepared once.
            self.demand.heard(clock::monotonic());
            let prepared = self.connects > connects;
            return if prepared { Next::Go } else { Next::Rearm("reconnect", false) };
        }
        self.connects = connects;
        if self.demand.is_silent(clock::monotonic()) {
            return Next::Rearm("silence", false);
        }
        Next::Go
    }

    /// Voids all requests by asking under another inbox: under the old one, requests that the server still
    /// holds would bring more messages than there are places. What already arrived under it is handled.
    async fn rearm(&mut self, pause: bool) -> bool {
        if pause {
            // The server said no at once; asking again at once would spin.
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
        let (bus, client) = (self.context.bus, self.context.bus.client());
        // Without a connection, what is asked now is sent by the next one.
        let connected = bus.is_connected();
        self.connects = if connected { bus.connects() } else { bus.connects() + 1 };
        let inbox = client.new_inbox();
        let Ok(messages) = client.subscribe(inbox.clone()).await else {
            return false;
        };
        let mut old = std::mem::replace(&mut self.messages, messages);
        self.inbox = inbox;
        (self.received, self.last) = (0, None);
        while let Some(Some(message)) = old.next().now_or_never() {
            if message.status.is_none() && self.context.hand.room().free() > 0 {
                self.context.hand.start(message);
            } else {
                self.context.hand.return_one(&message);
            }
        }
        // Without a connection nothing more comes, and the next one must not find the old inbox: the server may
        // still hold requests for it, and would send messages that we are about to forget.
        if connected {
            self.context.hand.give_back(old);
        } else {
            drop(old);
        }
        self.demand.void(clock::monotonic());
        true
    }

    /// How many messages the subscription brings in all, if more are on their way and the server counts as we
    /// do. They are on their way if some were waiting behind the last one and we have asked for them.
    fn limit(&self) -> Option<u64> {
        let bus = self.context.bus;
        let same = bus.is_connected() && self.connects == bus.connects();
        let waiting = self.last.as_ref().map_or(0, |reply| reply::pending(reply));
        let coming = waiting.min(self.demand.outstanding() as u64);
        (same && coming > 0).then(|| self.received + coming)
    }
}

/// What the loop does next.
enum Next {
    Go,
    Rearm(&'static str, bool),
    ConsumerGone,
}

async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
