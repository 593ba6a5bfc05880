//! `campana-chat`: the service, and a measurement of it.
//! Reads: flags, the environment. Writes: logs on standard error, results on standard output. Never: decides anything.

use std::time::Duration;

use campana_bus::lifecycle::Lifecycle;
use campana_bus::stop_on_signal;
use campana_chat::{Options, bench};
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long a stop may take.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// Chat rooms on the bus.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Option<Options>,
}

#[derive(Subcommand)]
enum Command {
    /// Many people in one room: who hears what, and when.
    Bench(bench::BenchOptions),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("CAMPANA_CHAT_LOG");
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    match (arguments.command, arguments.options) {
        (Some(Command::Bench(options)), _) => bench::run(&options).await,
        (None, Some(options)) => serve(options).await,
        (None, None) => Err(anyhow::anyhow!("--edge-secret or CAMPANA_EDGE_SECRET is missing")),
    }
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let lifecycle = Lifecycle::new();
    let running = campana_chat::start(options, &lifecycle).await?;
    tracing::info!(address = %running.address, "chat is listening: http://{}/", running.address);
    tokio::select! {
        () = stop_on_signal() => {}
        () = lifecycle.soft.cancelled() => {}
    }
    lifecycle.stop(STOP_GRACE).await;
    match lifecycle.failure() {
        None => Ok(()),
        Some(why) => Err(anyhow::anyhow!(why)),
    }
}
