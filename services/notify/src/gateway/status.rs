//! `GET /v1/notifications/{id}` and `GET /v1/notifications`.
//! Reads: the status tables. Writes: nothing. The recorder is a moment behind the 202, so a status that
//! is asked for at once waits briefly for it instead of answering 404.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campana_bus::clock::{self, Micros};
use campana_bus::ids::NotificationId;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::problem::{Code, Problem, ProblemDocument};
use super::query::Query;
use super::state::App;
use crate::store::{DeliveryRow, ListFilter, NotificationRow, OutcomeRow, StoreError};

const POLL: Duration = Duration::from_millis(40);
const STATUSES: [&str; 6] =
    ["accepted", "scheduled", "planned", "completed", "partially_failed", "failed"];

/// A notification with everything that happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationOut {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// `accepted`, `scheduled`, `planned`, `completed`, `partially_failed` or `failed`.
    pub status: String,
    /// Machine-readable reason, if it failed as a whole.
    pub reason: Option<String>,
    /// When it was accepted.
    pub created_at: String,
    /// When it is due, if it was scheduled.
    pub scheduled_at: Option<String>,
    /// `critical`, `normal` or `bulk`.
    pub priority: String,
    /// Search for this in logs and traces.
    pub trace_id: String,
    /// The template's key.
    pub template: Option<String>,
    /// Your own labels.
    pub metadata: BTreeMap<String, String>,
    /// One for each recipient and channel.
    pub deliveries: Vec<DeliveryOut>,
    /// Everything in order of time.
    pub timeline: Vec<EventOut>,
}

/// One recipient over one channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryOut {
    /// Its id.
    pub id: String,
    /// The recipient's id.
    pub recipient: Option<String>,
    /// The channel.
    pub channel: Option<String>,
    /// `queued`, `retrying`, `sent`, `delivered`, `failed`, `suppressed`, `canceled` or `expired`.
    pub status: String,
    /// Machine-readable reason.
    pub reason: Option<String>,
    /// When the status last changed.
    pub updated_at: String,
    /// When the recipient marked it as read.
    pub read_at: Option<String>,
    /// Every attempt.
    pub attempts: Vec<AttemptOut>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptOut {
    /// 1 for the first.
    pub attempt: i64,
    /// When.
    pub at: String,
    /// The delivery's status after it.
    pub result: Option<String>,
    /// Machine-readable reason.
    pub code: Option<String>,
    /// The provider's answer, redacted.
    pub detail: Option<String>,
    /// How long the provider took.
    pub duration_ms: Option<i64>,
    /// Which provider.
    pub provider: Option<String>,
    /// When the next attempt is due.
    pub retry_at: Option<String>,
    /// True if an earlier attempt may have arrived without our knowing.
    pub possible_duplicate: bool,
}

/// One line of the timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventOut {
    /// When.
    pub at: String,
    /// `accepted`, `scheduled`, `planned`, `rejected`, `attempted`, `confirmed` or `read`.
    pub event: String,
    /// Which delivery, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// More, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A page of notifications, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationPage {
    /// The page.
    pub data: Vec<NotificationSummary>,
    /// Pass it as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// A notification in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationSummary {
    /// Its id.
    pub id: String,
    /// `accepted`, `scheduled`, `planned`, `completed`, `partially_failed` or `failed`.
    pub status: String,
    /// When it was accepted.
    pub created_at: String,
    /// `critical`, `normal` or `bulk`.
    pub priority: String,
    /// Search for this in logs and traces.
    pub trace_id: String,
    /// The template's key.
    pub template: Option<String>,
    /// Your own labels.
    pub metadata: BTreeMap<String, String>,
}

/// What became of a notification
#[utoipa::path(
    get, path = "/v1/notifications/{id}", tag = "notifications",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "With its timeline", body = NotificationOut),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn get_notification(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<NotificationOut>, Problem> {
    let parsed: NotificationId = id.parse().map_err(|_| not_found())?;
    let id = parsed.to_string();
    let row =
        wait_for(&app, caller.tenant(), &id, parsed.created_at()).await?.ok_or_else(not_found)?;
    let store = &app.deps.store;
    let (deliveries, timeline) = tokio::try_join!(
        store.deliveries(caller.tenant(), &id),
        store.timeline(caller.tenant(), &id)
    )
    .map_err(|error| store_problem(&error))?;
    Ok(Json(assemble(caller.tenant(), row, deliveries, timeline)))
}

fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is no such notification")
}

/// The row; waits for the recorder if the id is so young (or carries no time) that it may be behind.
async fn wait_for(
    app: &App,
    tenant: &str,
    id: &str,
    created_at: Option<Micros>,
) -> Result<Option<NotificationRow>, Problem> {
    let read = || async {
        app.deps.store.notification(tenant, id).await.map_err(|error| store_problem(&error))
    };
    if let Some(row) = read().await? {
        return Ok(Some(row));
    }
    let wait = Duration::from_millis(app.options.status_wait_ms);
    let wait = match created_at {
        None => wait,
        Some(at) => {
            let age = u64::try_from(clock::now().since(at)).unwrap_or(0);
            wait.saturating_sub(Duration::from_micros(age))
        }
    };
    if wait.is_zero() {
        return Ok(None);
    }
    let Ok(_permit) = app.status_waiters.try_acquire() else {
        return Ok(None);
    };
    let started = clock::monotonic();
    while started.elapsed() < wait {
        tokio::time::sleep(POLL).await;
        if let Some(row) = read().await? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The answer when the store does not answer.
pub(super) fn store_problem(error: &StoreError) -> Problem {
    tracing::warn!("the store does not answer: {error}");
    Problem::new(Code::StoreUnavailable, "the database does not answer at the moment")
        .retry_after(1)
}

fn assemble(
    tenant: &str,
    row: NotificationRow,
    deliveries: Vec<DeliveryRow>,
    outcomes: Vec<OutcomeRow>,
) -> NotificationOut {
    let mut attempts: HashMap<String, Vec<AttemptOut>> = HashMap::new();
    let mut timeline = vec![EventOut {
        at: row.created_at.to_rfc3339(),
        event: "accepted".to_owned(),
        delivery_id: None,
        detail: None,
    }];
    for outcome in outcomes {
        timeline.push(event_out(&outcome));
        if let (Some(attempt), Some(delivery)) = (outcome.attempt, outcome.delivery_id.clone()) {
            attempts.entry(delivery).or_default().push(attempt_out(attempt, outcome));
        }
    }
    let deliveries = deliveries
        .into_iter()
        .map(|delivery| DeliveryOut {
            attempts: attempts.remove(&delivery.id).unwrap_or_default(),
            id: delivery.id,
            recipient: delivery.recipient,
            channel: delivery.channel,
            status: delivery.status,
            reason: delivery.reason,
            updated_at: delivery.updated_at.to_rfc3339(),
            read_at: delivery.read_at.map(Micros::to_rfc3339),
        })
        .collect();
    NotificationOut {
        id: row.id,
        tenant: tenant.to_owned(),
        status: row.status,
        reason: row.reason,
        created_at: row.created_at.to_rfc3339(),
        scheduled_at: row.scheduled_at.map(Micros::to_rfc3339),
        priority: row.priority,
        trace_id: row.trace_id,
        template: row.template,
        metadata: row.metadata,
        deliveries,
        timeline,
    }
}

fn event_out(outcome: &OutcomeRow) -> EventOut {
    let parts = [
        outcome.attempt.map(|attempt| format!("attempt {attempt}")),
        outcome.status.clone(),
        outcome.reason.clone(),
        outcome.detail.clone(),
        (outcome.event == "scheduled")
            .then(|| outcome.retry_at.map(|at| format!("until {}", at.to_rfc3339())))
            .flatten(),
    ];
    let detail = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    EventOut {
        at: outcome.at.to_rfc3339(),
        event: outcome.event.clone(),
        delivery_id: outcome.delivery_id.clone(),
        detail: (!detail.is_empty()).then_some(detail),
    }
}

fn attempt_out(attempt: i64, outcome: OutcomeRow) -> AttemptOut {
    AttemptOut {
        attempt,
        at: outcome.at.to_rfc3339(),
        result: outcome.status,
        code: outcome.reason,
        detail: outcome.detail,
        duration_ms: outcome.duration_ms,
        provider: outcome.provider,
        retry_at: outcome.retry_at.map(Micros::to_rfc3339),
        possible_duplicate: outcome.possible_duplicate,
    }
}

/// List notifications, newest first
#[utoipa::path(
    get, path = "/v1/notifications", tag = "notifications",
    params(
        ("status" = Option<String>, Query, description = "Only this status"),
        ("recipient" = Option<String>, Query, description = "Only those to this recipient"),
        ("limit" = Option<u32>, Query, description = "1 to 200, default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = NotificationPage),
        (status = 400, description = "A wrong parameter", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn list_notifications(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<NotificationPage>, Problem> {
    let mut query = Query::parse(query.as_deref())?;
    let filter = ListFilter {
        status: query.one_of("status", &STATUSES)?,
        recipient: query.name("recipient")?,
        before: query.text("cursor").map(|cursor| parse_cursor(&cursor)).transpose()?,
    };
    let limit = query.limit()?;
    query.finish()?;
    let mut rows = app
        .deps
        .store
        .list_notifications(caller.tenant(), &filter, limit + 1)
        .await
        .map_err(|error| store_problem(&error))?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = rows.last().filter(|_| more).map(|last| cursor(last.created_at, &last.id));
    let data = rows
        .into_iter()
        .map(|row| NotificationSummary {
            id: row.id,
            status: row.status,
            created_at: row.created_at.to_rfc3339(),
            priority: row.priority,
            trace_id: row.trace_id,
            template: row.template,
            metadata: row.metadata,
        })
        .collect();
    Ok(Json(NotificationPage { data, next_cursor }))
}

fn cursor(at: Micros, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{id}", at.0))
}

fn parse_cursor(text: &str) -> Result<(Micros, String), Problem> {
    let parse = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (at, id) = text.split_once(':')?;
        let id: NotificationId = id.parse().ok()?;
        Some((Micros(at.parse().ok()?), id.to_string()))
    };
    parse().ok_or_else(|| {
        Problem::new(Code::InvalidParameter, "cursor: pass the next_cursor of the page before")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_garbage_is_refused() {
        let id = NotificationId::fresh().to_string();
        assert_eq!(parse_cursor(&cursor(Micros(5), &id)).unwrap(), (Micros(5), id));
        for bad in
            ["", "x", "!!!", &URL_SAFE_NO_PAD.encode("5:dlv_1"), &URL_SAFE_NO_PAD.encode("a:b")]
        {
            assert_eq!(parse_cursor(bad).unwrap_err().code, Code::InvalidParameter, "{bad}");
        }
    }
}
