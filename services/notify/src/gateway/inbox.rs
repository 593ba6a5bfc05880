//! `POST /v1/inbox/{read,seen,archive,unarchive}`: a person marks messages, with the token of their
//! connection. Reads: the store, to find whose deliveries were read. Writes: `CHANNELS` (the person's other
//! tabs hear it), for read also `OUTCOMES`: what a person saw or put away is between the person and their
//! devices. Never: marks a delivery of somebody else; ids of others only reach the person's own inbox
//! channel, where they mean nothing.

mod model;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use bytes::Bytes;
use campana_bus::clock::{self, Micros};
use campana_bus::ids::{DeliveryId, MessageId, NotificationId};
use campana_bus::publish::{Outgoing, PublishError};
use campana_bus::subjects::{self, ChannelName};
use campana_bus::trace::TraceParent;
use campana_identity::ConnectionClaims;
use futures::future::join_all;
use serde::Serialize;

use self::model::{Kind, MarkIn, MarkOut, ReadOut};
use super::auth::bearer;
use super::body;
use super::context::RequestContext;
use super::problem::{Code, FieldCode, Problem, ProblemDocument};
use super::state::App;
use super::validate::FieldErrors;
use crate::contracts::{OUTCOME_TYPE, Outcome, OutcomeEvent};
use crate::store::DeliveryRow;

const IDS_MAX: usize = 100;
const SOURCE: &str = "/campana/gateway";
/// How long to wait for the recorder to know a delivery that the browser already has.
const RECORDER_WAIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(40);

/// Mark inbox messages as read
#[utoipa::path(
    post, path = "/v1/inbox/read", tag = "inbox", request_body = MarkIn,
    responses(
        (status = 200, description = "Marked", body = ReadOut),
        (status = 401, description = "No valid connection token", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not stored; try again", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("connection_token" = []))
)]
pub(super) async fn post_read(
    State(app): State<App>,
    axum::Extension(context): axum::Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReadOut>, Problem> {
    let mark = told(&app, &headers, body, context.trace, Kind::Read).await?;
    let deliveries = own_deliveries(&app, &mark.claims, &mark.ids).await;
    let recorded = join_all(
        deliveries.iter().map(|row| record(&app, &mark.claims, row, mark.at, context.trace)),
    )
    .await;
    for result in recorded {
        result.map_err(|error| publish_problem(&error))?;
    }
    Ok(Json(ReadOut { read: deliveries.len() }))
}

/// Mark inbox messages as seen
///
/// Seen is weaker than read: the panel was open and the row was on the screen.
#[utoipa::path(
    post, path = "/v1/inbox/seen", tag = "inbox", request_body = MarkIn,
    responses(
        (status = 200, description = "Marked", body = MarkOut),
        (status = 401, description = "No valid connection token", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not stored; try again", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("connection_token" = []))
)]
pub(super) async fn post_seen(
    State(app): State<App>,
    axum::Extension(context): axum::Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MarkOut>, Problem> {
    told(&app, &headers, body, context.trace, Kind::Seen).await.map(|mark| marked(&mark))
}

/// Archive inbox messages
///
/// Of all archive and unarchive marks for a message the latest counts.
#[utoipa::path(
    post, path = "/v1/inbox/archive", tag = "inbox", request_body = MarkIn,
    responses(
        (status = 200, description = "Marked", body = MarkOut),
        (status = 401, description = "No valid connection token", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not stored; try again", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("connection_token" = []))
)]
pub(super) async fn post_archive(
    State(app): State<App>,
    axum::Extension(context): axum::Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MarkOut>, Problem> {
    told(&app, &headers, body, context.trace, Kind::Archive).await.map(|mark| marked(&mark))
}

/// Take inbox messages back from the archive
#[utoipa::path(
    post, path = "/v1/inbox/unarchive", tag = "inbox", request_body = MarkIn,
    responses(
        (status = 200, description = "Marked", body = MarkOut),
        (status = 401, description = "No valid connection token", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not stored; try again", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("connection_token" = []))
)]
pub(super) async fn post_unarchive(
    State(app): State<App>,
    axum::Extension(context): axum::Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MarkOut>, Problem> {
    told(&app, &headers, body, context.trace, Kind::Unarchive).await.map(|mark| marked(&mark))
}

/// A mark that the person's devices were told of.
struct Mark {
    claims: ConnectionClaims,
    ids: BTreeSet<DeliveryId>,
    at: Micros,
}

fn marked(mark: &Mark) -> Json<MarkOut> {
    Json(MarkOut { marked: mark.ids.len() })
}

/// Checks who asks and for what, and publishes the mark.
async fn told(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    trace: TraceParent,
    kind: Kind,
) -> Result<Mark, Problem> {
    let at = clock::now();
    let claims = claims(app, bearer(headers)?, at).await?;
    let json = body::json_bytes(headers, body, app.options.body_bytes_max, &app.options).await?;
    let ids = check_ids(&body::decode::<MarkIn>(&json, "")?.ids)?;
    let mark = Mark { claims, ids, at };
    tell_tabs(app, &mark, kind, trace).await?;
    Ok(mark)
}

/// Who the token is for: whatever lets a browser in at the edge is good here.
async fn claims(app: &App, token: &str, at: Micros) -> Result<ConnectionClaims, Problem> {
    if app.token_keys.verifier().misses_key(token) && app.fetcher.ask().await.is_err() {
        let detail = "the keys of tokens cannot be fetched at the moment; try again";
        return Err(Problem::new(Code::Unavailable, detail).retry_after(1));
    }
    app.token_keys
        .verifier()
        .connection(token, at.0.div_euclid(1_000_000))
        .map_err(|error| Problem::new(Code::Unauthorized, error.to_string()))
}

fn check_ids(ids: &[String]) -> Result<BTreeSet<DeliveryId>, Problem> {
    let mut errors = FieldErrors::default();
    if ids.is_empty() {
        errors.push("/ids", FieldCode::Empty, "at least one id is needed");
    }
    if ids.len() > IDS_MAX {
        errors.push("/ids", FieldCode::TooMany, format!("at most {IDS_MAX} ids are allowed"));
    }
    let mut parsed = BTreeSet::new();
    for (position, id) in ids.iter().take(IDS_MAX).enumerate() {
        match id.parse() {
            Ok(id) => {
                parsed.insert(id);
            }
            Err(_) => errors.push(
                &format!("/ids/{position}"),
                FieldCode::InvalidId,
                "an id has the form dlv_<32 hexadecimal digits>",
            ),
        }
    }
    errors.finish().map(|()| parsed)
}

fn publish_problem(error: &PublishError) -> Problem {
    tracing::warn!("a mark was not stored: {error}");
    Problem::new(Code::Unavailable, "the mark was not stored; repeat the request").retry_after(1)
}

fn encode(value: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("contracts of texts and numbers always encode"))
}

async fn tell_tabs(app: &App, mark: &Mark, kind: Kind, trace: TraceParent) -> Result<(), Problem> {
    let channel = ChannelName::inbox(&mark.claims.user)
        .map_err(|_| Problem::new(Code::Unauthorized, "the token's user has no inbox"))?;
    let (body, event_type) = kind.message(mark.ids.iter().copied().collect(), mark.at);
    let subject = subjects::channel(mark.claims.tenant.as_str(), &channel);
    let outgoing = Outgoing::new(subject, MessageId::fresh().to_string(), body).event(
        event_type,
        SOURCE,
        mark.at,
        Some(trace),
    );
    app.deps.channels.publish(outgoing).await.map(|_| ()).map_err(|error| publish_problem(&error))
}

/// The deliveries that are this person's. Waits briefly for the recorder: a browser is often faster.
async fn own_deliveries(
    app: &App,
    claims: &ConnectionClaims,
    ids: &BTreeSet<DeliveryId>,
) -> Vec<DeliveryRow> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let permit = app.status_waiters.try_acquire().ok();
    let started = clock::monotonic();
    loop {
        let answer = app.deps.store.deliveries_of(claims.tenant.as_str(), &claims.user, &texts);
        let rows = match tokio::time::timeout(app.options.store_timeout(), answer).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                tracing::warn!("read marks are not recorded: {error}");
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        if rows.len() == texts.len() || permit.is_none() || started.elapsed() > RECORDER_WAIT {
            return rows;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn record(
    app: &App,
    claims: &ConnectionClaims,
    row: &DeliveryRow,
    now: Micros,
    trace: TraceParent,
) -> Result<(), PublishError> {
    let (Ok(delivery_id), Ok(notification_id)) =
        (row.id.parse::<DeliveryId>(), row.notification_id.parse::<NotificationId>())
    else {
        return Ok(());
    };
    let id = MessageId::derived(&["read", &row.id]).to_string();
    let outcome = Outcome {
        id: id.clone(),
        notification_id,
        tenant: claims.tenant.as_str().to_owned(),
        at: now,
        trace,
        event: OutcomeEvent::Read { delivery_id },
    };
    publish_outcome(app, &outcome).await
}

/// Publishes an outcome under its own id, so that a repeat is stored once.
pub(super) async fn publish_outcome(app: &App, outcome: &Outcome) -> Result<(), PublishError> {
    let subject = subjects::outcome(&outcome.tenant, &outcome.notification_id.to_string());
    let outgoing = Outgoing::new(subject, outcome.id.clone(), encode(outcome)).event(
        OUTCOME_TYPE,
        SOURCE,
        outcome.at,
        Some(outcome.trace),
    );
    app.deps.outcomes.publish(outgoing).await.map(|_| ())
}
