//! What browsers see: pages, and the JSON behind them.
//! Reads and writes: the store; asks the platform for connection tokens. Never: changes anything for a request of
//! another origin, reads a body without a limit, or publishes: a change and its event are one transaction.

mod account;
mod appointments;
mod auth;
mod clinics;
mod fields;
mod limits;
mod pages;
mod problem;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CACHE_CONTROL, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use campana_bus::Bus;
use campana_bus::lifecycle::Lifecycle;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use crate::options::Options;
use crate::passwords::Passwords;
use crate::platform::Platform;
use crate::store::Store;
use limits::Limits;
use problem::{Code, Problem};

/// Bytes of a request's body: the longest note fits many times.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long a request may take from its first byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What every handler knows; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    store: Store,
    platform: Platform,
    bus: Bus,
    passwords: Passwords,
    limits: Limits,
    demo: bool,
    /// Whether browsers come by https.
    secure: bool,
    /// `https://clinic.example.com`, as browsers name us.
    page: String,
    edge_url: String,
    policy: HeaderValue,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl App {
    /// The state of the pages; `page` is the address at which browsers find them.
    #[must_use]
    pub(crate) fn new(
        store: Store,
        platform: Platform,
        bus: Bus,
        options: &Options,
        page: String,
    ) -> Self {
        let inner = Inner {
            store,
            platform,
            bus,
            passwords: Passwords::new(),
            limits: Limits::default(),
            demo: options.demo,
            secure: page.starts_with("https:"),
            edge_url: options.edge_url.to_string(),
            policy: pages::content_security_policy(&options.edge_url),
            page,
        };
        Self { inner: Arc::new(inner) }
    }
}

/// Serves until the soft stop; requests in hand are finished.
pub(crate) fn serve(listener: TcpListener, app: App, lifecycle: &Lifecycle) {
    let router = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let soft = lifecycle.soft.clone();
    lifecycle.spawn_essential("pages", async move {
        let serving = axum::serve(listener, router);
        let stopped = serving.with_graceful_shutdown(async move { soft.cancelled().await });
        stopped.await.map_err(|error| error.to_string())
    });
}

fn router(app: App) -> Router {
    let api = Router::new()
        .route("/setup", get(auth::setup))
        .route("/accounts", post(auth::sign_up))
        .route("/session", post(auth::sign_in).delete(auth::sign_out))
        .route("/demo-session", post(auth::sign_in_as))
        .route("/me", get(account::me).put(account::save))
        .route("/sessions", get(account::sessions))
        .route("/sessions/{id}", delete(account::end_session))
        .route("/edge-token", post(account::edge_token))
        .route("/clinics", get(clinics::list))
        .route("/dentists/{id}/times", get(clinics::times))
        .route("/appointments", get(appointments::list).post(appointments::book))
        .route("/appointments/{id}", get(appointments::one))
        .route("/appointments/{id}/{action}", post(appointments::act))
        .fallback(async || Problem::of(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::of(Code::MethodNotAllowed));
    Router::new()
        .nest("/api", api)
        .route("/v1/inbox/{mark}", post(account::mark))
        .route("/", get(pages::page))
        .route("/assets/{name}", get(pages::asset))
        .route("/livez", get(async || "alive"))
        .route("/readyz", get(ready))
        .fallback(async || Problem::of(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::of(Code::MethodNotAllowed))
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(|_| Problem::of(Code::Internal).into_response()))
        .with_state(app)
}

/// Ready when the database answers and the bus is there; the pages work without the bus, so load balancers should
/// look at this one only to see that something is wrong.
async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    match app.store.ping().await {
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
        Ok(()) if !app.bus.is_connected() => {
            (StatusCode::OK, "ready; the bus is away, events wait in the outbox\n")
        }
        Ok(()) => (StatusCode::OK, "ready\n"),
    }
}

/// What holds for every request: its origin, its time, and the headers of its answer.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let mut answer = if !reads && is_foreign(request.headers(), &app.page) {
        Problem::of(Code::ForeignOrigin).into_response()
    } else if has_zero_byte(request.uri()) {
        Problem::of(Code::NotFound).into_response()
    } else {
        match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => Problem::of(Code::RequestTimeout).into_response(),
        }
    };
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// PostgreSQL has no text with a zero byte, so nothing of ours is called so.
fn has_zero_byte(address: &Uri) -> bool {
    address.path_and_query().is_some_and(|address| address.as_str().contains("%00"))
}

/// Whether a page of another origin made a browser send this. Browsers name the origin with every request that
/// changes something; who names none is no browser, and has no cookies of one.
fn is_foreign(headers: &HeaderMap, page: &str) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = |origin: &str| {
        origin == page
            || (!host.is_empty()
                && origin.split_once("://").is_some_and(|(_, authority)| authority == host))
    };
    !origin.to_str().is_ok_and(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_others_are_foreign() {
        let foreign = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, origin.parse().unwrap());
            headers.insert(HOST, "127.0.0.1:8091".parse().unwrap());
            is_foreign(&headers, "https://clinic.example.com")
        };
        assert!(!foreign("http://127.0.0.1:8091") && !foreign("https://clinic.example.com"));
        for other in ["null", "http://127.0.0.1:8092", "https://evil.example", "http://127.0.0.1"] {
            assert!(foreign(other), "{other}");
        }
        assert!(!is_foreign(&HeaderMap::new(), ""));
    }
}
