//! `/v1/deliveries/{id}…`: what the app says about a message in hand apart from its answer.
//! Reads and writes: the deliveries in hand. Never: settles a message twice.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::RETRY_AFTER_MAX;
use crate::in_hand::{Decision, DeliveryView, Refused};
use crate::input;
use crate::options::Limits;
use crate::problem::{Code, Problem, ProblemDocument};
use crate::state::Sidecar;

/// Bytes of a reason: it is a class, and becomes a filter for operators.
const REASON_BYTES_MAX: usize = 64;
/// Bytes of the words for people.
const ERROR_BYTES_MAX: usize = 2_048;
/// Bytes of a body. These requests are let in beyond the number of others, so they must be small.
const BODY_BYTES_MAX: usize = 16 * 1024;

fn refused(why: Refused) -> Problem {
    match why {
        Refused::Unknown => Problem::new(
            Code::NotFound,
            "no delivery with this id is in hand: it is settled, its time is over, or it never was",
        ),
        Refused::Settled => Problem::new(Code::DeliverySettled, "it was answered before"),
    }
}

/// Show a delivery in hand
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", tag = "deliveries",
    params(("id" = String, Path, description = "`campana-delivery-id`")),
    responses(
        (status = 200, description = "In hand", body = DeliveryView),
        (status = 404, description = "Not in hand", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_delivery(
    State(sidecar): State<Sidecar>,
    Path(id): Path<String>,
) -> Result<Json<DeliveryView>, Problem> {
    sidecar.in_hand.view(&id).map(Json).map_err(refused)
}

/// Say that a delivery is handled
///
/// For subscriptions with `answer_later`, after the app answered 202.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/ack", tag = "deliveries",
    params(("id" = String, Path, description = "`campana-delivery-id`")),
    responses(
        (status = 204, description = "Taken"),
        (status = "4XX", description = "Not in hand, or answered before", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_ack(
    State(sidecar): State<Sidecar>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    decide(&sidecar, &id, Decision::Ack)
}

/// When to try again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryBody {
    /// Seconds to wait, at most a day; the subscription's backoff if absent.
    after_seconds: Option<f64>,
}

/// Ask for another attempt
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/retry", tag = "deliveries",
    params(("id" = String, Path, description = "`campana-delivery-id`")),
    request_body(content = Option<RetryBody>),
    responses(
        (status = 204, description = "Taken"),
        (status = "4XX", description = "Not in hand, answered before, or not understood", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_retry(
    State(sidecar): State<Sidecar>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let wanted: RetryBody = optional(&sidecar, &headers, body).await?;
    let after = match wanted.after_seconds {
        Some(seconds) => Some(pause("/after_seconds", seconds, RETRY_AFTER_MAX)?),
        None => None,
    };
    decide(&sidecar, &id, Decision::Retry { after })
}

/// Why a message is given up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterBody {
    /// Machine-readable class: lower-case letters, digits, `_`, `-` and `.`; at most 64 bytes.
    #[schema(example = "unknown_currency")]
    reason: String,
    /// The same for people; at most 2,048 bytes. It is stored with the dead letter.
    #[serde(default)]
    error: String,
}

/// Give a message up
///
/// It is kept as a dead letter, whatever the app answers to the request.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/dead-letter", tag = "deliveries",
    params(("id" = String, Path, description = "`campana-delivery-id`")),
    request_body = DeadLetterBody,
    responses(
        (status = 204, description = "Taken"),
        (status = "4XX", description = "Not in hand, answered before, or not understood", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_dead_letter(
    State(sidecar): State<Sidecar>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let DeadLetterBody { reason, error } = input::json(&headers, body, &limits(&sidecar)).await?;
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.')
    };
    if !(1..=REASON_BYTES_MAX).contains(&reason.len()) || !reason.bytes().all(plain) {
        return Err(Problem::at(
            "/reason",
            "1 to 64 lower-case letters, digits, \"_\", \"-\" and \".\"",
        ));
    }
    if error.len() > ERROR_BYTES_MAX {
        return Err(Problem::at("/error", format!("at most {ERROR_BYTES_MAX} bytes")));
    }
    let error = if error.is_empty() { "given up by the app".to_owned() } else { error };
    decide(&sidecar, &id, Decision::Dead { reason, error })
}

/// How much more time.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendBody {
    /// Seconds from now; `hold_seconds` of the subscription is the end.
    seconds: f64,
}

/// Ask for more time
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/extend", tag = "deliveries",
    params(("id" = String, Path, description = "`campana-delivery-id`")),
    request_body = ExtendBody,
    responses(
        (status = 200, description = "How long it has now", body = DeliveryView),
        (status = "4XX", description = "Not in hand, answered before, or not understood", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post_extend(
    State(sidecar): State<Sidecar>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DeliveryView>, Problem> {
    let wanted: ExtendBody = input::json(&headers, body, &limits(&sidecar)).await?;
    let by = pause("/seconds", wanted.seconds, RETRY_AFTER_MAX)?;
    sidecar.in_hand.extend(&id, by).map(Json).map_err(refused)
}

fn decide(sidecar: &Sidecar, id: &str, decision: Decision) -> Result<StatusCode, Problem> {
    sidecar.in_hand.decide(id, decision).map(|()| StatusCode::NO_CONTENT).map_err(refused)
}

fn pause(pointer: &'static str, seconds: f64, most: Duration) -> Result<Duration, Problem> {
    if (0.0..=most.as_secs_f64()).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(Problem::at(pointer, format!("0 to {} seconds", most.as_secs())))
}

fn limits(sidecar: &Sidecar) -> Limits {
    let all = sidecar.options.limits;
    Limits { body_bytes_max: all.body_bytes_max.min(BODY_BYTES_MAX), ..all }
}

/// A body that may be left out.
async fn optional<T: serde::de::DeserializeOwned + Default>(
    sidecar: &Sidecar,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    if headers.contains_key(axum::http::header::CONTENT_TYPE) {
        return input::json(headers, body, &limits(sidecar)).await;
    }
    let bytes = input::body(body, &limits(sidecar)).await?;
    if bytes.is_empty() { Ok(T::default()) } else { input::parse(&bytes) }
}
