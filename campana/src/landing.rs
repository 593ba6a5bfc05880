//! The landing page of `campana up`: what Campana is, what it does at this moment, and where to go next.
//! Reads: files built into the program, and `overview`. Writes: nothing. Never: is served where the demo is switched
//! off, or by `campana run`: it tells everybody who can reach the gateway how much is going on.

mod guides;
mod numbers;
mod overview;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use campana_bus::lifecycle::Lifecycle;
use rust_embed::{EmbeddedFile, RustEmbed};

pub use overview::{About, Links, Overview, Sources};

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

/// Files of the folder that are ours; its neighbours draw the dashboards.
const FILES: [&str; 2] = ["landing.js", "landing.css"];

/// `/`, what it needs, and the guides. The bell comes from the gateway's own `/assets`.
pub fn router(about: About, sources: Sources, lifecycle: &Lifecycle) -> Router {
    let links = about.links.clone();
    Router::new()
        .route("/", get(move || async move { page(&links) }))
        .route("/landing/{name}", get(asset))
        .route("/overview.json", get(overview))
        .with_state(Overview::start(about, sources, lifecycle))
        .merge(guides::router())
}

/// The page with this platform's addresses in it, so that its links lead somewhere without JavaScript too.
fn page(links: &Links) -> Response {
    let Some(built) = Dist::get("landing.html") else {
        return missing().into_response();
    };
    let text = filled(&String::from_utf8_lossy(&built.data), links);
    let policy = policy(&links.websocket);
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (kind, guards(&policy), text).into_response()
}

fn filled(page: &str, links: &Links) -> String {
    let places = [
        ("@gateway@", &links.gateway),
        ("@mailbox@", &links.mailbox),
        ("@dashboards@", &links.dashboards),
        ("@metrics@", &links.metrics),
        ("@health@", &links.health),
    ];
    let fill =
        |text: String, (place, address): (&str, &String)| text.replace(place, &escaped(address));
    places.into_iter().fold(page.to_owned(), fill)
}

/// Text for HTML, in attributes too.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

async fn overview(State(overview): State<Overview>) -> Response {
    let Ok(text) = overview.json().await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the overview cannot be written\n")
            .into_response();
    };
    let kind = (header::CONTENT_TYPE, "application/json");
    ([kind, (header::CACHE_CONTROL, "no-store")], text.to_string()).into_response()
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let known = FILES.iter().find(|known| **known == name);
    known.map_or_else(|| missing().into_response(), |name| file(name, &headers))
}

fn missing() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "there is no such file\n")
}

/// For what is no page.
const GUARDED: &str = "default-src 'none'; frame-ancestors 'none'";

/// Scripts, styles and questions of our own host only, and the socket of the edge.
fn policy(websocket: &str) -> String {
    let edge = url::Url::parse(websocket)
        .ok()
        .filter(|url| matches!(url.scheme(), "ws" | "wss"))
        .and_then(|url| {
            let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
            Some(format!(" {}://{}{port}", url.scheme(), url.host_str()?))
        })
        .unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{edge}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// One of the built files, or that the browser has it already.
fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(EmbeddedFile { data, metadata }) = Dist::get(name) else {
        return missing().into_response();
    };
    let etag = format!("\"{}\"", hex::encode(&metadata.sha256_hash()[..16]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        data.into_owned().into_response()
    };
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        _ => "text/javascript; charset=utf-8",
    };
    let fixed = [(header::CONTENT_TYPE, kind), (header::ETAG, &etag)];
    for (name, value) in fixed.into_iter().chain(guards(GUARDED)) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// What every page and file of this module says of itself.
fn guards(policy: &str) -> [(HeaderName, &str); 4] {
    [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_edge_s_origin_and_nothing_that_is_no_socket() {
        let text = policy("ws://127.0.0.1:8000/connection/websocket");
        assert!(text.contains("connect-src 'self' ws://127.0.0.1:8000;"), "{text}");
        assert!(policy("javascript:x; script-src *").contains("connect-src 'self';"));
        assert!(!text.contains("unsafe"));
    }

    #[test]
    fn the_page_has_addresses_in_the_places_for_them() {
        let links = Links {
            mailbox: "http://127.0.0.1:1/?a=\"><script>".to_owned(),
            gateway: "http://127.0.0.1:2".to_owned(),
            ..Links::default()
        };
        assert_eq!(page(&links).status(), StatusCode::OK);
        let built = Dist::get("landing.html").unwrap();
        let text = filled(&String::from_utf8_lossy(&built.data), &links);
        assert!(text.contains("href=\"http://127.0.0.1:1/?a=&quot;&gt;&lt;script&gt;\""), "{text}");
        assert!(text.contains("curl -s http://127.0.0.1:2/v1/notifications"), "{text}");
        assert!(!text.contains("=\"@") && !text.contains("@gateway@"), "{text}");
    }

    #[test]
    fn the_built_files_are_there_and_known_ones_are_not_sent_again() {
        for name in FILES {
            let first = file(name, &HeaderMap::new());
            assert_eq!(first.status(), StatusCode::OK, "{name}");
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
            assert_eq!(file(name, &headers).status(), StatusCode::NOT_MODIFIED);
        }
    }
}
