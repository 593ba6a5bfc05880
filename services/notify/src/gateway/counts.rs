//! `GET /v1/notifications/counts`: how many notifications and deliveries of the caller's tenant are in which
//! state. Reads: the status tables. Writes: nothing. Metrics tell the same of all tenants together and forget
//! with their process; this is one tenant's, for any time.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::{Extension, Json};
use campana_bus::clock::{self, Micros};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::problem::{Code, Problem, ProblemDocument};
use super::query::Query;
use super::state::App;
use super::status::store_problem;
use crate::store::counts::{COUNTED_MAX, CountFilter, Counts};

/// How far back is counted unless the caller says.
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// Notifications and deliveries by state.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountsOut {
    /// Accepted at this time or later.
    pub from: String,
    /// Accepted before this time.
    pub to: String,
    /// False if there are more than 500,000: then only the newest are counted.
    pub complete: bool,
    /// By status; a status that nothing has is left out.
    #[schema(example = json!({"completed": 981, "failed": 2}))]
    pub notifications: BTreeMap<String, u64>,
    /// By channel and status.
    #[schema(example = json!({"in_app": {"delivered": 983}, "email": {"sent": 40, "failed": 2}}))]
    pub deliveries: BTreeMap<String, BTreeMap<String, u64>>,
}

/// Count notifications and deliveries by state
#[utoipa::path(
    get, path = "/v1/notifications/counts", tag = "notifications",
    params(
        ("from" = Option<String>, Query, description = "Only accepted at this time or later, RFC 3339; default: a day ago"),
        ("to" = Option<String>, Query, description = "Only accepted before this time, RFC 3339; default: now"),
        ("recipient_prefix" = Option<String>, Query, description = "Only deliveries to recipients whose id begins with this, and notifications that have one"),
    ),
    responses(
        (status = 200, description = "The counts; states are recorded a moment after they change", body = CountsOut),
        (status = 400, description = "A wrong parameter", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn get_counts(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<CountsOut>, Problem> {
    let filter = filter(query.as_deref(), clock::now())?;
    let counts = app
        .deps
        .store
        .counts(caller.tenant(), &filter)
        .await
        .map_err(|error| store_problem(&error))?;
    Ok(Json(out(&filter, counts)))
}

fn filter(query: Option<&str>, now: Micros) -> Result<CountFilter, Problem> {
    let mut query = Query::parse(query)?;
    let to = query.time("to")?.unwrap_or(now);
    let from = query.time("from")?.unwrap_or(Micros(to.0.saturating_sub(DAY_MICROS)));
    let recipient_prefix = query.name("recipient_prefix")?;
    query.finish()?;
    if from >= to {
        return Err(Problem::new(Code::InvalidParameter, "from: must be before `to`"));
    }
    Ok(CountFilter { from, to, recipient_prefix, limit: COUNTED_MAX })
}

fn out(filter: &CountFilter, counts: Counts) -> CountsOut {
    CountsOut {
        from: filter.from.to_rfc3339(),
        to: filter.to.to_rfc3339(),
        complete: counts.complete,
        notifications: counts.notifications,
        deliveries: counts.deliveries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_counted_unless_the_caller_says_otherwise() {
        let now = Micros::from_rfc3339("2026-05-02T12:00:00Z").unwrap();
        let found = filter(None, now).unwrap();
        assert_eq!(
            (found.from.to_rfc3339(), found.to),
            (filter(Some("from=2026-05-01T12:00:00Z"), now).unwrap().from.to_rfc3339(), now)
        );
        let found = filter(Some("from=2026-05-02T11:00:00Z&recipient_prefix=lt-7-"), now).unwrap();
        assert_eq!(found.recipient_prefix.as_deref(), Some("lt-7-"));
        assert_eq!(found.to.since(found.from), 3_600_000_000);
        for bad in ["from=2026-05-02T12:00:00Z", "from=noon", "prefix=a", "recipient_prefix=a%0Ab"]
        {
            assert_eq!(filter(Some(bad), now).unwrap_err().code, Code::InvalidParameter, "{bad}");
        }
    }
}
