//! `campana bench edge reconnect`: all clients come back at once after their edge was killed, and recover.
//! Reads: nothing. Writes: a private platform. Never: paces the clients: they all start at the same moment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use campana_bus::{Durability, clock};
use campana_ws_edge::EdgeOptions;
use clap::Args;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::board::{Board, Checks};
use super::client::Client;
use super::dialect::{Dialect, Hello, Position};
use super::proc::allow_files;
use super::receivers::Target;
use super::report::{EDGE, Report, Samples, bar, quantile};
use super::rig::{self, Rig};
use super::wire::{self, BODY_BYTES_MIN};
use crate::cli::Global;
use crate::errors::usage;

/// The column of the same clients when they come for the first time.
const FIRST: &str = "first connect";
const RECOVERED: &str = "all connected, all recovered";
const ONE_P50: &str = "one client p50";
const ONE_P99: &str = "one client p99";
const TRIES: &str = "attempts that failed";

/// Tries of one client.
const TRIES_MAX: u32 = 200;
const TRY_PAUSE: Duration = Duration::from_millis(20);
/// Publishes that wait for their acknowledgement.
const IN_FLIGHT: usize = 1_000;
/// How long something that comes twice has to show itself.
const SETTLE: Duration = Duration::from_millis(500);
const BYTES_MAX: usize = 60_000;

/// How to measure a mass reconnect.
#[derive(Args, Clone)]
pub struct ReconnectArgs {
    /// Clients, each with a channel of its own
    #[arg(long, default_value_t = 5_000)]
    pub connections: usize,
    /// Messages that each of them misses
    #[arg(long, default_value_t = 20)]
    pub messages: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 200)]
    pub bytes: usize,
    /// Rounds; the medians are printed
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// `power` (the server syncs every write) or `process`
    #[arg(long, default_value = "process")]
    pub durability: Durability,
    /// Exit with 10 if a target is missed
    #[arg(long)]
    pub strict: bool,
}

pub async fn run(global: &Global, arguments: &ReconnectArgs) -> anyhow::Result<Report> {
    let ReconnectArgs { connections, messages, bytes, rounds, durability, .. } = *arguments;
    let positive = connections > 0 && messages > 0 && rounds > 0;
    if !positive || !(BODY_BYTES_MIN..=BYTES_MAX).contains(&bytes) {
        return Err(usage(format!(
            "all numbers must be at least 1, bytes from {BODY_BYTES_MIN} to {BYTES_MAX}"
        )));
    }
    allow_files(connections)?;
    let rig = Rig::start(global, durability).await?;
    let mut report = Report::new("reconnect", vec![EDGE, FIRST])
        .with("connections", connections)
        .with("messages_missed", messages)
        .with("bytes", bytes)
        .with("rounds", rounds)
        .with("durability", durability.as_str());
    let mut samples = Samples::default();
    let bar = bar("reconnect", connections * 2 * rounds);
    for _ in 0..rounds {
        report.checks.add(&round(&rig, arguments, &mut samples, &bar).await?);
    }
    report.row(&samples, RECOVERED, "s").at_most(5.0);
    report.row(&samples, ONE_P50, "ms");
    report.row(&samples, ONE_P99, "ms");
    report.row(&samples, TRIES, "");
    report.notes.push(
        "first connect: the same clients at once, to an edge that was just started, with nothing to recover"
            .to_owned(),
    );
    Ok(report)
}

async fn round(
    rig: &Rig,
    arguments: &ReconnectArgs,
    samples: &mut Samples,
    bar: &ProgressBar,
) -> anyhow::Result<Checks> {
    let ReconnectArgs { connections, messages, bytes, .. } = *arguments;
    // Coming at once is what is measured: the limit of new connections stays as it is by default.
    let mut options = Rig::options(connections);
    options.limits = EdgeOptions::default().limits;
    let mut edge = rig.edge("edge", 0, options.clone()).await?;
    let dialect = Dialect::Centrifuge;
    let target = Target { server: edge.address, dialect, bytes, ordered: true };

    let mut hellos = (0..connections)
        .map(|index| rig.hello(index, &rig::channel(format!("c{index}"))?))
        .collect::<anyhow::Result<Vec<Hello>>>()?;
    // They lose their connections: what this board says about that is of no interest.
    let mut first = Storm::start(&target, hellos.clone(), &Board::new(connections, 0));
    let positions = first.all(connections, bar).await?;
    first.sample(FIRST, samples);
    for (index, position) in positions {
        hellos[index].since = Some(position);
    }

    edge.process.kill();
    let port = edge.address.port();
    let publishing = publish(rig, connections, messages, bytes);
    let ((), edge) = tokio::try_join!(publishing, rig.edge("edge", port, options))?;
    anyhow::ensure!(edge.address == target.server, "the edge came back at another address");
    first.tasks.shutdown().await;

    let board = Board::new(connections, usize::try_from(messages)?);
    let started_us = board.now_us();
    (0..messages).for_each(|number| board.sent(number, started_us));
    let mut storm = Storm::start(&target, hellos, &board);
    storm.all(connections, bar).await?;
    board.complete(0..messages).await?;
    samples.add(EDGE, RECOVERED, board.last_us().saturating_sub(started_us) as f64 / 1e6);
    let times = board.take_times();
    samples.add(EDGE, ONE_P50, quantile(times.clone(), 0.5) / 1e3);
    samples.add(EDGE, ONE_P99, quantile(times, 0.99) / 1e3);
    samples.add(EDGE, TRIES, storm.failed as f64);
    tokio::time::sleep(SETTLE).await;
    storm.tasks.shutdown().await;
    Ok(board.checks(messages))
}

/// Message by message to every channel, each acknowledged.
async fn publish(rig: &Rig, connections: usize, messages: u64, bytes: usize) -> anyhow::Result<()> {
    let subjects = (0..connections)
        .map(|index| Ok(rig::subject(&rig::channel(format!("c{index}"))?)))
        .collect::<anyhow::Result<Vec<String>>>()?;
    let mut waiting = FuturesUnordered::new();
    for number in 0..messages {
        let body = Bytes::from(wire::body(number, bytes));
        for subject in &subjects {
            let sent = rig.jetstream.publish(subject.clone(), body.clone()).await?;
            waiting.push(std::future::IntoFuture::into_future(sent).boxed());
            if waiting.len() >= IN_FLIGHT {
                waiting.next().await.transpose()?;
            }
        }
    }
    while let Some(acknowledged) = waiting.next().await {
        acknowledged?;
    }
    Ok(())
}

/// What became of one client's coming: how often it failed, how long it took, where it stands.
struct Came {
    index: usize,
    failed: u32,
    took: Duration,
    position: anyhow::Result<Position>,
}

/// All clients, started at the same moment.
struct Storm {
    tasks: JoinSet<()>,
    came: mpsc::UnboundedReceiver<Came>,
    times_ms: Vec<f64>,
    failed: u64,
}

impl Storm {
    fn start(target: &Target, hellos: Vec<Hello>, board: &Arc<Board>) -> Self {
        let (say, came) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let started = clock::monotonic();
        for (index, hello) in hellos.into_iter().enumerate() {
            let (target, board, say) = (target.clone(), Arc::clone(board), say.clone());
            tasks.spawn(async move {
                let (failed, client) = keep_trying(&target, index, &hello).await;
                let took = started.elapsed();
                let (position, client) = match client {
                    // Reading the position means parsing: only clients that come for the first time do it.
                    Ok(client) if hello.since.is_none() => (client.position(), Some(client)),
                    Ok(client) => (Ok(Position::default()), Some(client)),
                    Err(error) => (Err(error), None),
                };
                let _ = say.send(Came { index, failed, took, position });
                if let Some(client) = client {
                    client.count(index, target.bytes, target.ordered, board).await;
                }
            });
        }
        Self { tasks, came, times_ms: Vec::new(), failed: 0 }
    }

    /// Waits until all are connected and subscribed.
    async fn all(
        &mut self,
        connections: usize,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<(usize, Position)>> {
        let mut positions = Vec::with_capacity(connections);
        while positions.len() < connections {
            let came = self.came.recv().await.context("the clients are gone")?;
            let position = came.position.with_context(|| format!("client {}", came.index))?;
            positions.push((came.index, position));
            self.times_ms.push(came.took.as_secs_f64() * 1e3);
            self.failed += u64::from(came.failed);
            bar.inc(1);
        }
        Ok(positions)
    }

    fn sample(&self, column: &'static str, samples: &mut Samples) {
        samples.add(column, RECOVERED, quantile(self.times_ms.clone(), 1.0) / 1e3);
        samples.add(column, ONE_P50, quantile(self.times_ms.clone(), 0.5));
        samples.add(column, ONE_P99, quantile(self.times_ms.clone(), 0.99));
        samples.add(column, TRIES, self.failed as f64);
    }
}

async fn keep_trying(
    target: &Target,
    index: usize,
    hello: &Hello,
) -> (u32, anyhow::Result<Client>) {
    let mut failed = 0;
    loop {
        match Client::open(target.server, index, target.dialect, hello, None).await {
            Err(_) if failed < TRIES_MAX => {
                failed += 1;
                tokio::time::sleep(TRY_PAUSE).await;
            }
            result => return (failed, result),
        }
    }
}
