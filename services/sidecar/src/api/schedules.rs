//! `/v1/schedules/…`: events that are told later, once or again and again.
//! Reads: schedules of this app. Writes: the `EVENTS` stream. Never: touches another app's schedules: a key
//! stands behind the app's name.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::{Extension, Json};
use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::schedule::{ScheduleError, Scheduled, When};
use campana_bus::subjects;
use campana_bus::topology::EVENTS;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::not_stored;
use crate::cloudevent::Incoming;
use crate::event::{Address, prepare};
use crate::guard::Context;
use crate::input;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::state::Sidecar;

/// Schedules of one answer.
const LIST_MAX: usize = 1_000;
/// Bytes of a schedule's key: with the app's name before it, it is a name on the bus.
const KEY_BYTES_MAX: usize = 128;

/// The event that a schedule tells.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduledEvent {
    /// The service that tells it.
    #[schema(example = "shop")]
    service: String,
    /// What happened.
    #[schema(example = "cart_abandoned")]
    event: String,
    /// Whose event it is; the sidecar's own tenant if absent.
    tenant: Option<String>,
    /// The ordering key.
    key: Option<String>,
    /// The event's id, for a schedule that fires once.
    id: Option<String>,
    /// The body.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

/// A schedule: exactly one of `at`, `after_seconds`, `every_seconds` and `cron`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleBody {
    /// Once, at this time (RFC 3339); in the past means at once.
    #[schema(example = "2030-01-01T09:00:00+01:00")]
    at: Option<String>,
    /// Once, after this many seconds.
    after_seconds: Option<f64>,
    /// Again and again, at least one second apart.
    every_seconds: Option<f64>,
    /// Again and again: second, minute, hour, day of month, month, day of week; without the second if there
    /// are five; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[schema(example = "0 30 9 * * mon-fri")]
    cron: Option<String>,
    /// IANA time zone of `cron`; UTC if absent.
    #[schema(example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// The event.
    event: ScheduledEvent,
}

/// A schedule that waits.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleView {
    /// Its key.
    key: String,
    /// `@at …`, `@every …` or the cron expression, with the time zone behind it.
    when: String,
    /// When it is due next, RFC 3339, if that is known.
    next_at: Option<String>,
    /// When it was set, RFC 3339.
    set_at: String,
    /// The service of its event.
    service: String,
    /// Its event.
    event: String,
    /// Bytes of the body.
    bytes: usize,
}

/// Schedules in the order in which they were set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleList {
    schedules: Vec<ScheduleView>,
    /// Where the next page begins; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<u64>,
}

/// The page that is asked for.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// `next_after` of the page before.
    after: Option<u64>,
}

/// What a failed schedule means to the app.
pub(super) fn problem(error: &ScheduleError) -> Problem {
    match error {
        ScheduleError::Publish(error) => not_stored(error),
        ScheduleError::Key(_) | ScheduleError::When(_) | ScheduleError::ServerTimeZone(_) => {
            Problem::new(Code::ValidationFailed, error.to_string())
        }
        error if error.is_temporary() => Problem::new(Code::Unavailable, error.to_string()),
        error => Problem::new(Code::Internal, error.to_string()),
    }
}

fn full_key(sidecar: &Sidecar, key: &str) -> Result<String, Problem> {
    input::name("key", key)?;
    // Keys with a dash in front are those of delayed publishes.
    if key.len() > KEY_BYTES_MAX || key.starts_with('-') {
        return Err(Problem::new(
            Code::InvalidParameter,
            format!("key: at most {KEY_BYTES_MAX} bytes, and no \"-\" in front"),
        ));
    }
    Ok(format!("{}/{key}", sidecar.options.name))
}

impl ScheduleBody {
    fn when(&self, most: Duration) -> Result<When, Problem> {
        let given = [
            self.at.is_some(),
            self.after_seconds.is_some(),
            self.every_seconds.is_some(),
            self.cron.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            return Err(Problem::at(
                "",
                "exactly one of at, after_seconds, every_seconds and cron is needed",
            ));
        }
        if self.time_zone.is_some() && self.cron.is_none() {
            return Err(Problem::at("/time_zone", "belongs to cron only"));
        }
        let seconds = |pointer: &'static str, seconds: f64, least: f64| {
            if (least..=most.as_secs_f64()).contains(&seconds) {
                return Ok(Duration::from_secs_f64(seconds));
            }
            Err(Problem::at(pointer, format!("{least} to {} seconds", most.as_secs())))
        };
        if let Some(at) = &self.at {
            let at = Micros::from_rfc3339(at);
            return at.map(When::At).ok_or_else(|| Problem::at("/at", "is not in RFC 3339 form"));
        }
        if let Some(after) = self.after_seconds {
            return seconds("/after_seconds", after, 0.0).map(When::After);
        }
        if let Some(every) = self.every_seconds {
            return seconds("/every_seconds", every, 1.0).map(When::Every);
        }
        let expression = self.cron.clone().unwrap_or_default();
        Ok(When::Cron { expression, time_zone: self.time_zone.clone() })
    }
}

/// Set a schedule
///
/// A schedule of the same key is replaced.
#[utoipa::path(
    put, path = "/v1/schedules/{key}", tag = "schedules",
    params(("key" = String, Path, description = "Names it within this app", example = "cart-7")),
    request_body = ScheduleBody,
    responses(
        (status = 204, description = "Set, and on disk"),
        (status = "4XX", description = "Refused", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not set, or not known to be", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put_schedule(
    State(sidecar): State<Sidecar>,
    Extension(context): Extension<Context>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let key = full_key(&sidecar, &key)?;
    let limits = &sidecar.options.limits;
    let wanted: ScheduleBody = input::json(&headers, body, limits).await?;
    let when = wanted.when(limits.schedule_max)?;
    let event = wanted.event;
    let address = Address {
        tenant: event.tenant.unwrap_or_else(|| sidecar.options.tenant.clone()),
        service: event.service,
        event: event.event,
        key: event.key,
    };
    let data = Bytes::from(Box::<str>::from(event.data).into_string());
    let incoming = Incoming { id: event.id, data, ..Incoming::default() };
    let prepared = prepare(&address, incoming, context.trace, clock::now())
        .map_err(|problem| problem.below("/event"))?;
    let stored = sidecar.bus.schedule(EVENTS, &key, &when, prepared.message).await;
    stored.map(|_| StatusCode::NO_CONTENT).map_err(|error| problem(&error))
}

/// Show a schedule
#[utoipa::path(
    get, path = "/v1/schedules/{key}", tag = "schedules",
    params(("key" = String, Path, description = "Its key")),
    responses(
        (status = 200, description = "It waits", body = ScheduleView),
        (status = 404, description = "None waits under this key", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_schedule(
    State(sidecar): State<Sidecar>,
    Path(key): Path<String>,
) -> Result<Json<ScheduleView>, Problem> {
    let full = full_key(&sidecar, &key)?;
    let missing = || Problem::new(Code::NotFound, "no schedule waits under this key");
    let unavailable = |error: &dyn std::fmt::Display| {
        Problem::new(Code::Unavailable, format!("the stream does not answer: {error}"))
    };
    let last = sidecar.bus.last(EVENTS, &subjects::schedule(EVENTS, &full)).await;
    let last = last.map_err(|error| unavailable(&error))?.ok_or_else(missing)?;
    let found = sidecar.bus.schedules(EVENTS, last.sequence.saturating_sub(1), 1).await;
    let found = found.map_err(|error| problem(&error))?;
    let own = found.iter().find(|one| one.key == full).and_then(|one| view(one, &sidecar));
    own.map(Json).ok_or_else(missing)
}

/// List schedules of this app
#[utoipa::path(
    get, path = "/v1/schedules", tag = "schedules",
    params(ListQuery),
    responses((status = 200, description = "In the order in which they were set", body = ScheduleList))
)]
pub(crate) async fn list_schedules(
    State(sidecar): State<Sidecar>,
    uri: Uri,
) -> Result<Json<ScheduleList>, Problem> {
    let query = input::query::<ListQuery>(&uri)?;
    let page = sidecar.bus.schedules(EVENTS, query.after.unwrap_or(0), LIST_MAX).await;
    let page = page.map_err(|error| problem(&error))?;
    let next_after = page.last().filter(|_| page.len() == LIST_MAX).map(|last| last.sequence);
    let schedules = page.iter().filter_map(|one| view(one, &sidecar)).collect();
    Ok(Json(ScheduleList { schedules, next_after }))
}

/// Cancel a schedule
#[utoipa::path(
    delete, path = "/v1/schedules/{key}", tag = "schedules",
    params(("key" = String, Path, description = "Its key")),
    responses(
        (status = 204, description = "Cancelled"),
        (status = 404, description = "None waits under this key", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_schedule(
    State(sidecar): State<Sidecar>,
    Path(key): Path<String>,
) -> Result<StatusCode, Problem> {
    let full = full_key(&sidecar, &key)?;
    match sidecar.bus.unschedule(EVENTS, &full).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Problem::new(Code::NotFound, "no schedule waits under this key")),
        Err(error) => Err(problem(&error)),
    }
}

/// As the app sees it; `None` for a schedule of another app, and for a delayed publish.
fn view(one: &Scheduled, sidecar: &Sidecar) -> Option<ScheduleView> {
    let key = one.key.strip_prefix(&sidecar.options.name)?.strip_prefix('/')?;
    if key.starts_with('-') {
        return None;
    }
    let target = subjects::parse_app_event(&one.target)?;
    Some(ScheduleView {
        key: key.to_owned(),
        when: one.when.clone(),
        next_at: one.next_at.map(Micros::to_rfc3339),
        set_at: one.stored_at.to_rfc3339(),
        service: target.service,
        event: target.event,
        bytes: one.bytes,
    })
}
