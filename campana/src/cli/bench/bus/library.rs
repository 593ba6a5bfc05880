//! The side with the library: what a service author writes.
//! Reads and writes: the private server. Never: uses anything that is not public.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use campana_bus::clock;
use campana_bus::consume::{self, ConsumerSpec, Meta};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::Outgoing;
use campana_bus::topology::EVENTS;
use tokio::sync::{Notify, mpsc};

use super::{Bench, MEASUREMENT_MAX, Order};

/// Counts handled messages, without a lock, for both sides.
pub(super) struct Meter {
    wanted: u64,
    seen: AtomicU64,
    first: OnceLock<Instant>,
    last: OnceLock<Instant>,
    done: Notify,
}

impl Meter {
    pub fn new(wanted: u64) -> Self {
        Self {
            wanted,
            seen: AtomicU64::new(0),
            first: OnceLock::new(),
            last: OnceLock::new(),
            done: Notify::new(),
        }
    }

    pub fn count(&self) {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if seen == 1 {
            let _ = self.first.set(clock::monotonic());
        }
        if seen == self.wanted {
            let _ = self.last.set(clock::monotonic());
            self.done.notify_one();
        }
    }

    /// Messages per second, when all are handled.
    pub async fn done(&self) -> f64 {
        self.done.notified().await;
        let (first, last) = (self.first.get(), self.last.get());
        let time = first
            .zip(last)
            .map_or(0.0, |(first, last)| last.saturating_duration_since(*first).as_secs_f64());
        (self.wanted - 1) as f64 / time.max(1e-9)
    }
}

fn spec(bench: &Bench, durable: &str, side: &str) -> ConsumerSpec {
    ConsumerSpec {
        max_in_flight: bench.arguments.in_flight,
        ..ConsumerSpec::new(EVENTS, durable, Bench::subject(side))
    }
}

/// Messages per second, from the first handler to the last.
pub(super) async fn consume(bench: &Bench, round: usize) -> anyhow::Result<f64> {
    let meter = Arc::new(Meter::new(bench.arguments.messages));
    let handler = consume::from_fn({
        let meter = Arc::clone(&meter);
        move |order: Order, _: Meta| {
            black_box(order);
            meter.count();
            std::future::ready(Ok(()))
        }
    });
    let durable = format!("library-{round}");
    let lifecycle = Lifecycle::new();
    let running =
        consume::run(&bench.library, spec(bench, &durable, "load"), handler, lifecycle.clone());
    tokio::pin!(running);
    let rate = tokio::select! {
        ended = &mut running => anyhow::bail!("the consumer ended: {ended:?}"),
        rate = tokio::time::timeout(MEASUREMENT_MAX, meter.done()) => rate?,
    };
    lifecycle.soft.cancel();
    running.await?;
    bench.bare.delete_consumer_from_stream(durable, EVENTS).await?;
    Ok(rate)
}

fn outgoing(bench: &Bench, side: &str, id: String) -> anyhow::Result<Outgoing> {
    Ok(Outgoing::new(Bench::subject(side), id, bench.body(0)?))
}

pub(super) async fn publish(bench: &Bench, id: String, round: usize) -> anyhow::Result<()> {
    bench.library.publish(outgoing(bench, "load", format!("library-{round}-{id}"))?).await?;
    Ok(())
}

pub(super) async fn publish_group(bench: &Bench, id: String, round: usize) -> anyhow::Result<()> {
    bench.group.publish(outgoing(bench, "load", format!("group-{round}-{id}"))?).await?;
    Ok(())
}

/// Tells when each message reached its handler.
pub(super) fn start_pings(
    bench: &Bench,
    arrived: mpsc::UnboundedSender<Instant>,
    lifecycle: &Lifecycle,
) {
    let handler = consume::from_fn(move |order: Order, _: Meta| {
        black_box(order);
        let _ = arrived.send(clock::monotonic());
        std::future::ready(Ok(()))
    });
    let (bus, spec) = (bench.library.clone(), spec(bench, "library-pings", "library-ping"));
    let lifecycle = lifecycle.clone();
    lifecycle.clone().spawn("library pings", async move {
        let _ = consume::run(&bus, spec, handler, lifecycle).await;
    });
}

pub(super) async fn ping(bench: &Bench, id: String) -> anyhow::Result<()> {
    bench.library.publish(outgoing(bench, "library-ping", id)?).await?;
    Ok(())
}

/// A consumer of a subject that nobody publishes to.
pub(super) fn start_idle(bench: &Bench, lifecycle: &Lifecycle) {
    let handler = consume::from_fn(|order: Order, _: Meta| {
        black_box(order);
        std::future::ready(Ok(()))
    });
    let (bus, spec) = (bench.library.clone(), spec(bench, "library-idle", "library-idle"));
    let lifecycle = lifecycle.clone();
    lifecycle.clone().spawn("idle consumer", async move {
        let _ = consume::run(&bus, spec, handler, lifecycle).await;
    });
}
