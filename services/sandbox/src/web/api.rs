//! The read API: messages, one message, statistics. It changes nothing but `DELETE`, which
//! empties the mailbox.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::{Problem, ProblemQuery};
use crate::faults::MAGIC;
use crate::mail;
use crate::mailbox::{Channel, Content, Message, Query, Sms, Webhook};
use crate::state::Shared;

/// A mail's HTML runs no code, loads nothing from anywhere and has no origin, even when somebody
/// opens its address in a tab of its own.
const MAIL_POLICY: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";

#[derive(Debug, Clone)]
struct Api {
    shared: Arc<Shared>,
    smtp: SocketAddr,
}

pub fn router(shared: Arc<Shared>, smtp: SocketAddr) -> Router {
    Router::new()
        .route("/api/info", get(info))
        .route("/api/stats", get(stats))
        .route("/api/messages", get(list).delete(clear))
        .route("/api/messages/{id}", get(show))
        .route("/api/messages/{id}/html", get(html))
        .route("/api/messages/{id}/raw", get(raw))
        .with_state(Api { shared, smtp })
}

/// What the page needs to tell people where to send things.
async fn info(State(api): State<Api>) -> Json<Value> {
    let options = &api.shared.options;
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "smtp": api.smtp.to_string(),
        "web_url": options.public_web_url,
        "twilio_account_sid": options.twilio_account_sid,
        "keep": options.keep,
        "magic": MAGIC.map(|(recipient, what)| json!({"recipient": recipient, "what": what})),
    }))
}

async fn stats(State(api): State<Api>) -> Json<Value> {
    let shared = &api.shared;
    let totals = shared.mailbox.totals();
    let received: serde_json::Map<String, Value> = Channel::ALL
        .iter()
        .zip(totals.received)
        .map(|(channel, count)| (channel.as_str().to_owned(), json!(count)))
        .collect();
    Json(json!({
        "received": received,
        "kept": totals.kept,
        "kept_bytes": totals.kept_bytes,
        "keep": shared.options.keep,
        "keep_bytes": shared.options.keep_bytes,
        "evicted": totals.evicted,
        "receipts": shared.receipts.held(),
        "smtp": shared.stats.smtp(),
        "web": {"open": shared.stats.web_open()},
        "callbacks": shared.stats.callbacks(),
        "faults_applied": shared.stats.faults_applied(),
        "started_at": shared.started.at.to_rfc3339(),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    channel: Option<Channel>,
    to: Option<String>,
    q: Option<String>,
    since: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

async fn list(
    State(api): State<Api>,
    ProblemQuery(query): ProblemQuery<ListQuery>,
) -> Result<Json<Value>, Problem> {
    let since = query.since.map(|text| text.parse()).transpose().map_err(Problem::invalid)?;
    let before = query.before.map(|text| text.parse()).transpose();
    let before = before.map_err(|()| Problem::invalid("before must be a message id (msg_12)"))?;
    let wanted = |text: Option<String>| text.filter(|text| !text.is_empty());
    let page = api.shared.mailbox.list(&Query {
        channel: query.channel,
        to: wanted(query.to),
        text: wanted(query.q),
        since,
        before,
        limit: query.limit,
    });
    let data: Vec<_> = page.messages.iter().map(|message| message.summary()).collect();
    Ok(Json(json!({"data": data, "next_before": page.next_before})))
}

async fn clear(State(api): State<Api>) -> Json<Value> {
    Json(json!({"deleted": api.shared.mailbox.clear()}))
}

async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let message = find(&api, &id)?;
    let mut body = json!(message.summary());
    let (key, detail) = match &message.content {
        Content::Email(email) => ("email", json!(mail::view(email, &message.to))),
        Content::Sms(sms) => ("sms", sms_view(sms)),
        Content::Webhook(hook) => ("webhook", webhook_view(hook)),
    };
    if let Some(fields) = body.as_object_mut() {
        fields.insert(key.to_owned(), detail);
    }
    Ok(Json(body))
}

fn sms_view(sms: &Sms) -> Value {
    let state = sms.state();
    json!({
        "sid": sms.sid,
        "body": sms.body,
        "num_segments": sms.num_segments,
        "status": state.status,
        "error_code": state.error_code,
        "status_callback": sms.status_callback,
        "callbacks": state.callbacks,
        "fields": sms.fields,
    })
}

fn webhook_view(hook: &Webhook) -> Value {
    json!({
        "name": hook.name,
        "path": hook.path,
        "webhook_id": hook.webhook_id,
        "headers": hook.headers,
        "body": String::from_utf8_lossy(&hook.body),
        "verification": hook.verification,
        "answered": hook.answered,
    })
}

async fn html(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let message = find(&api, &id)?;
    let html = match &message.content {
        Content::Email(email) => mail::html(email),
        _ => None,
    };
    let html = html.ok_or_else(|| Problem::not_found("this message has no HTML part"))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(MAIL_POLICY)),
    ];
    Ok((headers, html).into_response())
}

/// The octets as they arrived.
async fn raw(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let message = find(&api, &id)?;
    let body = match &message.content {
        Content::Email(email) => email.raw.clone(),
        Content::Sms(sms) => sms.body.clone().into(),
        Content::Webhook(hook) => hook.body.clone(),
    };
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, kind)], body).into_response())
}

fn find(api: &Api, id: &str) -> Result<Arc<Message>, Problem> {
    let gone = || Problem::not_found("no such message: it was never here, cleared or pushed out");
    api.shared.mailbox.get(id.parse().map_err(|()| gone())?).ok_or_else(gone)
}
