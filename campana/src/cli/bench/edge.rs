//! `campana bench edge`: the speed and size of the edge, each beside something else in the same run.
//! Reads: nothing of a running platform. Writes: private servers, removed afterwards. Never: measures the edge
//! inside this process: edges are processes of their own, of this very binary.

mod board;
mod channels;
mod client;
mod dialect;
mod fanout;
mod gateway;
mod idle;
mod latency;
mod peers;
pub(super) mod proc;
mod process;
mod receivers;
mod reconnect;
mod report;
mod rig;
mod sides;
mod slow;
mod socketio;
mod wire;

use clap::{Args, Parser, Subcommand};

use super::Global;

/// What to measure.
#[derive(Subcommand, Clone)]
pub enum EdgeCommand {
    /// Memory of an idle connection, beside nats-server's WebSocket gateway
    Idle(idle::IdleArgs),
    /// One message to all subscribers: CPU and time, beside nats-server's WebSocket gateway
    Fanout(fanout::FanoutArgs),
    /// From publish to receipt, beside a bare JetStream publish with a core subscription
    Latency(latency::LatencyArgs),
    /// All clients come back at once after a kill and recover, beside coming for the first time
    Reconnect(reconnect::ReconnectArgs),
    /// A broadcast while some clients read nothing, beside the same without them
    Slow(slow::SlowArgs),
    /// Many channels over several edges, interest by channel beside interest by namespace
    Channels(channels::ChannelsArgs),
    /// Fan-out beside nats-server's WebSocket gateway and Socket.IO with Redis
    Peers(peers::PeersArgs),
    /// All of these with their defaults, one after the other
    All(AllArgs),
}

/// How to measure everything.
#[derive(Args, Clone)]
pub struct AllArgs {
    /// Exit with 10 if a target is missed
    #[arg(long)]
    strict: bool,
}

/// Defaults are what the command line would give.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: EdgeCommand,
}

pub async fn run(global: &Global, command: EdgeCommand) -> anyhow::Result<()> {
    let (commands, strict) = match command {
        EdgeCommand::All(AllArgs { strict }) => (everything()?, strict),
        one => {
            let strict = strict(&one);
            (vec![one], strict)
        }
    };
    let all = async {
        let mut reports = Vec::new();
        for command in commands {
            reports.push(Box::pin(measure(global, command)).await?);
        }
        anyhow::Ok(reports)
    };
    // What is dropped on the way out ends its servers and removes its folders.
    let reports = tokio::select! {
        reports = all => reports?,
        () = stopped() => anyhow::bail!("stopped: nothing was measured to its end"),
    };
    report::finish(global, &reports, strict)
}

/// A signal that asks this program to end.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

fn everything() -> anyhow::Result<Vec<EdgeCommand>> {
    ["idle", "peers", "latency", "reconnect", "slow", "channels"]
        .into_iter()
        .map(|name| Ok(Line::try_parse_from(["edge", name])?.command))
        .collect()
}

fn strict(command: &EdgeCommand) -> bool {
    match command {
        EdgeCommand::Idle(arguments) => arguments.strict,
        EdgeCommand::Fanout(arguments) => arguments.strict,
        EdgeCommand::Latency(arguments) => arguments.strict,
        EdgeCommand::Reconnect(arguments) => arguments.strict,
        EdgeCommand::Peers(arguments) => arguments.fanout.strict,
        EdgeCommand::Slow(_) | EdgeCommand::Channels(_) => false,
        EdgeCommand::All(arguments) => arguments.strict,
    }
}

async fn measure(global: &Global, command: EdgeCommand) -> anyhow::Result<report::Report> {
    match command {
        EdgeCommand::Idle(arguments) => idle::run(global, &arguments).await,
        EdgeCommand::Fanout(arguments) => fanout::run(global, &arguments).await,
        EdgeCommand::Latency(arguments) => latency::run(global, &arguments).await,
        EdgeCommand::Reconnect(arguments) => reconnect::run(global, &arguments).await,
        EdgeCommand::Slow(arguments) => slow::run(global, &arguments).await,
        EdgeCommand::Channels(arguments) => channels::run(global, &arguments).await,
        EdgeCommand::Peers(arguments) => peers::run(global, &arguments).await,
        EdgeCommand::All(_) => anyhow::bail!("all is not one measurement"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_a_list_of_commands_with_defaults() {
        let all = everything().unwrap();
        assert!(matches!(&all[..], [EdgeCommand::Idle(idle), .., EdgeCommand::Channels(channels)]
            if idle.connections == 20_000 && channels.channels == 100_000));
        assert!(all.iter().all(|command| !strict(command)));
    }
}
