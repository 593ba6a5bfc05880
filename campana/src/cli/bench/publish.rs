//! `campana bench publish`: group commit beside one publish per message, in one run.
//! Reads: nothing. Writes: a scratch stream on a private nats-server, removed afterwards.
//! Never: touches a running platform.

use std::time::Duration;

use async_nats::jetstream::stream;
use bytes::Bytes;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{EnvelopePublisher, GroupPublisher, Outgoing, Part};
use campana_bus::testing::NatsServer;
use campana_bus::topology::{CHANNELS, REQUESTS};
use campana_bus::{Bus, Durability, clock, subjects};
use clap::Args;
use serde::Serialize;

use crate::cli::{Global, output};

/// How to measure publishing.
#[derive(Args)]
pub struct PublishArgs {
    /// Callers, each waiting for its acknowledgement before the next publish
    #[arg(long, default_value_t = 256)]
    callers: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 512)]
    bytes: usize,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Interleaved rounds; the medians are printed
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// `power` (the server syncs every write) or `process`
    #[arg(long, default_value = "power")]
    durability: Durability,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    acks_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    variant: &'static str,
    median: Sample,
    times_singles: f64,
}

pub async fn run(global: &Global, arguments: PublishArgs) -> anyhow::Result<()> {
    let PublishArgs { callers, bytes, seconds, rounds, durability } = arguments;
    anyhow::ensure!(
        callers > 0 && rounds > 0 && seconds > 0 && bytes < 100_000,
        "callers, rounds and seconds must be at least 1, bytes below 100,000"
    );
    let server = NatsServer::start_with(durability).map_err(anyhow::Error::msg)?;
    let bus = server.bus_with_topology("bench").await.map_err(anyhow::Error::msg)?;
    let lifecycle = Lifecycle::new();
    let bench = Bench {
        group: GroupPublisher::start(&bus, CHANNELS, &lifecycle),
        envelopes: EnvelopePublisher::start(&bus, REQUESTS, &lifecycle),
        body: Bytes::from(format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)))),
        time: Duration::from_secs(seconds),
        callers,
        bus,
    };
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for _ in 0..rounds {
        for (variant, samples) in samples.iter_mut().enumerate() {
            samples.push(bench.measure(variant).await?);
            bench.empty().await?;
        }
    }
    let medians = samples.map(|samples| median(&samples));
    let rows: Vec<Row> = ["singles", "batching publisher", "envelopes"]
        .into_iter()
        .zip(medians)
        .map(|(variant, median)| Row {
            variant,
            median,
            times_singles: median.acks_per_second / medians[0].acks_per_second,
        })
        .collect();
    if global.json {
        return output::json("publish", &rows);
    }
    output::text(&format!(
        "{callers} callers, {bytes} bytes, durability {}, medians of {rounds} interleaved rounds of {seconds} s",
        durability.as_str()
    ))?;
    let rows = rows
        .iter()
        .map(|row| {
            vec![
                row.variant.to_owned(),
                format!("{:.0}", row.median.acks_per_second),
                format!("{:.2}", row.median.p50_ms),
                format!("{:.2}", row.median.p99_ms),
                format!("{:.1}x", row.times_singles),
            ]
        })
        .collect();
    output::table(&["VARIANT", "ACKS/S", "P50 MS", "P99 MS", "AGAINST SINGLES"], rows, "")
}

fn median(samples: &[Sample]) -> Sample {
    let middle = |field: fn(&Sample) -> f64| {
        let mut all: Vec<f64> = samples.iter().map(field).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    Sample {
        acks_per_second: middle(|s| s.acks_per_second),
        p50_ms: middle(|s| s.p50_ms),
        p99_ms: middle(|s| s.p99_ms),
    }
}

struct Bench {
    bus: Bus,
    group: GroupPublisher,
    envelopes: EnvelopePublisher,
    body: Bytes,
    time: Duration,
    callers: usize,
}

impl Bench {
    /// One variant for the configured time: every caller publishes, waits, publishes.
    async fn measure(&self, variant: usize) -> anyhow::Result<Sample> {
        let started = clock::monotonic();
        let callers = (0..self.callers).map(|caller| async move {
            let mut latencies = Vec::new();
            for turn in 0_u64.. {
                if started.elapsed() >= self.time {
                    break;
                }
                let at = clock::monotonic();
                self.publish(variant, caller, turn).await?;
                latencies.push(at.elapsed());
            }
            anyhow::Ok(latencies)
        });
        let mut latencies: Vec<Duration> = futures::future::try_join_all(callers).await?.concat();
        let elapsed = started.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let at = |quantile: f64| {
            let index = ((latencies.len() as f64 * quantile) as usize)
                .min(latencies.len().saturating_sub(1));
            latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
        };
        Ok(Sample {
            acks_per_second: latencies.len() as f64 / elapsed,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
        })
    }

    async fn publish(&self, variant: usize, caller: usize, turn: u64) -> anyhow::Result<()> {
        let id = format!("{variant}-{caller}-{turn}-{}", self.time.as_secs());
        let subject = format!(
            "{}{caller}",
            subjects::channel("bench", &subjects::ChannelName::parse("bench:n")?)
        );
        match variant {
            0 => self.bus.publish(Outgoing::new(subject, id, self.body.clone())).await?,
            1 => self.group.publish(Outgoing::new(subject, id, self.body.clone())).await?,
            _ => {
                self.envelopes
                    .publish(subjects::request("normal"), Part::new(id, self.body.clone()))
                    .await?
            }
        };
        Ok(())
    }

    /// Between measurements, so that no variant works on a fuller stream than another.
    async fn empty(&self) -> anyhow::Result<()> {
        for name in [CHANNELS, REQUESTS] {
            let mut config =
                self.bus.jetstream().get_stream(name).await?.cached_info().config.clone();
            self.bus.jetstream().delete_stream(name).await?;
            config.first_sequence = None;
            self.bus.jetstream().create_stream(stream::Config { ..config }).await?;
        }
        Ok(())
    }
}
