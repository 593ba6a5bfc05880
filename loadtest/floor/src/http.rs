//! The HTTP side: one key compared, one request stored, 202 when it is on disk.
//! Reads: requests. Writes: the first stream, through the platform's envelopes, or plain NATS messages. Never:
//! answers 202 before the stream has acknowledged, where there is one.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use bytes::Bytes;
use campana_bus::ids::NotificationId;
use campana_bus::publish::{EnvelopePublisher, Part};
use campana_bus::subjects;
use serde::Deserialize;

use crate::push::{self, Listeners};
use crate::wire::{self, Post, Stored};

/// The one lane of requests.
pub const LANE: &str = "normal";

/// What all requests share.
pub struct Shared {
    pub bearer: String,
    /// Where clients connect.
    pub edge_ws: String,
    pub way: Way,
}

/// What happens to a notification.
pub enum Way {
    /// Through two streams to our own WebSockets.
    Stored { requests: EnvelopePublisher, listeners: Listeners },
    /// Straight to the clients of nats-server.
    Core(async_nats::Client),
}

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/notifications", post(notify))
        .route("/v1/tokens", post(token))
        .route("/connection/websocket", any(upgrade))
        .with_state(shared)
}

fn allowed(shared: &Shared, headers: &HeaderMap) -> bool {
    headers.get(header::AUTHORIZATION).is_some_and(|given| given == shared.bearer.as_str())
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn notify(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if !allowed(&shared, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let post: Post<'_> = match serde_json::from_slice(&body) {
        Ok(post) => post,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let stored = post.stored();
    let names: Result<Vec<String>, _> =
        stored.users.iter().map(|name| wire::subject(name)).collect();
    if let Err(error) = names {
        return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
    }
    let id = NotificationId::fresh().to_string();
    let done = match &shared.way {
        Way::Stored { requests, .. } => store(requests, &id, &stored).await,
        Way::Core(nats) => publish(nats, &id, &stored).await,
    };
    match done {
        Ok(()) => json(StatusCode::ACCEPTED, format!(r#"{{"id":"{id}","status":"accepted"}}"#)),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

async fn store(requests: &EnvelopePublisher, id: &str, stored: &Stored<'_>) -> anyhow::Result<()> {
    let part = Part::new(id, Bytes::from(serde_json::to_vec(stored)?));
    requests.publish(subjects::request(LANE), part).await?;
    Ok(())
}

async fn publish(nats: &async_nats::Client, id: &str, stored: &Stored<'_>) -> anyhow::Result<()> {
    let payload = Bytes::from(serde_json::to_vec(&stored.inbox(id))?);
    for user in &stored.users {
        nats.publish(wire::core_subject(user), payload.clone()).await?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct TokenRequest {
    user: String,
}

/// The floor has no cryptography: a user's token is the user's name.
async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if !allowed(&shared, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Ok(TokenRequest { user }) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let channel = push::channel_of(&user);
    let body = serde_json::json!({"token": user, "ws_url": shared.edge_ws, "channel": channel});
    json(StatusCode::OK, body.to_string())
}

async fn upgrade(State(shared): State<Arc<Shared>>, socket: WebSocketUpgrade) -> Response {
    match &shared.way {
        Way::Stored { listeners, .. } => {
            let listeners = listeners.clone();
            socket.on_upgrade(move |socket| push::serve(listeners, socket))
        }
        Way::Core(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
