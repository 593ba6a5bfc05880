//! The page and what it asks.
//! Reads: requests. Writes: orders, and with `--demo` what a visitor may try. Never: answers with who ordered;
//! takes a request of a foreign page, more than a visitor's share, or a body without end.

mod demo;
mod live;
mod orders;
mod pages;
mod problem;
mod rate;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use campana_bus::Bus;
use serde_json::json;

use self::problem::{Code, Problem};
use self::rate::Rate;
use crate::floor;
use crate::options::Options;
use crate::shop::Shop;

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What handlers share.
#[derive(Clone)]
struct App {
    bus: Bus,
    shop: Shop,
    options: Arc<Options>,
    rate: Arc<Rate>,
}

/// All routes.
pub fn router(bus: Bus, shop: Shop, options: Options) -> Router {
    let app = App { bus, shop, options: Arc::new(options), rate: Arc::default() };
    let mut router = Router::new()
        .route("/", get(pages::index))
        .route("/assets/{name}", get(pages::asset))
        .route("/api/floor", get(floor_now))
        .route("/api/live", get(live::live))
        .route("/api/orders", post(orders::place))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready));
    if app.options.demo {
        router = router.route("/api/demo/{action}", post(demo::act));
    }
    router
        .fallback(|| async { Problem::new(Code::NotFound, "there is no such page") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "this address knows another method")
        })
        .layer(middleware::from_fn(own_pages_only))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

/// The whole picture, taken after the question; what is pushed later has the same form.
async fn floor_now(State(app): State<App>) -> Result<Response, Problem> {
    let picture = floor::picture(&app.bus, &app.shop).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(picture)).into_response())
}

async fn ready(State(app): State<App>) -> Result<Response, Problem> {
    app.shop.store.ping().await?;
    if !app.bus.is_connected() {
        return Err(Problem::new(Code::Unavailable, "the bus is not connected"));
    }
    Ok(Json(json!({"ready": true})).into_response())
}

/// A browser says where a request comes from: only this host's own pages may change something.
async fn own_pages_only(request: Request, next: Next) -> Response {
    if request.method() != Method::GET && is_foreign(request.headers()) {
        let why = "only the shop's own page may ask this";
        return Problem::new(Code::ForeignOrigin, why).into_response();
    }
    next.run(request).await
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text =
        |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return false };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_none() || host != text(header::HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_origin_is_at_home() {
        let foreign = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "shop.example:8090".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            is_foreign(&headers)
        };
        assert!(!foreign(None) && !foreign(Some("http://shop.example:8090")));
        assert!(foreign(Some("http://evil.example")) && foreign(Some("null")));
        assert!(foreign(Some("http://shop.example")));
    }
}
