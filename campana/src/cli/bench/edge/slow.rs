//! `campana bench edge slow`: a broadcast while some clients read nothing, beside the same without them.
//! Reads: the kernel's table of connections. Writes: a private platform. Never: measures before the slow clients
//! really block: as long as the kernel takes what they do not read, they slow nobody.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use campana_bus::Durability;
use clap::Args;
use indicatif::ProgressBar;

use super::board::Board;
use super::client::Client;
use super::dialect::Dialect;
use super::proc::{allow_files, blocked_connections, queued_bytes};
use super::receivers::{Receivers, Target};
use super::report::{Report, Samples, bar, quantile};
use super::rig::{self, Edge, Rig};
use super::wire::{self, BODY_BYTES_MIN};
use crate::cli::Global;
use crate::errors::usage;

const WITH: &str = "with slow";
const WITHOUT: &str = "without";
/// What all are subscribed to.
const CHANNEL: &str = "all";
/// What only the slow ones are subscribed to, to fill the kernel's buffers.
const FLOOD: &str = "flood";
const FLOOD_BYTES: usize = 48 * 1024;
/// The kernel keeps a few MiB of a connection at most.
const FLOOD_MESSAGES_MAX: u64 = 400;
const FLOOD_PAUSE: Duration = Duration::from_millis(50);
/// The kernel took so little of a flood message that the connections are full.
const FULL_SHARE: f64 = 0.02;
const SLOW_RECEIVE_BYTES: u32 = 4 * 1024;
/// Longer than a measurement: by default a blocked write ends its connection after 10 s, and with it the slowness.
const WRITE_TIMEOUT_MS: u64 = 600_000;
const BYTES_MAX: usize = 4_096;
/// Rest before a measurement: what came before, a flood or the end of the slow clients, is over.
const SETTLE: Duration = Duration::from_millis(500);
/// Broadcasts before the first one that counts.
const WARM_UP: u64 = 2;

/// How to measure slow clients.
#[derive(Args, Clone)]
pub struct SlowArgs {
    /// Subscribers, the slow ones among them
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Subscribers that read nothing
    #[arg(long, default_value_t = 100)]
    pub slow: usize,
    /// Broadcasts of a round, with and without each
    #[arg(long, default_value_t = 50)]
    pub messages: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 200)]
    pub bytes: usize,
    /// Interleaved rounds; the medians are printed
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
}

pub async fn run(global: &Global, arguments: &SlowArgs) -> anyhow::Result<Report> {
    let SlowArgs { connections, slow, messages, bytes, rounds } = *arguments;
    if slow == 0 || slow >= connections || messages == 0 || rounds == 0 {
        return Err(usage("all numbers must be at least 1, and not all clients can be slow"));
    }
    if !(BODY_BYTES_MIN..=BYTES_MAX).contains(&bytes) {
        return Err(usage(format!("bytes goes from {BODY_BYTES_MIN} to {BYTES_MAX}")));
    }
    allow_files(connections)?;
    let rig = Rig::start(global, Durability::Process).await?;
    let mut options = Rig::options(connections);
    options.write_timeout_ms = WRITE_TIMEOUT_MS;
    let edge = rig.edge("edge", 0, options).await?;
    let fast = connections - slow;
    let phase = WARM_UP + messages;
    let total = phase * 2 * rounds as u64;
    let board = Board::new(fast, usize::try_from(total)?);
    let dialect = Dialect::Centrifuge;
    let target = Target { server: edge.address, dialect, bytes, ordered: true };
    let bar = bar("slow", fast + usize::try_from(total)?);
    let channel = rig::channel(CHANNEL)?;
    let hellos: anyhow::Result<Vec<_>> =
        (0..fast).map(|number| rig.hello(number, &channel)).collect();
    let receivers = Receivers::open(&target, hellos?.into_iter(), &board, &bar).await?;

    let bench = Bench { rig: &rig, edge: &edge, board, bytes, bar };
    let mut samples = Samples::default();
    for round in 0..rounds as u64 {
        let first = round * 2 * phase;
        bench.broadcast(WITHOUT, first..first + phase, &mut samples).await?;
        let held = bench.open_slow(fast, slow).await?;
        bench.block(slow).await?;
        bench.broadcast(WITH, first + phase..first + 2 * phase, &mut samples).await?;
        let blocked = blocked_connections(edge.address.port())?;
        samples.add(WITH, "clients that block at the end", blocked as f64);
        drop(held);
    }
    receivers.close().await;

    let mut report = Report::new("slow", vec![WITH, WITHOUT])
        .with("connections", connections)
        .with("slow", slow)
        .with("messages", messages)
        .with("bytes", bytes)
        .with("rounds", rounds);
    report.row(&samples, "receipt p50", "ms");
    report.row(&samples, "receipt p99", "ms");
    report.row(&samples, "last receipt p50", "ms");
    report.row(&samples, "last receipt p99", "ms");
    report.row(&samples, "clients that block at the end", "");
    report.checks = bench.board.checks(total);
    report.notes.push(format!(
        "times are of the clients that read; edge.write_timeout_ms is {WRITE_TIMEOUT_MS}, so that the others \
         block for the whole measurement"
    ));
    Ok(report)
}

struct Bench<'a> {
    rig: &'a Rig,
    edge: &'a Edge,
    board: Arc<Board>,
    bytes: usize,
    bar: ProgressBar,
}

impl Bench<'_> {
    /// One message after the other to all who read.
    async fn broadcast(
        &self,
        column: &'static str,
        numbers: Range<u64>,
        samples: &mut Samples,
    ) -> anyhow::Result<()> {
        let subject = rig::subject(&rig::channel(CHANNEL)?);
        let mut last_ms = Vec::new();
        tokio::time::sleep(SETTLE).await;
        let counts_from = numbers.start + WARM_UP;
        for number in numbers {
            if number == counts_from {
                self.board.take_times();
                last_ms.clear();
            }
            let body = Bytes::from(wire::body(number, self.bytes));
            self.board.sent(number, self.board.now_us());
            let publish = async {
                self.rig.jetstream.publish(subject.clone(), body).await?.await?;
                anyhow::Ok(())
            };
            let ((), times) = tokio::try_join!(publish, self.board.complete(number..number + 1))?;
            last_ms.extend(times.into_iter().map(|us| us / 1e3));
            self.bar.inc(1);
        }
        let times = self.board.take_times();
        samples.add(column, "receipt p50", quantile(times.clone(), 0.5) / 1e3);
        samples.add(column, "receipt p99", quantile(times, 0.99) / 1e3);
        samples.add(column, "last receipt p50", quantile(last_ms.clone(), 0.5));
        samples.add(column, "last receipt p99", quantile(last_ms, 0.99));
        Ok(())
    }

    /// Clients that subscribe and never read again.
    async fn open_slow(&self, first: usize, count: usize) -> anyhow::Result<Vec<Client>> {
        let (all, flood) = (rig::channel(CHANNEL)?, rig::channel(FLOOD)?);
        let mut held = Vec::with_capacity(count);
        for number in first..first + count {
            let hello = self.rig.hello(number, &all)?;
            let small = Some(SLOW_RECEIVE_BYTES);
            let mut client =
                Client::open(self.edge.address, number, Dialect::Centrifuge, &hello, small).await?;
            client.subscribe_all(std::iter::once(flood.as_str().to_owned()), || {}).await?;
            held.push(client);
        }
        Ok(held)
    }

    /// Fills the kernel's buffers of the slow connections until they take no more.
    async fn block(&self, slow: usize) -> anyhow::Result<()> {
        let subject = rig::subject(&rig::channel(FLOOD)?);
        let body = Bytes::from(wire::body(0, FLOOD_BYTES));
        let port = self.edge.address.port();
        let (mut before, mut full) = (queued_bytes(port)?, 0);
        for _ in 0..FLOOD_MESSAGES_MAX {
            self.rig.jetstream.publish(subject.clone(), body.clone()).await?.await?;
            tokio::time::sleep(FLOOD_PAUSE).await;
            let now = queued_bytes(port)?;
            let taken = now.saturating_sub(before) as f64;
            // A message of each that waits says that they have begun to fill; an edge that is late has not.
            let filling = now >= (slow * FLOOD_BYTES) as u64;
            let little = taken < (slow * FLOOD_BYTES) as f64 * FULL_SHARE;
            full = if filling && little { full + 1 } else { 0 };
            before = now;
            if full == 2 {
                return Ok(());
            }
        }
        anyhow::bail!("the slow clients do not block: the kernel still takes what is sent to them")
    }
}
