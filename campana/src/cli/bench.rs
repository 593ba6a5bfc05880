//! `campana bench`: parts of the platform beside another way to do the same, in one run.
//! Reads: arguments. Writes: nothing. Never: does the work of a bench here, never touches a running platform:
//! every bench starts a nats-server of its own.

mod bus;
mod compression;
mod edge;
mod publish;
mod schedules;

use clap::Subcommand;

use super::Global;

/// What to measure.
#[derive(Subcommand)]
pub enum BenchCommand {
    /// Acknowledged publishes per second: singles, the batching publisher, envelopes
    Publish(publish::PublishArgs),
    /// What the bus library costs beside bare async-nats: consuming, publishing, latency, idling
    Bus(bus::BusArgs),
    /// What differences and deflate save and cost at the edge
    Compression(compression::CompressionArgs),
    /// The edge's speed and size: memory, fan-out, latency, mass reconnects, slow clients, channels, peers
    #[command(subcommand)]
    Edge(edge::EdgeCommand),
    /// What many pending schedules cost: memory, restart, lateness
    Schedules(schedules::SchedulesArgs),
}

pub async fn run(global: &Global, command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Publish(arguments) => publish::run(global, arguments).await,
        BenchCommand::Bus(arguments) => bus::run(global, arguments).await,
        BenchCommand::Compression(arguments) => compression::run(global, arguments).await,
        BenchCommand::Edge(command) => edge::run(global, command).await,
        BenchCommand::Schedules(arguments) => schedules::run(global, arguments).await,
    }
}
