//! What a visitor may try when the shop runs as a demonstration; without `--demo` these routes are not there.
//! Reads: the action. Writes: pauses, wishes, one event. Never: deletes anything.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::{IntoResponse, Response};
use campana_bus::topology::EVENTS;
use campana_bus::{clock, consumers};
use serde_json::json;

use super::App;
use super::problem::{Code, Problem};
use crate::Role;
use crate::events::ReportDue;
use crate::{packing, report};

/// A forgotten pause ends by itself.
const PAUSE_SECONDS: i64 = 120;
/// Pieces on a full shelf.
const FULL: i64 = 500;

/// `POST /api/demo/{action}`.
pub async fn act(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(action): Path<String>,
) -> Result<Response, Problem> {
    // A rebuild reads the whole stream, a report is an event that stays.
    if !app.rate.admit(peer.ip(), clock::monotonic()) {
        return Err(Problem::new(Code::RateLimited, "wait a moment before the next wish"));
    }
    let away = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, action, "a visitor's wish was not fulfilled");
        Problem::new(Code::Unavailable, "the bus does not answer; try again in a moment")
    };
    match action.as_str() {
        "pause" => {
            let until = clock::now().plus_seconds(PAUSE_SECONDS);
            let paused = consumers::pause(&app.bus, EVENTS, packing::DURABLE, until).await;
            paused.map_err(|error| away(&error))?;
        }
        "resume" => {
            let resumed = consumers::resume(&app.bus, EVENTS, packing::DURABLE).await;
            resumed.map_err(|error| away(&error))?;
        }
        // Only a process that keeps the list can make it anew.
        "rebuild" if app.options.roles.contains(&Role::Projection) => {
            app.shop.rebuild.notify_one();
        }
        "report" => {
            let day = report::name_of(clock::now(), &app.shop.time_zone);
            app.bus.emit(&ReportDue { day }).await.map_err(|error| away(&error))?;
        }
        "restock" => app.shop.store.restock(FULL).await?,
        _ => return Err(Problem::new(Code::NotFound, "there is no such action")),
    }
    app.shop.floor.changed();
    Ok(Json(json!({"done": action})).into_response())
}
