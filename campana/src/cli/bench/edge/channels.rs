//! `campana bench edge channels`: many channels over several edges, each edge asking NATS only for its own
//! channels, beside asking for the whole namespace.
//! Reads: `/proc` of the servers. Writes: a private platform. Never: opens a connection per channel: what a
//! connection costs is measured elsewhere.

use bytes::Bytes;
use campana_bus::{Durability, clock};
use campana_ws_edge::Interest;
use clap::Args;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::board::{Board, Checks};
use super::client::Client;
use super::dialect::Dialect;
use super::proc::{allow_files, rss_kib, still_kib};
use super::receivers::{Receivers, Target};
use super::report::{Report, Samples, bar};
use super::rig::{self, Edge, Rig};
use super::wire::{self, BODY_BYTES_MIN};
use crate::cli::Global;
use crate::errors::usage;

const BY_CHANNEL: &str = "by channel";
const BY_NAMESPACE: &str = "by namespace";
/// Publishes that wait for their acknowledgement.
const IN_FLIGHT: usize = 512;
/// Spreads messages over the channels; prime, so that every channel gets its turn.
const STRIDE: u64 = 7_919;
const BYTES_MAX: usize = 60_000;
/// No limit: how fast one client may be is not measured here.
const COMMANDS: u32 = 10_000_000;

/// How to measure many channels.
#[derive(Args, Clone)]
pub struct ChannelsArgs {
    /// Channels, each with one subscriber
    #[arg(long, default_value_t = 100_000)]
    pub channels: usize,
    /// Edges
    #[arg(long, default_value_t = 3)]
    pub edges: usize,
    /// Connections over which the channels are spread
    #[arg(long, default_value_t = 30)]
    pub connections: usize,
    /// Messages published to channels, each to another one
    #[arg(long, default_value_t = 50_000)]
    pub messages: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 200)]
    pub bytes: usize,
    /// Interleaved rounds, each with fresh servers; the medians are printed
    #[arg(long, default_value_t = 1)]
    pub rounds: usize,
}

pub async fn run(global: &Global, arguments: &ChannelsArgs) -> anyhow::Result<Report> {
    let ChannelsArgs { channels, edges, connections, messages, bytes, rounds } = *arguments;
    let positive = edges > 0 && messages > 0 && rounds > 0;
    if !positive || connections < edges || channels < connections {
        return Err(usage(
            "all numbers must be at least 1, with a connection for each edge and a channel for each connection",
        ));
    }
    if !(BODY_BYTES_MIN..=BYTES_MAX).contains(&bytes) {
        return Err(usage(format!("bytes goes from {BODY_BYTES_MIN} to {BYTES_MAX}")));
    }
    allow_files(connections)?;
    let (mut samples, mut checks) = (Samples::default(), Checks::default());
    for _ in 0..rounds {
        for (column, interest) in
            [(BY_CHANNEL, Interest::Channel), (BY_NAMESPACE, Interest::Namespace)]
        {
            checks.add(&measure(global, column, interest, arguments, &mut samples).await?);
        }
    }
    let mut report = Report::new("channels", vec![BY_CHANNEL, BY_NAMESPACE])
        .with("channels", channels)
        .with("edges", edges)
        .with("connections", connections)
        .with("messages", messages)
        .with("bytes", bytes)
        .with("rounds", rounds);
    for (what, unit) in FIGURES {
        report.row(&samples, what, unit);
    }
    report.checks = checks;
    Ok(report)
}

const FIGURES: [(&str, &str); 10] = [
    ("nats-server before", "MiB"),
    ("nats-server subscribed", "MiB"),
    ("nats-server after publishing", "MiB"),
    ("one edge before", "MiB"),
    ("one edge subscribed", "MiB"),
    ("one edge after publishing", "MiB"),
    ("edge memory per channel", "KiB"),
    ("subscribes", "/s"),
    ("publishes acknowledged", "/s"),
    ("publishes received", "/s"),
];

async fn measure(
    global: &Global,
    column: &'static str,
    interest: Interest,
    arguments: &ChannelsArgs,
    samples: &mut Samples,
) -> anyhow::Result<Checks> {
    let ChannelsArgs { channels, connections, messages, bytes, .. } = *arguments;
    let rig = Rig::start(global, Durability::Process).await?;
    let edges = start_edges(&rig, interest, arguments).await?;
    let nats = rig.nats.pid();
    let before = average(&edges).await?;
    samples.add(column, "one edge before", before / 1024.0);
    samples.add(column, "nats-server before", still_kib(nats).await? / 1024.0);

    let bar = bar(column, channels + usize::try_from(messages)?);
    let started = clock::monotonic();
    let clients = (0..connections).map(|number| {
        let (edge, bar, rig) = (edges[number % edges.len()].address, bar.clone(), &rig);
        async move {
            // Connection n has the channels n, n + connections, n + 2 connections …
            let mut own = (number..channels).step_by(connections);
            let hello = rig.hello(number, &name(own.next().unwrap_or(number))?)?;
            let mut client = Client::open(edge, number, Dialect::Centrifuge, &hello, None).await?;
            bar.inc(1);
            let rest = own.map(|index| Ok(name(index)?.as_str().to_owned()));
            let rest = rest.collect::<anyhow::Result<Vec<_>>>()?;
            client.subscribe_all(rest.into_iter(), || bar.inc(1)).await?;
            anyhow::Ok(client)
        }
    });
    let clients = try_join_all(clients).await?;
    samples.add(column, "subscribes", channels as f64 / started.elapsed().as_secs_f64());
    let subscribed = average(&edges).await?;
    samples.add(column, "one edge subscribed", subscribed / 1024.0);
    let per_edge = channels as f64 / edges.len() as f64;
    samples.add(column, "edge memory per channel", (subscribed - before) / per_edge);
    samples.add(column, "nats-server subscribed", still_kib(nats).await? / 1024.0);

    // A message has one receiver; numbers are in order in a channel, not in a connection.
    let board = Board::new(1, usize::try_from(messages)?);
    let dialect = Dialect::Centrifuge;
    let target = Target { server: edges[0].address, dialect, bytes, ordered: false };
    let mut receivers = Receivers::default();
    for (number, client) in clients.into_iter().enumerate() {
        receivers.add(&target, number, client, &board);
    }
    let (acknowledged, received) = publish(&rig, &board, arguments, &bar).await?;
    samples.add(column, "publishes acknowledged", acknowledged);
    samples.add(column, "publishes received", received);
    samples.add(column, "one edge after publishing", average(&edges).await? / 1024.0);
    samples.add(column, "nats-server after publishing", rss_kib(nats)? / 1024.0);
    receivers.close().await;
    Ok(board.checks(messages))
}

fn name(index: usize) -> anyhow::Result<campana_bus::subjects::ChannelName> {
    rig::channel(format!("n{index}"))
}

async fn start_edges(
    rig: &Rig,
    interest: Interest,
    arguments: &ChannelsArgs,
) -> anyhow::Result<Vec<Edge>> {
    let mut options = Rig::options(arguments.connections);
    options.interest = interest;
    options.channels_per_client_max = arguments.channels.div_ceil(arguments.connections) + 1;
    options.commands_per_second = COMMANDS;
    options.commands_burst = COMMANDS;
    options.limits.subscribes_per_second = 0;
    options.limits.user_commands_per_second = 0;
    options.operations_max = options.operations_max.max(Client::SUBSCRIBES_AT_ONCE * 2);
    let mut edges = Vec::new();
    for index in 0..arguments.edges {
        edges.push(rig.edge(&format!("edge{index}"), 0, options.clone()).await?);
    }
    Ok(edges)
}

/// Resident memory of one edge, in KiB.
async fn average(edges: &[Edge]) -> anyhow::Result<f64> {
    let each = try_join_all(edges.iter().map(|edge| still_kib(edge.process.pid()))).await?;
    Ok(each.iter().sum::<f64>() / edges.len() as f64)
}

/// Acknowledged and received messages per second.
async fn publish(
    rig: &Rig,
    board: &Board,
    arguments: &ChannelsArgs,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<(f64, f64)> {
    let ChannelsArgs { channels, messages, bytes, .. } = *arguments;
    let started = clock::monotonic();
    let started_us = board.now_us();
    let mut waiting = FuturesUnordered::new();
    for number in 0..messages {
        board.sent(number, board.now_us());
        let index = usize::try_from(number * STRIDE % channels as u64)?;
        let body = Bytes::from(wire::body(number, bytes));
        let sent = rig.jetstream.publish(rig::subject(&name(index)?), body).await?;
        waiting.push(std::future::IntoFuture::into_future(sent).boxed());
        if waiting.len() >= IN_FLIGHT {
            waiting.next().await.transpose()?;
        }
        bar.inc(1);
    }
    while let Some(acknowledged) = waiting.next().await {
        acknowledged?;
    }
    let acknowledged = messages as f64 / started.elapsed().as_secs_f64();
    board.complete(0..messages).await?;
    let took = board.last_us().saturating_sub(started_us).max(1) as f64 / 1e6;
    Ok((acknowledged, messages as f64 / took))
}
