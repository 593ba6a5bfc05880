//! The web side: one listener for the page, the read API and the HTTP receivers.
//!
//! `listener` bounds connections and lets a fault cut one, `interfere` turns a decision into what
//! a handler does, `api` and `live` read the mailbox, `page` serves the embedded files, `guard`
//! keeps other web sites out.

mod api;
mod guard;
mod interfere;
mod listener;
mod live;
mod page;
mod problem;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use campana_bus::lifecycle::Lifecycle;
use tokio::net::TcpListener;

pub use interfere::{Fate, interfere};
pub use listener::ConnectionHandle;
pub use problem::{Problem, ProblemJson, ProblemQuery};

use self::listener::BoundedListener;
use crate::state::Shared;
use crate::twilio::{self, Callbacks, Twilio};
use crate::webhook::{self, Webhooks};

/// Serves until the soft stop, then returns when requests and status stories have ended (or at
/// the hard stop).
pub async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    smtp: SocketAddr,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    let callbacks = Arc::new(Callbacks::new(Arc::clone(&shared), lifecycle.soft.clone())?);
    let app = router(&shared, smtp, &callbacks, &lifecycle);
    let listener = BoundedListener::new(listener, &shared);
    let service = app.into_make_service_with_connect_info::<ConnectionHandle>();
    let stop = lifecycle.soft.clone();
    let server = axum::serve(listener, service)
        .with_graceful_shutdown(async move { stop.cancelled().await });
    tokio::select! {
        served = server => served?,
        () = lifecycle.hard.cancelled() => return Ok(()),
    }
    tokio::select! {
        () = callbacks.finished() => {}
        () = lifecycle.hard.cancelled() => {}
    }
    Ok(())
}

fn router(
    shared: &Arc<Shared>,
    smtp: SocketAddr,
    callbacks: &Arc<Callbacks>,
    lifecycle: &Lifecycle,
) -> Router {
    let stop = lifecycle.soft.clone();
    let twilio =
        Twilio { shared: Arc::clone(shared), callbacks: Arc::clone(callbacks), stop: stop.clone() };
    let webhooks = Webhooks { shared: Arc::clone(shared), stop: stop.clone() };
    Router::new()
        .merge(api::router(Arc::clone(shared), smtp))
        .merge(live::router(Arc::clone(shared), stop.clone()))
        .merge(crate::receipts::router(Arc::clone(shared), stop))
        .merge(crate::faults::api::router(Arc::clone(shared)))
        .merge(page::router())
        .merge(webhook::router(webhooks))
        .merge(twilio::router(twilio))
        .layer(DefaultBodyLimit::max(shared.options.web.body_bytes))
        .layer(from_fn_with_state(Arc::clone(shared), guard::known_host))
        .layer(from_fn(guard::security_headers))
}
