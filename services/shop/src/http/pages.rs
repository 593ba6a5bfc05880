//! The page, as files built into the program.
//! Reads: the embedded folder. Writes: nothing. Never: a path of the file system.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::App;
use super::problem::{Code, Problem};

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

/// `/`, with the policy that keeps it to its own scripts, and to the edge.
pub async fn index(State(app): State<App>, headers: HeaderMap) -> Response {
    let mut response = file("index.html", &headers);
    let edge = app.options.edge_url.as_deref().and_then(origin).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self' {edge}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let referrer = HeaderName::from_static("referrer-policy");
    response.headers_mut().insert(referrer, HeaderValue::from_static("no-referrer"));
    response
}

/// `/assets/{name}`.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers)
}

/// Scheme, host and port of an address; nothing that could end a directive of the policy.
fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    let origin = &url[..end];
    origin.chars().all(|c| c.is_ascii_alphanumeric() || ":/.-[]".contains(c)).then_some(origin)
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Dist::get(name) else {
        return Problem::new(Code::NotFound, "there is no such page").into_response();
    };
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|tags| tags.contains(&etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(file.data.into_owned()))
    };
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(value) = HeaderValue::from_str(&etag) {
        out.insert(header::ETAG, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn the_policy_names_the_edge_and_nothing_else() {
        assert_eq!(origin("ws://127.0.0.1:8000/connection/websocket"), Some("ws://127.0.0.1:8000"));
        assert_eq!(origin("wss://edge.example"), Some("wss://edge.example"));
        assert_eq!(origin("ws://a; script-src *"), None);
    }
}
