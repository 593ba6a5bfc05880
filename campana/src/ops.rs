//! Metrics and health on a listener of their own.
//! Reads: the metrics recorder, the bus, the store. Writes: gauges that nobody else has an occasion to set.
//! Never: is reachable from outside unless configured so; nothing here asks who is calling.

pub mod dashboards;
mod help;
pub mod nats;
mod trace;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::topology::DLQ;
use campana_bus::{Bus, clock};
use campana_notify::store::Store;
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

/// 1, with the version, the commit and the compiler as labels.
pub const BUILD_INFO: &str = "campana_build_info";
/// Dead letters waiting for an operator.
pub const DLQ_MESSAGES: &str = "campana_dlq_messages";
/// When the oldest of them was parked, seconds since the epoch; 0 if there is none.
pub const DLQ_OLDEST: &str = "campana_dlq_oldest_message_timestamp_seconds";

/// 1 if the database answered the last health check.
pub const DATABASE_UP: &str = "campana_database_up";

/// Edges from 1 ms to 30 s, finer around 200 ms, where the figure is that this platform replaces.
const SECONDS: [f64; 20] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0,
    2.5, 5.0, 10.0, 30.0,
];
const ATTEMPTS: [f64; 6] = [1.0, 2.0, 3.0, 5.0, 8.0, 13.0];
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const BYTES: [f64; 9] =
    [0.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 67108864.0];
/// How long the database may take to answer a health check.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the metrics recorder of the process.
pub fn install_recorder() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_attempts".to_owned()), &ATTEMPTS)?
        .set_buckets_for_metric(Matcher::Suffix("_messages".to_owned()), &COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)?
        .install_recorder()?;
    help::describe();
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "commit" => env!("CAMPANA_COMMIT"),
        "rustc" => env!("CAMPANA_RUSTC"))
    .set(1.0);
    Ok(handle)
}

/// What health depends on.
#[derive(Clone)]
pub struct Health {
    /// The bus.
    pub bus: Bus,
    /// The store, if a role of this process uses it.
    pub store: Option<Store>,
    /// False until every role runs, and again from the moment a stop begins.
    pub ready: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Ops {
    handle: PrometheusHandle,
    process: metrics_process::Collector,
    health: Health,
    nats: nats::Reading,
}

/// Serves until the stop of its own lifecycle, which comes after that of the roles: a drain can be watched.
/// `nats` is empty where this is none of the processes of which one measures NATS.
pub async fn run(
    listener: TcpListener,
    handle: PrometheusHandle,
    health: Health,
    nats: nats::Reading,
    dashboards: dashboards::OpsOptions,
    lifecycle: Lifecycle,
) -> Result<(), String> {
    let process = metrics_process::Collector::default();
    process.describe();
    watch(&handle, &health, &lifecycle);
    let traces = trace::Traces { bus: health.bus.clone(), lifecycle: lifecycle.clone() };
    let router = Router::new()
        .route("/debug/trace", get(trace::serve).with_state(traces))
        .route("/metrics", get(serve_metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Ops { handle, process, health, nats })
        .merge(dashboards::router(&dashboards)?);
    let soft = lifecycle.soft.clone();
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, router)
        .with_graceful_shutdown(soft.cancelled_owned())
        .await
        .map_err(|error| error.to_string())
}

async fn serve_metrics(State(ops): State<Ops>) -> impl IntoResponse {
    ops.process.collect();
    let mut text = ops.handle.render();
    text.push_str(&ops.nats.text(clock::monotonic()));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn readyz(State(ops): State<Ops>) -> (StatusCode, String) {
    let mut problems = Vec::new();
    if !ops.health.ready.load(Ordering::Relaxed) {
        problems.push("starting or stopping");
    }
    if !ops.health.bus.is_connected() {
        problems.push("not connected to NATS");
    }
    if !problems.is_empty() {
        let text = format!("not ready: {}\n", problems.join(", "));
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    // Notifications are taken and delivered without the database; status catches up when it is back. A
    // load balancer must not take the process away for it.
    let degraded = !ops.health.database_answers().await;
    (
        StatusCode::OK,
        if degraded { "ready, but the database does not answer\n" } else { "ready\n" }.to_owned(),
    )
}

impl Health {
    /// True also if no role of this process uses the database.
    async fn database_answers(&self) -> bool {
        let Some(store) = &self.store else {
            return true;
        };
        let answer = tokio::time::timeout(DATABASE_TIMEOUT, store.ping()).await;
        let up = matches!(answer, Ok(Ok(())));
        gauge!(DATABASE_UP).set(f64::from(u8::from(up)));
        up
    }
}

/// Keeps histograms small and the dead letters' depth and age current.
fn watch(handle: &PrometheusHandle, health: &Health, lifecycle: &Lifecycle) {
    let (handle, health, soft) = (handle.clone(), health.clone(), lifecycle.soft.clone());
    lifecycle.spawn("metrics upkeep", async move {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tokio::select! {
                () = soft.cancelled() => return,
                _ = tick.tick() => {}
            }
            handle.run_upkeep();
            dead_letters(&health.bus).await;
            campana_bus::schedule::measure_pending(&health.bus).await;
            health.database_answers().await;
        }
    });
}

async fn dead_letters(bus: &Bus) {
    let Ok(position) = bus.position(DLQ).await else {
        return;
    };
    gauge!(DLQ_MESSAGES, "stream" => DLQ).set(position.messages as f64);
    let oldest = match position.messages {
        0 => 0.0,
        _ => match bus.message(DLQ, position.first).await {
            Ok(Some(message)) => message.time.0 as f64 / 1e6,
            _ => return,
        },
    };
    gauge!(DLQ_OLDEST, "stream" => DLQ).set(oldest);
}
