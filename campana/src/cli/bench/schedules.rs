//! `campana bench schedules`: many pending schedules on one nats-server: memory, restart, and how late they fire.
//! Reads: the server's resident memory from /proc. Writes: scratch streams on a private nats-server, removed
//! afterwards. Never: touches a running platform.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::publish::Outgoing;
use campana_bus::replay::From;
use campana_bus::schedule::{self, When};
use campana_bus::testing::NatsServer;
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, Durability, subjects};
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::edge::proc::rss_kib;
use crate::cli::{Global, output};

/// Schedules on their way at the same time.
const AT_ONCE: usize = 512;
/// Schedules that are stored first, to learn how fast it goes.
const PROBE: usize = 1_000;
/// What is added to the estimated time before the first schedule is due.
const SPARE: Duration = Duration::from_secs(10);
/// How long to wait for the next one to fire.
const PATIENCE: Duration = Duration::from_secs(300);

/// How to measure schedules.
#[derive(Args)]
pub struct SchedulesArgs {
    /// Schedules that wait
    #[arg(long, default_value_t = 50_000)]
    count: usize,
    /// Bytes of a message
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// Seconds over which they are due
    #[arg(long, default_value_t = 10)]
    spread: u32,
    /// `power` (the server syncs every write) or `process`
    #[arg(long, default_value = "power")]
    durability: Durability,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    schedules: usize,
    bytes: usize,
    durability: &'static str,
    store_per_second: f64,
    rss_idle_mib: f64,
    rss_pending_mib: f64,
    rss_restarted_mib: f64,
    rss_bytes_per_schedule: f64,
    restart_seconds: f64,
    replace_per_second: f64,
    fired: usize,
    fired_twice: usize,
    lateness_p50_ms: f64,
    lateness_p99_ms: f64,
    lateness_max_ms: f64,
}

pub async fn run(global: &Global, arguments: SchedulesArgs) -> anyhow::Result<()> {
    let SchedulesArgs { count, bytes, spread, durability } = arguments;
    anyhow::ensure!(
        (1..=1_000_000).contains(&count) && bytes <= 100_000 && (1..=3_600).contains(&spread),
        "count goes from 1 to 1,000,000, bytes to 100,000, spread from 1 to 3,600"
    );
    let server = NatsServer::start_with(durability).map_err(anyhow::Error::msg)?;
    let bus = server.bus_with_topology("bench").await.map_err(anyhow::Error::msg)?;
    let body = Bytes::from(vec![b'x'; bytes]);
    let mut report = Report { schedules: count, bytes, ..Report::default() };
    report.durability = durability.as_str();
    report.rss_idle_mib = rss_kib(server.pid())? / 1024.0;

    // A few first: how fast this machine stores and replaces says when the rest may be due.
    let probe = count.min(PROBE);
    let far = clock::now().plus_seconds(86_400);
    let took = store(&bus, probe, &body, |_| far).await?;
    report.replace_per_second =
        probe as f64 / store(&bus, probe, &body, |_| far).await?.as_secs_f64();
    bus.jetstream().get_stream(EVENTS).await?.purge().await?;

    let lead = took.mul_f64(count as f64 / probe as f64 * 2.0) + SPARE;
    let first_due = Micros(clock::now().0 + micros(lead));
    let step = f64::from(spread) * 1e6 / count as f64;
    let due = |n: usize| Micros(first_due.0 + (n as f64 * step) as i64);
    let took = store(&bus, count, &body, due).await?;
    report.store_per_second = count as f64 / took.as_secs_f64();
    report.rss_pending_mib = rss_kib(server.pid())? / 1024.0;
    let (server, ready) = restart(server).await?;
    report.restart_seconds = ready.as_secs_f64();
    report.rss_restarted_mib = rss_kib(server.pid())? / 1024.0;
    report.rss_bytes_per_schedule =
        (report.rss_restarted_mib - report.rss_idle_mib) * 1_048_576.0 / count as f64;
    let waiting = schedule::count(&bus, EVENTS).await?;
    anyhow::ensure!(clock::now() < first_due, "the machine was too slow: take fewer schedules");
    anyhow::ensure!(waiting == count as u64, "{waiting} of {count} schedules survived the kill");
    fired(&bus, &mut report).await?;
    drop(server);
    print(global, &report)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Sets all schedules, or replaces them; returns how long it took.
async fn store(
    bus: &Bus,
    count: usize,
    body: &Bytes,
    due: impl Fn(usize) -> Micros,
) -> anyhow::Result<Duration> {
    let started = clock::monotonic();
    futures::stream::iter(0..count)
        .map(|n| {
            let when = When::At(due(n));
            async move {
                let subject = subjects::app_event("default", "bench", "fired");
                let message = Outgoing::new(subject, format!("bench-{n}"), body.clone());
                bus.schedule(EVENTS, &format!("bench-{n}"), &when, message).await
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(started.elapsed())
}

/// `kill -9`, then the time until the server lets clients in again.
async fn restart(mut server: NatsServer) -> anyhow::Result<(NatsServer, Duration)> {
    tokio::task::spawn_blocking(move || {
        server.kill();
        let started = clock::monotonic();
        server.restart().map_err(anyhow::Error::msg)?;
        Ok((server, started.elapsed()))
    })
    .await
    .context("the restart panicked")?
}

/// Reads what fired until everything has.
async fn fired(bus: &Bus, report: &mut Report) -> anyhow::Result<()> {
    let mut seen = std::collections::HashSet::new();
    let mut late = Vec::with_capacity(report.schedules);
    let mut messages = bus.replay(EVENTS, "app.>", From::Start).follow();
    while seen.len() < report.schedules {
        let message = tokio::time::timeout(PATIENCE, messages.try_next())
            .await
            .context("the server stopped firing")??
            .context("the replay ended")?;
        let key = schedule::key(&message.headers).context("a message that no schedule fired")?;
        if !seen.insert(key) {
            report.fired_twice += 1;
        }
        let due = schedule::due_at(&message.headers, message.time).context("no due time")?;
        late.push(message.time.since(due) as f64 / 1e3);
    }
    report.fired = seen.len();
    late.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let index = ((late.len() as f64 * part) as usize).min(late.len().saturating_sub(1));
        late.get(index).copied().unwrap_or_default()
    };
    (report.lateness_p50_ms, report.lateness_p99_ms, report.lateness_max_ms) =
        (at(0.5), at(0.99), at(1.0));
    Ok(())
}

fn print(global: &Global, report: &Report) -> anyhow::Result<()> {
    if global.json {
        return output::json("schedules", report);
    }
    output::text(&format!(
        "{} schedules of {} bytes, durability {}, killed with SIGKILL and restarted",
        report.schedules, report.bytes, report.durability
    ))?;
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    let rows = vec![
        row("stored per second", format!("{:.0}", report.store_per_second)),
        row("replaced per second", format!("{:.0}", report.replace_per_second)),
        row("memory without any", format!("{:.1} MiB", report.rss_idle_mib)),
        row("memory with all", format!("{:.1} MiB", report.rss_pending_mib)),
        row("memory after restart", format!("{:.1} MiB", report.rss_restarted_mib)),
        row("memory of one, after restart", format!("{:.0} B", report.rss_bytes_per_schedule)),
        row("restart until ready", format!("{:.2} s", report.restart_seconds)),
        row("fired", format!("{} ({} twice)", report.fired, report.fired_twice)),
        row(
            "late p50 / p99 / max",
            format!(
                "{:.0} / {:.0} / {:.0} ms",
                report.lateness_p50_ms, report.lateness_p99_ms, report.lateness_max_ms
            ),
        ),
    ];
    output::table(&["WHAT", "MEASURED"], rows, "")
}
