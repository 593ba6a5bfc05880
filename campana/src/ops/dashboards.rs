//! `/dashboards`: the committed Grafana dashboards, drawn without a Grafana.
//! Reads: files built into the program, and the Prometheus of the configuration. Writes: nothing.
//! Never: a path of the file system (names are looked up in the embedded folders), and nothing else of
//! Prometheus than `query` and `query_range`.

mod options;
mod proxy;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;
use serde::Serialize;
use serde_json::Value;

pub use options::OpsOptions;

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Page;

#[derive(RustEmbed)]
#[folder = "../dashboards/grafana/dashboards/Campana"]
struct Boards;

/// Only the page's own script and style, and questions to its own host. Positions and colours of what is drawn
/// are set by script on elements, which the policy does not count as inline style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' \
                      data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The order in the page's list: the question of everybody first.
const ORDER: [&str; 7] =
    ["overview", "notifications", "bus", "dead-letters", "edge", "nats", "loadtest"];

/// What the page asks first.
#[derive(Serialize)]
struct Setup {
    /// Whether it is known where a Prometheus is.
    prometheus: bool,
    boards: Vec<Board>,
}

#[derive(Serialize)]
struct Board {
    slug: String,
    title: String,
}

/// The routes of the page.
///
/// # Errors
/// If there is no TLS backend for questions to Prometheus.
pub fn router(options: &OpsOptions) -> Result<Router, String> {
    let proxy = proxy::Proxy::new(options)?;
    let configured = proxy.is_configured();
    Ok(Router::new()
        .route("/dashboards", get(|| async { page_file("dashboards.html") }))
        .route(
            "/dashboards/assets/{name}",
            get(|Path(name): Path<String>| async move { page_file(&name) }),
        )
        .route("/dashboards/setup.json", get(move || async move { axum::Json(setup(configured)) }))
        .route(
            "/dashboards/board/{name}",
            get(|Path(name): Path<String>| async move { board_file(&name) }),
        )
        .route("/dashboards/api/query", get(proxy::query))
        .route("/dashboards/api/query_range", get(proxy::query_range))
        .with_state(proxy))
}

fn setup(prometheus: bool) -> Setup {
    let mut boards: Vec<Board> = Boards::iter()
        .filter_map(|file| {
            let json: Value = serde_json::from_slice(&Boards::get(&file)?.data).ok()?;
            let slug = file.strip_suffix(".json")?.to_owned();
            Some(Board { slug, title: json["title"].as_str()?.to_owned() })
        })
        .collect();
    boards.sort_by_key(|board| {
        let place = ORDER.iter().position(|slug| *slug == board.slug);
        (place.unwrap_or(ORDER.len()), board.title.clone())
    });
    Setup { prometheus, boards }
}

fn page_file(name: &str) -> Response {
    embedded(name, Page::get(name).map(|file| file.data.into_owned()))
}

fn board_file(name: &str) -> Response {
    embedded(name, Boards::get(name).map(|file| file.data.into_owned()))
}

fn embedded(name: &str, bytes: Option<Vec<u8>>) -> Response {
    let Some(bytes) = bytes else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    let mut response = bytes.into_response();
    let fixed = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What the handlers of the proxy get.
type Shared = State<proxy::Proxy>;

#[cfg(test)]
mod tests;
