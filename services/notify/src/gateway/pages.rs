//! The demo page, the page of examples and the bell component, as files built into the program.
//! Reads: the embedded folder. Writes: nothing. Never: a path of the file system; names are looked up in
//! a fixed table.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::problem::{Code, Problem};
use super::state::App;

#[derive(RustEmbed)]
#[folder = "../../ws-edge/web/dist"]
struct Dist;

/// `/bell`, `/demo`, and `/` where nothing else is.
pub(super) async fn page(State(app): State<App>, headers: HeaderMap) -> Response {
    guarded("demo.html", &headers, &app.deps.ws_url)
}

/// `/examples`.
pub(super) async fn examples(State(app): State<App>, headers: HeaderMap) -> Response {
    guarded("examples.html", &headers, &app.deps.ws_url)
}

/// A page, with the policy that keeps it to our own scripts.
fn guarded(name: &str, headers: &HeaderMap, ws_url: &str) -> Response {
    let mut response = file(name, headers);
    let policy = content_security_policy(ws_url);
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response.headers_mut().insert(
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    );
    response
}

/// `/assets/{name}`.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers)
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Dist::get(name).filter(|_| !name.starts_with('.')) else {
        return Problem::new(Code::NotFound, "there is no such page").into_response();
    };
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let unchanged = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(file.data.into_owned()))
    };
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    out.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    let cache = if is_hashed(name) { "public, max-age=31536000, immutable" } else { "no-cache" };
    out.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(value) = HeaderValue::from_str(&etag) {
        out.insert(ETAG, value);
    }
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json" | "map") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// `name-3f9a1c2b.js`: the build put a hash into the name, so the content never changes.
fn is_hashed(name: &str) -> bool {
    name.rsplit_once('.').and_then(|(stem, _)| stem.rsplit_once('-')).is_some_and(|(_, hash)| {
        hash.len() >= 8
            && hash.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && hash.bytes().any(|byte| byte.is_ascii_digit())
    })
}

/// Only our own scripts and styles, and connections to us and to the edge.
fn content_security_policy(ws_url: &str) -> String {
    let edge = url::Url::parse(ws_url)
        .ok()
        .filter(|url| matches!(url.scheme(), "ws" | "wss"))
        .and_then(|url| {
            let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
            Some(format!(" {}://{}{port}", url.scheme(), url.host_str()?))
        })
        .unwrap_or_default();
    format!(
        "default-src 'self'; connect-src 'self'{edge}; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
         frame-ancestors 'none'; form-action 'self'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_edge_s_origin_only() {
        let policy = content_security_policy("ws://127.0.0.1:8000/connection/websocket");
        assert!(policy.contains("connect-src 'self' ws://127.0.0.1:8000;"), "{policy}");
        assert!(
            content_security_policy("javascript:x; script-src *").contains("connect-src 'self';")
        );
    }

    #[test]
    fn only_hashed_names_are_immutable() {
        for (name, hashed) in [
            ("app-3f9a1c2b.js", true),
            ("campana-bell.js", false),
            ("demo.css", false),
            ("a-component1.js", true),
        ] {
            assert_eq!(is_hashed(name), hashed, "{name}");
        }
    }

    #[test]
    fn no_path_leaves_the_folder() {
        for name in [
            "../Cargo.toml",
            "..%2fCargo.toml",
            "/etc/passwd",
            ".gitkeep",
            "",
            "./demo.html/../../x",
        ] {
            assert_eq!(file(name, &HeaderMap::new()).status(), StatusCode::NOT_FOUND, "{name}");
        }
    }
}
