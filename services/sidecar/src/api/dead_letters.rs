//! `GET /v1/dead-letters`: what this app's subscriptions gave up. Read only: operators redrive.
//! Reads: the dead letters of the declared subscriptions. Writes: nothing. Never: shows another consumer's.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use campana_bus::dlq::{self, DeadLetter, Filter};
use campana_bus::topology::EVENTS;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::input;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::state::Sidecar;

/// Dead letters of one answer.
const LIST_MAX: usize = 100;

/// Which dead letters.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLetterQuery {
    /// Of which declared subscription.
    subscription: String,
    /// At most this many, up to 100, oldest first.
    limit: Option<usize>,
}

/// One dead letter without its body.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterView {
    /// The id that `campana dlq` takes.
    id: u64,
    /// Of which subscription.
    subscription: String,
    /// Bounded class of the failure.
    class: String,
    /// Machine-readable reason.
    reason: String,
    /// The same for people.
    error: String,
    /// Attempts made.
    attempts: u32,
    /// Its sequence in the stream `EVENTS`.
    sequence: u64,
    /// When it was parked, RFC 3339.
    dead_at: String,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            subscription: letter.consumer,
            class: letter.class,
            reason: letter.reason,
            error: letter.error,
            attempts: letter.attempts,
            sequence: letter.sequence,
            dead_at: letter.dead_at,
        }
    }
}

/// Dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterList {
    /// Oldest first.
    dead_letters: Vec<DeadLetterView>,
}

/// List dead letters of a subscription
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "deliveries",
    params(DeadLetterQuery),
    responses(
        (status = 200, description = "Oldest first", body = DeadLetterList),
        (status = 404, description = "No such subscription is declared", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_dead_letters(
    State(sidecar): State<Sidecar>,
    uri: Uri,
) -> Result<Json<DeadLetterList>, Problem> {
    let query = input::query::<DeadLetterQuery>(&uri)?;
    if !sidecar.manager.declares(&query.subscription) {
        return Err(Problem::new(Code::NotFound, "no subscription of this name is declared"));
    }
    let filter = Filter {
        stream: Some(EVENTS.to_owned()),
        consumer: Some(query.subscription),
        ..Filter::default()
    };
    let limit = query.limit.unwrap_or(LIST_MAX).min(LIST_MAX);
    let letters = dlq::list(&sidecar.bus, &filter, limit)
        .await
        .map_err(|error| Problem::new(Code::Unavailable, error.to_string()))?;
    let dead_letters = letters.into_iter().map(DeadLetterView::from).collect();
    Ok(Json(DeadLetterList { dead_letters }))
}
