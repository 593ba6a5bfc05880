//! `/v1/dead-letters`: what was given up, for admins.
//! Reads and writes: the bus's dead letters, through `campana_bus::dlq`. Never: shows or touches a letter of
//! another tenant.
//!
//! A key belongs to a tenant, and so does a letter whose original subject names one. An admin sees the letters
//! of the key's own tenant. Letters that name none (requests, of which one message carries those of many
//! tenants; streams of others) belong to whoever runs the platform: to the command line, and to admins of
//! `operator_tenant`, who see everything. It is empty by default.

mod model;
pub(super) mod redrives;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use campana_bus::dlq::{self, DeadLetter, DlqError, Edit, Filter};
use campana_bus::fetch::StoredMessage;

use super::auth::Caller;
use super::body;
use super::problem::{Code, FieldCode, FieldError, Problem, ProblemDocument};
use super::query::Query;
use super::recipients::name_cursor;
use super::state::App;
use model::{DeadLetterDetail, DeadLetterPage, RedriveLetterIn};

/// Bytes of an editor's note.
const NOTE_BYTES_MAX: usize = 512;

/// The tenant whose letters the caller may see; `None` for all.
fn scope(app: &App, caller: &Caller) -> Option<String> {
    let operator = app.options.operator_tenant.as_str();
    (operator.is_empty() || operator != caller.tenant()).then(|| caller.tenant().to_owned())
}

fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is no such dead letter")
}

fn field(pointer: &str, code: FieldCode, detail: impl Into<String>) -> Problem {
    let detail = detail.into().into();
    Problem::fields(vec![FieldError { pointer: pointer.to_owned(), code, detail }])
}

/// What the caller is told; details of the bus go to the log.
fn problem(error: &DlqError) -> Problem {
    match error {
        DlqError::NotFound(_) => not_found(),
        DlqError::NoJob(_) => redrives::not_found(),
        DlqError::Claimed { .. } => Problem::new(Code::BeingRedriven, error.to_string()),
        DlqError::TooLarge { limit, .. } => Problem::new(
            Code::PayloadTooLarge,
            format!("the new body and its headers exceed the limit of {limit} bytes"),
        ),
        DlqError::NotEditable(_) => field("", FieldCode::Conflict, error.to_string()),
        DlqError::Invalid { field: name, reason } => {
            field(&format!("/{name}"), FieldCode::OutOfRange, reason.clone())
        }
        DlqError::TooManyJobs(_) => {
            Problem::new(Code::RateLimited, error.to_string()).retry_after(10)
        }
        DlqError::Fetch(_)
        | DlqError::Publish(_)
        | DlqError::Remove { .. }
        | DlqError::Refused { .. }
        | DlqError::Contended(_) => {
            tracing::warn!("dead letters: {error}");
            Problem::new(
                Code::Unavailable,
                "the dead letters cannot be reached or changed at the moment",
            )
            .retry_after(1)
        }
    }
}

/// List dead letters, oldest first
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "dead letters",
    params(
        ("stream" = Option<String>, Query, description = "Only from this stream"),
        ("consumer" = Option<String>, Query, description = "Only from this consumer"),
        ("class" = Option<String>, Query, description = "Only of this class"),
        ("reason" = Option<String>, Query, description = "Only with this reason"),
        ("error" = Option<String>, Query, description = "Only if the error contains this; `*` stands for any text"),
        ("from" = Option<String>, Query, description = "Only parked at this time or later, RFC 3339"),
        ("to" = Option<String>, Query, description = "Only parked before this time, RFC 3339"),
        ("limit" = Option<u32>, Query, description = "1 to 200, default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page; it can be short and still not be the last one", body = DeadLetterPage),
        (status = 503, description = "The bus does not answer", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn list_dead_letters(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<DeadLetterPage>, Problem> {
    let mut query = Query::parse(query.as_deref())?;
    let after = match name_cursor(&mut query)? {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            Problem::new(Code::InvalidParameter, "cursor: pass the next_cursor of the page before")
        })?,
    };
    let filter = Filter {
        stream: query.name("stream")?,
        consumer: query.name("consumer")?,
        class: query.name("class")?,
        reason: query.name("reason")?,
        error_contains: query.name("error")?,
        from: query.time("from")?,
        to: query.time("to")?,
        id: None,
        tenant: scope(&app, &caller),
    };
    let limit = query.limit()?;
    query.finish()?;
    let page = dlq::page(&app.deps.bus, &filter, after, limit as usize)
        .await
        .map_err(|error| problem(&error))?;
    Ok(Json(DeadLetterPage::from(page)))
}

/// The letter with this id, if the caller may see it.
async fn find(app: &App, caller: &Caller, id: u64) -> Result<(DeadLetter, StoredMessage), Problem> {
    let found = dlq::show(&app.deps.bus, id).await.map_err(|error| problem(&error))?;
    match scope(app, caller) {
        Some(tenant) if found.0.tenant.as_ref() != Some(&tenant) => Err(not_found()),
        _ => Ok(found),
    }
}

/// Read a dead letter with headers and body
#[utoipa::path(
    get, path = "/v1/dead-letters/{id}", tag = "dead letters",
    params(("id" = u64, Path, description = "Its id")),
    responses(
        (status = 200, description = "The dead letter", body = DeadLetterDetail),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn get_dead_letter(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
) -> Result<Json<DeadLetterDetail>, Problem> {
    let (letter, stored) = find(&app, &caller, id).await?;
    Ok(Json(DeadLetterDetail::of(letter, &stored)))
}

/// Discard a dead letter for good
#[utoipa::path(
    delete, path = "/v1/dead-letters/{id}", tag = "dead letters",
    params(("id" = u64, Path, description = "Its id")),
    responses(
        (status = 204, description = "Discarded"),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn delete_dead_letter(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
) -> Result<StatusCode, Problem> {
    find(&app, &caller, id).await?;
    let filter = Filter { id: Some(id), tenant: scope(&app, &caller), ..Filter::default() };
    let done = dlq::discard(&app.deps.bus, &filter, 1).await.map_err(|error| problem(&error))?;
    tracing::info!(key = caller.key_id(), dead_letter = id, "dead letter discarded");
    if done == 0 { Err(not_found()) } else { Ok(StatusCode::NO_CONTENT) }
}

/// Redrive a dead letter, with its own body or a corrected one
///
/// The message goes back to the consumer that gave it up, with fresh attempts; the letter is removed once the
/// message is stored. An empty body redrives it as it is.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/redrive", tag = "dead letters", request_body = RedriveLetterIn,
    params(("id" = u64, Path, description = "Its id")),
    responses(
        (status = 204, description = "Redriven"),
        (status = 404, description = "There is none", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else redrives it", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The new body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "Wrong fields", body = ProblemDocument, content_type = "application/problem+json"),
    ),
    security(("api_key" = []))
)]
pub(super) async fn post_dead_letter_redrive(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let limit = app.options.batch_bytes_max;
    let bytes = body::raw_bytes(body, limit, &app.options).await?;
    let edit = if bytes.is_empty() {
        None
    } else {
        let json = body::json_bytes(&headers, Body::from(bytes), limit, &app.options).await?;
        edit(body::decode(&json, "")?)?
    };
    find(&app, &caller, id).await?;
    let is_edited = edit.is_some();
    dlq::redrive_one(&app.deps.bus, id, edit).await.map_err(|error| problem(&error))?;
    tracing::info!(
        key = caller.key_id(),
        dead_letter = id,
        edited = is_edited,
        "dead letter redriven"
    );
    Ok(StatusCode::NO_CONTENT)
}

fn edit(input: RedriveLetterIn) -> Result<Option<Edit>, Problem> {
    let note = input.note.unwrap_or_default();
    if note.len() > NOTE_BYTES_MAX {
        let detail = format!("a note has at most {NOTE_BYTES_MAX} bytes");
        return Err(field("/note", FieldCode::TooLong, detail));
    }
    let body = match (input.json, input.base64) {
        (Some(_), Some(_)) => {
            return Err(field(
                "/base64",
                FieldCode::Conflict,
                "give the body once: json or base64",
            ));
        }
        (Some(json), None) => Bytes::from(json.get().to_owned()),
        (None, Some(text)) => STANDARD.decode(&text).map(Bytes::from).map_err(|_| {
            field("/base64", FieldCode::WrongType, "the text is not base64 with padding")
        })?,
        (None, None) if note.is_empty() => return Ok(None),
        (None, None) => {
            return Err(field("/note", FieldCode::Conflict, "a note belongs to a new body"));
        }
    };
    Ok(Some(Edit { body, note }))
}
