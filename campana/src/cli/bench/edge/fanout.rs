//! `campana bench edge fanout`: one message to all subscribers of one server, alone and in bursts.
//! Reads: `/proc` of the servers. Writes: a private platform. Never: takes a figure of a round that lost a
//! message.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use campana_bus::Durability;
use clap::Args;
use indicatif::ProgressBar;

use super::board::{Board, Checks};
use super::proc::{allow_files, cpu_us, rss_kib, still_kib};
use super::receivers::{Receivers, Target};
use super::report::{EDGE, Report, Samples, bar, quantile};
use super::sides::{GATEWAY, Side};
use super::wire::BODY_BYTES_MIN;
use crate::cli::Global;
use crate::errors::usage;

/// The channel of the subscribers.
const CHANNEL: &str = "all";
/// Messages before the first one that counts.
const WARM_UP: u64 = 2;
/// Rest after the last receipt, so that what follows a write is counted too.
const SETTLE: Duration = Duration::from_millis(100);
/// Largest message: one frame of every protocol here.
pub const BYTES_MAX: usize = 60_000;

pub const MEMORY: &str = "memory per connection";
pub const CPU_SINGLE: &str = "CPU per delivery, single messages";
pub const CPU_BURST: &str = "CPU per delivery, bursts";
pub const CPU_ALL_SINGLE: &str = "CPU with broker, single messages";
pub const CPU_ALL_BURST: &str = "CPU with broker, bursts";
pub const RECEIPT_P50: &str = "receipt p50";
pub const RECEIPT_P99: &str = "receipt p99";
pub const LAST_P50: &str = "last receipt p50";
pub const LAST_P99: &str = "last receipt p99";
pub const BURST_P50: &str = "last receipt of a burst p50";
pub const BURST_P99: &str = "last receipt of a burst p99";

/// How to measure fan-out.
#[derive(Args, Clone)]
pub struct FanoutArgs {
    /// Subscribers of the one channel
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Single messages of a round; the first ones also pay for memory that was never touched
    #[arg(long, default_value_t = 100)]
    pub messages: u64,
    /// Bursts of a round
    #[arg(long, default_value_t = 10)]
    pub bursts: u64,
    /// Messages of a burst
    #[arg(long, default_value_t = 16)]
    pub burst: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 200)]
    pub bytes: usize,
    /// Interleaved rounds, each with fresh servers; the medians are printed
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// `power` (the server syncs every write) or `process`
    #[arg(long, default_value = "process")]
    pub durability: Durability,
    /// Exit with 10 if a target is missed
    #[arg(long)]
    pub strict: bool,
}

impl FanoutArgs {
    /// What the types cannot say.
    pub fn check(&self) -> anyhow::Result<()> {
        let positive = self.connections > 0 && self.rounds > 0 && self.burst > 0;
        if !positive || self.messages == 0 || self.bursts == 0 {
            return Err(usage("all numbers must be at least 1"));
        }
        if !(BODY_BYTES_MIN..=BYTES_MAX).contains(&self.bytes) {
            return Err(usage(format!("bytes goes from {BODY_BYTES_MIN} to {BYTES_MAX}")));
        }
        allow_files(self.connections)
    }
}

pub async fn run(global: &Global, arguments: &FanoutArgs) -> anyhow::Result<Report> {
    arguments.check()?;
    let (samples, checks) = rounds(global, arguments, &[EDGE, GATEWAY]).await?;
    let mut report = rows("fanout", arguments, vec![EDGE, GATEWAY], &samples);
    report.checks = checks;
    Ok(report)
}

/// Measures each side once a round, one after the other.
pub async fn rounds(
    global: &Global,
    arguments: &FanoutArgs,
    sides: &[&'static str],
) -> anyhow::Result<(Samples, Checks)> {
    let (mut samples, mut checks) = (Samples::default(), Checks::default());
    for _ in 0..arguments.rounds {
        for name in sides {
            let side =
                Side::start(global, name, arguments.connections, arguments.durability).await?;
            checks.add(&measure(name, &side, arguments, &mut samples).await?);
        }
    }
    Ok((samples, checks))
}

/// The figures of a run, with the targets that they answer to.
pub fn rows(
    bench: &'static str,
    arguments: &FanoutArgs,
    columns: Vec<&'static str>,
    samples: &Samples,
) -> Report {
    let mut report = Report::new(bench, columns)
        .with("connections", arguments.connections)
        .with("bytes", arguments.bytes)
        .with("burst", arguments.burst)
        .with("single_messages", arguments.messages)
        .with("bursts", arguments.bursts)
        .with("rounds", arguments.rounds)
        .with("durability", arguments.durability.as_str());
    report.row(samples, CPU_SINGLE, "µs").at_most(10.0);
    report.row(samples, CPU_BURST, "µs").at_most(1.5);
    report.row(samples, CPU_ALL_SINGLE, "µs");
    report.row(samples, CPU_ALL_BURST, "µs");
    report.row(samples, RECEIPT_P50, "ms");
    report.row(samples, RECEIPT_P99, "ms");
    report.row(samples, LAST_P50, "ms");
    report.row(samples, LAST_P99, "ms").at_most(150.0);
    report.row(samples, BURST_P50, "ms");
    report.row(samples, BURST_P99, "ms");
    report.row(samples, MEMORY, "KiB");
    report
}

async fn measure(
    name: &'static str,
    side: &Side,
    arguments: &FanoutArgs,
    samples: &mut Samples,
) -> anyhow::Result<Checks> {
    let FanoutArgs { connections, messages, bursts, burst, bytes, .. } = *arguments;
    let total = WARM_UP + messages + bursts * burst;
    let board = Board::new(connections, usize::try_from(total)?);
    let target = Target { server: side.address(), dialect: side.dialect(), bytes, ordered: true };
    let hellos: anyhow::Result<Vec<_>> =
        (0..connections).map(|number| side.hello(number, CHANNEL)).collect();
    let before = rss_kib(side.pid())?;
    let steps = connections + usize::try_from(messages + bursts)?;
    let bar = bar(name, steps);
    let receivers = Receivers::open(&target, hellos?.into_iter(), &board, &bar).await?;
    samples.add(name, MEMORY, (still_kib(side.pid()).await? - before) / connections as f64);

    let run = Run { side, board, bytes, connections, bar };
    run.send(0..WARM_UP).await?;
    run.board.take_times();
    let singles = (WARM_UP..WARM_UP + messages).map(|number| number..number + 1);
    let single = run.phase(singles).await?;
    samples.add(name, CPU_SINGLE, single.cpu_us);
    samples.add(name, CPU_ALL_SINGLE, single.cpu_all_us);
    let times = run.board.take_times();
    samples.add(name, RECEIPT_P50, quantile(times.clone(), 0.5) / 1e3);
    samples.add(name, RECEIPT_P99, quantile(times, 0.99) / 1e3);
    samples.add(name, LAST_P50, quantile(single.last_ms.clone(), 0.5));
    samples.add(name, LAST_P99, quantile(single.last_ms, 0.99));

    let first = WARM_UP + messages;
    let bursts = (0..bursts).map(|index| first + index * burst..first + (index + 1) * burst);
    let many = run.phase(bursts).await?;
    samples.add(name, CPU_BURST, many.cpu_us);
    samples.add(name, CPU_ALL_BURST, many.cpu_all_us);
    samples.add(name, BURST_P50, quantile(many.last_ms.clone(), 0.5));
    samples.add(name, BURST_P99, quantile(many.last_ms, 0.99));
    receivers.close().await;
    Ok(run.board.checks(total))
}

struct Run<'a> {
    side: &'a Side,
    board: Arc<Board>,
    bytes: usize,
    connections: usize,
    bar: ProgressBar,
}

struct Phase {
    cpu_us: f64,
    cpu_all_us: f64,
    last_ms: Vec<f64>,
}

impl Run<'_> {
    /// Publishes these at once; the time until everybody has the last of them, in ms.
    async fn send(&self, numbers: Range<u64>) -> anyhow::Result<f64> {
        let at_us = self.board.now_us();
        numbers.clone().for_each(|number| self.board.sent(number, at_us));
        let publish = self.side.publish(CHANNEL, numbers.clone(), self.bytes);
        let ((), times) = tokio::try_join!(publish, self.board.complete(numbers))?;
        Ok(quantile(times, 1.0) / 1e3)
    }

    /// One after the other, with the CPU time that all of them took.
    async fn phase(&self, groups: impl Iterator<Item = Range<u64>>) -> anyhow::Result<Phase> {
        let broker = || self.side.broker_pid().map_or(Ok(0.0), cpu_us);
        let (server_before, broker_before) = (cpu_us(self.side.pid())?, broker()?);
        let (mut deliveries, mut last_ms) = (0.0, Vec::new());
        for numbers in groups {
            deliveries += (numbers.end - numbers.start) as f64 * self.connections as f64;
            last_ms.push(self.send(numbers).await?);
            self.bar.inc(1);
        }
        tokio::time::sleep(SETTLE).await;
        let server = cpu_us(self.side.pid())? - server_before;
        let all = server + broker()? - broker_before;
        Ok(Phase { cpu_us: server / deliveries, cpu_all_us: all / deliveries, last_ms })
    }
}
