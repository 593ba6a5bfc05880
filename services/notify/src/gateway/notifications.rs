//! `POST /v1/notifications` and `POST /v1/notifications/batch`.
//! Reads: names in the store (cached), idempotency records. Writes: the stream `REQUESTS`, idempotency
//! records. Never: SQL, a provider, or an answer of 202 before the stream has acknowledged.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use campana_bus::clock;
use campana_bus::ids::NotificationId;
use campana_bus::publish::{Part, PublishError};
use campana_bus::stamps::Stamps;
use campana_bus::subjects;
use campana_bus::trace::TraceParent;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::auth::{self, Caller};
use super::body;
use super::context::RequestContext;
use super::idempotency::{self, Claim, Ticket};
use super::lookup;
use super::notification_in::{Draft, NotificationIn};
use super::problem::{Code, FieldCode, FieldError, Problem, ProblemDocument};
use super::stamps;
use super::state::App;
use crate::contracts::{Content, Priority};

/// The promise that a notification will end in a final state or in the dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// Its id.
    #[schema(example = "ntf_019a3c1e5b0a7c3f8a1d2b3c4d5e6f70")]
    pub id: String,
    /// Always `accepted`.
    #[schema(example = "accepted")]
    pub status: &'static str,
    /// How many recipients it has.
    pub recipients: usize,
    /// Search for this in logs and traces.
    pub trace_id: String,
    /// Where to look next.
    pub links: Links,
}

/// Where to look next.
#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    /// The notification's status.
    #[serde(rename = "self")]
    pub this: String,
}

/// Many notifications.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchIn {
    /// At most 1,000; each is accepted or rejected by itself.
    #[schema(value_type = Vec<NotificationIn>)]
    pub notifications: Vec<Box<RawValue>>,
}

/// What became of each.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchOut {
    /// How many were accepted.
    pub accepted: usize,
    /// How many were rejected.
    pub rejected: usize,
    /// One line each, in the order of the request.
    pub results: Vec<BatchResult>,
}

/// What became of one.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchResult {
    /// Its position in the request.
    pub index: usize,
    /// `accepted` or `rejected`.
    pub status: &'static str,
    /// Its id, if it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When it was accepted and stored, if the request asked for stamps: the text of the header
    /// `Campana-Stamps` of a single notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamps: Option<String>,
    /// Why not, if it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ProblemDocument>,
}

/// A notification that is stored.
struct Stored {
    accepted: Accepted,
    stamps: Option<Stamps>,
}

/// Send a notification
///
/// Answers 202 when the notification is on disk. From then on it ends in a final state or in the dead
/// letters. With an `Idempotency-Key` a repeat gets the first answer again.
#[utoipa::path(
    post, path = "/v1/notifications", tag = "notifications", request_body = NotificationIn,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "At most 255 characters; remembered for 24 hours"),
        ("Campana-Stamps" = Option<String>, Header, description = "`1` asks for the times of the stages on the way, on the host's monotonic clock"),
    ),
    responses(
        (status = 202, description = "Stored", body = Accepted, headers(
            ("Campana-Stamps" = String, description = "If asked for, and not in a replay: `boot=…;accepted=…;stored=…`, in nanoseconds"),
        )),
        (status = 400, description = "Not JSON", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "No valid API key", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "The role is too weak", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "The same key is in flight", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "Not application/json", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "Wrong fields, or a key used for another body", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not stored; try again", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn post_notification(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer_one(&app, &context, &caller, &headers, body).await.unwrap_or_else(|problem| {
        app.metrics.rejected(problem.code, 1);
        problem.into_response()
    })
}

async fn answer_one(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    app.admission.check()?;
    let key = idempotency::key_of(headers)?;
    let json = body::json_bytes(headers, body, app.options.body_bytes_max, &app.options).await?;
    let input = body::decode::<NotificationIn>(&json, "")?;
    let draft = Draft::check(input, "", &app.options, clock::now())?;
    let tenant = caller.tenant();
    let stamped = stamps::asked(headers, &app.options);
    let Some(key) = key else {
        check_names(app, tenant, &draft, "").await?;
        let id = NotificationId::fresh();
        let stored = store(app, tenant, id, context.trace, draft, stamped).await?;
        return Ok(stamps::show(
            accepted_response(to_json(&stored.accepted), false),
            stored.stamps,
        ));
    };
    let fingerprint = idempotency::fingerprint("POST", "/v1/notifications", &json);
    let ticket = match app.idempotency.claim(tenant, key, fingerprint).await? {
        Claim::Replay(body) => {
            app.metrics.replayed.increment(1);
            return Ok(accepted_response(body, true));
        }
        Claim::Fresh(ticket) => ticket,
    };
    // The id follows from the key: whatever happens to the record, a repeat is the same notification.
    let id = NotificationId::derived(&[tenant, key]);
    let (this, tenant, trace) = (app.clone(), tenant.to_owned(), context.trace);
    // In a task of its own: a caller who hangs up early must not leave the key in flight.
    let (answer, answered) = oneshot::channel();
    app.lifecycle.spawn("idempotent request", async move {
        let result = finish_claimed(&this, &tenant, id, trace, draft, (ticket, stamped)).await;
        let _ = answer.send(result);
    });
    let (body, stamps) = answered.await.map_err(|_| {
        Problem::new(Code::Unavailable, "the gateway is stopping; repeat the request")
            .retry_after(1)
    })??;
    Ok(stamps::show(accepted_response(body, false), stamps))
}

async fn finish_claimed(
    app: &App,
    tenant: &str,
    id: NotificationId,
    trace: TraceParent,
    draft: Draft,
    (ticket, stamped): (Ticket, bool),
) -> Result<(String, Option<Stamps>), Problem> {
    let result = match check_names(app, tenant, &draft, "").await {
        Ok(()) => store(app, tenant, id, trace, draft, stamped).await,
        Err(problem) => Err(problem),
    };
    match result {
        Ok(Stored { accepted, stamps }) => {
            let body = to_json(&accepted);
            app.idempotency.finish(ticket, body.clone()).await;
            Ok((body, stamps))
        }
        Err(problem) => {
            app.idempotency.release(ticket).await;
            Err(problem)
        }
    }
}

/// Recipients and template must exist, as far as the store can tell now.
async fn check_names(app: &App, tenant: &str, draft: &Draft, prefix: &str) -> Result<(), Problem> {
    let ids: Vec<(usize, &str)> = draft
        .to
        .iter()
        .enumerate()
        .filter(|(_, target)| !target.inline)
        .map(|(position, target)| (position, target.id.as_str()))
        .collect();
    let mut errors: Vec<FieldError> = lookup::missing_recipients(app, tenant, &ids)
        .await
        .into_iter()
        .map(|position| FieldError {
            pointer: format!("{prefix}{}", draft.recipient_pointer(position)),
            code: FieldCode::UnknownRecipient,
            detail: "there is no such recipient; write it first, or describe it here".into(),
        })
        .collect();
    if let Content::Template { key, .. } = &draft.content
        && lookup::template_is_missing(app, tenant, key).await
    {
        errors.push(FieldError {
            pointer: format!("{prefix}/template"),
            code: FieldCode::UnknownTemplate,
            detail: "there is no such template".into(),
        });
    }
    errors.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    errors.truncate(super::validate::ERRORS_MAX);
    if errors.is_empty() { Ok(()) } else { Err(Problem::fields(errors)) }
}

async fn store(
    app: &App,
    tenant: &str,
    id: NotificationId,
    trace: TraceParent,
    draft: Draft,
    stamped: bool,
) -> Result<Stored, Problem> {
    let (recipients, priority) = (draft.to.len(), draft.priority);
    let stamps = stamps::accepted(stamped);
    let mut request = draft.into_request(id, tenant, clock::now(), trace);
    request.stamps = stamps.map(|stamps| stamps.to_string());
    let id = id.to_string();
    let body = Bytes::from(to_json(&request));
    publish(app, priority, Part { id: id.clone(), body, trace: Some(trace) }).await?;
    let stamps = stamps::stored(stamps);
    app.metrics.accepted(priority, 1);
    let links = Links { this: format!("/v1/notifications/{id}") };
    let trace_id = trace.trace_id();
    let accepted = Accepted { id, status: "accepted", recipients, trace_id, links };
    Ok(Stored { accepted, stamps })
}

async fn publish(app: &App, priority: Priority, part: Part) -> Result<(), Problem> {
    match app.deps.requests.publish(subjects::request(priority.as_str()), part).await {
        Ok(_) => Ok(()),
        Err(PublishError::TooLarge) => Err(Problem::new(
            Code::PayloadTooLarge,
            "the notification is larger than the message store accepts",
        )),
        Err(error) => {
            tracing::warn!("a notification was not stored: {error}");
            Err(Problem::new(
                Code::Unavailable,
                "the notification was not stored; repeat the request",
            )
            .retry_after(1))
        }
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("string-keyed structs of plain values always encode")
}

fn accepted_response(body: String, replayed: bool) -> Response {
    let mut response = (StatusCode::ACCEPTED, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if replayed {
        response.headers_mut().insert(
            HeaderName::from_static("idempotent-replayed"),
            HeaderValue::from_static("true"),
        );
    }
    response
}

/// Send up to 1,000 notifications
///
/// Each is accepted or rejected by itself; the answer has one line for each, in order.
#[utoipa::path(
    post, path = "/v1/notifications/batch", tag = "notifications", request_body = BatchIn,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "At most 255 characters; remembered for 24 hours"),
        ("Campana-Stamps" = Option<String>, Header, description = "`1` asks for the times of the stages on the way, on the host's monotonic clock"),
    ),
    responses(
        (status = 202, description = "What became of each", body = BatchOut),
        (status = 400, description = "Not JSON", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "The same key is in flight", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Not stored; try again", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn post_batch(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer_batch(&app, &context, &caller, &headers, body).await.unwrap_or_else(|problem| {
        app.metrics.rejected(problem.code, 1);
        problem.into_response()
    })
}

async fn answer_batch(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    app.admission.check()?;
    let key = idempotency::key_of(headers)?;
    let json = body::json_bytes(headers, body, app.options.batch_bytes_max, &app.options).await?;
    let batch = body::decode::<BatchIn>(&json, "")?;
    check_batch_size(app, batch.notifications.len())?;
    // The request itself has already cost one.
    let more = u32::try_from(batch.notifications.len()).unwrap_or(u32::MAX).saturating_sub(1);
    let verdict = caller.take(more);
    if !verdict.allowed {
        app.metrics.rejected(Code::RateLimited, batch.notifications.len() as u64);
        return Ok(auth::limited(verdict, app.options.rate_burst));
    }
    let mut ticket = None;
    if let Some(key) = key {
        let fingerprint = idempotency::fingerprint("POST", "/v1/notifications/batch", &json);
        match app.idempotency.claim(caller.tenant(), key, fingerprint).await? {
            Claim::Replay(body) => {
                app.metrics.replayed.increment(1);
                return Ok(accepted_response(body, true));
            }
            Claim::Fresh(fresh) => ticket = Some(fresh),
        }
    }
    let stamped = stamps::asked(headers, &app.options);
    let results = join_all(batch.notifications.iter().enumerate().map(|(index, raw)| {
        let id = key.map_or_else(NotificationId::fresh, |key| {
            NotificationId::derived(&[caller.tenant(), key, &index.to_string()])
        });
        take_item(app, caller.tenant(), context.trace, (index, id, raw), stamped)
    }))
    .await;
    let failed_for_now =
        results.iter().any(|result| matches!(result, Err(problem) if problem.code.retryable()));
    let answer = to_json(&batch_answer(app, &results, &context.request_id));
    if let Some(ticket) = ticket {
        if failed_for_now {
            // A repeat shall try these again; the accepted ones keep their derived ids.
            app.idempotency.release(ticket).await;
        } else {
            app.idempotency.finish(ticket, answer.clone()).await;
        }
    }
    let mut response = accepted_response(answer, false);
    auth::rate_headers(&mut response, verdict, app.options.rate_burst);
    Ok(response)
}

fn check_batch_size(app: &App, items: usize) -> Result<(), Problem> {
    let wrong = |code, detail: String| {
        Err(Problem::fields(vec![FieldError {
            pointer: "/notifications".to_owned(),
            code,
            detail: detail.into(),
        }]))
    };
    if items == 0 {
        return wrong(FieldCode::Empty, "at least one notification is needed".to_owned());
    }
    if items > app.options.batch_items_max {
        return wrong(
            FieldCode::TooMany,
            format!("at most {} notifications are allowed", app.options.batch_items_max),
        );
    }
    Ok(())
}

async fn take_item(
    app: &App,
    tenant: &str,
    trace: TraceParent,
    (index, id, raw): (usize, NotificationId, &RawValue),
    stamped: bool,
) -> Result<Stored, Problem> {
    let prefix = format!("/notifications/{index}");
    let json = raw.get().as_bytes();
    if json.len() > app.options.body_bytes_max {
        let detail =
            format!("one notification has at most {} bytes", app.options.body_bytes_max).into();
        return Err(Problem::fields(vec![FieldError {
            pointer: prefix,
            code: FieldCode::ItemTooLarge,
            detail,
        }]));
    }
    let input = body::decode::<NotificationIn>(json, &prefix)?;
    let draft = Draft::check(input, &prefix, &app.options, clock::now())?;
    check_names(app, tenant, &draft, &prefix).await?;
    store(app, tenant, id, trace.child(), draft, stamped).await
}

fn batch_answer(app: &App, results: &[Result<Stored, Problem>], request_id: &str) -> BatchOut {
    let lines: Vec<BatchResult> = results
        .iter()
        .enumerate()
        .map(|(index, result)| match result {
            Ok(Stored { accepted, stamps }) => BatchResult {
                index,
                status: accepted.status,
                id: Some(accepted.id.clone()),
                stamps: stamps.map(|stamps| stamps.to_string()),
                error: None,
            },
            Err(problem) => {
                app.metrics.rejected(problem.code, 1);
                BatchResult {
                    index,
                    status: "rejected",
                    id: None,
                    stamps: None,
                    error: Some(problem.document(request_id)),
                }
            }
        })
        .collect();
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    BatchOut { accepted, rejected: results.len() - accepted, results: lines }
}
