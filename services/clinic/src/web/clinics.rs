//! Where and when: clinics, dentists, and the times of a day.
//! Reads: the store. Writes: nothing. Never: says who has a time, only that somebody has.

use std::collections::{BTreeMap, HashSet};

use axum::Json;
use axum::extract::{Path, Query, State};
use campana_bus::clock;
use campana_bus::clock::Micros;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::auth::Signed;
use super::problem::{Code, Problem};
use crate::calendar;
use crate::store::clinics::Clinic;

/// How far ahead appointments can be made.
pub const DAYS_AHEAD_MAX: i64 = 180;

/// `GET /api/clinics`.
pub async fn list(State(app): State<App>, _signed: Signed) -> Result<Json<Value>, Problem> {
    let mut of: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for dentist in app.store.dentists().await? {
        let shown = json!({"id": dentist.id, "name": dentist.name});
        of.entry(dentist.clinic_id).or_default().push(shown);
    }
    let now = clock::now();
    let clinics: Vec<Value> = app
        .store
        .clinics()
        .await?
        .into_iter()
        .map(|clinic| {
            let today = calendar::zone(&clinic.time_zone)
                .map(|zone| calendar::local(&zone, now).date().to_string())
                .unwrap_or_default();
            json!({
                "id": clinic.id, "name": clinic.name, "address": clinic.address,
                "time_zone": clinic.time_zone, "today": today,
                "dentists": of.remove(&clinic.id).unwrap_or_default(),
            })
        })
        .collect();
    Ok(Json(json!({"data": clinics, "days_ahead_max": DAYS_AHEAD_MAX})))
}

/// The clinic of a dentist.
pub async fn clinic_of(app: &App, dentist: &str) -> Result<Clinic, Problem> {
    let dentist = app.store.dentist(dentist).await?.ok_or(Problem::of(Code::NotFound))?;
    app.store.clinic(&dentist.clinic_id).await?.ok_or(Problem::of(Code::NotFound))
}

/// Which day.
#[derive(Debug, Deserialize)]
pub struct Day {
    date: String,
}

/// `GET /api/dentists/{id}/times?date=2026-12-01`: the times of a local day that are still free.
pub async fn times(
    State(app): State<App>,
    _signed: Signed,
    Path(dentist): Path<String>,
    Query(day): Query<Day>,
) -> Result<Json<Value>, Problem> {
    let date: Date =
        day.date.parse().map_err(|_| Problem::field("/date", "a date such as 2026-12-01"))?;
    let clinic = clinic_of(&app, &dentist).await?;
    let zone = calendar::zone(&clinic.time_zone).map_err(anyhow::Error::msg)?;
    let all = calendar::times(&zone, clinic.hours, date);
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        return Ok(Json(json!({"data": [], "closed": true, "time_zone": clinic.time_zone})));
    };
    let held = app.store.held(&dentist, first.0, last.0.saturating_add(1)).await?;
    let (held, now): (HashSet<i64>, Micros) = (held.into_iter().collect(), clock::now());
    let free: Vec<Value> = all
        .into_iter()
        .filter(|at| *at > now && !held.contains(&at.0))
        .map(|at| {
            let local = calendar::local(&zone, at);
            json!({
                "starts_at": at.to_rfc3339(), "time": local.strftime("%H:%M").to_string(),
                // Only on the day on which clocks go back are two times called the same.
                "offset": local.strftime("%:z").to_string(),
            })
        })
        .collect();
    Ok(Json(json!({"data": free, "closed": false, "time_zone": clinic.time_zone})))
}

/// Whether an appointment can begin then, whoever holds the time.
pub fn check(clinic: &Clinic, at: Micros, now: Micros) -> Result<(), Problem> {
    if at <= now {
        return Err(Problem::at(Code::TimeIsPast, "/starts_at"));
    }
    if at > now.plus_seconds(DAYS_AHEAD_MAX * 86_400) {
        return Err(Problem::at(Code::TooFarAhead, "/starts_at"));
    }
    let zone = calendar::zone(&clinic.time_zone).map_err(anyhow::Error::msg)?;
    if !calendar::is_time(&zone, clinic.hours, at) {
        return Err(Problem::at(Code::NoSuchTime, "/starts_at"));
    }
    Ok(())
}
