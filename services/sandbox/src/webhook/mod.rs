//! The webhook receiver: records what is posted to `/webhook/{name}` and says whether the
//! Standard Webhooks signature holds.
//!
//! Answers 200 unless a secret is registered and the signature is missing or wrong (401), as a
//! careful receiver would; a fault or a magic name replaces the answer.

mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, OriginalUri, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use campana_bus::headers::STAMPS;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::faults::{Facts, FaultChannel, Stage, magic_webhook};
use crate::mailbox::{Channel, Content, Draft, Message, Verification, Webhook, preview};
use crate::receipts::Receipt;
use crate::stamp::Stamp;
use crate::state::Shared;
use crate::web::{ConnectionHandle, Fate, Problem, ProblemJson, interfere};

/// Octets of the longest webhook name.
const MAX_NAME: usize = 128;

#[derive(Debug, Clone)]
pub struct Webhooks {
    pub shared: Arc<Shared>,
    pub stop: CancellationToken,
}

pub fn router(webhooks: Webhooks) -> Router {
    Router::new()
        .route("/webhook/{name}", post(receive))
        .route("/api/webhooks", get(names))
        .route("/api/webhooks/{name}", put(register).delete(forget))
        .with_state(webhooks)
}

async fn receive(
    State(webhooks): State<Webhooks>,
    Path(name): Path<String>,
    OriginalUri(uri): OriginalUri,
    ConnectInfo(connection): ConnectInfo<ConnectionHandle>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if name.len() > MAX_NAME {
        return Problem::invalid("webhook name is too long").into_response();
    }
    let received = Stamp::now();
    let secret = webhooks.shared.webhook_secret(&name);
    let verification = verify::verify(secret.as_deref(), &headers, &body);
    let recipients = [name.as_str()];
    let channel = FaultChannel::Webhook;
    let facts = Facts { channel, stage: Stage::Request, recipients: &recipients };
    let mut decision = webhooks.shared.faults.decide(&facts);
    if decision.action.is_none() {
        let magic = magic_webhook(&name);
        decision.delay += magic.delay;
        decision.action = magic.action;
    }
    let usual = usual_status(&verification, secret.is_some());
    let keep = |status: StatusCode| {
        let path = uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let hook = Webhook {
            name: name.clone(),
            path,
            webhook_id: text(&headers, "webhook-id"),
            headers: plain(&headers),
            body: body.clone(),
            verification: verification.clone(),
            answered: status.as_u16(),
        };
        let event: Option<Value> = serde_json::from_slice(&body).ok();
        note(&webhooks.shared, &hook, event.as_ref(), received);
        webhooks.shared.mailbox.add(draft(hook, event.as_ref(), received))
    };
    match interfere(&decision, &connection, &webhooks.stop).await {
        Fate::Answer => answer(usual, &keep(usual), None),
        // A refused attempt is shown too: who tests a sender wants to see every attempt.
        Fate::Refuse { status, retry_after, .. } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            answer(status, &keep(status), retry_after)
        }
        Fate::Vanish(vanish) => vanish.take().await,
        Fate::AnswerThenVanish(vanish) => {
            keep(usual);
            vanish.take().await
        }
    }
}

/// What a careful receiver answers to a request signed like this.
fn usual_status(verification: &Verification, secret_known: bool) -> StatusCode {
    match verification {
        Verification::Verified => StatusCode::OK,
        Verification::Unsigned | Verification::Unchecked if !secret_known => StatusCode::OK,
        _ => StatusCode::UNAUTHORIZED,
    }
}

fn answer(status: StatusCode, message: &Message, retry_after: Option<u64>) -> Response {
    let body = match &message.content {
        Content::Webhook(hook) => json!({"id": message.id, "verification": hook.verification}),
        _ => Value::Null,
    };
    let mut response = (status, Json(body)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Keeps a receipt: of the event's own title and text if it has them, else of the whole body.
fn note(shared: &Shared, hook: &Webhook, event: Option<&Value>, received: Stamp) {
    let data = event.and_then(|event| event.get("data"));
    let text = |name: &str| data.and_then(|data| data.get(name)).and_then(Value::as_str);
    let whole = String::from_utf8_lossy(&hook.body);
    shared.receipts.add(&Receipt {
        channel: Channel::Webhook,
        received,
        recipient: text("recipient").unwrap_or(&hook.name),
        title: text("title").unwrap_or_default(),
        body: text("body").unwrap_or(&whole),
        stamps: hook.headers.get(&STAMPS.to_ascii_lowercase()).map(String::as_str),
        answered: hook.answered,
        reference: hook.webhook_id.as_deref(),
    });
}

fn draft(hook: Webhook, event: Option<&Value>, received: Stamp) -> Draft {
    let kind = event.and_then(|event| event.get("type")).and_then(Value::as_str);
    Draft {
        channel: Channel::Webhook,
        from: hook.headers.get("user-agent").cloned().unwrap_or_default(),
        to: vec![hook.name.clone()],
        subject: kind.unwrap_or_default().chars().take(MAX_NAME).collect(),
        preview: preview(&String::from_utf8_lossy(&hook.body)),
        received,
        content: Content::Webhook(hook),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Headers as text; repeated ones are joined as HTTP allows.
fn plain(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.to_string())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    all
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    secret: String,
}

async fn names(State(webhooks): State<Webhooks>) -> Json<Value> {
    let names = webhooks.shared.webhook_names();
    let data: Vec<Value> = names.into_iter().map(|name| json!({"name": name})).collect();
    Json(json!({"data": data}))
}

async fn register(
    State(webhooks): State<Webhooks>,
    Path(name): Path<String>,
    ProblemJson(registration): ProblemJson<Registration>,
) -> Result<Json<Value>, Problem> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Problem::invalid("webhook name must have 1 to 128 octets"));
    }
    verify::check_secret(&registration.secret).map_err(Problem::invalid)?;
    if !webhooks.shared.set_webhook_secret(name.clone(), registration.secret) {
        return Err(Problem::invalid("too many webhook names have a secret"));
    }
    Ok(Json(json!({"name": name})))
}

async fn forget(
    State(webhooks): State<Webhooks>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    if webhooks.shared.forget_webhook_secret(&name) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("no secret is registered for this name"))
    }
}
