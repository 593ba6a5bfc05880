//! `/api/faults`: read, replace, add and remove fault rules.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Rule, presets};
use crate::state::Shared;
use crate::web::{Problem, ProblemJson};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    rules: Vec<Rule>,
}

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/faults", get(show).put(replace).post(add).delete(clear))
        .route("/api/faults/{id}", delete(remove))
        .with_state(shared)
}

async fn show(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"rules": shared.faults.view(), "presets": presets()}))
}

async fn replace(
    State(shared): State<Arc<Shared>>,
    ProblemJson(script): ProblemJson<Script>,
) -> Result<Json<Value>, Problem> {
    shared.faults.replace(script.rules).map_err(Problem::invalid)?;
    shared.mailbox.faults_changed();
    Ok(Json(json!({"rules": shared.faults.view()})))
}

async fn add(
    State(shared): State<Arc<Shared>>,
    ProblemJson(rule): ProblemJson<Rule>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let id = shared.faults.add(rule).map_err(Problem::invalid)?;
    shared.mailbox.faults_changed();
    Ok((StatusCode::CREATED, Json(json!({"id": id}))))
}

async fn clear(State(shared): State<Arc<Shared>>) -> Result<StatusCode, Problem> {
    shared.faults.replace(Vec::new()).map_err(Problem::invalid)?;
    shared.mailbox.faults_changed();
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if !shared.faults.remove(&id) {
        return Err(Problem::not_found("no rule has this id"));
    }
    shared.mailbox.faults_changed();
    Ok(StatusCode::NO_CONTENT)
}
