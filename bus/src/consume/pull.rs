//! The pull loop: asks the server for exactly as many messages as there are free permits.
//! Reads: a durable pull consumer. Writes: pull requests. Never: buffers messages that nobody is free to
//! handle, because the server's acknowledgement clock starts when it sends them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::consumer::pull::{BatchConfig, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::{ConsumeError, ConsumerSpec};
use crate::connect::Bus;
use crate::lifecycle::Lifecycle;
use crate::{clock, headers, subjects, telemetry};

/// How long the server keeps a pull request.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often the server shows that a silent pull request is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Silence after which the request counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(13);
/// How often the loop looks for a reconnect, which voids pull requests without a word.
const CHECK: Duration = Duration::from_millis(500);
/// Pause before a consumer that vanished is created anew.
const GONE_PAUSE: Duration = Duration::from_millis(200);

/// Something that takes messages, each with the permit that allowed it.
pub(super) trait Sink: Send + Sync + 'static {
    /// Handles one message to the end, settlement included.
    fn take(
        self: Arc<Self>,
        message: Message,
        permit: OwnedSemaphorePermit,
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

pub(super) async fn create(
    bus: &Bus,
    spec: &ConsumerSpec,
) -> Result<Consumer<Config>, ConsumeError> {
    bus.jetstream().create_consumer_on_stream(config(spec), spec.stream.clone()).await.map_err(
        |error| ConsumeError::Consumer {
            stream: spec.stream.clone(),
            consumer: spec.durable.clone(),
            reason: error.to_string(),
        },
    )
}

/// Creates the consumer, waiting for a server that is just coming up.
async fn create_patiently(
    bus: &Bus,
    spec: &ConsumerSpec,
    lifecycle: &Lifecycle,
) -> Result<Consumer<Config>, ConsumeError> {
    let mut pause = Duration::from_millis(50);
    for _ in 0..8 {
        match create(bus, spec).await {
            Ok(consumer) => return Ok(consumer),
            Err(error) => {
                tracing::debug!(consumer = spec.durable, "consumer not ready yet: {error}")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(2)),
            () = lifecycle.soft.cancelled() => break,
        }
    }
    create(bus, spec).await
}

/// Runs until the soft stop, then waits for the messages in hand.
pub(super) async fn run<S: Sink>(
    bus: &Bus,
    spec: &ConsumerSpec,
    sink: Arc<S>,
    lifecycle: &Lifecycle,
) -> Result<(), ConsumeError> {
    let tasks = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(spec.max_in_flight));
    let mut consumer = create_patiently(bus, spec, lifecycle).await?;
    let result = loop {
        let context = Context { bus, spec, permits: &permits, tasks: &tasks, lifecycle };
        match pull_until_broken(&context, &consumer, &sink).await {
            Ended::Stopped => break Ok(()),
            Ended::Closed => break Err(ConsumeError::Closed),
            Ended::ConsumerGone => {
                telemetry::pull_rearmed(&spec.durable, "consumer_gone");
                // The server said no at once; asking again at once would spin.
                tokio::time::sleep(GONE_PAUSE).await;
                consumer = match create_patiently(bus, spec, lifecycle).await {
                    Ok(consumer) => consumer,
                    Err(_) if lifecycle.soft.is_cancelled() => break Ok(()),
                    Err(error) => break Err(error),
                };
            }
        }
    };
    tasks.close();
    tasks.wait().await;
    result
}

enum Ended {
    Stopped,
    Closed,
    ConsumerGone,
}

/// What the loop knows about its requests.
struct Demand {
    /// Messages asked for and not yet received.
    outstanding: usize,
    /// Connections made when the requests were sent; a reconnect voids them.
    connects: u64,
    /// When the server was last heard.
    heard: std::time::Instant,
}

/// What one run of the loop borrows.
struct Context<'a> {
    bus: &'a Bus,
    spec: &'a ConsumerSpec,
    permits: &'a Arc<Semaphore>,
    tasks: &'a TaskTracker,
    lifecycle: &'a Lifecycle,
}

async fn pull_until_broken<S: Sink>(
    context: &Context<'_>,
    consumer: &Consumer<Config>,
    sink: &Arc<S>,
) -> Ended {
    let Context { bus, spec, permits, tasks, lifecycle } = *context;
    let freed = Arc::new(tokio::sync::Notify::new());
    let inbox = bus.client().new_inbox();
    let Ok(mut messages) = bus.client().subscribe(inbox.clone()).await else {
        return Ended::Closed;
    };
    let mut demand = Demand { outstanding: 0, connects: connects(bus), heard: clock::monotonic() };
    let mut check = tokio::time::interval(CHECK);
    check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if !ask(context, consumer, &inbox, &mut demand).await {
            return Ended::Closed;
        }
        let message = tokio::select! {
            biased;
            () = lifecycle.soft.cancelled() => {
                give_back_rest(bus, &mut messages).await;
                return Ended::Stopped;
            }
            message = messages.next() => message,
            () = freed.notified() => continue,
            _ = check.tick() => {
                if lost(bus, spec, &mut demand) {
                    demand.outstanding = 0;
                }
                continue;
            }
        };
        let Some(message) = message else {
            return Ended::Closed;
        };
        demand.heard = clock::monotonic();
        match message.status.map(|status| status.as_u16()) {
            None => {
                demand.outstanding = demand.outstanding.saturating_sub(1);
                let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
                    return Ended::Closed;
                };
                let busy = spec.max_in_flight - permits.available_permits();
                telemetry::in_flight(&spec.durable, busy, spec.max_in_flight);
                start(tasks, sink, message, permit, &freed, &lifecycle.hard);
            }
            Some(100) => {}
            Some(code) if status(&message, code, &mut demand) => return Ended::ConsumerGone,
            Some(_) => {}
        }
    }
}

/// Asks for as many messages as there are free permits, once enough of them are free; false if the
/// connection is gone for good.
async fn ask(
    context: &Context<'_>,
    consumer: &Consumer<Config>,
    inbox: &str,
    demand: &mut Demand,
) -> bool {
    let max = context.spec.max_in_flight;
    let free = context.permits.available_permits().saturating_sub(demand.outstanding);
    if free == 0 || (demand.outstanding > 0 && free * 4 < max) {
        return true;
    }
    let request = BatchConfig {
        batch: free,
        expires: Some(EXPIRES),
        idle_heartbeat: HEARTBEAT,
        ..BatchConfig::default()
    };
    demand.outstanding += free;
    consumer.request_batch(request, inbox.to_owned().into()).await.is_ok()
}

/// Messages that are already on their way come back to others at once instead of after `ack_wait`.
async fn give_back_rest(bus: &Bus, messages: &mut async_nats::Subscriber) {
    let _ = messages.unsubscribe().await;
    while let Some(message) = messages.next().await {
        give_back(bus, &message).await;
    }
}

fn start<S: Sink>(
    tasks: &TaskTracker,
    sink: &Arc<S>,
    message: Message,
    permit: OwnedSemaphorePermit,
    freed: &Arc<tokio::sync::Notify>,
    hard: &tokio_util::sync::CancellationToken,
) {
    let (sink, freed, hard) = (Arc::clone(sink), Arc::clone(freed), hard.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = sink.take(message, permit) => {}
            () = hard.cancelled() => {}
        }
        freed.notify_one();
    });
}

/// Handles a status message; true if the consumer has to be created anew.
fn status(message: &Message, code: u16, demand: &mut Demand) -> bool {
    let description = message.description.as_deref().unwrap_or_default();
    let left = message
        .headers
        .as_ref()
        .and_then(|all| headers::get_number::<usize>(all, "Nats-Pending-Messages"))
        .unwrap_or(demand.outstanding);
    demand.outstanding = demand.outstanding.saturating_sub(left);
    if !matches!(code, 404 | 408) {
        tracing::debug!(nats.status = code, "pull request ended: {description}");
    }
    // 503: nobody answers for this consumer; it is gone, or JetStream is away for the moment.
    code == 503 || (code == 409 && description.contains("Consumer Deleted"))
}

/// Whether the requests must be sent again: the client reconnected, or the server went silent.
fn lost(bus: &Bus, spec: &ConsumerSpec, demand: &mut Demand) -> bool {
    let now_connects = connects(bus);
    if now_connects != demand.connects {
        demand.connects = now_connects;
        demand.heard = clock::monotonic();
        telemetry::pull_rearmed(&spec.durable, "reconnect");
        return true;
    }
    if demand.outstanding > 0 && demand.heard.elapsed() > SILENCE_MAX {
        demand.heard = clock::monotonic();
        telemetry::pull_rearmed(&spec.durable, "silence");
        return true;
    }
    false
}

fn connects(bus: &Bus) -> u64 {
    bus.client().statistics().connects.load(Ordering::Relaxed)
}

async fn give_back(bus: &Bus, message: &Message) {
    if message.status.is_none()
        && let Some(reply) = &message.reply
    {
        let _ = bus.client().publish(reply.clone(), bytes::Bytes::from_static(b"-NAK")).await;
    }
}
