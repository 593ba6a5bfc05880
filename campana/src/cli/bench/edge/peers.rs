//! `campana bench edge peers`: the edge, nats-server's own WebSocket gateway and Socket.IO with Redis, with the
//! same messages and the same receivers.
//! Reads: `/proc` of the servers. Writes: private servers. Never: installs anything.

use clap::Args;

use super::fanout::{self, FanoutArgs};
use super::report::{EDGE, Report};
use super::sides::{GATEWAY, SOCKET_IO};
use super::socketio;
use crate::cli::Global;

/// How to measure peers.
#[derive(Args, Clone)]
pub struct PeersArgs {
    #[command(flatten)]
    pub fanout: FanoutArgs,
}

pub async fn run(global: &Global, arguments: &PeersArgs) -> anyhow::Result<Report> {
    arguments.fanout.check()?;
    let mut columns = vec![EDGE, GATEWAY];
    let mut notes = vec![
        "the edge's messages are stored in JetStream and can be recovered; those of the others are gone once sent"
            .to_owned(),
    ];
    match socketio::find() {
        Ok(_) => columns.push(SOCKET_IO),
        Err(missing) if arguments.fanout.strict => return Err(missing),
        Err(missing) => notes.push(missing.to_string()),
    }
    let (samples, checks) = fanout::rounds(global, &arguments.fanout, &columns).await?;
    let mut report = fanout::rows("peers", &arguments.fanout, columns, &samples);
    report.checks = checks;
    report.notes = notes;
    Ok(report)
}
