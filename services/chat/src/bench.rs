//! `campana-chat bench`: many people in one room, who hears what and when.
//! Reads: a running chat and its edge, as any client. Writes: an account, a room and its messages; results on standard
//! output. Never: counts a message as heard that came twice, out of order, or not at all.
//!
//! The listeners connect with tokens that this program signs, because a thousand sign-ins would measure Argon2. All
//! else is the real way: the message is posted over HTTP, committed, told by the outbox, and heard over WebSockets.

mod listener;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use campana_bus::clock;
use hdrhistogram::Histogram;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use listener::Heard;
use sender::Sender;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchOptions {
    /// Listeners in the room.
    #[arg(long, default_value_t = 1_000)]
    pub people: usize,
    /// Messages, one after the other.
    #[arg(long, default_value_t = 50)]
    pub messages: usize,
    /// Milliseconds from one message to the next.
    #[arg(long, default_value_t = 200)]
    pub every_ms: u64,
    /// Where the chat is; its --messages-per-second must allow the pace.
    #[arg(long, env = "CAMPANA_CHAT_URL", default_value = "http://127.0.0.1:8082")]
    pub url: String,
    /// The edge's WebSocket address.
    #[arg(
        long,
        env = "CAMPANA_EDGE_URL",
        default_value = "ws://127.0.0.1:8000/connection/websocket"
    )]
    pub edge_url: String,
    /// The secret that the edge verifies tokens with.
    #[arg(long, env = "CAMPANA_EDGE_SECRET", hide_env_values = true)]
    pub edge_secret: String,
    /// Seconds without any message after which what is missing counts as lost.
    #[arg(long, default_value_t = 20)]
    pub patience_seconds: u64,
}

/// Connections that are opened at the same time.
const OPENING_MAX: usize = 64;

/// Runs it and prints the figures.
///
/// # Errors
/// If the chat or the edge does not answer, or a message was lost, doubled or out of order.
pub async fn run(options: &BenchOptions) -> anyhow::Result<()> {
    let sender = Sender::enter(options).await.context("the chat")?;
    let started = Arc::new(Barrier::new(options.people + 1));
    let opening = Arc::new(tokio::sync::Semaphore::new(OPENING_MAX));
    let ready = Arc::new(AtomicUsize::new(0));
    let mut listeners = JoinSet::new();
    for number in 0..options.people {
        let (options, room) = (options.clone(), sender.room.clone());
        let (started, opening) = (Arc::clone(&started), Arc::clone(&opening));
        let ready = Arc::clone(&ready);
        listeners.spawn(async move {
            let place = opening.acquire().await?;
            let listener = listener::connect(&options, number, &room).await;
            drop(place);
            ready.fetch_add(usize::from(listener.is_ok()), Ordering::Relaxed);
            started.wait().await;
            listener?.listen(options.messages, options.patience_seconds).await
        });
    }
    started.wait().await;
    let there = ready.load(Ordering::Relaxed);
    ensure!(there == options.people, "{there} of {} listeners connected", options.people);
    tracing::info!(people = there, room = sender.room, "everybody is in the room");
    let began = clock::monotonic();
    let sent = sender.send(options).await?;
    let mut heard = Vec::with_capacity(options.people);
    while let Some(one) = listeners.join_next().await {
        heard.push(one??);
    }
    report(options, &sent, &heard, began.elapsed())
}

/// Nanoseconds of the monotonic clock at which each message's request began.
type Sent = Vec<u64>;

#[expect(clippy::print_stdout, reason = "results of a command")]
fn report(
    options: &BenchOptions,
    sent: &Sent,
    heard: &[Heard],
    took: Duration,
) -> anyhow::Result<()> {
    let mut histogram = Histogram::<u64>::new(3)?;
    let (mut once, mut wrong) = (0_usize, 0_usize);
    for one in heard {
        wrong += one.wrong;
        for (message, at) in &one.at {
            let Some(began) = sent.get(*message) else { continue };
            once += 1;
            histogram.record(at.saturating_sub(*began) / 1_000)?;
        }
    }
    let wanted = options.people * options.messages;
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "people {}, messages {}, every {} ms",
        options.people, options.messages, options.every_ms
    );
    println!("heard exactly once and in order: {once} of {wanted}; twice or out of order: {wrong}");
    println!(
        "ms from the request's beginning to the listener: p50 {:.1}, p90 {:.1}, p99 {:.1}, max {:.1}",
        ms(0.5),
        ms(0.9),
        ms(0.99),
        histogram.max() as f64 / 1_000.0
    );
    println!(
        "{:.0} deliveries a second over {:.1} s",
        once as f64 / took.as_secs_f64(),
        took.as_secs_f64()
    );
    ensure!(once == wanted && wrong == 0, "not every message was heard exactly once and in order");
    Ok(())
}
