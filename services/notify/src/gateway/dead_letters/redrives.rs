//! `/v1/redrives`: jobs that redrive many dead letters.
//! Reads and writes: the bus's redrive jobs, through `campana_bus::dlq::jobs`. Never: works on a job itself
//! (the role `keeper` does), or shows a job of another tenant.

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use campana_bus::dlq::jobs::{self, Job};
use campana_bus::ids::RedriveId;

use super::super::auth::Caller;
use super::super::body;
use super::super::problem::{Code, Problem, ProblemDocument};
use super::super::query::Query;
use super::super::state::App;
use super::model::{RedriveIn, RedriveList, RedriveOut};
use super::{problem, scope};

pub(super) fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is no such redrive job")
}

/// A job belongs to the tenant whose letters it redrives.
fn may_see(app: &App, caller: &Caller, job: &Job) -> bool {
    scope(app, caller).is_none_or(|tenant| job.request.filter.tenant == Some(tenant))
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<Job, Problem> {
    let id: RedriveId = id.parse().map_err(|_| not_found())?;
    let job = jobs::get(&app.deps.bus, id).await.map_err(|error| problem(&error))?;
    job.filter(|job| may_see(app, caller, job)).ok_or_else(not_found)
}

/// Start a redrive job
///
/// The role `keeper` works on it. It looks at the letters that are there now, at the given rate, and stops if
/// too many of the redriven messages are parked again.
#[utoipa::path(
    post, path = "/v1/redrives", tag = "dead letters", request_body = RedriveIn,
    responses(
        (status = 202, description = "Started", body = RedriveOut),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "Too many jobs are open", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(in super::super) async fn post_redrive(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<RedriveOut>), Problem> {
    let json = body::json_bytes(&headers, body, app.options.body_bytes_max, &app.options).await?;
    let input: RedriveIn = body::decode(&json, "")?;
    let request = input.request(scope(&app, &caller), caller.key_id().to_owned())?;
    let bus = &app.deps.bus;
    let id = jobs::start(bus, request).await.map_err(|error| problem(&error))?;
    let job = jobs::get(bus, id).await.map_err(|error| problem(&error))?;
    let job = job.ok_or_else(not_found)?;
    Ok((StatusCode::ACCEPTED, Json(job.into())))
}

/// List redrive jobs, newest first
#[utoipa::path(
    get, path = "/v1/redrives", tag = "dead letters",
    params(("limit" = Option<u32>, Query, description = "1 to 200, default 50")),
    responses((status = 200, description = "Jobs of the last 30 days", body = RedriveList)),
    security(("api_key" = []))
)]
pub(in super::super) async fn list_redrives(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<RedriveList>, Problem> {
    let mut query = Query::parse(query.as_deref())?;
    let limit = query.limit()?;
    query.finish()?;
    let all = jobs::list(&app.deps.bus, jobs::LIST_MAX).await.map_err(|error| problem(&error))?;
    let mine = all.into_iter().filter(|job| may_see(&app, &caller, job));
    Ok(Json(RedriveList { data: mine.take(limit as usize).map(RedriveOut::from).collect() }))
}

/// Read a redrive job
#[utoipa::path(
    get, path = "/v1/redrives/{id}", tag = "dead letters",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The job", body = RedriveOut),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(in super::super) async fn get_redrive(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<RedriveOut>, Problem> {
    Ok(Json(find(&app, &caller, &id).await?.into()))
}

/// Cancel a redrive job
///
/// The entries in hand are finished; what is not redriven yet stays parked. A job that has ended stays as it
/// is.
#[utoipa::path(
    post, path = "/v1/redrives/{id}/cancel", tag = "dead letters",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The job; it may need a moment to end", body = RedriveOut),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(in super::super) async fn post_redrive_cancel(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<RedriveOut>, Problem> {
    let job = find(&app, &caller, &id).await?;
    let job = jobs::cancel(&app.deps.bus, job.id).await.map_err(|error| problem(&error))?;
    tracing::info!(key = caller.key_id(), redrive.job = %job.id, "redrive job canceled");
    Ok(Json(job.into()))
}
