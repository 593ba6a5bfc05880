//! The gateway role: the HTTP API.
//! Reads: HTTP requests; the store for recipients, templates, keys and status. Writes: `REQUESTS`,
//! `CHANNELS` and `OUTCOMES` on the bus; recipients and templates in the store. Never: calls a provider,
//! writes status, or answers 202 before the stream has acknowledged.

mod admission;
mod auth;
mod body;
mod callbacks;
mod context;
mod counts;
mod dead_letters;
mod demo;
mod idempotency;
mod inbox;
mod lookup;
pub mod metrics;
mod notification_in;
mod notifications;
mod options;
mod pages;
pub mod problem;
mod query;
mod rate;
mod recipients;
mod router;
mod server;
mod stamps;
mod state;
mod status;
mod templates;
mod tokens;
mod validate;

use campana_bus::lifecycle::Lifecycle;
use tokio::net::TcpListener;

pub use options::GatewayOptions;
pub use router::openapi;
pub use state::{DemoOptions, GatewayDeps};

/// Serves the HTTP API on `listener` until the soft stop; answers that are under way are finished.
///
/// # Errors
/// If the listener has no address.
pub async fn run(
    listener: TcpListener,
    options: GatewayOptions,
    deps: GatewayDeps,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let app = state::App::new(options, deps, lifecycle.clone())?;
    lookup::listen(&app, &lifecycle).await;
    lifecycle.spawn("gateway admission", admission::watch(app.clone()));
    tracing::info!(%address, "gateway listens");
    server::serve(listener, router::router(&app), app).await;
    Ok(())
}
