//! The page and its parts, as files built into the program.
//! Reads: the embedded folder `web/dist`. Writes: nothing. Never: a path of the file system, a script or style from
//! elsewhere.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rust_embed::RustEmbed;
use url::Url;

use super::App;
use super::problem::{Code, Problem};

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

/// `/`: one page; which view it shows stands behind the `#`.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Response {
    let mut answer = file("clinic.html", &headers);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, app.policy.clone());
    answer
}

/// `/assets/{name}`.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers)
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Dist::get(name).filter(|_| !name.starts_with('.')) else {
        return Problem::of(Code::NotFound).into_response();
    };
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged = known
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
    let mut answer = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(file.data.into_owned()))
    };
    let out = answer.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    out.extend(HeaderValue::from_str(&etag).ok().map(|value| (ETAG, value)));
    answer
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Only our own scripts and styles, and connections to us and to the edge.
pub fn content_security_policy(edge: &Url) -> HeaderValue {
    let port = edge.port().map_or_else(String::new, |port| format!(":{port}"));
    let host = edge.host_str().unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self' {}://{host}{port}; manifest-src 'self'; base-uri 'none'; \
         frame-ancestors 'none'; form-action 'self'",
        edge.scheme()
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'self'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_edge_and_nobody_else() {
        let edge = Url::parse("wss://edge.example.com/connection/websocket").unwrap();
        let policy = content_security_policy(&edge);
        let policy = policy.to_str().unwrap();
        assert!(policy.contains("connect-src 'self' wss://edge.example.com;"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
