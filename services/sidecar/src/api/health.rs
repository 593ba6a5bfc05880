//! `/healthz`, `/readyz`, `/metrics`.
//! Reads: the connection, the app, the subscriptions. Writes: nothing. Never: needs a token for health.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Code, Problem};
use crate::state::Sidecar;

/// Marks an answer of readiness, whatever its status.
static READY: HeaderName = HeaderName::from_static("campana-ready");

/// What readiness depends on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// All of the following.
    ready: bool,
    /// Connected to NATS.
    nats: bool,
    /// The app is reachable.
    app: bool,
    /// The declaration was read and every subscription and endpoint runs.
    subscriptions: bool,
    /// A stop has begun.
    stopping: bool,
}

/// Whether the sidecar lives
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = 200, description = "It answers"))
)]
pub(crate) async fn get_healthz() -> &'static str {
    "ok\n"
}

/// Whether events flow both ways
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "They do", body = Readiness),
        (status = 503, description = "They do not", body = Readiness),
    )
)]
pub(crate) async fn get_readyz(State(sidecar): State<Sidecar>) -> Response {
    let nats = sidecar.bus.is_connected();
    let app = sidecar.app.is_up();
    let subscriptions = sidecar.manager.all_run();
    let stopping = sidecar.lifecycle.soft.is_cancelled();
    let ready = nats && app && subscriptions && !stopping;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let view = Readiness { ready, nats, app, subscriptions, stopping };
    let mut response = (status, Json(view)).into_response();
    let mark = HeaderValue::from_static(if ready { "true" } else { "false" });
    response.headers_mut().insert(READY.clone(), mark);
    response
}

/// The metrics of the process in the Prometheus text format.
pub(crate) async fn get_metrics(State(sidecar): State<Sidecar>) -> Result<Response, Problem> {
    let Some(render) = &sidecar.options.metrics else {
        return Err(Problem::new(Code::NotFound, "this process keeps no metrics"));
    };
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, (render.0)()).into_response())
}
