//! The HTTP side: the page, and the API that it uses.
//! Reads: requests. Writes: answers; the store does the work. Never: believes a request that another site sent, answers
//! about a room to somebody who is not in it, or reads a body without a limit.

mod accounts;
mod messages;
mod pages;
mod rooms;
mod signed;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, patch, post};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use accounts::person_id;

use crate::edge::{Edge, EdgeError};
use crate::files::Files;
use crate::limits::{Limiter, Rate};
use crate::options::Options;
use crate::problem::{Code, Problem};
use crate::store::Store;

/// Bytes of a request's body, where nothing else is said.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a request may take; an upload may take longer.
const REQUEST_WITHIN: Duration = Duration::from_secs(60);
/// Passwords that are hashed at the same time: each takes 19 MiB and a processor.
const HASHES_MAX: usize = 2;

/// What every handler has.
pub(crate) struct App {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) files: Files,
    pub(crate) edge: Edge,
    /// Where people find the page, without a slash at the end.
    pub(crate) public_url: String,
    /// Name of the session's cookie.
    pub(crate) cookie: &'static str,
    pub(crate) hashes: Semaphore,
    pub(crate) limits: Limits,
}

/// How often who may do what.
pub(crate) struct Limits {
    /// Signing in, by handle.
    pub(crate) sign_ins: Limiter,
    /// Signing in, by network address: each try costs a processor for a while.
    pub(crate) addresses: Limiter,
    /// Making accounts, by address.
    pub(crate) accounts: Limiter,
    /// Writing, by person.
    pub(crate) messages: Limiter,
    /// Uploads, by person.
    pub(crate) uploads: Limiter,
    /// Commands, by person.
    pub(crate) commands: Limiter,
    /// New rooms and direct messages, by person.
    pub(crate) rooms: Limiter,
    /// All requests, by person.
    pub(crate) requests: Limiter,
    /// Everything else that changes something or is costly, by person.
    pub(crate) others: Limiter,
}

impl App {
    pub(crate) fn new(
        options: Options,
        store: Store,
        files: Files,
        address: SocketAddr,
    ) -> Result<Self, EdgeError> {
        let public_url = match options.public_url.trim_end_matches('/') {
            "" => format!("http://{address}"),
            url => url.to_owned(),
        };
        let limiter = |per_second, burst| Limiter::new(Rate { per_second, burst });
        let limits = Limits {
            sign_ins: limiter(1.0 / 30.0, 10),
            addresses: limiter(1.0, 60),
            accounts: limiter(1.0 / 60.0, 20),
            messages: limiter(options.messages_per_second, options.messages_burst),
            uploads: limiter(0.2, 10),
            commands: limiter(1.0 / 20.0, 5),
            rooms: limiter(0.2, 30),
            requests: limiter(50.0, 500),
            others: limiter(10.0, 60),
        };
        let edge = Edge::new(&options)?;
        Ok(Self {
            options,
            store,
            files,
            edge,
            cookie: signed::cookie_name(&public_url),
            public_url,
            hashes: Semaphore::new(HASHES_MAX),
            limits,
        })
    }
}

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .route("/api/accounts", post(accounts::register))
        .route("/api/session", get(accounts::current).post(accounts::sign_in))
        .route("/api/session", delete(accounts::sign_out))
        .route("/api/sessions", get(accounts::sessions))
        .route("/api/sessions/{id}", delete(accounts::revoke))
        .route("/api/token", post(accounts::token))
        .route("/api/rooms", get(rooms::mine).post(rooms::add))
        .route("/api/directory", get(rooms::directory))
        .route("/api/direct", post(rooms::direct))
        .route("/api/rooms/{room}", get(rooms::one).patch(rooms::set))
        .route("/api/rooms/{room}/join", post(rooms::join))
        .route("/api/rooms/{room}/leave", post(rooms::leave))
        .route("/api/rooms/{room}/members", post(rooms::invite))
        .route("/api/rooms/{room}/moderation", post(rooms::moderate))
        .route("/api/rooms/{room}/token", post(rooms::token))
        .route("/api/rooms/{room}/messages", get(messages::page).post(messages::post))
        .route("/api/rooms/{room}/messages/{id}", patch(messages::edit).delete(messages::delete))
        .route("/api/rooms/{room}/changes", get(messages::changes))
        .route("/api/rooms/{room}/search", get(messages::search))
        .route("/api/rooms/{room}/read", post(messages::read))
        .route("/api/rooms/{room}/files", post(uploads::add))
        .route("/api/files/{id}", get(uploads::show))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    Router::new()
        .merge(api)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(get(pages::show))
        .layer(from_fn(bounded))
        .layer(from_fn_with_state(Arc::clone(&app), signed::same_origin))
        .layer(from_fn_with_state(Arc::clone(&app), pages::protect))
        .layer(CatchPanicLayer::new())
        .with_state(app)
}

/// What holds for every request: an address that the database can be asked about, and an end.
async fn bounded(request: Request, next: Next) -> Response {
    let address = request.uri().path_and_query().map_or("", |address| address.as_str());
    // PostgreSQL has no text with a zero byte; nothing of ours is called so.
    if address.contains("%00") {
        return Problem::from(Code::NotFound).into_response();
    }
    let uploads = request.method() == Method::POST && request.uri().path().ends_with("/files");
    let within = if uploads { REQUEST_WITHIN + uploads::BODY_WITHIN } else { REQUEST_WITHIN };
    match tokio::time::timeout(within, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => Problem::from(Code::TooSlow).into_response(),
    }
}

async fn ready(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    let answer = tokio::time::timeout(Duration::from_secs(3), app.store.ping()).await;
    match answer {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
