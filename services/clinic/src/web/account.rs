//! One's own account: how one is reached, which browsers are signed in, and what the bell needs.
//! Reads and writes: the store; the platform for tokens and marks. Never: hands out the API key.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use campana_bus::clock;
use campana_bus::clock::Micros;
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::auth::{Form, Signed, shown, within};
use super::fields;
use super::problem::{Code, Problem};
use crate::store::accounts::Account;
use crate::words::Language;

/// Marks that the bell sets.
const MARKS: [&str; 4] = ["seen", "read", "archive", "unarchive"];

/// `GET /api/me`.
pub async fn me(signed: Signed) -> Json<Value> {
    Json(shown(&signed.account))
}

/// `PUT /api/me`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Save {
    name: String,
    language: String,
    phone: String,
    wants: Wants,
    version: i64,
}

/// Over which channels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wants {
    email: bool,
    sms: bool,
    whatsapp: bool,
}

/// Changes how somebody is called and reached.
pub async fn save(
    State(app): State<App>,
    signed: Signed,
    Form(form): Form<Save>,
) -> Result<Json<Value>, Problem> {
    within(&app.limits.changes, &signed.account.id)?;
    let phone = fields::phone(&form.phone)?;
    if phone.is_empty() && (form.wants.sms || form.wants.whatsapp) {
        return Err(Problem::field("/phone", "SMS and WhatsApp need a phone number"));
    }
    let account = Account {
        name: fields::name(&form.name)?,
        language: Language::of(&form.language).tag().to_owned(),
        phone,
        wants_email: form.wants.email,
        wants_sms: form.wants.sms,
        wants_whatsapp: form.wants.whatsapp,
        version: form.version,
        ..signed.account
    };
    match app.store.save_account(&account).await? {
        Some(saved) => Ok(Json(shown(&saved))),
        None => Err(Problem::of(Code::ChangedMeanwhile)),
    }
}

/// `GET /api/sessions`.
pub async fn sessions(State(app): State<App>, signed: Signed) -> Result<Json<Value>, Problem> {
    let all = app.store.sessions(&signed.account.id, clock::now()).await?;
    let all: Vec<Value> = all
        .into_iter()
        .map(|one| {
            json!({
                "id": one.id, "device": one.device, "current": one.id == signed.session,
                "created_at": Micros(one.created_at).to_rfc3339(),
                "last_used_at": Micros(one.last_used_at).to_rfc3339(),
            })
        })
        .collect();
    Ok(Json(json!({"data": all})))
}

/// `DELETE /api/sessions/{id}`.
pub async fn end_session(
    State(app): State<App>,
    signed: Signed,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if app.store.end_session(&signed.account.id, &id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::of(Code::NotFound))
}

/// `POST /api/edge-token`: what the bell and the live updates connect with.
pub async fn edge_token(State(app): State<App>, signed: Signed) -> Result<Json<Value>, Problem> {
    within(&app.limits.bell, &signed.account.id)?;
    match app.platform.token(&signed.account.id).await {
        Ok(token) => Ok(Json(json!({"token": token.token, "expires_at": token.expires_at}))),
        Err(why) => {
            tracing::warn!("no connection token: {why}");
            Err(Problem::later(Code::PlatformUnavailable, 3))
        }
    }
}

/// `POST /v1/inbox/{mark}`: passed on to the platform as it is, so that browsers talk to one origin only.
pub async fn mark(
    State(app): State<App>,
    signed: Signed,
    Path(mark): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    within(&app.limits.bell, &signed.account.id)?;
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.ok_or(Problem::of(Code::Unauthorized))?;
    if !MARKS.contains(&mark.as_str()) {
        return Err(Problem::of(Code::NotFound));
    }
    let (status, body) = app.platform.mark(&mark, bearer, body).await.map_err(|why| {
        tracing::warn!("a mark was not passed on: {why}");
        Problem::later(Code::PlatformUnavailable, 3)
    })?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut answer = (status, body).into_response();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}
