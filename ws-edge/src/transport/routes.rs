//! Where clients connect, and which pages may.
//! Reads: configuration. Writes: nothing. Never: lets a page send a user's cookies unless its origin is listed.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, Method, request::Parts};
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer};

use super::{http as requests, upgrade};
use crate::auth::origin;
use crate::options::EdgeOptions;
use crate::server::Node;

/// Where clients connect that speak and listen over WebSocket.
pub const WEBSOCKET_PATH: &str = "/connection/websocket";
/// The same over server-sent events, with commands going to [`EMULATION_PATH`].
pub const SSE_PATH: &str = "/connection/sse";
/// The same over the body of an HTTP answer.
pub const HTTP_STREAM_PATH: &str = "/connection/http_stream";
/// Where clients connect that only listen, over WebSocket.
pub const UNI_WEBSOCKET_PATH: &str = "/connection/uni_websocket";
/// The same over server-sent events.
pub const UNI_SSE_PATH: &str = "/connection/uni_sse";
/// The same over the body of an HTTP answer.
pub const UNI_HTTP_STREAM_PATH: &str = "/connection/uni_http_stream";
/// Where clients post commands whose transport carries none.
pub const EMULATION_PATH: &str = "/emulation";

/// How long browsers remember which pages may connect.
const PREFLIGHT_AGE: std::time::Duration = std::time::Duration::from_secs(300);

/// All of them.
pub(crate) fn routes(options: &EdgeOptions) -> Router<Arc<Node>> {
    Router::new()
        .route(WEBSOCKET_PATH, get(upgrade::websocket))
        .route(UNI_WEBSOCKET_PATH, get(upgrade::listener))
        .route(SSE_PATH, get(requests::sse).post(requests::sse_post))
        .route(HTTP_STREAM_PATH, post(requests::http_stream))
        .route(UNI_SSE_PATH, get(requests::uni_sse).post(requests::uni_sse_post))
        .route(UNI_HTTP_STREAM_PATH, post(requests::uni_http_stream))
        .route(EMULATION_PATH, post(requests::emulate))
        .layer(cors(&options.allowed_origins))
}

/// What browsers are told about pages of other origins. `*` lets in pages of everybody, but not with cookies.
fn cors(allowed: &[String]) -> CorsLayer {
    let any = allowed.iter().any(|one| one == "*");
    let (with_cookies, allowed) = (allowed.to_vec(), allowed.to_vec());
    CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([HeaderName::from_static("retry-after")])
        .max_age(PREFLIGHT_AGE)
        .allow_origin(AllowOrigin::predicate(move |from: &HeaderValue, _: &Parts| {
            any || origin::listed(&allowed, from.as_bytes())
        }))
        .allow_credentials(AllowCredentials::predicate(move |from: &HeaderValue, _: &Parts| {
            origin::listed(&with_cookies, from.as_bytes())
        }))
}
