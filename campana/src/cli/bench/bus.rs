//! `campana bench bus`: what the library costs beside bare async-nats, both sides in one run.
//! Reads: nothing. Writes: the platform's streams on a private nats-server, removed afterwards.
//! Never: lets one side work on a fuller stream, with fewer places, or without the metrics of a real process.
//!
//! The sides take turns, so that a machine that slows down slows both; medians are compared. The library runs
//! as services run it: with the metrics recorder, message ids, retries and heartbeats armed. The bare side is
//! the loop that async-nats documents, with the same messages, places and acknowledgements.

mod bare;
mod library;
mod threshold;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::GroupPublisher;
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, Durability, clock, subjects};
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::cli::{Global, output};
use crate::errors::Failure;
use crate::ops;
use threshold::Threshold;

/// Publishes in flight while the stream is filled.
const FILL_IN_FLIGHT: usize = 1_000;
/// How long a measurement may take before something is wrong.
const MEASUREMENT_MAX: Duration = Duration::from_secs(120);
/// Rest before the idle time is measured.
const SETTLE: Duration = Duration::from_millis(500);

/// How to measure the bus library.
#[derive(Args)]
pub struct BusArgs {
    /// Messages consumed in one measurement
    #[arg(long, default_value_t = 50_000)]
    messages: u64,
    /// Handlers, and publishes that wait for their acknowledgement, at the same time
    #[arg(long, default_value_t = 256)]
    in_flight: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// Seconds of one measurement of publishing
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Messages sent one at a time in one measurement of latency
    #[arg(long, default_value_t = 1_000)]
    pings: u64,
    /// Seconds in which a consumer idles
    #[arg(long, default_value_t = 5)]
    idle_seconds: u64,
    /// Interleaved rounds; the medians are compared
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// `power` (the server syncs every write) or `process`
    #[arg(long, default_value = "process")]
    durability: Durability,
    /// Exit with 10 unless it holds: consume or publish (ratios), latency_us, or idle_percent, then <= or >= and
    /// a number, for example 'consume>=0.85' (repeatable)
    #[arg(long, value_name = "THRESHOLD")]
    threshold: Vec<Threshold>,
}

/// What is in a message.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    number: u64,
    text: String,
}

#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    unit: &'static str,
    bare: Option<f64>,
    library: f64,
    /// Library by bare for rates, library minus bare for times.
    compared: Option<f64>,
}

/// What every measurement needs.
struct Bench {
    arguments: BusArgs,
    server: NatsServer,
    library: Bus,
    bare: jetstream::Context,
    group: GroupPublisher,
}

pub async fn run(global: &Global, arguments: BusArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        arguments.messages > 1
            && (1..=65_536).contains(&arguments.in_flight)
            && arguments.rounds > 0
            && arguments.seconds > 0
            && arguments.pings > 0
            && arguments.idle_seconds > 0
            && (64..100_000).contains(&arguments.bytes),
        "all numbers must be at least 1, messages at least 2, bytes 64 to 100,000"
    );
    // Installed before the library looks up its metrics, as in a service.
    let recorder = ops::install_recorder()?;
    let lifecycle = Lifecycle::new();
    lifecycle.spawn("metrics upkeep", async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            recorder.run_upkeep();
        }
    });
    let server = NatsServer::start_with(arguments.durability).map_err(anyhow::Error::msg)?;
    let library = server.bus_with_topology("bench").await.map_err(anyhow::Error::msg)?;
    let bare = jetstream::new(async_nats::connect(server.url()).await?);
    let group = GroupPublisher::start(&library, EVENTS, &lifecycle);
    let bench = Bench { arguments, server, library, bare, group };
    let rows = bench.rows().await?;
    lifecycle.hard.cancel();
    bench.print(global, &rows)?;
    judge(&bench.arguments.threshold, &rows)
}

impl Bench {
    async fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let mut samples: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        let mut add = |name, value| samples.entry(name).or_default().push(value);
        self.fill().await?;
        for round in 0..self.arguments.rounds {
            add("consume bare", bare::consume(self, round).await?);
            add("consume", library::consume(self, round).await?);
        }
        self.empty().await?;
        for round in 0..self.arguments.rounds {
            add("publish bare", self.publishing(|id| bare::publish(self, id, round)).await?);
            add("publish", self.publishing(|id| library::publish(self, id, round)).await?);
            add("group", self.publishing(|id| library::publish_group(self, id, round)).await?);
            self.empty().await?;
        }
        let (bare, library) = self.latencies().await?;
        let idle = self.idle().await?;
        let mut middle = |name| samples.remove(name).map(median).unwrap_or_default();
        let consume = (middle("consume bare"), middle("consume"));
        let publish = (middle("publish bare"), middle("publish"));
        let group = middle("group");
        Ok(vec![
            rate("consume", "messages/s", consume),
            rate("publish", "acks/s", publish),
            rate("publish in groups", "acks/s", (publish.0, group)),
            Row {
                what: "latency_us",
                unit: "µs p50",
                bare: Some(bare),
                library,
                compared: Some(library - bare),
            },
            Row {
                what: "idle_percent",
                unit: "% of a core",
                bare: None,
                library: idle,
                compared: Some(idle),
            },
        ])
    }

    fn subject(side: &str) -> String {
        subjects::app_event("bench", "bench", side)
    }

    /// A JSON body of exactly the configured size.
    fn body(&self, number: u64) -> anyhow::Result<Bytes> {
        let frame = serde_json::to_vec(&Order { number, text: String::new() })?.len();
        let text = "x".repeat(self.arguments.bytes.saturating_sub(frame));
        Ok(serde_json::to_vec(&Order { number, text })?.into())
    }

    /// Stores what both sides consume.
    async fn fill(&self) -> anyhow::Result<()> {
        futures::stream::iter(0..self.arguments.messages)
            .map(|number| async move {
                let message = PublishMessage::build()
                    .payload(self.body(number)?)
                    .message_id(format!("fill-{number}"));
                self.bare.send_publish(Self::subject("load"), message).await?.await?;
                anyhow::Ok(())
            })
            .buffer_unordered(FILL_IN_FLIGHT)
            .try_collect()
            .await
    }

    /// Between measurements, so that no side works on a fuller stream than the other.
    async fn empty(&self) -> anyhow::Result<()> {
        self.bare.get_stream(EVENTS).await?.purge().await?;
        Ok(())
    }

    /// Acknowledgements per second: every caller publishes, waits, publishes.
    async fn publishing<F: Future<Output = anyhow::Result<()>>>(
        &self,
        publish: impl Fn(String) -> F,
    ) -> anyhow::Result<f64> {
        let (started, publish) = (clock::monotonic(), &publish);
        let time = Duration::from_secs(self.arguments.seconds);
        let callers = (0..self.arguments.in_flight).map(|caller| async move {
            let mut count = 0_u64;
            while started.elapsed() < time {
                publish(format!("{caller}-{count}")).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
        let counts = futures::future::try_join_all(callers).await?;
        Ok(counts.iter().sum::<u64>() as f64 / started.elapsed().as_secs_f64())
    }

    /// Median time in µs from before a publish to the start of its handler, one message at a time; the sides
    /// take turns message by message. Each publishes and consumes its own way.
    async fn latencies(&self) -> anyhow::Result<(f64, f64)> {
        let lifecycle = Lifecycle::new();
        let (bare_arrived, mut bare) = mpsc::unbounded_channel();
        let (library_arrived, mut library) = mpsc::unbounded_channel();
        bare::start_pings(self, bare_arrived, &lifecycle).await?;
        library::start_pings(self, library_arrived, &lifecycle);
        let (mut bare_times, mut library_times) = (Vec::new(), Vec::new());
        for ping in 0..self.arguments.pings * 2 {
            let id = format!("ping-{ping}");
            let at = clock::monotonic();
            let (times, arrived) = if ping % 2 == 0 {
                bare::ping(self, id).await?;
                (&mut bare_times, &mut bare)
            } else {
                library::ping(self, id).await?;
                (&mut library_times, &mut library)
            };
            let arrival: Option<Instant> =
                tokio::time::timeout(MEASUREMENT_MAX, arrived.recv()).await?;
            let arrival = arrival.ok_or_else(|| anyhow::anyhow!("a consumer ended"))?;
            // The first ones find cold caches and consumers that are just starting.
            if ping >= self.arguments.pings / 5 {
                times.push(arrival.duration_since(at).as_secs_f64() * 1e6);
            }
        }
        lifecycle.stop(Duration::from_secs(5)).await;
        Ok((median(bare_times), median(library_times)))
    }

    /// What this process uses while one consumer has nothing to do, in percent of a core.
    async fn idle(&self) -> anyhow::Result<f64> {
        let lifecycle = Lifecycle::new();
        library::start_idle(self, &lifecycle);
        tokio::time::sleep(SETTLE).await;
        let (wall, cpu) = (clock::monotonic(), cpu_time());
        tokio::time::sleep(Duration::from_secs(self.arguments.idle_seconds)).await;
        let used = cpu_time().saturating_sub(cpu).as_secs_f64();
        let percent = used / wall.elapsed().as_secs_f64() * 100.0;
        lifecycle.stop(Duration::from_secs(5)).await;
        Ok(percent)
    }

    fn print(&self, global: &Global, rows: &[Row]) -> anyhow::Result<()> {
        if global.json {
            return output::json("bus", &rows);
        }
        let arguments = &self.arguments;
        output::text(&format!(
            "{} bytes, {} in flight, durability {}, medians of {} interleaved rounds, nats-server pid {}",
            arguments.bytes,
            arguments.in_flight,
            arguments.durability.as_str(),
            arguments.rounds,
            self.server.pid(),
        ))?;
        let number = |value: f64| {
            if value >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
        };
        let rows = rows
            .iter()
            .map(|row| {
                vec![
                    row.what.to_owned(),
                    row.unit.to_owned(),
                    row.bare.map(number).unwrap_or_default(),
                    number(row.library),
                    row.compared.map(|value| format!("{value:.2}")).unwrap_or_default(),
                ]
            })
            .collect();
        output::table(&["WHAT", "UNIT", "BARE", "LIBRARY", "COMPARED"], rows, "")
    }
}

fn rate(what: &'static str, unit: &'static str, (bare, library): (f64, f64)) -> Row {
    Row { what, unit, bare: Some(bare), library, compared: Some(library / bare) }
}

/// An error with exit code 10 if a threshold is missed.
fn judge(thresholds: &[Threshold], rows: &[Row]) -> anyhow::Result<()> {
    let missed: Vec<String> = thresholds
        .iter()
        .filter_map(|threshold| {
            let row = rows.iter().find(|row| row.what == threshold.metric.name());
            let actual = row.and_then(|row| row.compared);
            match actual {
                Some(actual) if threshold.holds(actual) => None,
                Some(actual) => Some(format!("{threshold} (it is {actual:.3})")),
                None => Some(format!("{threshold} (not measured)")),
            }
        })
        .collect();
    if missed.is_empty() {
        return Ok(());
    }
    let message = format!("thresholds missed: {}", missed.join(", "));
    Err(Failure { code: 10, message }.into())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// CPU time of this process so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
