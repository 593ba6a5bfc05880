//! `/v1/subscriptions`: what the app declared and how it runs.
//! Reads: the manager's view. Writes: a request to read the declaration again.

use axum::Json;
use axum::extract::State;

use crate::manager::Status;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::state::Sidecar;

/// Show subscriptions and endpoints
#[utoipa::path(
    get, path = "/v1/subscriptions", tag = "subscriptions",
    responses((status = 200, description = "As they run", body = Status))
)]
pub(crate) async fn list_subscriptions(State(sidecar): State<Sidecar>) -> Json<Status> {
    Json(sidecar.manager.status())
}

/// Read the declaration again
///
/// What changed is restarted, what is gone is stopped after its deliveries in hand; the rest runs on. If the
/// new declaration is not valid, the old one stays in force.
#[utoipa::path(
    post, path = "/v1/subscriptions/reload", tag = "subscriptions",
    responses(
        (status = 200, description = "In force", body = Status),
        (status = 422, description = "Not valid, or not to be had; the old one stays in force", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_reload(State(sidecar): State<Sidecar>) -> Result<Json<Status>, Problem> {
    match sidecar.manager.reload().await {
        Ok(()) => Ok(Json(sidecar.manager.status())),
        Err(why) => Err(Problem::new(Code::ValidationFailed, why)),
    }
}
