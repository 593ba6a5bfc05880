//! `campana edge trace`.
//! Reads: what edge nodes see of one user or one connection. Writes: nothing. Never: goes on when nobody looks.

use campana_ws_edge::trace::{self, TraceRequest};
use clap::{Args, Subcommand};
use tokio::sync::mpsc;

use super::{Global, client, output};
use crate::errors::usage;

/// Lines that may wait for a slow terminal.
const LINES_WAITING_MAX: usize = 4_096;

/// What to do with running edges.
#[derive(Subcommand)]
pub enum EdgeCommand {
    /// Watch the frames of one user or one connection on all nodes, as JSON lines
    Trace(TraceArgs),
}

/// Whom to watch, and how long.
#[derive(Args)]
pub struct TraceArgs {
    /// All connections of this user
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "client",
        conflicts_with = "client"
    )]
    user: Option<String>,
    /// The connection with this client id
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// The user's tenant
    #[arg(long, default_value = campana_identity::DEFAULT_TENANT)]
    tenant: String,
    /// End after this time
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// End after this many frames
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    frames: u64,
    /// Also show what is said; tokens and other secrets are taken out
    #[arg(long)]
    payloads: bool,
}

pub async fn run(global: &Global, command: EdgeCommand) -> anyhow::Result<()> {
    let EdgeCommand::Trace(arguments) = command;
    let (_, bus) = client::bus(global).await?;
    let request = TraceRequest {
        tenant: arguments.tenant,
        user: arguments.user.unwrap_or_default(),
        client: arguments.client.unwrap_or_default(),
        seconds: arguments.seconds,
        frames: arguments.frames,
        payloads: arguments.payloads,
        by: operator(),
    };
    request.check().map_err(usage)?;
    let (lines, mut taken) = mpsc::channel::<String>(LINES_WAITING_MAX);
    let printing = async {
        loop {
            let line = tokio::select! {
                line = taken.recv() => line,
                _ = tokio::signal::ctrl_c() => None,
            };
            let Some(line) = line else { break };
            output::text(&line)?;
        }
        // Nobody takes lines any more: the nodes are told to stop.
        drop(taken);
        anyhow::Ok(())
    };
    let (traced, printed) = tokio::join!(trace::run(&bus, request, lines), printing);
    traced.map_err(crate::errors::cannot_connect)?;
    printed
}

/// Who types this, for the nodes' logs.
fn operator() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    format!("{} (command line)", name.as_deref().unwrap_or("somebody"))
}
