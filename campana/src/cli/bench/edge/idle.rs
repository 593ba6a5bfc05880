//! `campana bench edge idle`: what a connection costs that is subscribed to one channel and waits.
//! Reads: `/proc` of the servers. Writes: a private platform. Never: counts this process's own memory.

use campana_bus::Durability;
use clap::Args;

use super::board::{Board, Checks};
use super::proc::{allow_files, cpu_us, still_kib};
use super::receivers::{Receivers, Target};
use super::report::{EDGE, Report, Samples, bar};
use super::sides::{GATEWAY, Side};
use super::wire::BODY_BYTES_MIN;
use crate::cli::Global;
use crate::errors::usage;

const MEMORY: &str = "memory per connection";
const AFTER: &str = "memory per connection, after idling";
const BEFORE: &str = "memory before";
const WITH: &str = "memory with all";
const CPU: &str = "CPU while idle";

/// How to measure idle connections.
#[derive(Args, Clone)]
pub struct IdleArgs {
    /// Connections, each subscribed to a channel of its own
    #[arg(long, default_value_t = 20_000)]
    pub connections: usize,
    /// Seconds in which the connections idle; by default long enough that each is pinged
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    /// Interleaved rounds, each with fresh servers; the medians are printed
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Exit with 10 if a target is missed
    #[arg(long)]
    pub strict: bool,
}

pub async fn run(global: &Global, arguments: &IdleArgs) -> anyhow::Result<Report> {
    let IdleArgs { connections, seconds, rounds, .. } = *arguments;
    if connections == 0 || rounds == 0 {
        return Err(usage("connections and rounds must be at least 1"));
    }
    allow_files(connections)?;
    let columns = vec![EDGE, GATEWAY];
    let (mut samples, mut checks) = (Samples::default(), Checks::default());
    for _ in 0..rounds {
        for name in &columns {
            let side = Side::start(global, name, connections, Durability::Process).await?;
            checks.add(&measure(name, &side, arguments, &mut samples).await?);
        }
    }
    let mut report = Report::new("idle", columns)
        .with("connections", connections)
        .with("seconds", seconds)
        .with("rounds", rounds);
    report.row(&samples, MEMORY, "KiB").at_most(8.0);
    report.row(&samples, AFTER, "KiB").at_most(8.0);
    report.row(&samples, BEFORE, "MiB");
    report.row(&samples, WITH, "MiB");
    report.row(&samples, CPU, "% of a core");
    report.checks = checks;
    Ok(report)
}

async fn measure(
    name: &'static str,
    side: &Side,
    arguments: &IdleArgs,
    samples: &mut Samples,
) -> anyhow::Result<Checks> {
    let connections = arguments.connections;
    // Nothing is sent here: the board knows only of lost connections.
    let board = Board::new(connections, 0);
    let bytes = BODY_BYTES_MIN;
    let target = Target { server: side.address(), dialect: side.dialect(), bytes, ordered: true };
    let hellos: anyhow::Result<Vec<_>> =
        (0..connections).map(|index| side.hello(index, &format!("own{index}"))).collect();
    let before = still_kib(side.pid()).await?;
    let bar = bar(name, connections);
    let receivers = Receivers::open(&target, hellos?.into_iter(), &board, &bar).await?;
    let with = still_kib(side.pid()).await?;
    let cpu = cpu_us(side.pid())?;
    tokio::time::sleep(std::time::Duration::from_secs(arguments.seconds)).await;
    let used = cpu_us(side.pid())? - cpu;
    samples.add(name, MEMORY, (with - before) / connections as f64);
    let after = still_kib(side.pid()).await?;
    samples.add(name, AFTER, (after - before) / connections as f64);
    samples.add(name, BEFORE, before / 1024.0);
    samples.add(name, WITH, with / 1024.0);
    samples.add(name, CPU, used / (arguments.seconds.max(1) as f64 * 1e4));
    receivers.close().await;
    Ok(board.checks(0))
}
