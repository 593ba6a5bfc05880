//! `campana bench edge latency`: from before a publish to its receipt, one message at a time.
//! Reads: nothing. Writes: a private platform. Never: lets a side work on another server or another client
//! library: all publish with the same call, and they take turns message by message.
//!
//! The bare side stores in a plain stream and receives by a core subscription to the same subject, which the
//! server serves before it has stored. The republished side receives what the stream republishes: what the edge
//! itself receives. The edge's side is a WebSocket client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use campana_bus::{Durability, clock, subjects};
use campana_identity::Tenant;
use clap::Args;
use futures::StreamExt;

use super::board::{Board, Checks};
use super::client::Client;
use super::dialect::Dialect;
use super::receivers::{Receivers, Target};
use super::report::{EDGE, Report, Samples, bar, quantile};
use super::rig::{self, Edge, Rig};
use super::wire::{self, BODY_BYTES_MIN};
use crate::cli::Global;
use crate::errors::usage;

const BARE: &str = "bare";
const REPUBLISHED: &str = "republished";
const PATIENCE: Duration = Duration::from_secs(60);
const BYTES_MAX: usize = 60_000;

/// How to measure latency.
#[derive(Args, Clone)]
pub struct LatencyArgs {
    /// Messages of each side in a round
    #[arg(long, default_value_t = 1_000)]
    pub messages: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 200)]
    pub bytes: usize,
    /// Rounds; the medians are printed
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// `power` (the server syncs every write) or `process`
    #[arg(long, default_value = "process")]
    pub durability: Durability,
    /// Exit with 10 if a target is missed
    #[arg(long)]
    pub strict: bool,
}

pub async fn run(global: &Global, arguments: &LatencyArgs) -> anyhow::Result<Report> {
    let LatencyArgs { messages, bytes, rounds, durability, .. } = *arguments;
    if messages == 0 || rounds == 0 || !(BODY_BYTES_MIN..=BYTES_MAX).contains(&bytes) {
        return Err(usage(format!(
            "messages and rounds must be at least 1, bytes from {BODY_BYTES_MIN} to {BYTES_MAX}"
        )));
    }
    let rig = Rig::start(global, durability).await?;
    let edge = rig.edge("edge", 0, Rig::options(1)).await?;
    let mut samples = Samples::default();
    let mut report = Report::new("latency", vec![EDGE, BARE, REPUBLISHED])
        .with("messages", messages)
        .with("bytes", bytes)
        .with("rounds", rounds)
        .with("durability", durability.as_str());
    let bar = bar("latency", usize::try_from(messages)? * rounds);
    for round in 0..rounds {
        let mut sides = Sides::open(&rig, &edge, arguments, round).await?;
        let mut times = [(); 3].map(|()| (Vec::new(), Vec::new()));
        for number in 0..messages {
            let all = [sides.edge(number).await?, sides.bare().await?, sides.republished().await?];
            // The first ones find cold caches.
            if number >= messages / 10 {
                for ((receipts, both), (receipt, acknowledged)) in times.iter_mut().zip(all) {
                    receipts.push(receipt);
                    both.push(receipt.max(acknowledged));
                }
            }
            bar.inc(1);
        }
        for (column, (receipts, both)) in [EDGE, BARE, REPUBLISHED].into_iter().zip(times) {
            samples.add(column, "receipt p50", quantile(receipts.clone(), 0.5));
            samples.add(column, "receipt p99", quantile(receipts, 0.99));
            samples.add(column, "receipt and acknowledgement p50", quantile(both.clone(), 0.5));
            samples.add(column, "receipt and acknowledgement p99", quantile(both, 0.99));
        }
        report.checks.add(&sides.close(messages).await);
    }
    report.row(&samples, "receipt p50", "µs").ratio_at_most(BARE, 2.5);
    report.row(&samples, "receipt p99", "µs");
    report.row(&samples, "receipt and acknowledgement p50", "µs");
    report.row(&samples, "receipt and acknowledgement p99", "µs");
    report.notes.push(
        "targets are for the ratio to the bare side; its subscription is served before the message is stored"
            .to_owned(),
    );
    Ok(report)
}

/// A subscription that only looks at when a message came.
struct Core {
    subject: String,
    messages: async_nats::Subscriber,
}

struct Sides<'a> {
    rig: &'a Rig,
    bytes: usize,
    board: Arc<Board>,
    receivers: Receivers,
    edge: String,
    bare: Core,
    republished: Core,
}

/// µs from before the publish to the receipt, and to the acknowledgement.
type Times = (f64, f64);

impl<'a> Sides<'a> {
    async fn open(
        rig: &'a Rig,
        edge: &Edge,
        arguments: &LatencyArgs,
        round: usize,
    ) -> anyhow::Result<Self> {
        let bytes = arguments.bytes;
        let board = Board::new(1, usize::try_from(arguments.messages)?);
        let target =
            Target { server: edge.address, dialect: Dialect::Centrifuge, bytes, ordered: true };
        let channel = rig::channel(format!("edge{round}"))?;
        let hello = rig.hello(0, &channel)?;
        let client = Client::open(edge.address, 0, target.dialect, &hello, None).await?;
        let mut receivers = Receivers::default();
        receivers.add(&target, 0, client, &board);
        // A plain stream: it republishes nothing.
        let bare = subjects::app_event("bench", "bench", &format!("bare{round}"));
        let plain = rig::channel(format!("plain{round}"))?;
        let live = subjects::live(Tenant::default().as_str(), &plain);
        let client = async_nats::connect(rig.nats.url()).await?;
        let bare = Core { messages: client.subscribe(bare.clone()).await?, subject: bare };
        let republished =
            Core { messages: client.subscribe(live).await?, subject: rig::subject(&plain) };
        client.flush().await?;
        let edge = rig::subject(&channel);
        Ok(Self { rig, bytes, board, receivers, edge, bare, republished })
    }

    async fn edge(&self, number: u64) -> anyhow::Result<Times> {
        let body = Bytes::from(wire::body(number, self.bytes));
        let at = clock::monotonic();
        self.board.sent(number, self.board.now_us());
        let acknowledged = acknowledged(self.rig, &self.edge, body, at);
        let received = self.board.complete(number..number + 1);
        let (acknowledged, received) = tokio::try_join!(acknowledged, received)?;
        Ok((quantile(received, 1.0), acknowledged))
    }

    async fn bare(&mut self) -> anyhow::Result<Times> {
        core(self.rig, &mut self.bare, self.bytes).await
    }

    async fn republished(&mut self) -> anyhow::Result<Times> {
        core(self.rig, &mut self.republished, self.bytes).await
    }

    async fn close(self, messages: u64) -> Checks {
        self.receivers.close().await;
        self.board.checks(messages)
    }
}

async fn core(rig: &Rig, side: &mut Core, bytes: usize) -> anyhow::Result<Times> {
    let body = Bytes::from(wire::body(0, bytes));
    let at = clock::monotonic();
    let acknowledged = acknowledged(rig, &side.subject, body, at);
    let messages = &mut side.messages;
    let received = async {
        let message = tokio::time::timeout(PATIENCE, messages.next()).await;
        message.context("a message is missing")?.context("the subscription ended")?;
        Ok(micros(at))
    };
    let (acknowledged, received) = tokio::try_join!(acknowledged, received)?;
    Ok((received, acknowledged))
}

async fn acknowledged(rig: &Rig, subject: &str, body: Bytes, at: Instant) -> anyhow::Result<f64> {
    rig.jetstream.publish(subject.to_owned(), body).await?.await?;
    Ok(micros(at))
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
