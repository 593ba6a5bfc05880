//! The hub's housekeeping: channels nobody listens to are left, all others are compared with the stream
//! after a reconnection and, rarely, without a reason.
//! Reads: the stream. Writes: channels. Never: asks the stream about a channel while it stands still.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use campana_bus::clock;
use campana_bus::fetch::FetchError;
use futures::StreamExt as _;
use tokio::time::MissedTickBehavior;

use super::channel::Channel;
use super::source::Purpose;
use super::{Inner, feed};

const TICK: Duration = Duration::from_millis(250);
/// Comparisons in flight at the same time.
const CHECKS_IN_FLIGHT: usize = 64;
/// How old the known position of the stream may be while nothing looks wrong.
const STREAM_AGE_MAX: Duration = Duration::from_secs(5);
/// How often what was seen of the stream is stored for the next edge.
const SAVE_INTERVAL: Duration = Duration::from_secs(30);

pub(super) async fn run(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let connects = |inner: &Inner| inner.bus.client().statistics().connects.load(Ordering::Relaxed);
    let mut state = State {
        connects: connects(&inner),
        epoch: None,
        unchecked: Vec::new(),
        saved_at: clock::monotonic(),
    };
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = inner.stop.cancelled() => return,
        }
        let connected = connects(&inner);
        if connected != state.connects {
            state.connects = connected;
            state.unchecked =
                inner.channels.iter().map(|entry| Arc::clone(entry.value())).collect();
            tracing::info!(
                channels = state.unchecked.len(),
                "reconnected to NATS: comparing channels with the stream"
            );
        }
        tokio::select! {
            result = tick(&inner, &mut state) => {
                if let Err(error) = result {
                    tracing::debug!(%error, "channels cannot be compared with the stream now");
                }
            }
            () = inner.stop.cancelled() => return,
        }
    }
}

struct State {
    /// How often the client connected to NATS.
    connects: u64,
    epoch: Option<String>,
    /// Channels that must be compared since the last reconnection.
    unchecked: Vec<Arc<Channel>>,
    saved_at: Instant,
}

async fn tick(inner: &Arc<Inner>, state: &mut State) -> Result<(), FetchError> {
    sweep(inner).await;
    crate::metrics::kept_bytes(inner.budget.used());
    if state.saved_at.elapsed() >= SAVE_INTERVAL {
        state.saved_at = clock::monotonic();
        inner.source.recently(SAVE_INTERVAL).await?;
        inner.source.save().await;
    }
    if inner.channels.is_empty() {
        state.unchecked.clear();
        return Ok(());
    }
    let interval = Duration::from_millis(inner.options.check_interval_ms);
    let usual = STREAM_AGE_MAX.min(interval);
    let age_max = if state.unchecked.is_empty() { usual } else { Duration::ZERO };
    let stream = &inner.source.recently(age_max).await?.stream;
    if state.epoch.replace(stream.epoch.clone()).is_some_and(|known| known != stream.epoch) {
        // Another stream under the same name: every position is void.
        state.unchecked.clear();
        let all = inner.channels.iter().map(|entry| Arc::clone(entry.value()));
        let all: Vec<Arc<Channel>> = all.filter(|channel| !channel.key.is_dense()).collect();
        tracing::warn!(
            channels = all.len(),
            "the stream was created anew: all subscribers begin anew"
        );
        all.iter().for_each(|channel| inner.give_up(channel));
        return Ok(());
    }
    let now = clock::monotonic();
    let mut due = std::mem::take(&mut state.unchecked);
    if due.is_empty() {
        let wants = |channel: &Arc<Channel>| {
            // A stream of its own says only itself where it stands.
            let last = if channel.key.is_dense() { u64::MAX } else { stream.last };
            channel.wants_check(interval, last, now)
        };
        let channels = inner.channels.iter().map(|entry| Arc::clone(entry.value()));
        due = channels.filter(wants).take(CHECKS_IN_FLIGHT * 4).collect();
        check(inner, due).await;
    } else {
        state.unchecked = check(inner, due).await;
    }
    Ok(())
}

/// Compares channels with the stream; gives those that could not be.
async fn check(inner: &Arc<Inner>, channels: Vec<Arc<Channel>>) -> Vec<Arc<Channel>> {
    let checks = channels.into_iter().map(|channel| async move {
        match last_of(inner, &channel).await {
            Ok(None) => {
                inner.give_up(&channel);
                None
            }
            Ok(Some(last)) => {
                if channel.checked(last, clock::monotonic()) {
                    crate::metrics::hole();
                    inner.repair(&channel);
                }
                None
            }
            Err(_) => Some(channel),
        }
    });
    let answers = futures::stream::iter(checks).buffer_unordered(CHECKS_IN_FLIGHT);
    answers.filter_map(std::future::ready).collect().await
}

/// The channel's last message, 0 if it has none; nothing if its stream is not the one that was joined.
async fn last_of(inner: &Inner, channel: &Channel) -> Result<Option<u64>, FetchError> {
    if !channel.key.is_dense() {
        let last = inner.source.last(&channel.key, Purpose::Check).await?;
        return Ok(Some(last.map_or(0, |message| message.sequence)));
    }
    match inner.source.stream_of(&channel.key, clock::monotonic()).await {
        Ok(now) => Ok((*now.stream.epoch == *channel.epoch()).then_some(now.stream.last)),
        Err(error) if error.is_no_stream() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Leaves channels that nobody has listened to for a while.
async fn sweep(inner: &Inner) {
    let (linger, now) = (inner.options.linger(), clock::monotonic());
    let looked_at = |channel: &Channel| {
        channel.forget(Some(now));
        channel.is_idle(linger, now)
    };
    let idle: Vec<String> = inner
        .channels
        .iter()
        .filter(|entry| looked_at(entry.value()))
        .map(|entry| entry.key().clone())
        .collect();
    if idle.is_empty() {
        return;
    }
    for subject in idle {
        // A count above one means that somebody is joining it right now.
        let removed = inner.channels.remove_if(&subject, |_, channel| {
            Arc::strong_count(channel) == 1 && channel.is_idle(linger, now)
        });
        if let Some((_, channel)) = removed {
            inner.unlist(&channel);
        }
    }
    feed::sweep(inner).await;
}
